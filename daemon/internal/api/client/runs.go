package client

import (
	"context"
	"net/http"

	"github.com/stepd/stepd/daemon/internal/api"
)

// Start starts a run.
func (c *Client) Start(ctx context.Context, request api.RunRequest) (api.Run, error) {
	return call[api.Run](ctx, c, http.MethodPost, api.RouteRuns, nil, request)
}

// StartBatch starts several runs, one after another.
func (c *Client) StartBatch(ctx context.Context, request api.BatchRequest) (api.BatchResult, error) {
	return call[api.BatchResult](ctx, c, http.MethodPost, api.RouteBatch, nil, request)
}

// Cancel asks for a run, or for one step of it, to end. ref is "backup/42", or
// "backup" for the newest run, here and below.
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
	set(q, "trigger", query.Trigger)
	set(q, "started_by", query.StartedBy)
	set(q, "schedule", query.Schedule)
	set(q, "batch", query.Batch)
	moment(q, "since", query.Since)
	moment(q, "until", query.Until)
	return call[api.Page[api.Run]](ctx, c, http.MethodGet, api.RouteRuns, q, nil)
}

// Run returns a run with its steps of the definition.
func (c *Client) Run(ctx context.Context, ref string) (api.RunDetail, error) {
	return call[api.RunDetail](ctx, c, http.MethodGet, api.RunPath(api.RouteRun, ref), nil, nil)
}

// Steps pages through the steps of a run, planned ones too.
func (c *Client) Steps(ctx context.Context, ref string, query api.StepQuery) (api.Page[api.Step], error) {
	q := page(query.After, query.Limit)
	set(q, "status", query.Status)
	return call[api.Page[api.Step]](ctx, c, http.MethodGet, api.RunPath(api.RouteSteps, ref), q, nil)
}

// Step returns one step of a run: "tables", or "tables/actor" for a planned one.
func (c *Client) Step(ctx context.Context, ref, step string) (api.StepDetail, error) {
	return call[api.StepDetail](ctx, c, http.MethodGet, api.StepPath(ref, step), nil, nil)
}
