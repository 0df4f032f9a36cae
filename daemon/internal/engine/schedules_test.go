package engine_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

// A schedule's run belongs to the transaction that made it: when that fails,
// there never was one, and until it is adopted nobody begins it.
func TestARunOfASchedule(t *testing.T) {
	d := def("t", step("a", 0))
	d.Schedules = []task.Schedule{{Name: "nightly", Cron: "30 2 * * *", Timezone: "Asia/Tokyo"}}
	w, _ := withLedger(t, d)
	if err := w.db.Update(t.Context(), func(tx engine.Tx) error {
		if _, err := w.e.SubmitIn(tx, d, due()); err != nil {
			return err
		}
		return errBroken
	}); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	if list, _, err := w.e.ListRuns(engine.RunQuery{Task: "t", Limit: 10}); err != nil || len(list) > 0 {
		t.Fatalf("the transaction failed and left %v, %v", list, err)
	}
	id := w.fires("t", due(func(run *task.Run) { run.StartedBy, run.Number, run.Status, run.Progress = "x", 77, task.RunFailed, 50 }))
	run := w.ends(id, task.RunCompleted)
	if run.Number != 1 || run.Trigger != task.TriggerSchedule || run.Schedule != "nightly" || !run.ScheduledFor.Equal(at(2)) ||
		run.StartedBy != "x" || run.Serial || run.DefinitionVersion != 1 || run.Key == "" {
		t.Errorf("the run is %+v", run.Run)
	}
	if work := w.ctrl.work["a"]; !work.ScheduledFor.Equal(at(2)) {
		t.Errorf("the controller was told %s", work.ScheduledFor)
	}
	if line := w.log.of("t/1")[0].Message; line != "the run starts, scheduled for 2026-03-08 11:30 (nightly)" {
		t.Errorf("the log begins with %q", line)
	}
	manual := w.ends(w.submit("t"), task.RunCompleted)
	if manual.Trigger != task.TriggerManual || manual.Schedule != "" || !manual.ScheduledFor.IsZero() {
		t.Errorf("a run that somebody asked for is %+v", manual.Run)
	}
	again, err := w.e.Restart(t.Context(), id, engine.Again{By: "bob"})
	if err != nil || again.Trigger != task.TriggerRestart || again.RestartOf != 1 || !again.ScheduledFor.IsZero() {
		t.Errorf("a restart is %+v, %v", again, err)
	}
	w.ends(again.ID, task.RunCompleted)
}

// A serial run waits for the others of its task, and nobody else waits for it.
func TestASerialRunWaitsForTheOthersOfItsTask(t *testing.T) {
	w, _ := withLedger(t, def("t", step("a", 0)), def("u", step("b", 0)))
	open := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(open) })
	first := w.submit("t")
	w.began("a#1")
	second, third := w.fires("t", due(serial)), w.fires("t", due(serial))
	manual := w.submit("t")
	w.ends(w.submit("u"), task.RunCompleted)
	w.step(manual, "a", task.StepRunning) // it is not serial
	for place, id := range []task.RunID{second, third} {
		if run := w.run(id); run.Status != task.RunQueued || run.QueuePosition != place+1 {
			t.Errorf("%s is %s at place %d", run.Ref(), run.Status, run.QueuePosition)
		}
	}
	if _, most := w.ctrl.snapshot(); most != 2 && most != 3 {
		t.Errorf("%d ran at once", most)
	}
	close(open)
	for _, id := range []task.RunID{first, manual, second, third} {
		w.ends(id, task.RunCompleted)
	}
	if a, b := w.run(second), w.run(third); a.EndedAt.After(b.StartedAt) {
		t.Errorf("%s ended at %s and %s began at %s", a.Ref(), a.EndedAt, b.Ref(), b.StartedAt)
	}
}

// Serial runs that wait across a restart still wait.
func TestSerialRunsAcrossACrash(t *testing.T) {
	w, _ := withLedger(t, def("t", step("a", 0)))
	open := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(open) })
	first := w.submit("t")
	w.began("a#1")
	second := w.fires("t", due(serial))
	w.crash()
	w.start()
	w.began("a#2")
	if run := w.run(second); run.Status != task.RunQueued {
		t.Errorf("it is %s", run.Status)
	}
	close(open)
	w.ends(first, task.RunCompleted)
	w.ends(second, task.RunCompleted)
}

