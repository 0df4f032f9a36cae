package app

import (
	"encoding/json"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/pluginhost"
	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

func taskJSON(t task.Task, last *engine.RunView) api.Task {
	out := api.Task{
		Name: t.Name, Description: t.Description, Status: "ready", CreatedBy: t.CreatedBy, Dir: t.Dir,
		Settings: t.Settings, MaxParallel: t.Parallel(), MaxExecutionTime: duration(t.MaxExecutionTime),
		StepCount: len(t.Steps), Version: t.Version, CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt,
	}
	if t.Disabled {
		out.Status = "disabled"
	}
	for _, s := range t.Steps {
		out.Steps = append(out.Steps, api.TaskStep{
			Name: s.Name, Controller: s.Controller, Settings: s.Settings, Order: s.Order,
			InterruptOnStepFault: s.InterruptOnStepFault, Weight: s.Weight,
			RetryAttempts: s.Retry.Attempts, RetryBackoff: duration(s.Retry.Backoff), RetryMaxBackoff: duration(s.Retry.MaxBackoff),
			MaxExecutionTime: duration(s.Limits.MaxExecutionTime), AttemptTimeout: duration(s.Limits.AttemptTimeout),
			ProgressTimeout: duration(s.Limits.ProgressTimeout),
		})
	}
	if last != nil {
		run := runJSON(*last)
		out.LastRun = &run
	}
	return out
}

func runJSON(v engine.RunView) api.Run {
	return api.Run{
		Ref: v.Ref(), Task: v.Task, Number: v.Number, Status: string(v.Status), Reason: v.Reason,
		Progress: v.Progress, ETASeconds: seconds(v.ETA, v.HasETA), QueuePosition: v.QueuePosition,
		Total: v.Total, Completed: v.Completed, Failed: v.Failed, Skipped: v.Skipped,
		CancelRequested: v.Cancel != nil, StartedBy: v.StartedBy, RestartOf: v.RestartOf, TaskVersion: v.DefinitionVersion,
		CreatedAt: v.CreatedAt, StartedAt: instant(v.StartedAt), EndedAt: instant(v.EndedAt),
	}
}

func stepJSON(v engine.StepView) api.Step {
	return api.Step{
		Name: v.FullName(), Position: v.Position.String(), Controller: v.Controller, Status: string(v.Status),
		Planned: v.Planned, Attempt: v.Attempt, Progress: 100 * v.Fraction, Note: v.Note, Counters: v.Counters,
		ETASeconds: seconds(v.ETA, v.HasETA), Message: v.Message, Error: v.Error, Reason: v.Reason,
		StartedAt: instant(v.StartedAt), EndedAt: instant(v.EndedAt), RetryAt: instant(v.RetryAt),
	}
}

func eventJSON(e engine.Event) api.Event {
	out := api.Event{Type: string(e.Kind), Run: runJSON(engine.RunView{Run: e.Run, ETA: e.ETA, HasETA: e.HasETA})}
	if e.Step != nil {
		step := stepJSON(*e.Step)
		out.Step = &step
	}
	for _, s := range e.Active {
		out.Active = append(out.Active, stepJSON(s))
	}
	return out
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

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
