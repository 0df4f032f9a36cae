package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// world is an engine on a real store, with everything else made of fakes.
// Everything but the engine and the open store outlives a crash.
type world struct {
	t      testing.TB
	dir    string
	bell   *bell
	clock  *clock
	ctrl   *controllers
	log    *runLog
	spaces *workspaces
	config engine.Config

	db *db
	e  *engine.Engine
}

func newWorld(t testing.TB, change ...func(*engine.Config)) *world {
	w := makeWorld(t, t.TempDir(), change...)
	t.Cleanup(w.end)
	return w
}

// makeWorld makes one that the caller ends.
func makeWorld(t testing.TB, dir string, change ...func(*engine.Config)) *world {
	b := &bell{}
	w := &world{
		t: t, dir: dir, bell: b, clock: newClock(b), ctrl: newControllers(b),
		log:    &runLog{bell: b, open: map[string]bool{}, lines: map[string][]task.LogEntry{}, closed: map[string]int{}, removed: map[string]bool{}},
		spaces: &workspaces{bell: b, made: map[string]bool{}, removed: map[string]bool{}},
		config: engine.Config{
			MaxRuns: 4, Logger: hclog.NewNullLogger(), Jitter: func(d time.Duration) time.Duration { return d },
		},
	}
	for _, f := range change {
		f(&w.config)
	}
	w.open()
	return w
}

// started is a world whose engine runs and has the task.
func started(t testing.TB, tasks ...task.Task) *world {
	w := newWorld(t)
	w.start()
	w.apply(tasks...)
	return w
}

func (w *world) open() {
	w.t.Helper()
	s, err := store.Open(store.Options{Dir: w.dir, BallastSize: -1})
	if err != nil {
		w.t.Fatalf("open: %v", err)
	}
	w.db = &db{Store: s, bell: w.bell, left: -1}
	c := w.config
	c.Store, c.Controllers, c.Clock, c.RunLog, c.Workspaces = w.db, w.ctrl, w.clock, w.log, w.spaces
	if w.e, err = engine.New(c); err != nil {
		w.t.Fatalf("new: %v", err)
	}
}

func (w *world) start() {
	w.t.Helper()
	if err := w.e.Start(); err != nil {
		w.t.Fatalf("start: %v", err)
	}
}

// crash ends the engine as a power cut would: from now on no commit succeeds.
// Then it opens the same file again, with a new engine that is not started.
func (w *world) crash() {
	w.t.Helper()
	w.db.set(func(d *db) { d.failed, d.full = true, false })
	w.ctrl.crash()
	w.stop()
	w.reopen()
}

func (w *world) reopen() {
	w.t.Helper()
	if err := w.db.Close(); err != nil {
		w.t.Fatalf("close: %v", err)
	}
	w.ctrl.mu.Lock()
	select {
	case <-w.ctrl.cut:
		w.ctrl.cut = make(chan struct{})
	default:
	}
	w.ctrl.mu.Unlock()
	w.open()
}

func (w *world) stop() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.e.Stop(ctx); err != nil {
		w.t.Fatalf("stop: %v", err)
	}
}

func (w *world) end() {
	w.db.set(func(d *db) {
		d.failed, d.full = true, false
		if d.hold != nil {
			close(d.hold)
			d.hold = nil
		}
	})
	w.clock.mu.Lock()
	w.clock.leap = true
	w.clock.mu.Unlock()
	w.clock.advance(time.Hour)
	w.ctrl.crash()
	w.stop()
	if err := w.db.Close(); err != nil {
		w.t.Errorf("close: %v", err)
	}
}

func (w *world) apply(tasks ...task.Task) {
	w.t.Helper()
	if err := w.saves(tasks...); err != nil {
		w.t.Fatalf("apply: %v", err)
	}
}

func (w *world) saves(tasks ...task.Task) error {
	_, err := w.e.Apply(w.t.Context(), engine.ApplyWish{Tasks: tasks, By: "ann"})
	return err
}

func (w *world) submit(name string) task.RunID {
	w.t.Helper()
	run, err := w.e.Submit(w.t.Context(), engine.Wish{Task: name, By: "ann"})
	if err != nil {
		w.t.Fatalf("submit: %v", err)
	}
	return run.ID
}

func (w *world) run(id task.RunID) engine.RunView {
	w.t.Helper()
	run, err := w.e.Run(id)
	if err != nil {
		w.t.Fatalf("run: %v", err)
	}
	return run
}

// steps returns all steps of the run by full name.
// stored is the run as it was committed: the bell rings for that, while what the
// engine shows may follow a moment later.
func (w *world) stored(id task.RunID) (run task.Run) {
	w.t.Helper()
	err := w.db.View(func(rd engine.Reader) (err error) {
		run, err = rd.Run(id)
		return err
	})
	if err != nil {
		w.t.Fatalf("run: %v", err)
	}
	return run
}

func (w *world) steps(id task.RunID) map[string]engine.StepView {
	w.t.Helper()
	list, _, err := w.e.Steps(w.run(id), nil, math.MaxInt)
	if err != nil {
		w.t.Fatalf("steps: %v", err)
	}
	all := map[string]engine.StepView{}
	for _, s := range list {
		if _, twice := all[s.FullName()]; twice {
			w.t.Errorf("step %s is there twice", s.FullName())
		}
		all[s.FullName()] = s
	}
	return all
}

