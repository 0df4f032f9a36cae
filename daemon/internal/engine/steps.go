package engine

import (
	"encoding/json"
	"slices"

	"github.com/stepd/stepd/daemon/internal/task"
)

// StepDetail is a step of a run with all that is kept of it.
type StepDetail struct {
	StepView
	When     string          // of its definition
	Settings json.RawMessage // as defined, or as planned; secrets are references
	Outputs  []StepOutput
}

// StepOutput is an output of a step.
type StepOutput struct {
	Name  string
	Value json.RawMessage
}

// Step finds a step of the run by its full name: "tables", or "tables/actor" for
// a planned one.
func (e *Engine) Step(run RunView, name string) (d StepDetail, err error) {
	live := run.live()
	err = e.Store.View(func(rd Reader) error {
		def, err := definition(rd, run.Run)
		if err != nil {
			return err
		}
		s, err := stepOf(rd, run.ID, &def, name)
		if err != nil {
			return err
		}
		d = StepDetail{StepView: stepView(def, s, live), Settings: s.Settings}
		if s.Position.Sub == 0 {
			own := &def.Steps[s.Position.Top]
			d.When, d.Settings = own.When, own.Settings
		}
		return rd.Outputs(run.ID, s.Position, func(pos task.Position, output string, value json.RawMessage) bool {
			if pos == s.Position {
				d.Outputs = append(d.Outputs, StepOutput{output, slices.Clone(value)})
			}
			return pos == s.Position
		})
	})
	return d, err
}

// stepScan is how many steps are looked at for one page of those of a status.
const stepScan = 20_000

// StepsOf lists the run's steps of that status, or all (""), in their order,
// planned ones too, at most limit, from the first one after the given position
// (nil: from the start). next is what after takes for the rest, nil at the end; a
// page may be short and yet have one.
func (e *Engine) StepsOf(run RunView, status task.StepStatus, after *task.Position, limit int) (list []StepView, next *task.Position, err error) {
	def, err := e.Definition(run.Run)
	if err != nil {
		return nil, nil, err
	}
	live := run.live()
	from := task.Position{}
	if after != nil {
		from = task.Position{Top: after.Top, Sub: after.Sub + 1}
	}
	visible := map[uint32]bool{} // planners whose plan is done
	err = e.Store.View(func(rd Reader) error {
		list, next = nil, nil
		if from.Sub > 0 {
			top, err := rd.Step(run.ID, task.Position{Top: from.Top})
			if err != nil {
				return err
			}
			visible[from.Top] = top.PlanDone
		}
		looked := 0
		var last task.Position
		return rd.Steps(run.ID, from, func(s task.RunStep) bool {
			if len(list) == limit || looked == stepScan {
				next = &last
				return false
			}
			looked++
			last = s.Position
			if s.Position.Sub == 0 {
				visible[s.Position.Top] = s.PlanDone
			} else if !visible[s.Position.Top] {
				return true
			}
			if status == "" || s.Status == status {
				list = append(list, stepView(def, s, live))
			}
			return true
		})
	})
	return list, next, err
}

// live is what is known of the steps that are carried out or wait.
func (v *RunView) live() map[task.Position]StepView {
	live := make(map[task.Position]StepView, len(v.Active))
	for _, s := range v.Active {
		live[s.Position] = s
	}
	return live
}
