package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

func (w *world) cancelStep(id task.RunID, step string) {
	w.t.Helper()
	if _, err := w.e.CancelStep(w.t.Context(), id, step, "eve"); err != nil {
		w.t.Fatalf("cancel step %s: %v", step, err)
	}
}

func (w *world) stepStays(id task.RunID, step string, is error, says string) {
	w.t.Helper()
	if _, err := w.e.CancelStep(w.t.Context(), id, step, "eve"); !errors.Is(err, is) || !strings.Contains(err.Error(), says) {
		w.t.Errorf("cancel step %s: %v, want one with %q", step, err, says)
	}
}

// A step is cancelled wherever it stands, and the others go on.
func TestCancelOfAStep(t *testing.T) {
	w := started(t, parallel(3, def("t", step("gone", 0), step("runs", 0), step("waits", 0), step("ready", 0), step("later", 1), step("last", 2))))
	open := make(chan struct{})
	var cause error
	w.ctrl.on("runs", func(x *exec) task.Outcome { o := x.untilEnded(); cause = context.Cause(x.ctx); return o })
	w.ctrl.on("waits", func(*exec) task.Outcome {
		return task.Outcome{Kind: task.OutcomeFailed, Message: "later", RetryAfter: time.Hour}
	})
	w.ctrl.on("ready", func(x *exec) task.Outcome { return x.gate(open) })
	id := w.submit("t")
	w.step(id, "waits", task.StepWaiting)
	w.began("runs#1")
	w.began("ready#1")
	w.cancelStep(id, "later")
	w.cancelStep(id, "waits")
	w.cancelStep(id, "runs")
	w.stepStays(id, "gone", task.ErrState, "step gone of run t/1 is completed already")
	w.stepStays(id, "later", task.ErrState, "is cancelled already")
	w.stepStays(id, "none", task.ErrNotFound, `"none"`)
	w.stepStays(id, "ready/x", task.ErrNotFound, "no planned steps")
	w.step(id, "runs", task.StepCancelled)
	close(open)
	run := w.ends(id, task.RunIncomplete)
	if run.Reason != "step waits was cancelled by eve" && run.Reason != "step runs was cancelled by eve" || cause != task.ErrCancelled {
		t.Errorf("the run is %+v; the step was told %v", run.Run, cause)
	}
	w.wantStatus(id, map[string]task.StepStatus{"gone": task.StepCompleted, "runs": task.StepCancelled, "waits": task.StepCancelled,
		"ready": task.StepCompleted, "later": task.StepCancelled, "last": task.StepCompleted})
	for name, s := range w.steps(id) {
		if cancelled := s.Status == task.StepCancelled; cancelled != (s.Cancel != nil && s.Cancel.By == "eve") || cancelled && s.EndedAt.IsZero() {
			t.Errorf("step %s is %+v", name, s.RunStep)
		}
	}
	w.stepStays(id, "last", task.ErrState, "incomplete already")
	w.ctrl.on("runs", nil)
	w.ctrl.on("waits", nil)
	w.goOn(id)
	w.ends(id, task.RunCompleted)
}

func TestCancelOfAStepThatInterrupts(t *testing.T) {
	for name, when := range map[string]func(w *world, id task.RunID){
		"while it runs": func(w *world, id task.RunID) { w.began("a#1"); w.cancelStep(id, "a") },
		"in its pause":  func(w *world, id task.RunID) { w.step(id, "a", task.StepWaiting); w.cancelStep(id, "a") },
		"before":        func(w *world, id task.RunID) { w.began("first#1"); w.cancelStep(id, "a") },
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, def("t", step("first", 0), step("a", 1, interrupting), step("b", 2)))
			open := make(chan struct{})
			if name == "before" {
				w.ctrl.on("first", func(x *exec) task.Outcome { return x.gate(open) })
			}
			w.ctrl.on("a", func(x *exec) task.Outcome {
				if name == "in its pause" {
					return task.Outcome{Kind: task.OutcomeFailed, RetryAfter: time.Hour}
				}
				return x.untilEnded()
			})
			id := w.submit("t")
			when(w, id)
			close(open)
			if run := w.ends(id, task.RunIncomplete); run.Reason != "step a was cancelled by eve" {
				t.Errorf("the reason is %q", run.Reason)
			}
			w.wantStatus(id, map[string]task.StepStatus{"first": task.StepCompleted, "a": task.StepCancelled, "b": task.StepReady})
		})
	}
}

