package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Applied says what became of a task that was applied.
type Applied struct {
	Task   task.Task
	Action string // created, changed, unchanged
}

// Apply makes the tasks what is given, all of them in one transaction. A task
// that is there is changed, with its history kept; runs that are alive keep what
// they are pinned to. A task that is disabled or paused stays so (SetDisabled
// and SetPause change that). With dryRun nothing is written.
func (e *Engine) Apply(ctx context.Context, tasks []task.Task, by string, dryRun bool) ([]Applied, error) {
	if err := e.Store.Room(); err != nil && !dryRun {
		return nil, err
	}
	var results []Applied
	err := e.change(ctx, func(tx Tx, put putTask) error {
		results = nil
		if dryRun {
			put = func(*task.Task, *task.Task) error { return nil }
		}
		for _, next := range tasks {
			result, err := e.apply(tx, put, next, by, dryRun)
			if err != nil {
				return fmt.Errorf("task %s: %w", next.Name, err)
			}
			results = append(results, result)
		}
		return nil
	})
	return results, err
}

// putTask writes a task, or deletes it (now is nil), and tells the schedules.
type putTask func(old, now *task.Task) error

// change commits fn, which changes tasks through put alone.
func (e *Engine) change(ctx context.Context, fn func(tx Tx, put putTask) error) error {
	var runs []task.Run
	var names []string
	told := false
	err := e.Store.Update(ctx, func(tx Tx) error {
		runs, names, told = nil, nil, false
		return fn(tx, func(old, now *task.Task) error {
			// Before it is written: a run of the old definition keeps that.
			made, err := e.changed(tx, old, now)
			if err != nil {
				return fmt.Errorf("its schedules: %w", err)
			}
			runs, told = append(runs, made...), true
			if now == nil {
				return tx.DeleteTask(old.Name)
			}
			names = append(names, now.Name)
			return tx.PutTask(*now)
		})
	})
	if err == nil && told {
		e.Adopt(runs...)
		e.toldSchedules()
		for _, name := range names {
			e.keeper.taskChanged(name)
		}
	}
	return err
}

func (e *Engine) apply(tx Tx, put putTask, next task.Task, by string, dryRun bool) (Applied, error) {
	old, err := tx.Task(next.Name)
	now := e.Clock.Now()
	action, before := "changed", &old
	switch {
	case errors.Is(err, task.ErrNotFound):
		action, before = "created", nil
		next.Version, next.CreatedBy, next.CreatedAt = 1, by, now
	case err != nil:
		return Applied{}, err
	default:
		next.Version, next.CreatedBy, next.CreatedAt = old.Version, old.CreatedBy, old.CreatedAt
		next.UpdatedAt = old.UpdatedAt
		next.Disabled = next.Disabled || old.Disabled // somebody's decision, not the file's
		next.Pause = old.Pause
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
	if action == "created" && !dryRun {
		if next.Version, err = nextVersion(tx, next.Name); err != nil {
			return Applied{}, err
		}
	}
	return Applied{next, action}, put(before, &next)
}

// nextVersion is above all versions that runs of an earlier task of that name
// are pinned to.
func nextVersion(tx Tx, name string) (uint64, error) {
	version := uint64(1)
	err := tx.Runs(name, 0, func(run task.Run) bool {
		version = max(version, run.OfVersion()+1)
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

// SetDisabled changes whether runs of the task may be started.
func (e *Engine) SetDisabled(ctx context.Context, name string, disabled bool) (task.Task, error) {
	return e.alter(ctx, name, func(t *task.Task) (changed bool) {
		changed = t.Disabled != disabled
		t.Disabled = disabled
		return changed
	})
}

// SetPause keeps the task's schedules from making runs, or lets them again (p is
// nil). Whoever asks for a run gets it all the same.
func (e *Engine) SetPause(ctx context.Context, name string, p *task.Pause) (task.Task, error) {
	if p != nil {
		now := e.Clock.Now()
		if !p.Until.IsZero() && !p.Until.After(now) {
			return task.Task{}, fmt.Errorf("a pause until %s is over already: %w", p.Until.Format(time.RFC3339), task.ErrInvalid)
		}
		fresh := *p // the caller's may change
		if fresh.At.IsZero() {
			fresh.At = now
		}
		p = &fresh
	}
	return e.alter(ctx, name, func(t *task.Task) (changed bool) {
		changed = p != nil || t.Pause != nil
		t.Pause = p
		return changed
	})
}

// alter makes a new version of a task.
func (e *Engine) alter(ctx context.Context, name string, fn func(*task.Task) (changed bool)) (t task.Task, err error) {
	err = e.change(ctx, func(tx Tx, put putTask) error {
		old, err := tx.Task(name)
		if err != nil {
			return missing("task", name, err)
		}
		if t = old; !fn(&t) {
			return nil
		}
		t.Version++
		t.UpdatedAt = e.Clock.Now()
		return put(&old, &t)
	})
	return t, err
}

// DeleteTask removes the task with what its schedules keep, and the directories
// of its runs. The runs themselves stay until they are too old; a run that is
// alive keeps the task.
func (e *Engine) DeleteTask(ctx context.Context, name string) error {
	err := e.change(ctx, func(tx Tx, put putTask) error {
		old, err := tx.Task(name)
		if err != nil {
			return missing("task", name, err)
		}
		var alive string
		err = tx.AliveRuns(name, func(run task.Run) bool {
			alive = fmt.Sprintf("run %s is %s", run.Ref(), run.Status)
			return false
		})
		if err != nil {
			return err
		}
		if alive != "" {
			return fmt.Errorf("task %s cannot be deleted while %s: %w", name, alive, task.ErrState)
		}
		return put(&old, nil)
	})
	if err == nil {
		e.strip(name, 0)
	}
	return err
}
