package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Cursor returns where a schedule stands, or task.ErrNotFound.
func (tx *Tx) Cursor(name, schedule string) (task.Cursor, error) {
	var c task.Cursor
	found, err := false, checkSchedule(name, schedule)
	if err == nil {
		found, err = tx.load(bucketCursors, cursorKey(name, schedule), &c)
		if err != nil {
			return task.Cursor{}, err
		}
	}
	if !found {
		return c, notFound("the cursor of task %q, schedule %q", name, schedule)
	}
	return c, nil
}

// Cursors calls fn for each cursor of the task, or of all tasks (name ""), by
// task and schedule, until it returns false. Damaged ones do not keep it from
// the others: it fails with the first of them (*CorruptError) when it is done.
func (tx *Tx) Cursors(name string, fn func(task.Cursor) bool) error {
	var prefix key
	if name != "" {
		if checkName("task", name) != nil {
			return nil
		}
		prefix = namePrefix(name)
	}
	var passed error
	err := tx.walk(bucketCursors, prefix, prefix, func(k key, payload []byte, damage error) (bool, error) {
		var c task.Cursor
		if damage == nil {
			damage = decode(tx.path, bucketCursors, k, payload, &c)
		}
		if damage != nil {
			passed = cmp.Or(passed, damage)
			return true, nil
		}
		return fn(c), nil
	})
	return cmp.Or(err, passed)
}

// DueCursors calls fn for each cursor with a Due, the earliest first and those
// of one time by task and schedule, from the first one behind the given one
// (nil: from the start), until it returns false. A cursor whose Due fn moves
// ahead comes again. Damaged ones do not keep it from the others: it fails
// with the first of them (*CorruptError) when it is done.
func (tx *Tx) DueCursors(after *task.Cursor, fn func(task.Cursor) bool) error {
	var start key
	if after != nil {
		start = append(dueKey(after.Due, after.Task, after.Schedule), 0)
	}
	var passed error
	// An entry is nothing but its key, and what its cursor says of it: whether
	// its own checksum holds makes no difference.
	err := tx.walk(bucketDue, nil, start, func(k key, _ []byte, _ error) (bool, error) {
		_, name, schedule, _ := splitDue(k)
		c, err := tx.Cursor(name, schedule)
		if errors.Is(err, task.ErrNotFound) {
			err = tx.corrupt(bucketDue, k, "there is no such cursor")
		} else if err == nil && !isDue(k, &c) {
			err = tx.corrupt(bucketDue, k, "its cursor is due at another time: %s", c.Due)
		}
		if err != nil {
			passed = cmp.Or(passed, err)
			return true, nil
		}
		return fn(c), nil
	})
	return cmp.Or(err, passed)
}

// isDue reports whether this is the cursor's place in the index.
func isDue(k []byte, c *task.Cursor) bool {
	return !c.Due.IsZero() && bytes.Equal(k, dueKey(c.Due, c.Task, c.Schedule))
}

// PutCursor writes the cursor and its place in the index of due times, which
// one without a Due has not. Times come back in UTC.
func (tx *Tx) PutCursor(c task.Cursor) error {
	if err := checkSchedule(c.Task, c.Schedule); err != nil {
		return err
	}
	// A zone whose offset has seconds would come back as another time, and
	// then its place in the index would never be found again.
	utc(&c.Since, &c.Last, &c.Next, &c.Due, &c.Completed)
	var place key
	if !c.Due.IsZero() {
		place = dueKey(c.Due, c.Task, c.Schedule)
	}
	there, err := tx.leavePlace(c.Task, c.Schedule, place)
	if err != nil {
		return err
	}
	if place != nil && !there {
		if err := tx.put(bucketDue, place, nil); err != nil {
			return err
		}
	}
	return tx.save(bucketCursors, cursorKey(c.Task, c.Schedule), &c)
}

// DeleteCursor removes the cursor and its place in the index of due times, of
// a damaged one as well. It is no error that there is none.
func (tx *Tx) DeleteCursor(name, schedule string) error {
	if err := tx.writable(); err != nil {
		return err
	}
	if checkSchedule(name, schedule) != nil {
		return nil
	}
	if _, err := tx.leavePlace(name, schedule, nil); err != nil {
		return err
	}
	return tx.remove(bucketCursors, cursorKey(name, schedule))
}

