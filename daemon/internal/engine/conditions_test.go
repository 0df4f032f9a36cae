package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/expression"
	"github.com/stepd/stepd/daemon/internal/task"
)

func when(condition string) func(*task.Step) { return func(s *task.Step) { s.When = condition } }

func settings(text string) func(*task.Step) {
	return func(s *task.Step) { s.Settings = json.RawMessage(text) }
}

func withExpressions(c *engine.Config) {
	c.Expressions = expression.Language{}
	c.CheckSettings = func(info task.ControllerInfo, _, settings json.RawMessage) error {
		if strings.Contains(string(settings), "forbidden") {
			return errors.New("mode: forbidden is not allowed")
		}
		return nil
	}
}

// outputs is a behaviour that leaves them.
func outputs(values map[string]string) behaviour {
	return func(x *exec) task.Outcome {
		for name, value := range values {
			if err := x.Output(name, raw(value)); err != nil {
				return task.Outcome{Kind: task.OutcomeFailed, Message: err.Error()}
			}
		}
		return done
	}
}

func (w *world) given(step string) string {
	w.ctrl.mu.Lock()
	defer w.ctrl.mu.Unlock()
	return string(w.ctrl.work[step].Settings)
}

// logged reports whether a line of the run has all of the words.
func (w *world) logged(ref string, words ...string) bool {
	for _, line := range w.log.of(ref) {
		all := true
		for _, word := range words {
			all = all && strings.Contains(string(line.Level)+" "+line.Step+" "+line.Message+" "+string(line.Fields), word)
		}
		if all {
			return true
		}
	}
	return false
}

func TestASkippedStepCountsAsDone(t *testing.T) {
	w := newWorld(t, withExpressions)
	w.start()
	// Nobody looks the controller of a skipped step up: it need not be there.
	w.ctrl.lookup = func(_ context.Context, name string) error {
		if name == "no" || name == "last" {
			return fmt.Errorf("there is no controller %s", name)
		}
		return nil
	}
	w.apply(def("t",
		step("a", 0), step("no", 1, when(`steps.a.outputs.rows > 10`)), step("yes", 1, when(`steps.a.outputs.rows == 3`)),
		step("b", 2, when(`steps.no.status == "skipped" and steps.no.outputs.x == nil and steps.yes.status == "completed"`)),
		step("last", 3, when(`steps.b.status == "failed"`)),
	))
	w.ctrl.on("a", outputs(map[string]string{"rows": "3"}))
	id := w.submit("t")
	run := w.ends(id, task.RunCompleted)
	w.wantStatus(id, map[string]task.StepStatus{"a": "completed", "no": "skipped", "yes": "completed", "b": "completed", "last": "skipped"})
	w.wantCalls("a#1", "yes#1", "b#1")
	if run.Skipped != 2 || run.Completed != 3 || run.Progress != 100 {
		t.Errorf("skipped %d, completed %d, progress %v", run.Skipped, run.Completed, run.Progress)
	}
	s := w.steps(id)["no"]
	if s.Reason != task.ReasonCondition || !strings.Contains(s.Message, "steps.a.outputs.rows > 10") || s.Attempt != 0 || s.EndedAt.IsZero() {
		t.Errorf("the skipped step is %+v", s.RunStep)
	}
	if !w.logged("t/1", "info", "no", "skipped: its condition is false") {
		t.Errorf("the log has %v", w.log.of("t/1"))
	}
}

func TestAConditionThatCannotBeEvaluatedFailsItsStep(t *testing.T) {
	w := newWorld(t, withExpressions)
	w.start()
	w.apply(def("t", step("a", 0), step("b", 1, when(`steps.a.outputs.rows > 0`), interrupting), step("c", 2)))
	id := w.submit("t")
	run := w.ends(id, task.RunFailed)
	s := w.steps(id)["b"]
	if s.Status != task.StepFailed || s.Reason != task.ReasonCondition || !strings.Contains(s.Error, "??") || s.Tries != 1 {
		t.Errorf("b is %+v", s.RunStep)
	}
	if !strings.Contains(run.Reason, "its condition cannot be evaluated") {
		t.Errorf("the run's reason is %q", run.Reason)
	}
	w.wantStatus(id, map[string]task.StepStatus{"c": "ready"})
}

