package engine_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

func (w *world) goOn(id task.RunID) task.Run {
	w.t.Helper()
	run, err := w.e.Continue(w.t.Context(), id, engine.Again{By: "ann"})
	if err != nil {
		w.t.Fatalf("continue: %v", err)
	}
	return run
}

// Continue keeps what completed, with its outputs, and does the rest with
// fresh tries. An interrupting fault does not turn it into a restart.
func TestContinue(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("p", 1), step("b", 2, interrupting), step("c", 3)))
	w.clock.leap = true
	w.ctrl.on("a", func(x *exec) task.Outcome { _ = x.Output("made", raw(`"a"`)); return done })
	w.ctrl.plansInto("p", into(3, nil))
	w.ctrl.onFail("p/c2", 3, faulty)
	w.ctrl.on("b", func(x *exec) task.Outcome {
		if x.n <= 3 {
			return faulty
		}
		items, _, err := x.Inputs("a", "made", "")
		if err != nil || len(items) != 1 || string(items[0].Value) != `"a"` {
			t.Errorf("the output of a is %v, %v", items, err)
		}
		return done
	})
	id := w.submit("t")
	before := w.ends(id, task.RunFailed)
	if before.Failed != 2 {
		t.Fatalf("the run is %+v", before.Run)
	}
	run := w.goOn(id)
	if run.Status != task.RunQueued || run.Failed != 0 || run.Completed != 3 || run.Total != 6 || run.Reason != "" || run.Number != 1 {
		t.Errorf("continue made %+v", run)
	}
	if run.Progress <= 0 || run.Progress >= 100 {
		t.Errorf("what was done is worth %v", run.Progress)
	}
	end := w.ends(id, task.RunCompleted)
	if end.Completed != 6 || end.Failed != 0 {
		t.Errorf("the run is %+v", end.Run)
	}
	for name, n := range map[string]int{"a": 1, "p/c1": 1, "p/c2": 1, "p/c3": 1, "b": 1, "c": 1} {
		if got := w.ctrl.complete[runStep(id, name)]; got != n {
			t.Errorf("%s completed %d times", name, got)
		}
	}
	if b := w.steps(id)["b"]; b.Attempt != 4 || b.Tries != 1 {
		t.Errorf("b is %+v", b.RunStep)
	}
}

// The tries of a step whose pause was cut short by another's fault start anew
// as well.
func TestContinueClearsWhatWasReleased(t *testing.T) {
	w := started(t, parallel(2, def("t", step("a", 0, interrupting, attempts(1)), step("b", 0))))
	fail := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome {
		if x.n > 1 {
			return done
		}
		x.gate(fail)
		return faulty
	})
	w.ctrl.onFail("b", 3, faulty)
	id := w.submit("t")
	w.step(id, "b", task.StepWaiting)
	close(fail)
	w.ends(id, task.RunFailed)
	w.wantStatus(id, map[string]task.StepStatus{"b": task.StepReady})
	w.clock.leap = true
	w.goOn(id)
	w.ends(id, task.RunCompleted) // b fails twice more before its third try
	if b := w.steps(id)["b"]; b.Tries != 3 || b.Attempt != 4 {
		t.Errorf("b is %+v", b.RunStep)
	}
}

// Whoever hears that the run has ended may continue it at once.
func TestContinueAtOnce(t *testing.T) {
	w := started(t, def("t", step("a", 0, attempts(1))))
	for range 100 {
		w.ctrl.onFail("a", 1, faulty)
		id := w.submit("t")
		err := w.e.Watch(t.Context(), id, func(e engine.Event) error {
			if e.Kind == engine.EventStep || e.Run.Status != task.RunFailed {
				return nil
			}
			_, err := w.e.Continue(t.Context(), id, engine.Again{})
			return err
		})
		if err != nil {
			t.Fatalf("continue right after the end: %v", err)
		}
		w.ends(id, task.RunCompleted)
	}
}

