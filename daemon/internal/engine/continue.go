package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// continuing is a run on its way back into the queue. Nothing of it is seen
// before commit; what a crash leaves half reset is reset by the next try.
type continuing struct {
	e     *Engine
	run   task.Run
	again Again

	was    task.Task // what the run is pinned to, with the steps that it carries out
	def    task.Task // what it goes on by, likewise
	whole  task.Task // the same with all of its steps and hooks
	from   uint32    // place of the first step that is done again in any case
	counts stepCounts
}

// prepare reads all that decides whether the run may go on as asked.
func (c *continuing) prepare(rd Reader) (err error) {
	if c.was, err = definition(rd, c.run); err != nil {
		return err
	}
	c.def = c.was
	if c.again.Latest {
		current, err := rd.Task(c.run.Task)
		gone := ignoreNotFound(err) == nil && err != nil
		if err != nil && !gone {
			return err
		}
		if c.whole, err = latest(current, gone, c.run, c.again); err != nil {
			return err
		}
		c.def = carriedOut(c.whole, c.run)
	}
	c.from = math.MaxUint32
	if c.again.From != "" {
		at := task.StepNamed(c.def.Steps, c.again.From)
		if at < 0 {
			return noStep(c.again.From, &c.def)
		}
		c.from = uint32(at)
	}
	confirm := confirm{task.ConfirmError{Run: c.run.Ref()}}
	for i := range c.was.Steps {
		top, err := rd.Step(c.run.ID, task.Position{Top: uint32(i)})
		if err != nil {
			return err
		}
		if err := c.fits(top); err != nil {
			return err
		}
		if err := confirm.group(rd, c.run.ID, top, top.Position.Top >= c.from); err != nil {
			return err
		}
	}
	if c.again.Confirmed {
		return nil
	}
	return confirm.err()
}

// fits says why today's definition is none for a run that has begun this step.
func (c *continuing) fits(top task.RunStep) error {
	if !c.again.Latest || !begun(top) || top.Position.Top >= c.from {
		return nil
	}
	why := "it has no such step at that place"
	if at := int(top.Position.Top); at < len(c.def.Steps) {
		switch s := c.def.Steps[at]; {
		case s.Name != top.Name:
			why = fmt.Sprintf("step %s is at that place", s.Name)
		case s.Controller != top.Controller:
			why = fmt.Sprintf("it is carried out by %s there, not by %s", s.Controller, top.Controller)
		default:
			return nil
		}
	}
	return fmt.Errorf("run %s has begun step %s, which today's task %s does not have like that: %s (stepd restart %s --latest makes a new run): %w",
		c.run.Ref(), top.Name, c.run.Task, why, c.run.Ref(), task.ErrState)
}

// begun reports whether anything was done of the step or decided about it.
func begun(s task.RunStep) bool { return s.Status != task.StepReady || s.Attempt > 0 }

type stepCounts struct {
	total, completed, skipped int
	progress                  float64
}

const resetBatch = 500

// reset makes all steps as new that are to be done, and counts. It does so in
// batches: a crash in between leaves an ended run, which can be continued again.
func (c *continuing) reset(ctx context.Context) error {
	var weights, done float64
	var top task.RunStep
	var group tally
	weight := func() float64 {
		if at := int(top.Position.Top); at < len(c.def.Steps) {
			return c.def.Steps[at].ProgressWeight()
		}
		return 0
	}
	closeTop := func() {
		if group.weight > 0 && top.PlanDone && top.Planned > 0 && top.Status != task.StepCompleted {
			done += weight() * group.weightDone / group.weight
		}
	}
	from := task.Position{}
	for more := true; more; {
		more = false
		var batch []task.RunStep
		err := c.e.Store.View(func(rd Reader) error {
			return rd.Steps(c.run.ID, from, func(s task.RunStep) bool {
				anew := s.Position.Top >= c.from
				from = task.Position{Top: s.Position.Top, Sub: s.Position.Sub + 1}
				if s.Position.Sub == 0 {
					closeTop()
					top, group = s, tally{}
					if anew {
						top.PlanDone, top.Planned = false, 0
					}
					weights += weight()
				} else if !top.PlanDone {
					return true // left of a plan that was never made whole, or is made anew
				}
				leaf := s.Position.Sub > 0 || !top.PlanDone || top.Planned == 0
				keep := kept(s) && !anew
				if leaf && int(s.Position.Top) < len(c.def.Steps) {
					c.counts.total++
				}
				if s.Position.Sub > 0 {
					group.plan(s)
				}
				switch {
				case keep && s.Position.Sub == 0:
					done += weight()
				case keep:
					group.end(s)
				}
				switch {
				case leaf && keep && s.Status == task.StepCompleted:
					c.counts.completed++
				case leaf && keep:
					c.counts.skipped++
				}
				if !keep && (s.Status != task.StepReady || !s.StartedAt.IsZero() || anew && begun(s)) {
					batch = append(batch, s)
				}
				more = len(batch) == resetBatch
				return !more
			})
		})
		if err != nil {
			return err
		}
		if err := c.resetBatch(ctx, batch); err != nil {
			return err
		}
	}
	closeTop()
	for i := len(c.was.Steps); i < len(c.def.Steps); i++ {
		c.counts.total++
		weights += c.def.Steps[i].ProgressWeight()
	}
	if weights > 0 {
		c.counts.progress = min(almost, 100*done/weights)
	}
	return nil
}

