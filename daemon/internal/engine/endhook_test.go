package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

// withEndHooks gives the task a step for each hook: good, bad and over.
func withEndHooks(d task.Task) task.Task {
	d.OnSuccess = []task.Step{step("good", 0)}
	d.OnFailure = []task.Step{step("bad", 0)}
	d.OnEnd = []task.Step{step("over", 0)}
	return d
}

var permanent = task.Outcome{Kind: task.OutcomePermanent, Message: "no"}

// hooksEnd waits for the hooks that the run has and returns them in their order.
func (w *world) hooksEnd(id task.RunID) (list []engine.RunView) {
	w.t.Helper()
	run := w.run(id)
	for _, number := range run.Hooks {
		hook, err := w.e.Find(fmt.Sprintf("%s/%d", run.Task, number))
		if err != nil {
			w.t.Fatal(err)
		}
		list = append(list, w.wait(hook.ID))
	}
	return list
}

// hooksOf is "on_failure after failed, ..." of all runs that are hooks of that
// one, and whether it knows of just them.
func (w *world) hooksOf(id task.RunID) (text string, all bool) {
	w.t.Helper()
	run := w.run(id)
	var numbers []uint64
	var words []string
	list, _, err := w.e.ListRuns(engine.RunQuery{Task: run.Task, Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, hook := range slices.Backward(list) {
		if hook.HookOf == run.Number && hook.RestartOf == 0 {
			numbers = append(numbers, hook.Number)
			words = append(words, fmt.Sprintf("%s after %s", hook.Cause(), hook.HookStatus))
		}
	}
	return strings.Join(words, ", "), slices.Equal(numbers, run.Hooks)
}

// Each way to end has its hooks, once, and they change nothing of the run.
func TestEachEndHasItsHooks(t *testing.T) {
	for _, c := range []struct {
		name   string
		begin  func(w *world) task.RunID
		status task.RunStatus
		want   string
		calls  []string
	}{
		{"completes", func(w *world) task.RunID { return w.submit("t") }, task.RunCompleted,
			"on_success after completed, on_end after completed", []string{"a#1", "good#1", "over#1"}},
		{"fails", func(w *world) task.RunID {
			w.ctrl.on("a", func(*exec) task.Outcome { return permanent })
			return w.submit("t")
		}, task.RunFailed, "on_failure after failed, on_end after failed", []string{"a#1", "bad#1", "over#1"}},
		{"is incomplete", func(w *world) task.RunID {
			w.ctrl.effects["a"] = task.AtMostOnce
			w.ctrl.on("a", func(*exec) task.Outcome { return task.Outcome{Kind: task.OutcomeNoResult, Message: "gone"} })
			return w.submit("t")
		}, task.RunIncomplete, "on_failure after incomplete, on_end after incomplete", []string{"a#1", "bad#1", "over#1"}},
		{"is cancelled", func(w *world) task.RunID {
			w.ctrl.on("a", (*exec).untilEnded)
			id := w.submit("t")
			w.began("a#1")
			if _, err := w.e.Cancel(w.t.Context(), id, "eve"); err != nil {
				w.t.Fatal(err)
			}
			return id
		}, task.RunCancelled, "on_end after cancelled", []string{"a#1", "over#1"}},
		{"is cancelled in the queue", func(w *world) task.RunID {
			w.ctrl.on("b", (*exec).untilEnded)
			other := w.submit("u")
			w.began("b#1")
			id := w.submit("t")
			if _, err := w.e.Cancel(w.t.Context(), id, "eve"); err != nil {
				w.t.Fatal(err)
			}
			if lines := w.log.of("t/1"); lines[len(lines)-1].Message != "on_end follows: t/2" {
				w.t.Errorf("its log is %v", lines)
			}
			if _, err := w.e.Cancel(w.t.Context(), other, ""); err != nil {
				w.t.Fatal(err)
			}
			return id
		}, task.RunCancelled, "on_end after cancelled", []string{"b#1", "over#1"}},
		{"cannot begin", func(w *world) task.RunID {
			w.spaces.mu.Lock()
			w.spaces.fault = errBroken
			w.spaces.mu.Unlock()
			return w.submit("t")
		}, task.RunFailed, "on_failure after failed, on_end after failed", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, func(c *engine.Config) { c.MaxRuns = 1 })
			w.start()
			w.apply(withEndHooks(def("t", step("a", 0))), def("u", step("b", 0)))
			id := c.begin(w)
			run := w.ends(id, c.status)
			for _, hook := range w.hooksEnd(id) {
				if hook.HookReason != run.Reason || len(hook.Hooks) > 0 || hook.DefinitionVersion != run.DefinitionVersion {
					t.Errorf("a hook is %+v", hook.Run)
				}
			}
			if got, all := w.hooksOf(id); got != c.want || !all {
				t.Errorf("its hooks are %s (%v)", got, w.run(id).Hooks)
			}
			w.wantCalls(c.calls...)
			after := w.ends(id, c.status)
			if run.Reason != after.Reason || !run.EndedAt.Equal(after.EndedAt) {
				t.Errorf("the run was %+v and is %+v", run.Run, after.Run)
			}
		})
	}
}

