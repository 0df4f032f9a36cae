package app

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/schedule"
	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

func (b *backend) Explain(_ context.Context, r api.ExplainRequest) (api.Explanation, error) {
	now := b.now()
	s, err := schedule.ParseSpec(r.Spec)
	if err != nil {
		message := strings.TrimPrefix(err.Error(), task.ErrInvalid.Error()+": ")
		return api.Explanation{}, specProblems([]api.Problem{{Path: "spec", Line: 1, Column: 1, Message: message, Excerpt: r.Spec}})
	}
	s.Timezone, s.Start, s.End, s.Exclude = r.Timezone, r.Start, r.End, r.Exclude
	if s.Timezone == "" {
		s.Timezone = b.options.Config.Timezone
	}
	var problems []api.Problem
	if r.Jitter != "" {
		if s.Jitter, err = taskfile.ParseDuration(r.Jitter); err != nil {
			problems = append(problems, api.Problem{Path: "jitter", Line: 1, Column: 1, Message: "jitter " + err.Error(), Excerpt: r.Jitter})
		}
	}
	from, faults := b.from(r.From, s.Timezone, now)
	for _, f := range faults {
		problems = append(problems, specProblem(r, s, f))
	}
	for _, f := range b.zones.Check(s, from) {
		problems = append(problems, specProblem(r, s, f))
	}
	if len(problems) > 0 {
		return api.Explanation{}, specProblems(problems)
	}
	x, err := b.zones.Explain(s, "", now.Truncate(time.Second), from, r.Count)
	if err != nil {
		return api.Explanation{}, apiError(err)
	}
	if s.Jitter > 0 {
		x.Notes = append(x.Notes, "The jitter shown here is an example: that of a task is drawn from its name and its schedule's.")
	}
	return explanationJSON(s, r.Spec, x), nil
}

func (b *backend) ExplainTask(_ context.Context, q api.ExplainQuery) (api.Explanations, error) {
	all := api.Explanations{Task: q.Task, Items: []api.Explanation{}}
	t, err := b.engine.Task(q.Task)
	if err != nil {
		return all, apiError(err)
	}
	if q.Schedule != "" {
		if err := hasSchedule(&t, q.Schedule); err != nil {
			return all, err
		}
	}
	at, err := b.standing(&t)
	if err != nil {
		return all, apiError(err)
	}
	now := b.now()
	for _, s := range t.Schedules {
		if q.Schedule != "" && q.Schedule != s.Name {
			continue
		}
		from, faults := b.from(q.From, s.Timezone, now)
		if len(faults) > 0 {
			return all, specProblems([]api.Problem{specProblem(api.ExplainRequest{From: q.From}, s, faults[0])})
		}
		since := now.Truncate(time.Second)
		if c, saved := at[s.Name]; saved {
			since = c.Since
		}
		x, err := b.zones.Explain(s, t.Name, since, from, q.Count)
		if err != nil {
			return all, apiError(fmt.Errorf("explain %s of %s: %w", s.Name, t.Name, err))
		}
		item := explanationJSON(s, specText(s), x)
		if nominal, due := b.nextOf(&t, &s, at, now); s.Delay > 0 && !nominal.IsZero() {
			item.Times = append(item.Times, api.Occurrence{At: b.there(nominal, s.Timezone), Due: due})
		}
		item.Schedule, item.Disabled, item.Pause = s.Name, t.Disabled, pauseJSON(&t, now)
		all.Items = append(all.Items, item)
	}
	if t.Expect == nil || q.Schedule != "" && q.Schedule != task.ExpectName {
		return all, nil
	}
	item, err := b.explainExpect(&t, at, q, now)
	if err != nil {
		return all, err
	}
	all.Items = append(all.Items, item)
	return all, nil
}

// there is the instant as clocks in the zone show it.
func (b *backend) there(t time.Time, zone string) time.Time {
	if loc, err := time.LoadLocation(zone); err == nil {
		return t.In(loc)
	}
	return t.UTC()
}

