package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/secret"
	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

// mayRun is the engine's question whether the caller may start runs of a task.
func mayRun(who api.Caller) func(*task.Task) error {
	return func(t *task.Task) error {
		if who.MayRun(t.Starter) {
			return nil
		}
		denied := who.DeniedRun(t.Name, t.Starter)
		if !who.Role.Includes(api.RoleReader) {
			denied = who.Denied(api.RoleRunner)
		}
		return fmt.Errorf("%w: %w", task.ErrDenied, denied)
	}
}

// hidden refuses whoever has no role the tasks of others, whether they are there
// or not: what is asked of one must not tell which there are.
func (b *backend) hidden(who api.Caller, names ...string) error {
	if who.Role.Includes(api.RoleReader) {
		return nil
	}
	for _, name := range names {
		if t, err := b.engine.Task(name); err != nil || !who.MayRun(t.Starter) {
			return who.Denied(api.RoleRunner)
		}
	}
	return nil
}

func (b *backend) Start(ctx context.Context, who api.Caller, request api.RunRequest) (api.Run, error) {
	if err := b.hidden(who, request.Task); err != nil {
		return api.Run{}, err
	}
	at, err := b.whenToStart(request)
	if err != nil {
		return api.Run{}, err
	}
	b.store.Look() // rather than begin what cannot end
	wish := engine.Wish{Task: request.Task, By: who.By(), May: mayRun(who), At: at, Priority: request.Priority, Only: request.Step}
	run, err := b.withSettings(ctx, who, request.Task, request.Set, func(own *task.Task, set json.RawMessage) (task.Run, error) {
		wish.Own, wish.Set = own, set
		return b.engine.Submit(ctx, wish)
	})
	return b.answer(run, err)
}

// whenToStart is when the run is to start, zero: at once.
func (b *backend) whenToStart(request api.RunRequest) (at time.Time, err error) {
	now := b.now()
	switch {
	case request.At != "" && request.In != "":
		err = fmt.Errorf("at and in are two times to start: give one of them: %w", task.ErrInvalid)
	case request.In != "":
		var d time.Duration
		if d, err = taskfile.ParseDuration(request.In); err != nil {
			err = fmt.Errorf("in %w: %w", err, task.ErrInvalid)
		}
		at = now.Add(d)
	case request.At != "":
		if at, err = b.zones.Moment(request.At, b.options.Config.Timezone); err != nil {
			err = fmt.Errorf("at %w", err)
		} else if now.Sub(at) > late {
			err = fmt.Errorf("at %s is over already: %w", at.Format(time.RFC3339), task.ErrInvalid)
		}
	}
	return at, apiError(err)
}

// late is how long a time to start may be over: who asks for now asks for the
// second, or minute, that has begun.
const late = time.Minute

// withSettings calls act with a definition of the task in which the settings are
// otherwise, or with none when there are none. A task that changes meanwhile is
// read again.
func (b *backend) withSettings(ctx context.Context, who api.Caller, name string, set map[string]json.RawMessage,
	act func(own *task.Task, set json.RawMessage) (task.Run, error)) (run task.Run, err error) {
	if len(set) == 0 {
		return act(nil, nil)
	}
	text, err := json.Marshal(set)
	if err != nil {
		return run, err
	}
	for range 3 {
		t, err := b.engine.Task(name)
		if err == nil {
			err = mayRun(who)(&t) // before any plugin is started for it
		}
		if err != nil {
			return run, err
		}
		if t.Draft() {
			return act(nil, nil) // which says so
		}
		if err := settable(who, &t, set); err != nil {
			return run, err
		}
		own, err := taskfile.Override(ctx, t, set, b.filePorts())
		if faults, ok := errors.AsType[*taskfile.Errors](err); ok {
			return run, &api.Error{Code: api.CodeInvalid, Message: "the settings for this run have faults; nothing was started", Problems: problemsJSON(faults)}
		}
		if err != nil {
			return run, err
		}
		if err := maySet(who, &t, &own); err != nil {
			return run, err
		}
		if run, err = act(&own, text); !errors.Is(err, task.ErrConflict) {
			return run, err
		}
	}
	return run, fmt.Errorf("task %s changes all the time: %w", name, task.ErrConflict)
}

