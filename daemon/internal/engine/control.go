package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Cancel ends a run. The wish is durable when Cancel returns nil; a run that
// is carried out ends once its steps have, within their grace.
func (e *Engine) Cancel(ctx context.Context, id task.RunID, by string) (task.Run, error) {
	for {
		if place, ok := e.unqueue(id); ok {
			run, err := e.cancelQueued(ctx, id, by)
			if err != nil {
				place.replaces = false // that is under way
				e.enqueue(place)
			}
			return run, err
		}
		r := e.runner(id)
		if r == nil {
			break
		}
		m := cancelMessage{by: by, reply: make(chan error, 1)}
		if !r.tell(m) {
			continue
		}
		answered, err := m.await(ctx, r.gone)
		switch {
		case err != nil:
			return task.Run{}, err
		case answered:
			return r.shown().run, nil
		}
	}
	run, err := e.Run(id)
	switch {
	case err != nil:
		return task.Run{}, err
	case run.Status == task.RunQueued || run.Status == task.RunRunning:
		return task.Run{}, task.ErrStopping
	}
	return task.Run{}, fmt.Errorf("run %s is %s already: %w", run.Ref(), run.Status, task.ErrState)
}

// await waits for the runner's answer, until the runner is gone without one. An
// answer that came before it went counts.
func (m cancelMessage) await(ctx context.Context, gone <-chan struct{}) (answered bool, err error) {
	select {
	case err := <-m.reply:
		return true, err
	case <-gone:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	select {
	case err := <-m.reply:
		return true, err
	default:
		return false, nil
	}
}

func (e *Engine) cancelQueued(ctx context.Context, id task.RunID, by string) (task.Run, error) {
	var run task.Run
	next, err := e.end(ctx, func(tx Tx, withHooks bool) (hooks []task.Run, err error) {
		if run, err = tx.Run(id); err != nil {
			return nil, err
		}
		if run.Status, err = run.Status.Next(task.EventCancel); err != nil {
			return nil, err
		}
		now := e.Clock.Now()
		run.Cancel = &task.CancelRequest{By: by, At: now}
		run.Reason, run.EndedAt = cancelReason(run.Cancel), now
		if withHooks {
			if hooks, err = e.hookQueued(tx, &run); err != nil {
				return nil, err
			}
		}
		if err := tx.PutRun(run); err != nil {
			return nil, err
		}
		return hooks, e.ended(tx, run)
	})
	if err != nil {
		return task.Run{}, err
	}
	e.toldSchedules()
	e.mu.Lock()
	e.tellMoved()
	e.mu.Unlock()
	e.RunLog.Append(run, task.LogEntry{Time: run.EndedAt, Level: task.LogWarn, Message: run.Reason + " before it started"})
	e.watchers.publish(Event{Kind: EventRun, Run: run})
	e.goOn(run, next)
	e.RunLog.Close(run)
	return run, nil
}

// Continue takes an ended run up again: completed steps stay as they are with
// their outputs, all others are done.
func (e *Engine) Continue(ctx context.Context, id task.RunID, by string) (task.Run, error) {
	if err := e.mayBegin(); err != nil {
		return task.Run{}, err
	}
	release, err := e.claim(ctx, id)
	if err != nil {
		return task.Run{}, err
	}
	defer release()
	run, err := e.settled(ctx, id)
	if err != nil {
		return task.Run{}, err
	}
	switch {
	case run.Status.Alive():
		return task.Run{}, fmt.Errorf("run %s is %s: %w", run.Ref(), run.Status, task.ErrState)
	case run.Stripped:
		return task.Run{}, fmt.Errorf("run %s cannot go on: its files were removed when a newer run of the task had ended "+
			"(stepd restart %s does all of it again): %w", run.Ref(), run.Ref(), task.ErrState)
	case run.Status == task.RunCompleted:
		return task.Run{}, fmt.Errorf("run %s has completed, nothing is left to be done (stepd restart %s does all of it again): %w",
			run.Ref(), run.Ref(), task.ErrState)
	}
	counts, err := e.resetSteps(ctx, run.Run)
	if err != nil {
		return task.Run{}, err
	}
	next := run.Run
	err = e.Store.Update(ctx, func(tx Tx) error {
		current, err := tx.Run(id)
		if err != nil {
			return err
		}
		if next.Status, err = current.Status.Next(task.EventContinue); err != nil {
			return fmt.Errorf("%w: %w", task.ErrState, err)
		}
		next.Cancel, next.Reason, next.Failed, next.QueuedAt = nil, "", 0, e.Clock.Now()
		next.Replaces = false // what it was to replace has been
		next.Completed, next.Skipped, next.Total, next.Progress = counts.completed, counts.skipped, counts.total, counts.progress
		return tx.PutRun(next)
	})
	if err != nil {
		return task.Run{}, err
	}
	text := "continued"
	if by != "" {
		text += " by " + by
	}
	e.RunLog.Append(next, task.LogEntry{Time: e.Clock.Now(), Level: task.LogInfo, Message: text})
	e.watchers.publish(Event{Kind: EventRun, Run: next})
	e.enqueue(placeOf(next))
	return next, nil
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

type stepCounts struct {
	total, completed, skipped int
	progress                  float64
}

const resetBatch = 500

// resetSteps makes all steps as new that have not been done, and counts. It does so in batches: a crash in between leaves an ended run,
// which can be continued again.
func (e *Engine) resetSteps(ctx context.Context, run task.Run) (stepCounts, error) {
	def, err := e.Definition(run)
	if err != nil {
		return stepCounts{}, err
	}
	var counts stepCounts
	var weights, done float64
	var top task.RunStep
	var group tally
	closeTop := func() {
		if !top.PlanDone || top.Planned == 0 || top.Status == task.StepCompleted {
			return
		}
		if group.weight > 0 {
			done += def.Steps[top.Position.Top].ProgressWeight() * group.weightDone / group.weight
		}
	}
	from := task.Position{}
	for more := true; more; {
		more = false
		var batch []task.RunStep
		err := e.Store.View(func(rd Reader) error {
			return rd.Steps(run.ID, from, func(s task.RunStep) bool {
				if s.Position.Sub == 0 {
					closeTop()
					top, group = s, tally{}
					weights += def.Steps[s.Position.Top].ProgressWeight()
				} else if !top.PlanDone {
					return true // left of a plan that was never made whole
				}
				leaf := s.Position.Sub > 0 || !s.PlanDone || s.Planned == 0
				kept := s.Status == task.StepCompleted || s.Status == task.StepSkipped
				if leaf {
					counts.total++
				}
				if s.Position.Sub > 0 {
					group.plan(s)
				}
				switch {
				case kept && s.Position.Sub == 0:
					done += def.Steps[s.Position.Top].ProgressWeight()
				case kept:
					group.end(s)
				}
				switch {
				case leaf && s.Status == task.StepCompleted:
					counts.completed++
				case leaf && s.Status == task.StepSkipped:
					counts.skipped++
				}
				if !kept && (s.Status != task.StepReady || !s.StartedAt.IsZero()) {
					batch = append(batch, s)
				}
				from = task.Position{Top: s.Position.Top, Sub: s.Position.Sub + 1}
				more = len(batch) == resetBatch
				return !more
			})
		})
		if err != nil {
			return counts, err
		}
		if err := e.resetBatch(ctx, run.ID, batch); err != nil {
			return counts, err
		}
	}
	closeTop()
	if weights > 0 {
		counts.progress = min(almost, 100*done/weights)
	}
	return counts, nil
}

func (e *Engine) resetBatch(ctx context.Context, id task.RunID, batch []task.RunStep) error {
	if len(batch) == 0 {
		return nil
	}
	return e.Store.Update(ctx, func(tx Tx) error {
		for _, s := range batch {
			fresh := task.RunStep{
				Position: s.Position, Name: s.Name, Controller: s.Controller, Order: s.Order, Status: task.StepReady,
				Settings: s.Settings, Weight: s.Weight, ETA: s.ETA, Planned: s.Planned, PlanDone: s.PlanDone,
				Session: s.Session, Effect: s.Effect, Attempt: s.Attempt,
			}
			if s.PlanDone {
				fresh.Message = s.Message // of the plan, which stays
			}
			if err := tx.PutStep(id, fresh); err != nil {
				return err
			}
		}
		return nil
	})
}

func ignoreNotFound(err error) error {
	if errors.Is(err, task.ErrNotFound) {
		return nil
	}
	return err
}
