package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// keeper forgets ended runs that are over what is kept. It is one goroutine from
// Start to Stop, which does a bounded piece of work at a time and nothing that
// anybody waits for.
//
// What it goes by are accounts in memory of how many ended runs each task has, and
// of how many bytes. A run is in them exactly when its record has its size
// (Run.Bytes), which it gets when it has ended; and, while the keeper still counts
// what an earlier life of the daemon left, when it is one of those that have been
// counted. So the work at the end of a run does not grow with history.
type keeper struct {
	e    *Engine
	wake chan struct{} // has room for one

	mu      sync.Mutex
	ended   []task.RunID    // to be measured
	changed map[string]bool // tasks whose definition was
	all     bool            // look at all tasks
	later   []task.RunID    // could not be measured for want of room

	// Of the goroutine:
	needed   bool       // something has limits
	counted  task.RunID // all runs up to it are in the accounts
	whole    bool       // all runs are
	accounts map[string]*account
	total    int64           // bytes of all
	due      map[string]bool // tasks that may have too much
	over     bool            // all together may have too much
	from     task.RunID      // where to look for what all together have too much

	// stuck are runs that could not be forgotten: they are taken for gone, so that
	// others are neither kept for them nor go in their place, until Retain.
	stuck      map[task.RunID]bool
	stuckBytes int64
}

// account sums up ended runs of a task.
type account struct {
	runs  kinds
	bytes int64
}

// kinds counts a task's own runs, and those of its hooks, by themselves: a task
// that failed for a month must not lose its own runs over what was started because
// of that.
type kinds [2]int

func kindOf(run *task.Run) int {
	if run.Cause().Hook() {
		return 1
	}
	return 0
}

const (
	keepScan    = 500 // records that are looked at in one piece
	keepMeasure = 64  // runs that are measured in one commit
	keepMisses  = 64  // runs of a task that may stay before looking on is pointless
	keepLater   = 10_000
	keepPause   = 2 * time.Millisecond
)

func newKeeper(e *Engine) *keeper {
	return &keeper{e: e, wake: make(chan struct{}, 1), changed: map[string]bool{}, accounts: map[string]*account{}, due: map[string]bool{}, stuck: map[task.RunID]bool{}}
}

// Retain applies what is kept to all runs, in the background. It is called now
// and then: days pass without anything happening.
func (e *Engine) Retain() {
	e.keeper.tell(func(k *keeper) { k.all = true })
}

// runEnded has the run measured, and its task looked at.
func (k *keeper) runEnded(id task.RunID) {
	k.tell(func(k *keeper) { k.ended = append(k.ended, id) })
}

// taskChanged has the task looked at.
func (k *keeper) taskChanged(name string) {
	k.tell(func(k *keeper) { k.changed[name] = true })
}

func (k *keeper) tell(what func(*keeper)) {
	k.mu.Lock()
	what(k)
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// main works until the engine stops.
func (k *keeper) main() {
	k.needed = k.e.KeepRuns > 0 || k.e.KeepDays > 0 || k.e.KeepBytes > 0
	if !k.needed {
		k.attempt("look for tasks that limit what is kept", k.lookForLimits)
	}
	for {
		select {
		case <-k.e.stopped:
			return
		default:
		}
		if k.piece() {
			continue
		}
		select {
		case <-k.wake:
		case <-k.e.stopped:
			return
		}
	}
}

// attempt does something whose fault leaves old runs where they are.
func (k *keeper) attempt(what string, do func() error) bool {
	err := do()
	if err != nil && !errors.Is(err, task.ErrStopping) && !errors.Is(err, task.ErrStoreFailed) {
		k.e.Logger.Warn("old runs may stay: cannot "+what, "error", err)
	}
	return err == nil
}

func (k *keeper) lookForLimits() error {
	return k.e.Store.View(func(rd Reader) error {
		return rd.Tasks("", func(t task.Task) bool {
			k.needed = t.Keep != task.Keep{}
			return !k.needed
		})
	})
}

// lookAt does so for those tasks alone.
func (k *keeper) lookAt(names map[string]bool) error {
	return k.e.Store.View(func(rd Reader) error {
		for name := range names {
			t, err := rd.Task(name)
			if ignoreNotFound(err) != nil {
				return err
			}
			if t.Keep != (task.Keep{}) {
				k.needed = true
				return nil
			}
		}
		return nil
	})
}

// piece does one piece of work and reports whether there may be more.
func (k *keeper) piece() bool {
	ended, changed := k.take()
	for name := range changed {
		k.due[name] = true
	}
	if !k.needed && len(changed) > 0 {
		k.attempt("look whether a task limits what is kept", func() error { return k.lookAt(changed) })
	}
	switch {
	case len(ended) > 0:
		if !k.attempt("measure a run", func() error { return k.measure(ended) }) {
			k.postpone(ended)
		}
	case !k.needed:
		clear(k.due)
		return false
	case !k.whole:
		if !k.attempt("count the runs that there are", k.count) {
			return false // until something happens
		}
		k.rest()
	case len(k.due) > 0:
		k.taskDue()
	case k.over && k.e.KeepBytes > 0 && k.total-k.stuckBytes > k.e.KeepBytes:
		if !k.attempt("forget the oldest runs", k.retainTotal) {
			k.over, k.from = false, 0 // until something happens
		}
	default:
		k.over = false
		return false
	}
	return true
}

// rest leaves the processor to others while a long history is counted.
func (k *keeper) rest() {
	if k.whole {
		return
	}
	pause := time.NewTimer(keepPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-k.e.stopped:
	}
}

// postpone has the runs measured with the next ones that end. What may free room
// must not wait for it.
func (k *keeper) postpone(ids []task.RunID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.later) < keepLater {
		k.later = append(k.later, ids...)
	}
}

