package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// RunView is a run with what is known of it while it is alive.
type RunView struct {
	task.Run
	ETA           time.Duration // with HasETA
	HasETA        bool
	QueuePosition int    // from 1, while it is queued and its time has come
	WaitsFor      string // in words, while it is queued
	Stuck         bool   // a step of it gives no sign of progress
	Active        []StepView
}

// Find returns the run that a reference names: "backup/42", or "backup" for the
// newest one of the task itself (of its hooks only where there is no other).
func (e *Engine) Find(ref string) (RunView, error) {
	name, number, err := task.ParseRef(ref)
	if err != nil {
		return RunView{}, fmt.Errorf("%w: %w", err, task.ErrInvalid)
	}
	var run task.Run
	err = e.Store.View(func(rd Reader) error {
		if number == 0 {
			run, err = newest(rd, name)
		} else {
			run, err = rd.RunByNumber(name, number)
		}
		return err
	})
	if err != nil {
		return RunView{}, missing("run", ref, err)
	}
	return e.live(run), nil
}

// Run returns one run.
func (e *Engine) Run(id task.RunID) (RunView, error) {
	var run task.Run
	err := e.Store.View(func(rd Reader) error {
		var err error
		run, err = rd.Run(id)
		return err
	})
	return e.live(run), err
}

// live adds to a stored run what its runner knows.
func (e *Engine) live(run task.Run) RunView {
	view := RunView{Run: run}
	switch run.Status {
	case task.RunQueued:
		view.QueuePosition, view.WaitsFor = e.waiting(run.ID)
	case task.RunRunning:
		if r := e.runner(run.ID); r != nil {
			event := r.event(EventSnapshot)
			switch event.Run.Status {
			case "": // it has not begun yet
			case task.RunRunning: // its record lags behind in the counts
				event.Run.Progress = max(run.Progress, event.Run.Progress)
				view.Run = event.Run
				view.ETA, view.HasETA, view.Active, view.Stuck = event.ETA, event.HasETA, event.Active, event.Stuck
			default: // it has ended since
				view.Run = event.Run
			}
		}
	}
	return view
}

// Definition is the task as the run is pinned to it, with the steps that the
// run carries out.
func (e *Engine) Definition(run task.Run) (def task.Task, err error) {
	err = e.Store.View(func(rd Reader) error {
		def, err = definition(rd, run)
		return err
	})
	return def, err
}

// Steps is StepsOf all statuses.
func (e *Engine) Steps(run RunView, after *task.Position, limit int) (list []StepView, more bool, err error) {
	for len(list) < limit {
		page, next, err := e.StepsOf(run, "", after, limit-len(list))
		if err != nil {
			return nil, false, err
		}
		list, after, more = append(list, page...), next, next != nil
		if !more {
			break
		}
	}
	return list, more, nil
}

