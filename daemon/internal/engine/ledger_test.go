package engine_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// ledger is the engine's Schedules of these tests. It keeps a slot for each
// run whose end it was told of, in the very transaction, and says what it was
// told of tasks. It outlives engines.
type ledger struct {
	w *world

	mu        sync.Mutex
	changes   []string // "v1>v2" for each call of Changed that was made
	committed int
	due       map[string]time.Time // of tasks
	submit    func(tx engine.Tx, old, now *task.Task) ([]task.Run, error)
}

func withLedger(t testing.TB, tasks ...task.Task) (*world, *ledger) {
	l := &ledger{}
	w := newWorld(t, func(c *engine.Config) { c.Schedules = l })
	l.w = w
	w.start()
	w.apply(tasks...)
	return w, l
}

// Changed implements engine.Schedules.
func (l *ledger) Changed(tx engine.Tx, old, now *task.Task) ([]task.Run, error) {
	version := func(t *task.Task) string {
		if t == nil {
			return "-"
		}
		return fmt.Sprintf("%s@%d", t.Name, t.Version)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes = append(l.changes, version(old)+">"+version(now))
	if l.submit == nil {
		return nil, nil
	}
	return l.submit(tx, old, now)
}

// Ended implements engine.Schedules.
func (l *ledger) Ended(tx engine.Tx, run task.Run) error {
	if stored, err := tx.Run(run.ID); err != nil || stored.Status != run.Status || run.Status.Alive() {
		return fmt.Errorf("told of the end of %s (%s), which is stored as %s: %w", run.Ref(), run.Status, stored.Status, err)
	}
	slot := task.Slot{Task: run.Task, Schedule: endings, First: time.Unix(int64(run.Number), 0)}
	slot.Count = 1 + endsOf(tx.(*store.Tx), run)
	return tx.(*store.Tx).PutSlot(slot)
}

// Due implements engine.Schedules: what is in due is due from then on.
func (l *ledger) Due(_ engine.Reader, t *task.Task, since, now time.Time) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.due[t.Name]
	return ok && at.After(since) && !at.After(now), nil
}

// Committed implements engine.Schedules.
func (l *ledger) Committed() {
	l.mu.Lock()
	l.committed++
	l.mu.Unlock()
}

const endings = "endings"

// endsOf is how often the ledger was told of the run's end.
func endsOf(tx *store.Tx, run task.Run) (count int) {
	at := time.Unix(int64(run.Number), 0)
	_ = tx.Slots(run.Task, endings, at.Add(1), func(s task.Slot) bool {
		if s.First.Equal(at) {
			count = s.Count
		}
		return false
	})
	return count
}

// told is how often the ledger was told of the run's end.
func (w *world) told(id task.RunID) (count int) {
	run := w.run(id).Run
	_ = w.db.Store.View(func(tx *store.Tx) error { count = endsOf(tx, run); return nil })
	return count
}

func (l *ledger) told() (changes []string, committed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.changes), l.committed
}

// submitIn makes runs of the task as a schedule does, and adopts them unless
// the store fails.
func (w *world) submitIn(name string, wishes ...task.Run) (made []task.Run, err error) {
	err = w.db.Update(w.t.Context(), func(tx engine.Tx) error {
		made = nil
		def, err := tx.Task(name)
		for _, wish := range wishes {
			if err != nil {
				return err
			}
			var run task.Run
			run, err = w.e.SubmitIn(tx, def, wish)
			made = append(made, run)
		}
		return err
	})
	if err == nil {
		w.e.Adopt(made...)
	}
	return made, err
}

// fires does so for one run and returns its id.
func (w *world) fires(name string, wish task.Run) task.RunID {
	w.t.Helper()
	runs, err := w.submitIn(name, wish)
	if err != nil {
		w.t.Fatalf("submit: %v", err)
	}
	return runs[0].ID
}

// at is the nominal time of the schedules in these tests.
func at(hour int) time.Time { return time.Date(2026, 3, 8, hour, 30, 0, 0, time.UTC) }

func due(change ...func(*task.Run)) task.Run {
	run := task.Run{Trigger: task.TriggerSchedule, Schedule: "nightly", ScheduledFor: at(2)}
	for _, f := range change {
		f(&run)
	}
	return run
}

func serial(run *task.Run)   { run.Serial = true }
func replaces(run *task.Run) { run.Replaces = true }
func hook(run *task.Run)     { run.Trigger, run.Schedule = task.TriggerOnMissed, task.ExpectName }
