package engine_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

func TestStepsRunInTheirOrder(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("b", 1), step("c", 2)))
	id := w.submit("t")
	run := w.ends(id, task.RunCompleted)
	w.wantCalls("a#1", "b#1", "c#1")
	if run.Reason != "" || run.Total != 3 || run.Completed != 3 {
		t.Errorf("the run is %+v", run.Run)
	}
	if !slices.Equal(w.ctrl.endRuns, []task.RunID{id}) {
		t.Errorf("plugins heard of the end of %v", w.ctrl.endRuns)
	}
	if w.log.closed["t/1"] != 1 || !w.spaces.gone()["t/1"] {
		t.Errorf("log closed %d times, workspace removed: %v", w.log.closed["t/1"], w.spaces.gone())
	}
	if work := w.ctrl.work["b"]; work.WorkDir != "/work/t/1" || work.Task != "t" || work.RunNumber != 1 || work.Controller != "b" {
		t.Errorf("b was handed %+v", work)
	}
}

// As many steps of one order as the task allows run side by side, never more,
// and none of a higher order before the last of a lower one has ended.
func TestSideBySide(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 8} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			w := started(t)
			open := make(chan struct{})
			var steps []task.Step
			for i := range 5 {
				name := fmt.Sprintf("low%d", i)
				steps = append(steps, step(name, 0))
				w.ctrl.on(name, func(x *exec) task.Outcome { return x.gate(open) })
			}
			steps = append(steps, step("high", 7))
			w.apply(parallel(limit, def("t", steps...)))
			id := w.submit("t")
			at := min(limit, 5)
			w.bell.await(t, "the first ones to run", func() bool { running, _ := w.ctrl.snapshot(); return running == at })
			if run := w.run(id); len(run.Active) != at {
				t.Errorf("%d steps are shown as active, want %d", len(run.Active), at)
			}
			close(open)
			w.ends(id, task.RunCompleted)
			if _, most := w.ctrl.snapshot(); most != at {
				t.Errorf("%d ran at once, want %d", most, at)
			}
			if calls := w.ctrl.list(); calls[len(calls)-1] != "high#1" {
				t.Errorf("a higher order came before the end of the lower one: %v", calls)
			}
		})
	}
}

// Steps of one order start as they stand in the task, also when the plugin of a
// later one answers first.
func TestStepsOfOneOrderStartAsTheyStand(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("b", 0), step("c", 0)))
	var asked atomic.Int32
	w.ctrl.lookup = func(ctx context.Context, name string) error {
		if asked.Add(1); name != "a" {
			return nil
		}
		for asked.Load() < 3 && ctx.Err() == nil { // all are asked at once
			runtime.Gosched()
		}
		return ctx.Err()
	}
	for range 100 {
		asked.Store(0)
		w.ends(w.submit("t"), task.RunCompleted)
	}
	want := slices.Repeat([]string{"a#1", "b#1", "c#1"}, 100)
	if got := w.ctrl.list(); !slices.Equal(got, want) {
		t.Errorf("steps started as %v", got)
	}
}

func TestAHigherOrderWaitsForTheLastOfALowerOne(t *testing.T) {
	w := started(t, parallel(4, def("t", step("a", 0), step("slow", 0), step("b", 1))))
	open := make(chan struct{})
	w.ctrl.on("slow", func(x *exec) task.Outcome { return x.gate(open) })
	id := w.submit("t")
	w.step(id, "a", task.StepCompleted)
	w.began("slow#1")
	if w.ctrl.began("b#1") {
		t.Error("b began while slow ran")
	}
	close(open)
	w.ends(id, task.RunCompleted)
}