func TestStepsOfOneOrderSeeOnlyLowerOnes(t *testing.T) {
	w := newWorld(t, withExpressions)
	w.start()
	w.apply(def("t", step("a", 0), step("b", 0, when(`steps.a.status == "completed"`))))
	id := w.submit("t")
	w.ends(id, task.RunFailed)
	if s := w.steps(id)["b"]; !strings.Contains(s.Error, "there is no earlier step a") {
		t.Errorf("b is %+v", s.RunStep)
	}
}

// With side by side steps whose conditions are false a later order begins.
func TestAWholeOrderMayBeSkipped(t *testing.T) {
	w := newWorld(t, withExpressions)
	w.start()
	w.apply(parallel(4, def("t", step("x", 0, when("false")), step("y", 0, when("false")), step("z", 1, when("1 == 2")), step("e", 2), step("f", 3, when("false")))))
	w.ends(w.submit("t"), task.RunCompleted)
	w.wantCalls("e#1")
	w.apply(def("none", step("x", 0, when("false"))))
	if run := w.ends(w.submit("none"), task.RunCompleted); run.Progress != 100 || run.Skipped != 1 {
		t.Errorf("%+v", run.Run)
	}
}

func TestOutputsInSettings(t *testing.T) {
	w := newWorld(t, withExpressions)
	w.start()
	w.clock.leap = true
	d := def("t",
		step("a", 0),
		step("p", 1, settings(`{"n": "${{ steps.a.outputs.n }}", "note": "${{ run.ref }} of ${{ settings.mode }}", "s": {"secret": "pw"}, "e": "$${{ x }}"}`)),
		step("b", 2, settings(`{"try": "${{ step.attempt }}", "of": "${{ steps.p.status }}"}`)),
		step("c", 3, settings(`{"plain": true}`)),
	)
	d.Settings = raw(`{"mode": "full"}`)
	w.apply(d)
	w.ctrl.on("a", outputs(map[string]string{"n": `{"list": [1, 2.50]}`}))
	w.ctrl.plansInto("p", into(2, nil))
	w.ctrl.onFail("b", 1, faulty)
	w.ends(w.submit("t"), task.RunCompleted)
	for step, want := range map[string]string{
		"p": `{"e":"${{ x }}","n":{"list":[1,2.5]},"note":"t/1 of full","s":{"secret":"pw"}}`,
		"b": `{"of":"completed","try":2}`, "c": `{"plain":true}`,
	} {
		if got := w.given(step); got != want {
			t.Errorf("step %s was given %s, want %s", step, got, want)
		}
	}
}

func TestSettingsThatTheSchemaRefusesFailTheStepAtOnce(t *testing.T) {
	w := newWorld(t, withExpressions)
	w.start()
	w.apply(def("t", step("a", 0), step("b", 1, settings(`{"mode": "${{ steps.a.outputs.mode }}"}`)), step("c", 2, settings(`{"m": "${{ 1 + nil }}"}`))))
	w.ctrl.on("a", outputs(map[string]string{"mode": `"forbidden"`}))
	id := w.submit("t")
	w.ends(id, task.RunFailed)
	s := w.steps(id)["b"]
	if s.Status != task.StepFailed || s.Reason != task.ReasonSettings || s.Attempt != 1 || !strings.Contains(s.Error, "mode: forbidden is not allowed") {
		t.Errorf("b is %+v", s.RunStep)
	}
	if s := w.steps(id)["c"]; s.Reason != task.ReasonSettings || !strings.Contains(s.Error, "m: 1 + nil") {
		t.Errorf("c is %+v", s.RunStep)
	}
	w.wantCalls("a#1")
}

