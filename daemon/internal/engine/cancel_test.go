package engine_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

func (w *world) cancel(id task.RunID, by string) task.Run {
	w.t.Helper()
	run, err := w.e.Cancel(w.t.Context(), id, by)
	if err != nil {
		w.t.Fatalf("cancel: %v", err)
	}
	return run
}

func TestCancelOfARunThatIsCarriedOut(t *testing.T) {
	w := started(t, parallel(2, def("t", step("a", 0), step("b", 0), step("c", 1))))
	causes := make(chan error, 2)
	wait := func(x *exec) task.Outcome { o := x.untilEnded(); causes <- context.Cause(x.ctx); return o }
	w.ctrl.on("a", wait)
	w.ctrl.on("b", wait)
	id := w.submit("t")
	w.began("a#1")
	w.began("b#1")
	run := w.cancel(id, "bob")
	if run.Cancel == nil || run.Cancel.By != "bob" {
		t.Errorf("cancel returned %+v", run)
	}
	end := w.ends(id, task.RunCancelled)
	if end.Reason != "cancelled by bob" {
		t.Errorf("the reason is %q", end.Reason)
	}
	for range 2 {
		if cause := <-causes; cause != task.ErrCancelled {
			t.Errorf("a step was told %v", cause)
		}
	}
	w.wantStatus(id, map[string]task.StepStatus{"a": task.StepCancelled, "b": task.StepCancelled, "c": task.StepReady})
	if _, err := w.e.Cancel(t.Context(), id, ""); !errors.Is(err, task.ErrState) {
		t.Errorf("a second cancel after the end: %v", err)
	}
}

func TestCancelOfAQueuedRun(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.MaxRuns = 1 })
	w.start()
	w.apply(def("t", step("a", 0)))
	open := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(open) })
	first, second, third := w.submit("t"), w.submit("t"), w.submit("t")
	run := w.cancel(second, "")
	if run.Status != task.RunCancelled || run.Reason != "cancelled" {
		t.Errorf("the queued run is %+v", run)
	}
	close(open)
	w.ends(first, task.RunCompleted)
	w.ends(third, task.RunCompleted)
	w.ends(second, task.RunCancelled)
	w.wantCalls("a#1", "a#1")
}

func TestCancelOfAPause(t *testing.T) {
	w := started(t, parallel(2, def("t", step("a", 0), step("p", 0))))
	later := task.Outcome{Kind: task.OutcomeFailed, Message: "later", RetryAfter: time.Hour}
	w.ctrl.onFail("a", 9, later)
	w.ctrl.plansInto("p", into(1, nil))
	w.ctrl.onFail("p/c1", 9, later)
	id := w.submit("t")
	w.step(id, "a", task.StepWaiting)
	w.step(id, "p/c1", task.StepWaiting)
	w.cancel(id, "")
	w.ends(id, task.RunCancelled)
	w.wantStatus(id, map[string]task.StepStatus{"a": task.StepCancelled, "p": task.StepCancelled, "p/c1": task.StepCancelled})
}

func TestCancelTwice(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	end := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome {
		<-x.ctx.Done() // slow to follow
		select {
		case <-end:
		case <-x.c.cutOff():
		}
		return task.Outcome{Kind: task.OutcomeCancelled}
	})
	id := w.submit("t")
	w.began("a#1")
	w.cancel(id, "ann")
	run := w.cancel(id, "bob")
	if run.Cancel.By != "ann" {
		t.Errorf("the second wish replaced the first: %+v", run.Cancel)
	}
	close(end)
	w.ends(id, task.RunCancelled)
}

// The wish is durable when Cancel returns: a crash right after it changes
// nothing.
func TestCancelSurvivesACrash(t *testing.T) {
	w := started(t, parallel(2, def("t", step("a", 0), step("p", 0), step("z", 1))))
	w.ctrl.on("a", func(x *exec) task.Outcome { <-x.c.cutOff(); return faulty })
	w.ctrl.plansInto("p", into(3, nil))
	w.ctrl.on("p/*", func(x *exec) task.Outcome { <-x.c.cutOff(); return faulty })
	id := w.submit("t")
	w.began("a#1")
	w.began("p/c1#1")
	w.cancel(id, "bob")
	w.crash()
	calls := len(w.ctrl.list())
	w.start()
	run := w.ends(id, task.RunCancelled)
	if run.Reason != "cancelled by bob" || len(w.ctrl.list()) != calls {
		t.Errorf("after the crash: %q, calls %v", run.Reason, w.ctrl.list())
	}
}

// A cancel whose commit fails is not acknowledged.
func TestCancelThatCannotBeKept(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	w.ctrl.on("a", once)
	id := w.submit("t")
	w.began("a#1")
	w.db.set(func(d *db) { d.failed = true })
	if run, err := w.e.Cancel(t.Context(), id, ""); !errors.Is(err, task.ErrStoreFailed) {
		t.Errorf("cancel returned %+v, %v", run, err)
	}
	if run := w.run(id); run.Cancel != nil || run.Status != task.RunRunning {
		t.Errorf("the run is %+v", run.Run)
	}
}

