package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

// tape records what a watcher saw.
type tape struct {
	begun  chan struct{} // closed at the first event; nil: nobody waits for that
	mu     sync.Mutex
	events []engine.Event
}

func (p *tape) add(e engine.Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.events) == 0 && p.begun != nil {
		close(p.begun)
	}
	p.events = append(p.events, e)
	return nil
}

// check holds what every watcher may rely on.
func (p *tape) check(t testing.TB, id task.RunID) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.events) == 0 || p.events[0].Kind != engine.EventSnapshot {
		t.Fatalf("the first of %d events is no snapshot", len(p.events))
	}
	high := 0.0
	for i, e := range p.events {
		if e.Run.ID != id {
			t.Errorf("event %d is about run %d: %+v", i, e.Run.ID, e)
		}
		if e.Run.Progress < high {
			t.Errorf("event %d (%s): progress fell from %v to %v", i, e.Kind, high, e.Run.Progress)
		}
		high = e.Run.Progress
		if (e.Run.Progress == 100) != (e.Run.Status == task.RunCompleted) || e.Run.Progress > 100 || math.IsNaN(e.Run.Progress) {
			t.Errorf("event %d: %s with progress %v", i, e.Run.Status, e.Run.Progress)
		}
		if !e.Run.Status.Alive() && e.Kind != engine.EventStep && i != len(p.events)-1 {
			t.Errorf("event %d of %d says that the run has ended", i, len(p.events))
		}
	}
	if last := p.events[len(p.events)-1]; last.Run.Status.Alive() {
		t.Errorf("the last event is %+v", last)
	}
}

// watch begins to record. It returns when the recorder has its first event, and
// a function that waits for the last.
func (w *world) watch(id task.RunID) (*tape, func()) {
	p := &tape{begun: make(chan struct{})}
	over := make(chan struct{})
	go func() {
		defer close(over)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := w.e.Watch(ctx, id, p.add); err != nil {
			w.t.Errorf("watch: %v", err)
		}
	}()
	select {
	case <-p.begun:
	case <-over: // without one
	}
	return p, func() { <-over }
}

func TestAWatcherSeesTheWholeRun(t *testing.T) {
	w := started(t, parallel(2, def("t", step("a", 0), step("p", 1), step("z", 2))))
	w.ctrl.plansInto("p", into(20, nil))
	for _, name := range []string{"a", "p/*", "z"} {
		w.ctrl.on(name, func(x *exec) task.Outcome {
			for i := range 10 {
				x.Progress(task.Progress{Done: float64(i), Total: 10})
				w.run(x.Attempt.Run) // somebody looks
			}
			return done
		})
	}
	open := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(open) })
	id := w.submit("t")
	var tapes []*tape
	var ends []func()
	for range 5 {
		p, end := w.watch(id)
		tapes, ends = append(tapes, p), append(ends, end)
	}
	w.began("a#1")
	close(open)
	w.ends(id, task.RunCompleted)
	for i, end := range ends {
		end()
		tapes[i].check(t, id)
	}
	completed := map[string]bool{}
	for _, e := range tapes[0].events {
		if e.Kind == engine.EventStep && e.Step.Status == task.StepCompleted {
			completed[e.Step.FullName()] = true
		}
	}
	if len(completed) != 23 {
		t.Errorf("the watcher heard of the end of %d steps", len(completed))
	}
}

// A watcher that hangs in send costs the run nothing, and once it goes on it
// hears how things stand, and of the end.
func TestASlowWatcherDoesNotHoldTheRun(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("p", 1)))
	w.ctrl.plansInto("p", into(400, nil))
	open := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(open) })
	id := w.submit("t")
	p, first, release := &tape{}, make(chan struct{}), make(chan struct{})
	var once sync.Once
	watched := make(chan error, 1)
	go func() {
		watched <- w.e.Watch(t.Context(), id, func(e engine.Event) error {
			once.Do(func() { close(first); <-release })
			return p.add(e)
		})
	}()
	<-first
	close(open)
	w.ends(id, task.RunCompleted)
	close(release)
	if err := <-watched; err != nil {
		t.Fatal(err)
	}
	p.check(t, id)
}

func TestAWatcherOfWhatHasEnded(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	id := w.submit("t")
	w.ends(id, task.RunCompleted)
	p, end := w.watch(id)
	end()
	if len(p.events) != 1 || p.events[0].Run.Progress != 100 {
		t.Errorf("events %+v", p.events)
	}
	if err := w.e.Watch(t.Context(), 99, p.add); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("watch of nothing: %v", err)
	}
}

// A watcher that comes at any moment around a run's end is not left waiting.
func TestWatchersThatComeLate(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	for range 150 {
		id := w.submit("t")
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				p := &tape{}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if err := w.e.Watch(ctx, id, p.add); err != nil {
					t.Errorf("watch: %v", err)
					return
				}
				p.check(t, id)
			})
		}
		all.Wait()
		if t.Failed() {
			return
		}
	}
}

