package app

import (
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

// stepJSON is a step as lists have it. What is known of a step that is carried
// out and not of others is left out of those.
func stepJSON(v engine.StepView) api.Step {
	out := api.Step{
		Name: v.FullName(), Position: v.Position.String(), Controller: v.Controller, Status: string(v.Status),
		Planned: v.Planned, Attempt: v.Attempt, Progress: 100 * v.Fraction, Note: v.Note, Counters: v.Counters,
		ETASeconds: seconds(v.ETA, v.HasETA), Message: v.Message, Error: v.Error, Reason: v.Reason,
		StartedAt: instant(v.StartedAt), EndedAt: instant(v.EndedAt), RetryAt: instant(v.RetryAt),
		CancelRequested: v.Cancel != nil,
	}
	if v.Status == task.StepRunning {
		out.Stuck, out.IdleSince, out.LastSaid, out.LastSaidAt = v.Stuck, instant(v.IdleSince), v.LastSaid, instant(v.LastSaidAt)
	}
	return out
}

func attemptsJSON(tried []task.Tried) (list []api.Attempt) {
	for _, one := range tried {
		list = append(list, api.Attempt{Number: one.Number, StartedAt: one.At, EndedAt: one.EndedAt, Reason: one.Reason, Error: one.Error})
	}
	return list
}

func eventJSON(e engine.Event, now time.Time) api.Event {
	out := api.Event{Type: string(e.Kind), Run: runJSON(engine.RunView{Run: e.Run, ETA: e.ETA, HasETA: e.HasETA, Stuck: e.Stuck}, now)}
	if e.Step != nil {
		step := stepJSON(*e.Step)
		out.Step = &step
	}
	for _, s := range e.Active {
		out.Active = append(out.Active, stepJSON(s))
	}
	return out
}
