package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stepd/stepd/daemon/internal/task"
)

// sequel is what follows from the end of a run and is committed with it.
type sequel struct {
	hooks []task.Run // to be adopted
	lost  error      // why they could not be made
}

// hookError is what went wrong when hooks were made.
type hookError struct{ error }

func (e *hookError) Unwrap() error { return e.error }

// hook makes the runs of the hooks that the end of run has, and notes them in
// it. They are runs of their own, and not steps of one, so that nothing of
// on_success or on_failure, be it a fault that interrupts or the time limit,
// can keep on_end from being carried out.
func (e *Engine) hook(tx Tx, def task.Task, run *task.Run) (made []task.Run, err error) {
	if run.Only != "" {
		return nil, nil // a part of the task is no end of it
	}
	now := e.Clock.Now() // of all of them: the order is by their numbers then
	for _, trigger := range def.HooksAfter(run.Cause(), run.Status) {
		made = append(made, task.Run{})
		hook := &made[len(made)-1]
		*hook, err = e.make(tx, now, def, task.Run{
			Trigger: trigger, HookOf: run.Number, HookStatus: run.Status, HookReason: run.Reason, Priority: run.Priority,
			DefinitionVersion: run.DefinitionVersion,
		}, false)
		if err != nil {
			return made, &hookError{fmt.Errorf("make a run of %s: %w", trigger, err)}
		}
		run.Hooks = append(slices.Clip(run.Hooks), hook.Number)
	}
	return made, nil
}

// end commits the end of a run with its hooks, or without them where they
// cannot be made: nothing of a hook keeps a run from ending. write may be called
// more than once, as by Store.Update.
func (e *Engine) end(ctx context.Context, write func(tx Tx, withHooks bool) (hooks []task.Run, err error)) (sequel, error) {
	commit := func(withHooks bool) (hooks []task.Run, err error) {
		err = e.Store.Update(ctx, func(tx Tx) (err error) {
			hooks, err = write(tx, withHooks)
			return err
		})
		return hooks, err
	}
	hooks, err := commit(true)
	_, faulty := errors.AsType[*hookError](err)
	if !faulty && !(errors.Is(err, task.ErrDiskFull) && len(hooks) > 0) {
		return sequel{hooks: hooks}, err
	}
	if _, without := commit(false); without != nil {
		return sequel{}, without
	}
	return sequel{lost: err}, nil
}

// hookQueued is hook for a run that nobody has begun to carry out.
func (e *Engine) hookQueued(tx Tx, run *task.Run) ([]task.Run, error) {
	def, err := definition(tx, *run)
	if err != nil {
		return nil, &hookError{err}
	}
	return e.hook(tx, def, run)
}

// goOn takes up what followed from the end of the run, which is durable.
func (e *Engine) goOn(run task.Run, s sequel) {
	if s.lost != nil {
		e.Logger.Error("the hooks of a run are not carried out", "run", run.Ref(), "error", s.lost)
		e.logHook(run, task.LogError, "its hooks are not carried out: "+s.lost.Error())
	}
	for _, hook := range s.hooks {
		e.logHook(run, task.LogInfo, fmt.Sprintf("%s follows: %s", hook.Cause(), hook.Ref()))
	}
	e.Adopt(s.hooks...)
}

func (e *Engine) logHook(run task.Run, level task.LogLevel, text string) {
	e.RunLog.Append(run, task.LogEntry{Time: e.Clock.Now(), Level: level, Message: text})
}

// hookOf is what a hook's steps are told of the run whose end made it.
func hookOf(run task.Run) task.HookOf {
	return task.HookOf{Ref: run.HookOfRef(), Run: run.HookOf, Status: run.HookStatus, Reason: run.HookReason}
}
