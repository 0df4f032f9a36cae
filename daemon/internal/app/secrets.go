package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/secret"
	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

// secretControllers gives controllers the values of secrets, and takes values
// out of all that comes back, so that neither the engine nor the store ever see
// one. What one controller was given is looked for in what all of them say: they
// share directories.
type secretControllers struct {
	engine.Controllers
	resolver *secret.Resolver
	redactor *secret.Redactor
}

// Plan is that of the port. Planned steps get back the reference to a value that
// they hold as a whole.
func (c secretControllers) Plan(ctx context.Context, work task.Work, r task.Reporter, add func([]task.PlannedStep) error) task.Outcome {
	named, refused := c.resolve(ctx, &work)
	if refused != nil {
		return *refused
	}
	var fault error // of the plan; the host takes any error of add for one of the store
	outcome := c.Controllers.Plan(ctx, work, redacting{r, c.redactor}, func(batch []task.PlannedStep) error {
		for i := range batch {
			if err := c.keepable(&batch[i], named); err != nil {
				fault = err
				return err
			}
		}
		return add(batch)
	})
	if name, holds := c.redactor.Holds(outcome.Session); holds && fault == nil {
		fault = fmt.Errorf("its session: %w", &secret.InsideError{Name: name})
	}
	if fault != nil {
		outcome = task.Outcome{Kind: task.OutcomePermanent, Message: fmt.Sprintf("the plan of %s cannot be kept: %v", work.Controller, fault)}
	}
	return c.clean(outcome)
}

// Execute is that of the port.
func (c secretControllers) Execute(ctx context.Context, work task.Work, r task.Reporter) task.Outcome {
	if _, refused := c.resolve(ctx, &work); refused != nil {
		return *refused
	}
	return c.clean(c.Controllers.Execute(ctx, work, redacting{r, c.redactor}))
}

// resolve puts values in the place of references: where the controller's schema
// has a secret, and in planned steps wherever the plan has put one. An outcome
// says that the attempt cannot begin; another try may find what is missing.
func (c secretControllers) resolve(ctx context.Context, work *task.Work) (named map[string]bool, refused *task.Outcome) {
	refuse := func(err error) (map[string]bool, *task.Outcome) {
		kind := task.OutcomeRefused
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, cause) {
			kind = task.OutcomeCancelled
		}
		return nil, &task.Outcome{Kind: kind, Message: c.redactor.Text(err.Error())}
	}
	if !secret.Any(work.Settings) {
		return nil, nil
	}
	var marked func([]any) bool
	if work.Attempt.Position.Sub == 0 {
		info, err := c.Lookup(ctx, work.Controller)
		if err != nil {
			return refuse(err)
		}
		if marked, err = taskfile.SecretPlaces(info.Schema); err != nil {
			return refuse(fmt.Errorf("find the secrets in the settings of %s: %w", work.Controller, err))
		}
	}
	named = map[string]bool{}
	settings, err := secret.Replace(work.Settings, marked, func(name string) (any, error) {
		value, err := c.resolver.Value(name)
		if err != nil {
			return nil, err
		}
		c.redactor.Add(name, value)
		named[name] = true
		return value, nil
	})
	if err != nil {
		return refuse(err)
	}
	work.Settings = settings
	return named, nil
}

// checkSettings is what is wrong with settings that have the values of their
// expressions now. A secret is named by the definition alone: what a step before
// has put out must not choose which one a controller is given.
func checkSettings(info task.ControllerInfo, written, settings json.RawMessage) error {
	if err := taskfile.CheckSettings(info, settings); err != nil || !secret.Any(settings) {
		return err
	}
	marked, err := taskfile.SecretPlaces(info.Schema)
	if err != nil {
		return fmt.Errorf("find the secrets in them: %w", err)
	}
	named := map[string]bool{}
	if err := secret.Names(written, marked, func(name string) error { named[name] = true; return nil }); err != nil {
		return err
	}
	return secret.Names(settings, marked, func(name string) error {
		if !named[name] {
			return fmt.Errorf("an expression names the secret %.100q: only the definition itself may name one", name)
		}
		return nil
	})
}

// keepable makes a planned step one that may be stored. It may only refer to
// what the plan itself was given: a plugin cannot ask for other secrets.
func (c secretControllers) keepable(step *task.PlannedStep, named map[string]bool) error {
	if name, holds := c.redactor.Holds(step.Name); holds {
		return fmt.Errorf("the name of a step: %w", &secret.InsideError{Name: name})
	}
	err := secret.Names(step.Settings, nil, func(name string) error {
		if !named[name] {
			return fmt.Errorf("they refer to a secret that the settings of the plan do not name: %.100q", name)
		}
		return nil
	})
	if err == nil {
		step.Settings, err = c.redactor.References(step.Settings)
	}
	if err != nil {
		return fmt.Errorf("the settings of step %s: %w", step.Name, err)
	}
	return nil
}

func (c secretControllers) clean(outcome task.Outcome) task.Outcome {
	outcome.Message = c.redactor.Text(outcome.Message)
	return outcome
}

// redacting takes values out of what a controller says.
type redacting struct {
	task.Reporter
	redactor *secret.Redactor
}

// Log implements task.Reporter.
func (r redacting) Log(level task.LogLevel, message string, fields json.RawMessage) {
	clean := r.redactor.JSON(fields)
	if len(clean) > 0 && clean[0] != '{' { // all of it had to go
		clean, _ = json.Marshal(map[string]json.RawMessage{"fields": clean})
	}
	r.Reporter.Log(level, r.redactor.Text(message), clean)
}

// Progress implements task.Reporter. A counter whose number is a value is left
// out.
func (r redacting) Progress(p task.Progress) {
	p.Note = r.redactor.Text(p.Note)
	if len(p.Counters) > 0 {
		counters := make(map[string]int64, len(p.Counters))
		for name, n := range p.Counters {
			if _, holds := r.redactor.Holds(strconv.FormatInt(n, 10)); !holds {
				counters[r.redactor.Text(name)] = n
			}
		}
		p.Counters = counters
	}
	r.Reporter.Progress(p)
}

// Checkpoint implements task.Reporter.
func (r redacting) Checkpoint(data []byte) error {
	if name, holds := r.redactor.Holds(string(data)); holds {
		return fmt.Errorf("the checkpoint is refused: %w", &secret.InsideError{Name: name})
	}
	return r.Reporter.Checkpoint(data)
}

// Output implements task.Reporter.
func (r redacting) Output(name string, value json.RawMessage) error {
	if secretName, holds := r.redactor.Holds(name); holds {
		return fmt.Errorf("the name of an output: %w", &secret.InsideError{Name: secretName})
	}
	return r.Reporter.Output(name, r.redactor.JSON(value))
}
