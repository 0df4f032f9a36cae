package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Changed is a task before and after a change. Changes is empty, and both are the
// same, when it was so already.
type Changed struct {
	Old, Now task.Task
	Changes  []task.Change
}

// Create saves a task that is new; task.ErrExists: there is one of that name. Who
// asks for it is its creator, unless it names one.
func (e *Engine) Create(ctx context.Context, t task.Task, by string) (task.Task, error) {
	if err := e.Store.Room(); err != nil {
		return task.Task{}, err
	}
	var made task.Task
	err := e.change(ctx, func(tx Tx, put putTask) error {
		switch _, err := tx.Task(t.Name); {
		case err == nil:
			return fmt.Errorf("a task of the name %s %w", t.Name, task.ErrExists)
		case !errors.Is(err, task.ErrNotFound):
			return err
		}
		var err error
		if made, err = e.newcomer(tx, t, by); err != nil {
			return err
		}
		made.Edited = true // no file says it
		return put(nil, &made)
	})
	return made, err
}

// newcomer is the task as it is saved for the first time.
func (e *Engine) newcomer(tx Tx, t task.Task, by string) (task.Task, error) {
	version, err := nextVersion(tx, t.Name)
	now := e.Clock.Now()
	t.Version, t.CreatedBy, t.CreatedAt, t.UpdatedBy, t.UpdatedAt = version, cmp.Or(t.CreatedBy, by), now, by, now
	t.Pause = nil
	return t, err
}

// Change makes a new version of a task of what edit makes of the current one. With
// a version it is made for that one alone, and a *task.ConflictError when that is
// not the current. Without (0) it is made for whatever is there, in one act: when
// somebody else was faster, edit is called again with what has become of the task.
// So edit may block, and may look at nothing but what it is given.
//
// What edit says of the name, of versions, times, source and pause is left out.
// Runs keep the definition that they are pinned to.
func (e *Engine) Change(ctx context.Context, name string, version uint64, by string, edit func(old task.Task) (task.Task, error)) (Changed, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Changed{}, context.Cause(ctx)
		}
		var old task.Task
		err := e.Store.View(func(rd Reader) (err error) {
			old, err = e.current(rd, name, version)
			return err
		})
		if err != nil {
			return Changed{}, err
		}
		next, err := edit(old)
		if err != nil {
			return Changed{}, err
		}
		done, moved, err := e.swap(ctx, old, next, version, by)
		if err != nil || !moved {
			return done, err
		}
	}
}

// current is the task, if it is at the version that is wanted.
func (e *Engine) current(rd Reader, name string, version uint64) (task.Task, error) {
	t, err := rd.Task(name)
	if err != nil {
		return t, missing("task", name, err)
	}
	if version != 0 && t.Version != version {
		return t, e.conflict(rd, &t, version)
	}
	return t, nil
}

// conflict says what has changed since the version, as far as that is still kept.
func (e *Engine) conflict(rd Reader, now *task.Task, version uint64) error {
	fault := &task.ConflictError{Task: now.Name, Wanted: version, Current: now.Version, By: now.UpdatedBy}
	old, err := rd.Definition(now.Name, version)
	switch {
	case err == nil:
		fault.Changes = e.diff(&old, now)
	case !errors.Is(err, task.ErrNotFound):
		return err
	}
	return fault
}

func (e *Engine) diff(old, now *task.Task) []task.Change {
	if e.Diff == nil {
		return nil
	}
	return e.Diff(*old, *now)
}

