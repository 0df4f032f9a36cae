package cli_test

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
)

// The tasks backup and import have schedules: one of New York, one of the
// machine's own zone.

func hour(day, hour, minute, second int) *time.Time {
	t := time.Date(2026, 11, day, hour, minute, second, 0, time.UTC)
	return &t
}

func nightly() api.Schedule {
	return api.Schedule{Name: "nightly", Cron: "30 2 * * *", Timezone: "America/New_York", Jitter: "10m0s", Exclude: []string{"12-25"},
		Missed: "all", MissedWindow: "6h0m0s", MissedLimit: 3, Overlap: "skip", Summary: "at 02:30 every day, America/New_York",
		Next: hour(25, 7, 30, 0), NextDue: hour(25, 7, 33, 10), Last: hour(24, 7, 30, 0), LastRun: "backup/5"}
}

func hourly() api.Schedule {
	return api.Schedule{Name: "every", Rate: "1h0m0s", Timezone: "UTC", Missed: "once", MissedWindow: "168h0m0s", MissedLimit: 10,
		Overlap: "skip", Summary: "every hour, UTC", Next: hour(24, 7, 0, 0), NextDue: hour(24, 7, 0, 0)}
}

func upcoming() []api.Upcoming {
	return []api.Upcoming{
		{Task: "import", Schedule: "every", ScheduledFor: *hour(24, 7, 0, 0), Due: *hour(24, 7, 0, 0), Timezone: "UTC"},
		{Task: "backup", Schedule: "nightly", ScheduledFor: *hour(25, 7, 30, 0), Due: *hour(25, 7, 33, 10), Jitter: "10m0s", Timezone: "America/New_York"},
	}
}

func (b *backend) Next(_ context.Context, after string, limit int) (page api.Page[api.Upcoming], err error) {
	if b.empty.Load() {
		return page, nil
	}
	list := upcoming()
	if after != "" {
		list = list[1:]
	}
	if len(list) > limit {
		list, page.Next = list[:limit], "more"
	}
	page.Items = list
	return page, nil
}

func (b *backend) History(ctx context.Context, q api.HistoryQuery) (page api.Page[api.Slot], err error) {
	t, err := b.Task(ctx, q.Task)
	if err != nil {
		return page, err
	}
	if t.Name != "backup" {
		return page, nil
	}
	if q.Schedule != "" && q.Schedule != "nightly" && q.Schedule != api.ExpectSchedule {
		return page, &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("%s has no schedule %q", t.Name, q.Schedule), Hint: "it has: nightly"}
	}
	late := 7530.0
	for _, s := range []api.Slot{
		{Schedule: "nightly", First: *hour(24, 7, 30, 0), Last: *hour(24, 7, 30, 0), Count: 1, Outcome: "ran", Run: "backup/5"},
		{Schedule: api.ExpectSchedule, First: *hour(24, 5, 0, 0), Last: *hour(24, 5, 0, 0), Count: 1, Outcome: "unmet", Run: "backup/4", Reason: "no run completed since Mon 00:00"},
		{Schedule: "nightly", First: *hour(23, 7, 30, 0), Last: *hour(23, 7, 30, 0), Count: 1, Outcome: "ran_late", Run: "backup/3", Reason: "the daemon was down", LateSeconds: &late},
		{Schedule: "nightly", First: *hour(20, 7, 30, 0), Last: *hour(22, 7, 30, 0), Count: 3, Outcome: "missed", Reason: "a newer time was made up for"},
	} {
		s.Task, s.Timezone = "backup", "America/New_York"
		if q.Schedule != "" && q.Schedule != s.Schedule || q.After != "" && s.Outcome != "missed" {
			continue
		}
		if len(page.Items) == q.Limit {
			page.Next = "more"
			break
		}
		page.Items = append(page.Items, s)
	}
	return page, nil
}

func (b *backend) Explain(_ context.Context, r api.ExplainRequest) (api.Explanation, error) {
	fault := func(p api.Problem) (api.Explanation, error) {
		return api.Explanation{}, &api.Error{Code: api.CodeInvalid, Message: p.Message, Hint: p.Hint, Problems: []api.Problem{p}}
	}
	switch {
	case strings.HasPrefix(r.Spec, "0 0 31 2"):
		return fault(api.Problem{Path: "spec", Line: 1, Column: 5, Message: "the spec is never due: February never has a day 31", Hint: "name a day that the month has, or the first of the next month", Excerpt: r.Spec})
	case r.Timezone == "Europe/Berln":
		return fault(api.Problem{Path: "timezone", Message: `timezone is unknown`, Hint: "did you mean Europe/Berlin?"})
	}
	x := api.Explanation{Spec: r.Spec, Timezone: cmp.Or(r.Timezone, "UTC"), Notes: []string{"where 02:30 does not exist, it is due right after the gap"}}
	x.Summary = "at 02:30 every day, " + x.Timezone
	if strings.HasPrefix(r.Spec, "at ") {
		return api.Explanation{Spec: r.Spec, Timezone: x.Timezone, Summary: "once, at 18:00 on Thursday, 24 December 2026, UTC", Over: true}, nil
	}
	loc, err := time.LoadLocation(x.Timezone)
	if err != nil {
		return x, err
	}
	for i, o := range []api.Occurrence{
		{}, {Notes: []string{"jitter +3m10s"}}, {Notes: []string{"excluded: " + strings.Join(r.Exclude, ", ")}, Excluded: true},
	} {
		o.At = time.Date(2026, 11, 25+i, 2, 30, 0, 0, loc)
		o.Due = o.At
		if i < r.Count {
			x.Times = append(x.Times, o)
		}
	}
	return x, nil
}

func (b *backend) ExplainTask(ctx context.Context, q api.ExplainQuery) (api.Explanations, error) {
	t, err := b.Task(ctx, q.Task)
	if err != nil {
		return api.Explanations{}, err
	}
	all := api.Explanations{Task: t.Name}
	for _, s := range t.Schedules {
		all.Items = append(all.Items, api.Explanation{Schedule: s.Name, Spec: s.Cron + s.Rate, Timezone: s.Timezone, Summary: s.Summary, Pause: t.Pause,
			Times: []api.Occurrence{{At: *s.Next, Due: *s.NextDue}}})
	}
	return all, nil
}

func (b *backend) Pause(ctx context.Context, who api.Caller, name string, r api.PauseRequest) (api.Task, error) {
	if _, err := b.Task(ctx, name); err != nil {
		return api.Task{}, err
	}
	p := api.Pause{By: "ada", At: then, Until: r.Until, Reason: r.Reason}
	switch r.For {
	case "":
	case "2d":
		p.Until = hour(26, 6, 0, 0)
	default:
		return api.Task{}, &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf("for must be a duration such as 30s, 10m, 1h30m or 2d, found %q", r.For)}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.tasks[name]
	t.Pause, t.Status, t.NextDue = &p, "paused", nil
	return *t, nil
}

func (b *backend) Resume(ctx context.Context, _ api.Caller, name string) (api.Task, error) {
	if _, err := b.Task(ctx, name); err != nil {
		return api.Task{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.tasks[name]
	t.Pause, t.Status = nil, "ready"
	if len(t.Schedules) > 0 {
		t.Status, t.NextDue = "scheduled", t.Schedules[0].NextDue
	}
	return *t, nil
}