// A step that completes although it was told to end is completed; the run was
// cancelled first.
func TestCancelCommittedBeforeCompletion(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	w.ctrl.on("a", func(x *exec) task.Outcome { <-x.ctx.Done(); return done })
	id := w.submit("t")
	w.began("a#1")
	w.cancel(id, "")
	w.ends(id, task.RunCancelled)
	w.wantStatus(id, map[string]task.StepStatus{"a": task.StepCompleted})
}

// Completion and cancel that reach one commit: all was done, so there is
// nothing to cancel, and whoever wanted to hears so.
func TestCancelTogetherWithTheLastCompletion(t *testing.T) {
	w := started(t, parallel(2, def("t", step("a", 0), step("b", 0))))
	openA, openB := make(chan struct{}), make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(openA) })
	w.ctrl.on("b", func(x *exec) task.Outcome { return x.gate(openB) })
	id := w.submit("t")
	w.began("a#1")
	w.began("b#1")
	hold := make(chan struct{})
	w.db.set(func(d *db) { d.hold = hold })
	close(openA)
	ended := func(call string) {
		w.bell.await(t, call+" to end", func() bool {
			w.ctrl.mu.Lock()
			defer w.ctrl.mu.Unlock()
			return slices.Contains(w.ctrl.ended, call)
		})
	}
	ended("a#1") // the runner is on its way into a commit, and is held there
	w.bell.await(t, "the runner to be held", func() bool { return w.db.waiting() == 1 })
	close(openB)
	ended("b#1")
	answer := make(chan error, 1)
	go func() {
		_, err := w.e.Cancel(context.Background(), id, "bob")
		answer <- err
	}()
	w.bell.await(t, "both to be in the inbox", func() bool { w.bell.ring(); return engine.Waiting(w.e, id) == 2 })
	w.db.set(func(d *db) { close(d.hold); d.hold = nil })
	run := w.ends(id, task.RunCompleted)
	if run.Cancel != nil {
		t.Errorf("the completed run has the wish %+v", run.Cancel)
	}
	if err := <-answer; !errors.Is(err, task.ErrState) {
		t.Errorf("cancel of what completed: %v", err)
	}
}

// A plugin that takes its time to start does not keep a run alive that is to
// end.
func TestCancelWhileTheControllerIsLookedUp(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	asked := make(chan struct{})
	w.ctrl.lookup = func(ctx context.Context, _ string) error {
		close(asked)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.ctrl.cutOff():
			return errBroken
		}
	}
	id := w.submit("t")
	<-asked
	w.cancel(id, "")
	w.ends(id, task.RunCancelled)
	w.wantStatus(id, map[string]task.StepStatus{"a": task.StepReady})
}

func TestCancelOfWhatIsNotThere(t *testing.T) {
	w := started(t)
	if _, err := w.e.Cancel(t.Context(), 77, ""); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("cancel: %v", err)
	}
}

// A planner whose last planned step was cancelled has not completed.
func TestCancelOfTheLastPlannedStep(t *testing.T) {
	w := started(t, def("t", step("p", 0)))
	w.ctrl.plansInto("p", into(2, nil))
	w.ctrl.on("p/c2", once)
	id := w.submit("t")
	w.began("p/c2#1")
	w.cancel(id, "")
	w.ends(id, task.RunCancelled)
	w.wantStatus(id, map[string]task.StepStatus{"p": task.StepCancelled, "p/c1": task.StepCompleted, "p/c2": task.StepCancelled})
	w.goOn(id)
	w.ends(id, task.RunCompleted)
	w.wantCalls("plan p#1", "p/c1#1", "p/c2#1", "p/c2#2")
}

// Of many who cancel a run that waits one is the first, and the others are told so.
func TestManyCancelWhatWaits(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.MaxRuns = 1 })
	w.start()
	w.apply(def("t", step("a", 0)))
	w.ctrl.on("a", (*exec).untilEnded)
	w.submit("t")
	w.began("a#1")
	id := w.submit("t")
	hold := make(chan struct{})
	w.db.set(func(d *db) { d.hold = hold })
	answers, asking := make(chan error), make(chan struct{})
	const many = 20
	for range many {
		go func() {
			asking <- struct{}{}
			_, err := w.e.Cancel(t.Context(), id, "eve")
			answers <- err
		}()
	}
	for range many {
		<-asking
	}
	w.bell.await(t, "the commit to be under way", func() bool { return w.db.waiting() > 0 })
	w.db.set(func(d *db) { d.hold = nil })
	close(hold)
	first := 0
	for range many {
		if err := <-answers; err == nil {
			first++
		} else if !errors.Is(err, task.ErrState) {
			t.Error(err)
		}
	}
	if run := w.run(id); first != 1 || run.Status != task.RunCancelled {
		t.Errorf("%d were the first; the run is %s", first, run.Status)
	}
}
