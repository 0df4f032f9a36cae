package schedule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/daemon/internal/task"
)

const (
	// batchSize is how many schedules one transaction decides on: it is the
	// price of one commit, shared, and how long others wait for theirs.
	batchSize = 64
	// chunkSize is how many due times of one schedule one step decides on.
	chunkSize = 5000
	// putOffFor is how long a schedule waits that cannot be decided on, unless
	// it is changed.
	putOffFor = time.Hour
)

// note is a line for the log, once the transaction is durable.
type note struct {
	level hclog.Level
	text  string
	args  []any
}

// batch decides on the schedules that are due first, in one transaction. Those
// in trouble are put off, those that are stuck left alone.
func (l *Ledger) batch(ctx context.Context, trouble map[place]error, stuck map[place]bool) error {
	var notes []note
	err := l.store.Update(ctx, func(tx Tx) error {
		notes = nil
		at, err := l.instant(tx)
		if err != nil {
			return err
		}
		// What is on time comes first: others' backlog must not make it late.
		late := task.Cursor{Due: at.Add(-OnTime)}
		var due []task.Cursor
		collect := func(limit int) func(c task.Cursor) bool {
			return func(c task.Cursor) bool {
				if c.Due.After(at) {
					return false
				}
				if !stuck[keyOf(c)] && !slices.ContainsFunc(due, func(d task.Cursor) bool { return keyOf(d) == keyOf(c) }) {
					due = append(due, c)
				}
				return len(due) < limit
			}
		}
		err = tx.DueCursors(&late, collect(batchSize/2))
		err = cmp.Or(err, tx.DueCursors(nil, collect(batchSize)))
		if err != nil && len(due) == 0 {
			return err
		}
		// A transaction works off so many times, not so many schedules: the
		// backlog of one is a whole batch.
		budget := chunkSize
		for _, c := range due {
			if budget <= 0 {
				break
			}
			d := &decision{Ledger: l, tx: tx, at: at, cur: c, budget: budget, notes: &notes}
			if err := l.guarded(d, trouble[keyOf(c)]); err != nil {
				if ofStore(err) {
					return err
				}
				return &placeError{keyOf(c), err}
			}
			budget -= d.done
		}
		return l.mark(tx, at)
	})
	if err != nil {
		return err
	}
	for _, n := range notes {
		l.log.Log(n.level, n.text, n.args...)
	}
	return nil
}

// guarded is one, with a fault of the code made an error of that schedule, so
// that the others go on.
func (l *Ledger) guarded(d *decision, trouble error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("a fault in stepd: %v", fault)
		}
	}()
	return l.one(d, trouble)
}

// one decides on one schedule that is due.
func (l *Ledger) one(d *decision, trouble error) error {
	if trouble != nil {
		return d.putOff(trouble)
	}
	t, err := d.tx.Task(d.cur.Task)
	if errors.Is(err, task.ErrNotFound) {
		return d.tx.DeleteCursor(d.cur.Task, d.cur.Schedule)
	}
	if err != nil {
		return err
	}
	found, err := d.prepare(&t)
	switch {
	case errors.Is(err, task.ErrInvalid):
		return d.putOff(err)
	case err != nil:
		return err
	case !found:
		return d.retire()
	}
	before := d.cur
	if _, err := d.decide(); err != nil {
		return err
	}
	if err := d.arm(); err != nil {
		return err
	}
	if !d.cur.Due.IsZero() && !d.cur.Due.After(d.at) && !d.cur.Last.After(before.Last) {
		return errors.New("it is due and does not move")
	}
	return d.put()
}
