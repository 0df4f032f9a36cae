package app

import (
	"context"
	"fmt"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

// mayRun is the engine's question whether the caller may start runs of a task.
func mayRun(who api.Caller) func(*task.Task) error {
	return func(t *task.Task) error {
		if who.Role == "" || who.MayRun(t.Starter) { // a server without roles asks for none
			return nil
		}
		if len(t.Starter) == 0 {
			return fmt.Errorf("%s may not start runs: that takes the role %s: %w", who.Name, api.RoleRunner, task.ErrDenied)
		}
		return fmt.Errorf("%s may not start runs of task %s: it names who may: %w", who.Name, t.Name, task.ErrDenied)
	}
}

func (b *backend) Start(ctx context.Context, who api.Caller, request api.RunRequest) (api.Run, error) {
	b.store.Look() // rather than begin what cannot end
	wish := engine.Wish{Task: request.Task, By: who.By(), May: mayRun(who), Priority: request.Priority, Only: request.Step}
	run, err := b.engine.Submit(ctx, wish)
	return b.answer(run, err)
}

func (b *backend) StartBatch(ctx context.Context, who api.Caller, request api.BatchRequest) (api.BatchResult, error) {
	result := api.BatchResult{Runs: []api.Batched{}}
	wish := engine.BatchWish{By: who.By(), May: mayRun(who), Tasks: request.Tasks}
	switch {
	case len(request.Tasks) > 0 && !request.Due && !request.All:
		wish.Kind = task.BatchRun
	case request.Due && !request.All && len(request.Tasks) == 0:
		wish.Kind = task.BatchDue
	case request.All && !request.Due && len(request.Tasks) == 0:
		wish.Kind = task.BatchAll
	default:
		return result, &api.Error{Code: api.CodeInvalid, Message: "one of tasks, due and all says what is to be started"}
	}
	b.store.Look()
	name, list, err := b.engine.SubmitBatch(ctx, wish)
	if err != nil {
		return result, apiError(err)
	}
	result.Batch = name
	for _, one := range list {
		made := api.Batched{Task: one.Task, Reason: one.Reason}
		if one.Run != nil {
			run, err := b.answer(*one.Run, nil)
			if err != nil {
				return result, err
			}
			made.Run = &run
		}
		result.Runs = append(result.Runs, made)
	}
	return result, nil
}

func (b *backend) Cancel(ctx context.Context, who api.Caller, ref string, request api.CancelRequest) (api.Run, error) {
	return b.control(who, ref, func(run engine.RunView) (task.Run, error) {
		if request.Step != "" {
			return b.engine.CancelStep(ctx, run.ID, request.Step, who.By())
		}
		return b.engine.Cancel(ctx, run.ID, who.By())
	})
}

func (b *backend) Continue(ctx context.Context, who api.Caller, ref string, request api.AgainRequest) (api.Run, error) {
	return b.control(who, ref, func(run engine.RunView) (task.Run, error) {
		return b.engine.Continue(ctx, run.ID, again(who, request))
	})
}

func (b *backend) Restart(ctx context.Context, who api.Caller, ref string, request api.AgainRequest) (api.Run, error) {
	return b.control(who, ref, func(run engine.RunView) (task.Run, error) {
		return b.engine.Restart(ctx, run.ID, again(who, request))
	})
}

func again(who api.Caller, request api.AgainRequest) engine.Again {
	return engine.Again{By: who.By(), From: request.From, Latest: request.Latest, Confirmed: request.Again}
}

// control acts on a run, if the caller may. A task that is gone names nobody who
// may.
func (b *backend) control(who api.Caller, ref string, act func(engine.RunView) (task.Run, error)) (api.Run, error) {
	found, err := b.engine.Find(ref)
	if err != nil {
		return api.Run{}, apiError(err)
	}
	t, err := b.engine.Task(found.Task)
	if err != nil {
		t = task.Task{Name: found.Task}
	}
	if err := mayRun(who)(&t); err != nil {
		return api.Run{}, apiError(err)
	}
	run, err := act(found)
	return b.answer(run, err)
}

// answer is the run as it stands, now that the act is committed.
func (b *backend) answer(run task.Run, err error) (api.Run, error) {
	if err != nil {
		return api.Run{}, apiError(err)
	}
	if now, err := b.engine.Run(run.ID); err == nil {
		return runJSON(now), nil
	}
	return runJSON(engine.RunView{Run: run}), nil
}
