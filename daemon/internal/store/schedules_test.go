package store_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// places names cursors as listings return them.
func places(got *[]string) func(task.Cursor) bool {
	return func(c task.Cursor) bool { *got = append(*got, c.Task+" "+c.Schedule); return true }
}

// wantList compares what a listing has collected, and empties it. Got is a
// pointer so that the listing can be called in the same line.
func wantList(t *testing.T, what string, err error, got *[]string, want []string) {
	t.Helper()
	if err != nil || !slices.Equal(*got, want) {
		t.Errorf("%s: got %q (%v), want %q", what, *got, err, want)
	}
	*got = nil
}

func TestSchedulesComeBackWhole(t *testing.T) {
	dir := t.TempDir()
	s := open(t, options(dir))
	// A zone whose offset has seconds, which the text of a time leaves out.
	old := time.FixedZone("LMT", 53*60+28)
	cursor := task.Cursor{Task: "backup", Schedule: "cron", Timing: `{"cron":"0 2 * * *"}`, Since: noon.Truncate(time.Second),
		Last: noon.In(old), Next: noon.Add(time.Hour).In(old), Due: noon.Add(2*time.Hour + 1).In(old), LastRun: 7, Completed: noon, Slots: 3}
	slot := task.Slot{Task: "backup", Schedule: "cron", First: noon.In(old), Last: noon.Add(time.Minute), Count: 2, Due: noon.In(old),
		Outcome: task.SlotMissed, Reason: "the daemon was down", Run: 4, At: noon}
	update(t, s, func(tx *store.Tx) error {
		if mark, err := tx.ClockMark(); err != nil || !mark.IsZero() {
			t.Errorf("a new store has the clock mark %s (%v)", mark, err)
		}
		return errors.Join(tx.PutCursor(cursor), tx.PutSlot(slot), tx.PutClockMark(noon.In(old)))
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, options(dir))
	view(t, s, func(tx *store.Tx) error {
		equal := func(what string, got any, err error, want any) {
			t.Helper()
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%s: %v %s", what, err, diff)
			}
		}
		got, err := tx.Cursor("backup", "cron")
		equal("Cursor", got, err, cursor)
		due, err := list(func(fn func(task.Cursor) bool) error { return tx.DueCursors(nil, fn) })
		equal("DueCursors", due, err, []task.Cursor{cursor})
		slots, err := list(func(fn func(task.Slot) bool) error { return tx.Slots("backup", "cron", time.Time{}, fn) })
		equal("Slots", slots, err, []task.Slot{slot})
		mark, err := tx.ClockMark()
		equal("ClockMark", mark, err, noon)
		return nil
	})
	cursor.Due = cursor.Due.Add(time.Second).In(old)
	update(t, s, func(tx *store.Tx) error { return tx.PutCursor(cursor) })
	noFaults(t, s)
}

func TestSchedulesThatAreNotThere(t *testing.T) {
	s := open(t, options(t.TempDir()))
	update(t, s, func(tx *store.Tx) error { return tx.PutCursor(cursorOf("backup", "cron")) })
	view(t, s, func(tx *store.Tx) error {
		for _, c := range [][2]string{{"backup", "cron-2"}, {"backup", "cro"}, {"backu", "cron"}, {"", "cron"}, {"backup", ""}, {"backup\x00cron", ""}, {"", "backup\x00cron"}} {
			_, err := tx.Cursor(c[0], c[1])
			wantErr(t, fmt.Sprintf("the cursor %q", c), err, task.ErrNotFound)
		}
		for what, err := range map[string]error{
			"PutCursor":    tx.PutCursor(cursorOf("backup", "cron")),
			"DeleteCursor": tx.DeleteCursor("backup", "cron"),
			"PutSlot":      tx.PutSlot(slotOf("backup", "cron", noon)),
			"DeleteSlot":   tx.DeleteSlot("backup", "cron", noon),
			"PutClockMark": tx.PutClockMark(noon),
		} {
			wantErr(t, what+" in a View", err, task.ErrState)
		}
		_, err := tx.DeleteOldestSlots("backup", "cron", 1)
		wantErr(t, "DeleteOldestSlots in a View", err, task.ErrState)
		return nil
	})
	update(t, s, func(tx *store.Tx) error {
		n, err := tx.DeleteOldestSlots("backup", "cron", 5)
		if n != 0 {
			t.Errorf("deleted %d slots of none", n)
		}
		return errors.Join(err, tx.DeleteCursor("backup", "cron-2"), tx.DeleteCursor("", ""), tx.DeleteSlot("backup", "cron", noon),
			tx.DeleteSlot("", "", time.Time{}), tx.Slots("", "", time.Time{}, nil), tx.AliveRuns("", nil))
	})
}

