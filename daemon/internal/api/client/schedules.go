package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/stepd/stepd/daemon/internal/api"
)

// Pause keeps a task's schedules from making runs.
func (c *Client) Pause(ctx context.Context, name string, request api.PauseRequest) (api.Task, error) {
	return call[api.Task](ctx, c, http.MethodPost, api.TaskPath(api.RoutePause, name), nil, request)
}

// Resume ends a pause.
func (c *Client) Resume(ctx context.Context, name string) (api.Task, error) {
	return call[api.Task](ctx, c, http.MethodPost, api.TaskPath(api.RouteResume, name), nil, nil)
}

// Next returns a page of the runs that schedules will make, the earliest
// first. limit 0 means api.PageSize.
func (c *Client) Next(ctx context.Context, after string, limit int) (api.Page[api.Upcoming], error) {
	return call[api.Page[api.Upcoming]](ctx, c, http.MethodGet, api.RouteNext, page(after, limit), nil)
}

// History returns a page of what became of a task's due times, newest first.
func (c *Client) History(ctx context.Context, query api.HistoryQuery) (api.Page[api.Slot], error) {
	q := page(query.After, query.Limit)
	set(q, "schedule", query.Schedule)
	return call[api.Page[api.Slot]](ctx, c, http.MethodGet, api.TaskPath(api.RouteHistory, query.Task), q, nil)
}

// Explain says what a spec means and when it is due.
func (c *Client) Explain(ctx context.Context, request api.ExplainRequest) (api.Explanation, error) {
	return call[api.Explanation](ctx, c, http.MethodPost, api.RouteExplain, nil, request)
}

// ExplainTask says what a task's schedules mean and when they are due.
func (c *Client) ExplainTask(ctx context.Context, query api.ExplainQuery) (api.Explanations, error) {
	q := url.Values{}
	set(q, "schedule", query.Schedule)
	set(q, "from", query.From)
	number(q, "count", uint64(max(0, query.Count)))
	return call[api.Explanations](ctx, c, http.MethodGet, api.TaskPath(api.RouteTimes, query.Task), q, nil)
}
