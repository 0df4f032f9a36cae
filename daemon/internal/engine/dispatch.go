package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// maxSleep is the longest time between two looks at the clock while a run waits
// for its time: the clock may be set.
const maxSleep = 30 * time.Second

// dispatch starts queued runs while there is room. The caller holds mu.
func (e *Engine) dispatch() {
	if !e.started || e.stopping {
		return
	}
	e.queue.tick(e.Clock.Now())
	for len(e.runners) < e.MaxRuns {
		next := e.queue.first()
		if next == nil {
			break
		}
		if err := e.Store.Room(); err != nil {
			e.lookAgainIn(roomPoll)
			return
		}
		e.launch(next)
	}
	if next := e.queue.next(); !next.IsZero() {
		e.lookAgainIn(min(maxSleep, next.Sub(e.Clock.Now())))
	}
}

// lookAgainIn plans a look at the queue, if none is planned that comes before it.
// The caller holds mu.
func (e *Engine) lookAgainIn(d time.Duration) {
	at := e.Clock.Now().Add(d)
	if e.stopLook != nil {
		if !at.Before(e.lookAt) {
			return
		}
		e.stopLook()
	}
	e.looks++
	look := e.looks
	e.lookAt = at
	e.stopLook = e.Clock.AfterFunc(max(0, d), func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if look != e.looks {
			return // another one has taken its place
		}
		e.stopLook = nil
		e.dispatch()
	})
}

// enqueue gives runs that were committed as queued their places.
func (e *Engine) enqueue(all ...*queued) {
	if len(all) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.Clock.Now()
	for _, q := range all {
		if e.runners[q.id] != nil || !e.queue.add(q, now) {
			continue // Start has found it
		}
		if q.replaces && e.started { // else Start does it
			e.replaceOlder(q)
		}
	}
	e.tellMoved()
	e.dispatch()
}

// hold keeps a run that waits where it is and from being started, so that nobody
// overtakes it meanwhile, and others off it. It reports whether the run waited. The
// caller calls release once, and says whether the run waits no more.
func (e *Engine) hold(ctx context.Context, id task.RunID) (release func(gone bool), waited bool, err error) {
	e.mu.Lock()
	waited = e.queue.waits(id)
	e.mu.Unlock()
	if !waited {
		return nil, false, nil
	}
	free, err := e.claim(ctx, id)
	if err != nil {
		return nil, false, err
	}
	e.mu.Lock()
	waited = e.queue.hold(id)
	e.mu.Unlock()
	if !waited { // it was started, or cancelled by somebody else
		free()
		return nil, false, nil
	}
	return func(gone bool) {
		e.mu.Lock()
		defer free()
		defer e.mu.Unlock()
		e.queue.letGo(id)
		if gone {
			e.queue.remove(id)
			e.tellMoved()
		}
		e.dispatch()
	}, true, nil
}

// waiting is a queued run's place in the queue from 1, or 0 while its time has
// not come, and what it waits for in words.
func (e *Engine) waiting(id task.RunID) (place int, waitsFor string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	place, waitsFor = e.queue.position(id), e.queue.waitsFor(id)
	if place == 0 || waitsFor != "" {
		return place, waitsFor
	}
	return place, e.full()
}

// full is why nothing more is started at all. The caller holds mu.
func (e *Engine) full() string {
	if len(e.runners) >= e.MaxRuns {
		return fmt.Sprintf("a place: max_runs of the daemon is %d", e.MaxRuns)
	}
	if e.Store.Room() != nil {
		return "room in the state directory"
	}
	return ""
}

// tellMoved wakes those who wait for a change of queue or runners. The caller
// holds mu.
func (e *Engine) tellMoved() {
	if e.moved != nil {
		close(e.moved)
		e.moved = nil
	}
}

// awaitMove returns a channel that is closed at the next change of queue or
// runners, and whether the engine stops.
func (e *Engine) awaitMove() (moved <-chan struct{}, stopping bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.moved == nil {
		e.moved = make(chan struct{})
	}
	return e.moved, e.stopping
}
