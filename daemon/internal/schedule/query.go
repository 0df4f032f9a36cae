package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Cursors lists where the schedules of the task stand, by name; its expectation
// is task.ExpectName. A task without any, or that is not there, has none.
func (l *Ledger) Cursors(name string) (list []task.Cursor, err error) {
	err = l.store.View(func(rd Reader) error {
		list = nil
		return l.legible(rd.Cursors(name, func(c task.Cursor) bool {
			if c.Timing != "" {
				list = append(list, c)
			}
			return true
		}))
	})
	return list, err
}

// legible lets a list be without what is damaged. Run tells of that.
func (l *Ledger) legible(err error) error {
	if err == nil || ofStore(err) {
		return err
	}
	l.log.Debug("a list is not whole", "error", err)
	return nil
}

// Upcoming lists up to limit schedules with a time to come, by their due times, from the
// first one behind the given one (nil: from the start); more: there are others
// behind them. Expectations are among them.
func (l *Ledger) Upcoming(after *task.Cursor, limit int) (list []task.Cursor, more bool, err error) {
	err = l.store.View(func(rd Reader) error {
		list, more = nil, false
		return l.legible(rd.DueCursors(after, func(c task.Cursor) bool {
			if c.Next.IsZero() {
				return true // something is to be written down then, no more
			}
			if more = len(list) == limit; more {
				return false
			}
			list = append(list, c)
			return true
		}))
	})
	return list, more, err
}

// HistoryQuery asks for the account of a task.
type HistoryQuery struct {
	Task     string
	Schedule string     // "": all that the task has or had
	After    *task.Slot // the last one of the page before
	Limit    int        // at most so many
}

// History lists slots, the newest nominal time first; more: there are older ones. Of a task that is not
// there it is empty.
func (l *Ledger) History(q HistoryQuery) (list []task.Slot, more bool, err error) {
	err = l.store.View(func(rd Reader) error {
		list, more = nil, false
		names := []string{q.Schedule}
		if q.Schedule == "" {
			names = nil
			err := l.legible(rd.Cursors(q.Task, func(c task.Cursor) bool {
				names = append(names, c.Schedule)
				return true
			}))
			if err != nil {
				return err
			}
		}
		for _, name := range names {
			before := time.Time{}
			if q.After != nil {
				before = q.After.First.Add(time.Second) // another schedule may have one of the same time
			}
			count := 0
			err := l.legible(rd.Slots(q.Task, name, before, func(s task.Slot) bool {
				if q.After != nil && compareSlots(s, *q.After) <= 0 {
					return true
				}
				list = append(list, s)
				count++
				return count <= q.Limit
			}))
			if err != nil {
				return err
			}
		}
		slices.SortFunc(list, compareSlots)
		if more = len(list) > q.Limit; more {
			list = list[:q.Limit]
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("history of task %s: %w", q.Task, err)
	}
	return list, more, err
}

// compareSlots orders by nominal time, the newest first, and by schedule.
func compareSlots(a, b task.Slot) int {
	if c := b.First.Compare(a.First); c != 0 {
		return c
	}
	return strings.Compare(a.Schedule, b.Schedule)
}
