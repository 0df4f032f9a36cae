package pluginhost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/stepd/stepd/daemon/internal/task"
	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

const (
	maxPlannedSettings = 200 << 10 // bytes of one planned step's settings: they share its record
	maxPlanChunk       = 512       // steps handed to add at a time
)

// Plan asks the controller into which steps the work splits and passes them
// to add in order, at most 512 at a time. An error of add ends the plan. When
// ctx is done the plan is given up at once. A plan that breaks the contract
// fails as a whole; the caller forgets what it was given.
func (h *Host) Plan(ctx context.Context, work task.Work, r task.Reporter, add func([]task.PlannedStep) error) task.Outcome {
	for range deliveries {
		c := &call{work: work, reporter: r, cfg: &h.cfg, logs: newLimiter(h.cfg.LogRate, h.cfg.LogBurst)}
		ctl, failed := h.admit(ctx, c)
		if failed != nil {
			return *failed
		}
		outcome, delivered := c.plan(ctx, ctl, add)
		c.proc.leave(c, outcome.Session != "")
		if delivered {
			return outcome
		}
		c.proc.undelivered()
	}
	return task.Outcome{Kind: task.OutcomeRefused, Message: fmt.Sprintf("plugin %s: no process of it took the plan, %d times", work.Controller, deliveries)}
}

func (c *call) plan(ctx context.Context, ctl controller, add func([]task.PlannedStep) error) (task.Outcome, bool) {
	if !ctl.info.Plans {
		return task.Outcome{Kind: task.OutcomePermanent, Message: fmt.Sprintf("plugin %s: controller %s does not plan", c.name(), ctl.own)}, true
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := c.proc.api.Plan(ctx, &stepdv1.PlanRequest{Controller: ctl.own, Settings: settings(c.work), Info: infoOf(c.work)})
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return task.Outcome{Kind: task.OutcomeCancelled, Message: cause.Error()}, true
		}
		return task.Outcome{}, false
	}
	defer c.reportDropped()
	checker := planChecker{add: add}
	for {
		m, err := stream.Recv()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil && !errors.Is(err, io.EOF) {
				return task.Outcome{Kind: task.OutcomeCancelled, Message: cause.Error()}, true
			}
			return c.lost(err), true
		}
		switch body := m.GetBody().(type) {
		case *stepdv1.PlanResponse_Log:
			c.log(body.Log)
		case *stepdv1.PlanResponse_Steps:
			if outcome := checker.take(body.Steps.GetSteps()); outcome != nil {
				if outcome.Kind == task.OutcomePermanent {
					outcome.Message = cut(fmt.Sprintf("plugin %s plans wrongly: %s", c.name(), outcome.Message), task.MaxMessage)
				}
				return *outcome, true
			}
		case *stepdv1.PlanResponse_Done:
			outcome := c.settle(body.Done.GetResult())
			if outcome.Kind == task.OutcomeCompleted {
				outcome.Session = cut(body.Done.GetSession(), 1<<10)
			}
			return outcome, true
		}
	}
}

// planChecker holds what has to be true of a plan as a whole. Names are told
// apart by whoever stores them: the plan may be larger than memory.
type planChecker struct {
	add   func([]task.PlannedStep) error
	count int
	order int
}

// take checks one chunk and passes it on. An outcome ends the plan: permanent
// when the plan is wrong, failed when it could not be stored.
func (p *planChecker) take(steps []*stepdv1.PlannedStep) *task.Outcome {
	for len(steps) > 0 {
		n := min(len(steps), maxPlanChunk)
		chunk := make([]task.PlannedStep, 0, n)
		for _, m := range steps[:n] {
			step, err := p.check(m)
			if err != nil {
				return &task.Outcome{Kind: task.OutcomePermanent, Message: fmt.Sprintf("step %d: %v", p.count+1, err)}
			}
			p.count++
			chunk = append(chunk, step)
		}
		if err := p.add(chunk); err != nil {
			return &task.Outcome{Kind: task.OutcomeFailed, Message: cut("keep the plan: "+err.Error(), task.MaxMessage)}
		}
		steps = steps[n:]
	}
	return nil
}

func (p *planChecker) check(m *stepdv1.PlannedStep) (task.PlannedStep, error) {
	step := task.PlannedStep{Name: m.GetName(), Order: int(m.GetOrder()), Weight: amount(m.GetWeight())}
	if err := task.CheckName(step.Name); err != nil {
		return step, err
	}
	if p.count > 0 && step.Order < p.order {
		return step, fmt.Errorf("%s has order %d after order %d: orders must not decrease", step.Name, step.Order, p.order)
	}
	p.order = step.Order
	switch raw := bytes.TrimSpace(m.GetSettings()); {
	case len(raw) > maxPlannedSettings:
		return step, fmt.Errorf("%s has %d bytes of settings, at most %d are kept", step.Name, len(raw), maxPlannedSettings)
	case len(raw) == 0:
		step.Settings = json.RawMessage("{}")
	case raw[0] != '{' || !validJSON(raw):
		return step, fmt.Errorf("the settings of %s are no JSON object", step.Name)
	default:
		step.Settings = json.RawMessage(raw)
	}
	if step.Weight == math.MaxFloat64 {
		step.Weight = 0
	}
	if eta := m.GetEta(); eta.IsValid() {
		step.ETA = max(0, eta.AsDuration())
	}
	return step, nil
}
