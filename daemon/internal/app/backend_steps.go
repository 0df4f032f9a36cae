package app

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

func (b *backend) TaskSteps(_ context.Context, name string) (api.Page[api.TaskStep], error) {
	page := api.Page[api.TaskStep]{Items: []api.TaskStep{}}
	t, err := b.engine.Task(name)
	if err != nil {
		return page, apiError(err)
	}
	page.Items = append(page.Items, stepsJSON(t.Steps)...)
	total := len(page.Items)
	page.Total = &total
	return page, nil
}

func (b *backend) TaskStep(_ context.Context, name, step string) (api.TaskStep, error) {
	t, err := b.engine.Task(name)
	if err != nil {
		return api.TaskStep{}, apiError(err)
	}
	at := task.StepNamed(t.Steps, step)
	if at < 0 {
		return api.TaskStep{}, apiError(fmt.Errorf("step %s in task %s: %w", strconv.Quote(step), name, task.ErrNotFound))
	}
	return stepsJSON(t.Steps[at : at+1])[0], nil
}

func (b *backend) AddStep(ctx context.Context, who api.Caller, name string, request api.StepRequest) (api.Saved, error) {
	return b.edit(ctx, who, name, request.Version, func(t task.Task) (json.RawMessage, error) {
		return taskfile.AddStep(t, request.Step, request.Before, request.After)
	})
}

func (b *backend) PatchStep(ctx context.Context, who api.Caller, name, step string, request api.PatchRequest) (api.Saved, error) {
	return b.edit(ctx, who, name, request.Version, func(t task.Task) (json.RawMessage, error) {
		return taskfile.PatchStep(t, step, request.Patch)
	})
}

func (b *backend) OrderSteps(ctx context.Context, who api.Caller, name string, request api.OrderRequest) (api.Saved, error) {
	return b.edit(ctx, who, name, request.Version, func(t task.Task) (json.RawMessage, error) {
		return taskfile.OrderSteps(t, request.Steps)
	})
}

func (b *backend) DeleteStep(ctx context.Context, who api.Caller, name, step string, version uint64) (api.Saved, error) {
	return b.edit(ctx, who, name, version, func(t task.Task) (json.RawMessage, error) {
		return taskfile.RemoveStep(t, step)
	})
}
