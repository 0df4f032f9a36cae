package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

// A full disk: nothing new begins, what runs waits, and all of it goes on once
// there is room.
func TestADiskThatIsFullForAWhile(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("b", 1)), def("u", step("c", 0)))
	open := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(open) })
	id := w.submit("t")
	w.began("a#1")
	w.db.set(func(d *db) { d.full = true })
	if _, err := w.e.Submit(t.Context(), engine.Wish{Task: "u"}); !errors.Is(err, task.ErrDiskFull) {
		t.Errorf("submit on a full disk: %v", err)
	}
	if _, err := w.e.Apply(t.Context(), engine.ApplyWish{Tasks: []task.Task{def("v", step("a", 0))}, By: ""}); !errors.Is(err, task.ErrDiskFull) {
		t.Errorf("apply on a full disk: %v", err)
	}
	if run := w.run(id); run.Status != task.RunRunning || len(run.Active) != 1 {
		t.Errorf("the engine does not answer on a full disk: %+v", run)
	}
	close(open)
	w.bell.await(t, "the runner to meet the full disk", func() bool { w.db.mu.Lock(); defer w.db.mu.Unlock(); return w.db.refused == 1 })
	// Two timers run: the commit's, and that of the step which has no room yet.
	refused := func() int { w.db.mu.Lock(); defer w.db.mu.Unlock(); return w.db.refused }
	w.bell.await(t, "three more tries", func() bool {
		if refused() >= 4 {
			return true
		}
		w.clock.advance(time.Second)
		return false
	})
	if a := w.steps(id)["a"]; a.Status != task.StepRunning || w.ctrl.began("b#1") {
		t.Errorf("something went on without a commit: %s", w.statuses(id))
	}
	w.db.set(func(d *db) { d.full = false })
	w.bell.await(t, "the run to go on", func() bool {
		w.clock.advance(time.Second)
		return w.ctrl.began("b#1")
	})
	w.ends(id, task.RunCompleted)
	w.wantCalls("a#1", "b#1")
}

// A step that is ready waits for room before it starts, and a queued run too.
func TestNothingBeginsOnAFullDisk(t *testing.T) {
	w := newWorld(t)
	w.apply(def("t", step("a", 0)))
	id := w.submit("t")
	w.db.set(func(d *db) { d.full = true })
	w.start()
	w.clock.awaitTimer(t, time.Second)
	if run := w.run(id); run.Status != task.RunQueued {
		t.Errorf("the run is %s", run.Status)
	}
	w.db.set(func(d *db) { d.full = false })
	w.clock.advance(time.Second)
	w.ends(id, task.RunCompleted)
}

func TestAStopOnAFullDisk(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	w.ctrl.on("a", once)
	id := w.submit("t")
	w.began("a#1")
	w.db.set(func(d *db) { d.full = true })
	stopped := make(chan struct{})
	go func() { defer close(stopped); w.stop() }()
	w.bell.await(t, "the runner to meet the full disk", func() bool { w.db.mu.Lock(); defer w.db.mu.Unlock(); return w.db.refused > 0 })
	<-stopped
	w.db.set(func(d *db) { d.full = false })
	w.reopen()
	w.start()
	w.ends(id, task.RunCompleted)
}

// When the store has failed, runners end, their steps are told to, and nobody
// is told of a success.
func TestAStoreThatFails(t *testing.T) {
	w := started(t, parallel(2, def("t", step("a", 0), step("b", 0), step("c", 1))))
	open := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(open) })
	w.ctrl.on("b", once)
	id := w.submit("t")
	w.began("b#1")
	w.began("a#1")
	p := &tape{}
	go func() { _ = w.e.Watch(t.Context(), id, p.add) }()
	w.db.set(func(d *db) { d.failed = true })
	close(open)
	w.bell.await(t, "the runner to end", func() bool {
		w.bell.ring()
		running, _ := w.e.Load()
		return running == 0
	})
	if s := w.steps(id)["a"]; s.Status != task.StepRunning {
		t.Errorf("a is %s", s.Status)
	}
	p.mu.Lock()
	for _, e := range p.events {
		if e.Kind == "step" && e.Step.Status.Ended() || !e.Run.Status.Alive() {
			t.Errorf("a watcher heard of %+v", e)
		}
	}
	p.mu.Unlock()
	if _, err := w.e.Submit(t.Context(), engine.Wish{Task: "t"}); !errors.Is(err, task.ErrStoreFailed) {
		t.Errorf("submit: %v", err)
	}
	if _, err := w.e.Continue(t.Context(), id, engine.Again{}); err == nil {
		t.Error("continue was accepted")
	}
	for _, l := range w.log.of("t/1") {
		if l.Step == "a" {
			t.Errorf("the log says %q", l.Message)
		}
	}
}

// TestReplacingWaitsForRoom holds that a run which is to replace others that wait
// tries once each time that there may be room again, and not all the time.
func TestReplacingWaitsForRoom(t *testing.T) {
	w, _ := withLedger(t, def("t", step("a", 0)), def("u", step("b", 0)))
	open := make(chan struct{})
	w.ctrl.on("b", func(x *exec) task.Outcome { return x.gate(open) })
	for range 4 { // as many as may run
		w.submit("u")
	}
	w.bell.await(t, "all to run", func() bool { n, _ := w.ctrl.snapshot(); return n == 4 })
	var runs []task.Run
	err := w.db.Update(t.Context(), func(tx engine.Tx) error {
		runs = nil
		d, err := tx.Task("t")
		for _, wish := range []task.Run{due(serial), due(replaces), due(replaces)} {
			if err != nil {
				return err
			}
			var run task.Run
			run, err = w.e.SubmitIn(tx, d, wish)
			runs = append(runs, run)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.db.set(func(d *db) { d.full = true })
	w.e.Adopt(runs...)
	refused := func() int { w.db.mu.Lock(); defer w.db.mu.Unlock(); return w.db.refused }
	seconds := 1
	for range 5 {
		n := refused()
		w.bell.await(t, "another try", func() bool {
			if refused() > n {
				return true
			}
			w.clock.advance(time.Second)
			seconds++
			return false
		})
	}
	// The two that replace have three to cancel together.
	if n := refused(); n > 3*seconds {
		t.Errorf("%d tries in %d seconds: it does not wait for room", n, seconds)
	}
	w.db.set(func(d *db) { d.full = false })
	close(open)
}
