package engine

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Submit makes a run of the task and puts it in the queue. It is durable when
// Submit returns.
func (e *Engine) Submit(ctx context.Context, name, by string) (task.Run, error) {
	return e.create(ctx, func(tx Tx) (task.Task, task.Run, error) {
		def, err := tx.Task(name)
		if err != nil {
			return def, task.Run{}, missing("task", name, err)
		}
		if def.Disabled {
			return def, task.Run{}, disabled(name)
		}
		return def, task.Run{Trigger: task.TriggerManual, StartedBy: by}, nil
	})
}

func disabled(name string) error {
	return fmt.Errorf("task %s is disabled (stepd task enable %s): %w", name, name, task.ErrState)
}

// Restart makes a new run of what an ended run was pinned to.
func (e *Engine) Restart(ctx context.Context, id task.RunID, by string) (task.Run, error) {
	return e.create(ctx, func(tx Tx) (task.Task, task.Run, error) {
		old, err := tx.Run(id)
		if err != nil {
			return task.Task{}, old, err
		}
		if old.Status.Alive() {
			return task.Task{}, old, fmt.Errorf("run %s is %s; cancel it first, or let it end: %w", old.Ref(), old.Status, task.ErrState)
		}
		current, err := tx.Task(old.Task)
		if ignoreNotFound(err) != nil {
			return task.Task{}, old, err
		}
		if current.Disabled {
			return task.Task{}, old, disabled(old.Task)
		}
		run := task.Run{Trigger: task.TriggerRestart, StartedBy: by, RestartOf: old.Number}
		if cause := old.Cause(); cause.Hook() {
			run.Trigger = cause // it says which steps are carried out
			run.HookOf, run.HookStatus, run.HookReason = old.HookOf, old.HookStatus, old.HookReason
		}
		def, err := definition(tx, old)
		return def, run, err
	})
}

// create commits a new run with the steps of its definition, and queues it.
func (e *Engine) create(ctx context.Context, prepare func(Tx) (task.Task, task.Run, error)) (task.Run, error) {
	if err := e.mayBegin(); err != nil {
		return task.Run{}, err
	}
	var run task.Run
	err := e.Store.Update(ctx, func(tx Tx) error {
		def, fresh, err := prepare(tx)
		if err == nil {
			run, err = e.SubmitIn(tx, def, fresh)
		}
		return err
	})
	if err != nil {
		return task.Run{}, err
	}
	e.Adopt(run)
	return run, nil
}

// SubmitIn makes a queued run of def, as the task stands in that transaction or
// stood before it, and returns it with its number. The caller sets Trigger (a
// hook's makes a run of the hook's steps), StartedBy, Schedule, ScheduledFor,
// RestartOf, HookOf with HookStatus and HookReason, Serial and Replaces; all else
// is the engine's. Once the transaction is durable the run belongs to Adopt;
// until then nobody knows of it.
func (e *Engine) SubmitIn(tx Tx, def task.Task, wish task.Run) (task.Run, error) {
	return e.submitAt(tx, e.Clock.Now(), def, wish)
}

func (e *Engine) submitAt(tx Tx, now time.Time, def task.Task, wish task.Run) (task.Run, error) {
	run := task.Run{
		Trigger: wish.Trigger, StartedBy: wish.StartedBy, RestartOf: wish.RestartOf,
		HookOf: wish.HookOf, HookStatus: wish.HookStatus, HookReason: wish.HookReason,
		Schedule: wish.Schedule, ScheduledFor: wish.ScheduledFor,
		Serial: wish.Serial || wish.Replaces, Replaces: wish.Replaces,
		Task: def.Name, DefinitionVersion: def.Version, Key: rand.Text(), Status: task.RunQueued, CreatedAt: now,
	}
	def = carriedOut(def, run)
	if len(def.Steps) == 0 {
		return task.Run{}, fmt.Errorf("a run of task %s (%s) would have no steps: %w", def.Name, run.Cause(), task.ErrInvalid)
	}
	run.QueuedAt, run.Total = run.CreatedAt, len(def.Steps)
	var err error
	if run.ID, run.Number, err = tx.NextRun(def.Name); err != nil {
		return task.Run{}, err
	}
	for i, s := range def.Steps {
		step := task.RunStep{
			Position: task.Position{Top: uint32(i)}, Name: s.Name, Controller: s.Controller,
			Order: s.Order, Status: task.StepReady,
		}
		if err := tx.PutStep(run.ID, step); err != nil {
			return task.Run{}, err
		}
	}
	return run, tx.PutRun(run)
}

// Adopt takes up runs of SubmitIn whose transaction is durable: they are shown
// and queued, and what they replace is cancelled. It does not block. A run that
// is never adopted, because the daemon died, is found by the next Start.
func (e *Engine) Adopt(runs ...task.Run) {
	places := make([]queued, 0, len(runs))
	for _, run := range runs {
		e.watchers.publish(Event{Kind: EventRun, Run: run})
		places = append(places, placeOf(run))
	}
	e.enqueue(places...)
}

// mayBegin refuses new work while the daemon stops or the disk is full.
func (e *Engine) mayBegin() error {
	e.mu.Lock()
	stopping := e.stopping
	e.mu.Unlock()
	if stopping {
		return task.ErrStopping
	}
	return e.Store.Room()
}
