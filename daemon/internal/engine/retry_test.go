package engine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

func TestRetriesByDefaultGoByTheEffect(t *testing.T) {
	for effect, want := range map[task.Effect]int{task.Idempotent: 3, task.Resumable: 3, task.AtMostOnce: 1} {
		w := started(t, def("t", step("a", 0)))
		w.clock.leap = true
		w.ctrl.effects["a"] = effect
		w.ctrl.onFail("a", 99, faulty)
		id := w.submit("t")
		w.ends(id, task.RunFailed)
		if a := w.steps(id)["a"]; a.Attempt != want || a.Tries != want || a.Error != "no luck" || a.Reason != task.ReasonError {
			t.Errorf("%s: %+v, want %d attempts", effect, a.RunStep, want)
		}
	}
}

func TestPausesGrowUpToTheirBound(t *testing.T) {
	retry := func(s *task.Step) {
		s.Retry = task.Retry{Attempts: 6, Backoff: 3 * time.Second, MaxBackoff: 20 * time.Second}
	}
	w := started(t, def("t", step("a", 0, retry)))
	w.ctrl.onFail("a", 5, faulty)
	id := w.submit("t")
	for i, pause := range []time.Duration{3, 6, 12, 20, 20} {
		pause *= time.Second
		w.clock.awaitTimer(t, pause)
		a := w.step(id, "a", task.StepWaiting)
		if got := a.RetryAt.Sub(w.clock.Now()); got != pause {
			t.Errorf("pause %d is %s, want %s", i+1, got, pause)
		}
		w.clock.advance(pause - 1)
		if a := w.steps(id)["a"]; a.Status != task.StepWaiting {
			t.Errorf("a is %s before its pause was over", a.Status)
		}
		w.clock.advance(1)
		w.began("a#" + itoa(uint64(i+2)))
	}
	w.ends(id, task.RunCompleted)
}

// Without a jitter of its own the engine varies pauses by a fifth at most, and
// does vary them.
func TestJitterHasBounds(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.Jitter = nil })
	w.start()
	retry := func(s *task.Step) { s.Retry = task.Retry{Attempts: 40, Backoff: time.Minute, MaxBackoff: time.Minute} }
	w.apply(def("t", step("a", 0, retry)))
	w.ctrl.onFail("a", 30, faulty)
	id := w.submit("t")
	seen := map[time.Duration]bool{}
	for i := range 30 {
		w.bell.await(t, "a pause", func() bool {
			a := w.steps(id)["a"]
			return a.Status == task.StepWaiting && a.Attempt == i+1
		})
		pause := w.steps(id)["a"].RetryAt.Sub(w.clock.Now())
		if pause < 48*time.Second || pause > 72*time.Second {
			t.Errorf("a pause of %s for a backoff of 1m", pause)
		}
		seen[pause] = true
		w.clock.awaitTimer(t, pause)
		w.clock.advance(pause)
	}
	w.ends(id, task.RunCompleted)
	if len(seen) < 10 {
		t.Errorf("30 pauses had %d lengths", len(seen))
	}
}

func TestRetryAfterIsALowerBound(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	w.ctrl.onFail("a", 1, task.Outcome{Kind: task.OutcomeFailed, Message: "busy", RetryAfter: time.Hour})
	id := w.submit("t")
	w.clock.awaitTimer(t, time.Hour)
	w.step(id, "a", task.StepWaiting)
	w.clock.advance(time.Hour)
	w.ends(id, task.RunCompleted)
}

func TestAPermanentFaultIsNotRetried(t *testing.T) {
	w := started(t, def("t", step("a", 0, attempts(5))))
	w.ctrl.onFail("a", 9, task.Outcome{Kind: task.OutcomePermanent, Message: "no such table"})
	id := w.submit("t")
	w.ends(id, task.RunFailed)
	if a := w.steps(id)["a"]; a.Attempt != 1 || a.Reason != task.ReasonPermanent {
		t.Errorf("a is %+v", a.RunStep)
	}
}

