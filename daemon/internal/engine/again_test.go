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

func (w *world) again(id task.RunID, a engine.Again) task.Run {
	w.t.Helper()
	run, err := w.e.Continue(w.t.Context(), id, a)
	if err != nil {
		w.t.Fatalf("continue %+v: %v", a, err)
	}
	return run
}

func (w *world) restart(id task.RunID, a engine.Again) task.Run {
	w.t.Helper()
	run, err := w.e.Restart(w.t.Context(), id, a)
	if err != nil {
		w.t.Fatalf("restart %+v: %v", a, err)
	}
	return run
}

// leavesWord makes the step leave its attempt's number as an output.
func (w *world) leavesWord(steps ...string) {
	for _, name := range steps {
		w.ctrl.on(name, func(x *exec) task.Outcome {
			_ = x.Output("made", raw(fmt.Sprintf(`"%s %d/%d"`, x.Step, x.RunNumber, x.Attempt.Number)))
			return done
		})
	}
}

// reads is what the step may read of others, "-" where there is nothing.
func (w *world) reads(x *exec, steps ...string) string {
	var all []string
	for _, name := range steps {
		items, _, err := x.Inputs(name, "made", "")
		switch {
		case errors.Is(err, task.ErrNotFound), err == nil && len(items) == 0:
			all = append(all, "-")
		case err != nil:
			w.t.Error(err)
		}
		for _, i := range items {
			all = append(all, string(i.Value))
		}
	}
	return strings.Join(all, " ")
}

// A continue from a step does it and all behind it again, as if they had never
// been done.
func TestContinueFromAStep(t *testing.T) {
	w := started(t, parallel(2, def("t", step("a", 0), step("p", 1), step("r", 1), step("z", 2, attempts(1)))))
	w.ctrl.effects["r"] = task.Resumable
	w.leavesWord("a", "p/*")
	plans := 0
	w.ctrl.plansInto("p", func(x *exec, add func([]task.PlannedStep) error) task.Outcome {
		plans++
		return into(4-plans, nil)(x, add)
	})
	w.ctrl.on("r", func(x *exec) task.Outcome {
		if x.Work.Checkpoint != nil {
			t.Errorf("r goes on from %q", x.Work.Checkpoint)
		}
		_ = x.Reporter.Checkpoint([]byte("half"))
		return done
	})
	w.ctrl.on("z", func(x *exec) task.Outcome {
		if got, want := w.reads(x, "a", "p"), map[int]string{1: `"a 1/1" "p/c1 1/1" "p/c2 1/1" "p/c3 1/1"`, 2: `"a 1/1" "p/c1 1/1" "p/c2 1/1"`}[x.n]; got != want {
			t.Errorf("z reads %s, want %s", got, want)
		}
		if x.n == 1 {
			return faulty
		}
		return done
	})
	id := w.submit("t")
	w.ends(id, task.RunFailed)
	run := w.again(id, engine.Again{By: "ann", From: "p"})
	if run.Total != 4 || run.Completed != 1 || run.Failed != 0 {
		t.Errorf("it is %+v", run)
	}
	if s := w.steps(id); len(s) != 4 {
		t.Errorf("of the old plan is seen: %s", w.statuses(id))
	}
	w.ends(id, task.RunCompleted)
	if got := w.ctrl.complete[runStep(id, "a")]; got != 1 || plans != 2 {
		t.Errorf("a completed %d times, p was planned %d times", got, plans)
	}
	if lines := w.log.of("t/1"); !slices.ContainsFunc(lines, func(l task.LogEntry) bool { return l.Message == "continued by ann, from step p on" }) {
		t.Errorf("the log is %v", lines)
	}
	if _, err := w.e.Continue(t.Context(), id, engine.Again{From: "z"}); !errors.Is(err, task.ErrState) || !strings.Contains(err.Error(), "--from") {
		t.Errorf("a completed run: %v", err)
	}
}

