package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

var noon = time.Date(2026, 3, 8, 12, 0, 0, 123, time.UTC)

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func TestRecordsComeBackWhole(t *testing.T) {
	dir := t.TempDir()
	s := open(t, options(dir))
	def := task.Task{Name: "backup", Description: "<nightly> & more", Settings: json.RawMessage(`{"a":1}`), Version: 3,
		Steps: []task.Step{{Name: "tables", Controller: "dumptables", Retry: task.Retry{Backoff: time.Second}}}, CreatedAt: noon}
	run := task.Run{ID: 1, Task: "backup", Number: 1, Status: task.RunRunning, DefinitionVersion: 3, Progress: 12.5, CreatedAt: noon,
		Cancel: &task.CancelRequest{By: "root", At: noon}}
	step := task.RunStep{Position: task.Position{Top: 2, Sub: 7}, Name: "actor", Status: task.StepRunning, Settings: json.RawMessage(`{"t":"x"}`), AttemptAt: noon}
	update(t, s, func(tx *store.Tx) error {
		return errors.Join(tx.PutTask(def), tx.PutRun(run), tx.PutStep(1, step),
			tx.PutCheckpoint(1, step.Position, []byte{0, 1, 255}), tx.PutCheckpoint(1, task.Position{Top: 3}, nil),
			tx.PutOutput(1, step.Position, "rows", json.RawMessage(`[1,2]`)))
	})
	check := func(s *store.Store) {
		view(t, s, func(tx *store.Tx) error {
			equal := func(what string, got any, err error, want any) {
				t.Helper()
				if diff := cmp.Diff(want, got); err != nil || diff != "" {
					t.Errorf("%s: %v %s", what, err, diff)
				}
			}
			gotTask, err := tx.Task("backup")
			equal("Task", gotTask, err, def)
			gotTask, err = tx.Definition("backup", 3)
			equal("Definition", gotTask, err, def)
			gotRun, err := tx.Run(1)
			equal("Run", gotRun, err, run)
			gotRun, err = tx.RunByNumber("backup", 1)
			equal("RunByNumber", gotRun, err, run)
			gotStep, err := tx.Step(1, step.Position)
			equal("Step", gotStep, err, step)
			data, err := tx.Checkpoint(1, step.Position)
			equal("Checkpoint", data, err, []byte{0, 1, 255})
			data, err = tx.Checkpoint(1, task.Position{Top: 3})
			equal("empty Checkpoint", data, err, []byte{})
			data, err = tx.Checkpoint(1, task.Position{Top: 4})
			equal("no Checkpoint", data, err, []byte(nil))
			out, err := tx.Output(1, step.Position, "rows")
			equal("Output", out, err, json.RawMessage(`[1,2]`))
			return nil
		})
	}
	check(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(open(t, options(dir)))
}

func TestWhatIsNotThere(t *testing.T) {
	s := open(t, options(t.TempDir()))
	view(t, s, func(tx *store.Tx) error {
		_, err := tx.Task("x")
		wantErr(t, "Task", err, task.ErrNotFound)
		_, err = tx.Task("")
		wantErr(t, "Task without a name", err, task.ErrNotFound)
		_, err = tx.Definition("x", 1)
		wantErr(t, "Definition", err, task.ErrNotFound)
		_, err = tx.Run(1)
		wantErr(t, "Run", err, task.ErrNotFound)
		_, err = tx.RunByNumber("x", 0)
		wantErr(t, "newest run", err, task.ErrNotFound)
		_, err = tx.RunByNumber("x", 4)
		wantErr(t, "RunByNumber", err, task.ErrNotFound)
		_, err = tx.Step(1, task.Position{Top: 1})
		wantErr(t, "Step", err, task.ErrNotFound)
		_, err = tx.Output(1, task.Position{Top: 1}, "x")
		wantErr(t, "Output", err, task.ErrNotFound)
		wantErr(t, "a write in a View", tx.PutStep(1, task.RunStep{}), task.ErrState)
		wantErr(t, "a delete in a View", tx.DeleteCheckpoint(1, task.Position{}), task.ErrState)
		return nil
	})
	update(t, s, func(tx *store.Tx) error {
		wantErr(t, "DeleteTask", tx.DeleteTask("x"), task.ErrNotFound)
		done, err := tx.DeleteRun(1, 10)
		wantErr(t, "DeleteRun", err, task.ErrNotFound)
		if !done {
			t.Error("a run that is not there is not gone")
		}
		_, err = tx.DeleteRun(1, 0)
		wantErr(t, "DeleteRun without end", err, task.ErrInvalid)
		return errors.Join(tx.DeleteCheckpoint(1, task.Position{}), tx.DeleteOutputs(1, task.Position{}))
	})
}

func TestRefusedWrites(t *testing.T) {
	s := open(t, options(t.TempDir()))
	huge := make([]byte, store.MaxValue)
	for what, fn := range map[string]func(tx *store.Tx) error{
		"task without a name":  func(tx *store.Tx) error { return tx.PutTask(task.Task{}) },
		"zero byte in a name":  func(tx *store.Tx) error { return tx.PutTask(task.Task{Name: "a\x00b"}) },
		"run of no task":       func(tx *store.Tx) error { return tx.PutRun(task.Run{ID: 1, Number: 1}) },
		"run without a number": func(tx *store.Tx) error { return tx.PutRun(task.Run{ID: 1, Task: "a"}) },
		"run without an id":    func(tx *store.Tx) error { return tx.PutRun(task.Run{Number: 1, Task: "a"}) },
		"counter of no task":   func(tx *store.Tx) error { _, _, err := tx.NextRun(""); return err },
		"output without name":  func(tx *store.Tx) error { return tx.PutOutput(1, task.Position{}, "", nil) },
		"huge checkpoint":      func(tx *store.Tx) error { return tx.PutCheckpoint(1, task.Position{}, huge) },
		"huge step": func(tx *store.Tx) error {
			return tx.PutStep(1, task.RunStep{Message: string(huge)})
		},
	} {
		err := s.Update(t.Context(), fn)
		wantErr(t, what, err, task.ErrInvalid)
	}
	update(t, s, func(tx *store.Tx) error {
		return tx.PutCheckpoint(1, task.Position{}, make([]byte, task.MaxCheckpoint))
	})
}

func TestRunKeepsItsIdentity(t *testing.T) {
	s := open(t, options(t.TempDir()))
	run := task.Run{ID: 1, Task: "a", Number: 1, Status: task.RunQueued}
	update(t, s, func(tx *store.Tx) error { return tx.PutRun(run) })
	for what, c := range map[string]struct {
		run  task.Run
		want error
	}{
		"another task":     {task.Run{ID: 1, Task: "b", Number: 1}, task.ErrConflict},
		"another number":   {task.Run{ID: 1, Task: "a", Number: 2}, task.ErrConflict},
		"number in use":    {task.Run{ID: 2, Task: "a", Number: 1}, task.ErrExists},
		"pinned elsewhere": {task.Run{ID: 1, Task: "a", Number: 2, DefinitionVersion: 9}, task.ErrConflict},
	} {
		wantErr(t, what, s.Update(t.Context(), func(tx *store.Tx) error { return tx.PutRun(c.run) }), c.want)
	}
}

// names of runs, as scans return them
func refs(runs *[]string) func(task.Run) bool {
	return func(r task.Run) bool { *runs = append(*runs, r.Ref()); return true }
}

func TestListings(t *testing.T) {
	s := open(t, options(t.TempDir()))
	update(t, s, func(tx *store.Tx) error {
		for _, name := range []string{"backup-weekly", "backup", "a", "backup", "backup-weekly", "backup"} {
			if err := tx.PutTask(task.Task{Name: name, Version: 1}); err != nil {
				return err
			}
			if _, err := newRun(tx, name, 1); err != nil {
				return err
			}
		}
		run, err := tx.Run(4)
		run.Status = task.RunCompleted
		return errors.Join(err, tx.PutRun(run))
	})
	view(t, s, func(tx *store.Tx) error {
		var got []string
		expect := func(what string, err error, want ...string) {
			t.Helper()
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: got %v (%v), want %v", what, got, err, want)
			}
			got = nil
		}
		names := func(task task.Task) bool { got = append(got, task.Name); return len(got) < 2 }
		expect("tasks", tx.Tasks("", names), "a", "backup")
		expect("tasks after", tx.Tasks("backup", names), "backup-weekly")
		expect("runs", tx.Runs("", 0, refs(&got)), "backup/3", "backup-weekly/2", "backup/2", "a/1", "backup/1", "backup-weekly/1")
		expect("runs before", tx.Runs("", 3, refs(&got)), "backup/1", "backup-weekly/1")
		expect("runs of one task", tx.Runs("backup", 0, refs(&got)), "backup/3", "backup/2", "backup/1")
		expect("runs of one before its own", tx.Runs("backup", 4, refs(&got)), "backup/1")
		expect("runs of one before another's", tx.Runs("backup", 5, refs(&got)), "backup/2", "backup/1")
		expect("runs of none", tx.Runs("back", 0, refs(&got)))
		expect("active", tx.ActiveRuns(refs(&got)), "backup-weekly/1", "backup/1", "a/1", "backup-weekly/2", "backup/3")
		newest, err := tx.RunByNumber("backup", 0)
		refs(&got)(newest)
		expect("newest", err, "backup/3")
		return nil
	})
}

