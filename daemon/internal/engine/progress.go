package engine

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// almost is the highest progress of a run that has not completed.
const almost = 99.99

// progress weighs a run. It belongs to the runner's goroutine.
type progress struct {
	total float64 // weight of all steps of the definition
	done  float64 // of those that have ended

	startedAt time.Time // when this runner took the run up
	atStart   float64   // Run.Progress then

	firstFault     string
	firstFaultStep string
}

// load sums up the steps as they are stored, and counts them anew: the run's
// record may be behind them.
func (p *progress) load(r *runner) error {
	p.startedAt, p.atStart = r.e.Clock.Now(), r.run.Progress
	r.run.Total, r.run.Completed, r.run.Failed, r.run.Skipped = 0, 0, 0, 0
	return r.e.Store.View(func(rd Reader) error {
		for i := range r.def.Steps {
			def := &r.def.Steps[i]
			p.total += def.ProgressWeight()
			s, err := rd.Step(r.id, task.Position{Top: uint32(i)})
			if errors.Is(err, task.ErrNotFound) {
				return fmt.Errorf("step %s of run %s is missing in the store: %w", def.Name, r.run.Ref(), err)
			}
			if err != nil {
				return err
			}
			if err := r.count(rd, s); err != nil {
				return err
			}
			if !s.Status.Ended() {
				continue
			}
			switch s.Status {
			case task.StepCompleted, task.StepSkipped:
				p.done += def.ProgressWeight()
			case task.StepFailed:
				p.fault(def.Name, s.Error)
				if def.InterruptOnStepFault {
					r.haltFor(fmt.Sprintf("step %s failed: %s", def.Name, firstLine(s.Error)))
				}
			case task.StepInterrupted:
				r.interrupt(fmt.Sprintf("step %s was lost in the middle and is not repeated by itself", def.Name))
			}
		}
		return nil
	})
}

// count adds a step of the definition, or the steps that it planned, to the
// run's counts.
func (r *runner) count(rd Reader, s task.RunStep) error {
	if !s.PlanDone || s.Planned == 0 {
		r.countLeaf(s.Status)
		return nil
	}
	if s.Status == task.StepCompleted {
		r.run.Total += s.Planned
		r.run.Completed += s.Planned
		return nil
	}
	top := s.Position.Top
	return rd.Steps(r.id, task.Position{Top: top, Sub: 1}, func(c task.RunStep) bool {
		if c.Position.Top == top {
			r.countLeaf(c.Status)
		}
		return c.Position.Top == top
	})
}

func (r *runner) countLeaf(status task.StepStatus) {
	r.run.Total++
	switch status {
	case task.StepCompleted:
		r.run.Completed++
	case task.StepFailed:
		r.run.Failed++
	case task.StepSkipped:
		r.run.Skipped++
	}
}

// part is what one step is worth, in percent of the run.
func (p *progress) part(l *lane, s task.RunStep) float64 {
	part := 100 * l.def.ProgressWeight() / p.total
	if s.Position.Sub > 0 && l.tally.weight > 0 {
		part *= share(s) / l.tally.weight
	}
	return part
}

// endLane books what was done of a step of the definition that has ended. Its
// lane still counts as open until it is dropped, so its planned steps are taken
// out.
func (p *progress) endLane(l *lane) {
	l.booked = true
	switch {
	case l.top.Status == task.StepCompleted || l.top.Status == task.StepSkipped:
		p.done += l.def.ProgressWeight()
	case l.tally.weight > 0:
		p.done += l.def.ProgressWeight() * l.tally.weightDone / l.tally.weight
	}
}

// base is the percentage that ended steps are worth.
func (p *progress) base(r *runner) float64 {
	if p.total == 0 {
		return 0 // the run could not even begin
	}
	done := p.done
	for _, l := range r.lanes {
		if !l.booked && l.tally.weight > 0 {
			done += l.def.ProgressWeight() * l.tally.weightDone / l.tally.weight
		}
	}
	return 100 * done / p.total
}

// remaining is the planned ETA of what is left of the open plans.
func (p *progress) remaining(r *runner) time.Duration {
	var left time.Duration
	for _, l := range r.lanes {
		left += max(0, l.tally.eta-l.tally.etaDone)
	}
	return left
}

// update raises the run's progress; it never falls.
func (p *progress) update(r *runner) {
	if r.run.Status == task.RunCompleted {
		r.run.Progress = 100
		return
	}
	now := p.base(r)
	for _, a := range r.attempts {
		_, fraction := a.seen()
		now += a.part * fraction
	}
	r.mu.Lock()
	now = max(now, r.state.high)
	r.mu.Unlock()
	r.run.Progress = max(r.run.Progress, min(now, almost))
}

func (p *progress) fault(step, text string) {
	if p.firstFault == "" {
		p.firstFault = fmt.Sprintf("step %s failed: %s", step, firstLine(text))
		p.firstFaultStep = step
	}
}

// forgive forgets a fault among the planned steps of a step that starts again.
func (p *progress) forgive(step string) {
	if strings.HasPrefix(p.firstFaultStep, step+"/") {
		p.firstFault, p.firstFaultStep = "", ""
	}
}

func (p *progress) faulty() bool { return p.firstFault != "" }

func (p *progress) reason(run task.Run) string {
	if run.Failed > 1 && p.faulty() {
		return fmt.Sprintf("%d steps failed, the first: %s", run.Failed, p.firstFault)
	}
	if p.faulty() {
		return p.firstFault
	}
	return fmt.Sprintf("%d steps failed", run.Failed)
}
