package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

func (w *world) wish(wish engine.Wish) task.Run {
	w.t.Helper()
	run, err := w.e.Submit(w.t.Context(), wish)
	if err != nil {
		w.t.Fatalf("submit %+v: %v", wish, err)
	}
	return run
}

func (w *world) refused(wish engine.Wish, is error, says string) {
	w.t.Helper()
	run, err := w.e.Submit(w.t.Context(), wish)
	if !errors.Is(err, is) || !strings.Contains(err.Error(), says) {
		w.t.Errorf("submit %+v made %q: %v, want one with %q", wish, run.Ref(), err, says)
	}
}

// narrow is a world that carries out one run at a time, all steps of which wait
// for the gate.
func narrow(t *testing.T, runs int, tasks ...task.Task) (w *world, open chan struct{}) {
	w = newWorld(t, func(c *engine.Config) { c.MaxRuns = runs })
	w.start()
	w.apply(tasks...)
	open = make(chan struct{})
	for _, d := range tasks {
		for _, s := range d.Steps {
			w.ctrl.on(s.Name, func(x *exec) task.Outcome { return x.gate(open) })
		}
	}
	return w, open
}

func (w *world) waitsFor(id task.RunID, want string) {
	w.t.Helper()
	if run := w.run(id); run.Status != task.RunQueued || run.WaitsFor != want {
		w.t.Errorf("%s is %s and waits for %q, want %q", run.Ref(), run.Status, run.WaitsFor, want)
	}
}

// begins lists runs in the order in which they began.
func (w *world) begins(ids ...task.RunID) (refs string) {
	w.t.Helper()
	var list []engine.RunView
	for _, id := range ids {
		list = append(list, w.wait(id))
	}
	slices.SortFunc(list, func(a, b engine.RunView) int { return a.StartedAt.Compare(b.StartedAt) })
	var words []string
	for _, run := range list {
		words = append(words, run.Ref())
	}
	return strings.Join(words, " ")
}

// ticking moves the clock a little at each step, so that what begins later has a
// later time.
func (w *world) ticking(steps ...string) {
	for _, name := range steps {
		w.ctrl.on(name, func(*exec) task.Outcome { w.clock.advance(time.Second); return done })
	}
}

func TestWhatCannotBeRunIsRefused(t *testing.T) {
	off := def("off", step("a", 0))
	off.Disabled = true
	w := started(t, def("t", step("a", 0)), off, def("draft"))
	w.refused(engine.Wish{Task: "draft"}, task.ErrState, "has no steps yet")
	w.refused(engine.Wish{Task: "off"}, task.ErrState, "disabled")
	w.refused(engine.Wish{Task: "none"}, task.ErrNotFound, "none")
	high := task.MaxPriority + 1
	w.refused(engine.Wish{Task: "t", Priority: &high}, task.ErrInvalid, "101")
	w.refused(engine.Wish{Task: "t", Only: "z"}, task.ErrNotFound, `it has a`)
	denied := fmt.Errorf("go away: %w", task.ErrDenied)
	w.refused(engine.Wish{Task: "t", May: func(d *task.Task) error {
		if d.Name != "t" {
			t.Errorf("asked about %s", d.Name)
		}
		return denied
	}}, task.ErrDenied, "go away")
	stale := def("t", step("b", 0))
	stale.Version = 7
	w.refused(engine.Wish{Task: "t", Own: &stale}, task.ErrConflict, "version 1")
	if list, _, err := w.e.ListRuns(engine.RunQuery{Task: "t", Limit: 10}); err != nil || len(list) > 0 {
		t.Errorf("there are runs: %v, %v", list, err)
	}
}

