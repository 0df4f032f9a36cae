package engine

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Wish is a run that somebody asks for.
type Wish struct {
	Task string
	By   string // who asks
	// May says, within the transaction, whether who asks may start runs of that
	// task; nil: yes. Its error is returned as it is.
	May func(t *task.Task) error

	At       time.Time // not to be started before; zero, or past: at once
	Priority *int      // nil: the task's
	Only     string    // the one step that is to be carried out; empty: all

	// Own is the definition that the run is to have alone: that of the task at the
	// version in it, with Set laid over. task.ErrConflict when the task has another
	// version by now; make it anew then.
	Own *task.Task
	Set json.RawMessage // see task.Run
}

// Submit makes a run of a task and puts it in the queue. It is durable when
// Submit returns. task.ErrState: the task is a draft or disabled, or what comes
// before the step that is asked for has failed.
func (e *Engine) Submit(ctx context.Context, w Wish) (task.Run, error) {
	return e.create(ctx, func(tx Tx) (task.Run, error) { return e.submit(tx, e.Clock.Now(), w, "") })
}

// submit makes the run that was wished for, as one of a batch if that has a name.
func (e *Engine) submit(tx Tx, now time.Time, w Wish, batch string) (task.Run, error) {
	def, err := tx.Task(w.Task)
	if err != nil {
		return task.Run{}, missing("task", w.Task, err)
	}
	if w.May != nil {
		if err := w.May(&def); err != nil {
			return task.Run{}, err
		}
	}
	if err := runnable(&def); err != nil {
		return task.Run{}, err
	}
	if w.Own != nil {
		if w.Own.Version != def.Version {
			return task.Run{}, &task.ConflictError{Task: def.Name, Wanted: w.Own.Version, Current: def.Version, By: def.UpdatedBy}
		}
		def = *w.Own
	}
	run := policies(task.Run{Trigger: task.TriggerManual, StartedBy: w.By, Set: w.Set, Only: w.Only, Batch: batch}, &def)
	if w.Priority != nil {
		run.Priority = *w.Priority
	}
	if run.Priority < -task.MaxPriority || run.Priority > task.MaxPriority {
		return task.Run{}, fmt.Errorf("the priority %d is not between %d and %d: %w", run.Priority, -task.MaxPriority, task.MaxPriority, task.ErrInvalid)
	}
	if w.At.After(now) {
		run.NotBefore = w.At.Round(0)
	}
	if w.Only != "" {
		if err := mayDoOnly(tx, &def, w.Only); err != nil {
			return task.Run{}, err
		}
	}
	return e.make(tx, now, def, run, w.Own != nil)
}

// runnable says why there can be no run of the task.
func runnable(t *task.Task) error {
	switch {
	case t.Draft():
		return fmt.Errorf("task %s has no steps yet, it is a draft (stepd task edit %s): %w", t.Name, t.Name, task.ErrState)
	case t.Disabled:
		return disabled(t.Name)
	}
	return nil
}

func disabled(name string) error {
	return fmt.Errorf("task %s is disabled (stepd task enable %s): %w", name, name, task.ErrState)
}

// policies gives the run what its definition says of its place in the queue.
// Runs of hooks have no policies but the priority.
func policies(run task.Run, def *task.Task) task.Run {
	run.Priority = def.Priority
	if !run.Cause().Hook() {
		run.MaxRuns, run.Locks = def.MaxRuns, def.Locks
	}
	return run
}

// create commits a new run with the steps of its definition, and queues it.
func (e *Engine) create(ctx context.Context, prepare func(Tx) (task.Run, error)) (task.Run, error) {
	if err := e.mayBegin(); err != nil {
		return task.Run{}, err
	}
	var run task.Run
	err := e.Store.Update(ctx, func(tx Tx) (err error) {
		run, err = prepare(tx)
		return err
	})
	if err != nil {
		return task.Run{}, err
	}
	e.Adopt(run)
	return run, nil
}

// SubmitIn makes a queued run of def, as the task stands in that transaction or
// stood before it, and returns it with its number. The caller sets Trigger (a
// hook's makes a run of the hook's steps), StartedBy, Schedule, ScheduledFor,
// RestartOf, Serial and Replaces; all else is the engine's: policies come from
// def. Once the transaction is durable the run belongs to Adopt; until then nobody
// knows of it.
func (e *Engine) SubmitIn(tx Tx, def task.Task, wish task.Run) (task.Run, error) {
	return e.make(tx, e.Clock.Now(), def, policies(task.Run{
		Trigger: wish.Trigger, StartedBy: wish.StartedBy, RestartOf: wish.RestartOf,
		Schedule: wish.Schedule, ScheduledFor: wish.ScheduledFor,
		Serial: wish.Serial || wish.Replaces, Replaces: wish.Replaces,
	}, &def), false)
}

