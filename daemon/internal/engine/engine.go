package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Config is what an engine is made of. All ports but Schedules are required.
type Config struct {
	Store       Store
	Controllers Controllers
	Clock       Clock
	RunLog      RunLog
	Workspaces  Workspaces
	Schedules   Schedules // nil: nothing is told
	Logger      hclog.Logger

	// Expressions is nil where no definition has any.
	Expressions Expressions
	// CheckSettings says what is wrong with settings whose expressions have been
	// replaced, by the controller's schema; nil: nothing is checked.
	CheckSettings func(info task.ControllerInfo, written, settings json.RawMessage) error
	// ControllerLimits is how many steps of a controller are carried out at once,
	// over all runs; one that is not listed has no limit.
	ControllerLimits map[string]int
	// StuckAfter is how long a step may give no sign of progress before it is shown
	// as stuck, where its definition does not say; 0: never.
	StuckAfter time.Duration
	// Detail is that of tasks that name none; empty: task.Simple.
	Detail task.Detail
	// KeepBytes is for all ended runs of all tasks together, 0 for no limit.
	KeepBytes int64

	// Diff says what is different between two definitions of a task; nil: nobody
	// does, and changes are not told.
	Diff func(old, now task.Task) []task.Change

	// MaxRuns is how many runs are carried out at once, at least 1; the others
	// wait, first come first served.
	MaxRuns int
	// KeepRuns is how many ended runs of a task are kept, 0 for all; KeepDays
	// how long, 0 for ever.
	KeepRuns, KeepDays int
	// Jitter varies a pause before a retry; nil means up to a fifth either way.
	Jitter func(time.Duration) time.Duration
}

// Engine carries out runs. Its methods may be called from any goroutine.
type Engine struct {
	Config
	watchers watchers
	keeper   *keeper
	limits   *limiter
	restarts atomic.Int64 // that were begun to be made, while what they restart was claimed

	mu       sync.Mutex
	started  bool
	stopping bool
	queue    *queue
	runners  map[task.RunID]*runner
	busy     map[task.RunID]chan struct{} // runs that are claimed; closed when they are free
	looks    int                          // at the queue that were planned; the newest counts
	lookAt   time.Time
	stopLook func() bool    // nil: none is planned
	stopped  chan struct{}  // closed when it begins to stop
	moved    chan struct{}  // closed at the next change of queue or runners; nil: nobody waits for it
	done     sync.WaitGroup // runners, cleaning and replacing
}

// New makes an engine; Start sets it going.
func New(c Config) (*Engine, error) {
	if c.MaxRuns < 1 {
		return nil, fmt.Errorf("max_runs is %d: at least 1 is needed", c.MaxRuns)
	}
	if c.Jitter == nil {
		c.Jitter = fifthEitherWay
	}
	e := &Engine{Config: c, stopped: make(chan struct{}), limits: newLimiter(c.ControllerLimits), queue: newQueue(), runners: map[task.RunID]*runner{}, busy: map[task.RunID]chan struct{}{}}
	e.keeper = newKeeper(e)
	return e, nil
}

// Start takes up what the last life of the daemon left: runs that were running
// go on, queued ones wait for their turn.
func (e *Engine) Start() error {
	var running, waiting []*queued
	err := e.Store.View(func(r Reader) error {
		return r.ActiveRuns(func(run task.Run) bool {
			if run.Status == task.RunRunning {
				running = append(running, placeOf(run))
			} else {
				waiting = append(waiting, placeOf(run))
			}
			return true
		})
	})
	if err != nil {
		return fmt.Errorf("read the runs that are alive: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.started = true
	e.done.Go(e.keeper.main)
	now := e.Clock.Now()
	for _, q := range waiting {
		e.queue.add(q, now) // what was submitted meanwhile is there already
	}
	for _, q := range running {
		e.launch(q)
	}
	replacing := func(q *queued) {
		if q.replaces { // the last life may have ended before it came to that
			e.replaceOlder(q)
		}
	}
	for _, q := range running {
		replacing(q)
	}
	for _, q := range e.queue.all {
		replacing(q)
	}
	e.dispatch()
	return nil
}

// Stop tells all steps to end (their controllers may save a checkpoint), waits
// for them, and leaves the runs to be taken up by the next Start. When ctx ends
// first, the steps' contexts are all that is left to end them.
func (e *Engine) Stop(ctx context.Context) error {
	e.mu.Lock()
	if !e.stopping {
		close(e.stopped)
	}
	e.stopping = true
	if e.stopLook != nil {
		e.stopLook()
		e.stopLook = nil
	}
	e.tellMoved()
	runners := make([]*runner, 0, len(e.runners))
	for _, r := range e.runners {
		runners = append(runners, r)
	}
	e.mu.Unlock()
	for _, r := range runners {
		r.tell(stopMessage{})
	}
	done := make(chan struct{})
	go func() { e.done.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("steps did not end: %w", context.Cause(ctx))
	}
}

// Load is how many runs are carried out and how many wait.
func (e *Engine) Load() (running, queued int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.runners), e.queue.len()
}

// launch begins a run's runner. The caller holds mu.
func (e *Engine) launch(q *queued) {
	r := newRunner(e, q.id)
	e.runners[q.id] = r
	e.queue.carry(q)
	e.done.Add(1)
	go func() {
		defer e.done.Done()
		r.main()
		e.mu.Lock()
		e.land(q)
		e.dispatch()
		e.mu.Unlock()
		close(r.gone)
		// Nothing is shown of a run that could not even be read.
		if ended := r.shown().run; ended.ID != 0 && !ended.Status.Alive() {
			e.stripOlder(ended)
			e.keeper.runEnded(ended.ID)
		}
	}()
}

// land forgets a runner that is through. The caller holds mu.
func (e *Engine) land(q *queued) {
	delete(e.runners, q.id)
	e.queue.land(q)
	e.tellMoved()
}

// runner finds the runner of a run that is carried out, or nil.
func (e *Engine) runner(id task.RunID) *runner {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.runners[id]
}

// claim keeps others off a run that is not carried out: control calls, and the
// cleaning behind runs. It waits while somebody else has it. The caller calls
// the returned function when it is through.
func (e *Engine) claim(ctx context.Context, id task.RunID) (release func(), err error) {
	mine := make(chan struct{})
	for {
		e.mu.Lock()
		theirs, taken := e.busy[id]
		switch {
		case e.stopping:
			e.mu.Unlock()
			return nil, task.ErrStopping
		case !taken:
			e.busy[id] = mine
			e.mu.Unlock()
			return func() {
				e.mu.Lock()
				delete(e.busy, id)
				e.mu.Unlock()
				close(mine)
			}, nil
		}
		e.mu.Unlock()
		select {
		case <-theirs:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// persist commits fn and does not take a full disk for an answer: it waits
// for room. It returns an error only when the store has failed or the daemon
// stops while there is no room.
func (e *Engine) persist(fn func(Tx) error) error {
	return e.insist(func() error { return e.Store.Update(context.Background(), fn) })
}

// insist is persist for what commits by itself.
func (e *Engine) insist(commit func() error) error {
	for {
		err := commit()
		if !errors.Is(err, task.ErrDiskFull) {
			return err
		}
		e.mu.Lock()
		stopping := e.stopping
		e.mu.Unlock()
		if stopping {
			return err
		}
		e.Logger.Warn("a step's state cannot be saved, waiting for room", "error", err)
		wait := make(chan struct{})
		e.Clock.AfterFunc(roomPoll, func() { close(wait) })
		<-wait
	}
}