// A run for later waits for its time, by the wall clock, across crashes, holds up
// nobody, and can be cancelled.
func TestARunForLater(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.MaxRuns = 1 })
	w.start()
	d := def("t", step("a", 0))
	d.Locks = []string{"l"}
	w.apply(d)
	at := w.clock.Now().Add(time.Hour)
	run := w.wish(engine.Wish{Task: "t", By: "ann", At: at})
	gone := w.wish(engine.Wish{Task: "t", At: at})
	w.waitsFor(run.ID, "its time, 2026-03-08T02:59:00Z")
	if got := w.run(run.ID); got.QueuePosition != 0 || !got.NotBefore.Equal(at) {
		t.Errorf("it is %+v", got)
	}
	w.ends(w.submit("t"), task.RunCompleted)
	w.apply(def("t", step("b", 0))) // which is nothing to those that are there
	w.crash()
	w.start()
	w.waitsFor(run.ID, "its time, 2026-03-08T02:59:00Z")
	w.cancel(gone.ID, "eve")
	w.ends(gone.ID, task.RunCancelled)
	w.clock.awaitTimer(t, 30*time.Second)
	w.clock.advance(30 * time.Second)
	w.clock.awaitTimer(t, 30*time.Second) // it looks again, in case the clock is set
	w.clock.mu.Lock()
	w.clock.now = at.Add(time.Second) // which it is, and no timer fires for that
	w.clock.mu.Unlock()
	w.waitsFor(run.ID, "its time, 2026-03-08T02:59:00Z")
	w.clock.advance(0)
	if got := w.ends(run.ID, task.RunCompleted); got.StartedAt.Before(at) {
		t.Errorf("it began at %s", got.StartedAt)
	}
	w.wantCalls("a#1", "a#1")
	past := w.wish(engine.Wish{Task: "t", At: at})
	if w.ends(past.ID, task.RunCompleted); !past.NotBefore.IsZero() {
		t.Errorf("a time that is over is kept: %+v", past)
	}
}

func TestPriorities(t *testing.T) {
	low, high := def("low", step("a", 0)), def("high", step("b", 0))
	low.Priority, high.Priority = -5, 5
	w, open := narrow(t, 1, def("first", step("x", 0)), low, high, def("t", step("c", 0)))
	w.ticking("a", "b", "c")
	w.submit("first")
	w.began("x#1")
	urgent := 50
	ids := []task.RunID{w.submit("low"), w.submit("t"), w.submit("t"), w.submit("high"), w.wish(engine.Wish{Task: "low", Priority: &urgent}).ID}
	for i, want := range []int{5, 3, 4, 2, 1} {
		if got := w.run(ids[i]).QueuePosition; got != want {
			t.Errorf("run %d is number %d, want %d", ids[i], got, want)
		}
	}
	w.waitsFor(ids[0], "a place: max_runs of the daemon is 1")
	w.crash()
	w.start()
	w.began("x#2")
	close(open)
	if got := w.begins(ids...); got != "low/2 high/1 t/1 t/2 low/1" {
		t.Errorf("they began as %s", got)
	}
}

func TestLocksAndRunsAtOnce(t *testing.T) {
	a, b, c, d := def("a", step("a", 0)), def("b", step("b", 0)), def("c", step("c", 0)), def("d", step("d", 0))
	a.Locks, b.Locks, c.Locks = []string{"x"}, []string{"x", "y"}, []string{"y"}
	d.MaxRuns = 2
	w, open := narrow(t, 10, a, b, c, d)
	first := w.submit("a")
	w.began("a#1")
	second, third := w.submit("b"), w.submit("c")
	w.waitsFor(second, "the lock x, held by a/1")
	w.waitsFor(third, "the lock y, which b/1 gets first") // or b would never have both
	ds := []task.RunID{w.submit("d"), w.submit("d"), w.submit("d")}
	w.bell.await(t, "three runs", func() bool { running, _ := w.ctrl.snapshot(); return running == 3 })
	w.waitsFor(ds[2], "one of the 2 runs of d to end (max_runs of the task)")
	w.cancel(second, "eve") // then nobody is before it
	w.bell.await(t, "the third", func() bool { return w.ctrl.began("c#1") })
	close(open)
	for _, id := range append(ds, first, third) {
		w.ends(id, task.RunCompleted)
	}
}

// Hooks come under no lock and no limit of their task, and have its urgency.
func TestHooksComeUnderNoLock(t *testing.T) {
	d := withEndHooks(def("t", step("a", 0)))
	d.Locks, d.MaxRuns, d.Priority = []string{"x"}, 1, 7
	w := started(t, d)
	open := make(chan struct{})
	w.ctrl.on("over", func(x *exec) task.Outcome { return x.gate(open) })
	first := w.submit("t")
	w.ends(first, task.RunCompleted)
	w.began("over#1")
	w.ends(w.submit("t"), task.RunCompleted)
	close(open)
	for _, hook := range w.hooksEnd(first) {
		if hook.Locks != nil || hook.MaxRuns != 0 || hook.Priority != 7 {
			t.Errorf("the hook is %+v", hook.Run)
		}
	}
}

