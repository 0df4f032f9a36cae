package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// bookInterval is how old the counts in a run's record may be while its planned
// steps are carried out.
const bookInterval = time.Second

// settle turns an attempt's outcome into the step's next state.
func (r *runner) settle(t *transition, a *attempt, o task.Outcome) {
	l := a.lane
	l.running--
	cause := context.Cause(a.ctx)
	wished := l.wished(a, o)
	s := a.step
	a.keepProgress(&s)
	switch {
	case wished:
		l.cancelled(t, s, o)
	case o.Kind == task.OutcomeCompleted && a.plan:
		l.planned(t, a, s, o)
	case o.Kind == task.OutcomeCompleted:
		l.complete(t, a, s, o)
	case errors.Is(cause, task.ErrCancelled):
		l.cancelled(t, s, o)
	case errors.Is(cause, task.ErrStopping):
		l.stopped(t, s)
	case o.Kind == task.OutcomeSessionLost && l.top.Session != "" && !a.plan:
		l.sessionLost(t, s, o)
	case errors.Is(cause, task.ErrDeadline):
		l.fault(t, s, a.timedOut(o))
	default:
		l.failed(t, s, o)
	}
}

// complete ends a step that is done.
func (l *lane) complete(t *transition, a *attempt, s task.RunStep, o task.Outcome) {
	s.Status = mustStep(s.Status, task.EventComplete)
	s.Message, s.Error, s.Reason = cut(o.Message, task.MaxMessage), "", ""
	s.EndedAt = l.r.e.Clock.Now()
	a.mu.Lock()
	if a.saved {
		t.checkpoints = append(t.checkpoints, s.Position)
	}
	if len(a.outputs) > 0 {
		t.outputs = append(t.outputs, stepOutputs{s.Position, a.outputs})
	}
	a.mu.Unlock()
	l.r.run.Completed++
	l.ended(t, s)
	t.say(task.LogInfo, l.fullName(s), s.Attempt, completedText(s.Message))
}

func completedText(message string) string {
	if message == "" {
		return "completed"
	}
	return "completed: " + message
}

// planned makes the steps of a plan visible, in one transaction.
func (l *lane) planned(t *transition, a *attempt, s task.RunStep, o task.Outcome) {
	s.Planning, s.PlanDone = false, true
	s.Planned, s.Session = a.planned, o.Session
	s.Message, s.Error, s.Reason = cut(o.Message, task.MaxMessage), "", ""
	l.tally = a.tally
	l.read, l.window, l.exhausted, l.order = 0, nil, a.planned == 0, 0
	t.runChanged = true
	text := fmt.Sprintf("planned %d steps", a.planned)
	if s.Message != "" {
		text += ": " + s.Message
	}
	t.say(task.LogInfo, l.fullName(s), s.Attempt, text)
	if a.planned == 0 {
		s.Status = mustStep(s.Status, task.EventComplete)
		s.EndedAt = l.r.e.Clock.Now()
		l.r.run.Completed++
		l.ended(t, s)
		return
	}
	l.r.run.Total += a.planned - 1
	l.keep(s)
	t.put(s)
}

// ended books a step that has ended in whatever way.
func (l *lane) ended(t *transition, s task.RunStep) {
	l.keep(s)
	t.put(s)
	if s.Position.Sub > 0 {
		l.tally.end(s)
		l.r.bookPlanned(t)
	} else {
		t.runChanged = true
		l.r.progress.endLane(l)
	}
}

// bookPlanned writes the run's own record now and then only: its counts can be
// had from the steps, which is what load does, and a record less a step is a
// third less to commit.
func (r *runner) bookPlanned(t *transition) {
	if now := r.e.Clock.Now(); now.Sub(r.booked) >= bookInterval {
		r.booked = now
		t.runChanged = true
	}
}

// failed handles an outcome that nobody asked for.
func (l *lane) failed(t *transition, s task.RunStep, o task.Outcome) {
	safe := l.top.Effect != task.AtMostOnce || s.Planning
	switch o.Kind {
	case task.OutcomePermanent:
		l.fault(t, s, fault{reason: task.ReasonPermanent, text: o.Message})
	case task.OutcomeRefused: // nothing was done yet
		l.fault(t, s, fault{reason: task.ReasonRefused, text: o.Message, retry: true, after: o.RetryAfter})
	case task.OutcomeNoResult:
		if !safe {
			l.interrupt(t, s, o.Message)
			return
		}
		l.fault(t, s, fault{reason: task.ReasonNoResult, text: o.Message, retry: true})
	case task.OutcomeSessionLost:
		l.fault(t, s, fault{reason: task.ReasonError, text: "it says that its session is lost, and has none: " + o.Message, retry: true, after: o.RetryAfter})
	case task.OutcomeLost:
		if !safe {
			l.interrupt(t, s, o.Message)
			return
		}
		l.giveBack(t, s, o.Message)
		t.say(task.LogWarn, l.fullName(s), s.Attempt, o.Message+"; it starts again")
	default:
		l.fault(t, s, fault{reason: task.ReasonError, text: o.Message, retry: true, after: o.RetryAfter})
	}
}

