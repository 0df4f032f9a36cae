package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

// Effect declares what doing the work twice would mean. It decides what the
// daemon does with a step whose attempt was lost (a crash, a power cut), and
// how often a failed step is tried when the task does not say.
type Effect int

const (
	// Idempotent work may simply be done again. Tried 3 times by default.
	Idempotent Effect = iota + 1
	// Resumable work goes on from its last checkpoint. Tried 3 times by default.
	Resumable
	// AtMostOnce work is never repeated without a person's word. Tried once.
	AtMostOnce
)

func (e Effect) proto() (stepdv1.Effect, error) {
	switch e {
	case Idempotent:
		return stepdv1.Effect_EFFECT_IDEMPOTENT, nil
	case Resumable:
		return stepdv1.Effect_EFFECT_RESUMABLE, nil
	case AtMostOnce:
		return stepdv1.Effect_EFFECT_AT_MOST_ONCE, nil
	}
	return 0, errors.New("the effect is not set: use sdk.Idempotent, sdk.Resumable or sdk.AtMostOnce")
}

// Plugin is what a program serves.
type Plugin struct {
	Name        string // as the executable's
	Version     string // of the plugin, free in form
	Controllers []Registration
}

// Registration is a Controller[S] of any S.
type Registration interface {
	compile(plugin string) (*controller, error)
}

// Controller carries out one kind of step with settings of type S, a struct.
// Its exported fields with json tags are the settings; jsonschema tags describe
// them (see SettingsSchema).
type Controller[S any] struct {
	// Name is the controller's own name, without the plugin's: task files say
	// "plugin/name", or "plugin" alone for the controller that has the plugin's
	// name. Empty means that one.
	Name    string
	Summary string // one sentence
	Effect  Effect

	// Defaults holds the values of settings that a task does not give. They
	// are shown in the schema.
	Defaults S

	// Plan, when set, splits a step into several before any of them starts. It
	// runs once for each step (again after a crash in the middle of it), and
	// each planned step then goes to Run.
	Plan func(ctx context.Context, plan *Plan[S]) error

	// Run performs one attempt of one step. A nil error completes the step; a
	// plain error fails the attempt and is retried by the task's policy; see
	// Permanent and RetryAfter.
	Run func(ctx context.Context, step *Step[S]) error
}

// controller is a Controller with its type erased.
type controller struct {
	info *stepdv1.ControllerInfo
	plan func(ctx context.Context, c *planCall, settings []byte) error
	run  func(ctx context.Context, c *call, settings []byte) error
}

func (c Controller[S]) compile(plugin string) (*controller, error) {
	name := c.Name
	if name == "" {
		name = plugin
	}
	if strings.Contains(name, "/") {
		return nil, fmt.Errorf("controller %s: the name must not contain a slash; task files put the plugin's name in front of it", name)
	}
	effect, err := c.Effect.proto()
	if err != nil {
		return nil, fmt.Errorf("controller %s: %w", name, err)
	}
	if c.Run == nil {
		return nil, fmt.Errorf("controller %s: Run is not set", name)
	}
	schema, err := SettingsSchema(c.Defaults)
	if err != nil {
		return nil, fmt.Errorf("controller %s: %w", name, err)
	}
	defaults, err := json.Marshal(c.Defaults)
	if err != nil {
		return nil, fmt.Errorf("controller %s: encode defaults: %w", name, err)
	}
	compiled := &controller{
		info: &stepdv1.ControllerInfo{
			Name: name, Summary: c.Summary, SettingsSchema: schema, Effect: effect, Plans: c.Plan != nil,
		},
		run: func(ctx context.Context, call *call, raw []byte) error {
			step := &Step[S]{call: call, Info: call.info}
			if err := decodeSettings(defaults, raw, &step.Settings); err != nil {
				return err
			}
			return c.Run(ctx, step)
		},
	}
	if c.Plan != nil {
		compiled.plan = func(ctx context.Context, call *planCall, raw []byte) error {
			plan := &Plan[S]{call: call, Info: call.info}
			if err := decodeSettings(defaults, raw, &plan.Settings); err != nil {
				return err
			}
			return c.Plan(ctx, plan)
		}
	}
	return compiled, nil
}

// decodeSettings lays raw over a fresh copy of the defaults.
func decodeSettings(defaults, raw []byte, into any) error {
	if err := json.Unmarshal(defaults, into); err != nil {
		return Permanent(fmt.Errorf("decode the defaults of the settings: %w", err))
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return Permanent(fmt.Errorf("decode the settings: %w", err))
	}
	return nil
}
