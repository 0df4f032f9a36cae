package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

// once blocks in its first execution and completes in the next.
func once(x *exec) task.Outcome {
	if x.n == 1 {
		return x.untilEnded()
	}
	return done
}

func TestAfterACrashIdempotentWorkIsDoneAgain(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("b", 1), step("c", 2)))
	w.ctrl.on("b", once)
	id := w.submit("t")
	w.began("b#1")
	w.crash()
	if s := w.steps(id)["b"]; s.Status != task.StepRunning {
		t.Errorf("a crash left b %s", s.Status)
	}
	w.start()
	w.ends(id, task.RunCompleted)
	w.wantCalls("a#1", "b#1", "b#2", "c#1")
	if b := w.steps(id)["b"]; b.Attempt != 2 || b.Tries != 1 || b.Losses != 1 {
		t.Errorf("b is %+v: a lost attempt is no try", b.RunStep)
	}
}

func TestAfterACrashResumableWorkGetsItsCheckpoint(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	w.ctrl.effects["a"] = task.Resumable
	var got []byte
	w.ctrl.on("a", func(x *exec) task.Outcome {
		if x.n == 1 {
			if x.Work.Checkpoint != nil {
				t.Errorf("the first attempt got the checkpoint %q", x.Work.Checkpoint)
			}
			for _, c := range []string{"one", "two"} {
				if err := x.Reporter.Checkpoint([]byte(c)); err != nil {
					t.Error(err)
				}
			}
			w.bell.ring()
			w.ctrl.begin(task.Work{Step: "saved"}, "")
			return x.untilEnded()
		}
		got = x.Work.Checkpoint
		return done
	})
	id := w.submit("t")
	w.began("saved#0")
	w.crash()
	w.start()
	w.ends(id, task.RunCompleted)
	if string(got) != "two" {
		t.Errorf("the second attempt got %q", got)
	}
}

func TestAfterACrashAtMostOnceWorkWaitsForAPerson(t *testing.T) {
	w := started(t, parallel(2, def("t", step("a", 0), step("mail", 1), step("beside", 1), step("late", 1), step("z", 2))))
	w.ctrl.effects["mail"] = task.AtMostOnce
	w.ctrl.on("mail", once)
	w.ctrl.on("beside", once)
	id := w.submit("t")
	w.began("mail#1")
	w.began("beside#1")
	w.crash()
	w.start()
	run := w.ends(id, task.RunIncomplete)
	if calls := w.ctrl.list(); len(calls) != 3 {
		t.Errorf("something was started although a person must decide: %v", calls)
	}
	w.wantStatus(id, map[string]task.StepStatus{
		"a": task.StepCompleted, "mail": task.StepInterrupted, "beside": task.StepReady, "late": task.StepReady, "z": task.StepReady,
	})
	if !strings.Contains(run.Reason, "mail") || w.steps(id)["mail"].Reason != task.ReasonLost {
		t.Errorf("the reason is %q", run.Reason)
	}
	if _, err := w.e.Continue(t.Context(), id, engine.Again{By: "ann"}); !errors.Is(err, task.ErrConfirm) {
		t.Fatalf("continue without the word of a person: %v", err)
	}
	if _, err := w.e.Continue(t.Context(), id, engine.Again{By: "ann", Confirmed: true}); err != nil {
		t.Fatal(err)
	}
	w.ends(id, task.RunCompleted)
	if mail := w.steps(id)["mail"]; mail.Attempt != 2 {
		t.Errorf("mail is %+v", mail.RunStep)
	}
	if n := w.ctrl.complete[runStep(id, "a")]; n != 1 {
		t.Errorf("a completed %d times", n)
	}
}

func runStep(id task.RunID, step string) string {
	return strings.Join([]string{itoa(uint64(id)), step}, " ")
}

func TestThreeCrashesPoisonAStep(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("b", 1)))
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.untilEnded() })
	id := w.submit("t")
	for _, call := range []string{"a#1", "a#2", "a#3"} {
		w.began(call)
		w.crash()
		w.start()
	}
	run := w.ends(id, task.RunFailed)
	w.wantCalls("a#1", "a#2", "a#3", "b#1")
	if a := w.steps(id)["a"]; a.Reason != task.ReasonPoisoned || a.Status != task.StepFailed {
		t.Errorf("a is %s (%s) %s", a.Status, a.Reason, a.Error)
	}
	if !strings.Contains(run.Reason, "died 3 times") {
		t.Errorf("the reason is %q", run.Reason)
	}
}

