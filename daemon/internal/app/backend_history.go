package app

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/runlog"
	"github.com/stepd/stepd/daemon/internal/task"
)

const maxFaults = 20

func (b *backend) Run(_ context.Context, ref string) (api.RunDetail, error) {
	run, err := b.engine.Find(ref)
	if err != nil {
		return api.RunDetail{}, apiError(err)
	}
	detail := api.RunDetail{Run: runJSON(run, b.now()), Steps: []api.Step{}}
	tops, faults, err := b.engine.TopSteps(run, maxFaults)
	if err != nil {
		return detail, apiError(err)
	}
	for _, s := range tops {
		step := stepJSON(s)
		step.Attempts = attemptsJSON(s.Tried)
		detail.Steps = append(detail.Steps, step)
	}
	for _, s := range faults {
		detail.Faults = append(detail.Faults, stepJSON(s))
	}
	for _, s := range run.Active {
		if s.Position.Sub > 0 {
			detail.Active = append(detail.Active, stepJSON(s))
		}
	}
	err = b.engine.Outputs(run.Run, func(step, name string, value json.RawMessage) {
		detail.Outputs = append(detail.Outputs, api.Output{Step: step, Name: name, Value: append(json.RawMessage(nil), value...)})
	})
	if err != nil {
		return detail, apiError(err)
	}
	if run.Schedule != "" {
		if t, err := b.engine.Task(run.Task); err == nil { // it may be gone
			detail.Timezone = zoneOf(&t, run.Schedule)
		}
	}
	if run.Status == task.RunCompleted {
		return detail, nil // its directory goes, if it has not gone yet
	}
	work := workspaces{b.options.Config.DataDir + "/work"}.path(run.Run)
	if _, err := os.Stat(work); err == nil {
		detail.WorkDir = work
	}
	return detail, nil
}

func (b *backend) Steps(_ context.Context, ref string, query api.StepQuery) (api.Page[api.Step], error) {
	page := api.Page[api.Step]{Items: []api.Step{}}
	run, err := b.engine.Find(ref)
	if err != nil {
		return page, apiError(err)
	}
	pos, err := parsePosition(query.After)
	if err != nil {
		return page, err
	}
	steps, next, err := b.engine.StepsOf(run, task.StepStatus(query.Status), pos, pageSize(query.Limit))
	if err != nil {
		return page, apiError(err)
	}
	for _, s := range steps {
		page.Items = append(page.Items, stepJSON(s))
	}
	if next != nil {
		page.Next = next.String()
	}
	return page, nil
}

func (b *backend) Step(_ context.Context, ref, step string) (api.StepDetail, error) {
	run, err := b.engine.Find(ref)
	if err != nil {
		return api.StepDetail{}, apiError(err)
	}
	s, err := b.engine.Step(run, step)
	if err != nil {
		return api.StepDetail{}, apiError(err)
	}
	out := api.StepDetail{Step: stepJSON(s.StepView), Run: run.Ref(), When: s.When, Settings: s.Settings}
	out.Attempts = attemptsJSON(s.Tried)
	for _, o := range s.Outputs {
		out.Outputs = append(out.Outputs, api.Output{Step: s.FullName(), Name: o.Name, Value: o.Value})
	}
	return out, nil
}

func (b *backend) Logs(ctx context.Context, ref string, query api.LogQuery, send func(api.LogLine) error) error {
	run, err := b.engine.Find(ref)
	if err != nil {
		return apiError(err)
	}
	if query.Step != "" { // a name that is mistaken is no step that says nothing
		if _, err := b.engine.Step(run, query.Step); err != nil {
			return apiError(err)
		}
	}
	q := runlog.Query{Follow: query.Follow && run.Status.Alive(), Since: query.Since, Tail: query.Tail, Step: query.Step, Level: task.LogLevel(query.Level)}
	return apiError(b.runlog.Read(ctx, run.Run, q, func(e task.LogEntry) error {
		return send(api.LogLine{Time: e.Time, Level: string(e.Level), Step: e.Step, Attempt: e.Attempt, Message: e.Message, Fields: e.Fields})
	}))
}

// parsePosition reads what task.Position.String writes; nil for "".
func parsePosition(text string) (*task.Position, error) {
	if text == "" {
		return nil, nil
	}
	top, sub, _ := strings.Cut(text, ".")
	t, err := strconv.ParseUint(top, 10, 32)
	s := uint64(0)
	if err == nil && sub != "" {
		s, err = strconv.ParseUint(sub, 10, 32)
	}
	if err != nil {
		return nil, &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf("%q is no position of a step", text)}
	}
	return &task.Position{Top: uint32(t), Sub: uint32(s)}, nil
}