// TopSteps lists the steps of the definition as they stand in the run, and up
// to limit planned steps that failed or were lost.
func (e *Engine) TopSteps(run RunView, limit int) (tops, faults []StepView, err error) {
	def, err := e.Definition(run.Run)
	if err != nil {
		return nil, nil, err
	}
	live := run.live()
	err = e.Store.View(func(rd Reader) error {
		for i := range def.Steps {
			s, err := rd.Step(run.ID, task.Position{Top: uint32(i)})
			if err != nil {
				return fmt.Errorf("step %s: %w", def.Steps[i].Name, err)
			}
			tops = append(tops, stepView(def, s, live))
			if !s.PlanDone || s.Error == "" {
				continue
			}
			err = rd.Steps(run.ID, task.Position{Top: uint32(i), Sub: 1}, func(c task.RunStep) bool {
				if c.Position.Top != uint32(i) || len(faults) >= limit {
					return false
				}
				if c.Status == task.StepFailed || c.Status == task.StepInterrupted {
					faults = append(faults, stepView(def, c, live))
				}
				return true
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return tops, faults, err
}

// Outputs lists the outputs of the steps of the definition.
func (e *Engine) Outputs(run task.Run, fn func(step, name string, value json.RawMessage)) error {
	def, err := e.Definition(run)
	if err != nil {
		return err
	}
	return e.Store.View(func(rd Reader) error {
		for i := range def.Steps {
			own := task.Position{Top: uint32(i)}
			err := rd.Outputs(run.ID, own, func(pos task.Position, name string, value json.RawMessage) bool {
				if pos == own {
					fn(def.Steps[i].Name, name, value)
				}
				return pos == own
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func stepView(def task.Task, s task.RunStep, live map[task.Position]StepView) StepView {
	view := StepView{RunStep: s, Top: def.Steps[s.Position.Top].Name}
	if view.Controller == "" {
		view.Controller = def.Steps[s.Position.Top].Controller
	}
	view.Fraction, view.Note, view.Counters = keptFraction(s), s.Note, s.Counters
	if now, ok := live[s.Position]; ok && now.Status == s.Status {
		view.Fraction, view.Note, view.Counters, view.ETA, view.HasETA = now.Fraction, now.Note, now.Counters, now.ETA, now.HasETA
		view.IdleSince, view.Stuck, view.LastSaid, view.LastSaidAt = now.IdleSince, now.Stuck, now.LastSaid, now.LastSaidAt
	}
	if s.Status == task.StepCompleted {
		view.Fraction = 1
	}
	return view
}

func sortViews(views []StepView) {
	slices.SortFunc(views, func(a, b StepView) int {
		if a.Position.Less(b.Position) {
			return -1
		}
		return 1
	})
}

const maxInputPage = 400 << 10 // bytes

// inputs answers one page of outputs of an earlier step of the run, or of a step
// of the run whose end made it.
func (e *Engine) inputs(a *attempt, step, name, after string) (items []task.Input, next string, err error) {
	topName, child, isChild := strings.Cut(step, "/")
	var from uint64
	if after != "" {
		if from, err = strconv.ParseUint(after, 10, 32); err != nil {
			return nil, "", fmt.Errorf("%q is no place to go on from: %w", after, task.ErrInvalid)
		}
	}
	err = e.Store.View(func(rd Reader) error {
		id, top, err := source(rd, a, topName)
		if err != nil {
			return err
		}
		pos := task.Position{Top: top}
		planner, err := rd.Step(id, pos)
		if err != nil {
			return err
		}
		if isChild {
			if pos, err = childNamed(rd, id, pos.Top, child); err != nil {
				return err
			}
		}
		if isChild || !planner.PlanDone {
			value, err := rd.Output(id, pos, name)
			if err == nil {
				items = append(items, task.Input{Step: step, Value: value})
			}
			return ignoreNotFound(err)
		}
		size := 0
		var lastErr error
		err = rd.Outputs(id, task.Position{Top: pos.Top, Sub: uint32(from) + 1}, func(at task.Position, key string, value json.RawMessage) bool {
			if at.Top != pos.Top {
				return false
			}
			if key != name {
				return true
			}
			s, err := rd.Step(id, at)
			if err != nil {
				lastErr = err
				return false
			}
			items = append(items, task.Input{Step: topName + "/" + s.Name, Value: slices.Clone(value)})
			if size += len(value) + len(s.Name); size > maxInputPage {
				next = strconv.FormatUint(uint64(at.Sub), 10)
				return false
			}
			return true
		})
		if lastErr != nil {
			return lastErr
		}
		return err
	})
	return items, next, err
}

// source finds the step whose outputs are meant: an earlier one of the run, or
// else one of the run whose end made it.
func source(rd Reader, a *attempt, name string) (id task.RunID, top uint32, err error) {
	own, of := a.id.Position, a.work.HookOf
	named := func(s task.Step) bool { return s.Name == name }
	at := slices.IndexFunc(a.r.def.Steps, named)
	itself := at == int(own.Top) && own.Sub == 0 // named like the one of the other run, perhaps
	switch hook := of.Run > 0; {
	case at >= 0 && at <= int(own.Top) && !(hook && itself):
		return left(rd, a.r.shown().run, uint32(at))
	case !hook:
		return 0, 0, fmt.Errorf("the task has no earlier step %q: %w", name, task.ErrNotFound)
	}
	run, err := rd.RunByNumber(a.work.Task, of.Run)
	if err != nil {
		return 0, 0, missing("run", of.Ref, err)
	}
	def, err := definition(rd, run)
	if err != nil {
		return 0, 0, err
	}
	if at = slices.IndexFunc(def.Steps, named); at < 0 {
		return 0, 0, fmt.Errorf("neither the hook nor run %s has an earlier step %q: %w", run.Ref(), name, task.ErrNotFound)
	}
	return left(rd, run, uint32(at))
}

// left finds who has the outputs of a step of the run: the run itself, or, of one
// that the restart has skipped, the run that was restarted.
func left(rd Reader, run task.Run, top uint32) (task.RunID, uint32, error) {
	for {
		s, err := rd.Step(run.ID, task.Position{Top: top})
		if err != nil {
			return 0, 0, err
		}
		if s.Status != task.StepSkipped || s.Reason != task.ReasonNotAsked {
			return run.ID, top, nil
		}
		of := task.Run{Task: run.Task, Number: run.RestartOf}
		if run, err = rd.RunByNumber(of.Task, of.Number); err != nil {
			return 0, 0, missing("run", of.Ref(), err)
		}
		def, err := definition(rd, run)
		if err != nil {
			return 0, 0, err
		}
		at := task.StepNamed(def.Steps, s.Name)
		if at < 0 {
			return 0, 0, fmt.Errorf("run %s, whose outputs are used, has no step %q: %w", run.Ref(), s.Name, task.ErrNotFound)
		}
		top = uint32(at)
	}
}

// missing names what was not found as the person who asked named it.
func missing(what, name string, err error) error {
	if errors.Is(err, task.ErrNotFound) {
		err = task.ErrNotFound
	}
	return fmt.Errorf("%s %q: %w", what, name, err)
}

func childNamed(rd Reader, id task.RunID, top uint32, name string) (task.Position, error) {
	var found *task.Position
	err := rd.Steps(id, task.Position{Top: top, Sub: 1}, func(s task.RunStep) bool {
		if s.Position.Top == top && s.Name == name {
			found = &s.Position
		}
		return s.Position.Top == top && found == nil
	})
	if err == nil && found == nil {
		err = fmt.Errorf("there is no planned step %q: %w", name, task.ErrNotFound)
	}
	if err != nil {
		return task.Position{}, err
	}
	return *found, nil
}