// A run that replaces has the older ones cancelled, whether they run or wait,
// and starts when they have ended.
func TestARunThatReplaces(t *testing.T) {
	w, _ := withLedger(t, withHook(def("t", step("a", 0))), def("u", step("b", 0)))
	w.ctrl.on("a", (*exec).untilEnded)
	w.ctrl.on("h", (*exec).untilEnded)
	w.ctrl.on("b", (*exec).untilEnded)
	running := w.submit("t")
	w.began("a#1")
	waiting := w.fires("t", due(serial))
	hooked, other := w.fires("t", due(hook)), w.submit("u")
	w.began("h#1")
	w.began("b#1")
	w.ctrl.on("a", func(*exec) task.Outcome { return done })
	id := w.fires("t", due(replaces))
	for _, old := range []task.RunID{running, waiting} {
		if run := w.ends(old, task.RunCancelled); run.Cancel == nil || run.Cancel.By != "schedule nightly" {
			t.Errorf("%s: %+v", run.Ref(), run.Run)
		}
	}
	if run := w.ends(id, task.RunCompleted); !run.Serial || run.StartedAt.Before(w.run(running).EndedAt) {
		t.Errorf("the new one is %+v", run.Run)
	}
	for _, id := range []task.RunID{hooked, other} {
		if run := w.run(id); run.Status != task.RunRunning || run.Cancel != nil {
			t.Errorf("%s is %s, %v", run.Ref(), run.Status, run.Cancel)
		}
	}
}

