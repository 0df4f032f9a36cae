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
	return e.cancel(ctx, id, cancelMessage{by: by}, func() (task.Run, error) { return e.cancelQueued(ctx, id, by) })
}

// cancel has the wish carried out by the run's runner, or by queued while the run
// is held in the queue.
func (e *Engine) cancel(ctx context.Context, id task.RunID, m cancelMessage, queued func() (task.Run, error)) (task.Run, error) {
	for {
		release, waited, err := e.hold(ctx, id)
		if err != nil {
			return task.Run{}, err
		}
		if waited {
			run, err := queued()
			release(err == nil && run.Status != task.RunQueued)
			if err == nil && !run.Status.Alive() && !run.StartedAt.IsZero() {
				e.cleanBehind(run)
			}
			return run, err
		}
		r := e.runner(id)
		if r == nil {
			break
		}
		m.reply = make(chan error, 1)
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

// cleanBehind removes the directory of a run that was to go on, where nobody would
// do it any more. Nobody waits for that.
func (e *Engine) cleanBehind(run task.Run) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopping {
		return
	}
	e.done.Go(func() { e.stripOvertaken(run) })
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
	e.keeper.runEnded(run.ID)
	return run, nil
}

func ignoreNotFound(err error) error {
	if errors.Is(err, task.ErrNotFound) {
		return nil
	}
	return err
}