func TestRefusedSchedules(t *testing.T) {
	s := open(t, options(t.TempDir()))
	unix := func(ns int64) time.Time { return time.Unix(0, ns) }
	for what, fn := range map[string]func(tx *store.Tx) error{
		"cursor of no task":        func(tx *store.Tx) error { return tx.PutCursor(cursorOf("", "cron")) },
		"cursor of no schedule":    func(tx *store.Tx) error { return tx.PutCursor(cursorOf("a", "")) },
		"zero byte in a schedule":  func(tx *store.Tx) error { return tx.PutCursor(cursorOf("a", "b\x00c")) },
		"slot of no task":          func(tx *store.Tx) error { return tx.PutSlot(slotOf("", "cron", noon)) },
		"slot with a zero byte":    func(tx *store.Tx) error { return tx.PutSlot(slotOf("a", "b\x00c", noon)) },
		"slot of no time":          func(tx *store.Tx) error { return tx.PutSlot(slotOf("a", "cron", time.Time{})) },
		"slot before what counts":  func(tx *store.Tx) error { return tx.PutSlot(slotOf("a", "cron", unix(-1<<63).Add(-1))) },
		"slot behind what counts":  func(tx *store.Tx) error { return tx.PutSlot(slotOf("a", "cron", unix(1<<63-1).Add(1))) },
		"slot of the last number":  func(tx *store.Tx) error { return tx.PutSlot(slotOf("a", "cron", unix(1<<63-1))) },
		"slot of the first number": func(tx *store.Tx) error { return tx.PutSlot(slotOf("a", "cron", unix(-1<<63))) },
	} {
		wantErr(t, what, s.Update(t.Context(), fn), task.ErrInvalid)
	}
}

// A year beyond what nanoseconds can count is far, but not wrong.
func TestDueTimesBeyondNanoseconds(t *testing.T) {
	s := open(t, options(t.TempDir()))
	update(t, s, func(tx *store.Tx) error {
		for name, due := range map[string]time.Time{
			"b-far":   time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC),
			"a-far":   time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
			"ancient": time.Date(1200, 1, 1, 0, 0, 0, 0, time.UTC),
			"before":  time.Date(1969, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
			"epoch":   time.Unix(0, 0),
			"noon":    noon, "noon-and": noon.Add(1), "none": {},
		} {
			c := cursorOf(name, "at")
			if c.Due = due; due.Year() == 9999 {
				// Moved from there to there, it keeps its place.
				if err := tx.PutCursor(c); err != nil {
					return err
				}
				c.Due = due.AddDate(-1, 0, 0)
			}
			if err := tx.PutCursor(c); err != nil {
				return err
			}
		}
		return nil
	})
	want := []string{"ancient at", "before at", "epoch at", "noon at", "noon-and at", "a-far at", "b-far at"}
	view(t, s, func(tx *store.Tx) error {
		var got []string
		wantList(t, "due", tx.DueCursors(nil, places(&got)), &got, want)
		// One at a time, from the one before on.
		var after *task.Cursor
		for i := range len(want) + 1 {
			var next []task.Cursor
			err := tx.DueCursors(after, func(c task.Cursor) bool { next = append(next, c); return false })
			if i == len(want) {
				if err != nil || next != nil {
					t.Errorf("behind the last: %v (%v)", next, err)
				}
				break
			}
			if err != nil || len(next) != 1 || next[0].Task+" at" != want[i] {
				t.Fatalf("the one number %d is %v (%v), want %s", i, next, err, want[i])
			}
			after = &next[0]
		}
		return nil
	})
	noFaults(t, s)
	update(t, s, func(tx *store.Tx) error {
		for _, name := range []string{"a-far", "b-far", "ancient"} {
			if err := tx.DeleteCursor(name, "at"); err != nil {
				return err
			}
		}
		var got []string
		err := tx.DueCursors(nil, places(&got))
		wantList(t, "due after deletions", err, &got, want[1:5])
		return nil
	})
}

