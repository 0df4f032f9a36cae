package store_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// spot is a schedule of a task.
type spot struct{ task, schedule string }

func compareSpots(a, b spot) int {
	return cmp.Or(cmp.Compare(a.task, b.task), cmp.Compare(a.schedule, b.schedule))
}

// scheduleModel is what a store has to know of schedules, in maps. There is no
// index of due times in it.
type scheduleModel struct {
	cursors map[spot]task.Cursor
	slots   map[spot]map[int64]task.Slot // by the nanoseconds of First
	mark    time.Time
}

func newScheduleModel() scheduleModel {
	return scheduleModel{cursors: map[spot]task.Cursor{}, slots: map[spot]map[int64]task.Slot{}}
}

func (m *scheduleModel) clone() scheduleModel {
	c := scheduleModel{cursors: maps.Clone(m.cursors), slots: map[spot]map[int64]task.Slot{}, mark: m.mark}
	for k, v := range m.slots {
		c.slots[k] = maps.Clone(v)
	}
	return c
}

func (m *scheduleModel) deleteTask(name string) {
	maps.DeleteFunc(m.slots, func(s spot, _ map[int64]task.Slot) bool { return s.task == name })
}

// modelSchedules has names that are the beginning of each other, and others
// that lie around the zero byte in order.
func modelSchedules() []string { return []string{"cron", "cron-2", "c", "cron\x01", task.ExpectName} }

// drawTime draws from few times, on both sides of 1970 and of a nanosecond, so
// that they are often the same; some are in another zone.
func drawTime(t *rapid.T) time.Time {
	ns := rapid.SampledFrom([]int64{-1 << 62, -1e9, -1, 0, 1, 255, 256, 1e9, 1_700_000_000_000_000_000, 1_700_000_000_000_000_001, 1 << 62}).Draw(t, "time")
	at := time.Unix(0, ns).UTC()
	if rapid.Bool().Draw(t, "zone") {
		at = at.In(time.FixedZone("", 3600+28))
	}
	return at
}

// step does one random thing to both.
func (m *scheduleModel) step(t *rapid.T, tx *store.Tx, name string) error {
	s := spot{name, rapid.SampledFrom(modelSchedules()).Draw(t, "schedule")}
	switch rapid.IntRange(0, 9).Draw(t, "schedule op") {
	case 0, 1, 2, 3:
		c := cursorOf(s.task, s.schedule)
		c.Slots = rapid.IntRange(0, 9).Draw(t, "slots")
		if rapid.IntRange(0, 3).Draw(t, "due") > 0 {
			c.Next, c.Due = drawTime(t), drawTime(t)
		}
		m.cursors[s] = c
		return tx.PutCursor(c)
	case 4:
		delete(m.cursors, s)
		return tx.DeleteCursor(s.task, s.schedule)
	case 5, 6:
		slot := slotOf(s.task, s.schedule, drawTime(t))
		slot.Count = rapid.IntRange(1, 9).Draw(t, "count")
		if m.slots[s] == nil {
			m.slots[s] = map[int64]task.Slot{}
		}
		m.slots[s][slot.First.UnixNano()] = slot
		return tx.PutSlot(slot)
	case 7:
		first := drawTime(t)
		delete(m.slots[s], first.UnixNano())
		return tx.DeleteSlot(s.task, s.schedule, first)
	case 8:
		limit := rapid.IntRange(0, 4).Draw(t, "oldest")
		oldest := slices.Sorted(maps.Keys(m.slots[s]))
		oldest = oldest[:min(limit, len(oldest))]
		for _, first := range oldest {
			delete(m.slots[s], first)
		}
		n, err := tx.DeleteOldestSlots(s.task, s.schedule, limit)
		if n != len(oldest) {
			err = errors.Join(err, fmt.Errorf("deleted %d slots, want %d", n, len(oldest)))
		}
		return err
	default:
		m.mark = drawTime(t)
		return tx.PutClockMark(m.mark)
	}
}

// compare reads all by its listings, the index from each of its places on.
func (m *scheduleModel) compare(tx *store.Tx) error {
	var errs []error
	equal := func(what string, want, got any, err error) {
		if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
			errs = append(errs, fmt.Errorf("%s: %v %s", what, err, diff))
		}
	}
	var want []task.Cursor
	for _, s := range slices.SortedFunc(maps.Keys(m.cursors), compareSpots) {
		want = append(want, m.cursors[s])
		got, err := tx.Cursor(s.task, s.schedule)
		equal("cursor", m.cursors[s], got, err)
	}
	got, err := list(func(fn func(task.Cursor) bool) error { return tx.Cursors("", fn) })
	equal("cursors", want, got, err)
	for _, name := range modelNames {
		got, err := list(func(fn func(task.Cursor) bool) error { return tx.Cursors(name, fn) })
		equal("cursors of "+name, slices.DeleteFunc(slices.Clone(want), func(c task.Cursor) bool { return c.Task != name }), got, err)
		for _, schedule := range modelSchedules() {
			errs = append(errs, m.compareSlots(tx, spot{name, schedule}))
		}
	}

	want = slices.DeleteFunc(want, func(c task.Cursor) bool { return c.Due.IsZero() })
	slices.SortStableFunc(want, func(a, b task.Cursor) int { return a.Due.Compare(b.Due) })
	got, err = list(func(fn func(task.Cursor) bool) error { return tx.DueCursors(nil, fn) })
	equal("due", want, got, err)
	var order []string
	for _, c := range want {
		places(&order)(c)
	}
	for i := range want {
		var rest []string
		if err := tx.DueCursors(&want[i], places(&rest)); err != nil || !slices.Equal(rest, order[i+1:]) {
			errs = append(errs, fmt.Errorf("due after %s: %q, want %q (%v)", order[i], rest, order[i+1:], err))
		}
	}
	mark, err := tx.ClockMark()
	equal("clock mark", m.mark, mark, err)
	return errors.Join(errs...)
}

func (m *scheduleModel) compareSlots(tx *store.Tx, s spot) error {
	var want []task.Slot
	for _, first := range slices.Backward(slices.Sorted(maps.Keys(m.slots[s]))) {
		want = append(want, m.slots[s][first])
	}
	var errs []error
	for i := range len(want) + 1 {
		var before time.Time
		if i > 0 {
			before = want[i-1].First
		}
		got, err := list(func(fn func(task.Slot) bool) error { return tx.Slots(s.task, s.schedule, before, fn) })
		if diff := gocmp.Diff(slices.Clone(want[i:]), got, cmpopts.EquateEmpty()); err != nil || diff != "" {
			errs = append(errs, fmt.Errorf("slots of %v before %s: %v %s", s, before, err, diff))
		}
	}
	return errors.Join(errs...)
}

// list collects what a listing calls its function with.
func list[T any](listing func(func(T) bool) error) (all []T, err error) {
	err = listing(func(one T) bool { all = append(all, one); return true })
	return all, err
}
