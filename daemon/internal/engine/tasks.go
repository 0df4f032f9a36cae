package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Applied says what became of a task that was applied.
type Applied struct {
	Task   task.Task
	Action string // created, changed, unchanged
}

// Apply makes the tasks what is given, all of them in one transaction. A task
// that is there is changed, with its history kept; runs that are alive keep what
// they are pinned to. A task that is disabled stays so (SetDisabled enables it).
// With dryRun nothing is written.
func (e *Engine) Apply(ctx context.Context, tasks []task.Task, by string, dryRun bool) ([]Applied, error) {
	if err := e.Store.Room(); err != nil && !dryRun {
		return nil, err
	}
	var results []Applied
	err := e.Store.Update(ctx, func(tx Tx) error {
		results = results[:0]
		for _, next := range tasks {
			result, err := e.apply(tx, next, by, dryRun)
			if err != nil {
				return fmt.Errorf("task %s: %w", next.Name, err)
			}
			results = append(results, result)
		}
		return nil
	})
	return results, err
}

func (e *Engine) apply(tx Tx, next task.Task, by string, dryRun bool) (Applied, error) {
	old, err := tx.Task(next.Name)
	now := e.Clock.Now()
	action := "changed"
	switch {
	case errors.Is(err, task.ErrNotFound):
		action = "created"
		next.Version, next.CreatedBy, next.CreatedAt = 1, by, now
	case err != nil:
		return Applied{}, err
	default:
		next.Version, next.CreatedBy, next.CreatedAt = old.Version, old.CreatedBy, old.CreatedAt
		next.UpdatedAt = old.UpdatedAt
		next.Disabled = next.Disabled || old.Disabled // somebody's decision, not the file's
		same, err := equal(old, next)
		if err != nil {
			return Applied{}, err
		}
		if same {
			return Applied{old, "unchanged"}, nil
		}
		next.Version++
	}
	next.UpdatedAt = now
	if !dryRun {
		if action == "created" {
			if next.Version, err = nextVersion(tx, next.Name); err != nil {
				return Applied{}, err
			}
		}
		if err := tx.PutTask(next); err != nil {
			return Applied{}, err
		}
	}
	return Applied{next, action}, nil
}

// nextVersion is above all versions that runs of an earlier task of that name
// are pinned to.
func nextVersion(tx Tx, name string) (uint64, error) {
	version := uint64(1)
	err := tx.Runs(name, 0, func(run task.Run) bool {
		version = max(version, run.DefinitionVersion+1)
		return true // a restart is newer than its version
	})
	return version, err
}

func equal(a, b task.Task) (bool, error) {
	left, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	right, err := json.Marshal(b)
	return bytes.Equal(left, right), err
}

// Task returns one task.
func (e *Engine) Task(name string) (t task.Task, err error) {
	err = e.Store.View(func(rd Reader) error {
		t, err = rd.Task(name)
		return err
	})
	if err != nil {
		err = missing("task", name, err)
	}
	return t, err
}

// Tasks lists up to limit tasks by name from the first after the given one,
// each with its newest run (nil where there is none).
func (e *Engine) Tasks(after string, limit int) (list []task.Task, last []*RunView, more bool, err error) {
	err = e.Store.View(func(rd Reader) error {
		return rd.Tasks(after, func(t task.Task) bool {
			if len(list) == limit {
				more = true
				return false
			}
			list = append(list, t)
			return true
		})
	})
	for _, t := range list {
		run, findErr := e.Find(t.Name)
		switch {
		case findErr == nil:
			last = append(last, &run)
		case errors.Is(findErr, task.ErrNotFound):
			last = append(last, nil)
		default:
			err = errors.Join(err, findErr)
		}
	}
	return list, last, more, err
}

// SetDisabled changes whether runs of the task may be started.
func (e *Engine) SetDisabled(ctx context.Context, name string, disabled bool) (t task.Task, err error) {
	err = e.Store.Update(ctx, func(tx Tx) error {
		if t, err = tx.Task(name); err != nil {
			return missing("task", name, err)
		}
		if t.Disabled == disabled {
			return nil
		}
		t.Disabled = disabled
		t.Version++
		t.UpdatedAt = e.Clock.Now()
		return tx.PutTask(t)
	})
	return t, err
}

// DeleteTask removes the task, and the directories of its runs. The runs
// themselves stay until they are too old; a run that is alive keeps the task.
func (e *Engine) DeleteTask(ctx context.Context, name string) error {
	err := e.Store.Update(ctx, func(tx Tx) error {
		if _, err := tx.Task(name); err != nil {
			return missing("task", name, err)
		}
		var alive string
		err := tx.ActiveRuns(func(run task.Run) bool {
			if run.Task == name {
				alive = fmt.Sprintf("run %s is %s", run.Ref(), run.Status)
			}
			return alive == ""
		})
		if err != nil {
			return err
		}
		if alive != "" {
			return fmt.Errorf("task %s cannot be deleted while %s: %w", name, alive, task.ErrState)
		}
		return tx.DeleteTask(name)
	})
	if err == nil {
		e.strip(name, 0)
	}
	return err
}