// Of a pause only what is left of it passes after a crash, and the tries of
// before count.
func TestAPauseSurvivesACrash(t *testing.T) {
	retry := func(s *task.Step) { s.Retry = task.Retry{Attempts: 2, Backoff: time.Minute} }
	w := started(t, def("t", step("a", 0, retry)))
	w.ctrl.onFail("a", 9, faulty)
	id := w.submit("t")
	w.step(id, "a", task.StepWaiting)
	w.clock.advance(20 * time.Second)
	w.crash()
	w.clock.advance(10 * time.Second)
	w.start()
	w.clock.awaitTimer(t, 30*time.Second)
	w.clock.advance(30 * time.Second)
	w.ends(id, task.RunFailed)
	if a := w.steps(id)["a"]; a.Attempt != 2 || a.Tries != 2 {
		t.Errorf("a is %+v", a.RunStep)
	}
}

func TestAPauseThatEndedWhileTheDaemonWasDown(t *testing.T) {
	w := started(t, parallel(2, def("t", step("p", 0))))
	w.ctrl.plansInto("p", into(2, nil))
	w.ctrl.onFail("p/c1", 1, faulty)
	open := make(chan struct{})
	w.ctrl.on("p/c2", func(x *exec) task.Outcome { return x.gate(open) })
	id := w.submit("t")
	w.step(id, "p/c1", task.StepWaiting)
	w.crash()
	w.clock.advance(time.Hour)
	close(open)
	w.start()
	w.ends(id, task.RunCompleted)
}

func TestWhatEndsAnAttemptIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		outcome task.Outcome
		effect  task.Effect
		reason  string
		status  task.StepStatus
		run     task.RunStatus
		tries   int
	}{
		"no result":             {task.Outcome{Kind: task.OutcomeNoResult, Message: "exit status 3"}, task.Idempotent, task.ReasonNoResult, task.StepFailed, task.RunFailed, 3},
		"no result, once":       {task.Outcome{Kind: task.OutcomeNoResult, Message: "exit status 3"}, task.AtMostOnce, task.ReasonLost, task.StepInterrupted, task.RunIncomplete, 1},
		"refused":               {task.Outcome{Kind: task.OutcomeRefused, Message: "wrong owner"}, task.Idempotent, task.ReasonRefused, task.StepFailed, task.RunFailed, 3},
		"refused, once":         {task.Outcome{Kind: task.OutcomeRefused, Message: "wrong owner"}, task.AtMostOnce, task.ReasonRefused, task.StepFailed, task.RunFailed, 1},
		"lost, once":            {task.Outcome{Kind: task.OutcomeLost, Message: "ended for b"}, task.AtMostOnce, task.ReasonLost, task.StepInterrupted, task.RunIncomplete, 1},
		"cancelled by nobody":   {task.Outcome{Kind: task.OutcomeCancelled, Message: "why?"}, task.Idempotent, task.ReasonError, task.StepFailed, task.RunFailed, 3},
		"failed without a word": {task.Outcome{Kind: task.OutcomeFailed}, task.Idempotent, task.ReasonError, task.StepFailed, task.RunFailed, 3},
		"nonsense":              {task.Outcome{Kind: "banana"}, task.Idempotent, task.ReasonError, task.StepFailed, task.RunFailed, 3},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, def("t", step("a", 0)))
			w.clock.leap = true
			w.ctrl.effects["a"] = c.effect
			w.ctrl.onFail("a", 99, c.outcome)
			id := w.submit("t")
			w.ends(id, c.run)
			if a := w.steps(id)["a"]; a.Status != c.status || a.Reason != c.reason || a.Tries != c.tries || a.Error == "" {
				t.Errorf("a is %s (%s) after %d tries: %q", a.Status, a.Reason, a.Tries, a.Error)
			}
		})
	}
}

// A plugin that was ended for another step's sake costs no try.
func TestALostAttemptIsNoTry(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	w.ctrl.onFail("a", 5, task.Outcome{Kind: task.OutcomeLost, Message: "ended for b"})
	id := w.submit("t")
	w.ends(id, task.RunCompleted)
	if a := w.steps(id)["a"]; a.Attempt != 6 || a.Tries != 1 {
		t.Errorf("a is %+v", a.RunStep)
	}
}