// on_end waits for what came before it, and is carried out however that ends.
// What goes wrong in a hook shows in the hook, and only there.
func TestOnEndWaitsAndAHookMayFail(t *testing.T) {
	d := withEndHooks(def("t", step("a", 0)))
	d.OnFailure = []task.Step{step("bad", 0, interrupting), step("worse", 1)}
	w := started(t, d)
	open := make(chan struct{})
	w.ctrl.on("a", func(*exec) task.Outcome { return permanent })
	w.ctrl.on("bad", func(x *exec) task.Outcome { x.gate(open); return permanent })
	id := w.submit("t")
	before := w.ends(id, task.RunFailed)
	w.began("bad#1")
	w.ends(w.submit("t"), task.RunFailed) // whose hooks, and which itself, wait for nobody
	w.step(w.find("t/5"), "bad", task.StepRunning)
	if over, err := w.e.Find("t/3"); err != nil || over.Status != task.RunQueued || over.Cause() != task.TriggerOnEnd {
		t.Errorf("on_end is %+v, %v", over.Run, err)
	}
	close(open)
	hooks := w.hooksEnd(id)
	if hooks[0].Status != task.RunFailed || hooks[0].Reason == "" || hooks[1].Status != task.RunCompleted {
		t.Errorf("the hooks are %+v and %+v", hooks[0].Run, hooks[1].Run)
	}
	if hooks[1].StartedAt.Before(hooks[0].EndedAt) {
		t.Error("on_end did not wait")
	}
	if line := w.log.of("t/2")[0].Message; line != "the run starts, because t/1 is failed (on_failure)" {
		t.Errorf("the log of the hook begins with %q", line)
	}
	lines := w.log.of("t/1")
	if n := len(lines); n < 2 || lines[n-2].Message != "on_failure follows: t/2" || lines[n-1].Message != "on_end follows: t/3" {
		t.Errorf("the log of the run is %v", lines)
	}
	if after := w.run(id); after.Status != before.Status || after.Reason != before.Reason {
		t.Errorf("the run is %+v", after.Run)
	}
	if got, _ := w.hooksOf(hooks[0].ID); got != "" {
		t.Errorf("a hook that failed has hooks of its own: %s", got)
	}
	if last, err := w.e.Find("t"); err != nil || last.Number != 4 {
		t.Errorf("the task's newest run is %s, %v", last.Ref(), err)
	}
	again, err := w.e.Restart(t.Context(), hooks[0].ID, engine.Again{By: "ann"})
	if err != nil || again.HookOf != 1 || again.HookStatus != task.RunFailed || again.Trigger != task.TriggerOnFailure {
		t.Errorf("restarted it is %+v, %v", again, err)
	}
	w.ends(again.ID, task.RunFailed)
	w.hooksEnd(w.find("t/4"))
}

func (w *world) find(ref string) task.RunID {
	w.t.Helper()
	run, err := w.e.Find(ref)
	if err != nil {
		w.t.Fatal(err)
	}
	return run.ID
}

// A run that is continued has its hooks at each end, by its own definition.
func TestAContinuedRunHasItsHooksAgain(t *testing.T) {
	w := started(t, withEndHooks(def("t", step("a", 0))))
	w.ctrl.on("a", func(x *exec) task.Outcome {
		if x.n == 1 {
			return permanent
		}
		return done
	})
	id := w.submit("t")
	w.ends(id, task.RunFailed)
	w.hooksEnd(id)
	changed := withEndHooks(def("t", step("a", 0)))
	changed.OnSuccess, changed.OnEnd, changed.Disabled = []task.Step{step("new", 0)}, nil, true
	w.apply(changed)
	w.goOn(id)
	w.ends(id, task.RunCompleted)
	w.hooksEnd(id)
	w.wantCalls("a#1", "bad#1", "over#1", "a#2", "good#1", "over#1")
	want := "on_failure after failed, on_end after failed, on_success after completed, on_end after completed"
	if got, all := w.hooksOf(id); got != want || !all {
		t.Errorf("its hooks are %s (%v)", got, w.run(id).Hooks)
	}
}