// The ledger decides on what is due while it lists it.
func TestDueCursorsWhoseCallbackMovesThem(t *testing.T) {
	s := open(t, options(t.TempDir()))
	const n = 500
	update(t, s, func(tx *store.Tx) error {
		for i := range n {
			c := cursorOf(fmt.Sprintf("task-%03d", i), "cron")
			c.Due = noon.Add(time.Duration(i/10) * time.Second)
			if err := tx.PutCursor(c); err != nil {
				return err
			}
		}
		return nil
	})
	update(t, s, func(tx *store.Tx) error {
		seen := map[string]int{}
		err := tx.DueCursors(nil, func(c task.Cursor) bool {
			if c.Due.After(noon.Add(time.Hour)) {
				return false
			}
			seen[c.Task]++
			c.Due = c.Due.Add(24 * time.Hour)
			if seen[c.Task]%2 == 0 {
				c.Due = time.Time{}
			}
			if err := tx.PutCursor(c); err != nil {
				t.Error(err)
			}
			return true
		})
		if len(seen) != n || slices.Max(slices.Collect(maps.Values(seen))) != 1 {
			t.Errorf("saw %d of %d cursors, one of them %d times", len(seen), n, slices.Max(slices.Collect(maps.Values(seen))))
		}
		return err
	})
	noFaults(t, s)
}

func TestSlotsGoWithTheirTask(t *testing.T) {
	s := open(t, options(t.TempDir()))
	tasks := []string{"backup", "backup-weekly", "backup.2"}
	schedules := []string{"cron", "cron-2", "gone", task.ExpectName}
	const each = 30
	update(t, s, func(tx *store.Tx) error {
		for _, name := range tasks {
			if err := tx.PutTask(task.Task{Name: name, Version: 1}); err != nil {
				return err
			}
			for _, schedule := range schedules {
				for i := range each {
					if err := tx.PutSlot(slotOf(name, schedule, noon.Add(time.Duration(i)*time.Hour))); err != nil {
						return err
					}
				}
			}
			if err := tx.PutCursor(cursorOf(name, "cron")); err != nil {
				return err
			}
		}
		return tx.DeleteTask("backup")
	})
	view(t, s, func(tx *store.Tx) error {
		for _, name := range tasks {
			for _, schedule := range schedules {
				slots, err := list(func(fn func(task.Slot) bool) error { return tx.Slots(name, schedule, time.Time{}, fn) })
				if want := map[bool]int{false: each}[name == "backup"]; err != nil || len(slots) != want {
					t.Errorf("%s %s has %d slots, want %d (%v)", name, schedule, len(slots), want, err)
				}
			}
			if _, err := tx.Cursor(name, "cron"); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	noFaults(t, s)
}

// Whether a run of the task is alive is asked at each due time: what others
// have alive must not cost.
func TestAliveRunsReadsNoOtherTask(t *testing.T) {
	dir := t.TempDir()
	s := open(t, options(dir))
	update(t, s, func(tx *store.Tx) error {
		for _, name := range []string{"backup-weekly", "backup", "backup", "backup"} {
			if _, err := newRun(tx, name, 1); err != nil {
				return err
			}
		}
		run, err := tx.RunByNumber("backup", 2)
		run.Status = task.RunFailed
		return errors.Join(err, tx.PutRun(run))
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	damage(t, dir, "runs", "\x00\x00\x00\x00\x00\x00\x00\x01") // backup-weekly/1: reading it would be an error
	s, err := store.OpenUnchecked(options(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	view(t, s, func(tx *store.Tx) error {
		var got []string
		wantList(t, "alive", tx.AliveRuns("backup", refs(&got)), &got, []string{"backup/1", "backup/3"})
		wantList(t, "alive of none", tx.AliveRuns("back", refs(&got)), &got, nil)
		err := tx.AliveRuns("backup-weekly", refs(&got))
		if _, ok := errors.AsType[*store.CorruptError](err); !ok {
			t.Errorf("the damaged run: %v", err)
		}
		return nil
	})
}