func TestDeletingStopsAtTheNamesEnd(t *testing.T) {
	s := open(t, options(t.TempDir()))
	update(t, s, func(tx *store.Tx) error {
		for _, name := range []string{"backup", "backup-weekly", "backup.2"} {
			if err := tx.PutTask(task.Task{Name: name, Version: 1}); err != nil {
				return err
			}
			run, err := newRun(tx, name, 1)
			run.Status = task.RunCompleted
			if err := errors.Join(err, tx.PutRun(run)); err != nil {
				return err
			}
		}
		return tx.DeleteTask("backup")
	})
	update(t, s, func(tx *store.Tx) error {
		_, err := tx.DeleteRun(1, 100)
		return err
	})
	view(t, s, func(tx *store.Tx) error {
		for _, name := range []string{"backup-weekly", "backup.2"} {
			_, err := tx.Task(name)
			_, err2 := tx.Definition(name, 1)
			_, err3 := tx.RunByNumber(name, 1)
			if err := errors.Join(err, err2, err3); err != nil {
				t.Error(err)
			}
		}
		_, err := tx.Definition("backup", 1)
		wantErr(t, "definition of the deleted task", err, task.ErrNotFound)
		return nil
	})
	update(t, s, func(tx *store.Tx) error {
		id, number, err := tx.NextRun("backup")
		if id != 4 || number != 2 {
			t.Errorf("after the deletion the next run is %d with id %d", number, id)
		}
		return err
	})
	noFaults(t, s)
}

