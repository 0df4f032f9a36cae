package engine

import (
	"context"
	"errors"

	"github.com/stepd/stepd/daemon/internal/task"
)

// replaceOlder has those runs cancelled that the run replaces, and keeps it from
// being started before. What a crash or a stop leaves of that is done by the next
// Start. The caller holds mu.
func (e *Engine) replaceOlder(q *queued) {
	if e.stopping {
		return
	}
	e.queue.clear(q.id)
	e.done.Add(1)
	go func() {
		defer e.done.Done()
		e.replace(q.id)
		e.cleared(q.id)
	}()
}

// cleared lets the run start as others do.
func (e *Engine) cleared(id task.RunID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue.cleared(id)
	e.dispatch()
}

// replace returns when the wish to cancel is durable for all of them, when the
// replacing run has itself ended, or when the engine stops.
func (e *Engine) replace(id task.RunID) {
	for {
		moved, stopping := e.awaitMove()
		if stopping {
			return
		}
		older, by, err := e.replaced(id)
		if err != nil {
			e.Logger.Warn("runs that a schedule replaces are not cancelled", "run", id, "error", err)
			return
		}
		if len(older) == 0 {
			return
		}
		var fault error
		for _, run := range older {
			if _, err := e.Cancel(context.Background(), run.ID, by); !errors.Is(err, task.ErrState) { // that one ended by itself
				fault = errors.Join(fault, err)
			}
		}
		switch {
		case fault == nil: // look again: a run may have been between two states
		case errors.Is(fault, task.ErrDiskFull):
			room := make(chan struct{})
			stop := e.Clock.AfterFunc(roomPoll, func() { close(room) })
			select {
			case <-room:
			case <-e.stopped:
				stop()
			}
		case errors.Is(fault, task.ErrStopping):
			// It was committed and has no place yet, or never gets one, as what it is by
			// cannot be read: that must not hold up the night.
			e.cleared(id)
			<-moved
		default:
			e.Logger.Warn("runs that a schedule replaces are not cancelled", "run", id, "error", fault)
			return
		}
	}
}

// replaced lists the runs that are still to be cancelled for that run, and
// names who wants it.
func (e *Engine) replaced(id task.RunID) (older []task.Run, by string, err error) {
	err = e.Store.View(func(rd Reader) error {
		run, err := rd.Run(id)
		if err != nil || !run.Status.Alive() {
			return ignoreNotFound(err)
		}
		by = "schedule " + run.Schedule
		return rd.AliveRuns(run.Task, func(other task.Run) bool {
			if other.Cancel == nil && replaces(run, other) {
				older = append(older, other)
			}
			return true
		})
	})
	return older, by, err
}

// replaces reports whether the other one, which is alive, was so when the run
// was made. Hooks apart.
func replaces(run, other task.Run) bool {
	if other.ID >= run.ID || other.Cause().Hook() || other.NotBefore.After(run.CreatedAt) {
		return false // the last is for later, and stands in nobody's way
	}
	// One that was continued since was not. Ids tell the order where they can:
	// the clock may have been set.
	return other.QueuedAt.Equal(other.CreatedAt) || !other.QueuedAt.After(run.CreatedAt)
}
