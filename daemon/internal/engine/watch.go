package engine

import (
	"context"
	"sync"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// EventKind says what an event is about.
type EventKind string

const (
	EventSnapshot EventKind = "snapshot" // how a run stands; the first of it, or after events were missed
	EventRun      EventKind = "run"      // the run changed
	EventStep     EventKind = "step"     // a step of it changed
	EventProgress EventKind = "progress" // something moved; at most five a second for a run
)

// Event is something that was committed, or a sign of progress.
type Event struct {
	Kind   EventKind
	Run    task.Run
	ETA    time.Duration // with HasETA
	HasETA bool
	Step   *StepView  // with EventStep
	Stuck  bool       // a step of it gives no sign of progress
	Active []StepView // with EventSnapshot and EventProgress
}

// StepView is a step with what is known of its live attempt.
type StepView struct {
	task.RunStep
	Top      string  // name of the step of the definition
	Fraction float64 // of the attempt, 0 to 1
	Note     string
	Counters map[string]int64
	ETA      time.Duration // with HasETA: of what is left
	HasETA   bool

	// Of a step that is carried out: the last sign of progress, whether that is
	// longer ago than it may be, and what its controller said last.
	IdleSince  time.Time
	Stuck      bool
	LastSaid   string
	LastSaidAt time.Time
}

// FullName is the step's name within the run: "tables/actor".
func (v *StepView) FullName() string { return fullName(v.Top, v.RunStep) }

const (
	watchBuffer   = 256
	watchInterval = 200 * time.Millisecond
)

// watchers are those who want to hear of events.
type watchers struct {
	mu  sync.RWMutex
	all map[*watcher]struct{}
}

type watcher struct {
	id     task.RunID // 0: all runs
	events chan Event
	lagged chan struct{} // has room for one: events were dropped
}

func (w *watchers) any() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return len(w.all) > 0
}

func (w *watchers) add(id task.RunID) *watcher {
	one := &watcher{id: id, events: make(chan Event, watchBuffer), lagged: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[*watcher]struct{}{}
	}
	w.all[one] = struct{}{}
	return one
}

func (w *watchers) remove(one *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all, one)
}

// publish never waits for a watcher: who is too slow gets a snapshot later.
func (w *watchers) publish(event Event) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for one := range w.all {
		if one.id != 0 && one.id != event.Run.ID {
			continue
		}
		select {
		case one.events <- event:
		default:
			select {
			case one.lagged <- struct{}{}:
			default:
			}
		}
	}
}

// Watch sends events of one run until it has ended, or of all runs (id 0)
// until ctx ends or send fails. It begins with a snapshot of each run that is
// alive, or of the one that was asked for. The progress that it sends of a run
// never falls within one life of the run.
func (e *Engine) Watch(ctx context.Context, id task.RunID, send func(Event) error) error {
	one := e.watchers.add(id)
	defer e.watchers.remove(one)
	s := &sender{e: e, id: id, send: send, high: map[task.RunID]float64{}, marks: map[task.RunID]float64{}}
	if ended, err := s.snapshots(); err != nil || ended {
		return err
	}
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		var err error
		ended := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case event := <-one.events:
			e.estimate(&event)
			ended, err = s.pass(event)
		case <-one.lagged:
			ended, err = s.snapshots()
		case <-tick.C:
			err = s.progress()
		}
		if err != nil || ended {
			return err
		}
	}
}

// sender is one watcher's side of Watch.
type sender struct {
	e    *Engine
	id   task.RunID // 0: all runs
	send func(Event) error

	high  map[task.RunID]float64 // progress that was sent, of runs that are carried out
	marks map[task.RunID]float64 // what the last progress event was about
}

// pass sends the event and reports whether it was the last one.
func (s *sender) pass(event Event) (ended bool, err error) {
	id := event.Run.ID
	if event.Run.Status == task.RunRunning {
		// Events may have been made before a sign of progress that was sent.
		event.Run.Progress = max(event.Run.Progress, s.high[id])
		s.high[id] = event.Run.Progress
	} else {
		delete(s.high, id)
	}
	err = s.send(event)
	return s.id != 0 && event.Kind != EventStep && !event.Run.Status.Alive(), err
}

