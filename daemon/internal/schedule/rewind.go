package schedule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// setBackBy is how far the clock may be behind the newest decision without
// having been set back. Until it has caught up, that decision's time is now.
const setBackBy = time.Second

// errSetBack: the clock is behind decisions, which are to be rewound first.
var errSetBack = errors.New("the clock was set back")

// instant is the time at which the transaction decides, which never goes back,
// or errSetBack.
func (l *Ledger) instant(tx Tx) (time.Time, error) {
	now := l.clock.Now().Round(0)
	mark, err := l.clockMark(tx)
	switch {
	case err != nil:
		return now, err
	case mark.Sub(now) > setBackBy:
		return now, errSetBack
	case now.Before(mark):
		return mark, nil
	}
	return now, nil
}

// clockMark is the mark, or zero when it cannot be read: it guards against clocks
// that go back, which is worth no standstill. The next decision writes it anew.
func (l *Ledger) clockMark(rd Reader) (time.Time, error) {
	mark, err := rd.ClockMark()
	if err == nil || ofStore(err) {
		return mark, err
	}
	l.log.Error("the time of the newest decision cannot be read and is taken for now", "error", err)
	return time.Time{}, nil
}

// mark notes that was decided at that time.
func (l *Ledger) mark(tx Tx, at time.Time) error {
	mark, err := l.clockMark(tx)
	if err != nil || !at.After(mark) {
		return err
	}
	return tx.PutClockMark(at.UTC())
}

