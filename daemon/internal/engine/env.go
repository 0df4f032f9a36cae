package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/stepd/stepd/daemon/internal/task"
)

// scene is what a runner keeps for expressions. Steps of a lower order have
// ended and do not change any more, so each is read once.
type scene struct {
	steps   []task.EnvStep // from the first of the definition on
	pending *transition    // that is not committed yet, while something is evaluated
	hook    *task.EnvHook
}

// environment is what the step's expressions are evaluated over. What the
// transition changes counts as done: it is committed with what follows from it.
// Call evaluated when its values are not needed any more.
func (r *runner) environment(t *transition, def *task.Step, attempt int) (task.Env, error) {
	r.scene.pending = t
	env := task.Env{
		Task: r.run.Task, Settings: r.def.Settings, Run: r.run, Step: def.Name, Attempt: attempt, Now: r.e.Clock.Now(),
	}
	lower := slices.IndexFunc(r.def.Steps, func(s task.Step) bool { return s.Order >= def.Order })
	err := r.e.Store.View(func(rd Reader) (err error) {
		for i := len(r.scene.steps); i < lower; i++ {
			s, err := rd.Step(r.id, task.Position{Top: uint32(i)})
			if err != nil {
				return fmt.Errorf("read step %s: %w", r.def.Steps[i].Name, err)
			}
			for _, pending := range t.steps {
				if pending.Position == s.Position {
					s = pending
				}
			}
			one, err := r.envStep(rd, r.run, r.def.Steps[i].Name, s)
			if err != nil {
				return err
			}
			r.scene.steps = append(r.scene.steps, one)
		}
		if r.run.HookOf > 0 && r.scene.hook == nil {
			r.scene.hook, err = r.envHook(rd)
		}
		return err
	})
	if err != nil {
		return env, err
	}
	env.Steps, env.Hook = r.scene.steps[:lower:lower], r.scene.hook
	return env, nil
}

func (r *runner) evaluated() { r.scene.pending = nil }

// envStep is a step as expressions see it. One that a restart left out is that
// of the run that is restarted.
func (r *runner) envStep(rd Reader, run task.Run, name string, s task.RunStep) (task.EnvStep, error) {
	id := run.ID
	if s.Reason == task.ReasonNotAsked {
		of, top, err := left(rd, run, s.Position.Top)
		if err == nil {
			id = of
			s, err = rd.Step(of, task.Position{Top: top})
		}
		if err != nil && !errors.Is(err, task.ErrNotFound) { // of a run that is gone there are no outputs
			return task.EnvStep{}, err
		}
	}
	return task.EnvStep{Name: name, Status: s.Status, Message: s.Message, Error: s.Error,
		Outputs: func() (map[string]json.RawMessage, error) { return r.outputs(id, s.Position) }}, nil
}

// envHook is the run whose end made this one.
func (r *runner) envHook(rd Reader) (*task.EnvHook, error) {
	hook := &task.EnvHook{Ref: r.run.HookOfRef(), Number: r.run.HookOf, Status: r.run.HookStatus, Reason: r.run.HookReason}
	run, err := rd.RunByNumber(r.run.Task, r.run.HookOf)
	if err != nil {
		return nil, missing("run", hook.Ref, err)
	}
	def, err := definition(rd, run)
	if err != nil {
		return nil, err
	}
	for i := range def.Steps {
		s, err := rd.Step(run.ID, task.Position{Top: uint32(i)})
		if err != nil {
			return nil, fmt.Errorf("read step %s of run %s: %w", def.Steps[i].Name, run.Ref(), err)
		}
		one, err := r.envStep(rd, run, def.Steps[i].Name, s)
		if err != nil {
			return nil, err
		}
		hook.Steps = append(hook.Steps, one)
	}
	return hook, nil
}

// outputs reads those of one step.
func (r *runner) outputs(id task.RunID, pos task.Position) (map[string]json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	err := r.e.Store.View(func(rd Reader) error {
		return rd.Outputs(id, pos, func(at task.Position, name string, value json.RawMessage) bool {
			if at == pos {
				all[name] = slices.Clone(value)
			}
			return at == pos
		})
	})
	if t := r.scene.pending; t != nil && id == r.id {
		for _, o := range t.outputs {
			if o.pos == pos {
				for name, value := range o.values {
					all[name] = value
				}
			}
		}
	}
	return all, err
}