func TestAControllerThatNobodyHas(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	w.clock.leap = true
	w.ctrl.lookup = func(context.Context, string) error { return errBroken }
	id := w.submit("t")
	w.ends(id, task.RunFailed)
	if a := w.steps(id)["a"]; a.Reason != task.ReasonRefused || a.Tries != 3 || a.Error != errBroken.Error() {
		t.Errorf("a is %+v", a.RunStep)
	}
	w.wantCalls()
}

func TestTimeLimits(t *testing.T) {
	for name, c := range map[string]struct {
		limits task.Limits
		task   time.Duration
		after  time.Duration
		text   string
		tries  int
	}{
		"attempt":  {task.Limits{AttemptTimeout: 10 * time.Second}, 0, 10 * time.Second, "attempt_timeout of 10s passed", 1},
		"step":     {task.Limits{MaxExecutionTime: 20 * time.Second, AttemptTimeout: time.Hour}, 0, 20 * time.Second, "max_execution_time of the step (20s) passed", 1},
		"task":     {task.Limits{MaxExecutionTime: time.Hour}, 30 * time.Second, 30 * time.Second, "max_execution_time of the task (30s) passed", 1},
		"progress": {task.Limits{ProgressTimeout: 5 * time.Second}, 0, 5 * time.Second, "no progress for 5s (progress_timeout)", 1},
	} {
		t.Run(name, func(t *testing.T) {
			d := def("t", step("a", 0, attempts(1), limits(c.limits)))
			d.MaxExecutionTime = c.task
			w := started(t, d)
			var cause error
			w.ctrl.on("a", func(x *exec) task.Outcome {
				o := x.untilEnded()
				cause = context.Cause(x.ctx)
				return o
			})
			id := w.submit("t")
			w.began("a#1")
			w.clock.advance(c.after - 1)
			if a := w.steps(id)["a"]; a.Status != task.StepRunning {
				t.Fatalf("a is %s before its time", a.Status)
			}
			w.clock.advance(1)
			run := w.ends(id, task.RunFailed)
			a := w.steps(id)["a"]
			if a.Status != task.StepFailed || a.Reason != task.ReasonTimedOut || a.Error != c.text {
				t.Errorf("a is %s (%s): %q", a.Status, a.Reason, a.Error)
			}
			if cause != task.ErrDeadline {
				t.Errorf("a was told %v", cause)
			}
			if !strings.Contains(run.Reason, c.text) {
				t.Errorf("the reason is %q", run.Reason)
			}
			if name != "progress" && w.ctrl.work["a"].Deadline.Sub(run.StartedAt) != c.after {
				t.Errorf("a was handed the deadline %s", w.ctrl.work["a"].Deadline)
			}
		})
	}
}

func TestAnAttemptThatTimedOutIsTriedAgain(t *testing.T) {
	w := started(t, def("t", step("a", 0, limits(task.Limits{AttemptTimeout: time.Second}))))
	w.ctrl.on("a", once)
	id := w.submit("t")
	w.began("a#1")
	w.clock.advance(time.Second)
	w.step(id, "a", task.StepWaiting)
	w.clock.awaitTimer(t, 2*time.Second)
	w.clock.advance(2 * time.Second)
	w.ends(id, task.RunCompleted)
}

// A sign of progress starts the silence anew, whatever kind of sign it is.
func TestProgressKeepsAnAttemptAlive(t *testing.T) {
	w := started(t, def("t", step("a", 0, attempts(1), limits(task.Limits{ProgressTimeout: 10 * time.Second}))))
	say, said := make(chan func(*exec)), make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome {
		for {
			select {
			case f := <-say:
				f(x)
				said <- struct{}{}
			case <-x.ctx.Done():
				return task.Outcome{Kind: task.OutcomeCancelled}
			}
		}
	})
	id := w.submit("t")
	w.began("a#1")
	for _, sign := range []func(*exec){
		func(x *exec) { x.Progress(task.Progress{Done: 1}) },
		func(x *exec) { _ = x.Reporter.Checkpoint([]byte("c")) },
		func(x *exec) { _ = x.Output("o", raw("1")) },
	} {
		w.clock.advance(9 * time.Second)
		say <- sign
		<-said
	}
	// The watch was set for 10 s and looks again for what is left of the newest.
	w.clock.advance(time.Second)
	w.clock.advance(time.Second)
	if a := w.steps(id)["a"]; a.Status != task.StepRunning {
		t.Fatalf("a is %s although it made progress: %s", a.Status, a.Error)
	}
	w.bell.await(t, "silence", func() bool {
		w.clock.advance(10 * time.Second)
		return !w.run(id).Status.Alive()
	})
	if a := w.steps(id)["a"]; a.Reason != task.ReasonTimedOut {
		t.Errorf("a is %s: %s", a.Status, a.Error)
	}
}