// make writes the run, queued, with its steps: those that def has for its
// trigger. own: def becomes its own, else it is pinned to def's version unless
// it names one.
func (e *Engine) make(tx Tx, now time.Time, def task.Task, run task.Run, own bool) (task.Run, error) {
	run.Task, run.Key, run.Status = def.Name, rand.Text(), task.RunQueued
	run.CreatedAt, run.QueuedAt = now, now
	whole := def
	def = carriedOut(def, run)
	if len(def.Steps) == 0 {
		return task.Run{}, fmt.Errorf("a run of task %s (%s) would have no steps: %w", def.Name, run.Cause(), task.ErrInvalid)
	}
	from := 0
	if run.From != "" {
		if from = task.StepNamed(def.Steps, run.From); from < 0 {
			return task.Run{}, noStep(run.From, &def)
		}
	}
	var err error
	if run.ID, run.Number, err = tx.NextRun(def.Name); err != nil {
		return task.Run{}, err
	}
	run.TaskVersion = def.Version
	switch {
	case own:
		run.DefinitionVersion = task.PrivateVersion(run.ID, 0)
		if err := tx.PutDefinition(run.DefinitionVersion, whole); err != nil {
			return task.Run{}, err
		}
	case run.DefinitionVersion == 0:
		run.DefinitionVersion = def.Version
	}
	run.Total, run.Skipped = len(def.Steps), from
	for i, s := range def.Steps {
		step := task.RunStep{
			Position: task.Position{Top: uint32(i)}, Name: s.Name, Controller: s.Controller,
			Order: s.Order, Status: task.StepReady,
		}
		if i < from {
			step.Status, step.Reason, step.EndedAt = mustStep(step.Status, task.EventSkip), task.ReasonNotAsked, now
			step.Message = "the restart begins with " + run.From
		}
		if err := tx.PutStep(run.ID, step); err != nil {
			return task.Run{}, err
		}
	}
	return run, tx.PutRun(run)
}

// noStep says that the definition has no step of that name, and which it has.
func noStep(name string, def *task.Task) error {
	var names []string
	for _, s := range def.Steps {
		names = append(names, s.Name)
	}
	if len(names) > maxNames {
		names = append(names[:maxNames:maxNames], "...")
	}
	return fmt.Errorf("step %q in task %s; it has %s: %w", name, def.Name, strings.Join(names, ", "), task.ErrNotFound)
}

const maxNames = 20

// mayDoOnly says why the step may not be carried out alone: there is none, or one
// that comes before it has failed and interrupts. What has become of that one is
// in the newest run that dealt with it: runs of one step alone leave the others
// to the runs before them.
func mayDoOnly(rd Reader, def *task.Task, name string) error {
	at := task.StepNamed(def.Steps, name)
	if at < 0 {
		return noStep(name, def)
	}
	open := map[string]bool{}
	for _, s := range def.Steps[:at] {
		open[s.Name] = s.InterruptOnStepFault
	}
	var fault error
	looked := 0
	err := rd.Runs(def.Name, 0, func(run task.Run) bool {
		if run.Cause().Hook() {
			return true
		}
		looked++
		then, err := definition(rd, run)
		if err != nil {
			fault = err
			return false
		}
		for i, s := range then.Steps {
			if !open[s.Name] {
				continue
			}
			step, err := rd.Step(run.ID, task.Position{Top: uint32(i)})
			switch {
			case err != nil:
				fault = err
			case step.Status == task.StepFailed || step.Status == task.StepInterrupted:
				fault = fmt.Errorf("step %s comes before %s and is %s in run %s; do that first (stepd continue %s): %w",
					s.Name, name, step.Status, run.Ref(), run.Ref(), task.ErrState)
			case step.Status != task.StepReady:
				open[s.Name] = false
			}
			if fault != nil {
				return false
			}
		}
		return run.Only != "" && looked < maxLooked
	})
	if fault != nil {
		return fault
	}
	return err
}

const maxLooked = 100 // runs

// Adopt takes up runs of SubmitIn whose transaction is durable: they are shown
// and queued, and what they replace is cancelled. It does not block. A run that
// is never adopted, because the daemon died, is found by the next Start.
func (e *Engine) Adopt(runs ...task.Run) {
	places := make([]*queued, 0, len(runs))
	for _, run := range runs {
		e.watchers.publish(Event{Kind: EventRun, Run: run})
		places = append(places, placeOf(run))
	}
	e.enqueue(places...)
}

// mayBegin refuses new work while the daemon stops or the disk is full.
func (e *Engine) mayBegin() error {
	e.mu.Lock()
	stopping := e.stopping
	e.mu.Unlock()
	if stopping {
		return task.ErrStopping
	}
	return e.Store.Room()
}
