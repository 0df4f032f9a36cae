package engine_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

func TestApplySaysWhatBecameOfATask(t *testing.T) {
	w := started(t)
	one := func(d task.Task, dry bool) (string, task.Task) {
		t.Helper()
		got, err := w.e.Apply(t.Context(), engine.ApplyWish{Tasks: []task.Task{d}, By: "bob", DryRun: dry})
		if err != nil || len(got) != 1 {
			t.Fatalf("apply: %v, %v", got, err)
		}
		return got[0].Action, got[0].Task
	}
	if action, _ := one(def("t", step("a", 0)), true); action != "created" {
		t.Errorf("dry run: %s", action)
	}
	if _, err := w.e.Task("t"); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("a dry run left something: %v", err)
	}
	action, made := one(def("t", step("a", 0)), false)
	if action != "created" || made.Version != 1 || made.CreatedBy != "bob" || made.CreatedAt.IsZero() {
		t.Errorf("%s %+v", action, made)
	}
	w.clock.advance(1e9)
	if action, same := one(def("t", step("a", 0)), false); action != "unchanged" || same.Version != 1 || !same.UpdatedAt.Equal(made.UpdatedAt) {
		t.Errorf("%s %+v", action, same)
	}
	if action, _ := one(def("t", step("a", 0), step("b", 1)), true); action != "changed" {
		t.Errorf("dry run: %s", action)
	}
	action, changed := one(def("t", step("a", 0), step("b", 1)), false)
	if action != "changed" || changed.Version != 2 || !changed.CreatedAt.Equal(made.CreatedAt) || !changed.UpdatedAt.After(made.UpdatedAt) {
		t.Errorf("%s %+v", action, changed)
	}
	if now, err := w.e.Task("t"); err != nil || now.Version != 2 || len(now.Steps) != 2 {
		t.Errorf("the task is %+v, %v", now, err)
	}
}

// Applying several tasks is one transaction, and never deletes runs.
func TestApplyIsAllOrNothing(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	w.ends(w.submit("t"), task.RunCompleted)
	bad := task.Task{Name: "a\x00b", Steps: []task.Step{step("a", 0)}}
	if _, err := w.e.Apply(t.Context(), engine.ApplyWish{Tasks: []task.Task{def("new", step("a", 0)), bad}, By: ""}); err == nil {
		t.Fatal("a name that no key can hold was accepted")
	}
	if _, err := w.e.Task("new"); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("half of it was kept: %v", err)
	}
	w.apply(def("t", step("b", 0)))
	if run, err := w.e.Find("t/1"); err != nil || run.Status != task.RunCompleted {
		t.Errorf("t/1: %+v, %v", run, err)
	}
}

func TestARunIsPinnedToItsDefinition(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("b", 1)))
	open := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(open) })
	id := w.submit("t")
	w.began("a#1")
	w.apply(def("t", step("z", 0)))
	w.crash()
	w.start()
	w.began("a#2")
	close(open)
	w.ends(id, task.RunCompleted)
	w.wantCalls("a#1", "a#2", "b#1")
	if d, err := w.e.Definition(w.run(id).Run); err != nil || len(d.Steps) != 2 {
		t.Errorf("the run's definition is %+v, %v", d, err)
	}
	second := w.submit("t")
	if run := w.ends(second, task.RunCompleted); run.DefinitionVersion != 2 || run.Number != 2 {
		t.Errorf("the next run is %+v", run.Run)
	}
}

func TestDeleteTask(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	open := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(open) })
	id := w.submit("t")
	w.began("a#1")
	if err := w.e.DeleteTask(t.Context(), "t", 0); !errors.Is(err, task.ErrState) || !strings.Contains(err.Error(), "t/1") {
		t.Errorf("delete of a task with a run that is alive: %v", err)
	}
	close(open)
	w.ends(id, task.RunCompleted)
	if err := w.e.DeleteTask(t.Context(), "t", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.Submit(t.Context(), engine.Wish{Task: "t"}); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("submit of a deleted task: %v", err)
	}
	if err := w.e.DeleteTask(t.Context(), "t", 0); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("delete again: %v", err)
	}
}

