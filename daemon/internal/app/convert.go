package app

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/pluginhost"
	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

// taskJSON is a task as lists have it.
func taskJSON(t *task.Task, last *engine.RunView, next *api.Upcoming, now time.Time) api.Task {
	summary := task.Summarise(t)
	out := api.Task{
		Name: t.Name, Description: t.Description, Status: string(summary.Status(now)), CreatedBy: t.CreatedBy, UpdatedBy: t.UpdatedBy, Dir: t.Dir,
		Starter: t.Starter, Settable: t.Settable, Source: t.Source, Edited: t.Edited, Priority: t.Priority, MaxRuns: t.MaxRuns, Locks: t.Locks, Log: string(t.Log),
		MaxParallel: t.Parallel(), MaxExecutionTime: duration(t.MaxExecutionTime),
		StepCount: len(t.Steps), ScheduleCount: len(t.Schedules), Pause: pauseJSON(t, now), Version: t.Version, CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt,
	}
	if t.Keep != (task.Keep{}) {
		out.Keep = &api.Keep{Runs: t.Keep.Runs, Days: t.Keep.Days, Bytes: t.Keep.Bytes}
	}
	if next != nil {
		out.NextDue = utc(next.Due)
	}
	if last != nil {
		run := runJSON(*last, now)
		out.LastRun = &run
	}
	return out
}

// detail adds what lists leave out.
func detail(out *api.Task, t *task.Task, at standing) {
	out.Settings = t.Settings
	out.Steps, out.OnMissed = stepsJSON(t.Steps), stepsJSON(t.OnMissed)
	out.OnSuccess, out.OnFailure, out.OnEnd = stepsJSON(t.OnSuccess), stepsJSON(t.OnFailure), stepsJSON(t.OnEnd)
	for _, s := range t.Schedules {
		out.Schedules = append(out.Schedules, scheduleJSON(s, at))
	}
	out.Expect = expectJSON(t.Expect, at)
}

func stepsJSON(steps []task.Step) (list []api.TaskStep) {
	for _, s := range steps {
		list = append(list, api.TaskStep{
			Name: s.Name, Controller: s.Controller, Settings: s.Settings, Order: s.Order,
			When: s.When, StuckAfter: duration(s.Limits.StuckAfter),
			InterruptOnStepFault: s.InterruptOnStepFault, Weight: s.Weight,
			RetryAttempts: s.Retry.Attempts, RetryBackoff: duration(s.Retry.Backoff), RetryMaxBackoff: duration(s.Retry.MaxBackoff),
			MaxExecutionTime: duration(s.Limits.MaxExecutionTime), AttemptTimeout: duration(s.Limits.AttemptTimeout),
			ProgressTimeout: duration(s.Limits.ProgressTimeout),
		})
	}
	return list
}

func pluginJSON(p pluginhost.PluginInfo) api.Plugin {
	out := api.Plugin{
		Name: p.Name, Path: p.Path, State: string(p.State), Error: p.Error, Version: p.Version, PID: p.PID,
		Restarts: p.Restarts, LastExit: p.LastExit,
	}
	for _, c := range p.Controllers {
		out.Controllers = append(out.Controllers, api.Controller{
			Name: c.Name, Summary: c.Summary, Effect: string(c.Effect), Plans: c.Plans, Schema: json.RawMessage(c.Schema)})
	}
	return out
}

func problemsJSON(faults *taskfile.Errors) []api.Problem {
	var list []api.Problem
	for _, p := range faults.Problems {
		list = append(list, api.Problem{File: faults.File, Line: p.Line, Column: p.Column, Path: p.Path,
			Message: p.Message, Hint: p.Hint, Excerpt: p.Excerpt})
	}
	return list
}

