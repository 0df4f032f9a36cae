package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// A run's progress is written each second for as long as it runs: that must be
// the write of one record.
func TestARunThatStaysWhatItIsCostsOneRecord(t *testing.T) {
	s := open(t, options(t.TempDir()))
	var run task.Run
	cost := func(what string, want uint64, change func(tx *store.Tx) error) {
		t.Helper()
		before, err := s.Stats()
		if err != nil {
			t.Fatal(err)
		}
		update(t, s, change)
		after, err := s.Stats()
		if got := after.Records - before.Records; err != nil || got != want {
			t.Errorf("%s: %d records, want %d (%v)", what, got, want, err)
		}
	}
	put := func(change func()) func(tx *store.Tx) error {
		return func(tx *store.Tx) error { change(); return tx.PutRun(run) }
	}
	update(t, s, func(tx *store.Tx) error { return tx.PutTask(task.Task{Name: "t", Version: 1}) })
	// The run, its number, among the task's, pinned, when it was made, twice that
	// it is alive, the newest; and two counters.
	cost("made", 10, func(tx *store.Tx) (err error) { run, err = newRun(tx, "t", 1); return err })
	cost("begun", 4, put(func() { run.Status, run.StartedAt = task.RunRunning, noon }))
	cost("goes on", 1, put(func() { run.Progress = 50 }))
	cost("ended", 6, put(func() { run.Status, run.EndedAt = task.RunCompleted, noon }))
	cost("bytes are known", 1, put(func() { run.Bytes = 1 }))
	cost("the task as it was, with another text", 2, func(tx *store.Tx) error {
		return tx.PutTask(task.Task{Name: "t", Version: 1, Description: "the same for lists"})
	})
}

// manyRuns makes runs of two tasks in turns, over several blocks of ids. In the
// middle the clock is set back.
func manyRuns(t *testing.T, n int) (s *store.Store, made func(task.RunID) time.Time) {
	t.Helper()
	s = open(t, options(t.TempDir()))
	made = func(id task.RunID) time.Time {
		at := noon.Add(time.Duration(id) * time.Second)
		if int(id) > n/2 {
			at = at.Add(-time.Duration(n/4) * time.Second)
		}
		return at
	}
	update(t, s, func(tx *store.Tx) error {
		for id := task.RunID(1); int(id) <= n; id++ {
			run := task.Run{ID: id, Task: fmt.Sprint("t", id%2), Number: uint64(id), Status: task.RunCompleted, CreatedAt: made(id)}
			if err := tx.PutRun(run); err != nil {
				return err
			}
		}
		return nil
	})
	return s, made
}

// What was made in a span of time is within the bounds, also when a clock was
// set back; and they are no wider than a block either way where it was not.
func TestTheRunsOfASpanOfTime(t *testing.T) {
	const n, block = 10_000, 1024
	s, made := manyRuns(t, n)
	view(t, s, func(tx *store.Tx) error {
		for _, c := range []struct{ since, until int }{{0, 1}, {1, 2}, {2000, 2010}, {n / 4, n / 2}, {6000, n}, {n, 2 * n}, {-9, 0}} {
			since, until := noon.Add(time.Duration(c.since)*time.Second), noon.Add(time.Duration(c.until)*time.Second)
			first, last, err := tx.RunsMade(since, until)
			if err != nil {
				return err
			}
			var lowest, highest task.RunID
			for id := task.RunID(1); id <= n; id++ {
				if at := made(id); !at.Before(since) && at.Before(until) {
					if lowest == 0 {
						lowest = id
					}
					highest = id
				}
			}
			if lowest > 0 && (first > lowest || last < highest || lowest-first > block || last-highest > block) || lowest == 0 && last > 0 && last-first > 2*block {
				t.Errorf("from %d to %d s: bounds %d to %d, runs %d to %d", c.since, c.until, first, last, lowest, highest)
			}
		}
		first, last, err := tx.RunsMade(time.Time{}, time.Time{})
		if first > 1 || last < n {
			t.Errorf("of all: %d to %d", first, last)
		}
		return err
	})
	// A block without runs is forgotten.
	update(t, s, func(tx *store.Tx) error {
		for id := task.RunID(1); id < 3*block; id++ {
			if done, err := tx.DeleteRun(id, 100); err != nil || !done {
				return errors.Join(err, errors.New("it is not gone"))
			}
		}
		first, _, err := tx.RunsMade(time.Time{}, time.Time{})
		if first != 3*block {
			t.Errorf("the first block is from %d", first)
		}
		return err
	})
	noFaults(t, s)
}