// followSetBack looks whether the clock was set back, and if so opens the times
// ahead of it again. It is done with when the mark is set back too: until then it begins
// anew, as after a crash.
func (l *Ledger) followSetBack(ctx context.Context) error {
	var mark time.Time
	var ahead []place
	now := l.clock.Now().Round(0)
	err := l.store.View(func(rd Reader) (err error) {
		ahead = nil
		if mark, err = l.clockMark(rd); err != nil || mark.Sub(now) <= setBackBy {
			return err
		}
		err = rd.Cursors("", func(c task.Cursor) bool {
			if isAhead(c, now) {
				ahead = append(ahead, keyOf(c))
			}
			return true
		})
		if err != nil && !ofStore(err) {
			l.log.Error("not all schedules could be read when the clock was set back", "error", err)
			err = nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("compare the clock with the newest decision: %w", err)
	}
	if mark.Sub(now) <= setBackBy {
		return nil
	}
	l.log.Warn("the clock was set back: later times are open again, apart from those for which a run was made",
		"by", mark.Sub(now).Round(time.Second).String(), "schedules", len(ahead))
	for part := range slices.Chunk(ahead, batchSize) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.rewindPart(ctx, part, now); err != nil {
			return err
		}
	}
	return l.store.Update(ctx, func(tx Tx) error { return tx.PutClockMark(now.UTC()) })
}

// rewindPart rewinds these cursors in one transaction, or, when one of them
// cannot be, each in its own.
func (l *Ledger) rewindPart(ctx context.Context, part []place, now time.Time) error {
	err := l.store.Update(ctx, func(tx Tx) error {
		for _, p := range part {
			cur, err := tx.Cursor(p.task, p.schedule)
			if errors.Is(err, task.ErrNotFound) {
				continue
			}
			if err != nil {
				return &placeError{p, err}
			}
			if err := l.rewind(tx, cur, now); err != nil && ofStore(err) {
				return err
			} else if err != nil {
				return &placeError{p, err}
			}
		}
		return nil
	})
	bad, ok := errors.AsType[*placeError](err)
	switch {
	case !ok:
		return err
	case len(part) == 1:
		l.log.Error("a schedule could not follow the clock that was set back", "task", bad.place.task, "schedule", bad.place.schedule, "error", bad.err)
		return nil
	}
	for i := range part {
		if err := l.rewindPart(ctx, part[i:i+1], now); err != nil {
			return err
		}
	}
	return nil
}

// rewindTask is followSetBack for one task, whose change cannot wait for it. The
// mark stays.
func (l *Ledger) rewindTask(tx Tx, name string, now time.Time) error {
	var ahead []task.Cursor
	err := tx.Cursors(name, func(c task.Cursor) bool {
		if isAhead(c, now) {
			ahead = append(ahead, c)
		}
		return true
	})
	if err != nil && ofStore(err) {
		return err
	}
	for _, c := range ahead {
		if err := l.rewind(tx, c, now); err != nil {
			return err
		}
	}
	return nil
}

func isAhead(c task.Cursor, now time.Time) bool { return c.Last.After(now) || c.Since.After(now) }

// rewind opens the times of a schedule again that are ahead of the clock, apart
// from those for which a run was made.
func (l *Ledger) rewind(tx Tx, cur task.Cursor, now time.Time) error {
	if !isAhead(cur, now) {
		return nil
	}
	d := &decision{Ledger: l, tx: tx, at: now, cur: cur}
	ahead, tail, err := slotsAhead(tx, cur, now)
	if err != nil {
		return err
	}
	for _, s := range ahead {
		if s.Run > 0 {
			continue
		}
		if err := tx.DeleteSlot(s.Task, s.Schedule, s.First); err != nil {
			return err
		}
		d.cur.Slots--
	}
	second := now.UTC().Truncate(time.Second)
	if d.cur.Since.After(now) {
		d.cur.Since = second
	}
	if d.cur.Last.After(now) {
		d.cur.Last = second
	}
	t, err := tx.Task(cur.Task)
	if err != nil && !errors.Is(err, task.ErrNotFound) {
		return err
	}
	found := false
	if err == nil {
		found, err = d.prepare(&t)
	}
	invalid := errors.Is(err, task.ErrInvalid)
	if err != nil && !invalid && !errors.Is(err, task.ErrNotFound) {
		return err
	}
	usable := found && !invalid
	if tail != nil && tail.Last.After(now) {
		ofThis := usable && tail.Last.After(cur.Since) // else of an older timing
		if err := tx.PutSlot(d.cut(*tail, second, ofThis)); err != nil {
			return err
		}
		ahead = append(ahead, *tail)
	}
	if usable && d.plan == nil {
		ofOlder := func(s task.Slot) bool { return !s.First.After(cur.Since) }
		if err := d.stayMet(slices.DeleteFunc(ahead, ofOlder)); err != nil {
			return err
		}
	}
	switch {
	case invalid:
		return d.putOff(err)
	case !found:
		return d.retire()
	}
	if err := d.loadTaken(); err != nil { // the slot that was cut
		return err
	}
	if err := d.arm(); err != nil {
		return err
	}
	return d.put()
}

// slotsAhead are those that begin ahead of the clock, and the newest other one.
func slotsAhead(tx Tx, cur task.Cursor, now time.Time) (ahead []task.Slot, tail *task.Slot, err error) {
	err = tx.Slots(cur.Task, cur.Schedule, time.Time{}, func(s task.Slot) bool {
		if !s.First.After(now) {
			tail = &s
			return false
		}
		ahead = append(ahead, s)
		return true
	})
	if err != nil && !ofStore(err) { // damage: what was read is good
		err = nil
	}
	return ahead, tail, err
}

// stayMet keeps the next deadline met if it was: the run completed in the period
// that is now, and the cursor may know of a newer one only.
func (d *decision) stayMet(before []task.Slot) error {
	next := d.rule.Next(d.at)
	for _, s := range before {
		if s.Outcome == task.SlotMet && !next.IsZero() && !s.First.After(next) && !s.Last.Before(next) {
			s.First, s.Last, s.Due, s.Count = next.UTC(), next.UTC(), next.UTC(), 1
			d.cur.Slots++
			return d.tx.PutSlot(s)
		}
	}
	return nil
}

// cut ends a series of times at the given one. Where the rule cannot tell how
// many are left, the count is unknown.
func (d *decision) cut(s task.Slot, end time.Time, usable bool) task.Slot {
	if !usable {
		s.Last, s.Due, s.Count = end, time.Time{}, 0
		return s
	}
	s.Last, s.Due, s.Count = s.First, time.Time{}, 1
	const most = settleChunks * chunkSize
	for next := d.rule.Next(s.First); !next.IsZero() && !next.After(end); next = d.rule.Next(next) {
		if s.Count++; s.Count > most {
			s.Last, s.Count = d.rule.Before(end.Add(time.Second)).UTC(), 0
			return s
		}
		s.Last = next.UTC()
	}
	if s.Count == 1 {
		s.Due = d.due(s.First).UTC()
	}
	return s
}