// A task that comes back under its name goes on with the numbers, and no run of
// before gets another definition than it was started with.
func TestATaskThatComesBack(t *testing.T) {
	w := started(t, def("t", step("v1", 0)))
	w.ends(w.submit("t"), task.RunCompleted)
	w.apply(def("t", step("v2", 0)))
	w.ends(w.submit("t"), task.RunCompleted)
	first, err := w.e.Find("t/1")
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.e.Restart(t.Context(), first.ID, engine.Again{}) // the newest run has an old version
	if err != nil {
		t.Fatal(err)
	}
	w.ends(again.ID, task.RunCompleted)
	if err := w.e.DeleteTask(t.Context(), "t", 0); err != nil {
		t.Fatal(err)
	}
	w.apply(def("t", step("v3", 0)))
	id := w.submit("t")
	if run := w.ends(id, task.RunCompleted); run.Number != 4 {
		t.Errorf("the next run is number %d", run.Number)
	}
	for ref, want := range map[string]string{"t/1": "v1", "t/2": "v2", "t/3": "v1", "t/4": "v3"} {
		run, err := w.e.Find(ref)
		if err != nil {
			t.Fatal(err)
		}
		if d, err := w.e.Definition(run.Run); err != nil || d.Steps[0].Name != want {
			t.Errorf("%s is of %+v, %v, want %s", ref, d.Steps, err, want)
		}
	}
}

func TestADisabledTask(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	if d, err := w.e.SetDisabled(t.Context(), "t", true, "ann"); err != nil || !d.Disabled || d.Version != 2 {
		t.Fatalf("disable: %+v, %v", d, err)
	}
	if _, err := w.e.Submit(t.Context(), engine.Wish{Task: "t"}); !errors.Is(err, task.ErrState) || !strings.Contains(err.Error(), "enable") {
		t.Errorf("submit of a disabled task: %v", err)
	}
	got, err := w.e.Apply(t.Context(), engine.ApplyWish{Tasks: []task.Task{def("t", step("b", 0))}, By: ""})
	if err != nil || !got[0].Task.Disabled || got[0].Action != "changed" {
		t.Errorf("a file that does not say so enabled the task: %+v, %v", got, err)
	}
	if _, err := w.e.SetDisabled(t.Context(), "t", false, "ann"); err != nil {
		t.Fatal(err)
	}
	ended := w.submit("t")
	w.ends(ended, task.RunCompleted)
	if _, err := w.e.SetDisabled(t.Context(), "t", true, "ann"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.Restart(t.Context(), ended, engine.Again{}); !errors.Is(err, task.ErrState) {
		t.Errorf("restart of a disabled task: %v", err)
	}
	if _, err := w.e.SetDisabled(t.Context(), "none", true, "ann"); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("disable of nothing: %v", err)
	}
}

func TestFind(t *testing.T) {
	w := started(t, def("a", step("s", 0)), def("b", step("s", 0)), def("c", step("s", 0)))
	for range 3 {
		w.ends(w.submit("b"), task.RunCompleted)
	}
	w.ctrl.onFail("s", 99, task.Outcome{Kind: task.OutcomePermanent})
	failed := w.submit("b")
	w.ends(failed, task.RunFailed)
	if run, err := w.e.Find("b"); err != nil || run.ID != failed {
		t.Errorf("the newest: %v, %v", run.Run, err)
	}
	for ref, want := range map[string]error{"b/9": task.ErrNotFound, "a": task.ErrNotFound, "b/x": task.ErrInvalid, "..": task.ErrInvalid} {
		if _, err := w.e.Find(ref); !errors.Is(err, want) {
			t.Errorf("%s: %v", ref, err)
		}
	}
}
