package engine

import (
	"cmp"
	"slices"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// queued is a run that waits for its turn.
type queued struct {
	id task.RunID
	at time.Time // Run.QueuedAt

	turn     string // runs of the same turn are those that a serial one waits for; "": nobody waits for it
	serial   bool
	replaces bool
}

func placeOf(run task.Run) queued {
	q := queued{
		// By the wall clock alone, as Start reads it: both kinds are compared.
		id: run.ID, at: run.QueuedAt.Round(0),
		turn: run.Task, serial: run.Serial, replaces: run.Replaces,
	}
	if run.Cause().Hook() {
		q.turn = run.HookOfRef()
		q.serial = run.HookOf > 0 // on_end waits for what came before it
	}
	return q
}

func (q queued) compare(other queued) int {
	return cmp.Or(q.at.Compare(other.at), cmp.Compare(q.id, other.id))
}

// dispatch starts queued runs while there is room. A serial run that may not
// start yet keeps its place and holds up nobody. The caller holds mu.
func (e *Engine) dispatch() {
	if !e.started || e.stopping {
		return
	}
	for i := 0; i < len(e.queue) && len(e.runners) < e.MaxRuns; {
		next := e.queue[i]
		if next.serial && e.carried[next.turn] > 0 {
			i++
			continue
		}
		if err := e.Store.Room(); err != nil {
			e.recheckSoon()
			return
		}
		e.remove(i)
		e.launch(next)
	}
}

// remove takes one off the queue: mostly the first, which must not cost more
// the longer the queue is.
func (e *Engine) remove(i int) {
	if i == 0 {
		e.queue = e.queue[1:]
		return
	}
	e.queue = slices.Delete(e.queue, i, i+1)
}

// recheckSoon looks at the queue again when there may be room on the disk.
func (e *Engine) recheckSoon() {
	if e.recheck {
		return
	}
	e.recheck = true
	e.Clock.AfterFunc(roomPoll, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.recheck = false
		e.dispatch()
	})
}

// enqueue gives runs that were committed as queued their places.
func (e *Engine) enqueue(all ...queued) {
	if len(all) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, q := range all {
		// Commits may come back in another order than the times were taken in.
		i, found := slices.BinarySearchFunc(e.queue, q, queued.compare)
		if found || e.runners[q.id] != nil {
			continue // Start has found it
		}
		e.queue = slices.Insert(e.queue, i, q)
		if q.replaces && e.started { // else Start does it
			e.replaceOlder(q)
		}
	}
	e.tellMoved()
	e.dispatch()
}

// unqueue takes a run off the queue and reports whether it was there.
func (e *Engine) unqueue(id task.RunID) (queued, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.queue, func(q queued) bool { return q.id == id })
	if i < 0 {
		return queued{}, false
	}
	q := e.queue[i]
	e.remove(i)
	return q, true
}

// position is a queued run's place in the queue from 1, or 0.
func (e *Engine) position(run task.Run) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	i, found := slices.BinarySearchFunc(e.queue, placeOf(run), queued.compare)
	if !found {
		return 0
	}
	return i + 1
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