// A planner that is cancelled begins no more of its steps; a planned step that is
// cancelled leaves the others be.
func TestCancelOfPlannedSteps(t *testing.T) {
	w := started(t, parallel(2, def("t", step("p", 0), step("z", 1))))
	w.ctrl.plansInto("p", into(6, nil))
	open := make(chan struct{})
	w.ctrl.on("p/*", func(x *exec) task.Outcome { return x.gate(open) })
	w.ctrl.on("p/c2", func(*exec) task.Outcome {
		return task.Outcome{Kind: task.OutcomeFailed, Message: "later", RetryAfter: time.Hour}
	})
	one := w.submit("t")
	w.step(one, "p/c2", task.StepWaiting)
	w.began("p/c1#1")
	for _, name := range []string{"p/c1", "p/c2", "p/c5"} {
		w.cancelStep(one, name)
	}
	w.stepStays(one, "p/c9", task.ErrNotFound, "c9")
	close(open)
	run := w.ends(one, task.RunIncomplete)
	if p := w.steps(one)["p"]; p.Status != task.StepCancelled || p.Error != "3 of 6 planned steps were cancelled" || p.Cancel != nil {
		t.Errorf("the planner is %+v", p.RunStep)
	}
	if run.Completed != 4 || !strings.Contains(run.Reason, "was cancelled by eve") {
		t.Errorf("the run is %+v", run.Run)
	}
	w.wantStatus(one, map[string]task.StepStatus{"p/c1": task.StepCancelled, "p/c2": task.StepCancelled, "p/c3": task.StepCompleted,
		"p/c5": task.StepCancelled, "z": task.StepCompleted})

	open = make(chan struct{})
	w.ctrl.on("p/c2", nil)
	w.goOn(one)
	w.began("p/c1#2")
	w.cancelStep(one, "p")
	w.ends(one, task.RunIncomplete)
	if p := w.steps(one)["p"]; p.Status != task.StepCancelled || p.Cancel == nil || p.Error != "" {
		t.Errorf("the planner is %+v", p.RunStep)
	}
	if s := w.steps(one)["p/c5"]; s.Status != task.StepReady && s.Status != task.StepCancelled && s.Status != task.StepCompleted {
		t.Errorf("p/c5 is %s", s.Status)
	}
	close(open)
	w.goOn(one)
	w.ends(one, task.RunCompleted)
	if got := w.ctrl.complete[runStep(one, "p/c3")]; got != 1 {
		t.Errorf("what had completed was done %d times", got)
	}
}

// In the queue, a step is cancelled before anything begins.
func TestCancelOfAStepOfAQueuedRun(t *testing.T) {
	w, open := narrow(t, 1, def("u", step("u", 0)), def("t", step("a", 0), step("b", 1)))
	other := w.submit("u")
	w.began("u#1")
	id := w.submit("t")
	w.cancelStep(id, "a")
	if run := w.run(id); run.Status != task.RunQueued || run.QueuePosition != 1 {
		t.Errorf("it is %s at place %d", run.Status, run.QueuePosition)
	}
	w.stepStays(id, "a", task.ErrState, "cancelled already")
	w.crash()
	w.start()
	close(open)
	w.ends(id, task.RunIncomplete)
	w.wantStatus(id, map[string]task.StepStatus{"a": task.StepCancelled, "b": task.StepCompleted})
	w.ends(other, task.RunCompleted)
	if w.ctrl.began("a#1") {
		t.Error("the cancelled step was carried out")
	}
}

