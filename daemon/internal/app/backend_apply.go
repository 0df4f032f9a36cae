package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/expression"
	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

const replaceHint = "have the files replace them (replace: true, stepd apply --replace), or bring what was changed into the files (stepd export)"

// filePorts is what readers of task files and documents ask.
func (a *App) filePorts() taskfile.Ports {
	return taskfile.Ports{
		Controllers: a.secrets, Schedules: schedulePort{a}, Expressions: expression.Language{},
		Saved: func(name string) (task.Task, bool) {
			t, err := a.engine.Task(name)
			return t, err == nil
		},
	}
}

func (b *backend) Validate(ctx context.Context, files []api.TaskFile) (api.ValidateResult, error) {
	tasks, err := b.parse(ctx, files)
	result := api.ValidateResult{Tasks: []api.Valid{}}
	if err != nil {
		return result, err
	}
	for i, t := range tasks { // one of each file
		next, deadline, err := b.would(t)
		if err != nil {
			return result, err
		}
		result.Tasks = append(result.Tasks, api.Valid{Task: t.Name, File: files[i].Name, Steps: len(t.Steps), Next: next, Deadline: deadline})
	}
	return result, nil
}

// would is what schedules make of the task, and when its expectation is judged,
// if it were saved like that.
func (b *backend) would(t task.Task) (*api.Upcoming, *api.Deadline, error) {
	now := b.now()
	next, err := b.wouldRun(t, now)
	if err != nil {
		return nil, nil, apiError(err)
	}
	deadline, err := b.wouldJudge(t, now)
	return next, deadline, apiError(err)
}

// parse reads all files and collects the problems of all.
func (b *backend) parse(ctx context.Context, files []api.TaskFile) ([]task.Task, error) {
	var tasks []task.Task
	var problems []api.Problem
	from := map[string]string{}
	for _, f := range files {
		dir, err := b.dirOf(f.Dir)
		if err != nil {
			return nil, err
		}
		if f.Path != "" && !filepath.IsAbs(f.Path) {
			return nil, &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf("the path %q of a file is not absolute", f.Path)}
		}
		t, err := taskfile.Parse(ctx, taskfile.Source{Name: f.Name, Dir: dir, Data: []byte(f.Data)}, b.filePorts())
		if faults, ok := errors.AsType[*taskfile.Errors](err); ok {
			problems = append(problems, problemsJSON(faults)...)
			continue
		}
		if err != nil {
			return nil, apiError(err)
		}
		if first, twice := from[t.Name]; twice {
			problems = append(problems, api.Problem{File: f.Name, Path: "name",
				Message: fmt.Sprintf("task %s is in %s already", t.Name, first)})
			continue
		}
		if f.Path != "" {
			t.Source = filepath.Clean(f.Path)
		}
		from[t.Name] = f.Name
		tasks = append(tasks, t)
	}
	if len(problems) > 0 {
		return nil, &api.Error{Code: api.CodeInvalid, Message: "the task files have faults; nothing was saved", Problems: problems}
	}
	return tasks, nil
}

func (b *backend) Apply(ctx context.Context, who api.Caller, request api.ApplyRequest) (api.ApplyResult, error) {
	result := api.ApplyResult{Tasks: []api.Applied{}}
	tasks, err := b.parse(ctx, request.Files)
	if err != nil {
		return result, err
	}
	for _, t := range tasks {
		if err := b.mayOwn(who, t.Name, t.CreatedBy); err != nil {
			return result, err
		}
	}
	for _, dir := range request.Prune {
		if !filepath.IsAbs(dir) {
			return result, &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf("the directory %q is not absolute", dir)}
		}
	}
	wish := engine.ApplyWish{Tasks: tasks, By: who.By(), DryRun: request.DryRun, Replace: request.Replace, Prune: request.Prune, Gone: gone}
	for _, one := range request.Delete {
		wish.Delete = append(wish.Delete, engine.TaskVersion{Task: one.Task, Version: one.Version})
	}
	applied, err := b.engine.Apply(ctx, wish)
	if _, ok := errors.AsType[*engine.DriftError](err); ok {
		fault := apiError(err).(*api.Error)
		for i := range fault.Tasks {
			fault.Tasks[i].File = fileOf(fault.Tasks[i].Task, tasks, request.Files)
		}
		return result, fault
	}
	if err != nil {
		return result, apiError(err)
	}
	result.Tasks = appliedJSON(applied)
	for i, one := range applied {
		of := &result.Tasks[i]
		of.File = fileOf(of.Task, tasks, request.Files)
		if one.Action == engine.ActionDeleted {
			continue
		}
		if of.Next, of.Deadline, err = b.would(one.Task); err != nil {
			return result, err
		}
	}
	return result, nil
}

// fileOf is the file that a task is in, by its name; "" when it is in none.
func fileOf(name string, tasks []task.Task, files []api.TaskFile) string {
	for i, t := range tasks {
		if t.Name == name {
			return files[i].Name
		}
	}
	return ""
}

func appliedJSON(list []engine.Applied) []api.Applied {
	out := make([]api.Applied, 0, len(list))
	for _, one := range list {
		out = append(out, api.Applied{Task: one.Task.Name, Action: one.Action, Version: one.Task.Version, Steps: len(one.Task.Steps),
			Changes: changesJSON(one.Changes), Reason: one.Reason})
	}
	return out
}

// gone reports whether there is no such file any more.
func gone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}
