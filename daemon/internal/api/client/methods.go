package client

import (
	"context"
	"net/http"

	"github.com/stepd/stepd/daemon/internal/api"
)

type nothing struct{}

// Status says how the daemon is.
func (c *Client) Status(ctx context.Context) (api.Status, error) {
	return call[api.Status](ctx, c, http.MethodGet, api.RouteStatus, nil, nil)
}

// Plugins lists the plugins and what is wrong with their directories.
func (c *Client) Plugins(ctx context.Context) (api.PluginList, error) {
	return call[api.PluginList](ctx, c, http.MethodGet, api.RoutePlugins, nil, nil)
}

// Validate checks task files and saves nothing. Faulty ones are an *api.Error
// with the problems of all of them.
func (c *Client) Validate(ctx context.Context, files []api.TaskFile) (api.ValidateResult, error) {
	return call[api.ValidateResult](ctx, c, http.MethodPost, api.RouteValidate, nil, api.ValidateRequest{Files: files})
}

// Apply saves the tasks of all files or of none.
func (c *Client) Apply(ctx context.Context, request api.ApplyRequest) (api.ApplyResult, error) {
	return call[api.ApplyResult](ctx, c, http.MethodPost, api.RouteApply, nil, request)
}

// Tasks returns a page of tasks in the order of their names. limit 0 means
// api.PageSize.
func (c *Client) Tasks(ctx context.Context, query api.TaskQuery) (api.Page[api.Task], error) {
	return call[api.Page[api.Task]](ctx, c, http.MethodGet, api.RouteTasks, page(query.After, query.Limit), nil)
}

// Task returns one task with its steps.
func (c *Client) Task(ctx context.Context, name string) (api.Task, error) {
	return call[api.Task](ctx, c, http.MethodGet, api.TaskPath(api.RouteTask, name), nil, nil)
}

// DeleteTask removes a task; its runs stay.
func (c *Client) DeleteTask(ctx context.Context, name string, version uint64) error {
	_, err := call[nothing](ctx, c, http.MethodDelete, api.TaskPath(api.RouteTask, name), nil, nil)
	return err
}

// SetDisabled disables a task, or enables it again.
func (c *Client) SetDisabled(ctx context.Context, name string, disabled bool) (api.Task, error) {
	route := api.RouteEnable
	if disabled {
		route = api.RouteDisable
	}
	return call[api.Task](ctx, c, http.MethodPost, api.TaskPath(route, name), nil, nil)
}

// Start starts a run.
func (c *Client) Start(ctx context.Context, request api.RunRequest) (api.Run, error) {
	return call[api.Run](ctx, c, http.MethodPost, api.RouteRuns, nil, request)
}

// Cancel asks for a run to end. ref is "backup/42", or "backup" for the newest
// run, here and below.
func (c *Client) Cancel(ctx context.Context, ref string, request api.CancelRequest) (api.Run, error) {
	return call[api.Run](ctx, c, http.MethodPost, api.RunPath(api.RouteCancel, ref), nil, request)
}

// Continue carries out what is left of a run.
func (c *Client) Continue(ctx context.Context, ref string, request api.AgainRequest) (api.Run, error) {
	return call[api.Run](ctx, c, http.MethodPost, api.RunPath(api.RouteContinue, ref), nil, request)
}

// Restart makes a new run that does everything again.
func (c *Client) Restart(ctx context.Context, ref string, request api.AgainRequest) (api.Run, error) {
	return call[api.Run](ctx, c, http.MethodPost, api.RunPath(api.RouteRestart, ref), nil, request)
}

// Runs returns a page of runs, newest first.
func (c *Client) Runs(ctx context.Context, query api.RunQuery) (api.Page[api.Run], error) {
	q := page(query.After, query.Limit)
	set(q, "task", query.Task)
	set(q, "status", query.Status)
	return call[api.Page[api.Run]](ctx, c, http.MethodGet, api.RouteRuns, q, nil)
}

// Run returns a run with its steps of the definition.
func (c *Client) Run(ctx context.Context, ref string) (api.RunDetail, error) {
	return call[api.RunDetail](ctx, c, http.MethodGet, api.RunPath(api.RouteRun, ref), nil, nil)
}

// Steps pages through all steps of a run, planned ones too.
func (c *Client) Steps(ctx context.Context, ref string, query api.StepQuery) (api.Page[api.Step], error) {
	return call[api.Page[api.Step]](ctx, c, http.MethodGet, api.RunPath(api.RouteSteps, ref), page(query.After, query.Limit), nil)
}
