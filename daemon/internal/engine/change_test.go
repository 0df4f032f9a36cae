package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

// described is a change of the description.
func described(text string) func(task.Task) (task.Task, error) {
	return func(t task.Task) (task.Task, error) {
		t.Description = text
		return t, nil
	}
}

// A task that is there is never replaced by one that is made.
func TestCreateReplacesNothing(t *testing.T) {
	w := started(t)
	wish := def("t", step("a", 0))
	wish.Source, wish.Version, wish.Pause = "/x", 9, &task.Pause{}
	made, err := w.e.Create(t.Context(), wish, "bob")
	if err != nil || made.Version != 1 || made.CreatedBy != "bob" || made.UpdatedBy != "bob" || !made.Edited || made.CreatedAt.IsZero() || made.Pause != nil {
		t.Fatalf("%+v, %v", made, err)
	}
	other := def("t", step("b", 0))
	if _, err := w.e.Create(t.Context(), other, "eve"); !errors.Is(err, task.ErrExists) {
		t.Errorf("made twice: %v", err)
	}
	if now, err := w.e.Task("t"); err != nil || now.Steps[0].Name != "a" || now.Version != 1 {
		t.Errorf("%+v, %v", now, err)
	}
	other.Name, other.CreatedBy = "u", "carol"
	if made, err := w.e.Create(t.Context(), other, "bob"); err != nil || made.CreatedBy != "carol" || made.UpdatedBy != "bob" {
		t.Errorf("%+v, %v", made, err)
	}
}

// A change made for an old version is refused with what has changed since.
func TestAStaleChangeIsAConflict(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	first, err := w.e.Change(t.Context(), "t", 1, "bob", described("one"))
	if err != nil || first.Now.Version != 2 || first.Now.UpdatedBy != "bob" || !first.Now.Edited || first.Old.Version != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	stale := func(err error, wanted, current uint64, by string) {
		t.Helper()
		conflict, ok := errors.AsType[*task.ConflictError](err)
		if !ok || !errors.Is(err, task.ErrConflict) || conflict.Wanted != wanted || conflict.Current != current || conflict.By != by {
			t.Errorf("%v: %+v", err, conflict)
		}
	}
	_, err = w.e.Change(t.Context(), "t", 1, "eve", described("two"))
	stale(err, 1, 2, "bob")
	stale(w.e.DeleteTask(t.Context(), "t", 1), 1, 2, "bob")
	_, err = w.e.Change(t.Context(), "t", 9, "eve", described("two"))
	stale(err, 9, 2, "bob")
	same, err := w.e.Change(t.Context(), "t", 2, "eve", described("one"))
	if err != nil || same.Now.Version != 2 || same.Now.UpdatedBy != "bob" {
		t.Errorf("what it is already made a version: %+v, %v", same, err)
	}
	// Pauses and such count too.
	if _, err := w.e.SetDisabled(t.Context(), "t", true, "carol"); err != nil {
		t.Fatal(err)
	}
	_, err = w.e.Change(t.Context(), "t", 2, "eve", described("two"))
	stale(err, 2, 3, "carol")
	_, err = w.e.Change(t.Context(), "none", 0, "eve", described("two"))
	if !errors.Is(err, task.ErrNotFound) {
		t.Errorf("%v", err)
	}
	_, err = w.e.Change(t.Context(), "t", 0, "eve", func(old task.Task) (task.Task, error) {
		old.Name = "u"
		return old, nil
	})
	if !errors.Is(err, task.ErrInvalid) {
		t.Errorf("renamed: %v", err)
	}
	broken := errors.New("broken")
	_, err = w.e.Change(t.Context(), "t", 0, "eve", func(old task.Task) (task.Task, error) { return old, broken })
	if !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if err := w.e.DeleteTask(t.Context(), "t", 3); err != nil {
		t.Error(err)
	}
}