func TestACrashInTheMiddleOfAPlan(t *testing.T) {
	w := started(t, def("t", step("p", 0)))
	w.ctrl.plansInto("p", func(x *exec, add func([]task.PlannedStep) error) task.Outcome {
		if x.n == 1 {
			_ = add([]task.PlannedStep{{Name: "old1"}, {Name: "old2"}, {Name: "old3"}})
			w.ctrl.begin(task.Work{Step: "half"}, "")
			return x.untilEnded()
		}
		return into(2, nil)(x, add)
	})
	id := w.submit("t")
	w.began("half#0")
	w.crash()
	w.start()
	run := w.ends(id, task.RunCompleted)
	if steps := w.steps(id); len(steps) != 3 || run.Total != 2 {
		t.Errorf("leftovers: %s, total %d", w.statuses(id), run.Total)
	}
}

func TestPlannedStepsGoOnAfterACrash(t *testing.T) {
	w := started(t, parallel(2, def("t", step("p", 0))))
	w.ctrl.plansInto("p", into(6, func(i int, s *task.PlannedStep) { s.Order = i / 4 }))
	w.ctrl.on("p/c2", once)
	w.ctrl.on("p/c3", once)
	id := w.submit("t")
	w.began("p/c2#1")
	w.began("p/c3#1")
	w.crash()
	w.start()
	w.ends(id, task.RunCompleted)
	if w.ctrl.plans != 1 {
		t.Errorf("it planned %d times", w.ctrl.plans)
	}
	for i, want := range []int{1, 1, 1, 1, 1, 1} {
		name := "p/c" + itoa(uint64(i+1))
		if n := w.ctrl.complete[runStep(id, name)]; n != want {
			t.Errorf("%s completed %d times", name, n)
		}
	}
}

// A run that was halted by a fault when the daemon died leaves nothing behind
// as running.
func TestACrashBesideAFaultSettlesWhatRan(t *testing.T) {
	w := started(t, parallel(2, def("t", step("a", 0, interrupting, attempts(1)), step("b", 0))))
	fail := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome { x.gate(fail); return faulty })
	w.ctrl.on("b", once)
	id := w.submit("t")
	w.began("b#1")
	close(fail)
	w.step(id, "a", task.StepFailed)
	w.crash()
	w.start()
	w.ends(id, task.RunFailed)
	w.wantStatus(id, map[string]task.StepStatus{"a": task.StepFailed, "b": task.StepReady})
}

// An interrupted planned step leaves the run incomplete, also when the daemon
// dies before the run has ended.
func TestACrashBesideAnInterruptedPlannedStep(t *testing.T) {
	w := started(t, parallel(2, def("t", step("p", 0))))
	w.ctrl.effects["p"] = task.AtMostOnce
	w.ctrl.plansInto("p", into(3, nil))
	lose := make(chan struct{})
	w.ctrl.on("p/c1", func(x *exec) task.Outcome {
		x.gate(lose)
		return task.Outcome{Kind: task.OutcomeNoResult, Message: "it died"}
	})
	w.ctrl.on("p/c2", func(x *exec) task.Outcome { return x.untilEnded() })
	id := w.submit("t")
	w.began("p/c2#1")
	close(lose)
	w.step(id, "p/c1", task.StepInterrupted)
	w.crash()
	w.start()
	w.ends(id, task.RunIncomplete)
	w.wantStatus(id, map[string]task.StepStatus{"p": task.StepInterrupted, "p/c2": task.StepInterrupted, "p/c3": task.StepReady})
}