// A stop of the daemon is no end.
func TestAStopStartsNoHooks(t *testing.T) {
	w := started(t, withEndHooks(def("t", step("a", 0))))
	w.ctrl.on("a", func(x *exec) task.Outcome {
		if x.n == 1 {
			return x.untilEnded()
		}
		return done
	})
	id := w.submit("t")
	w.began("a#1")
	w.stop()
	w.reopen()
	if got, _ := w.hooksOf(id); got != "" {
		t.Errorf("its hooks are %s", got)
	}
	w.start()
	w.ends(id, task.RunCompleted)
	w.hooksEnd(id)
	w.wantCalls("a#1", "a#2", "good#1", "over#1")
}

// A hook is told of the run that it follows and reads what that has left.
func TestAHookSeesTheRun(t *testing.T) {
	d := def("t", step("a", 0), step("p", 1), step("mail", 2))
	d.OnFailure = []task.Step{step("first", 0), step("a", 1), step("plans", 2)}
	w := started(t, d)
	leave := func(value string) behaviour {
		return func(x *exec) task.Outcome { _ = x.Output("made", raw(value)); return done }
	}
	read := func(x *exec, step string) string {
		items, _, err := x.Inputs(step, "made", "")
		text := ""
		for _, i := range items {
			text += fmt.Sprintf("%s=%s ", i.Step, i.Value)
		}
		if err != nil && !errors.Is(err, task.ErrNotFound) {
			t.Error(err)
		} else if err != nil {
			text = "not found"
		}
		return text
	}
	w.ctrl.plansInto("p", into(2, nil))
	w.ctrl.on("p/*", leave("2"))
	w.ctrl.on("first", leave("3"))
	w.ctrl.plansInto("plans", into(1, nil))
	w.ctrl.on("mail", func(*exec) task.Outcome { return permanent })
	w.ctrl.on("a", func(x *exec) task.Outcome {
		if x.RunNumber == 1 {
			if x.HookOf != (task.HookOf{}) {
				t.Errorf("a run that is no hook is told %+v", x.HookOf)
			}
			return leave("1")(x)
		}
		for step, want := range map[string]string{
			"a": "a=1 ", "p": "p/c1=2 p/c2=2 ", "p/c2": "p/c2=2 ", "first": "first=3 ", "mail": "", "none": "not found", "plans": "not found",
		} {
			if got := read(x, step); got != want {
				t.Errorf("%s has %q, want %q", step, got, want)
			}
		}
		return done
	})
	told := func(x *exec) task.Outcome {
		want := task.HookOf{Ref: "t/1", Run: 1, Status: task.RunFailed, Reason: w.run(w.find("t/1")).Reason}
		if x.HookOf != want || want.Reason == "" {
			t.Errorf("%s is told %+v, want %+v", x.Step, x.HookOf, want)
		}
		return done
	}
	w.ctrl.on("plans/*", told)
	id := w.submit("t")
	w.ends(id, task.RunFailed)
	if hooks := w.hooksEnd(id); hooks[0].Status != task.RunCompleted {
		t.Errorf("the hook is %+v", hooks[0].Run)
	}
}

// Nothing of a hook keeps a run from ending.
func TestARunEndsWhenItsHooksCannotBeMade(t *testing.T) {
	for name, spoil := range map[string]func(*db){
		"an error":          func(d *db) { d.spoiled = errBroken },
		"no room for them":  func(d *db) { d.spoiled, d.late = task.ErrDiskFull, true },
		"no room for a run": func(d *db) { d.spoiled = task.ErrDiskFull },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *engine.Config) { c.MaxRuns = 1 })
			w.start()
			w.apply(withEndHooks(def("t", step("a", 0))), def("u", step("b", 0)))
			w.db.set(spoil)
			first := w.submit("t")
			w.ends(first, task.RunCompleted)
			w.ctrl.on("b", (*exec).untilEnded)
			w.submit("u")
			w.began("b#1")
			second := w.submit("t")
			if _, err := w.e.Cancel(t.Context(), second, ""); err != nil {
				t.Fatal(err)
			}
			for _, id := range []task.RunID{first, second} {
				if got, _ := w.hooksOf(id); got != "" || len(w.run(id).Hooks) > 0 {
					t.Errorf("there are hooks: %s", got)
				}
				run := w.run(id)
				lines := w.log.of(run.Ref())
				if last := lines[len(lines)-1]; !strings.HasPrefix(last.Message, "its hooks are not carried out: ") || last.Level != task.LogError {
					t.Errorf("the log ends with %+v", last)
				}
			}
		})
	}
}

