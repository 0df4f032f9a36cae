package app

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/audit"
	"github.com/stepd/stepd/daemon/internal/secret"
)

// auditor keeps what was asked, without the secrets that may have been in it.
type auditor struct {
	log      *audit.Log
	redactor *secret.Redactor
}

// Ready implements server.Auditor.
func (a auditor) Ready() error {
	err := a.log.Ready()
	if errors.Is(err, audit.ErrDiskFull) {
		return &api.Error{Code: api.CodeDiskFull, Message: "there is no room on the disk to keep what is asked, so nothing is changed",
			Hint: "make room; runs can be cancelled meanwhile"}
	}
	return err
}

// Keep implements server.Auditor.
func (a auditor) Keep(e api.AuditEntry) error {
	request := a.redactor.Text(e.Request)
	if e.Result != "ok" && mayHoldSecret(e.Result, request) {
		request = fmt.Sprintf("(%d bytes, not kept: it was refused, and its settings may hold what belongs into a secret)", len(e.Request))
	}
	return a.log.Keep(audit.Entry{Time: e.Time, User: e.User, UID: e.UID, GID: e.GID, PID: e.PID, ActFor: e.ActFor, Role: string(e.Role),
		Action: e.Action, Target: e.Target, Request: request, Result: e.Result, Error: a.redactor.Text(e.Error), Made: e.Made})
}

// mayHoldSecret reports whether the body of a refused request may hold a
// password in the place of a reference: only what was taken is known not to.
func mayHoldSecret(result, request string) bool {
	if result == string(api.CodeInvalid) {
		return request != ""
	}
	for _, key := range []string{`"set"`, `"settings"`, `"steps"`, `"data"`, `\u`} {
		if strings.Contains(request, key) {
			return true
		}
	}
	return false
}

func (b *backend) Audit(ctx context.Context, q api.AuditQuery) (api.Page[api.AuditEntry], error) {
	page := api.Page[api.AuditEntry]{Items: []api.AuditEntry{}}
	entries, next, err := b.audit.Read(ctx, audit.Query{User: q.User, Action: q.Action, Target: q.Target, Since: q.Since,
		After: q.After, Limit: pageSize(q.Limit)})
	if errors.Is(err, audit.ErrPlace) {
		return page, noPlace(q.After)
	}
	if err != nil {
		return page, err
	}
	for _, e := range entries {
		page.Items = append(page.Items, api.AuditEntry{Time: e.Time, User: e.User, UID: e.UID, GID: e.GID, PID: e.PID, ActFor: e.ActFor,
			Role: api.Role(e.Role), Action: e.Action, Target: e.Target, Request: e.Request, Result: e.Result, Error: e.Error, Made: e.Made})
	}
	page.Next = next
	return page, nil
}
