package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/schedule"
	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

func (b *backend) Task(_ context.Context, name string) (api.Task, error) {
	t, err := b.engine.Task(name)
	if err != nil {
		return api.Task{}, apiError(err)
	}
	return b.wholeTask(t)
}

// wholeTask is the task with all that is known of it.
func (b *backend) wholeTask(t task.Task) (api.Task, error) {
	var last *engine.RunView
	if run, err := b.engine.Find(t.Name); err == nil {
		last = &run
	}
	at, err := b.standing(&t)
	if err != nil {
		return api.Task{}, apiError(err)
	}
	now := b.now()
	out := taskJSON(&t, last, b.firstRun(&t, at, now), now)
	detail(&out, &t, at)
	for i, s := range t.Schedules {
		since := now.Truncate(time.Second)
		if c, saved := at[s.Name]; saved {
			since = c.Since
		}
		if x, err := b.zones.Explain(s, t.Name, since, now, 0); err == nil {
			out.Schedules[i].Summary = x.Summary
		}
	}
	if c, saved := at[task.ExpectName]; saved && t.Expect != nil && !c.Next.IsZero() {
		if rule, err := b.zones.CompileExpect(*t.Expect); err == nil {
			out.Expect.Excused = schedule.Excused(rule, c.Since, c.Next)
		}
	}
	return out, nil
}

func (b *backend) Definition(_ context.Context, name string) (api.Definition, error) {
	t, err := b.engine.Task(name)
	if err != nil {
		return api.Definition{}, apiError(err)
	}
	return definitionJSON(t)
}

func definitionJSON(t task.Task) (api.Definition, error) {
	out := api.Definition{Name: t.Name, Version: t.Version, Dir: t.Dir, Source: t.Source}
	doc, err := taskfile.Document(t)
	if err != nil {
		return out, apiError(err)
	}
	text, err := taskfile.Format(t)
	if err != nil {
		return out, apiError(err)
	}
	out.Task, out.YAML = doc, string(text)
	return out, nil
}

func (b *backend) Export(_ context.Context, after string, limit int) (api.Page[api.Definition], error) {
	page := api.Page[api.Definition]{Items: []api.Definition{}}
	list, err := b.engine.ListTasks(engine.TaskQuery{After: after, Limit: pageSize(limit)})
	if err != nil {
		return page, apiError(err)
	}
	for _, item := range list.Items {
		// Of one that is damaged a list has a part. An export has all or is none.
		t, err := b.engine.Task(item.Name)
		if errors.Is(err, task.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return page, apiError(err)
		}
		one, err := definitionJSON(t)
		if err != nil {
			return page, err
		}
		page.Items = append(page.Items, one)
	}
	page.Next, page.Total = list.Next, &list.Total
	return page, nil
}

func (b *backend) CreateTask(ctx context.Context, who api.Caller, request api.SaveRequest) (api.Saved, error) {
	dir, err := b.dirOf(request.Dir)
	if err != nil {
		return api.Saved{}, err
	}
	t, err := b.document(ctx, request.Task, dir)
	if err != nil {
		return api.Saved{}, err
	}
	if err := b.mayOwn(who, t.Name, t.CreatedBy); err != nil {
		return api.Saved{}, err
	}
	made, err := b.engine.Create(ctx, t, who.By())
	if errors.Is(err, task.ErrExists) {
		return api.Saved{}, &api.Error{Code: api.CodeExists, Message: fmt.Sprintf("task %s exists already", t.Name),
			Hint: "change it, or replace it by naming the version that is replaced"}
	}
	return b.saved(engine.Changed{Now: made, Changes: taskfile.Diff(task.Task{Name: made.Name, Dir: made.Dir}, made)}, err)
}

func (b *backend) ReplaceTask(ctx context.Context, who api.Caller, name string, request api.SaveRequest) (api.Saved, error) {
	if request.Version == 0 {
		return api.Saved{}, &api.Error{Code: api.CodeInvalid, Message: "version is missing: the one that is replaced", Hint: "GET the task for it",
			Problems: []api.Problem{{Path: "version", Message: "is missing"}}}
	}
	doc, err := named(request.Task, name)
	if err != nil {
		return api.Saved{}, err
	}
	return b.change(ctx, who, name, request.Version, func(t task.Task) (task.Task, error) {
		dir := t.Dir
		if request.Dir != "" {
			if dir, err = b.dirOf(request.Dir); err != nil {
				return t, err
			}
		}
		return b.document(ctx, doc, dir)
	})
}

