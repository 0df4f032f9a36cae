package app

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

// backend answers the socket's server from the rooms behind it.
type backend struct{ *App }

func (b *backend) Status(context.Context) (api.Status, error) {
	b.store.Look()
	running, queued := b.engine.Load()
	c := b.options.Config
	return api.Status{
		Version: b.options.Version, PID: os.Getpid(), StartedAt: b.started, DataDir: c.DataDir,
		Running: running, Queued: queued, MaxRuns: c.MaxRuns, Problems: b.problems(),
	}, nil
}

func (b *backend) Plugins(context.Context) (api.PluginList, error) {
	list := api.PluginList{Dirs: b.options.Config.PluginDirs, Plugins: []api.Plugin{}}
	for _, err := range b.host.Scan() {
		list.Warnings = append(list.Warnings, err.Error())
	}
	for _, p := range b.host.Plugins() {
		list.Plugins = append(list.Plugins, pluginJSON(p))
	}
	return list, nil
}

func (b *backend) Watch(ctx context.Context, ref string, send func(api.Event) error) error {
	var id task.RunID
	if ref != "" {
		run, err := b.engine.Find(ref)
		if err != nil {
			return apiError(err)
		}
		id = run.ID
	}
	return apiError(b.engine.Watch(ctx, id, func(e engine.Event) error { return send(eventJSON(e, b.now())) }))
}

func pageSize(limit int) int {
	if limit <= 0 {
		return api.PageSize
	}
	return min(limit, api.MaxPage)
}

// apiError gives an error its code. Errors of the context and of the client's
// own stream stay what they are.
func apiError(err error) error {
	if err == nil {
		return nil
	}
	if known, ok := errors.AsType[*api.Error](err); ok {
		return known
	}
	if confirm, ok := errors.AsType[*task.ConfirmError](err); ok {
		return &api.Error{Code: api.CodeConfirm, Message: confirm.Error(), Steps: confirm.Steps,
			Hint: "if they may be done twice, say so (again: true, or --yes)"}
	}
	if faults, ok := errors.AsType[*taskfile.Errors](err); ok {
		return &api.Error{Code: api.CodeInvalid, Message: faultsOf(faults), Problems: problemsJSON(faults)}
	}
	if stale, ok := errors.AsType[*task.ConflictError](err); ok {
		return &api.Error{Code: api.CodeConflict, Message: stale.Error(), Hint: "look at what has changed, and make the change for that version",
			Version: stale.Current, Changes: changesJSON(stale.Changes)}
	}
	if drift, ok := errors.AsType[*engine.DriftError](err); ok {
		return &api.Error{Code: api.CodeConflict, Message: "nothing was saved: " + drift.Error(), Hint: replaceHint, Tasks: appliedJSON(drift.Tasks)}
	}
	for _, m := range []struct {
		is   error
		code api.Code
	}{
		{task.ErrNotFound, api.CodeNotFound}, {task.ErrExists, api.CodeExists}, {task.ErrConflict, api.CodeConflict},
		{task.ErrInvalid, api.CodeInvalid}, {task.ErrDenied, api.CodeDenied}, {task.ErrState, api.CodeState},
		{task.ErrDiskFull, api.CodeDiskFull}, {task.ErrStopping, api.CodeStopping}, {task.ErrStoreFailed, api.CodeInternal},
	} {
		if errors.Is(err, m.is) {
			text := strings.TrimSuffix(err.Error(), ": "+m.is.Error())
			if m.code == api.CodeInvalid { // of others, such as a full disk, it is half of the message
				text = strings.TrimPrefix(text, m.is.Error()+": ")
			}
			if m.code == api.CodeNotFound {
				text = "there is no " + text
			}
			return &api.Error{Code: m.code, Message: text}
		}
	}
	return err
}