// A run of one step carries out that alone, has no hooks, and can be continued
// with the others.
func TestOnlyOneStep(t *testing.T) {
	w := started(t, withEndHooks(def("t", step("a", 0), step("b", 0), step("c", 1))))
	run := w.wish(engine.Wish{Task: "t", Only: "b"})
	end := w.ends(run.ID, task.RunIncomplete)
	if end.Reason != "only step b was asked for" || len(end.Hooks) > 0 {
		t.Errorf("it is %+v", end.Run)
	}
	w.wantStatus(run.ID, map[string]task.StepStatus{"a": task.StepReady, "b": task.StepCompleted, "c": task.StepReady})
	w.goOn(run.ID)
	if end = w.ends(run.ID, task.RunCompleted); len(end.Hooks) != 2 {
		t.Errorf("continued it is %+v", end.Run)
	}
	w.hooksEnd(run.ID)
	w.wantCalls("b#1", "a#1", "c#1", "good#1", "over#1")
	w.apply(def("one", step("a", 0)))
	w.ends(w.wish(engine.Wish{Task: "one", Only: "a"}).ID, task.RunCompleted)
}

// It is refused when what comes before it has failed and interrupts, whatever
// other steps were carried out alone since.
func TestOneStepAfterAFault(t *testing.T) {
	w := started(t, def("t", step("x", 0), step("a", 0, interrupting), step("b", 1), step("c", 2)))
	w.ctrl.onFail("x", 1, permanent) // it does not interrupt
	failing := true
	w.ctrl.on("a", func(*exec) task.Outcome {
		if failing {
			return permanent
		}
		return done
	})
	w.ends(w.wish(engine.Wish{Task: "t", Only: "b"}).ID, task.RunIncomplete) // nothing has failed yet
	w.ends(w.submit("t"), task.RunFailed)
	w.refused(engine.Wish{Task: "t", Only: "c"}, task.ErrState, "step a comes before c and is failed in run t/2")
	w.ends(w.wish(engine.Wish{Task: "t", Only: "x"}).ID, task.RunFailed)
	w.refused(engine.Wish{Task: "t", Only: "b"}, task.ErrState, "run t/2")
	failing = false
	w.ends(w.wish(engine.Wish{Task: "t", Only: "a"}).ID, task.RunIncomplete)
	w.ends(w.wish(engine.Wish{Task: "t", Only: "b"}).ID, task.RunIncomplete)
}

// A run with settings of its own has them for good, and nobody else has.
func TestSettingsForOnce(t *testing.T) {
	d := def("t", step("a", 0, attempts(1)))
	w := started(t, d)
	w.clock.leap = true
	own, err := w.e.Task("t")
	if err != nil {
		t.Fatal(err)
	}
	own.Steps = []task.Step{step("a", 0, attempts(1))}
	own.Steps[0].Settings = raw(`{"mode":"quick"}`)
	own.MaxRuns = 3
	w.ctrl.onFail("a", 1, faulty)
	run := w.wish(engine.Wish{Task: "t", Own: &own, Set: raw(`{"a.mode":"quick"}`)})
	if !run.Private() || run.OfVersion() != 1 || string(run.Set) != `{"a.mode":"quick"}` || run.MaxRuns != 3 {
		t.Errorf("the run is %+v", run)
	}
	given := func(id task.RunID, want string) {
		t.Helper()
		w.wait(id)
		if got := string(w.ctrl.work["a"].Settings); got != want {
			t.Errorf("run %d was carried out with %s, want %s", id, got, want)
		}
	}
	given(run.ID, `{"mode":"quick"}`)
	w.apply(def("t", step("a", 0, attempts(2)))) // no other version is of any use to it
	w.crash()
	w.start()
	w.goOn(run.ID)
	given(run.ID, `{"mode":"quick"}`)
	again, err := w.e.Restart(t.Context(), run.ID, engine.Again{})
	if err != nil || again.DefinitionVersion != run.DefinitionVersion || string(again.Set) != string(run.Set) {
		t.Fatalf("restarted it is %+v, %v", again, err)
	}
	given(again.ID, `{"mode":"quick"}`)
	newest, err := w.e.Restart(t.Context(), run.ID, engine.Again{Latest: true})
	if err != nil || newest.Private() || newest.OfVersion() != 2 || newest.Set != nil {
		t.Fatalf("by today's definition it is %+v, %v", newest, err)
	}
	given(newest.ID, "")
	given(w.submit("t"), "")
}