// A change without a version is made for whatever is there: what comes between
// reading and writing is read again.
func TestAChangeWithoutAVersionLosesNothing(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	calls := 0
	done, err := w.e.Change(t.Context(), "t", 0, "bob", func(old task.Task) (task.Task, error) {
		calls++
		if calls == 1 {
			if _, err := w.e.Change(t.Context(), "t", 0, "eve", described("hers")); err != nil {
				return old, err
			}
		}
		old.Steps = append(slices.Clip(old.Steps), step("b", 1))
		return old, nil
	})
	if err != nil || calls != 2 || done.Now.Description != "hers" || len(done.Now.Steps) != 2 || done.Now.Version != 3 {
		t.Errorf("after %d calls: %+v, %v", calls, done.Now, err)
	}
	// With a version, it is not tried again.
	calls = 0
	_, err = w.e.Change(t.Context(), "t", 3, "bob", func(old task.Task) (task.Task, error) {
		calls++
		_, err := w.e.Change(t.Context(), "t", 0, "eve", described("again"))
		old.MaxRuns = 5
		return old, err
	})
	if !errors.Is(err, task.ErrConflict) || calls != 1 {
		t.Errorf("after %d calls: %v", calls, err)
	}
	// One that was deleted and made again meanwhile is another.
	calls = 0
	_, err = w.e.Change(t.Context(), "t", 0, "bob", func(old task.Task) (task.Task, error) {
		old.MaxRuns = 5
		if calls++; calls > 1 {
			return old, nil
		}
		w.clock.advance(1e9)
		err := w.e.DeleteTask(t.Context(), "t", 0)
		for i := range old.Version {
			w.apply(def("t", step(fmt.Sprint("new", i), 0)))
		}
		return old, err
	})
	if now, _ := w.e.Task("t"); err != nil || calls != 2 || now.Steps[0].Name == "a" || now.MaxRuns != 5 {
		t.Errorf("%+v, %v", now, err)
	}
}