func TestAWatcherOfAllRuns(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.MaxRuns = 1 })
	w.start()
	w.apply(def("t", step("a", 0)), def("u", step("a", 0)))
	open := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(open) })
	first, second := w.submit("t"), w.submit("u")
	w.began("a#1")
	snapshots := make(chan task.RunID, 10)
	ended := make(chan task.RunID, 10)
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() {
		watched <- w.e.Watch(ctx, 0, func(e engine.Event) error {
			switch {
			case e.Kind == engine.EventSnapshot:
				snapshots <- e.Run.ID
			case e.Kind == engine.EventRun && !e.Run.Status.Alive():
				ended <- e.Run.ID
			}
			return nil
		})
	}()
	if got := []task.RunID{<-snapshots, <-snapshots}; !slices.Equal(got, []task.RunID{first, second}) {
		t.Errorf("snapshots of %v: each run that is alive has one", got)
	}
	close(open)
	if got := []task.RunID{<-ended, <-ended}; !slices.Equal(got, []task.RunID{first, second}) {
		t.Errorf("runs ended: %v", got)
	}
	cancel()
	if err := <-watched; !errors.Is(err, context.Canceled) {
		t.Errorf("watch returned %v", err)
	}
}

func TestAWatcherThatCannotSendIsLetGo(t *testing.T) {
	w := started(t, def("t", step("a", 0)))
	w.ctrl.on("a", once)
	id := w.submit("t")
	if err := w.e.Watch(t.Context(), id, func(engine.Event) error { return errBroken }); !errors.Is(err, errBroken) {
		t.Errorf("watch returned %v", err)
	}
}

// Weights share out the run's progress, also among planned steps.
func TestProgressIsWeighted(t *testing.T) {
	heavy := func(n float64) func(*task.Step) { return func(s *task.Step) { s.Weight = n } }
	w := started(t, def("t", step("a", 0, heavy(1)), step("p", 1, heavy(3))))
	w.ctrl.plansInto("p", into(3, func(i int, s *task.PlannedStep) { s.Weight = []float64{0, 2, 5, 3}[i] }))
	gates, names := map[string]chan struct{}{}, []string{"a", "p/c1", "p/c2", "p/c3"}
	half := make(chan string)
	for _, name := range names {
		open := make(chan struct{})
		gates[name] = open
		w.ctrl.on(name, func(x *exec) task.Outcome {
			x.Progress(task.Progress{Done: 1, Total: 2, Note: "half", Counters: map[string]int64{"rows": 7}})
			half <- name
			return x.gate(open)
		})
	}
	id := w.submit("t")
	for i, want := range []float64{12.5, 25 + 7.5, 25 + 15 + 18.75, 25 + 15 + 37.5 + 11.25} {
		name := <-half
		run := w.run(id)
		if math.Abs(run.Progress-want) > 1e-9 {
			t.Errorf("half of %s: progress %v, want %v", name, run.Progress, want)
		}
		if v := run.Active[0]; v.FullName() != name || v.Fraction != 0.5 || v.Note != "half" || v.Counters["rows"] != 7 {
			t.Errorf("step %d is shown as %+v", i, v)
		}
		close(gates[names[i]])
	}
	if run := w.ends(id, task.RunCompleted); run.Progress != 100 {
		t.Errorf("progress is %v", run.Progress)
	}
}

func TestNonsenseAsProgress(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("z", 1)))
	w.ctrl.on("a", func(x *exec) task.Outcome {
		last := 0.0
		for i, p := range []task.Progress{
			{Done: 1, Total: 4}, {Done: -5, Total: 10}, {Done: math.NaN(), Total: 3}, {Done: 1, Total: math.NaN()}, {Done: math.Inf(1), Total: math.Inf(1)},
			{Done: 0, Total: 0}, {Done: 1, Total: -1}, {Done: 3, Total: 4}, {Done: 1, Total: 4}, {Done: 900, Total: 3}, {Done: math.Inf(1), Total: 1},
		} {
			x.Progress(p)
			now := w.run(x.Attempt.Run).Progress
			if now < last || now > 50 || math.IsNaN(now) {
				t.Errorf("report %d (%v): progress went from %v to %v", i, p, last, now)
			}
			last = now
		}
		return done
	})
	w.ends(w.submit("t"), task.RunCompleted)
}