// What a hook may still want to read is not forgotten.
func TestARunIsKeptForItsHooks(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.KeepRuns = 1 })
	w.start()
	d := def("t", step("a", 0))
	d.OnEnd = []task.Step{step("over", 0)}
	w.apply(d)
	open := make(chan struct{})
	w.ctrl.on("over", func(x *exec) task.Outcome {
		if x.HookOf.Run == 1 {
			return x.gate(open)
		}
		return done
	})
	id := w.submit("t") // t/1
	w.ends(id, task.RunCompleted)
	w.began("over#1")
	for range 2 { // t/3 and t/5
		next := w.submit("t")
		w.ends(next, task.RunCompleted)
		w.hooksEnd(next)
	}
	gone := func(ref string) func() bool {
		return func() bool { _, err := w.e.Find(ref); return errors.Is(err, task.ErrNotFound) }
	}
	w.bell.await(t, "t/3 to be forgotten", gone("t/3"))
	if gone("t/1")() {
		t.Error("t/1 is forgotten while its hook is carried out")
	}
	close(open)
	w.bell.await(t, "t/1 to be forgotten", gone("t/1"))
}

// TestACrashAtEveryCommitOfHooks cuts the power at each commit of a run that
// fails, is continued and completes, and of the hooks of both ends. None is
// lost and none is doubled.
func TestACrashAtEveryCommitOfHooks(t *testing.T) {
	for k, crashed := 0, true; crashed; k++ {
		t.Run(fmt.Sprint("commit ", k), func(t *testing.T) { crashed = crashOfHooks(t, k) })
		if k > 100 {
			t.Fatal("the runs do not end")
		}
	}
}

func crashOfHooks(t *testing.T, k int) (crashed bool) {
	w := started(t, withEndHooks(def("t", step("a", 0))))
	w.ctrl.on("a", func(x *exec) task.Outcome {
		if run := w.run(x.Attempt.Run); len(run.Hooks) == 0 { // it has not ended yet
			return permanent
		}
		return done
	})
	w.ctrl.on("bad", func(x *exec) task.Outcome { return permanent })
	w.db.set(func(d *db) { d.left = k + 1 }) // the submit is the first
	id := w.submit("t")
	// allEnd waits for the run and its hooks, over the crash if it comes.
	allEnd := func() {
		for {
			w.bell.await(t, "all runs to end", func() bool { return w.db.dead() || w.allEnded() })
			if !w.db.dead() {
				return
			}
			crashed = true
			w.crash()
			w.start()
		}
	}
	allEnd()
	if run := w.run(id); run.Status != task.RunFailed {
		t.Fatalf("the run is %s (%s)", run.Status, run.Reason)
	}
	if _, err := w.e.Continue(t.Context(), id, engine.Again{}); errors.Is(err, task.ErrStoreFailed) {
		crashed = true
		w.crash()
		w.start()
		w.goOn(id)
	} else if err != nil {
		t.Fatal(err)
	}
	allEnd()
	if run := w.run(id); run.Status != task.RunCompleted {
		t.Fatalf("the run is %s (%s)", run.Status, run.Reason)
	}
	want := "on_failure after failed, on_end after failed, on_success after completed, on_end after completed"
	if got, all := w.hooksOf(id); got != want || !all {
		t.Errorf("its hooks are %s (%v)", got, w.run(id).Hooks)
	}
	hooks := w.hooksEnd(id)
	for i, want := range []task.RunStatus{task.RunFailed, task.RunCompleted, task.RunCompleted, task.RunCompleted} {
		if hooks[i].Status != want {
			t.Errorf("%s (%s) is %s (%s)", hooks[i].Ref(), hooks[i].Cause(), hooks[i].Status, hooks[i].Reason)
		}
	}
	for i := range 2 {
		if one, over := hooks[2*i], hooks[2*i+1]; over.StartedAt.Before(one.EndedAt) {
			t.Errorf("%s did not wait for %s", over.Ref(), one.Ref())
		}
	}
	return crashed
}

func (w *world) allEnded() bool {
	alive := false
	_ = w.db.View(func(rd engine.Reader) error {
		return rd.ActiveRuns(func(task.Run) bool { alive = true; return false })
	})
	return !alive
}