// leavePlace removes what the index of due times has for the cursor, unless it
// is this place already.
func (tx *Tx) leavePlace(name, schedule string, place key) (there bool, err error) {
	old, err := tx.Cursor(name, schedule)
	if _, damaged := errors.AsType[*CorruptError](err); damaged {
		return false, tx.sweepDue(name, schedule)
	}
	if errors.Is(err, task.ErrNotFound) || err == nil && old.Due.IsZero() {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	k := dueKey(old.Due, name, schedule)
	if bytes.Equal(k, place) {
		return true, nil
	}
	return false, tx.remove(bucketDue, k)
}

// sweepDue removes what the index of due times has for a cursor that cannot be
// read. It looks at all keys of the index.
func (tx *Tx) sweepDue(name, schedule string) error {
	suffix := cursorKey(name, schedule)
	var found []key
	c := tx.bucket(bucketDue).Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if len(k) >= 8 && bytes.Equal(k[8:], suffix) {
			found = append(found, bytes.Clone(k))
		}
	}
	for _, k := range found {
		if err := tx.remove(bucketDue, k); err != nil {
			return err
		}
	}
	return nil
}

// Slots calls fn newest first for the slots of one schedule, from the first
// one whose First is before the given time (zero: from the newest), until it
// returns false.
func (tx *Tx) Slots(name, schedule string, before time.Time, fn func(task.Slot) bool) error {
	if checkSchedule(name, schedule) != nil {
		return nil
	}
	end := afterSlots(name, schedule)
	if !before.IsZero() {
		end = slotKey(name, schedule, before)
	}
	return tx.scanBack(bucketSlots, slotPrefix(name, schedule), end, func(k key, payload []byte) (bool, error) {
		var s task.Slot
		if err := decode(tx.path, bucketSlots, k, payload, &s); err != nil {
			return false, err
		}
		return fn(s), nil
	})
}

// PutSlot writes the slot under its First. Times come back in UTC.
// task.ErrInvalid when First is not between the years 1678 and 2262: there its
// key could be that of another one.
func (tx *Tx) PutSlot(s task.Slot) error {
	if err := checkSchedule(s.Task, s.Schedule); err != nil {
		return err
	}
	if !countable(s.First) {
		return fmt.Errorf("%w: the slot of task %q, schedule %q, is of %s; times from 1678 to 2262 are kept", task.ErrInvalid, s.Task, s.Schedule, s.First)
	}
	utc(&s.First, &s.Last, &s.Due, &s.At)
	return tx.save(bucketSlots, slotKey(s.Task, s.Schedule, s.First), &s)
}

// DeleteSlot removes one slot. It is no error that there is none.
func (tx *Tx) DeleteSlot(name, schedule string, first time.Time) error {
	if checkSchedule(name, schedule) != nil {
		return tx.writable()
	}
	return tx.remove(bucketSlots, slotKey(name, schedule, first))
}

// DeleteOldestSlots removes up to limit slots of the schedule, the oldest
// first, and returns how many.
func (tx *Tx) DeleteOldestSlots(name, schedule string, limit int) (int, error) {
	if err := tx.writable(); err != nil || checkSchedule(name, schedule) != nil {
		return 0, err
	}
	prefix := slotPrefix(name, schedule)
	return tx.removeRange(bucketSlots, prefix, prefix, limit)
}

// ClockMark is the time that PutClockMark was given, in UTC, or zero.
func (tx *Tx) ClockMark() (time.Time, error) {
	var mark time.Time
	_, err := tx.load(bucketMeta, key(keyClockMark), &mark)
	return mark, err
}

// PutClockMark keeps the latest time at which was decided.
func (tx *Tx) PutClockMark(mark time.Time) error {
	return tx.save(bucketMeta, key(keyClockMark), mark.UTC())
}

func checkSchedule(name, schedule string) error {
	return cmp.Or(checkName("task", name), checkName("schedule", schedule))
}

func utc(times ...*time.Time) {
	for _, t := range times {
		*t = t.UTC()
	}
}