// Weights and times that a plugin made up cannot break the run's record.
func TestNonsenseAsWeight(t *testing.T) {
	w := started(t, def("t", step("p", 0)))
	huge := []float64{0, 1e308, 1.7e308, math.SmallestNonzeroFloat64, -4, math.Inf(1), math.NaN()}
	w.ctrl.plansInto("p", into(6, func(i int, s *task.PlannedStep) {
		s.Weight = huge[i]
		s.ETA = time.Duration(math.MaxInt64 - int64(i))
	}))
	id := w.submit("t")
	p, end := w.watch(id)
	w.ends(id, task.RunCompleted)
	end()
	p.check(t, id)
}

func TestETA(t *testing.T) {
	w := started(t, def("t", step("p", 0)))
	w.ctrl.plansInto("p", into(4, func(_ int, s *task.PlannedStep) { s.ETA = time.Minute }))
	step := make(chan struct{})
	w.ctrl.on("p/*", func(x *exec) task.Outcome { return x.gate(step) })
	id := w.submit("t")
	w.began("p/c1#1")
	run := w.run(id)
	if !run.HasETA || run.ETA != 4*time.Minute || !run.Active[0].HasETA || run.Active[0].ETA != time.Minute {
		t.Errorf("as planned: ETA %s, of the step %+v", run.ETA, run.Active)
	}
	w.clock.advance(2 * time.Minute) // twice as slow as planned
	step <- struct{}{}
	w.began("p/c2#1")
	if run := w.run(id); !run.HasETA || run.ETA != 6*time.Minute {
		t.Errorf("a quarter took 2 minutes, the rest is said to take %s", run.ETA)
	}
	// After a crash, the time that the daemon was away is no part of the pace.
	w.crash()
	w.clock.advance(10 * time.Hour)
	w.start()
	w.began("p/c2#2")
	w.clock.advance(2 * time.Minute)
	step <- struct{}{}
	w.began("p/c3#1")
	if run := w.run(id); !run.HasETA || run.ETA.Round(time.Second) != 4*time.Minute {
		t.Errorf("after the crash, the last half is said to take %s", run.ETA)
	}
	close(step)
	if run := w.ends(id, task.RunCompleted); run.HasETA {
		t.Errorf("a run that has ended has the ETA %s", run.ETA)
	}
}

// A plan of thousands of steps is carried out through a window, each step once.
func TestAPlanOfThousands(t *testing.T) {
	const n = 5000
	w := started(t, parallel(4, def("t", step("p", 0))))
	big := raw(`{"x":"` + strings.Repeat("x", 4<<10) + `"}`)
	w.ctrl.plansInto("p", into(n, func(_ int, s *task.PlannedStep) { s.Settings = big }))
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var most uint64
	w.ctrl.on("p/*", func(x *exec) task.Outcome {
		if x.Attempt.Position.Sub%1000 == 500 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
		}
		return done
	})
	id := w.submit("t")
	run := w.ends(id, task.RunCompleted)
	if run.Total != n || run.Completed != n {
		t.Errorf("the run is %+v", run.Run)
	}
	w.ctrl.mu.Lock()
	defer w.ctrl.mu.Unlock()
	for i := range n {
		if got := w.ctrl.complete[fmt.Sprintf("%d p/c%d", id, i+1)]; got != 1 {
			t.Fatalf("c%d completed %d times", i+1, got)
		}
	}
	// All of the plan is 20 MB.
	if grown := int64(most) - int64(before.HeapAlloc); grown > 10<<20 {
		t.Errorf("the heap grew by %d KiB", grown>>10)
	}
}

// Whoever asks sees the counts of what is committed, not those of some time
// ago.
func TestCountsAreThoseOfNow(t *testing.T) {
	w := started(t, def("t", step("p", 0)))
	w.ctrl.plansInto("p", into(5, nil))
	open := make(chan struct{})
	w.ctrl.on("p/*", func(x *exec) task.Outcome { return x.gate(open) })
	id := w.submit("t")
	for i := range 4 {
		open <- struct{}{}
		w.began(fmt.Sprintf("p/c%d#1", i+2))
		if run := w.run(id); run.Completed != i+1 || run.Total != 5 {
			t.Errorf("after %d of 5 steps it counts %d of %d", i+1, run.Completed, run.Total)
		}
	}
	close(open)
	w.ends(id, task.RunCompleted)
}

// A run that did not complete shows what was really done.
func TestProgressOfARunThatFailed(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("b", 1, attempts(1)), step("c", 2), step("d", 3)))
	w.ctrl.onFail("b", 9, faulty)
	run := w.wait(w.submit("t"))
	if run.Status != task.RunFailed || run.Progress != 75 {
		t.Errorf("three of four steps were done, and the run is %s at %v %%", run.Status, run.Progress)
	}
	w.apply(def("t", step("b", 0, attempts(1), interrupting)))
	if run := w.wait(w.submit("t")); run.Status != task.RunFailed || run.Progress != 0 {
		t.Errorf("nothing was done, and the run is %s at %v %%", run.Status, run.Progress)
	}
}
