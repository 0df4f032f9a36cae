package engine_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

var sessionGone = task.Outcome{Kind: task.OutcomeSessionLost, Message: "the snapshot is gone"}

// withSession plans n steps that belong to a session named after the plan.
func withSession(n int) planner {
	return func(x *exec, add func([]task.PlannedStep) error) task.Outcome {
		o := into(n, nil)(x, add)
		o.Session = "s" + string(rune('0'+x.n))
		return o
	}
}

func TestALostSessionStartsTheWholeGroupAgain(t *testing.T) {
	w := started(t, def("t", step("p", 0), step("z", 1)))
	w.ctrl.plansInto("p", withSession(3))
	w.ctrl.on("p/c2", func(x *exec) task.Outcome {
		if x.n == 1 {
			return sessionGone
		}
		if x.Session != "s2" {
			t.Errorf("the second try was in session %q", x.Session)
		}
		return done
	})
	id := w.submit("t")
	run := w.ends(id, task.RunCompleted)
	w.wantCalls("plan p#1", "p/c1#1", "p/c2#1", "plan p#2", "p/c1#1", "p/c2#1", "p/c3#1", "z#1")
	if run.Total != 4 || run.Completed != 4 {
		t.Errorf("the run is %+v", run.Run)
	}
	if p := w.steps(id)["p"]; p.Losses != 1 || p.Session != "s2" {
		t.Errorf("the planner is %+v", p.RunStep)
	}
}

func TestALostSessionWithOthersUnderWay(t *testing.T) {
	w := started(t, parallel(3, def("t", step("p", 0))))
	w.ctrl.plansInto("p", withSession(5))
	lose := make(chan struct{})
	w.ctrl.on("p/*", func(x *exec) task.Outcome {
		switch {
		case x.Session != "s1":
			return done
		case x.Step == "p/c2":
			x.gate(lose)
			return sessionGone
		case x.Step == "p/c3" || x.Step == "p/c4":
			return x.untilEnded()
		}
		return done
	})
	id := w.submit("t")
	w.began("p/c3#1")
	w.began("p/c4#1")
	close(lose)
	run := w.ends(id, task.RunCompleted)
	if run.Total != 5 || run.Completed != 5 || w.ctrl.plans != 2 {
		t.Errorf("%d plans, the run is %+v", w.ctrl.plans, run.Run)
	}
}

// A group is started again a bounded number of times, also when several of its
// steps report the loss.
func TestASessionThatIsLostAgainAndAgain(t *testing.T) {
	for _, limit := range []int{1, 4} {
		w := started(t, parallel(limit, def("t", step("p", 0), step("z", 1))))
		w.ctrl.plansInto("p", withSession(4))
		w.ctrl.on("p/*", func(*exec) task.Outcome { return sessionGone })
		id := w.submit("t")
		run := w.ends(id, task.RunFailed)
		if w.ctrl.plans != 3 {
			t.Errorf("it planned %d times", w.ctrl.plans)
		}
		p := w.steps(id)["p"]
		if p.Status != task.StepFailed || p.Reason != task.ReasonLost || !strings.Contains(p.Error, "lost 3 times: the snapshot is gone") {
			t.Errorf("the planner is %s (%s): %s", p.Status, p.Reason, p.Error)
		}
		if !strings.Contains(run.Reason, "session was lost") {
			t.Errorf("the reason is %q", run.Reason)
		}
		w.wantStatus(id, map[string]task.StepStatus{"z": task.StepReady})
	}
}

// What failed in a session that was lost is done again with the others, and
// does not count any more.
func TestAFaultOfALostSessionIsForgotten(t *testing.T) {
	w := started(t, def("t", step("p", 0, attempts(1))))
	w.ctrl.plansInto("p", withSession(2))
	w.ctrl.on("p/*", func(x *exec) task.Outcome {
		switch {
		case x.Session != "s1":
			return done
		case x.Step == "p/c1":
			return faulty
		}
		return sessionGone
	})
	run := w.ends(w.submit("t"), task.RunCompleted)
	if run.Failed != 0 || run.Completed != 2 {
		t.Errorf("the run is %+v", run.Run)
	}
}