func TestContinueGoesOnFromTheCheckpoint(t *testing.T) {
	w := started(t, def("t", step("a", 0, attempts(1))))
	w.ctrl.effects["a"] = task.Resumable
	w.ctrl.on("a", func(x *exec) task.Outcome {
		if x.n == 1 {
			_ = x.Reporter.Checkpoint([]byte("half"))
			return faulty
		}
		if string(x.Work.Checkpoint) != "half" {
			t.Errorf("the checkpoint is %q", x.Work.Checkpoint)
		}
		return done
	})
	id := w.submit("t")
	w.ends(id, task.RunFailed)
	w.goOn(id)
	w.ends(id, task.RunCompleted)
}

func TestContinueAndRestartAreRefusedWhileTheRunIsAlive(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.MaxRuns = 1 })
	w.start()
	w.apply(def("t", step("a", 0)))
	open := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(open) })
	running, queued := w.submit("t"), w.submit("t")
	w.began("a#1")
	for _, id := range []task.RunID{running, queued} {
		if _, err := w.e.Continue(t.Context(), id, engine.Again{}); !errors.Is(err, task.ErrState) {
			t.Errorf("continue: %v", err)
		}
		if _, err := w.e.Restart(t.Context(), id, engine.Again{}); !errors.Is(err, task.ErrState) {
			t.Errorf("restart: %v", err)
		}
	}
	close(open)
	w.ends(running, task.RunCompleted)
	w.ends(queued, task.RunCompleted)
	if _, err := w.e.Continue(t.Context(), running, engine.Again{}); !errors.Is(err, task.ErrState) || !strings.Contains(err.Error(), "restart") {
		t.Errorf("continue of what completed: %v", err)
	}
	if _, err := w.e.Continue(t.Context(), 99, engine.Again{}); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("continue of nothing: %v", err)
	}
}

func TestRestartIsANewRunOfTheSameDefinition(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	first := w.submit("t")
	w.ends(first, task.RunCompleted)
	w.apply(def("t", step("a", 0), step("b", 1)))
	run, err := w.e.Restart(t.Context(), first, engine.Again{By: "bob"})
	if err != nil || run.Number != 2 || run.RestartOf != 1 || run.StartedBy != "bob" || run.Total != 1 {
		t.Fatalf("restart made %+v, %v", run, err)
	}
	w.ends(run.ID, task.RunCompleted)
	w.wantCalls("a#1", "a#1")
}

// Old runs go, with logs and directories, as many as are too many; what is
// alive stays.
func TestRetention(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.KeepRuns = 2; c.MaxRuns = 8 })
	w.start()
	w.apply(def("t", step("a", 0)), def("slow", step("s", 0)))
	open := make(chan struct{})
	w.ctrl.on("s", func(x *exec) task.Outcome { return x.gate(open) })
	for range 4 {
		w.submit("slow")
	}
	for range 5 {
		w.ends(w.submit("t"), task.RunCompleted)
	}
	numbers := func(name string) (list []uint64) {
		runs, _, err := w.e.ListRuns(engine.RunQuery{Task: name, Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range runs {
			list = append(list, r.Number)
		}
		return list
	}
	w.bell.await(t, "old runs to go", func() bool { return len(numbers("t")) == 2 })
	if got := numbers("t"); got[0] != 5 || got[1] != 4 {
		t.Errorf("runs %v are kept", got)
	}
	if got := numbers("slow"); len(got) != 4 {
		t.Errorf("of four runs that are alive, %v are left", got)
	}
	w.log.mu.Lock()
	if !w.log.removed["t/1"] || w.log.removed["t/5"] {
		t.Errorf("logs were removed: %v", w.log.removed)
	}
	w.log.mu.Unlock()
	close(open)
	w.bell.await(t, "old runs to go", func() bool { return len(numbers("slow")) == 2 })
}

// A run that cannot be carried out must not take runs of other tasks with it.
func TestRetentionKeepsToTheTask(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.KeepRuns = 1 })
	w.start()
	names := []string{"t", "u", "v"}
	for _, name := range names {
		w.apply(def(name, step("a", 0)))
		w.ends(w.submit(name), task.RunCompleted)
	}
	w.stop() // no cleaning is to meet what cannot be read
	w.reopen()
	w.start()
	w.db.set(func(d *db) { d.unreadable = 1 })
	w.submit("t")
	w.bell.await(t, "the runner to give up", func() bool {
		w.bell.ring()
		running, _ := w.e.Load()
		return running == 0 && w.db.readable()
	})
	w.stop() // waits for the cleaning too
	for _, name := range names {
		if _, err := w.e.Find(name + "/1"); err != nil {
			t.Errorf("%s/1: %v", name, err)
		}
	}
}

