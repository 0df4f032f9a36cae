package schedule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Config is what a ledger works with. Store, Clock and Zones are required.
type Config struct {
	Store  Store
	Clock  Clock
	Zones  *Zones
	Logger hclog.Logger // nil: none

	// KeepSlots is how many slots of a schedule are kept, the newest. 0 means
	// KeepSlots, less than 0 all.
	KeepSlots int
}

// Ledger decides what becomes of each due time and keeps the account of it. It
// holds nothing in memory: the store's index of due times is its heap.
type Ledger struct {
	store Store
	clock Clock
	zones *Zones
	log   hclog.Logger
	keep  int
	wake  chan struct{}

	damage string // what Run has told of records that cannot be read
}

// NewLedger makes a ledger; Run makes it go.
func NewLedger(c Config) *Ledger {
	l := &Ledger{store: c.Store, clock: c.Clock, zones: c.Zones, log: c.Logger, keep: c.KeepSlots, wake: make(chan struct{}, 1)}
	if l.log == nil {
		l.log = hclog.NewNullLogger()
	}
	if l.keep == 0 {
		l.keep = KeepSlots
	}
	return l
}

// Wake says that something may be due earlier than Run knows. It does not block.
func (l *Ledger) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run decides on what is due until ctx ends, which is no error, or the store has
// failed.
func (l *Ledger) Run(ctx context.Context) error {
	last := l.clock.Now()
	roomy := true
	for ctx.Err() == nil {
		now := l.clock.Now()
		l.tellJump(last, now)
		last = now

		next, err := l.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, task.ErrStoreFailed):
			return err
		case errors.Is(err, task.ErrDiskFull):
			if roomy {
				l.log.Warn("no run is made while the disk is full", "error", err)
			}
		case err != nil:
			l.log.Error("schedules could not be looked at", "error", err)
		}
		roomy = !errors.Is(err, task.ErrDiskFull)

		pause := MaxSleep
		if err == nil && !next.IsZero() {
			pause = min(pause, next.Sub(l.clock.Now()))
		}
		if pause > 0 {
			l.sleep(ctx, pause)
		}
	}
	return nil
}

func (l *Ledger) sleep(ctx context.Context, d time.Duration) {
	over := make(chan struct{}, 1)
	stop := l.clock.AfterFunc(d, func() {
		select {
		case over <- struct{}{}:
		default:
		}
	})
	defer stop()
	select {
	case <-ctx.Done():
	case <-l.wake:
	case <-over:
	}
}

// tellJump warns when the wall clock went another way than time did.
func (l *Ledger) tellJump(last, now time.Time) {
	switch jump := jumped(now.Round(0).Sub(last.Round(0)), now.Sub(last)); {
	case jump > 0:
		l.log.Warn("the clock is ahead of the time that has passed: it was set, or the machine slept", "by", jump.Round(time.Second).String())
	case jump < 0:
		l.log.Warn("the clock was set back", "by", (-jump).Round(time.Second).String())
	}
}

// jumped is how far the wall clock is off the steady one since the last look.
// Small corrections, as of a time service, are none.
func jumped(wall, steady time.Duration) time.Duration {
	const small = 5 * time.Second
	if off := wall - steady; off > small || off < -small {
		return off
	}
	return 0
}

// look decides on all that is due, and returns when something is due next, or
// zero.
func (l *Ledger) look(ctx context.Context) (time.Time, error) {
	if err := l.followSetBack(ctx); err != nil {
		return time.Time{}, err
	}
	trouble := map[place]error{} // what cannot be decided on, in this look
	stuck := map[place]bool{}    // and what cannot even be put off
	for {
		if err := ctx.Err(); err != nil {
			return time.Time{}, err
		}
		first, err := l.firstDue(stuck)
		if err != nil {
			return time.Time{}, err
		}
		if first.IsZero() || first.After(l.clock.Now()) {
			return first, nil
		}
		// Without room, what is due waits.
		if err := l.store.Room(); err != nil {
			return time.Time{}, err
		}
		err = l.batch(ctx, trouble, stuck)
		if bad, ok := errors.AsType[*placeError](err); ok {
			if trouble[bad.place] != nil {
				l.log.Error("a schedule can neither be decided on nor put off", "task", bad.place.task, "schedule", bad.place.schedule, "error", bad.err)
				stuck[bad.place] = true
			}
			trouble[bad.place] = bad.err
			continue
		}
		if errors.Is(err, errSetBack) {
			if err := l.followSetBack(ctx); err != nil {
				return time.Time{}, err
			}
			continue
		}
		if err != nil {
			return time.Time{}, err
		}
	}
}

func (l *Ledger) firstDue(except map[place]bool) (first time.Time, err error) {
	err = l.store.View(func(rd Reader) error {
		first = time.Time{}
		err := rd.DueCursors(nil, func(c task.Cursor) bool {
			if except[keyOf(c)] {
				return true
			}
			first = c.Due
			return false
		})
		if err == nil || ofStore(err) {
			return err
		}
		if err.Error() != l.damage { // damaged ones are passed over, but not in silence
			l.damage = err.Error()
			l.log.Error("a schedule stands still, because its record cannot be read; saving its task again makes a new one", "error", err)
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("find what is due: %w", err)
	}
	return first, err
}

// place names a cursor.
type place struct{ task, schedule string }

func keyOf(c task.Cursor) place { return place{c.Task, c.Schedule} }

// placeError is an error that is about one cursor alone.
type placeError struct {
	place place
	err   error
}

func (e *placeError) Error() string {
	return fmt.Sprintf("schedule %s of task %s: %v", e.place.schedule, e.place.task, e.err)
}

func (e *placeError) Unwrap() error { return e.err }

// ofStore reports whether the error is about the whole store, so that no single
// schedule is to blame.
func ofStore(err error) bool {
	return errors.Is(err, task.ErrDiskFull) || errors.Is(err, task.ErrStoreFailed) || errors.Is(err, errSetBack) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