// max_execution_time counts from the first attempt, through pauses and crashes.
func TestTheStepsLimitSpansAttemptsAndCrashes(t *testing.T) {
	limit := func(s *task.Step) {
		s.Limits.MaxExecutionTime = time.Minute
		s.Retry = task.Retry{Attempts: 9, Backoff: 10 * time.Second}
	}
	w := started(t, def("t", step("a", 0, limit)))
	w.ctrl.on("a", func(x *exec) task.Outcome {
		if x.n == 1 {
			return faulty
		}
		return x.untilEnded()
	})
	id := w.submit("t")
	w.step(id, "a", task.StepWaiting)
	w.clock.advance(10 * time.Second)
	w.began("a#2")
	w.clock.advance(10 * time.Second)
	w.crash()
	w.clock.advance(10 * time.Second)
	w.start()
	w.began("a#3")
	w.clock.awaitTimer(t, 30*time.Second)
	w.clock.advance(30 * time.Second)
	w.ends(id, task.RunFailed)
	if a := w.steps(id)["a"]; a.Error != "max_execution_time of the step (1m0s) passed" {
		t.Errorf("a says %q", a.Error)
	}
}

func TestNoRetryThatTheStepsLimitWouldEnd(t *testing.T) {
	limit := func(s *task.Step) {
		s.Limits.MaxExecutionTime = 5 * time.Second
		s.Retry = task.Retry{Attempts: 9, Backoff: 10 * time.Second}
	}
	w := started(t, def("t", step("a", 0, limit)))
	w.ctrl.onFail("a", 9, faulty)
	id := w.submit("t")
	w.ends(id, task.RunFailed)
	if a := w.steps(id)["a"]; a.Error != "no luck (no time is left for another attempt: max_execution_time is 5s)" {
		t.Errorf("a says %q", a.Error)
	}
}

func TestTheTasksLimitEndsPausesToo(t *testing.T) {
	d := def("t", step("a", 0), step("z", 1))
	d.MaxExecutionTime = time.Minute
	w := started(t, d)
	w.ctrl.onFail("a", 9, task.Outcome{Kind: task.OutcomeFailed, Message: "later", RetryAfter: time.Hour})
	id := w.submit("t")
	w.step(id, "a", task.StepWaiting)
	w.clock.advance(30 * time.Second)
	w.crash()
	w.start()
	w.clock.awaitTimer(t, 30*time.Second)
	w.clock.advance(30 * time.Second)
	run := w.ends(id, task.RunFailed)
	if run.Reason != "max_execution_time of the task (1m0s) passed" {
		t.Errorf("the reason is %q", run.Reason)
	}
	w.wantStatus(id, map[string]task.StepStatus{"a": task.StepCancelled, "z": task.StepReady})
}

// The limits of a planner that is continued count from then on.
func TestTheLimitOfAContinuedPlanner(t *testing.T) {
	w := started(t, def("t", step("p", 0, attempts(1), limits(task.Limits{MaxExecutionTime: time.Minute}))))
	w.ctrl.plansInto("p", into(2, nil))
	w.ctrl.onFail("p/c2", 1, faulty)
	id := w.submit("t")
	w.ends(id, task.RunFailed)
	w.clock.advance(time.Hour)
	if _, err := w.e.Continue(t.Context(), id, engine.Again{}); err != nil {
		t.Fatal(err)
	}
	w.bell.await(t, "the second try", func() bool { return w.ctrl.began("p/c2#2") })
	if left := w.ctrl.work["p/c2"].Deadline.Sub(w.clock.Now()); left != time.Minute {
		t.Errorf("the continued step has %s left of its minute", left)
	}
	w.ends(id, task.RunCompleted)
}