// Runs of a batch are carried out one after another, as they were named, whatever
// becomes of each, and whatever their urgency.
func TestABatch(t *testing.T) {
	b := def("b", step("b", 0))
	b.Priority = 50
	w, open := narrow(t, 5, def("a", step("a", 0)), b, def("c", step("c", 0)))
	name, list, err := w.e.SubmitBatch(t.Context(), engine.BatchWish{Kind: task.BatchRun, By: "ann", Tasks: []string{"a", "b", "c", "a"}})
	if err != nil || len(list) != 4 || !strings.HasPrefix(name, "run/") {
		t.Fatalf("%s %v, %v", name, list, err)
	}
	var ids []task.RunID
	for _, one := range list {
		if one.Run.Batch != name || one.Run.StartedBy != "ann" {
			t.Errorf("a run of it is %+v", one.Run)
		}
		ids = append(ids, one.Run.ID)
	}
	w.began("a#1")
	w.waitsFor(ids[1], "a/1 to end, which comes before it")
	w.cancel(ids[0], "eve")
	w.ends(ids[0], task.RunCancelled)
	w.began("b#1")
	w.crash()
	w.start()
	w.began("b#2")
	w.ticking("a", "c")
	close(open)
	if got := w.begins(ids[1:]...); got != "b/1 c/1 a/2" {
		t.Errorf("they began as %s", got)
	}
	_, _, err = w.e.SubmitBatch(t.Context(), engine.BatchWish{Kind: task.BatchRun, Tasks: []string{"c", "none"}})
	if !errors.Is(err, task.ErrNotFound) {
		t.Errorf("a batch with a task that is not there: %v", err)
	}
	if list, _, err := w.e.ListRuns(engine.RunQuery{Task: "c", Limit: 10}); err != nil || len(list) != 1 {
		t.Errorf("a half of a batch was made: %v, %v", list, err)
	}
}

// All that is due: whose schedules had a time since the newest completed run
// began. All that there is: whatever can be run. What is left out has a reason.
func TestBatchesOfAllThatIsDueAndOfAll(t *testing.T) {
	scheduled := func(name string) task.Task {
		d := def(name, step(name, 0))
		d.Schedules = []task.Schedule{{Name: "s", Cron: "@daily", Timezone: "UTC"}}
		return d
	}
	off, draft := scheduled("off"), scheduled("sketch")
	off.Disabled, draft.Steps = true, nil
	w, l := withLedger(t, scheduled("due"), scheduled("ran"), scheduled("fails"), scheduled("busy"), scheduled("held"), scheduled("new"), off, draft,
		def("plain", step("p", 0)))
	if _, err := w.e.SetPause(t.Context(), "held", &task.Pause{By: "ann"}, "ann"); err != nil {
		t.Fatal(err)
	}
	open := make(chan struct{})
	w.ctrl.on("busy", func(x *exec) task.Outcome { return x.gate(open) })
	w.ctrl.on("fails", func(*exec) task.Outcome { return permanent })
	w.ends(w.submit("due"), task.RunCompleted)
	w.clock.advance(time.Hour)
	l.due = map[string]time.Time{}
	for _, name := range []string{"due", "ran", "fails", "busy", "held", "off", "sketch"} {
		l.due[name] = w.clock.Now()
	}
	w.clock.advance(time.Hour)
	w.ends(w.submit("ran"), task.RunCompleted)
	w.ends(w.submit("fails"), task.RunFailed)
	w.submit("busy")
	w.began("busy#1")
	check := func(kind, want string) {
		t.Helper()
		may := func(t *task.Task) error {
			if t.Name == "plain" {
				return task.ErrDenied
			}
			return nil
		}
		name, list, err := w.e.SubmitBatch(t.Context(), engine.BatchWish{Kind: kind, May: may})
		if err != nil || !strings.HasPrefix(name, kind+"/") {
			t.Fatalf("%s: %q, %v", kind, name, err)
		}
		var made, left []string
		for _, one := range list {
			if one.Run != nil {
				made = append(made, one.Run.Ref())
				w.wait(one.Run.ID)
			} else {
				left = append(left, one.Task+": "+one.Reason)
			}
		}
		slices.Sort(left)
		if got := strings.Join(made, " ") + "\n" + strings.Join(left, "\n"); got != want {
			t.Errorf("%s:\n%s\nwant:\n%s", kind, got, want)
		}
	}
	check(task.BatchDue, `due/2 fails/2
busy: run busy/1 is running
held: it is paused
new: no time of its schedules has passed yet
off: it is disabled
ran: no time of its schedules has passed since run ran/1 began
sketch: it has no steps yet`)
	check(task.BatchAll, `due/3 fails/3 held/1 new/1 ran/2
busy: run busy/1 is running
off: it is disabled
plain: you may not start it
sketch: it has no steps yet`)
	close(open)
	w.wait(w.find("busy/1"))
}
