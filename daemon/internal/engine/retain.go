package engine

import (
	"context"
	"errors"

	"github.com/stepd/stepd/daemon/internal/task"
)

// forget deletes one ended run, and reports whether it is gone. It stays where a
// restart reads it that has been made since so many were. The files go first: a
// crash in between leaves a run without its log, and the next try ends it.
func (k *keeper) forget(run task.Run, restarts int64) (gone bool, err error) {
	e := k.e
	release, err := e.claim(context.Background(), run.ID)
	if err != nil {
		return false, err
	}
	defer release()
	if e.runner(run.ID) != nil {
		return false, nil // it has just ended, or goes on
	}
	// While it is claimed it stays ended, if it has not been continued before.
	if current, err := e.Run(run.ID); err != nil || current.Status.Alive() {
		return errors.Is(err, task.ErrNotFound), ignoreNotFound(err)
	}
	if e.restarts.Load() != restarts {
		read := false
		err := e.Store.View(func(rd Reader) error {
			stay, err := k.staying(rd, run.Task)
			read = stay.numbers[run.Number]
			return err
		})
		if err != nil || read {
			return false, err
		}
	}
	if err := e.Workspaces.Remove(run); err != nil {
		return false, err
	}
	if err := e.RunLog.Remove(run); err != nil {
		return false, err
	}
	for {
		done := false
		err := e.persist(func(tx Tx) error {
			var err error
			done, err = tx.DeleteRun(run.ID, deleteBatch)
			return err
		})
		if errors.Is(err, task.ErrNotFound) {
			return true, nil
		}
		if err != nil || done {
			return done, err
		}
	}
}

// stripOlder removes the directories of older runs of the task that did not
// complete. They are kept for a continue, which nobody wants of an old night
// when a newer one has ended, and may be as large as all that is backed up. A
// hook's run is no newer night.
func (e *Engine) stripOlder(ended task.Run) {
	// Nor is one that was to do a part alone: what the others have may be wanted
	// for the rest.
	part := ended.Only != "" || ended.From != "" && ended.Status != task.RunCompleted
	if !ended.Cause().Hook() && !part {
		e.strip(ended.Task, ended.ID)
	}
	e.stripOvertaken(ended)
}

// stripOvertaken does so for the run itself, where it has ended later than newer
// ones.
func (e *Engine) stripOvertaken(ended task.Run) {
	if ended.Status == task.RunCompleted || !e.overtaken(ended) {
		return
	}
	if err := e.stripOne(ended); err != nil {
		e.Logger.Warn("the directory of an old run stays", "run", ended.Ref(), "error", err)
	}
}

// overtaken reports whether a newer run of the task, hooks apart, has completed
// while this one was carried out: nobody would strip it any more.
func (e *Engine) overtaken(run task.Run) (yes bool) {
	err := e.Store.View(func(rd Reader) error {
		return rd.Runs(run.Task, 0, func(newer task.Run) bool {
			if newer.ID <= run.ID {
				return false
			}
			yes = newer.Status == task.RunCompleted && !newer.Cause().Hook()
			return !yes
		})
	})
	if err != nil {
		e.Logger.Warn("newer runs cannot be read", "run", run.Ref(), "error", err)
	}
	return yes
}

const forgetBatch = 50

// strip does so for runs of the task that are older than before (0: for all).
func (e *Engine) strip(name string, before task.RunID) {
	var old []task.Run
	err := e.Store.View(func(rd Reader) error {
		return rd.Runs(name, before, func(run task.Run) bool {
			if run.Status.Alive() {
				return true
			}
			done := run.Status == task.RunCompleted || run.Stripped // and so are those before it
			if !done {
				old = append(old, run)
			}
			return (!done || run.Cause().Hook()) && len(old) < forgetBatch
		})
	})
	if err != nil {
		e.Logger.Warn("directories of old runs stay", "task", name, "error", err)
		return
	}
	for _, run := range old {
		if err := e.stripOne(run); err != nil {
			e.Logger.Warn("the directory of an old run stays", "run", run.Ref(), "error", err)
		}
	}
}

// stripOne says first that the files are gone: a crash in between leaves files
// that the next start of the daemon finds, and no run that goes on without them.
func (e *Engine) stripOne(run task.Run) error {
	release, err := e.claim(context.Background(), run.ID)
	if err != nil {
		return err
	}
	defer release()
	alive := false
	err = e.persist(func(tx Tx) error {
		current, err := tx.Run(run.ID)
		if err != nil {
			return err
		}
		if alive = current.Status.Alive(); alive {
			return nil // continued meanwhile
		}
		current.Stripped = true
		return tx.PutRun(current)
	})
	if err != nil || alive {
		return ignoreNotFound(err)
	}
	if err := e.Workspaces.Remove(run); err != nil {
		return err
	}
	e.keeper.runEnded(run.ID) // it has fewer bytes now
	return nil
}