func TestAFaultThatInterrupts(t *testing.T) {
	w := started(t, def("t", step("a", 0, interrupting), step("b", 1)))
	w.ctrl.on("a", func(*exec) task.Outcome {
		return task.Outcome{Kind: task.OutcomePermanent, Message: "the disk is gone\ndetails"}
	})
	id := w.submit("t")
	run := w.ends(id, task.RunFailed)
	w.wantCalls("a#1")
	w.wantStatus(id, map[string]task.StepStatus{"a": task.StepFailed, "b": task.StepReady})
	if run.Reason != "step a failed: the disk is gone" {
		t.Errorf("the reason is %q", run.Reason)
	}
	if w.spaces.gone()["t/1"] {
		t.Error("the directory of a failed run was removed: it is needed to continue")
	}
}

func TestAFaultThatDoesNotInterrupt(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("b", 1)))
	w.ctrl.on("a", func(*exec) task.Outcome { return task.Outcome{Kind: task.OutcomePermanent, Message: "bad"} })
	id := w.submit("t")
	run := w.ends(id, task.RunFailed)
	w.wantCalls("a#1", "b#1")
	w.wantStatus(id, map[string]task.StepStatus{"a": task.StepFailed, "b": task.StepCompleted})
	if run.Failed != 1 || run.Completed != 1 || run.Reason != "step a failed: bad" {
		t.Errorf("the run is %+v", run.Run)
	}
}

// An interrupting fault lets what runs beside it end, and starts nothing new.
func TestAFaultBesideOthers(t *testing.T) {
	w := started(t, parallel(2, def("t", step("a", 0, interrupting, attempts(1)), step("b", 0), step("c", 0))))
	open, fail := make(chan struct{}), make(chan struct{})
	w.ctrl.on("b", func(x *exec) task.Outcome { return x.gate(open) })
	w.ctrl.on("a", func(x *exec) task.Outcome { x.gate(fail); return faulty })
	id := w.submit("t")
	w.began("b#1")
	close(fail)
	w.step(id, "a", task.StepFailed)
	close(open)
	w.ends(id, task.RunFailed)
	w.wantStatus(id, map[string]task.StepStatus{"a": task.StepFailed, "b": task.StepCompleted, "c": task.StepReady})
}

func TestManyFaultsAreCounted(t *testing.T) {
	w := started(t, def("t", step("a", 0, attempts(1)), step("b", 1), step("c", 2, attempts(1))))
	w.ctrl.onFail("a", 9, faulty)
	w.ctrl.onFail("c", 9, faulty)
	run := w.ends(w.submit("t"), task.RunFailed)
	if run.Reason != "2 steps failed, the first: step a failed: no luck" {
		t.Errorf("the reason is %q", run.Reason)
	}
}

func TestAPlannerWhoseStepsRunInTheirOrder(t *testing.T) {
	w := started(t, parallel(3, def("t", step("p", 0), step("z", 1))))
	w.ctrl.plansInto("p", into(6, func(i int, s *task.PlannedStep) { s.Order = (i + 1) / 2 })) // 1 1 2 2 3 3
	gates := map[string]chan struct{}{}
	for i := range 6 {
		name := fmt.Sprintf("p/c%d", i+1)
		open := make(chan struct{})
		gates[name] = open
		w.ctrl.on(name, func(x *exec) task.Outcome { return x.gate(open) })
	}
	id := w.submit("t")
	for _, pair := range [][2]string{{"p/c1", "p/c2"}, {"p/c3", "p/c4"}, {"p/c5", "p/c6"}} {
		w.began(pair[0] + "#1")
		w.began(pair[1] + "#1")
		if running, _ := w.ctrl.snapshot(); running != 2 {
			t.Errorf("%d run beside %v", running, pair)
		}
		close(gates[pair[0]])
		w.step(id, pair[0], task.StepCompleted)
		if running, _ := w.ctrl.snapshot(); running != 1 {
			t.Errorf("a higher order began before the end of %v", pair)
		}
		close(gates[pair[1]])
	}
	run := w.ends(id, task.RunCompleted)
	if run.Total != 7 || run.Completed != 7 {
		t.Errorf("the planner counts through its steps: %+v", run.Run)
	}
	if calls := w.ctrl.list(); calls[0] != "plan p#1" || calls[len(calls)-1] != "z#1" {
		t.Errorf("calls were %v", calls)
	}
	if p := w.steps(id)["p"]; p.Status != task.StepCompleted || p.Planned != 6 || p.Effect != task.Idempotent {
		t.Errorf("the planner is %+v", p.RunStep)
	}
}