func TestConditionsAreEvaluatedAgainAtContinue(t *testing.T) {
	w := newWorld(t, withExpressions)
	w.start()
	w.apply(def("t", step("a", 0, attempts(1)), step("b", 1, when(`steps.a.status == "failed"`), interrupting, attempts(1))))
	w.ctrl.onFail("a", 1, faulty)
	w.ctrl.onFail("b", 1, faulty)
	id := w.submit("t")
	w.ends(id, task.RunFailed)
	w.wantCalls("a#1", "b#1")
	w.goOn(id)
	w.ends(id, task.RunCompleted)
	w.wantStatus(id, map[string]task.StepStatus{"a": "completed", "b": "skipped"})
}

// A step that has begun is not skipped because time has passed since.
func TestAStepThatHasBegunIsNotJudgedAgain(t *testing.T) {
	w := newWorld(t, withExpressions)
	w.start()
	w.apply(def("t", step("a", 0, when(`now < date("2026-03-08T02:00:00Z")`))))
	w.ctrl.on("a", func(x *exec) task.Outcome {
		if x.n == 1 {
			return x.untilEnded()
		}
		return done
	})
	id := w.submit("t")
	w.began("a#1")
	w.crash()
	w.clock.advance(time.Hour)
	w.start()
	w.ends(id, task.RunCompleted)
	w.wantCalls("a#1", "a#2")
	if s := w.steps(id)["a"]; len(s.Tried) != 1 || s.Tried[0].Number != 1 || s.Tried[0].Reason != task.ReasonLost || s.Tried[0].At.Equal(s.Tried[0].EndedAt) {
		t.Errorf("its history is %+v", s.Tried)
	}
}

func TestHooksSeeHowTheRunEnded(t *testing.T) {
	w := newWorld(t, withExpressions)
	w.start()
	d := def("t", step("a", 0), step("b", 1, attempts(1)))
	d.OnEnd = []task.Step{
		step("mail", 0, when(`hook.status == "failed" and hook.steps.b.status == "failed"`),
			settings(`{"text": "${{ hook.ref }}: ${{ hook.reason }}; ${{ hook.steps.a.outputs.n }} rows, ${{ hook.steps.b.error }}"}`)),
		step("silent", 1, when(`hook.status == "completed"`)),
		step("after", 2, settings(`{"s": "${{ steps.mail.status }}"}`)),
	}
	w.apply(d)
	w.ctrl.on("a", outputs(map[string]string{"n": "7"}))
	w.ctrl.on("b", func(*exec) task.Outcome { return faulty })
	w.ends(w.submit("t"), task.RunFailed)
	w.bell.await(t, "the hook's run", func() bool { run, err := w.e.Find("t/2"); return err == nil && !run.Status.Alive() })
	hook, err := w.e.Find("t/2")
	if err != nil || hook.Status != task.RunCompleted {
		t.Fatalf("the hook is %+v, %v", hook.Run, err)
	}
	w.wantStatus(hook.ID, map[string]task.StepStatus{"mail": "completed", "silent": "skipped", "after": "completed"})
	if got, want := w.given("mail"), `{"text":"t/1: step b failed: no luck; 7 rows, no luck"}`; got != want {
		t.Errorf("it was given %s", got)
	}
	if got, want := w.given("after"), `{"s":"completed"}`; got != want {
		t.Errorf("it was given %s", got)
	}
}

// Nothing is read for steps that have no expressions.
func TestOutputsAreReadOnlyWhenAskedFor(t *testing.T) {
	counted := 0
	w := newWorld(t, func(c *engine.Config) { c.Expressions = asked{expression.Language{}, &counted} })
	w.start()
	w.apply(def("t", step("a", 0, settings(`{"x": "no ${ {{ expression"}`)), step("b", 1)))
	w.ends(w.submit("t"), task.RunCompleted)
	if counted != 0 {
		t.Errorf("%d evaluations", counted)
	}
}

type asked struct {
	expression.Language
	n *int
}

func (a asked) Settings(settings json.RawMessage, env task.Env) (json.RawMessage, error) {
	*a.n++
	return a.Language.Settings(settings, env)
}

func (a asked) When(condition string, env task.Env) (bool, error) {
	*a.n++
	return a.Language.When(condition, env)
}
