package app

import (
	"fmt"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// account is what a database says of its schedules, read while no daemon runs.
type account struct {
	due, ran int // due times that were decided on, and those that made a run
	alive    int // runs
	faults   []string
}

// auditLedger holds the ledger against the runs: each due time of a fixed rate, from
// when the schedule was saved up to where its cursor stands, has exactly one
// outcome; each that ran has exactly one run, which knows what it is for; and no
// run of a schedule is without its due time.
func auditLedger(t *testing.T, data string) (a account) {
	t.Helper()
	// A plugin that the killed daemon was just about to start holds the lock until
	// its program is loaded, which takes its time on a busy machine.
	db, err := store.Open(store.Options{Dir: data, BallastSize: -1, LockTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *store.Tx) error {
		var tasks []task.Task
		if err := tx.Tasks("", func(one task.Task) bool { tasks = append(tasks, one); return true }); err != nil {
			return err
		}
		for _, one := range tasks {
			runs := map[uint64]task.Run{}
			if err := tx.Runs(one.Name, 0, func(run task.Run) bool { runs[run.Number] = run; return true }); err != nil {
				return err
			}
			for _, s := range one.Schedules {
				if err := a.audit(tx, one.Name, s, runs); err != nil {
					return err
				}
			}
			for _, run := range runs {
				if run.Status.Alive() {
					a.alive++
				}
				if run.Cause() == task.TriggerSchedule {
					a.fault("%s for %s of %s has no due time in the ledger", run.Ref(), run.ScheduledFor, run.Schedule)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range a.faults {
		t.Error(fault)
	}
	return a
}

func (a *account) fault(format string, args ...any) {
	a.faults = append(a.faults, fmt.Sprintf(format, args...))
}

// audit takes the runs that the schedule accounts for out of runs.
func (a *account) audit(tx *store.Tx, name string, s task.Schedule, runs map[uint64]task.Run) error {
	cursor, err := tx.Cursor(name, s.Name)
	if err != nil {
		return err
	}
	var slots []task.Slot
	if err := tx.Slots(name, s.Name, time.Time{}, func(slot task.Slot) bool { slots = append(slots, slot); return true }); err != nil {
		return err
	}
	where := name + "/" + s.Name
	next := cursor.Since.Add(s.Rate)
	for i := len(slots) - 1; i >= 0; i-- { // oldest first
		slot := slots[i]
		if !slot.First.Equal(next) {
			a.fault("%s: the next due time is %s, the ledger goes on with %s", where, next, slot.First)
		}
		if slot.Count < 1 || !slot.Last.Equal(slot.First.Add(time.Duration(slot.Count-1)*s.Rate)) {
			a.fault("%s: %d due times from %s to %s", where, slot.Count, slot.First, slot.Last)
		}
		next = slot.Last.Add(s.Rate)
		a.due += slot.Count
		if !slot.Outcome.Ran() {
			if slot.Run != 0 {
				a.fault("%s: %s at %s has run %d", where, slot.Outcome, slot.First, slot.Run)
			}
			continue
		}
		a.ran++
		run, there := runs[slot.Run]
		if delete(runs, slot.Run); !there || slot.Count != 1 || run.Schedule != s.Name || run.Cause() != task.TriggerSchedule || !run.ScheduledFor.Equal(slot.First) {
			a.fault("%s: %d at %s has the run %d (there: %t), which is for %s of %s", where, slot.Count, slot.First, slot.Run, there, run.ScheduledFor, run.Schedule)
		}
		if run.Status.Alive() {
			a.alive++
		}
	}
	if next.Add(-s.Rate).Before(cursor.Last) || next.Add(-s.Rate).After(cursor.Last) {
		a.fault("%s: the cursor is at %s, the ledger at %s", where, cursor.Last, next.Add(-s.Rate))
	}
	return nil
}