// A continue by today's definition keeps what has begun, and takes all else from
// it: what is new, what is gone, and what has another name.
func TestContinueByTodaysDefinition(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("b", 1, attempts(1), interrupting), step("c", 2), step("d", 3)))
	w.ctrl.onFail("b", 1, faulty)
	id := w.submit("t")
	w.ends(id, task.RunFailed)
	refused := func(says string, a engine.Again, d task.Task) {
		t.Helper()
		w.apply(d)
		a.Latest = true
		if _, err := w.e.Continue(t.Context(), id, a); !errors.Is(err, task.ErrState) || !strings.Contains(err.Error(), says) {
			t.Errorf("continue: %v, want one with %q", err, says)
		}
	}
	refused("has begun step a, which today's task t does not have like that: step new is at that place", engine.Again{},
		def("t", step("new", 0), step("a", 1), step("b", 2)))
	refused("has begun step b", engine.Again{}, def("t", step("a", 0)))
	refused("step b, which today's task t does not have like that: it is carried out by x there, not by b", engine.Again{},
		def("t", step("a", 0), step("b", 1, by("x"))))
	changed := def("t", step("a", 0), step("b", 5), step("x", 5))
	changed.Steps[0].Settings, changed.Priority = raw(`{"new":1}`), 9
	w.apply(changed)
	if before := w.run(id); before.OfVersion() != 1 || before.Status != task.RunFailed {
		t.Errorf("a refusal changed it: %+v", before.Run)
	}
	run := w.again(id, engine.Again{Latest: true})
	if run.OfVersion() != 5 || run.Total != 3 || run.Completed != 1 || run.Priority != 9 {
		t.Errorf("it is %+v", run)
	}
	w.ends(id, task.RunCompleted)
	w.wantCalls("a#1", "b#1", "b#2", "x#1")
	if s := w.steps(id); len(s) != 3 || s["b"].Order != 5 || s["x"].Controller != "x" {
		t.Errorf("its steps are %s", w.statuses(id))
	}
}

// With a step to go on from, what is behind it may be whatever it is today, also
// where a planner has left its steps.
func TestContinueFromAStepByTodaysDefinition(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("p", 1), step("q", 2), step("z", 3, attempts(1))))
	w.ctrl.plansInto("p", into(3, nil))
	w.ctrl.plansInto("q", into(3, nil))
	w.ctrl.onFail("z", 1, faulty)
	id := w.submit("t")
	w.ends(id, task.RunFailed)
	w.apply(def("t", step("a", 0), step("x", 1)))
	w.again(id, engine.Again{Latest: true, From: "x"})
	w.ends(id, task.RunCompleted)
	if s := w.steps(id); len(s) != 2 || s["x"].Attempt != 2 {
		t.Errorf("its steps are %s", w.statuses(id))
	}
	if calls := w.ctrl.list(); calls[len(calls)-1] != "x#2" { // p's was the first: no two have one number
		t.Errorf("calls were %v", calls)
	}
}

// What must not be repeated by itself wants the word of a person, named.
func TestAgainWantsAWord(t *testing.T) {
	w := started(t, def("t", step("mail", 0), step("b", 1, attempts(1)), step("p", 2), step("later", 3)))
	for _, name := range []string{"mail", "p", "later"} {
		w.ctrl.effects[name] = task.AtMostOnce
	}
	w.ctrl.plansInto("p", into(30, nil))
	w.ctrl.on("p/*", func(*exec) task.Outcome { return permanent })
	w.ctrl.on("p/c3", func(*exec) task.Outcome { return done })
	id := w.submit("t")
	w.ends(id, task.RunFailed)
	wants := func(what string, err error, first string, n int) {
		t.Helper()
		confirm, ok := errors.AsType[*task.ConfirmError](err)
		if !ok || !errors.Is(err, task.ErrConfirm) || len(confirm.Steps)+confirm.More != n || len(confirm.Steps) > 20 || confirm.Steps[0] != first || confirm.Run != "t/1" {
			t.Errorf("%s: %v, %+v", what, err, confirm)
		}
	}
	_, err := w.e.Continue(t.Context(), id, engine.Again{})
	wants("continue", err, "p/c1", 29)
	_, err = w.e.Continue(t.Context(), id, engine.Again{From: "mail"})
	wants("continue from the first", err, "mail", 32)
	_, err = w.e.Restart(t.Context(), id, engine.Again{})
	wants("restart", err, "mail", 32)
	_, err = w.e.Restart(t.Context(), id, engine.Again{From: "later"})
	wants("restart from the last", err, "later", 1)
	if run := w.run(id); run.Status != task.RunFailed || run.Failed != 29 {
		t.Errorf("a refusal changed the run: %+v", run.Run)
	}
	w.ctrl.on("p/*", nil)
	w.again(id, engine.Again{Confirmed: true})
	w.ends(id, task.RunCompleted)
	// Only now, as the files for a continue go when a newer run has ended.
	w.ends(w.restart(id, engine.Again{From: "later", Confirmed: true}).ID, task.RunCompleted)
	if n := w.ctrl.complete[runStep(id, "mail")]; n != 1 {
		t.Errorf("mail was sent %d times", n)
	}
	// What was refused before it could begin has had no effect.
	w.ctrl.effects["never"] = task.AtMostOnce
	w.apply(def("u", step("never", 0, attempts(1))))
	w.ctrl.on("never", func(x *exec) task.Outcome {
		if x.n == 1 {
			return task.Outcome{Kind: task.OutcomeRefused, Message: "no plugin"}
		}
		return done
	})
	id = w.submit("u")
	w.ends(id, task.RunFailed)
	w.again(id, engine.Again{})
	w.ends(id, task.RunCompleted)
}

