package app

import (
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

func runJSON(v engine.RunView, now time.Time) api.Run {
	return api.Run{
		Ref: v.Ref(), Task: v.Task, Number: v.Number, Status: string(v.Status), Reason: v.Reason,
		Progress: v.Progress, ETASeconds: seconds(v.ETA, v.HasETA), QueuePosition: v.QueuePosition, WaitsFor: v.WaitsFor,
		NotBefore: instant(v.NotBefore), Priority: v.Priority, Locks: v.Locks, Batch: v.Batch, Only: v.Only, From: v.From, Set: v.Set, Stuck: v.Stuck,
		WaitSeconds: waited(&v.Run, now), TookSeconds: took(&v.Run, now), Bytes: v.Bytes,
		Total: v.Total, Completed: v.Completed, Failed: v.Failed, Skipped: v.Skipped,
		CancelRequested: v.Cancel != nil, Trigger: string(v.Cause()), StartedBy: v.StartedBy,
		Schedule: v.Schedule, ScheduledFor: utc(v.ScheduledFor), RestartOf: v.RestartOf, HookOf: v.HookOf, Hooks: v.Hooks, TaskVersion: v.OfVersion(),
		CreatedAt: v.CreatedAt, StartedAt: instant(v.StartedAt), EndedAt: instant(v.EndedAt),
	}
}

// began reports whether the run has been carried out since it was queued: one that
// was continued has a start of an earlier life until then.
func began(run *task.Run) bool {
	return !run.StartedAt.IsZero() && !run.StartedAt.Before(run.QueuedAt)
}

// waited is how long the run has been in the queue, apart from the wait for its
// time.
func waited(run *task.Run, now time.Time) *float64 {
	since, until := run.QueuedAt, now
	if run.NotBefore.After(since) {
		since = run.NotBefore
	}
	switch {
	case began(run):
		until = run.StartedAt
	case !run.Status.Alive():
		until = run.EndedAt
	}
	return seconds(max(0, until.Sub(since)), true)
}

// took is how long the run was carried out, so far or in all; nil: it was not.
func took(run *task.Run, now time.Time) *float64 {
	if !began(run) {
		return nil
	}
	until := now
	if !run.Status.Alive() {
		until = run.EndedAt
	}
	return seconds(max(0, until.Sub(run.StartedAt)), true)
}