func (c *continuing) resetBatch(ctx context.Context, batch []task.RunStep) error {
	if len(batch) == 0 {
		return nil
	}
	return c.e.Store.Update(ctx, func(tx Tx) error {
		for _, s := range batch {
			anew := s.Position.Top >= c.from
			if anew {
				if err := tx.DeleteOutputs(c.run.ID, s.Position); err != nil {
					return err
				}
				if err := tx.DeleteCheckpoint(c.run.ID, s.Position); err != nil {
					return err
				}
			}
			if err := tx.PutStep(c.run.ID, fresh(s, anew)); err != nil {
				return err
			}
		}
		return nil
	})
}

// fresh is the step as if it had not been tried; its attempts stay counted, so
// that none is taken for another. anew: its plan is forgotten as well, whose steps
// go when the next one is made.
func fresh(s task.RunStep, anew bool) task.RunStep {
	f := task.RunStep{
		Position: s.Position, Name: s.Name, Controller: s.Controller, Order: s.Order, Status: task.StepReady,
		Settings: s.Settings, Weight: s.Weight, ETA: s.ETA, Effect: s.Effect, Attempt: s.Attempt, Tried: history(s),
	}
	if s.PlanDone && !anew {
		f.Planned, f.PlanDone, f.Session = s.Planned, true, s.Session
		f.Message = s.Message // of the plan, which stays
	}
	return f
}

// commit puts the run into the queue. With today's definition, the steps that
// have not begun become those of it.
func (c *continuing) commit(ctx context.Context) (next task.Run, err error) {
	if c.again.Latest { // nobody sees them any more, and there may be many
		for i := int(c.from); i < len(c.was.Steps); i++ {
			if err := c.e.deletePlanned(c.run.ID, uint32(i)); err != nil {
				return next, err
			}
		}
	}
	err = c.e.Store.Update(ctx, func(tx Tx) error {
		current, err := tx.Run(c.run.ID)
		if err != nil {
			return err
		}
		next = current // the keeper may have noted its size meanwhile
		if next.Status, err = current.Status.Next(task.EventContinue); err != nil {
			return fmt.Errorf("%w: %w", task.ErrState, err)
		}
		next.Cancel, next.Reason, next.Failed, next.QueuedAt = nil, "", 0, c.e.Clock.Now()
		next.Replaces = false                       // what it was to replace has been
		next.NotBefore, next.Only = time.Time{}, "" // now, and all that is left
		next.Completed, next.Skipped, next.Total, next.Progress = c.counts.completed, c.counts.skipped, c.counts.total, c.counts.progress
		if c.again.Latest {
			if err := c.repin(tx, &next); err != nil {
				return err
			}
		}
		return tx.PutRun(next)
	})
	return next, err
}

// repin gives the run today's definition.
func (c *continuing) repin(tx Tx, next *task.Run) error {
	current, err := tx.Task(next.Task)
	if err != nil {
		return missing("task", next.Task, err)
	}
	if current.Version != c.whole.Version {
		return &task.ConflictError{Task: current.Name, Wanted: c.whole.Version, Current: current.Version, By: current.UpdatedBy}
	}
	next.TaskVersion, next.DefinitionVersion = c.whole.Version, c.whole.Version
	if c.again.Own != nil {
		if next.DefinitionVersion, err = unusedVersion(tx, next); err != nil {
			return err
		}
		if err := tx.PutDefinition(next.DefinitionVersion, c.whole); err != nil {
			return err
		}
	} else {
		next.Set = nil
	}
	*next = policies(*next, &c.whole)
	for i, s := range c.def.Steps {
		step := task.RunStep{Position: task.Position{Top: uint32(i)}, Status: task.StepReady}
		if i < len(c.was.Steps) {
			if step, err = tx.Step(next.ID, step.Position); err != nil {
				return err
			}
			if !kept(step) && (step.Name != s.Name || step.Controller != s.Controller) {
				step = task.RunStep{Position: step.Position, Status: task.StepReady, Attempt: step.Attempt}
			}
		}
		step.Name, step.Controller, step.Order = s.Name, s.Controller, s.Order
		if err := tx.PutStep(next.ID, step); err != nil {
			return err
		}
	}
	for i := len(c.def.Steps); i < len(c.was.Steps); i++ {
		if err := tx.DeleteStep(next.ID, uint32(i)); err != nil {
			return err
		}
	}
	return nil
}

// unusedVersion is one for a definition of the run's own that no run is pinned to:
// restarts of it may be alive, and keep what they have.
func unusedVersion(rd Reader, run *task.Run) (uint64, error) {
	for nth := range uint64(task.MaxPrivate) {
		version := task.PrivateVersion(run.ID, nth)
		if _, err := rd.Definition(run.Task, version); errors.Is(err, task.ErrNotFound) {
			return version, nil
		}
	}
	return 0, fmt.Errorf("run %s has had too many definitions of its own: %w", run.Ref(), task.ErrState)
}

// texts are the lines of the run's log about it.
func (c *continuing) texts(next task.Run) []string {
	text := "continued"
	if c.again.By != "" {
		text += " by " + c.again.By
	}
	if c.again.From != "" {
		text += ", from step " + c.again.From + " on"
	}
	if !c.again.Latest || next.OfVersion() == c.run.OfVersion() {
		return []string{text}
	}
	return []string{text, fmt.Sprintf("it goes on by version %d of the task, it was of version %d; what has completed stays as it is, whatever has changed about it",
		next.OfVersion(), c.run.OfVersion())}
}