// until watches the run until cond holds.
func (w *world) until(id task.RunID, what string, cond func(engine.RunView) bool) engine.RunView {
	w.t.Helper()
	w.bell.await(w.t, what, func() bool { return cond(w.run(id)) || w.db.dead() })
	return w.run(id)
}

// wait blocks until the run has ended and its runner is gone.
func (w *world) wait(id task.RunID) engine.RunView {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := w.e.Watch(ctx, id, func(engine.Event) error { return nil })
	if err != nil {
		w.t.Fatalf("run %d did not end: %v, it is %+v, steps %s, calls %v", id, err, w.run(id).Run, w.statuses(id), w.ctrl.list())
	}
	run := w.run(id)
	w.bell.await(w.t, "the run's log to be closed", func() bool { return !w.log.isOpen(run.Ref()) || w.db.dead() })
	return run
}

func (w *world) ends(id task.RunID, status task.RunStatus) engine.RunView {
	w.t.Helper()
	run := w.wait(id)
	if run.Status != status {
		w.t.Fatalf("run is %s (%s), want %s; steps: %s; calls %v", run.Status, run.Reason, status, w.statuses(id), w.ctrl.list())
	}
	w.consistent(id)
	return run
}

// step waits until the step has the status.
func (w *world) step(id task.RunID, name string, status task.StepStatus) engine.StepView {
	w.t.Helper()
	w.bell.await(w.t, fmt.Sprintf("step %s %s", name, status), func() bool { return w.steps(id)[name].Status == status })
	return w.steps(id)[name]
}

// began waits until the call was made.
func (w *world) began(call string) {
	w.t.Helper()
	w.bell.await(w.t, call+" to begin", func() bool { return w.ctrl.began(call) })
}

func (w *world) statuses(id task.RunID) string {
	text := ""
	list, _, err := w.e.Steps(w.run(id), nil, 50)
	for _, s := range list {
		text += fmt.Sprintf(" %s=%s", s.FullName(), s.Status)
		if s.Error != "" {
			text += fmt.Sprintf("(%s: %s)", s.Reason, s.Error)
		}
	}
	if err != nil {
		text += err.Error()
	}
	return text
}

// consistent holds the run's counters against its steps.
func (w *world) consistent(id task.RunID) {
	w.t.Helper()
	run := w.run(id)
	if problem := recount(run, w.steps(id)); problem != nil {
		w.t.Errorf("run %s: %v; steps %s", run.Ref(), problem, w.statuses(id))
	}
}

func recount(run engine.RunView, steps map[string]engine.StepView) error {
	var total, completed, failed, skipped int
	all := true
	for name, s := range steps {
		all = all && (s.Status == task.StepCompleted || s.Status == task.StepSkipped)
		if !run.Status.Alive() && (s.Status == task.StepRunning || s.Status == task.StepWaiting) {
			return fmt.Errorf("it is %s while step %s is %s", run.Status, name, s.Status)
		}
		if s.Position.Sub == 0 && s.PlanDone && s.Planned > 0 {
			continue
		}
		total++
		switch s.Status {
		case task.StepCompleted:
			completed++
		case task.StepFailed:
			failed++
		case task.StepSkipped:
			skipped++
		}
	}
	if run.Total != total || run.Completed != completed || run.Failed != failed || run.Skipped != skipped {
		return fmt.Errorf("it counts %d/%d/%d/%d (total/completed/failed/skipped), its steps are %d/%d/%d/%d",
			run.Total, run.Completed, run.Failed, run.Skipped, total, completed, failed, skipped)
	}
	if (run.Status == task.RunCompleted) != (run.Progress == 100) {
		return fmt.Errorf("it is %s with progress %v", run.Status, run.Progress)
	}
	if run.Status == task.RunCompleted && !all {
		return errors.New("it completed with steps left")
	}
	if !run.Status.Alive() && run.Status != task.RunCompleted && run.Reason == "" {
		return fmt.Errorf("it is %s without a reason", run.Status)
	}
	if !run.Status.Alive() && run.EndedAt.IsZero() {
		return errors.New("it ended at no time")
	}
	return nil
}

// def makes a task of the steps; each is its own order unless told otherwise.
func def(name string, steps ...task.Step) task.Task {
	return task.Task{Name: name, Steps: steps}
}

func step(name string, order int, change ...func(*task.Step)) task.Step {
	s := task.Step{Name: name, Controller: name, Order: order}
	for _, f := range change {
		f(&s)
	}
	return s
}

func interrupting(s *task.Step) { s.InterruptOnStepFault = true }

func attempts(n int) func(*task.Step) { return func(s *task.Step) { s.Retry.Attempts = n } }

func limits(l task.Limits) func(*task.Step) { return func(s *task.Step) { s.Limits = l } }

func parallel(n int, t task.Task) task.Task { t.MaxParallel = n; return t }

func (w *world) wantCalls(want ...string) {
	w.t.Helper()
	if got := w.ctrl.list(); !slices.Equal(got, want) {
		w.t.Errorf("calls were %v, want %v", got, want)
	}
}

func (w *world) wantStatus(id task.RunID, want map[string]task.StepStatus) {
	w.t.Helper()
	steps := w.steps(id)
	for name, status := range want {
		if steps[name].Status != status {
			w.t.Errorf("step %s is %q, want %s; all:%s", name, steps[name].Status, status, w.statuses(id))
		}
	}
}