// The first commit wins between the wish and the result.
func TestCancelOfAStepAgainstItsResult(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("b", 1)))
	w.ctrl.on("a", func(x *exec) task.Outcome { <-x.ctx.Done(); return done })
	id := w.submit("t")
	w.began("a#1")
	w.cancelStep(id, "a")
	w.ends(id, task.RunIncomplete)
	w.wantStatus(id, map[string]task.StepStatus{"a": task.StepCancelled, "b": task.StepCompleted})

	// Both come while one commit is under way: the result was there.
	open := make(chan struct{})
	w.apply(parallel(2, def("u", step("x", 0), step("y", 0))))
	w.ctrl.on("x", func(x *exec) task.Outcome { return x.gate(open) })
	second := w.submit("u")
	w.began("x#1")
	w.step(second, "y", task.StepCompleted)
	hold := make(chan struct{})
	w.db.set(func(d *db) { d.hold = hold })
	busy := make(chan error, 1)
	go func() { _, err := w.e.Cancel(t.Context(), second, ""); busy <- err }()
	w.bell.await(t, "the commit to be under way", func() bool { return w.db.waiting() > 0 })
	answer := make(chan error, 1)
	go func() { _, err := w.e.CancelStep(t.Context(), second, "x", "eve"); answer <- err }()
	w.bell.await(t, "the wish to wait", func() bool { w.bell.ring(); return engine.Waiting(w.e, second) == 1 })
	w.db.set(func(d *db) { d.hold = nil })
	close(hold)
	if err := <-answer; !errors.Is(err, task.ErrState) {
		t.Errorf("a step of a run that is cancelled: %v", err)
	}
	if err := <-busy; err != nil {
		t.Error(err)
	}
	w.ends(second, task.RunCancelled)
	close(open)
}

// A wish that is durable survives a crash: what was lost with the daemon is not
// done again.
func TestCancelOfAStepSurvivesACrash(t *testing.T) {
	w := started(t, parallel(3, def("t", step("a", 0), step("p", 0), step("m", 0), step("z", 1))))
	lost := func(x *exec) task.Outcome { <-x.c.cutOff(); return faulty }
	w.ctrl.effects["m"] = task.AtMostOnce
	w.ctrl.on("a", lost)
	w.ctrl.on("m", lost)
	w.ctrl.plansInto("p", into(3, nil))
	w.ctrl.on("p/*", lost)
	id := w.submit("t")
	w.began("a#1")
	w.began("p/c1#1")
	w.began("m#1")
	for _, name := range []string{"a", "p", "m"} {
		w.cancelStep(id, name)
	}
	w.crash()
	calls := len(w.ctrl.list())
	w.start()
	run := w.ends(id, task.RunIncomplete)
	if !strings.HasSuffix(run.Reason, "was cancelled by eve") || len(w.ctrl.list()) != calls+1 {
		t.Errorf("after the crash: %q, calls %v", run.Reason, w.ctrl.list())
	}
	w.wantStatus(id, map[string]task.StepStatus{"a": task.StepCancelled, "p": task.StepCancelled, "p/c1": task.StepCancelled,
		"m": task.StepCancelled, "z": task.StepCompleted})
}

// A result that shares the commit with the wish was there before it was durable.
func TestAResultBesideTheWish(t *testing.T) {
	for _, order := range []string{"result first", "wish first"} {
		t.Run(order, func(t *testing.T) {
			w := started(t, parallel(2, def("t", step("x", 0), step("y", 0))))
			x, y := make(chan struct{}), make(chan struct{})
			w.ctrl.on("x", func(e *exec) task.Outcome { return e.gate(x) })
			w.ctrl.on("y", func(e *exec) task.Outcome { return e.gate(y) })
			id := w.submit("t")
			w.began("x#1")
			w.began("y#1")
			hold := make(chan struct{})
			w.db.set(func(d *db) { d.hold = hold })
			close(y)
			w.bell.await(t, "y to be committed", func() bool { return w.db.waiting() > 0 })
			queued := func(n int) {
				t.Helper()
				w.bell.await(t, "it to wait", func() bool { w.bell.ring(); return engine.Waiting(w.e, id) == n })
			}
			answer := make(chan error, 1)
			wish := func() { _, err := w.e.CancelStep(t.Context(), id, "x", "eve"); answer <- err }
			if order == "wish first" {
				go wish()
				queued(1)
				close(x)
			} else {
				close(x)
				queued(1)
				go wish()
			}
			queued(2)
			w.db.set(func(d *db) { d.hold = nil })
			close(hold)
			if err := <-answer; !errors.Is(err, task.ErrState) {
				t.Errorf("the wish came too late: %v", err)
			}
			w.ends(id, task.RunCompleted)
			if s := w.steps(id)["x"]; s.Cancel != nil {
				t.Errorf("x is %+v", s.RunStep)
			}
		})
	}
}