// Nothing that replaces starts while what it replaces is still being cancelled.
func TestWhatReplacesWaitsForTheWishToBeDurable(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.MaxRuns = 1 })
	w.start()
	w.apply(def("t", step("a", 0)), def("u", step("b", 0)))
	open := make(chan struct{})
	w.ctrl.on("b", func(x *exec) task.Outcome { return x.gate(open) })
	w.submit("u")
	w.began("b#1")
	old := w.submit("t")
	var run task.Run
	err := w.db.Update(t.Context(), func(tx engine.Tx) error {
		d, err := tx.Task("t")
		if err != nil {
			return err
		}
		run, err = w.e.SubmitIn(tx, d, due(replaces))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	hold := make(chan struct{})
	w.db.set(func(d *db) { d.hold = hold })
	w.e.Adopt(run)
	w.bell.await(t, "the cancel to be under way", func() bool { return w.db.waiting() > 0 })
	w.waitsFor(run.ID, "the runs that it replaces to be cancelled")
	w.db.set(func(d *db) { d.hold = nil })
	close(hold)
	w.ends(old, task.RunCancelled)
	close(open)
	w.ends(run.ID, task.RunCompleted)
	w.wantCalls("b#1", "a#1")
}

// The wish to replace outlives whatever keeps it from being carried out.
func TestReplacingAcrossACrash(t *testing.T) {
	for name, adopt := range map[string]bool{"before it is adopted": false, "before anybody is cancelled": true} {
		t.Run(name, func(t *testing.T) {
			w, _ := withLedger(t, def("t", step("a", 0)))
			w.ctrl.on("a", func(x *exec) task.Outcome {
				if x.RunNumber == 3 {
					return done
				}
				return x.untilEnded()
			})
			running, waiting := w.submit("t"), w.fires("t", due(serial))
			w.began("a#1")
			var runs []task.Run
			err := w.db.Update(t.Context(), func(tx engine.Tx) error {
				d, err := tx.Task("t")
				if err != nil {
					return err
				}
				run, err := w.e.SubmitIn(tx, d, due(replaces))
				runs = []task.Run{run}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			w.db.set(func(d *db) { d.failed = true })
			if adopt {
				w.e.Adopt(runs...)
			}
			w.crash()
			w.start()
			for _, old := range []task.RunID{running, waiting} {
				if run := w.ends(old, task.RunCancelled); run.Cancel.By != "schedule nightly" {
					t.Errorf("%s: %+v", run.Ref(), run.Run)
				}
			}
			w.ends(runs[0].ID, task.RunCompleted)
		})
	}
}

// Who was asked to go on after the new run was made is none of those that it
// replaces, not even when a crash makes the next life look again.
func TestWhatWasContinuedSinceIsNotReplaced(t *testing.T) {
	w, _ := withLedger(t, def("t", step("a", 0)))
	open := make(chan struct{})
	slow := func(x *exec) task.Outcome { // takes its time to end when it is cancelled
		select {
		case <-open:
		case <-x.c.cutOff():
		}
		return task.Outcome{Kind: task.OutcomeCancelled}
	}
	w.ctrl.on("a", func(x *exec) task.Outcome {
		switch {
		case x.RunNumber == 1 && x.n == 1:
			return task.Outcome{Kind: task.OutcomePermanent, Message: "no"}
		case x.RunNumber == 2 && x.n == 1:
			return slow(x)
		}
		return x.gate(open)
	})
	failed := w.submit("t")
	w.ends(failed, task.RunFailed)
	blocking := w.submit("t")
	w.step(blocking, "a", task.StepRunning)
	w.clock.advance(time.Second)
	id := w.fires("t", due(replaces))
	w.bell.await(t, "the wish to cancel", func() bool { return w.stored(blocking).Cancel != nil })
	w.clock.advance(time.Second)
	w.goOn(failed)
	w.step(failed, "a", task.StepRunning)
	w.crash()
	w.start()
	w.ends(blocking, task.RunCancelled)
	if run := w.run(failed); run.Status != task.RunRunning || run.Cancel != nil {
		t.Errorf("the continued one is %s: %v", run.Status, run.Cancel)
	}
	close(open)
	w.ends(failed, task.RunCompleted)
	w.ends(id, task.RunCompleted)
}

// A full disk delays the cancelling of what is replaced, no more.
func TestReplacingOnAFullDisk(t *testing.T) {
	w, _ := withLedger(t, def("t", step("a", 0)))
	open := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(open) })
	first := w.submit("t")
	w.began("a#1")
	waiting := w.fires("t", due(serial))
	var run task.Run
	err := w.db.Update(t.Context(), func(tx engine.Tx) error {
		d, err := tx.Task("t")
		if err != nil {
			return err
		}
		run, err = w.e.SubmitIn(tx, d, due(replaces))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.db.set(func(d *db) { d.full = true })
	w.e.Adopt(run)
	refused := func() int { w.db.mu.Lock(); defer w.db.mu.Unlock(); return w.db.refused }
	w.bell.await(t, "some tries", func() bool { w.clock.advance(time.Second); return refused() >= 3 })
	w.db.set(func(d *db) { d.full = false })
	w.bell.await(t, "both to be cancelled", func() bool {
		w.clock.advance(time.Second)
		return w.run(first).Cancel != nil && w.run(waiting).Cancel != nil
	})
	close(open)
	w.ends(waiting, task.RunCancelled)
	w.ends(run.ID, task.RunCompleted)
}

// The schedules hear of each change of a task and of each end of a run, in its
// own transaction.
func TestWhatSchedulesAreTold(t *testing.T) {
	w, l := withLedger(t)
	w.ctrl.onFail("a", 1, task.Outcome{Kind: task.OutcomePermanent, Message: "no"})
	d := def("t", step("a", 0))
	apply := func(d task.Task, dry bool) {
		t.Helper()
		if _, err := w.e.Apply(t.Context(), engine.ApplyWish{Tasks: []task.Task{d}, By: "", DryRun: dry}); err != nil {
			t.Fatal(err)
		}
	}
	apply(d, true)
	apply(d, false)
	apply(d, false) // unchanged
	d.Description = "other"
	apply(d, true)
	apply(d, false)
	for _, off := range []bool{true, true, false} {
		if _, err := w.e.SetDisabled(t.Context(), "t", off, "ann"); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []*task.Pause{nil, {By: "ann"}, nil} {
		if _, err := w.e.SetPause(t.Context(), "t", p, "ann"); err != nil {
			t.Fatal(err)
		}
	}
	failed := w.submit("t")
	w.ends(failed, task.RunFailed)
	if n := w.told(failed); n != 1 {
		t.Errorf("told %d times that it failed", n)
	}
	w.goOn(failed)
	w.ends(failed, task.RunCompleted)
	if n := w.told(failed); n != 2 {
		t.Errorf("told %d times that it ended", n)
	}
	w.spaces.mu.Lock()
	w.spaces.fault = errBroken
	w.spaces.mu.Unlock()
	refused := w.submit("t")
	w.ends(refused, task.RunFailed)
	w.spaces.mu.Lock()
	w.spaces.fault = nil
	w.spaces.mu.Unlock()
	open := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(open) })
	blocking := w.submit("t")
	w.step(blocking, "a", task.StepRunning)
	waiting := w.fires("t", due(serial))
	w.cancel(waiting, "ann")
	w.cancel(blocking, "ann")
	w.ends(blocking, task.RunCancelled)
	for _, id := range []task.RunID{refused, waiting, blocking} {
		if n := w.told(id); n != 1 {
			t.Errorf("told %d times of the end of run %d", n, id)
		}
	}
	_, before := l.told()
	if err := w.e.DeleteTask(t.Context(), "t", 0); err != nil {
		t.Fatal(err)
	}
	want := []string{"->t@1", "t@1>t@2", "t@2>t@3", "t@3>t@4", "t@4>t@5", "t@5>t@6", "t@6>-"}
	changes, committed := l.told()
	if !slices.Equal(changes, want) {
		t.Errorf("told of the changes %v, want %v", changes, want)
	}
	if committed != before+1 || before != 6+5 {
		t.Errorf("told of %d and then %d commits", before, committed)
	}
}

// What is due at the moment of a change is a run of the task as it was, even
// when the task is deleted.
func TestRunsThatAChangeSubmits(t *testing.T) {
	w, l := withLedger(t, def("t", step("a", 0)))
	l.submit = func(tx engine.Tx, old, _ *task.Task) ([]task.Run, error) {
		run, err := w.e.SubmitIn(tx, *old, due())
		return []task.Run{run}, err
	}
	w.apply(def("t", step("b", 0)))
	run, err := w.e.Find("t/1")
	if err != nil {
		t.Fatal(err)
	}
	if run = w.ends(run.ID, task.RunCompleted); run.DefinitionVersion != 1 {
		t.Errorf("the run is of version %d", run.DefinitionVersion)
	}
	if err := w.e.DeleteTask(t.Context(), "t", 0); err != nil {
		t.Fatal(err)
	}
	if run, err = w.e.Find("t/2"); err != nil {
		t.Fatal(err)
	}
	w.ends(run.ID, task.RunCompleted)
	w.wantCalls("a#1", "b#1")
	if _, err := w.e.Task("t"); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("the task is still there: %v", err)
	}
	l.mu.Lock()
	l.submit = func(engine.Tx, *task.Task, *task.Task) ([]task.Run, error) { return nil, errBroken }
	l.mu.Unlock()
	if _, err := w.e.Apply(t.Context(), engine.ApplyWish{Tasks: []task.Task{def("v", step("a", 0))}, By: ""}); !errors.Is(err, errBroken) {
		t.Errorf("apply: %v", err)
	}
	if _, err := w.e.Task("v"); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("a task was saved whose schedules were not: %v", err)
	}
}

