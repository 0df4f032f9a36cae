package engine

import (
	"context"
	"fmt"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Again is how somebody wants an ended run to be done again, or what is left of
// it.
type Again struct {
	By string // who asks
	// From is a step: a continue does it and all at later places again, a restart
	// begins with it. Empty: a continue does what has not been done, a restart all.
	From string
	// Latest: by the task as it is today, not by what the run is pinned to. Own is
	// that with the run's other settings laid over (Run.Set), of a run that has such.
	Latest bool
	Own    *task.Task
	// Confirmed: steps that must not be repeated by themselves may be.
	Confirmed bool
}

// Continue takes an ended run up again: completed steps stay as they are with
// their outputs, all others are done. It is durable when Continue returns.
//
// task.ErrState: the run is alive, has completed or has lost its files, or it has
// begun steps that today's definition has not. *task.ConfirmError: it would do
// again what must not be repeated by itself.
func (e *Engine) Continue(ctx context.Context, id task.RunID, a Again) (task.Run, error) {
	if err := e.mayBegin(); err != nil {
		return task.Run{}, err
	}
	release, err := e.claim(ctx, id)
	if err != nil {
		return task.Run{}, err
	}
	defer release()
	view, err := e.settled(ctx, id)
	if err != nil {
		return task.Run{}, err
	}
	run := view.Run
	if err := continuable(run); err != nil {
		return task.Run{}, err
	}
	c := continuing{e: e, run: run, again: a}
	if err := e.Store.View(c.prepare); err != nil {
		return task.Run{}, err
	}
	if err := c.reset(ctx); err != nil {
		return task.Run{}, err
	}
	next, err := c.commit(ctx)
	if err != nil {
		return task.Run{}, err
	}
	for _, text := range c.texts(next) {
		e.RunLog.Append(next, task.LogEntry{Time: e.Clock.Now(), Level: task.LogInfo, Message: text})
	}
	e.watchers.publish(Event{Kind: EventRun, Run: next})
	e.enqueue(placeOf(next))
	return next, nil
}

// continuable says why the run cannot be continued.
func continuable(run task.Run) error {
	switch {
	case run.Status.Alive():
		return fmt.Errorf("run %s is %s; cancel it first, or let it end: %w", run.Ref(), run.Status, task.ErrState)
	case run.Stripped:
		return fmt.Errorf("run %s cannot go on: its files were removed when a newer run of the task had ended "+
			"(stepd restart %s does all of it again): %w", run.Ref(), run.Ref(), task.ErrState)
	case run.Status == task.RunCompleted:
		return fmt.Errorf("run %s has completed, nothing is left to be done (stepd restart %s does all of it again, with --from STEP a part of it): %w",
			run.Ref(), run.Ref(), task.ErrState)
	}
	return nil
}

// settled returns the run as it stands. Of one that has just ended it waits for
// the runner to be through.
func (e *Engine) settled(ctx context.Context, id task.RunID) (RunView, error) {
	r := e.runner(id)
	run, err := e.Run(id)
	if err != nil || r == nil || run.Status.Alive() {
		return run, err
	}
	select {
	case <-r.gone:
		return run, nil
	case <-ctx.Done():
		return run, ctx.Err()
	}
}

// Restart makes a new run of what an ended run was pinned to, or of the task as
// it is today. With From, earlier steps are skipped, and who asks for their
// outputs gets those of the ended run. It is durable when Restart returns.
//
// task.ErrState: the run is alive, or the task disabled. *task.ConfirmError: it
// would do again what must not be repeated by itself.
func (e *Engine) Restart(ctx context.Context, id task.RunID, a Again) (task.Run, error) {
	// So that it is not forgotten before the new run is there, which may read it.
	release, err := e.claim(ctx, id)
	if err != nil {
		return task.Run{}, err
	}
	defer release()
	e.restarts.Add(1)
	return e.create(ctx, func(tx Tx) (task.Run, error) {
		old, err := tx.Run(id)
		if err != nil {
			return task.Run{}, err
		}
		if old.Status.Alive() {
			return task.Run{}, fmt.Errorf("run %s is %s; cancel it first, or let it end: %w", old.Ref(), old.Status, task.ErrState)
		}
		def, err := restartable(tx, old, a)
		if err != nil {
			return task.Run{}, err
		}
		run := task.Run{Trigger: task.TriggerRestart, StartedBy: a.By, RestartOf: old.Number, From: a.From}
		if a.From == "" {
			run.Only = old.Only
		}
		if cause := old.Cause(); cause.Hook() {
			run.Trigger = cause // it says which steps are carried out
			run.HookOf, run.HookStatus, run.HookReason = old.HookOf, old.HookStatus, old.HookReason
		}
		if !a.Latest {
			run.DefinitionVersion, run.Set = old.DefinitionVersion, old.Set
		} else if a.Own != nil {
			run.Set = old.Set
		}
		if err := fitsOnly(&def, run); err != nil {
			return task.Run{}, err
		}
		steps := carriedOut(def, run)
		from := 0
		if a.From != "" {
			if from = task.StepNamed(steps.Steps, a.From); from < 0 {
				return task.Run{}, noStep(a.From, &steps)
			}
		}
		if !a.Confirmed {
			if err := confirmRestart(tx, old, steps.Steps[from:]); err != nil {
				return task.Run{}, err
			}
		}
		return e.make(tx, e.Clock.Now(), def, policies(run, &def), a.Latest && a.Own != nil)
	})
}

// restartable is the definition that a restart of the run carries out.
func restartable(tx Tx, old task.Run, a Again) (task.Task, error) {
	current, err := tx.Task(old.Task)
	gone := ignoreNotFound(err) == nil && err != nil
	if err != nil && !gone {
		return task.Task{}, err
	}
	if current.Disabled {
		return task.Task{}, disabled(old.Task)
	}
	if !a.Latest {
		return tx.Definition(old.Task, old.DefinitionVersion)
	}
	return latest(current, gone, old, a)
}

// latest is today's definition of the run's task.
func latest(current task.Task, gone bool, run task.Run, a Again) (task.Task, error) {
	switch {
	case gone:
		return current, fmt.Errorf("task %s is deleted, so run %s can be done by its own definition only (without --latest): %w",
			run.Task, run.Ref(), task.ErrState)
	case a.Own == nil:
		return current, runnable(&current)
	case a.Own.Version != current.Version:
		return current, &task.ConflictError{Task: current.Name, Wanted: a.Own.Version, Current: current.Version, By: current.UpdatedBy}
	}
	return *a.Own, runnable(a.Own)
}

// fitsOnly says that the one step which the run is about is there no more.
func fitsOnly(def *task.Task, run task.Run) error {
	if run.Only != "" && task.StepNamed(def.Steps, run.Only) < 0 {
		return noStep(run.Only, def)
	}
	return nil
}

// confirm collects the steps that would be done again and must not be repeated
// by themselves.
type confirm struct{ task.ConfirmError }

const maxConfirm = 20

// consider adds the step, of the planner top or top itself, if it may have had
// its effect.
func (c *confirm) consider(top string, effect task.Effect, s task.RunStep) {
	if effect != task.AtMostOnce || s.Attempt == 0 {
		return
	}
	switch s.Reason {
	case task.ReasonRefused, task.ReasonSettings, task.ReasonCondition:
		if s.Attempt == 1 {
			return // nothing was done
		}
	}
	if len(c.Steps) == maxConfirm {
		c.More++
		return
	}
	c.Steps = append(c.Steps, fullName(top, s))
}

func (c *confirm) err() error {
	if len(c.Steps) == 0 {
		return nil
	}
	return &c.ConfirmError
}

// group considers what is done again of a step of the definition: with all, or
// what has not completed.
func (c *confirm) group(rd Reader, id task.RunID, top task.RunStep, all bool) error {
	if top.Effect != task.AtMostOnce {
		return nil
	}
	if !top.PlanDone || top.Planned == 0 {
		if all || !kept(top) {
			c.consider(top.Name, top.Effect, top)
		}
		return nil
	}
	return rd.Steps(id, task.Position{Top: top.Position.Top, Sub: 1}, func(s task.RunStep) bool {
		if s.Position.Top != top.Position.Top {
			return false
		}
		if all || !kept(s) {
			c.consider(top.Name, top.Effect, s)
		}
		return true
	})
}

// kept reports whether a continue leaves the step as it is. One that its condition
// skipped is asked again.
func kept(s task.RunStep) bool {
	return s.Status == task.StepCompleted || s.Status == task.StepSkipped && s.Reason != task.ReasonCondition
}

// confirmRestart looks at what the old run has begun of the steps that are to be
// carried out.
func confirmRestart(rd Reader, old task.Run, steps []task.Step) error {
	then, err := definition(rd, old)
	if err != nil {
		return err
	}
	c := confirm{task.ConfirmError{Run: old.Ref()}}
	for i, s := range then.Steps {
		if task.StepNamed(steps, s.Name) < 0 {
			continue
		}
		top, err := rd.Step(old.ID, task.Position{Top: uint32(i)})
		if err != nil {
			return err
		}
		if err := c.group(rd, old.ID, top, true); err != nil {
			return err
		}
	}
	return c.err()
}
