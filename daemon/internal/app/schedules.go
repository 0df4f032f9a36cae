package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/schedule"
	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

// schedulePort answers what a task file's parser asks about schedules.
type schedulePort struct{ *App }

func (p schedulePort) Timezone() string { return p.options.Config.Timezone }

// Check finds no fault with the times of a schedule that the saved task has too: they were good when
// it was saved, and that they have passed since is what times do.
func (p schedulePort) Check(name string, s task.Schedule) []task.ScheduleFault {
	if !p.saved(name, s) {
		return p.zones.Check(s, p.now())
	}
	if _, err := p.zones.Compile(s, p.now()); err != nil { // a zone that is gone from the database
		return p.zones.Check(s, time.Time{})
	}
	var faults []task.ScheduleFault
	for _, f := range p.zones.Check(s, time.Time{}) {
		switch f.Field {
		case "missed", "missed_window", "missed_limit", "overlap":
			faults = append(faults, f)
		}
	}
	return faults
}

func (p schedulePort) saved(name string, s task.Schedule) bool {
	t, err := p.engine.Task(name)
	return err == nil && slices.ContainsFunc(t.Schedules, func(old task.Schedule) bool {
		return old.Name == s.Name && old.Timing() == s.Timing()
	})
}

func (p schedulePort) CheckExpect(e task.Expect) []task.ScheduleFault { return p.zones.CheckExpect(e) }

func (b *backend) Pause(ctx context.Context, who api.Caller, name string, request api.PauseRequest) (api.Task, error) {
	p := task.Pause{By: who.By(), Reason: request.Reason}
	if request.Until != nil {
		p.Until = *request.Until
	}
	if request.For != "" {
		d, err := taskfile.ParseDuration(request.For)
		if err != nil {
			return api.Task{}, &api.Error{Code: api.CodeInvalid, Message: "for " + err.Error()}
		}
		p.Until = b.now().Add(d)
	}
	return b.setPause(ctx, who, name, &p)
}

func (b *backend) Resume(ctx context.Context, who api.Caller, name string) (api.Task, error) {
	return b.setPause(ctx, who, name, nil)
}

func (b *backend) setPause(ctx context.Context, who api.Caller, name string, p *task.Pause) (api.Task, error) {
	t, err := b.engine.SetPause(ctx, name, p, who.By())
	if err != nil {
		return api.Task{}, apiError(err)
	}
	return b.wholeTask(t)
}

// Next leaves out what is no run: deadlines of expectations, and what a schedule
// does apart from that.
func (b *backend) Next(_ context.Context, after string, limit int) (api.Page[api.Upcoming], error) {
	page := api.Page[api.Upcoming]{Items: []api.Upcoming{}}
	from, err := parseUpcoming(after)
	if err != nil {
		return page, err
	}
	limit = pageSize(limit)
	tasks := map[string]*task.Task{}
	for {
		cursors, more, err := b.ledger.Upcoming(from, limit)
		if err != nil {
			return page, apiError(err)
		}
		for i, c := range cursors {
			t, seen := tasks[c.Task]
			if !seen {
				if found, err := b.engine.Task(c.Task); err == nil {
					t = &found
				} else if !errors.Is(err, task.ErrNotFound) {
					return page, apiError(err)
				}
				tasks[c.Task] = t
			}
			if t == nil || c.Next.IsZero() || t.Held(c.Due) {
				continue
			}
			if s := scheduleOf(t, c.Schedule); s != nil {
				page.Items = append(page.Items, upcomingJSON(t.Name, s, c.Next, c.Due))
			}
			if len(page.Items) == limit {
				if more || i < len(cursors)-1 {
					page.Next = formatUpcoming(c)
				}
				return page, nil
			}
		}
		if !more || len(cursors) == 0 {
			return page, nil
		}
		from = &cursors[len(cursors)-1]
	}
}

func scheduleOf(t *task.Task, name string) *task.Schedule {
	if i := slices.IndexFunc(t.Schedules, func(s task.Schedule) bool { return s.Name == name }); i >= 0 {
		return &t.Schedules[i]
	}
	return nil
}

// formatUpcoming is a cursor's place in the order of due times.
func formatUpcoming(c task.Cursor) string {
	return strconv.FormatInt(c.Due.UnixMilli(), 10) + "/" + c.Task + "/" + c.Schedule
}

func parseUpcoming(text string) (*task.Cursor, error) {
	if text == "" {
		return nil, nil
	}
	parts := strings.Split(text, "/")
	if len(parts) == 3 {
		if due, err := strconv.ParseInt(parts[0], 10, 64); err == nil {
			return &task.Cursor{Task: parts[1], Schedule: parts[2], Due: time.UnixMilli(due).UTC()}, nil
		}
	}
	return nil, noPlace(text)
}

func noPlace(text string) error {
	return &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf("%q is no place to go on from", text)}
}

func (b *backend) History(_ context.Context, query api.HistoryQuery) (api.Page[api.Slot], error) {
	page := api.Page[api.Slot]{Items: []api.Slot{}}
	q := schedule.HistoryQuery{Task: query.Task, Schedule: query.Schedule, Limit: pageSize(query.Limit)}
	if query.After != "" {
		first, name, found := strings.Cut(query.After, "/")
		at, err := strconv.ParseInt(first, 10, 64)
		if err != nil || !found {
			return page, noPlace(query.After)
		}
		q.After = &task.Slot{Task: query.Task, Schedule: name, First: time.Unix(at, 0).UTC()}
	}
	slots, more, err := b.ledger.History(q)
	if err != nil {
		return page, apiError(err)
	}
	t, err := b.engine.Task(query.Task)
	switch {
	case err != nil && (!errors.Is(err, task.ErrNotFound) || len(slots) == 0):
		return page, apiError(err)
	case len(slots) == 0 && query.Schedule != "":
		if err := hasSchedule(&t, query.Schedule); err != nil {
			return page, err
		}
	}
	for _, s := range slots {
		page.Items = append(page.Items, slotJSON(&t, s))
		if more {
			page.Next = strconv.FormatInt(s.First.Unix(), 10) + "/" + s.Schedule
		}
	}
	return page, nil
}

// hasSchedule is an error that names those which the task has.
func hasSchedule(t *task.Task, name string) error {
	var names []string
	for _, s := range t.Schedules {
		names = append(names, s.Name)
	}
	if t.Expect != nil {
		names = append(names, task.ExpectName)
	}
	if slices.Contains(names, name) {
		return nil
	}
	hint := "it has none"
	if len(names) > 0 {
		hint = "it has: " + strings.Join(names, ", ")
	}
	return &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("%s has no schedule %q", t.Name, name), Hint: hint}
}