// A pause is somebody's decision: the file does not end it, and who asks for a
// run gets it.
func TestAPausedTask(t *testing.T) {
	w, _ := withLedger(t, def("t", step("a", 0)))
	until := w.clock.Now().Add(time.Hour)
	p := task.Pause{By: "ann", Reason: "stocktaking", Until: until}
	paused, err := w.e.SetPause(t.Context(), "t", &p, "ann")
	if err != nil || paused.Version != 2 || paused.Pause == nil || paused.Pause.At.IsZero() || paused.Pause.Reason != p.Reason || !paused.Held(w.clock.Now()) {
		t.Fatalf("it is %+v, %v", paused, err)
	}
	if got, err := w.e.Apply(t.Context(), engine.ApplyWish{Tasks: []task.Task{def("t", step("a", 0))}, By: ""}); err != nil || got[0].Action != "unchanged" {
		t.Errorf("the same file: %+v, %v", got, err)
	}
	w.apply(def("t", step("a", 0), step("b", 1)))
	if now, err := w.e.Task("t"); err != nil || now.Pause == nil || now.Version != 3 {
		t.Errorf("another file made it %+v, %v", now, err)
	}
	w.ends(w.submit("t"), task.RunCompleted)
	if _, err := w.e.SetPause(t.Context(), "t", &task.Pause{Until: w.clock.Now()}, "ann"); !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), "over already") {
		t.Errorf("a pause that is over: %v", err)
	}
	if _, err := w.e.SetPause(t.Context(), "nope", nil, "ann"); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("no such task: %v", err)
	}
	for range 2 {
		if now, err := w.e.SetPause(t.Context(), "t", nil, "ann"); err != nil || now.Pause != nil || now.Version != 4 {
			t.Errorf("resumed it is %+v, %v", now, err)
		}
	}
}
