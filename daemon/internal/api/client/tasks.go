package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/stepd/stepd/daemon/internal/api"
)

// done is the answer to what has none of its own.
type done struct{}

// Validate checks task files and saves nothing. Faulty ones are an *api.Error
// with the problems of all of them.
func (c *Client) Validate(ctx context.Context, files []api.TaskFile) (api.ValidateResult, error) {
	return call[api.ValidateResult](ctx, c, http.MethodPost, api.RouteValidate, nil, api.ValidateRequest{Files: files})
}

// Apply saves the tasks of all files and deletes what is to be deleted, or does
// nothing of it.
func (c *Client) Apply(ctx context.Context, request api.ApplyRequest) (api.ApplyResult, error) {
	if request.Files == nil {
		request.Files = []api.TaskFile{} // null is no list
	}
	return call[api.ApplyResult](ctx, c, http.MethodPost, api.RouteApply, nil, request)
}

// Tasks returns a page of tasks. Limit 0 means api.PageSize, here and below.
func (c *Client) Tasks(ctx context.Context, query api.TaskQuery) (api.Page[api.Task], error) {
	q := page(query.After, query.Limit)
	set(q, "name", query.Name)
	set(q, "status", query.Status)
	set(q, "created_by", query.CreatedBy)
	set(q, "starter", query.Starter)
	set(q, "schedule", query.Schedule)
	set(q, "result", query.Result)
	set(q, "sort", query.Sort)
	return call[api.Page[api.Task]](ctx, c, http.MethodGet, api.RouteTasks, q, nil)
}

// Task returns one task with its steps.
func (c *Client) Task(ctx context.Context, name string) (api.Task, error) {
	return call[api.Task](ctx, c, http.MethodGet, api.TaskPath(api.RouteTask, name), nil, nil)
}

// Definition returns a task as its file would say it.
func (c *Client) Definition(ctx context.Context, name string) (api.Definition, error) {
	return call[api.Definition](ctx, c, http.MethodGet, api.TaskPath(api.RouteDefinition, name), nil, nil)
}

// Export returns a page of the definitions of all tasks, in the order of names.
func (c *Client) Export(ctx context.Context, after string, limit int) (api.Page[api.Definition], error) {
	return call[api.Page[api.Definition]](ctx, c, http.MethodGet, api.RouteExport, page(after, limit), nil)
}

// CreateTask makes a task; one that is there already is an *api.Error with
// CodeExists.
func (c *Client) CreateTask(ctx context.Context, request api.SaveRequest) (api.Saved, error) {
	return call[api.Saved](ctx, c, http.MethodPost, api.RouteTasks, nil, request)
}

// ReplaceTask replaces the version of a task that the request names.
func (c *Client) ReplaceTask(ctx context.Context, name string, request api.SaveRequest) (api.Saved, error) {
	return call[api.Saved](ctx, c, http.MethodPut, api.TaskPath(api.RouteTask, name), nil, request)
}

// PatchTask changes a task by a merge patch of its definition.
func (c *Client) PatchTask(ctx context.Context, name string, request api.PatchRequest) (api.Saved, error) {
	return call[api.Saved](ctx, c, http.MethodPatch, api.TaskPath(api.RouteTask, name), nil, request)
}

// DeleteTask removes a task, whatever its version for version 0; its runs stay.
func (c *Client) DeleteTask(ctx context.Context, name string, version uint64) error {
	_, err := call[done](ctx, c, http.MethodDelete, api.TaskPath(api.RouteTask, name), versioned(version), nil)
	return err
}

func versioned(version uint64) url.Values {
	q := url.Values{}
	number(q, "version", version)
	return q
}

// SetDisabled disables a task, or enables it again.
func (c *Client) SetDisabled(ctx context.Context, name string, disabled bool) (api.Task, error) {
	route := api.RouteEnable
	if disabled {
		route = api.RouteDisable
	}
	return call[api.Task](ctx, c, http.MethodPost, api.TaskPath(route, name), nil, nil)
}

// TaskSteps returns all steps of a task in their order.
func (c *Client) TaskSteps(ctx context.Context, name string) (api.Page[api.TaskStep], error) {
	return call[api.Page[api.TaskStep]](ctx, c, http.MethodGet, api.TaskPath(api.RouteTaskSteps, name), nil, nil)
}

// TaskStep returns one step of a task.
func (c *Client) TaskStep(ctx context.Context, name, step string) (api.TaskStep, error) {
	return call[api.TaskStep](ctx, c, http.MethodGet, api.TaskStepPath(api.RouteTaskStep, name, step), nil, nil)
}

// AddStep adds a step to a task.
func (c *Client) AddStep(ctx context.Context, name string, request api.StepRequest) (api.Saved, error) {
	return call[api.Saved](ctx, c, http.MethodPost, api.TaskPath(api.RouteTaskSteps, name), nil, request)
}

// PatchStep changes a step by a merge patch of it, its name too.
func (c *Client) PatchStep(ctx context.Context, name, step string, request api.PatchRequest) (api.Saved, error) {
	return call[api.Saved](ctx, c, http.MethodPatch, api.TaskStepPath(api.RouteTaskStep, name, step), nil, request)
}

// OrderSteps puts the steps of a task into another order.
func (c *Client) OrderSteps(ctx context.Context, name string, request api.OrderRequest) (api.Saved, error) {
	return call[api.Saved](ctx, c, http.MethodPost, api.TaskPath(api.RouteStepOrder, name), nil, request)
}

// DeleteStep removes a step, whatever the task's version for version 0.
func (c *Client) DeleteStep(ctx context.Context, name, step string, version uint64) (api.Saved, error) {
	return call[api.Saved](ctx, c, http.MethodDelete, api.TaskStepPath(api.RouteTaskStep, name, step), versioned(version), nil)
}