// A retry that waited in the lost session must not wake its namesake in the
// new one before that one's time.
func TestAPauseOfALostSessionIsForgotten(t *testing.T) {
	slow := func(s *task.Step) { s.Retry = task.Retry{Attempts: 5, Backoff: 10 * time.Second} }
	w := started(t, def("t", step("p", 0, slow)))
	w.ctrl.plansInto("p", withSession(2))
	w.ctrl.on("p/c1", func(x *exec) task.Outcome {
		if x.Session == "s1" {
			return task.Outcome{Kind: task.OutcomeFailed, RetryAfter: 15 * time.Second}
		}
		if x.n == 2 {
			return task.Outcome{Kind: task.OutcomeFailed, RetryAfter: 40 * time.Second}
		}
		return done
	})
	lose, lost := make(chan struct{}), false
	w.ctrl.on("p/c2", func(x *exec) task.Outcome {
		if !lost {
			lost = true
			x.gate(lose)
			return sessionGone
		}
		return done
	})
	id := w.submit("t")
	w.step(id, "p/c1", task.StepWaiting)
	close(lose)
	w.step(id, "p/c2", task.StepCompleted)
	w.clock.awaitTimer(t, 40*time.Second)
	w.clock.advance(20 * time.Second) // the old pause is over
	w.clock.advance(19 * time.Second)
	if s := w.steps(id)["p/c1"]; s.Status != task.StepWaiting {
		t.Errorf("p/c1 is %s after 39 of 40 s", s.Status)
	}
	w.clock.advance(time.Second)
	w.ends(id, task.RunCompleted)
	if calls := w.ctrl.list(); !slices.Contains(calls, "p/c1#2") {
		t.Errorf("calls were %v", calls)
	}
}

// Sessions end when the daemon stops; that is no fault of the step.
func TestASessionLostInAStopIsNotCounted(t *testing.T) {
	w := started(t, def("t", step("p", 0)))
	w.ctrl.plansInto("p", withSession(2))
	w.ctrl.on("p/c1", func(x *exec) task.Outcome {
		if x.n == 1 {
			x.untilEnded()
			return sessionGone
		}
		return done
	})
	id := w.submit("t")
	w.began("p/c1#1")
	w.stop()
	if s := w.steps(id); s["p"].Losses != 0 || s["p"].Status != task.StepRunning || s["p/c1"].Status != task.StepReady {
		t.Errorf("after the stop: %s, losses %d", w.statuses(id), s["p"].Losses)
	}
	w.reopen()
	w.start()
	w.ends(id, task.RunCompleted)
}

func TestASessionLostInACancelIsACancel(t *testing.T) {
	w := started(t, def("t", step("p", 0)))
	w.ctrl.plansInto("p", withSession(2))
	w.ctrl.on("p/c1", func(x *exec) task.Outcome { x.untilEnded(); return sessionGone })
	id := w.submit("t")
	w.began("p/c1#1")
	if _, err := w.e.Cancel(t.Context(), id, "bob"); err != nil {
		t.Fatal(err)
	}
	run := w.ends(id, task.RunCancelled)
	if run.Failed != 0 {
		t.Errorf("%d steps failed", run.Failed)
	}
	w.wantStatus(id, map[string]task.StepStatus{"p": task.StepCancelled, "p/c1": task.StepCancelled})
}

// Work that must not be done twice is not done again for a session's sake.
func TestALostSessionDoesNotRepeatWhatMustNotBeRepeated(t *testing.T) {
	w := started(t, def("t", step("p", 0)))
	w.ctrl.effects["p"] = task.AtMostOnce
	w.ctrl.plansInto("p", withSession(3))
	w.ctrl.on("p/c2", func(*exec) task.Outcome { return sessionGone })
	id := w.submit("t")
	w.ends(id, task.RunIncomplete)
	w.wantCalls("plan p#1", "p/c1#1", "p/c2#1")
	w.wantStatus(id, map[string]task.StepStatus{"p/c1": task.StepCompleted, "p/c2": task.StepInterrupted, "p/c3": task.StepReady, "p": task.StepInterrupted})
}

// A plugin may say anything: that a session is lost which was never opened is a
// fault of the step, as any other.
func TestALostSessionThatWasNoneIsAFault(t *testing.T) {
	for name, planned := range map[string]bool{"a step": false, "a planned step": true} {
		t.Run(name, func(t *testing.T) {
			w := started(t, def("t", step("p", 0, attempts(1))))
			at := "p"
			if planned {
				w.ctrl.plansInto("p", into(2, nil))
				at = "p/c1"
			}
			w.ctrl.on(at, func(*exec) task.Outcome { return sessionGone })
			id := w.submit("t")
			w.ends(id, task.RunFailed)
			s := w.steps(id)[at]
			if s.Status != task.StepFailed || s.Reason != task.ReasonError || !strings.Contains(s.Error, "has none: the snapshot is gone") {
				t.Errorf("the step is %+v", s.RunStep)
			}
		})
	}
}

// When a group gives up, none of its steps is left waiting.
func TestAGroupThatGivesUpEndsItsPauses(t *testing.T) {
	w := started(t, def("t", step("p", 0)))
	w.ctrl.plansInto("p", withSession(2))
	w.ctrl.onFail("p/c1", 99, task.Outcome{Kind: task.OutcomeFailed, Message: "later", RetryAfter: time.Hour})
	w.ctrl.on("p/c2", func(*exec) task.Outcome { return sessionGone })
	id := w.submit("t")
	w.ends(id, task.RunFailed)
	w.wantStatus(id, map[string]task.StepStatus{"p": task.StepFailed, "p/c1": task.StepReady, "p/c2": task.StepReady})
}
