package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stepd/stepd/daemon/internal/task"
)

// CancelStep ends one step of a run that waits or is carried out: "tables", or
// "tables/actor" for a planned one. The wish is durable when it returns nil. A
// step that has not begun, or waits, is cancelled at once; one that is carried
// out ends within its grace, and a planner with those of its steps that are: the
// others do not begin. What has completed before stays so: task.ErrState.
//
// The run goes on, unless the step interrupts it, and ends incomplete. Of a
// planned step that is cancelled, its planner is cancelled in the end.
func (e *Engine) CancelStep(ctx context.Context, id task.RunID, step, by string) (task.Run, error) {
	return e.cancel(ctx, id, cancelMessage{by: by, step: step}, func() (task.Run, error) {
		return e.cancelStepQueued(ctx, id, step, by)
	})
}

// cancelStepQueued cancels a step of a run that nobody carries out meanwhile.
func (e *Engine) cancelStepQueued(ctx context.Context, id task.RunID, name, by string) (run task.Run, err error) {
	var view StepView
	err = e.Store.Update(ctx, func(tx Tx) error {
		if run, err = tx.Run(id); err != nil {
			return err
		}
		def, err := definition(tx, run)
		if err != nil {
			return err
		}
		s, err := stepOf(tx, run.ID, &def, name)
		if err != nil {
			return err
		}
		if s.Status.Ended() {
			return endedStep(name, run, s)
		}
		s = cancelledStep(s, &task.CancelRequest{By: by, At: e.Clock.Now()})
		view = stepView(def, s, nil)
		return tx.PutStep(run.ID, s)
	})
	if err != nil {
		return task.Run{}, err
	}
	e.RunLog.Append(run, task.LogEntry{Time: view.EndedAt, Level: task.LogWarn, Step: name, Message: cancelReason(view.Cancel) + " before it started"})
	e.watchers.publish(Event{Kind: EventStep, Run: run, Step: &view})
	return run, nil
}

// stepOf finds a step, planned or not, by its full name.
func stepOf(rd Reader, id task.RunID, def *task.Task, name string) (task.RunStep, error) {
	top, child, planned := strings.Cut(name, "/")
	at := task.StepNamed(def.Steps, top)
	if at < 0 {
		return task.RunStep{}, noStep(name, def)
	}
	s, err := rd.Step(id, task.Position{Top: uint32(at)})
	if err != nil || !planned {
		return s, err
	}
	if !s.PlanDone {
		return s, fmt.Errorf("step %q: step %s has no planned steps: %w", name, top, task.ErrNotFound)
	}
	pos, err := childNamed(rd, id, uint32(at), child)
	if err != nil {
		return s, err
	}
	return rd.Step(id, pos)
}

func endedStep(name string, run task.Run, s task.RunStep) error {
	return fmt.Errorf("step %s of run %s is %s already: %w", name, run.Ref(), s.Status, task.ErrState)
}

// cancelledStep is a step that nobody carries out, cancelled.
func cancelledStep(s task.RunStep, wish *task.CancelRequest) task.RunStep {
	s.Cancel = wish
	s.Status, s.Reason, s.EndedAt = mustStep(s.Status, task.EventCancel), task.ReasonCancelled, wish.At
	return s
}