func (s *sender) snapshots() (ended bool, err error) {
	var runs []task.Run
	err = s.e.Store.View(func(rd Reader) error {
		if s.id != 0 {
			run, err := rd.Run(s.id)
			runs = []task.Run{run}
			return err
		}
		runs = nil
		return rd.ActiveRuns(func(run task.Run) bool {
			runs = append(runs, run)
			return true
		})
	})
	if err != nil {
		return false, err
	}
	for _, run := range runs {
		live := s.e.live(run)
		event := Event{Kind: EventSnapshot, Run: live.Run, ETA: live.ETA, HasETA: live.HasETA, Stuck: live.Stuck, Active: live.Active}
		if ended, err = s.pass(event); err != nil {
			return false, err
		}
	}
	return ended, nil
}

// progress sends what has moved since the last time.
func (s *sender) progress() error {
	seen := map[task.RunID]float64{}
	for _, r := range s.e.watched(s.id) {
		event := r.event(EventProgress)
		if event.Run.Status != task.RunRunning {
			continue // it has not begun, or has just ended
		}
		mark := event.Run.Progress
		for _, v := range event.Active {
			mark += v.Fraction * float64(v.Position.Sub+1) // any change shows
		}
		seen[r.id] = mark
		if old, ok := s.marks[r.id]; ok && old == mark && len(event.Active) == 0 {
			continue
		}
		if _, err := s.pass(event); err != nil {
			return err
		}
	}
	s.marks = seen
	return nil
}

// watched is the runners that a watcher is about.
func (e *Engine) watched(id task.RunID) []*runner {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []*runner
	for _, r := range e.runners {
		if id == 0 || r.id == id {
			list = append(list, r)
		}
	}
	return list
}

// estimate adds the ETA to an event about a run that is alive.
func (e *Engine) estimate(event *Event) {
	if event.Kind != EventRun && event.Kind != EventStep {
		return
	}
	if r := e.runner(event.Run.ID); r != nil {
		live := r.event(event.Kind)
		if live.Run.Status == task.RunRunning && event.Run.Status == task.RunRunning {
			event.Run.Progress = max(event.Run.Progress, live.Run.Progress)
			event.ETA, event.HasETA, event.Stuck = live.ETA, live.HasETA, live.Stuck
		}
	}
}

// event is how the run stands now.
func (r *runner) event(kind EventKind) Event {
	now := r.e.Clock.Now()
	state := r.shown()
	event := Event{Kind: kind, Run: state.run}
	percent := state.base
	for _, a := range state.active {
		view := a.view(now)
		percent += a.part * view.Fraction
		event.Stuck = event.Stuck || view.Stuck
		event.Active = append(event.Active, view)
	}
	event.Active = append(event.Active, state.waiting...)
	if state.run.Status == task.RunRunning {
		r.mu.Lock()
		r.state.high = max(r.state.high, min(percent, almost))
		event.Run.Progress = max(event.Run.Progress, r.state.high)
		r.mu.Unlock()
		event.ETA, event.HasETA = state.estimate(event.Run.Progress, now)
	}
	sortViews(event.Active)
	return event
}

// estimate is the time that is left: by the pace of this life of the run, or
// by what was planned while there is no pace yet.
func (s *shown) estimate(percent float64, now time.Time) (time.Duration, bool) {
	gained, elapsed := percent-s.lifeProgress-s.head, now.Sub(s.lifeStart)
	if gained >= 1 && elapsed > 0 {
		return time.Duration(float64(elapsed) * (100 - percent) / gained), true
	}
	return s.planned, s.planned > 0
}

// view is the attempt as others see it.
func (a *attempt) view(now time.Time) StepView {
	p, fraction := a.seen()
	view := a.lane.view(a.step)
	view.Fraction, view.Note, view.Counters = fraction, p.Note, p.Counters
	elapsed, gained := now.Sub(a.step.AttemptAt), fraction
	a.mu.Lock()
	view.IdleSince, view.Stuck, view.LastSaid, view.LastSaidAt = a.heard, a.stuck, a.said, a.saidAt
	if !a.resumed.IsZero() { // what an earlier attempt has done says nothing of the pace
		elapsed, gained = now.Sub(a.resumed), fraction-a.headFrom
	}
	a.mu.Unlock()
	switch {
	case gained > 0.01:
		view.ETA, view.HasETA = time.Duration(float64(elapsed)*(1-fraction)/gained), true
	case a.step.ETA > 0:
		view.ETA, view.HasETA = max(0, a.step.ETA-elapsed), true
	}
	return view
}