// settable refuses settings that the task leaves to administrators.
func settable(who api.Caller, t *task.Task, set map[string]json.RawMessage) error {
	if who.Role == api.RoleAdmin || slices.Contains(t.Settable, "*") {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(set)) {
		if !slices.Contains(t.Settable, key) {
			return &api.Error{Code: api.CodeDenied, Message: fmt.Sprintf("task %s lets only administrators set %.100q for a run", t.Name, key),
				Hint: "an administrator may add it to the task: settable: [" + key + "]"}
		}
	}
	return nil
}

// maySet refuses that somebody who may not change the task has a step of one run
// be given a secret that the definition does not give it.
func maySet(who api.Caller, old, own *task.Task) error {
	if who.Role == api.RoleAdmin {
		return nil
	}
	named := map[string]bool{}
	for _, s := range allSteps(old) {
		note := func(name string) error { named[s.Name+"/"+name] = true; return nil }
		if err := secret.Names(s.Settings, nil, note); err != nil {
			return err
		}
	}
	for _, s := range allSteps(own) {
		err := secret.Names(s.Settings, nil, func(name string) error {
			if named[s.Name+"/"+name] {
				return nil
			}
			return &api.Error{Code: api.CodeDenied, Message: fmt.Sprintf("only an administrator may have step %s be given the secret %.100q, which the task does not give it", s.Name, name)}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func allSteps(t *task.Task) []task.Step {
	return slices.Concat(t.Steps, t.OnMissed, t.OnSuccess, t.OnFailure, t.OnEnd)
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
	if err := b.hidden(who, request.Tasks...); err != nil {
		return result, err
	}
	b.store.Look()
	name, list, err := b.engine.SubmitBatch(ctx, wish)
	if err != nil {
		return result, apiError(err)
	}
	result.Batch = name
	for _, one := range list {
		if one.Denied && !who.Role.Includes(api.RoleReader) {
			continue // another's, of which the caller knows nothing
		}
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
		return b.again(ctx, who, run.Run, request, b.engine.Continue)
	})
}

func (b *backend) Restart(ctx context.Context, who api.Caller, ref string, request api.AgainRequest) (api.Run, error) {
	return b.control(who, ref, func(run engine.RunView) (task.Run, error) {
		return b.again(ctx, who, run.Run, request, b.engine.Restart)
	})
}

// again continues or restarts the run. What was set for once in it is laid over
// today's definition too.
func (b *backend) again(ctx context.Context, who api.Caller, run task.Run, request api.AgainRequest,
	act func(context.Context, task.RunID, engine.Again) (task.Run, error)) (task.Run, error) {
	wish := engine.Again{By: who.By(), From: request.From, Latest: request.Latest, Confirmed: request.Again}
	var set map[string]json.RawMessage
	if request.Latest && len(run.Set) > 0 {
		if err := json.Unmarshal(run.Set, &set); err != nil {
			return task.Run{}, fmt.Errorf("read what was set for run %s: %w", run.Ref(), err)
		}
	}
	return b.withSettings(ctx, who, run.Task, set, func(own *task.Task, _ json.RawMessage) (task.Run, error) {
		wish.Own = own
		return act(ctx, run.ID, wish)
	})
}

// control acts on a run, if the caller may. A task that is gone names nobody who
// may.
func (b *backend) control(who api.Caller, ref string, act func(engine.RunView) (task.Run, error)) (api.Run, error) {
	name, _, _ := strings.Cut(ref, "/")
	if err := b.hidden(who, name); err != nil {
		return api.Run{}, err
	}
	found, err := b.engine.Find(ref)
	if err != nil {
		return api.Run{}, apiError(err)
	}
	t, err := b.engine.Task(found.Task)
	switch {
	case errors.Is(err, task.ErrNotFound):
		t = task.Task{Name: found.Task}
	case err != nil: // whom it names cannot be read
		return api.Run{}, apiError(err)
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
		return runJSON(now, b.now()), nil
	}
	return runJSON(engine.RunView{Run: run}, b.now()), nil
}
