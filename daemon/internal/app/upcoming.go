package app

import (
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/schedule"
	"github.com/stepd/stepd/daemon/internal/task"
)

// now is the time by the clock that engine and ledger go by.
func (a *App) now() time.Time {
	if a.options.clock != nil {
		return a.options.clock.Now()
	}
	return time.Now()
}

// standing is where the schedules of a task stand, by their names. A task that
// is not saved yet has none.
type standing map[string]task.Cursor

// standing reads the task's cursors. A task without schedules costs nothing.
func (b *backend) standing(t *task.Task) (standing, error) {
	if len(t.Schedules) == 0 && t.Expect == nil {
		return nil, nil
	}
	cursors, err := b.ledger.Cursors(t.Name)
	if err != nil {
		return nil, err
	}
	at := make(standing, len(cursors))
	for _, c := range cursors {
		at[c.Schedule] = c
	}
	return at, nil
}

// wouldRun is the run that the schedules of the task make first once it is saved
// like that.
func (b *backend) wouldRun(t task.Task, now time.Time) (*api.Upcoming, error) {
	at, err := b.standing(&t)
	if err != nil {
		return nil, err
	}
	saved, err := b.engine.Task(t.Name)
	if err != nil {
		return b.firstRun(&t, nil, now), nil
	}
	t.Pause = saved.Pause // which no file says anything of
	for _, s := range t.Schedules {
		// One that was taken out keeps its cursor, and is new when it comes back.
		old := scheduleOf(&saved, s.Name)
		if old == nil || old.Timing() != s.Timing() || s.Delay > 0 && saved.Disabled {
			delete(at, s.Name)
		}
	}
	return b.firstRun(&t, at, now), nil
}

// wouldJudge is when the expectation of the task is judged next once it is saved
// like that; nil: it has none, or is held.
func (b *backend) wouldJudge(t task.Task, now time.Time) (*api.Deadline, error) {
	if t.Expect == nil || t.Disabled || t.Draft() {
		return nil, nil
	}
	since := now.Truncate(time.Second)
	saved, err := b.engine.Task(t.Name)
	if err == nil {
		t.Pause = saved.Pause // which no file says anything of
	}
	if err == nil && saved.Expect != nil && *saved.Expect == *t.Expect {
		at, err := b.standing(&saved)
		if err != nil {
			return nil, err
		}
		if c, ok := at[task.ExpectName]; ok {
			since = c.Since
		}
	}
	rule, err := b.zones.CompileExpect(*t.Expect)
	if err != nil { // a zone that is gone from the database
		return nil, nil
	}
	next := rule.Next(now)
	if t.Held(next) && !t.Pause.Until.IsZero() {
		next = rule.Next(t.Pause.Until.Add(-time.Nanosecond))
	}
	if next.IsZero() || t.Held(next) {
		return nil, nil
	}
	return &api.Deadline{At: next.UTC(), Timezone: t.Expect.Timezone, Excused: schedule.Excused(rule, since, next)}, nil
}

// firstRun is the run that the task's schedules make first as things stand;
// nil: they make none. Schedules that are not saved as they are count from now.
func (a *App) firstRun(t *task.Task, at standing, now time.Time) *api.Upcoming {
	var first *api.Upcoming
	for i := range t.Schedules {
		s := &t.Schedules[i]
		nominal, due := a.nextOf(t, s, at, now)
		if !due.IsZero() && (first == nil || due.Before(first.Due)) {
			u := upcomingJSON(t.Name, s, nominal, due)
			first = &u
		}
	}
	return first
}

// nextOf is when the schedule makes its next run, both zero: it makes none, or
// nobody can say yet. Times at which the task is paused are passed over.
func (a *App) nextOf(t *task.Task, s *task.Schedule, at standing, now time.Time) (nominal, due time.Time) {
	var none time.Time
	if t.HeldForGood() {
		return none, none
	}
	since := now.Truncate(time.Second)
	c, saved := at[s.Name]
	if saved = saved && c.Timing == s.Timing(); saved {
		since = c.Since
		if !c.Next.IsZero() && !t.Held(c.Due) {
			return c.Next, c.Due
		}
	}
	rule, err := a.zones.Compile(*s, since)
	if err != nil { // a zone that is gone from the database
		return none, none
	}
	switch {
	case s.Delay == 0:
		from := now
		if t.Held(now) {
			from = t.Pause.Until.Add(-s.Jitter - time.Second)
		}
		nominal = rule.Next(from)
		for !nominal.IsZero() && t.Held(rule.Due(t.Name, s.Name, nominal)) {
			nominal = rule.Next(nominal)
		}
	case t.Held(now):
		nominal = rule.Admit(t.Pause.Until.Add(s.Delay))
	case !saved:
		nominal = rule.Admit(now.Add(s.Delay))
	}
	if nominal.IsZero() {
		return none, none
	}
	return nominal, rule.Due(t.Name, s.Name, nominal)
}

func upcomingJSON(name string, s *task.Schedule, nominal, due time.Time) api.Upcoming {
	return api.Upcoming{Task: name, Schedule: s.Name, ScheduledFor: nominal.UTC(), Due: due.UTC(), Jitter: duration(s.Jitter), Timezone: s.Timezone}
}