func TestManyChangesAtOnce(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 10 {
				_, err := w.e.Change(t.Context(), "t", 0, "bob", func(old task.Task) (task.Task, error) {
					old.Steps = append(slices.Clip(old.Steps), step(fmt.Sprintf("s%d-%d", i, j), len(old.Steps)))
					return old, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if now, err := w.e.Task("t"); err != nil || len(now.Steps) != 81 || now.Version != 81 {
		t.Errorf("%d steps, version %d, %v", len(now.Steps), now.Version, err)
	}
}

// What a file says and what somebody made of the task otherwise do not replace
// one another without a word.
func TestApplySeesDrift(t *testing.T) {
	w := started(t)
	from := func(source, text string) task.Task {
		d := def("t", step("a", 0))
		d.Source, d.Description = source, text
		return d
	}
	apply := func(d task.Task, replace bool) (engine.Applied, error) {
		t.Helper()
		dry, err := w.e.Apply(t.Context(), engine.ApplyWish{Tasks: []task.Task{d}, By: "bob", Replace: replace, DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		got, err := w.e.Apply(t.Context(), engine.ApplyWish{Tasks: []task.Task{d}, By: "bob", Replace: replace})
		if drift, ok := errors.AsType[*engine.DriftError](err); ok {
			got = drift.Tasks
		}
		if len(got) != 1 || got[0].Action != dry[0].Action || got[0].Reason != dry[0].Reason || got[0].Task.Version != dry[0].Task.Version {
			t.Fatalf("%+v, a dry run said %+v (%v)", got, dry, err)
		}
		return got[0], err
	}
	want := func(d task.Task, replace bool, action, reason string) task.Task {
		t.Helper()
		got, err := apply(d, replace)
		if got.Action != action || got.Reason != reason || (action == engine.ActionConflict) != errors.Is(err, task.ErrConflict) {
			t.Errorf("%s (%s): %v, want %s (%s)", got.Action, got.Reason, err, action, reason)
		}
		now, err := w.e.Task("t")
		if err != nil {
			t.Fatal(err)
		}
		return now
	}
	want(from("/a", "1"), false, engine.ActionCreated, "")
	if now := want(from("/a", "2"), false, engine.ActionChanged, ""); now.Source != "/a" || now.Edited {
		t.Errorf("%+v", now)
	}
	// Another file, and no file.
	want(from("/b", "3"), false, engine.ActionConflict, "it comes from the file /a")
	want(from("", "3"), false, engine.ActionConflict, "it comes from the file /a")
	if now := want(from("/b", "2"), false, engine.ActionUnchanged, ""); now.Source != "/a" {
		t.Errorf("%+v", now)
	}
	// Pausing and disabling are no edits.
	if _, err := w.e.SetDisabled(t.Context(), "t", true, "eve"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.SetDisabled(t.Context(), "t", false, "eve"); err != nil {
		t.Fatal(err)
	}
	for _, off := range []bool{true, false} {
		toggle := func(old task.Task) (task.Task, error) { old.Disabled = off; return old, nil }
		if done, err := w.e.Change(t.Context(), "t", 0, "eve", toggle); err != nil || done.Now.Edited {
			t.Fatalf("%+v, %v", done.Now, err)
		}
	}
	want(from("/a", "4"), false, engine.ActionChanged, "")
	// An edit, which the file then says too.
	if _, err := w.e.Change(t.Context(), "t", 0, "eve", described("5")); err != nil {
		t.Fatal(err)
	}
	want(from("/a", "6"), false, engine.ActionConflict, "it was changed otherwise since it was applied")
	if now := want(from("/a", "5"), false, engine.ActionUnchanged, ""); now.Edited || now.Version != 8 {
		t.Errorf("%+v", now)
	}
	want(from("/a", "6"), false, engine.ActionChanged, "")
	// Taken over.
	if now := want(from("/b", "7"), true, engine.ActionChanged, ""); now.Source != "/b" || now.Edited {
		t.Errorf("%+v", now)
	}
	// Made without a file.
	if err := w.e.DeleteTask(t.Context(), "t", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.Create(t.Context(), from("", "1"), "eve"); err != nil {
		t.Fatal(err)
	}
	want(from("/a", "2"), false, engine.ActionConflict, "it was made by eve without a file")
	want(from("", "2"), false, engine.ActionConflict, "it was made by eve without a file")
	if now := want(from("/a", "1"), false, engine.ActionUnchanged, ""); now.Source != "/a" || now.Edited {
		t.Errorf("%+v", now)
	}
	want(from("/a", "2"), false, engine.ActionChanged, "")
}

// Nothing of an apply is done when something stands against it.
func TestApplyWithDeletesIsAllOrNothing(t *testing.T) {
	w := started(t)
	var tasks []task.Task
	for _, name := range []string{"a", "b", "c", "d"} {
		one := def(name, step("s", 0))
		one.Source = "/tasks.d/" + name + ".yaml"
		tasks = append(tasks, one)
	}
	tasks[3].Source = "/tasks.d/sub/d.yaml"
	w.apply(tasks...)
	plain := def("plain", step("s", 0))
	w.apply(plain)
	open := make(chan struct{})
	w.ctrl.on("s", func(x *exec) task.Outcome { return x.gate(open) })
	id := w.submit("c")
	w.began("s#1")

	dry, err := w.e.Apply(t.Context(), engine.ApplyWish{Tasks: tasks[:1], Prune: []string{"/tasks.d/"}, DryRun: true})
	var said []string
	for _, one := range dry {
		said = append(said, one.Task.Name+" "+one.Action+" "+one.Reason)
	}
	if want := []string{"a unchanged ", "b deleted ", "c conflict run c/1 is running"}; err != nil || !slices.Equal(said, want) {
		t.Errorf("%q, %v", said, err)
	}
	fresh := def("fresh", step("s", 0))
	try := func(is error, text string, deletes ...engine.TaskVersion) {
		t.Helper()
		_, err := w.e.Apply(t.Context(), engine.ApplyWish{Tasks: []task.Task{fresh, tasks[0]}, Delete: deletes})
		if !errors.Is(err, is) || !strings.Contains(err.Error(), text) {
			t.Errorf("%v", err)
		}
		for name, there := range map[string]bool{"fresh": false, "b": true, "c": true} {
			if _, err := w.e.Task(name); there != (err == nil) {
				t.Errorf("task %s: %v", name, err)
			}
		}
	}
	try(task.ErrState, "run c/1", engine.TaskVersion{Task: "b", Version: 1}, engine.TaskVersion{Task: "c", Version: 1})
	try(task.ErrConflict, "version 1", engine.TaskVersion{Task: "b", Version: 7})
	try(task.ErrInvalid, "in a file too", engine.TaskVersion{Task: "a", Version: 1})
	edited := tasks[1]
	edited.Description = "other"
	if _, err := w.e.Change(t.Context(), "b", 0, "eve", described("mine")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.Apply(t.Context(), engine.ApplyWish{Tasks: []task.Task{fresh, edited}}); !errors.Is(err, task.ErrConflict) {
		t.Error(err)
	}
	if _, err := w.e.Task("fresh"); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("half of it was done: %v", err)
	}
	close(open)
	w.ends(id, task.RunCompleted)
	got, err := w.e.Apply(t.Context(), engine.ApplyWish{Tasks: []task.Task{fresh},
		Delete: []engine.TaskVersion{{Task: "b", Version: 2}, {Task: "c", Version: 1}, {Task: "gone", Version: 1}}})
	if err != nil || len(got) != 3 || got[1].Action != engine.ActionDeleted || got[2].Task.Name != "c" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := w.e.Task("c"); !errors.Is(err, task.ErrNotFound) {
		t.Error(err)
	}
	if run, err := w.e.Find("c/1"); err != nil || run.Status != task.RunCompleted {
		t.Errorf("its history: %+v, %v", run, err)
	}
}

// A change never reaches a run that is alive, whichever way it is made.
func TestNoChangeReachesARunThatIsAlive(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("b", 1)))
	open := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(open) })
	id := w.submit("t")
	w.began("a#1")
	_, err := w.e.Change(t.Context(), "t", 0, "bob", func(old task.Task) (task.Task, error) {
		old.Steps = nil // a draft
		return old, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 15 { // more versions than are kept
		if _, err := w.e.Change(t.Context(), "t", 0, "bob", described(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	close(open)
	w.ends(id, task.RunCompleted)
	w.wantCalls("a#1", "b#1")
	if _, err := w.e.Submit(t.Context(), engine.Wish{Task: "t"}); !errors.Is(err, task.ErrState) || !strings.Contains(err.Error(), "no steps yet") {
		t.Errorf("a run of a draft: %v", err)
	}
}

// A file that was renamed is the task's file under its new name: nobody needs to
// say so.
func TestApplyFollowsAFileThatWasRenamed(t *testing.T) {
	w := started(t)
	gone := map[string]bool{}
	apply := func(source, text string) string {
		t.Helper()
		d := def("t", step("a", 0))
		d.Source, d.Description = source, text
		got, err := w.e.Apply(t.Context(), engine.ApplyWish{Tasks: []task.Task{d}, DryRun: false, Gone: func(path string) bool { return gone[path] }})
		if drift, ok := errors.AsType[*engine.DriftError](err); ok {
			got = drift.Tasks
		} else if err != nil {
			t.Fatal(err)
		}
		now, err := w.e.Task("t")
		if err != nil {
			t.Fatal(err)
		}
		return got[0].Action + " " + now.Source
	}
	for _, tt := range []struct{ source, text, want string }{
		{"/d/a", "one", "created /d/a"},
		{"/d/b", "one", "unchanged /d/a"},
		{"/d/b", "two", "conflict /d/a"},
	} {
		if got := apply(tt.source, tt.text); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.source, got, tt.want)
		}
	}
	gone["/d/a"] = true
	if got := apply("/d/b", "one"); got != "unchanged /d/b" {
		t.Errorf("renamed: %s", got)
	}
	gone["/d/b"] = true
	if got := apply("/d/c", "three"); got != "changed /d/c" {
		t.Errorf("renamed and changed: %s", got)
	}
	if _, err := w.e.Change(t.Context(), "t", 0, "eve", described("mine")); err != nil {
		t.Fatal(err)
	}
	gone["/d/c"] = true
	if got := apply("/d/d", "four"); got != "conflict /d/c" {
		t.Errorf("renamed after an edit: %s", got)
	}
}
