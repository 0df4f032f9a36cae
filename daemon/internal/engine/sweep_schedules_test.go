package engine_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// TestACrashAtEveryCommitOfSchedules cuts the power at each commit of four
// due times: one whose run is carried out, one that waits for it, one that
// replaces both, and a hook. As a ledger does, each is decided on by a slot
// which is written with its run.
func TestACrashAtEveryCommitOfSchedules(t *testing.T) {
	for k, crashed := 0, true; crashed; k++ {
		t.Run(fmt.Sprint("commit ", k), func(t *testing.T) { crashed = crashOfSchedules(t, k) })
		if k > 100 {
			t.Fatal("the runs do not end")
		}
	}
}

func crashOfSchedules(t *testing.T, k int) (crashed bool) {
	w, _ := withLedger(t, withHook(def("t", step("a", 0))))
	w.ctrl.on("a", func(x *exec) task.Outcome {
		if x.ScheduledFor.Equal(at(0)) {
			return x.untilEnded() // until it is replaced
		}
		return done
	})
	wishes := []task.Run{
		due(func(run *task.Run) { run.ScheduledFor = at(0) }),
		due(serial, func(run *task.Run) { run.ScheduledFor = at(1) }),
		due(replaces, func(run *task.Run) { run.ScheduledFor = at(2) }),
		due(hook, func(run *task.Run) { run.ScheduledFor = at(3) }),
	}
	w.db.set(func(d *db) { d.left = k })
	for i := 0; i < len(wishes); {
		if err := w.decide(wishes[i]); err == nil {
			if i == 0 && !w.db.dead() { // what waits behind it is to find it under way
				w.bell.await(t, "the first one to begin", func() bool { return w.ctrl.began("a#1") || w.db.dead() })
			}
			i++
		} else if !errors.Is(err, task.ErrStoreFailed) {
			t.Fatal(err)
		}
		if w.db.dead() && !crashed {
			crashed = true
			w.crash()
			w.start()
		}
	}
	ended := func() bool {
		alive := false
		_ = w.db.View(func(rd engine.Reader) error {
			return rd.ActiveRuns(func(task.Run) bool { alive = true; return false })
		})
		return !alive
	}
	w.bell.await(t, "all runs to end", func() bool { return ended() || w.db.dead() && !crashed })
	if w.db.dead() && !crashed {
		crashed = true
		w.crash()
		w.start()
		w.bell.await(t, "all runs to end", ended)
	}
	want := []task.RunStatus{task.RunCancelled, task.RunCancelled, task.RunCompleted, task.RunCompleted}
	list, _, err := w.e.ListRuns(engine.RunQuery{Task: "t", Limit: 10})
	if err != nil || len(list) != len(want) {
		t.Fatalf("there are %d runs: %v", len(list), err)
	}
	for _, run := range list {
		i := int(run.ScheduledFor.Sub(at(0)) / time.Hour)
		if run.Status != want[i] || w.told(run.ID) != 1 {
			t.Errorf("%s for %s is %s (%s), its end was told %d times", run.Ref(), run.ScheduledFor, run.Status, run.Reason, w.told(run.ID))
		}
		if run.Status == task.RunCancelled && run.Cancel.By != "schedule nightly" {
			t.Errorf("%s is %s", run.Ref(), run.Reason)
		}
		if n := w.ctrl.complete[runStep(run.ID, "a")]; n > 1 && !crashed || n > 2 {
			t.Errorf("%s was done %d times", run.Ref(), n)
		}
	}
	return crashed
}

// decide makes the run of a due time, unless it was made.
func (w *world) decide(wish task.Run) error {
	var run task.Run
	err := w.db.Update(w.t.Context(), func(tx engine.Tx) error {
		run = task.Run{}
		decided := false
		slots := tx.(*store.Tx)
		if err := slots.Slots("t", wish.Schedule, wish.ScheduledFor.Add(1), func(s task.Slot) bool {
			decided = s.First.Equal(wish.ScheduledFor)
			return false
		}); err != nil || decided {
			return err
		}
		def, err := tx.Task("t")
		if err != nil {
			return err
		}
		if run, err = w.e.SubmitIn(tx, def, wish); err != nil {
			return err
		}
		return slots.PutSlot(task.Slot{Task: "t", Schedule: wish.Schedule, First: wish.ScheduledFor, Count: 1, Run: run.Number})
	})
	if err == nil && run.ID != 0 {
		w.e.Adopt(run)
	}
	return err
}