func TestAStopGivesStepsBack(t *testing.T) {
	w := started(t, parallel(2, def("t", step("a", 0), step("b", 0), step("z", 1))))
	var cause error
	w.ctrl.on("a", func(x *exec) task.Outcome {
		o := once(x)
		if x.n == 1 {
			cause = context.Cause(x.ctx)
		}
		return o
	})
	w.ctrl.on("b", once)
	id := w.submit("t")
	w.began("a#1")
	w.began("b#1")
	w.stop()
	if cause != task.ErrStopping {
		t.Errorf("a was told %v", cause)
	}
	if s := w.steps(id)["a"]; s.Status != task.StepReady || s.Tries != 0 || s.Losses != 0 || s.Attempt != 1 {
		t.Errorf("a is %+v", s.RunStep)
	}
	if _, err := w.e.Submit(t.Context(), engine.Wish{Task: "t"}); err == nil {
		t.Error("a run was accepted after Stop")
	}
	w.reopen()
	w.start()
	w.ends(id, task.RunCompleted)
	if s := w.steps(id)["b"]; s.Attempt != 2 || s.Tries != 1 {
		t.Errorf("b is %+v", s.RunStep)
	}
}

func TestAStopInterruptsWhatMustNotBeRepeated(t *testing.T) {
	w := started(t, def("t", step("mail", 0), step("z", 1)))
	w.ctrl.effects["mail"] = task.AtMostOnce
	w.ctrl.on("mail", once)
	id := w.submit("t")
	w.began("mail#1")
	w.stop()
	run := w.run(id)
	if run.Status != task.RunIncomplete || !strings.Contains(run.Reason, "mail") {
		t.Errorf("the run is %s: %q", run.Status, run.Reason)
	}
	w.consistent(id)
	w.reopen()
	w.start()
	if _, err := w.e.Continue(t.Context(), id, engine.Again{Confirmed: true}); err != nil {
		t.Fatal(err)
	}
	w.ends(id, task.RunCompleted)
}

// A fault that comes at the same moment as the stop keeps its retries.
func TestAStopDoesNotTakeTheRetriesOfAStepThatFailsMeanwhile(t *testing.T) {
	w := started(t, parallel(2, def("t", step("a", 0), step("b", 0))))
	fail, open := make(chan struct{}), make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome {
		if x.n > 1 {
			return done
		}
		x.gate(fail)
		return faulty
	})
	w.ctrl.on("b", func(x *exec) task.Outcome { x.gate(open); return done })
	id := w.submit("t")
	w.began("a#1")
	w.began("b#1")
	// The runner is held in a commit, so that stop and fault reach it together.
	hold := make(chan struct{})
	w.db.set(func(d *db) { d.hold = hold })
	close(open)
	w.bell.await(t, "the runner to be held", func() bool { return w.db.waiting() == 1 })
	inbox := func(n int) {
		w.bell.await(t, "a message in the inbox", func() bool { w.bell.ring(); return engine.Waiting(w.e, id) == n })
	}
	stopped := make(chan struct{})
	go func() { defer close(stopped); w.stop() }()
	inbox(1)
	close(fail)
	inbox(2)
	w.db.set(func(d *db) { close(d.hold); d.hold = nil })
	<-stopped
	if s := w.steps(id)["a"]; s.Status.Ended() {
		t.Errorf("a is %s after a stop, with retries left", s.Status)
	}
	w.reopen()
	w.clock.leap = true
	w.start()
	w.ends(id, task.RunCompleted)
}

// What is submitted while the engine starts is carried out once.
func TestSubmitBeforeStart(t *testing.T) {
	w := newWorld(t)
	w.apply(def("t", step("a", 0)))
	first, second := w.submit("t"), w.submit("t")
	w.start()
	w.ends(first, task.RunCompleted)
	w.ends(second, task.RunCompleted)
	w.wantCalls("a#1", "a#1")
	if running, queued := w.e.Load(); queued != 0 {
		t.Errorf("%d run, %d wait", running, queued)
	}
}

func TestAStaleAttemptIsRefused(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	w.clock.leap = true
	var old *exec
	w.ctrl.on("a", func(x *exec) task.Outcome {
		if x.n == 1 {
			old = x
			return faulty
		}
		if err := old.Reporter.Checkpoint([]byte("late")); err == nil {
			t.Error("the checkpoint of an attempt that has ended was kept")
		}
		if err := old.Output("x", raw("1")); err == nil {
			t.Error("an output of an attempt that has ended was kept")
		}
		old.Progress(task.Progress{Done: 1, Total: 1})
		old.Log(task.LogInfo, "late", nil)
		return done
	})
	id := w.submit("t")
	w.ends(id, task.RunCompleted)
	for _, l := range w.log.of("t/1") {
		if l.Message == "late" {
			t.Error("a line of an attempt that has ended was written")
		}
	}
}