func (b *backend) explainExpect(t *task.Task, at standing, q api.ExplainQuery, now time.Time) (api.Explanation, error) {
	e := *t.Expect
	from, faults := b.from(q.From, e.Timezone, now)
	if len(faults) > 0 {
		return api.Explanation{}, specProblems([]api.Problem{specProblem(api.ExplainRequest{From: q.From}, task.Schedule{}, faults[0])})
	}
	since := now.Truncate(time.Second)
	if c, saved := at[task.ExpectName]; saved {
		since = c.Since
	}
	x, err := b.zones.ExplainExpect(e, since, from, q.Count)
	if err != nil {
		return api.Explanation{}, apiError(fmt.Errorf("explain the expectation of %s: %w", t.Name, err))
	}
	item := explanationJSON(task.Schedule{Timezone: e.Timezone}, strings.TrimSpace("by "+e.By+" "+e.Days), x)
	item.Schedule, item.Disabled, item.Pause = task.ExpectName, t.Disabled, pauseJSON(t, now)
	return item, nil
}

// from is the time after which times are listed: one that is named may be among
// them.
func (b *backend) from(text, timezone string, now time.Time) (time.Time, []task.ScheduleFault) {
	if text == "" {
		return now, nil
	}
	at := task.Schedule{At: text, Timezone: timezone}
	var faults []task.ScheduleFault
	for _, f := range b.zones.Check(at, time.Time{}) {
		if f.Field == "at" { // the zone's are found with the schedule's
			f.Field = "from"
			faults = append(faults, f)
		}
	}
	if len(faults) > 0 {
		return now, faults
	}
	rule, err := b.zones.Compile(at, now)
	if err != nil {
		return now, nil
	}
	return rule.Next(time.Time{}).Add(-time.Second), nil
}

// specText is a schedule's kind as ParseSpec reads it.
func specText(s task.Schedule) string {
	switch {
	case s.At != "":
		return "at " + s.At
	case s.Rate > 0 && s.Anchor != "":
		return "every " + taskfile.FormatDuration(s.Rate) + ", counted from " + s.Anchor
	case s.Rate > 0:
		return "every " + taskfile.FormatDuration(s.Rate)
	case s.Delay > 0:
		return "after " + taskfile.FormatDuration(s.Delay)
	}
	return s.Cron
}

func explanationJSON(s task.Schedule, spec string, x schedule.Explanation) api.Explanation {
	out := api.Explanation{Spec: spec, Timezone: s.Timezone, Summary: x.Summary, Notes: x.Notes, Times: []api.Occurrence{}, Over: x.Over}
	for _, o := range x.Times {
		out.Times = append(out.Times, api.Occurrence{At: o.Nominal, Due: o.Due, Notes: o.Notes, Excluded: o.Excluded})
	}
	return out
}

// specProblem says where in the request a fault is: its Path is the field, and
// its Excerpt that field's text.
func specProblem(r api.ExplainRequest, s task.Schedule, f task.ScheduleFault) api.Problem {
	p := api.Problem{Path: f.Field, Line: 1, Message: f.Field + " " + f.Message, Hint: f.Hint}
	offset := f.Offset
	switch f.Field {
	case "timezone":
		p.Excerpt = r.Timezone
	case "from":
		p.Excerpt = r.From
	case "jitter":
		p.Excerpt = r.Jitter
	case "start":
		p.Excerpt = r.Start
	case "end":
		p.Excerpt = r.End
	case "exclude":
		switch {
		case f.Index < 0: // it is the list as a whole
			p.Excerpt = strings.Join(r.Exclude, ", ")
		case f.Index < len(r.Exclude):
			p.Excerpt = r.Exclude[f.Index]
		}
	default:
		p.Path, p.Message, p.Excerpt = "spec", "the spec "+f.Message, r.Spec
		// What is at fault may stand behind a word, as in "at 2026-12-24".
		for _, text := range []string{s.Cron, s.At} {
			if i := strings.Index(r.Spec, text); text != "" && i > 0 {
				offset += i
			}
		}
	}
	p.Column = 1 + utf8.RuneCountInString(p.Excerpt[:min(max(offset, 0), len(p.Excerpt))])
	return p
}

func specProblems(problems []api.Problem) error {
	return &api.Error{Code: api.CodeInvalid, Message: problems[0].Message, Hint: problems[0].Hint, Problems: problems}
}
