package client

import (
	"context"
	"net/http"

	"github.com/stepd/stepd/daemon/internal/api"
)

// Status says how the daemon is.
func (c *Client) Status(ctx context.Context) (api.Status, error) {
	return call[api.Status](ctx, c, http.MethodGet, api.RouteStatus, nil, nil)
}

// WhoAmI says who the caller is to the daemon, and what that allows.
func (c *Client) WhoAmI(ctx context.Context) (api.Who, error) {
	return call[api.Who](ctx, c, http.MethodGet, api.RouteWhoAmI, nil, nil)
}

// Plugins lists the plugins and what is wrong with their directories.
func (c *Client) Plugins(ctx context.Context) (api.PluginList, error) {
	return call[api.PluginList](ctx, c, http.MethodGet, api.RoutePlugins, nil, nil)
}

// Secrets lists the names of secrets, never a value.
func (c *Client) Secrets(ctx context.Context) (api.SecretList, error) {
	return call[api.SecretList](ctx, c, http.MethodGet, api.RouteSecrets, nil, nil)
}

// Audit returns a page of the audit log, newest first.
func (c *Client) Audit(ctx context.Context, query api.AuditQuery) (api.Page[api.AuditEntry], error) {
	q := page(query.After, query.Limit)
	set(q, "user", query.User)
	set(q, "action", query.Action)
	set(q, "target", query.Target)
	moment(q, "since", query.Since)
	return call[api.Page[api.AuditEntry]](ctx, c, http.MethodGet, api.RouteAudit, q, nil)
}