func TestAPlanOfNothing(t *testing.T) {
	w := started(t, def("t", step("p", 0), step("z", 1)))
	w.ctrl.plansInto("p", into(0, nil))
	id := w.submit("t")
	run := w.ends(id, task.RunCompleted)
	w.wantCalls("plan p#1", "z#1")
	if run.Total != 2 || run.Completed != 2 {
		t.Errorf("the run is %+v", run.Run)
	}
}

// All of the plan is durable before its first step starts, and nobody sees a
// part of it.
func TestAPlanIsSeenWholeOrNotAtAll(t *testing.T) {
	w := started(t, def("t", step("p", 0)))
	first, open := make(chan struct{}), make(chan struct{})
	w.ctrl.plansInto("p", func(x *exec, add func([]task.PlannedStep) error) task.Outcome {
		if err := add([]task.PlannedStep{{Name: "x"}, {Name: "y"}}); err != nil {
			t.Error(err)
		}
		close(first)
		return x.gate(open)
	})
	w.ctrl.on("p/x", func(x *exec) task.Outcome {
		if s := w.steps(x.Attempt.Run); len(s) != 3 || !s["p"].PlanDone || s["p"].Planned != 2 {
			t.Errorf("when the first step began, the store had %d steps", len(s))
		}
		return done
	})
	id := w.submit("t")
	<-first
	if s := w.steps(id); len(s) != 1 || !s["p"].Planning {
		t.Errorf("a part of a plan is seen: %v", w.statuses(id))
	}
	close(open)
	w.ends(id, task.RunCompleted)
}

func TestAPlanThatFailsIsMadeAnew(t *testing.T) {
	w := started(t, def("t", step("p", 0)))
	w.clock.leap = true
	w.ctrl.plansInto("p", func(x *exec, add func([]task.PlannedStep) error) task.Outcome {
		if x.n == 1 {
			_ = add([]task.PlannedStep{{Name: "old1"}, {Name: "old2"}, {Name: "old3"}})
			return faulty
		}
		return into(2, nil)(x, add)
	})
	id := w.submit("t")
	run := w.ends(id, task.RunCompleted)
	w.wantCalls("plan p#1", "plan p#2", "p/c1#1", "p/c2#1")
	if run.Total != 2 || len(w.steps(id)) != 3 {
		t.Errorf("leftovers of the first plan: %s", w.statuses(id))
	}
}

func TestAPlannerFailsWithItsSteps(t *testing.T) {
	w := started(t, def("t", step("p", 0, attempts(1)), step("z", 1)))
	w.ctrl.plansInto("p", into(4, nil))
	w.ctrl.onFail("p/c2", 9, faulty)
	w.ctrl.onFail("p/c3", 9, faulty)
	id := w.submit("t")
	run := w.ends(id, task.RunFailed)
	p := w.steps(id)["p"]
	if p.Status != task.StepFailed || p.Reason != task.ReasonSteps || p.Error != "2 of 4 planned steps failed, the first: c2: no luck" {
		t.Errorf("the planner is %s (%s): %s", p.Status, p.Reason, p.Error)
	}
	if run.Failed != 2 || run.Completed != 3 { // c1, c4 and z
		t.Errorf("the run is %+v", run.Run)
	}
	tops, faults, err := w.e.TopSteps(w.run(id), 1)
	if err != nil || len(tops) != 2 || len(faults) != 1 || faults[0].FullName() != "p/c2" {
		t.Errorf("tops %v, faults %v, %v", tops, faults, err)
	}
}