// A definition of one run is not swept while a run has it, by no change of the
// task, and goes with the last of them.
func TestPrivateDefinitions(t *testing.T) {
	s := open(t, options(t.TempDir()))
	def := task.Task{Name: "t", Version: 1}
	var run, again task.Run
	there := func(tx *store.Tx) bool { _, err := tx.Definition("t", run.DefinitionVersion); return err == nil }
	update(t, s, func(tx *store.Tx) (err error) {
		if err := tx.PutTask(def); err != nil {
			return err
		}
		if err := tx.PutDefinition(2, def); !errors.Is(err, task.ErrInvalid) {
			t.Errorf("a version of the task's: %v", err)
		}
		if run, err = newRun(tx, "t", 1); err != nil {
			return err
		}
		run.DefinitionVersion, run.Status = task.PrivateVersion(run.ID, 0), task.RunCompleted
		if err := tx.PutDefinition(run.DefinitionVersion, task.Task{Name: "t", Version: 1, Description: "for once"}); err != nil {
			return err
		}
		if err := tx.PutRun(run); err != nil {
			return err
		}
		again, err = newRun(tx, "t", run.DefinitionVersion)
		return err
	})
	update(t, s, func(tx *store.Tx) error {
		def.Version = 20
		if err := tx.PutTask(def); err != nil || !there(tx) {
			t.Errorf("it went with a change of the task (%v)", err)
		}
		if _, err := tx.Definition("t", 1); err == nil {
			t.Error("the version that nobody has is kept")
		}
		if _, err := tx.DeleteRun(run.ID, 9); err != nil || !there(tx) {
			t.Errorf("it went with the first of two runs (%v)", err)
		}
		if err := tx.DeleteTask("t"); err != nil || !there(tx) {
			t.Errorf("it went with the task (%v)", err)
		}
		return nil
	})
	noFaults(t, s)
	update(t, s, func(tx *store.Tx) error {
		again.Status = task.RunFailed
		if err := tx.PutRun(again); err != nil {
			return err
		}
		_, err := tx.DeleteRun(again.ID, 9)
		if there(tx) {
			t.Error("it is kept without a run")
		}
		return err
	})
	noFaults(t, s)
}

// be is a number as keys have it.
func be(n uint64) string {
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(n >> (56 - 8*i))
	}
	return string(b)
}