// cancelStep makes the wish durable; the first commit wins between it and the
// step's result.
func (r *runner) cancelStep(t *transition, m cancelMessage) {
	answer := func(err error) { t.after(func() { m.reply <- err }) }
	switch r.halt.why {
	case haltStop:
		answer(task.ErrStopping)
		return
	case haltCancel, haltDeadline:
		answer(fmt.Errorf("run %s is about to end: %w", r.run.Ref(), task.ErrState))
		return
	}
	s, err := r.stepNow(t, m.step)
	if err == nil && s.Status.Ended() {
		err = endedStep(m.step, r.run, s)
	}
	if err != nil {
		answer(err)
		return
	}
	// What is started next is read from the store, which is to know of it then.
	t.hold = true
	t.cancels = append(t.cancels, m)
	if s.Cancel == nil {
		s.Cancel = &task.CancelRequest{By: m.by, At: r.e.Clock.Now()}
		t.say(task.LogWarn, m.step, s.Attempt, cancelReason(s.Cancel))
	}
	l := r.laneOf(s.Position.Top)
	switch a := r.attempts[s.Position]; {
	case a != nil:
		a.step.Cancel = s.Cancel
		l.keep(s)
		t.put(s)
		t.after(func() {
			if a.step.Cancel == nil { // the result was there before
				m.reply <- fmt.Errorf("step %s of run %s has just ended: %w", m.step, r.run.Ref(), task.ErrState)
				return
			}
			a.told = true
			a.end(task.ErrCancelled, "")
			m.reply <- nil
		})
		return
	case l != nil && s.PlanDone:
		l.cancelPlan(t, s)
	case l != nil:
		l.drop(s.Position)
		s = cancelledStep(s, s.Cancel)
		l.ended(t, s)
		l.noteCancelled(s)
	default: // its turn comes later, and sees it
		t.put(cancelledStep(s, s.Cancel))
	}
	answer(nil)
}

// stepNow is the step as it stands, with what the transition makes of it.
func (r *runner) stepNow(t *transition, name string) (s task.RunStep, err error) {
	err = r.e.Store.View(func(rd Reader) error {
		s, err = stepOf(rd, r.id, &r.def, name)
		return err
	})
	if err != nil {
		return s, err
	}
	for _, put := range t.steps {
		if put.Position == s.Position {
			return put, nil
		}
	}
	return s, nil
}

func (r *runner) laneOf(top uint32) *lane {
	i := slices.IndexFunc(r.lanes, func(l *lane) bool { return l.top.Position.Top == top })
	if i < 0 {
		return nil
	}
	return r.lanes[i]
}

// cancelPlan ends what is carried out of the planned steps. The planner ends when
// they have.
func (l *lane) cancelPlan(t *transition, top task.RunStep) {
	l.endPauses(t, task.EventCancel)
	clear(l.waiting)
	l.again = nil
	l.keep(top)
	t.put(top)
	for _, a := range l.r.attempts {
		if a.lane == l {
			t.after(func() { a.end(task.ErrCancelled, "") })
		}
	}
}

// drop takes a step out of those that are to be started.
func (l *lane) drop(pos task.Position) {
	here := func(s task.RunStep) bool { return s.Position == pos }
	delete(l.waiting, pos)
	l.again = slices.DeleteFunc(l.again, here)
	l.window = slices.DeleteFunc(l.window, here)
}

// wished reports whether the attempt's step is cancelled, whatever came of the
// attempt. A result that came before the wish was durable wins; so does that of a
// planned step whose planner is cancelled.
func (l *lane) wished(a *attempt, o task.Outcome) bool {
	completed := o.Kind == task.OutcomeCompleted
	switch {
	case a.step.Cancel != nil && completed && !a.told:
		if !a.plan || a.planned == 0 { // else its steps are not done
			a.step.Cancel = nil
		}
		return false
	case a.step.Cancel != nil:
		return true
	}
	return l.top.Cancel != nil && !completed
}

// noteCancelled remembers why the run does not complete, and starts nothing new
// where the step interrupts. A planned step does not: its planner does, in the
// end.
func (l *lane) noteCancelled(s task.RunStep) {
	wish := wishOf(s.Cancel, l.top.Cancel)
	if s.Cancel == nil {
		s = l.top // with which it was
	}
	text := fmt.Sprintf("step %s was %s", l.fullName(s), cancelReason(wish))
	l.r.cancelledStep(text)
	if s.Status == task.StepCancelled && s.Position.Sub == 0 && l.def.InterruptOnStepFault {
		l.r.haltFor(text)
	}
}

// wishOf is the first wish that there is.
func wishOf(wishes ...*task.CancelRequest) *task.CancelRequest {
	for _, wish := range wishes {
		if wish != nil {
			return wish
		}
	}
	return &task.CancelRequest{}
}

func (r *runner) cancelledStep(text string) {
	if r.missing == "" {
		r.missing = text
	}
}
