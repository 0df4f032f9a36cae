package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/runlog"
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
		detail.Steps = append(detail.Steps, stepJSON(s))
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
	after, limit := query.After, query.Limit
	page := api.Page[api.Step]{Items: []api.Step{}}
	run, err := b.engine.Find(ref)
	if err != nil {
		return page, apiError(err)
	}
	pos, err := parsePosition(after)
	if err != nil {
		return page, err
	}
	steps, more, err := b.engine.Steps(run, pos, pageSize(limit))
	if err != nil {
		return page, apiError(err)
	}
	for _, s := range steps {
		page.Items = append(page.Items, stepJSON(s))
		if more {
			page.Next = s.Position.String()
		}
	}
	return page, nil
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

func (b *backend) Logs(ctx context.Context, ref string, query api.LogQuery, send func(api.LogLine) error) error {
	run, err := b.engine.Find(ref)
	if err != nil {
		return apiError(err)
	}
	q := runlog.Query{Follow: query.Follow && run.Status.Alive(), Since: query.Since, Tail: query.Tail, Step: query.Step, Level: task.LogLevel(query.Level)}
	return apiError(b.runlog.Read(ctx, run.Run, q, func(e task.LogEntry) error {
		return send(api.LogLine{Time: e.Time, Level: string(e.Level), Step: e.Step, Attempt: e.Attempt, Message: e.Message, Fields: e.Fields})
	}))
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
			Hint: "if they may be done twice, say so (--again)"}
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