// A restart from a step skips those before it, and uses what they left in the run
// that is restarted, or in the one that that was restarted from.
func TestRestartFromAStep(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("p", 1), step("b", 2), step("c", 3)))
	w.leavesWord("a", "b", "p/*")
	w.ctrl.plansInto("p", into(2, nil))
	var read string
	w.ctrl.on("c", func(x *exec) task.Outcome { read = w.reads(x, "a", "p", "p/c2", "b"); return done })
	first := w.submit("t")
	w.ends(first, task.RunCompleted)
	second := w.restart(first, engine.Again{From: "b"})
	if second.Skipped != 2 || second.Total != 4 || second.From != "b" || second.RestartOf != 1 {
		t.Errorf("it is %+v", second)
	}
	w.ends(second.ID, task.RunCompleted)
	if want := `"a 1/1" "p/c1 1/1" "p/c2 1/1" "p/c2 1/1" "b 2/1"`; read != want {
		t.Errorf("c read %s, want %s", read, want)
	}
	if s := w.steps(second.ID)["a"]; s.Status != task.StepSkipped || s.Reason != task.ReasonNotAsked {
		t.Errorf("a is %+v", s.RunStep)
	}
	third := w.restart(second.ID, engine.Again{From: "c"})
	w.ends(third.ID, task.RunCompleted)
	if want := `"a 1/1" "p/c1 1/1" "p/c2 1/1" "p/c2 1/1" "b 2/1"`; read != want {
		t.Errorf("c read %s, want %s", read, want)
	}
	// Places may be others by today's definition; names are what counts.
	w.apply(def("t", step("new", 0), step("b", 1), step("a", 2), step("c", 3)))
	fourth := w.restart(third.ID, engine.Again{From: "c", Latest: true})
	w.ends(fourth.ID, task.RunCompleted)
	if want := `"a 1/1" - - "b 2/1"`; read != want {
		t.Errorf("c read %s, want %s", read, want)
	}
	if _, err := w.e.Restart(t.Context(), first, engine.Again{From: "z"}); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("from a step that is not there: %v", err)
	}
}

// What failed in a restart from a step is continued as such: what was skipped
// stays so.
func TestARestartFromAStepIsContinued(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("b", 1, attempts(1)), step("c", 2)))
	first := w.submit("t")
	w.ends(first, task.RunCompleted)
	w.ctrl.onFail("b", 1, faulty)
	run := w.restart(first, engine.Again{From: "b"})
	w.ends(run.ID, task.RunFailed)
	w.again(run.ID, engine.Again{})
	if end := w.ends(run.ID, task.RunCompleted); end.Skipped != 1 {
		t.Errorf("it is %+v", end.Run)
	}
	w.wantCalls("a#1", "b#1", "c#1", "b#1", "c#1", "b#2")
}