// swap commits next in the place of old. moved: it is not old any more that is
// there, and nothing was done.
func (e *Engine) swap(ctx context.Context, old, next task.Task, version uint64, by string) (done Changed, moved bool, err error) {
	if next.Name != old.Name {
		return done, false, fmt.Errorf("task %s cannot get the name %s: its runs go by its name: %w", old.Name, next.Name, task.ErrInvalid)
	}
	next = e.kept(&old, next)
	same, err := equal(old, next)
	if err != nil {
		return done, false, err
	}
	if same {
		return Changed{Old: old, Now: old}, false, nil
	}
	if err := e.Store.Room(); err != nil {
		return done, false, err
	}
	next.Version++
	next.UpdatedBy, next.UpdatedAt = by, e.Clock.Now()
	toggled := old
	toggled.Disabled = next.Disabled
	if same, err = equal(toggled, e.kept(&toggled, next)); err != nil {
		return done, false, err
	}
	next.Edited = old.Edited || !same // to disable it is no edit, whichever way
	err = e.change(ctx, func(tx Tx, put putTask) error {
		now, err := e.current(tx, old.Name, version)
		// One that was deleted and made again is another.
		if moved = err == nil && (now.Version != old.Version || !now.CreatedAt.Equal(old.CreatedAt)); err != nil || moved {
			return err
		}
		return put(&old, &next)
	})
	if err != nil || moved {
		return done, moved, err
	}
	return Changed{Old: old, Now: next, Changes: e.diff(&old, &next)}, false, nil
}

// kept is next with all that is not the definition's, as the old task has it.
func (e *Engine) kept(old *task.Task, next task.Task) task.Task {
	next.Version, next.CreatedAt, next.UpdatedAt, next.UpdatedBy = old.Version, old.CreatedAt, old.UpdatedAt, old.UpdatedBy
	next.CreatedBy = cmp.Or(next.CreatedBy, old.CreatedBy)
	next.Source, next.Edited, next.Pause = old.Source, old.Edited, old.Pause
	return next
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
func (e *Engine) SetDisabled(ctx context.Context, name string, disabled bool, by string) (task.Task, error) {
	return e.alter(ctx, name, by, func(t *task.Task) (changed bool) {
		changed = t.Disabled != disabled
		t.Disabled = disabled
		return changed
	})
}

// SetPause keeps the task's schedules from making runs, or lets them again (p is
// nil). Whoever asks for a run gets it all the same.
func (e *Engine) SetPause(ctx context.Context, name string, p *task.Pause, by string) (task.Task, error) {
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
	return e.alter(ctx, name, by, func(t *task.Task) (changed bool) {
		changed = p != nil || t.Pause != nil
		t.Pause = p
		return changed
	})
}

// alter makes a new version of a task with something else than its steps changed:
// it still is what its file says.
func (e *Engine) alter(ctx context.Context, name, by string, fn func(*task.Task) (changed bool)) (t task.Task, err error) {
	err = e.change(ctx, func(tx Tx, put putTask) error {
		old, err := tx.Task(name)
		if err != nil {
			return missing("task", name, err)
		}
		if t = old; !fn(&t) {
			return nil
		}
		t.Version++
		t.UpdatedBy, t.UpdatedAt = by, e.Clock.Now()
		return put(&old, &t)
	})
	return t, err
}

// DeleteTask removes the task with what its schedules keep, and the directories
// of its runs. The runs themselves stay until they are too old; a run that is
// alive keeps the task. With a version it is a *task.ConflictError when that is
// not the current one.
func (e *Engine) DeleteTask(ctx context.Context, name string, version uint64) error {
	err := e.change(ctx, func(tx Tx, put putTask) error {
		old, err := e.current(tx, name, version)
		if err != nil {
			return err
		}
		return e.remove(tx, put, &old)
	})
	if err == nil {
		e.strip(name, 0)
	}
	return err
}

// remove deletes a task within a transaction.
func (e *Engine) remove(tx Tx, put putTask, old *task.Task) error {
	alive, err := aliveRun(tx, old.Name)
	if err != nil {
		return err
	}
	if alive != "" {
		return fmt.Errorf("task %s cannot be deleted while %s: %w", old.Name, alive, task.ErrState)
	}
	return put(old, nil)
}

// aliveRun says which run of the task is alive, "" when none is.
func aliveRun(rd Reader, name string) (text string, err error) {
	err = rd.AliveRuns(name, func(run task.Run) bool {
		text = fmt.Sprintf("run %s is %s", run.Ref(), run.Status)
		return false
	})
	return text, err
}
