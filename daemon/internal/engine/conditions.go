package engine

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stepd/stepd/daemon/internal/task"
)

// judge evaluates the condition of a step that nobody has begun in this life of
// the run: where it is false the step is skipped, and where it cannot be
// evaluated it fails.
func (l *lane) judge(t *transition) {
	if l.def.When == "" || l.top.Status != task.StepReady || !l.top.StartedAt.IsZero() {
		return
	}
	yes, err := l.when(t)
	switch {
	case err != nil:
		l.fault(t, l.begun(l.top), fault{reason: task.ReasonCondition, text: "its condition cannot be evaluated: " + err.Error()})
	case !yes:
		l.skip(t)
	}
}

func (l *lane) when(t *transition) (bool, error) {
	if l.r.e.Expressions == nil {
		return false, errors.New("this daemon knows no conditions")
	}
	env, err := l.r.environment(t, l.def, l.top.Attempt+1)
	if err != nil {
		return false, err
	}
	defer l.r.evaluated()
	return l.r.e.Expressions.When(l.def.When, env)
}

// skip ends a step that is not to be done.
func (l *lane) skip(t *transition) {
	s := l.top
	s.Status = mustStep(s.Status, task.EventSkip)
	s.Reason, s.Error = task.ReasonCondition, ""
	s.Message = cut("its condition is false: "+l.def.When, task.MaxMessage)
	s.EndedAt = l.r.e.Clock.Now()
	l.r.run.Skipped++
	l.ended(t, s)
	t.say(task.LogInfo, l.def.Name, 0, "skipped: "+s.Message)
}

// settings are those of the step itself, with the values of their expressions.
func (l *lane) settings(t *transition, attempt int) (json.RawMessage, error) {
	e := l.r.e
	if e.Expressions == nil || !e.Expressions.Has(l.def.Settings) {
		return l.def.Settings, nil
	}
	env, err := l.r.environment(t, l.def, attempt)
	if err != nil {
		return nil, err
	}
	defer l.r.evaluated()
	settings, err := e.Expressions.Settings(l.def.Settings, env)
	if err != nil {
		return nil, err
	}
	if e.CheckSettings != nil {
		if err := e.CheckSettings(l.info, l.def.Settings, settings); err != nil {
			return nil, fmt.Errorf("with the values of their expressions they are not what %s takes: %w", l.def.Controller, err)
		}
	}
	return settings, nil
}