func TestDefinitionsLiveWhilePinned(t *testing.T) {
	s := open(t, options(t.TempDir()))
	versions := func(want ...uint64) {
		t.Helper()
		view(t, s, func(tx *store.Tx) error {
			var got []uint64
			for v := range uint64(40) {
				if def, err := tx.Definition("a", v); err == nil && def.Version == v {
					got = append(got, v)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("versions %v are there, want %v", got, want)
			}
			return nil
		})
	}
	put := func(version uint64) {
		update(t, s, func(tx *store.Tx) error { return tx.PutTask(task.Task{Name: "a", Version: version}) })
	}
	var run task.Run
	put(1)
	put(2)
	put(9)
	versions(1, 2, 9) // the newest ten
	put(11)
	versions(2, 9, 11)
	update(t, s, func(tx *store.Tx) (err error) { run, err = newRun(tx, "a", 2); return err })
	put(12)
	put(20)
	versions(2, 11, 12, 20)
	run.DefinitionVersion = 12 // continued with a newer one
	update(t, s, func(tx *store.Tx) error { return tx.PutRun(run) })
	versions(11, 12, 20)
	put(32)
	versions(12, 32)
	run.Status = task.RunFailed
	update(t, s, func(tx *store.Tx) error { return errors.Join(tx.PutRun(run), tx.DeleteTask("a")) })
	versions(12)
	update(t, s, func(tx *store.Tx) error { _, err := tx.DeleteRun(run.ID, 9); return err })
	versions()
}

func TestDeletionIsBounded(t *testing.T) {
	s := open(t, options(t.TempDir()))
	fill(t, s, 2, 50)
	err := s.Update(t.Context(), func(tx *store.Tx) error { _, err := tx.DeleteRun(1, 10); return err })
	wantErr(t, "deleting a run that is alive", err, task.ErrState)
	// planned steps: 49 of run 1, and the planner stays
	rounds := 0
	for done := false; !done; rounds++ {
		update(t, s, func(tx *store.Tx) (err error) { done, err = tx.DeletePlanned(1, 1, 10); return err })
	}
	if rounds != 5 {
		t.Errorf("deleting 49 steps by tens took %d rounds", rounds)
	}
	count := func(id task.RunID) (steps, outputs int) {
		view(t, s, func(tx *store.Tx) error {
			return errors.Join(
				tx.Steps(id, task.Position{}, func(task.RunStep) bool { steps++; return true }),
				tx.Outputs(id, task.Position{}, func(task.Position, string, json.RawMessage) bool { outputs++; return true }))
		})
		return steps, outputs
	}
	if steps, outputs := count(1); steps != 1 || outputs != 1 {
		t.Errorf("%d steps and %d outputs are left of the planner's 1", steps, outputs)
	}
	if steps, outputs := count(2); steps != 50 || outputs != 50 {
		t.Errorf("the other run has %d steps and %d outputs left", steps, outputs)
	}
	update(t, s, func(tx *store.Tx) error {
		run, err := tx.Run(2)
		run.Status = task.RunCancelled
		return errors.Join(err, tx.PutRun(run))
	})
	rounds = 0
	for done := false; !done; rounds++ {
		update(t, s, func(tx *store.Tx) (err error) {
			if _, err := tx.Run(2); err != nil {
				return fmt.Errorf("the run went before its records: %w", err)
			}
			done, err = tx.DeleteRun(2, 20)
			return err
		})
	}
	if steps, outputs := count(2); steps+outputs != 0 || rounds != 8 {
		t.Errorf("after %d rounds %d steps and %d outputs are left", rounds, steps, outputs)
	}
	noFaults(t, s)
}

func TestScansSurviveWritesOfTheirCallback(t *testing.T) {
	s := open(t, options(t.TempDir()))
	fill(t, s, 1, 300)
	update(t, s, func(tx *store.Tx) error {
		n := 0
		err := tx.Steps(1, task.Position{}, func(step task.RunStep) bool {
			n++
			step.Message = strings.Repeat("longer than before ", 20)
			if err := tx.PutStep(1, step); err != nil {
				t.Error(err)
			}
			if err := tx.DeleteOutputs(1, step.Position); err != nil {
				t.Error(err)
			}
			return true
		})
		if n != 300 {
			t.Errorf("saw %d of 300 steps", n)
		}
		return err
	})
}

// bbolt's own Last never returns from a bucket that its transaction emptied,
// and its Prev stops early at a page that it emptied.
func TestBackwardsOverWhatThisTransactionDeleted(t *testing.T) {
	s := open(t, options(t.TempDir()))
	const runs = 600
	update(t, s, func(tx *store.Tx) error {
		for range runs {
			run, err := newRun(tx, "a", 1)
			run.Status = task.RunCompleted
			if err := errors.Join(err, tx.PutRun(run)); err != nil {
				return err
			}
		}
		return nil
	})
	update(t, s, func(tx *store.Tx) error {
		for id := task.RunID(100); id <= 500; id++ {
			if _, err := tx.DeleteRun(id, 9); err != nil {
				return err
			}
		}
		for _, name := range []string{"", "a"} {
			var got []string
			err := tx.Runs(name, 0, refs(&got))
			if err != nil || len(got) != 199 || got[198] != "a/1" {
				t.Errorf("Runs(%q): %d runs are left, want 199 (%v)", name, len(got), err)
			}
		}
		for id := task.RunID(1); id <= runs; id++ {
			if _, err := tx.DeleteRun(id, 9); err != nil && !errors.Is(err, task.ErrNotFound) {
				return err
			}
		}
		_, err := tx.RunByNumber("a", 0)
		wantErr(t, "newest of none", err, task.ErrNotFound)
		return tx.Runs("", 0, func(task.Run) bool { t.Error("a deleted run"); return false })
	})
}

func noFaults(t testing.TB, s *store.Store) store.ScrubReport {
	t.Helper()
	report, err := s.Scrub(context.Background(), func(err error) bool { t.Error(err); return true })
	if err != nil {
		t.Error(err)
	}
	return report
}