// A run that is continued while old ones are cleaned keeps its files.
func TestRetentionByDays(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.KeepDays = 2 })
	w.start()
	w.apply(def("t", step("a", 0)))
	w.ends(w.submit("t"), task.RunCompleted)
	w.clock.advance(30 * time.Hour)
	w.ends(w.submit("t"), task.RunCompleted)
	w.clock.advance(30 * time.Hour)
	w.ends(w.submit("t"), task.RunCompleted)
	w.bell.await(t, "the first run to go", func() bool {
		_, err := w.e.Find("t/1")
		return errors.Is(err, task.ErrNotFound)
	})
	if _, err := w.e.Find("t/2"); err != nil {
		t.Errorf("t/2: %v", err)
	}
}

// failing is a world with a failed run t/1, and KeepRuns 1.
func failing(t *testing.T) (w *world, first task.RunID) {
	w = newWorld(t, func(c *engine.Config) { c.KeepRuns = 1 })
	w.start()
	w.apply(def("t", step("a", 0, attempts(1))))
	w.ctrl.onFail("a", 1, faulty)
	first = w.submit("t")
	w.ends(first, task.RunFailed)
	return w, first
}

func TestWhatIsContinuedIsNeitherForgottenNorStripped(t *testing.T) {
	w, first := failing(t)
	open := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome {
		if x.Work.RunNumber == 1 {
			return x.gate(open)
		}
		return done
	})
	w.goOn(first)
	w.began("a#2")
	w.ends(w.submit("t"), task.RunCompleted) // t/1 is older, and alive
	w.ends(w.submit("t"), task.RunCompleted)
	w.bell.await(t, "t/2 to go", func() bool {
		_, err := w.e.Find("t/2")
		return errors.Is(err, task.ErrNotFound)
	})
	w.log.mu.Lock()
	if w.log.removed["t/1"] || w.spaces.gone()["t/1"] {
		t.Error("the log or the directory of a run that is alive was removed")
	}
	w.log.mu.Unlock()
	close(open)
	w.bell.await(t, "t/1 to end, and to go as well", func() bool {
		_, err := w.e.Find("t/1")
		return errors.Is(err, task.ErrNotFound)
	})
}

// The files of a run that did not complete are as large as what it was about;
// they go when a newer run of the task has ended, or the task is deleted.
func TestFilesOfOldRunsGo(t *testing.T) {
	w := started(t, def("t", step("a", 0, attempts(1))), def("other", step("b", 0, attempts(1))))
	w.ctrl.onFail("a", 1, faulty)
	w.ctrl.onFail("b", 1, faulty)
	other := w.submit("other")
	w.ends(other, task.RunFailed)
	first := w.submit("t")
	w.ends(first, task.RunFailed)
	if gone := w.spaces.gone(); gone["t/1"] {
		t.Fatal("the files of the newest run went, so it cannot be continued")
	}
	second := w.submit("t")
	w.ends(second, task.RunFailed)
	w.bell.await(t, "the files of t/1 to go", func() bool { return w.spaces.gone()["t/1"] })
	if _, err := w.e.Continue(t.Context(), first, engine.Again{}); !errors.Is(err, task.ErrState) || !strings.Contains(err.Error(), "files were removed") {
		t.Errorf("continue of a run without its files: %v", err)
	}
	w.goOn(second)
	w.ends(second, task.RunCompleted)
	if w.spaces.gone()["other/1"] {
		t.Error("the files of another task's run went")
	}
	if err := w.e.DeleteTask(t.Context(), "other", 0); err != nil {
		t.Fatal(err)
	}
	if !w.spaces.gone()["other/1"] {
		t.Error("the files of a deleted task's run stay")
	}
}