func TestAFaultOfAPlannedStepThatInterrupts(t *testing.T) {
	w := started(t, def("t", step("p", 0, attempts(1), interrupting), step("z", 1)))
	w.ctrl.plansInto("p", into(4, nil))
	w.ctrl.onFail("p/c2", 9, faulty)
	id := w.submit("t")
	run := w.ends(id, task.RunFailed)
	w.wantStatus(id, map[string]task.StepStatus{
		"p": task.StepFailed, "p/c1": task.StepCompleted, "p/c2": task.StepFailed, "p/c3": task.StepReady, "z": task.StepReady,
	})
	if run.Reason != "step p/c2 failed: no luck" {
		t.Errorf("the reason is %q", run.Reason)
	}
}

func TestATaskThatCannotGetADirectoryFails(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	w.spaces.fault = errBroken
	run := w.wait(w.submit("t"))
	if run.Status != task.RunFailed || !strings.Contains(run.Reason, "directory: broken on purpose") {
		t.Errorf("the run is %s: %s", run.Status, run.Reason)
	}
	w.wantCalls()
	// Its end is seen before its log has a line.
	w.stop()
	if w.log.closed["t/1"] != 1 {
		t.Errorf("its log was closed %d times", w.log.closed["t/1"])
	}
}

func TestRunsTakeTurns(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.MaxRuns = 2 })
	w.start()
	w.apply(def("t", step("a", 0)))
	open := make(chan struct{}, 10)
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(open) })
	var ids []task.RunID
	for range 6 {
		ids = append(ids, w.submit("t"))
	}
	w.bell.await(t, "two runs", func() bool { running, _ := w.ctrl.snapshot(); return running == 2 })
	if running, queued := w.e.Load(); running != 2 || queued != 4 {
		t.Errorf("%d runs are carried out and %d wait", running, queued)
	}
	if at := w.run(ids[4]).QueuePosition; at != 3 {
		t.Errorf("the fifth run is number %d in the queue", at)
	}
	// The queue outlives a crash, in its order.
	w.crash()
	w.start()
	w.bell.await(t, "two runs", func() bool { running, _ := w.ctrl.snapshot(); return running == 2 })
	if at := w.run(ids[4]).QueuePosition; at != 3 {
		t.Errorf("after a restart, the fifth run is number %d in the queue", at)
	}
	for range 6 {
		open <- struct{}{}
	}
	for _, id := range ids {
		w.ends(id, task.RunCompleted)
	}
	var started []time.Time
	for _, id := range ids {
		started = append(started, w.run(id).StartedAt)
	}
	if !slices.IsSortedFunc(started, time.Time.Compare) {
		t.Errorf("runs started at %v", started)
	}
	if _, most := w.ctrl.snapshot(); most != 2 {
		t.Errorf("%d ran at once", most)
	}
}

func TestAContinuedRunGoesBehindThoseThatWaitAlready(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.MaxRuns = 1 })
	w.start()
	w.apply(def("bad", step("fails", 0)), def("slow", step("blocks", 0)), def("t", step("a", 0)))
	w.ctrl.onFail("fails", 1, task.Outcome{Kind: task.OutcomePermanent})
	old := w.submit("bad")
	w.ends(old, task.RunFailed)
	open := make(chan struct{})
	w.ctrl.on("blocks", func(x *exec) task.Outcome { return x.gate(open) })
	slow := w.submit("slow")
	w.began("blocks#1")
	w.clock.advance(time.Second)
	waits := w.submit("t")
	w.clock.advance(time.Second)
	if _, err := w.e.Continue(t.Context(), old, engine.Again{}); err != nil {
		t.Fatal(err)
	}
	want := func(when string) {
		t.Helper()
		if a, b := w.run(waits).QueuePosition, w.run(old).QueuePosition; a != 1 || b != 2 {
			t.Errorf("%s: the run that waited is number %d, the continued one number %d", when, a, b)
		}
	}
	want("at once")
	w.crash()
	w.start()
	w.began("blocks#2")
	want("after a crash")
	close(open)
	for _, id := range []task.RunID{slow, waits, old} {
		w.ends(id, task.RunCompleted)
	}
}