// fault fails the step, or lets it wait for another attempt.
func (l *lane) fault(t *transition, s task.RunStep, f fault) {
	if f.text == "" {
		f.text = "it failed without saying why"
	}
	s.Error, s.Reason, s.Planning = cut(f.text, task.MaxMessage), f.reason, false
	now := l.r.e.Clock.Now()
	name, attempts := l.fullName(s), l.attempts()
	if goesOn := l.r.halt.why == goOn || l.r.halt.why == haltStop; goesOn && f.retry && s.Tries < attempts {
		pause := max(f.after, l.pause(s.Tries))
		limit := l.def.Limits.MaxExecutionTime
		if limit == 0 || now.Add(pause).Before(s.StartedAt.Add(limit)) {
			s.Status = mustStep(s.Status, task.EventRetry)
			s.RetryAt = now.Add(pause)
			over(&s, now, s.Reason, s.Error)
			l.wait(s)
			t.put(s)
			t.say(task.LogWarn, name, s.Attempt, fmt.Sprintf("attempt %d of %d failed: %s; the next follows in %s",
				s.Tries, attempts, s.Error, pause.Round(time.Millisecond)))
			return
		}
		s.Error += fmt.Sprintf(" (no time is left for another attempt: max_execution_time is %s)", limit)
	}
	s.Status = mustStep(s.Status, task.EventFail)
	s.EndedAt = now
	l.r.run.Failed++
	l.ended(t, s)
	t.say(task.LogError, name, s.Attempt, fmt.Sprintf("failed after %d of %d attempts: %s", s.Tries, attempts, s.Error))
	l.r.progress.fault(name, s.Error)
	if l.def.InterruptOnStepFault {
		l.r.haltFor(fmt.Sprintf("step %s failed: %s", name, firstLine(s.Error)))
	}
}

// interrupt leaves a step for a person to decide on: it may have had its
// effect, and must not have it twice.
func (l *lane) interrupt(t *transition, s task.RunStep, why string) {
	name := l.fullName(s)
	s.Status = mustStep(s.Status, task.EventInterrupt)
	s.Reason, s.EndedAt = task.ReasonLost, l.r.e.Clock.Now()
	s.Error = cut(why, task.MaxMessage)
	l.ended(t, s)
	text := fmt.Sprintf("step %s was lost in the middle and is not repeated by itself: %s", name, firstLine(why))
	t.say(task.LogError, name, s.Attempt, text)
	l.r.interrupt(text)
}

// interrupt halts the run because a person has to decide.
func (r *runner) interrupt(why string) {
	if r.interrupted == "" {
		r.interrupted = why
	}
	r.haltFor(why)
}

// haltFor starts nothing new, unless there is a stronger reason already.
func (r *runner) haltFor(reason string) {
	if r.halt.why == goOn {
		r.halt = halt{haltFault, reason}
	}
}

// giveBack lets the step start again as if this attempt had not been; its
// number stays used, and its history says why.
func (l *lane) giveBack(t *transition, s task.RunStep, why string) {
	over(&s, l.r.e.Clock.Now(), task.ReasonLost, why)
	s.Status = mustStep(s.Status, task.EventRelease)
	s.Tries, s.Planning = max(0, s.Tries-1), false
	l.keep(s)
	t.put(s)
	if s.Position.Sub > 0 {
		l.again = append(l.again, s)
	}
}

// cancelled ends a step because somebody wanted it to.
func (l *lane) cancelled(t *transition, s task.RunStep, o task.Outcome) {
	s.Status = mustStep(s.Status, task.EventCancel)
	s.Reason, s.Error = task.ReasonCancelled, ""
	if o.Kind != task.OutcomeCancelled {
		s.Error = cut(o.Message, task.MaxMessage)
	}
	s.Planning, s.EndedAt = false, l.r.e.Clock.Now()
	l.ended(t, s)
	t.say(task.LogWarn, l.fullName(s), s.Attempt, "cancelled")
	if s.Cancel != nil || l.top.Cancel != nil {
		l.noteCancelled(s)
	}
}

// stopped gives a step back that ended because the daemon stops.
func (l *lane) stopped(t *transition, s task.RunStep) {
	if l.top.Effect == task.AtMostOnce && !s.Planning {
		l.interrupt(t, s, "the daemon was stopped while it ran")
		return
	}
	l.giveBack(t, s, "the daemon was stopped while it ran")
	if l.r.halt.why == haltStop {
		t.say(task.LogInfo, l.fullName(s), s.Attempt, "stopped with the daemon; it goes on when that is back")
	}
}

// lose takes up a step that was running when the daemon died.
func (l *lane) lose(t *transition, s task.RunStep) {
	s.Losses++
	switch {
	case s.Cancel != nil || l.top.Cancel != nil:
		l.cancelled(t, s, task.Outcome{Kind: task.OutcomeCancelled})
	case s.Losses >= maxLosses:
		l.fault(t, s, fault{reason: task.ReasonPoisoned, text: fmt.Sprintf(
			"the daemon died %d times while this step ran; it is not tried again by itself", s.Losses)})
	case l.top.Effect == task.AtMostOnce && !s.Planning:
		l.interrupt(t, s, "the daemon died while it ran")
	default:
		l.giveBack(t, s, "the daemon died while it ran")
		t.say(task.LogWarn, l.fullName(s), s.Attempt, "the daemon died while it ran; it goes on")
	}
}

func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-3], "") + "..."
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