// take hands out what the goroutine was told.
func (k *keeper) take() (ended []task.RunID, changed map[string]bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.ended) > 0 || k.all {
		k.ended, k.later = append(k.ended, k.later...), nil
	}
	n := min(len(k.ended), keepMeasure)
	ended, k.ended = k.ended[:n:n], k.ended[n:]
	changed, k.changed = k.changed, map[string]bool{}
	if k.all {
		k.all, k.over, k.from = false, true, 0
		clear(k.stuck)
		k.stuckBytes = 0
		for name := range k.accounts {
			k.due[name] = true
		}
	}
	return ended, changed
}

func (k *keeper) account(name string) *account {
	a := k.accounts[name]
	if a == nil {
		a = &account{}
		k.accounts[name] = a
	}
	return a
}

// book changes the accounts by a run, and by its bytes.
func (k *keeper) book(run *task.Run, runs int, bytes int64) {
	a := k.account(run.Task)
	a.runs[kindOf(run)] += runs
	a.bytes += bytes
	k.total += bytes
	if a.runs == (kinds{}) {
		delete(k.accounts, run.Task)
	}
}

// measure notes the sizes of runs that have ended.
func (k *keeper) measure(ids []task.RunID) error {
	sizes := map[task.RunID]int64{}
	for _, id := range ids {
		run, err := k.e.Run(id)
		if err != nil || run.Status.Alive() {
			continue // forgotten or continued meanwhile
		}
		sizes[id] = k.e.sizeOf(run.Run)
	}
	type booking struct {
		run   task.Run
		runs  int
		bytes int64
	}
	var bookings []booking
	err := k.e.Store.Update(context.Background(), func(tx Tx) error {
		bookings = nil
		for _, id := range ids {
			size, ok := sizes[id]
			if !ok {
				continue
			}
			run, err := tx.Run(id)
			if errors.Is(err, task.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if run.Status.Alive() || run.Bytes == size {
				continue
			}
			b := booking{bytes: size - run.Bytes}
			if run.Bytes == 0 {
				b.runs = 1
			}
			run.Bytes = size
			b.run = run
			bookings = append(bookings, b)
			if err := tx.PutRun(run); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, b := range bookings {
		if k.whole || b.run.ID <= k.counted { // the others are counted when it is their turn
			k.book(&b.run, b.runs, b.bytes)
		}
		k.due[b.run.Task], k.over = true, true
	}
	return nil
}

// sizeOf measures a run, at least 1: 0 says that it was not measured.
func (e *Engine) sizeOf(run task.Run) int64 {
	logged, err := e.RunLog.Size(run)
	if err != nil {
		e.Logger.Warn("the log of a run cannot be measured", "run", run.Ref(), "error", err)
	}
	work, err := e.Workspaces.Size(run)
	if err != nil {
		e.Logger.Warn("the directory of a run cannot be measured", "run", run.Ref(), "error", err)
	}
	return max(1, logged+work)
}

// count puts the next runs that there are into the accounts, and has those
// measured that ended before sizes were kept.
func (k *keeper) count() error {
	var known []task.Run
	var unknown []task.RunID
	last, more := k.counted, false
	err := k.e.Store.View(func(rd Reader) error {
		known, unknown, last, more = nil, nil, k.counted, false
		return rd.RunsAfter("", k.counted, func(run task.Run) bool {
			if len(known)+len(unknown) == keepScan || len(unknown) == keepMeasure {
				more = true
				return false
			}
			last = run.ID
			switch {
			case run.Bytes > 0:
				known = append(known, run)
			case !run.Status.Alive():
				unknown = append(unknown, run.ID)
			}
			return true
		})
	})
	if err != nil && last == k.counted {
		return err
	}
	if err != nil { // damaged records are passed over, and stay
		k.e.Logger.Warn("runs cannot be read, and stay", "error", err)
		more = more || len(known)+len(unknown) > 0
	}
	k.counted, k.whole = last, !more
	for i := range known {
		k.book(&known[i], 1, known[i].Bytes)
		k.due[known[i].Task] = true
	}
	k.over = true
	if len(unknown) == 0 {
		return nil
	}
	if err := k.measure(unknown); err != nil {
		k.postpone(unknown)
		return err
	}
	return nil
}