// named gives a document its name where it says none.
func named(doc json.RawMessage, name string) (json.RawMessage, error) {
	var of map[string]json.RawMessage
	if json.Unmarshal(doc, &of) != nil || of == nil {
		return doc, nil // reading it says what is wrong
	}
	if _, says := of["name"]; says {
		return doc, nil
	}
	text, err := json.Marshal(name)
	if err != nil {
		return nil, err
	}
	of["name"] = text
	return json.Marshal(of)
}

func (b *backend) PatchTask(ctx context.Context, who api.Caller, name string, request api.PatchRequest) (api.Saved, error) {
	return b.edit(ctx, who, name, request.Version, func(t task.Task) (json.RawMessage, error) {
		return taskfile.MergePatch(t, request.Patch)
	})
}

// edit changes a task by its document.
func (b *backend) edit(ctx context.Context, who api.Caller, name string, version uint64, edit func(task.Task) (json.RawMessage, error)) (api.Saved, error) {
	return b.change(ctx, who, name, version, func(t task.Task) (task.Task, error) {
		doc, err := edit(t)
		if err != nil {
			return t, err
		}
		return b.document(ctx, doc, t.Dir)
	})
}

func (b *backend) change(ctx context.Context, who api.Caller, name string, version uint64, edit func(task.Task) (task.Task, error)) (api.Saved, error) {
	return b.saved(b.engine.Change(ctx, name, version, who.By(), func(old task.Task) (task.Task, error) {
		next, err := edit(old)
		switch {
		case err != nil:
			return next, err
		case next.Name != old.Name:
			return next, &api.Error{Code: api.CodeInvalid, Message: "a task cannot be given another name: its runs go by it",
				Hint:     "make a new task, and delete this one",
				Problems: []api.Problem{{Path: "name", Message: fmt.Sprintf("name must be %s", old.Name)}}}
		}
		return next, b.mayOwn(who, old.Name, next.CreatedBy)
	}))
}

// document reads a task as JSON, with all the checks of a task file.
func (b *backend) document(ctx context.Context, doc json.RawMessage, dir string) (task.Task, error) {
	t, err := taskfile.Parse(ctx, taskfile.Source{Dir: dir, Data: doc, JSON: true}, b.filePorts())
	return t, apiError(err)
}

// mayOwn refuses that somebody who is no administrator makes another the creator
// of a task.
func (b *backend) mayOwn(who api.Caller, name, creator string) error {
	if creator == "" || creator == who.By() || who.Role == api.RoleAdmin {
		return nil
	}
	if t, err := b.engine.Task(name); err == nil && t.CreatedBy == creator {
		return nil
	}
	return &api.Error{Code: api.CodeDenied, Message: fmt.Sprintf("only an administrator may say that task %s was created by %s", name, creator)}
}

// dirOf is where relative paths of a task's settings start. Who names no
// directory gets one of the daemon's own, so that no such path leads into its
// records, and none depends on where the daemon was started.
func (b *backend) dirOf(dir string) (string, error) {
	if dir == "" {
		dir = filepath.Join(b.options.Config.DataDir, "files")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", fmt.Errorf("make the directory for tasks without one: %w", err)
		}
		return dir, nil
	}
	if !filepath.IsAbs(dir) {
		return "", &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf("dir must be absolute, found %q", dir),
			Problems: []api.Problem{{Path: "dir", Message: fmt.Sprintf("dir must be absolute, found %q", dir)}}}
	}
	return filepath.Clean(dir), nil
}

// saved is the answer to a change.
func (b *backend) saved(c engine.Changed, err error) (api.Saved, error) {
	if err != nil {
		return api.Saved{}, apiError(err)
	}
	whole, err := b.wholeTask(c.Now)
	return api.Saved{Task: whole, Changes: changesJSON(c.Changes)}, err
}

func (b *backend) DeleteTask(ctx context.Context, _ api.Caller, name string, version uint64) error {
	return apiError(b.engine.DeleteTask(ctx, name, version))
}

func (b *backend) SetDisabled(ctx context.Context, who api.Caller, name string, disabled bool) (api.Task, error) {
	t, err := b.engine.SetDisabled(ctx, name, disabled, who.By())
	if err != nil {
		return api.Task{}, apiError(err)
	}
	return b.wholeTask(t)
}