// listed is a closed store with three tasks, and of each a run that failed and
// one that waits.
func listed(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s := open(t, options(dir))
	update(t, s, func(tx *store.Tx) error {
		for _, name := range []string{"a", "b", "c"} {
			if err := tx.PutTask(task.Task{Name: name, Version: 1, CreatedBy: "ann"}); err != nil {
				return err
			}
			for range 2 {
				run, err := newRun(tx, name, 1)
				if run.Number == 1 && err == nil {
					run.Status = task.RunFailed
					err = tx.PutRun(run)
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// seen is all that lists have, in words.
func seen(tx *store.Tx) (tasks, failed, queued string, errs error) {
	err := tx.Summaries(func(s task.Summary) bool {
		tasks += fmt.Sprintf("%s by %s %d %s, ", s.Name, s.CreatedBy, s.LastNumber, s.LastStatus)
		return true
	})
	errs = errors.Join(errs, err)
	for status, text := range map[task.RunStatus]*string{task.RunFailed: &failed, task.RunQueued: &queued} {
		err := tx.RunsByStatus("", status, 0, func(run task.Run) bool { *text += run.Ref() + " "; return true })
		errs = errors.Join(errs, err)
		var each []string
		for _, name := range []string{"a", "b", "c"} {
			err := tx.RunsByStatus(name, status, 0, func(run task.Run) bool { each = append(each, run.Ref()); return true })
			errs = errors.Join(errs, err)
		}
		slices.Reverse(each)
		if by := strings.Join(each, " ") + " "; by != *text {
			errs = errors.Join(errs, fmt.Errorf("by task they are %q", by))
		}
	}
	return tasks, failed, queued, errs
}

// What lists go by can be had from the records too: damage of it changes no list
// and stands in nobody's way, the scrub finds it, and what is put anew is whole.
func TestDamageOfWhatListsGoByIsNoHarm(t *testing.T) {
	for bucket, key := range map[string]string{
		"summaries": "a", "newest": "a", "active": be(2), "task_active": "a\x00" + be(2),
		"ended": "failed\x00" + be(1), "task_ended": "a\x00failed\x00" + be(1), "made": be(0),
	} {
		t.Run(bucket, func(t *testing.T) {
			dir := listed(t)
			damage(t, dir, bucket, key)
			s := reopen(t, dir)
			check := func(when string) {
				t.Helper()
				view(t, s, func(tx *store.Tx) error {
					tasks, failed, queued, err := seen(tx)
					if err != nil || tasks != "a by ann 2 queued, b by ann 2 queued, c by ann 2 queued, " ||
						failed != "c/1 b/1 a/1 " || queued != "c/2 b/2 a/2 " {
						t.Errorf("%s: %s| %s| %s (%v)", when, tasks, failed, queued, err)
					}
					if _, err := tx.Summary("a"); err != nil {
						t.Error(err)
					}
					first, last, err := tx.RunsMade(noon, noon.Add(time.Hour))
					if err != nil || first > 1 || last < 6 {
						t.Errorf("%s: made are %d to %d (%v)", when, first, last, err)
					}
					alive := 0
					if err := tx.AliveTasks(func(_ string, s task.RunStatus) bool {
						if s == task.RunQueued {
							alive++
						}
						return true
					}); err != nil || alive != 3 {
						t.Errorf("%s: %d are alive (%v)", when, alive, err)
					}
					return nil
				})
			}
			check("damaged")
			faults := 0
			if _, err := s.Scrub(t.Context(), func(err error) bool { wantCorrupt(t, "scrub", err, bucket); faults++; return true }); err != nil || faults == 0 {
				t.Errorf("scrub found %d faults (%v)", faults, err)
			}
			update(t, s, func(tx *store.Tx) error {
				one, err := tx.Run(1)
				if err != nil {
					return err
				}
				two, err := tx.Run(2)
				if err != nil {
					return err
				}
				one.Status, two.Status = task.RunQueued, task.RunRunning // and back, as a run would
				if err := errors.Join(tx.PutRun(one), tx.PutRun(two)); err != nil {
					return err
				}
				one.Status, two.Status = task.RunFailed, task.RunQueued
				more := task.Run{ID: 7, Task: "a", Number: 3, Status: task.RunFailed, DefinitionVersion: 1, CreatedAt: noon}
				if err := errors.Join(tx.PutTask(task.Task{Name: "a", Version: 1, CreatedBy: "ann"}), tx.PutRun(one), tx.PutRun(two), tx.PutRun(more)); err != nil {
					return err
				}
				_, err = tx.DeleteRun(7, 9)
				return err
			})
			check("put anew")
			noFaults(t, s)
		})
	}
}

// The others are listed, and the fault is told, when a record itself is damaged.
func TestADamagedRecordHoldsUpNoList(t *testing.T) {
	t.Run("run", func(t *testing.T) {
		dir := listed(t)
		damage(t, dir, "runs", be(3)) // b/1, which failed
		s := reopen(t, dir)
		view(t, s, func(tx *store.Tx) error {
			tasks, failed, queued, err := seen(tx)
			wantCorrupt(t, "lists", errors.Unwrap(onlyErr(err)), "runs")
			if !strings.Contains(tasks, "b by ann 2 queued") || failed != "c/1 a/1 " || queued != "c/2 b/2 a/2 " {
				t.Errorf("%s| %s| %s", tasks, failed, queued)
			}
			var all []string
			err = tx.Runs("", 0, func(run task.Run) bool { all = append(all, run.Ref()); return true })
			wantCorrupt(t, "Runs", err, "runs")
			if got := strings.Join(all, " "); got != "c/2 c/1 b/2 a/2 a/1" {
				t.Errorf("all are %s", got)
			}
			return nil
		})
	})
	t.Run("task", func(t *testing.T) {
		dir := listed(t)
		damage(t, dir, "tasks", "b")
		s := reopen(t, dir)
		view(t, s, func(tx *store.Tx) error {
			tasks, _, _, err := seen(tx)
			if err != nil || !strings.Contains(tasks, "b by ann 2 queued") {
				t.Errorf("its summary is whole: %s (%v)", tasks, err)
			}
			return nil
		})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		damage(t, dir, "summaries", "b")
		s = reopen(t, dir)
		view(t, s, func(tx *store.Tx) error {
			tasks, _, _, err := seen(tx)
			wantCorrupt(t, "Summaries", errors.Unwrap(onlyErr(err)), "tasks")
			if tasks != "a by ann 2 queued, c by ann 2 queued, " {
				t.Errorf("the others are %s", tasks)
			}
			_, err = tx.Summary("b")
			wantCorrupt(t, "Summary", err, "tasks")
			return nil
		})
	})
}

// onlyErr takes joins off.
func onlyErr(err error) error {
	for {
		many, ok := err.(interface{ Unwrap() []error })
		if !ok {
			return fmt.Errorf("%w", err)
		}
		err = many.Unwrap()[0]
	}
}

// What a damaged task may still need of its versions is kept; a run's own
// definition is none of them.
func TestAPrivateDefinitionOfADamagedTask(t *testing.T) {
	dir := listed(t)
	s := reopen(t, dir)
	update(t, s, func(tx *store.Tx) error {
		run, err := tx.Run(1)
		if err != nil {
			return err
		}
		run.DefinitionVersion = task.PrivateVersion(run.ID, 0)
		return errors.Join(tx.PutDefinition(run.DefinitionVersion, task.Task{Name: "a", Version: 1}), tx.PutRun(run))
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	damage(t, dir, "tasks", "a")
	s = reopen(t, dir)
	update(t, s, func(tx *store.Tx) error {
		if done, err := tx.DeleteRun(1, 9); err != nil || !done {
			t.Errorf("the run is not gone (%v)", err)
		}
		if _, err := tx.Definition("a", task.PrivateVersion(1, 0)); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("its definition is kept (%v)", err)
		}
		_, err := tx.Definition("a", 1)
		return err
	})
}

func TestScrubFindsListsThatDisagree(t *testing.T) {
	move := func(bucket, from, to, payload string) func(tx *bolt.Tx) error {
		return func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte(bucket))
			old := bytes.Clone(b.Get([]byte(from)))[5:]
			if payload != "" {
				old = []byte(payload)
			}
			value, err := store.SealRecord(bucket, []byte(to), old)
			return errors.Join(err, b.Delete([]byte(from)), b.Put([]byte(to), value))
		}
	}
	remove := func(bucket, key string) func(tx *bolt.Tx) error {
		return func(tx *bolt.Tx) error { return tx.Bucket([]byte(bucket)).Delete([]byte(key)) }
	}
	for what, c := range map[string]struct {
		edit func(tx *bolt.Tx) error
		says string
	}{
		"not in ended":             {remove("ended", "failed\x00"+be(1)), "ended says otherwise"},
		"not in task_ended":        {remove("task_ended", "a\x00failed\x00"+be(1)), "task_ended says otherwise"},
		"in ended as another":      {move("ended", "failed\x00"+be(1), "completed\x00"+be(1), ""), "it is of run a/1, which is failed"},
		"in ended though alive":    {move("ended", "failed\x00"+be(1), "failed\x00"+be(2), ""), "it is of run a/2, which is queued"},
		"in task_ended of others":  {move("task_ended", "a\x00failed\x00"+be(1), "b\x00failed\x00"+be(1), ""), "it is of run a/1"},
		"no key of ended":          {move("ended", "failed\x00"+be(1), "x", ""), "names no run"},
		"no such ended run":        {move("ended", "failed\x00"+be(1), "failed\x00"+be(99), ""), "no such run"},
		"another status in active": {move("active", be(2), be(2), "running"), `it says "running"`},
		"no summary":               {remove("summaries", "a"), "missing in summaries"},
		"summary of no task":       {move("summaries", "a", "aa", ""), "no such task"},
		"another summary":          {move("summaries", "a", "a", "\x0a\x03bob"), "the task says otherwise"},
		"nothing newest":           {remove("newest", "a"), "nothing of the task"},
		"newest of nobody":         {move("newest", "a", "aa", ""), "it is run id 2"},
		"no span":                  {remove("made", be(0)), "made says otherwise"},
		"a span too short":         {move("made", be(0), be(0), be(5)+be(6)), "made says otherwise"},
		"no span at all":           {move("made", be(0), be(0), "x"), "instead of 16"},
		"a span of no runs":        {move("made", be(0), be(7), ""), "no such runs"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := listed(t)
			edit(t, dir, c.edit)
			s := reopen(t, dir)
			var said []string
			_, err := s.Scrub(t.Context(), func(err error) bool { said = append(said, err.Error()); return true })
			if all := strings.Join(said, "\n"); err != nil || !strings.Contains(all, c.says) {
				t.Errorf("want %q, got %q (%v)", c.says, all, err)
			}
			view(t, s, func(tx *store.Tx) error { // whatever it finds, it does not end the process
				_, _, _, _ = seen(tx)
				_ = tx.AliveTasks(func(string, task.RunStatus) bool { return true })
				_, _, _ = tx.RunsMade(noon, noon)
				return nil
			})
		})
	}
}
