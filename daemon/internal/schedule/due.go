package schedule

import (
	"errors"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Due reports whether a time of the task's schedules has come after since, and
// after the schedule was saved as it is, up to now; with a jitter, whether that
// has passed too. What the ledger made of that time plays no part, nor whether
// the task is held. A fixed delay is due from its time on until a run is made.
func (l *Ledger) Due(rd Reader, t *task.Task, since, now time.Time) (bool, error) {
	for _, s := range t.Schedules {
		c, err := rd.Cursor(t.Name, s.Name)
		switch {
		case errors.Is(err, task.ErrNotFound) || err == nil && c.Timing != s.Timing():
			c = task.Cursor{Since: t.UpdatedAt.Truncate(time.Second)} // its cursor is made with the next look
		case err != nil:
			return false, err
		}
		if s.Delay > 0 {
			if !c.Next.IsZero() && c.Next.After(since) && !c.Due.After(now) {
				return true, nil
			}
			continue
		}
		rule, err := l.zones.Compile(s, c.Since)
		if err != nil {
			continue // its zone is gone from the database: nothing of it is due
		}
		after := since
		if c.Since.After(after) {
			after = c.Since
		}
		nominal := rule.Next(after)
		if !nominal.IsZero() && !rule.Due(t.Name, s.Name, nominal).After(now) {
			return true, nil
		}
	}
	return false, nil
}