// faultsOf says how many faults there are, and where no list of them is read, the
// first.
func faultsOf(faults *taskfile.Errors) string {
	first := faults.Problems[0].Message
	if more := len(faults.Problems) + faults.More - 1; more > 0 {
		return fmt.Sprintf("nothing was done: %s (and %d more)", first, more)
	}
	return "nothing was done: " + first
}

func changesJSON(list []task.Change) []api.Change {
	var out []api.Change
	for _, c := range list {
		out = append(out, api.Change{Path: c.Path, Op: string(c.Op), Old: c.Old, New: c.New})
	}
	return out
}

func duration(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

func seconds(d time.Duration, known bool) *float64 {
	if !known {
		return nil
	}
	s := d.Seconds()
	return &s
}

// utc is an instant of a schedule. All of them are told in one zone, wherever
// they were computed.
func utc(t time.Time) *time.Time { return instant(t.UTC()) }

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func scheduleJSON(s task.Schedule, at standing) api.Schedule {
	out := api.Schedule{
		Name: s.Name, Cron: s.Cron, At: s.At, Rate: duration(s.Rate), Delay: duration(s.Delay), Anchor: s.Anchor, Timezone: s.Timezone,
		Start: s.Start, End: s.End, Jitter: duration(s.Jitter), Exclude: s.Exclude,
		Missed: string(s.Missed), MissedWindow: duration(s.MissedWindow), MissedLimit: s.MissedLimit, Overlap: string(s.Overlap),
	}
	if c, ok := at[s.Name]; ok {
		out.Next, out.NextDue, out.Last, out.LastRun = cursorJSON(c)
		if s.Delay > 0 {
			out.Last = nil // it is what the delay is counted from
		}
	}
	return out
}

func expectJSON(e *task.Expect, at standing) *api.Expect {
	if e == nil {
		return nil
	}
	out := &api.Expect{By: e.By, Days: e.Days, Timezone: e.Timezone}
	if c, ok := at[task.ExpectName]; ok {
		out.Next, _, out.Last, out.LastRun = cursorJSON(c)
	}
	return out
}

// cursorJSON leaves out what was decided on before the first due time: nothing.
func cursorJSON(c task.Cursor) (next, due, last *time.Time, run string) {
	if c.Last.After(c.Since) {
		last = utc(c.Last)
	}
	if c.LastRun > 0 {
		run = runRef(c.Task, c.LastRun)
	}
	return utc(c.Next), utc(c.Due), last, run
}

func runRef(name string, number uint64) string {
	run := task.Run{Task: name, Number: number}
	return run.Ref()
}

// pauseJSON is the pause that holds at that time, or nil.
func pauseJSON(t *task.Task, now time.Time) *api.Pause {
	p := t.Pause
	if p == nil || !p.Until.IsZero() && !now.Before(p.Until) {
		return nil
	}
	return &api.Pause{By: p.By, At: p.At.UTC(), Until: utc(p.Until), Reason: p.Reason}
}

func slotJSON(t *task.Task, s task.Slot) api.Slot {
	out := api.Slot{
		Task: s.Task, Schedule: s.Schedule, First: s.First.UTC(), Last: s.Last.UTC(), Count: s.Count, Due: utc(s.Due),
		Outcome: string(s.Outcome), Reason: s.Reason, DecidedAt: s.At.UTC(), Timezone: zoneOf(t, s.Schedule),
	}
	if s.Run > 0 {
		out.Run = runRef(s.Task, s.Run)
	}
	if s.Outcome.Ran() {
		due := s.Due
		if due.IsZero() {
			due = s.First
		}
		late := max(0, s.At.Sub(due))
		out.LateSeconds = seconds(late, true)
	}
	return out
}

// zoneOf is the time zone of the task's schedule, or of its expectation; "" when
// it has none of that name.
func zoneOf(t *task.Task, name string) string {
	if name == task.ExpectName && t.Expect != nil {
		return t.Expect.Timezone
	}
	if s := scheduleOf(t, name); s != nil {
		return s.Timezone
	}
	return ""
}
