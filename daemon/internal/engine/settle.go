package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Defaults of a retry policy that the task leaves out.
const (
	defaultAttempts   = 3 // 1 for at_most_once
	defaultBackoff    = 2 * time.Second
	defaultMaxBackoff = 5 * time.Minute
)

// bookInterval is how old the counts in a run's record may be while its planned
// steps are carried out.
const bookInterval = time.Second

// fault is why an attempt did not complete its step.
type fault struct {
	reason string // one of task.Reason...
	text   string
	retry  bool          // another attempt may help
	after  time.Duration // not before
}

// settle turns an attempt's outcome into the step's next state.
func (r *runner) settle(t *transition, a *attempt, o task.Outcome) {
	l, s := a.lane, a.step
	l.running--
	cause := context.Cause(a.ctx)
	switch {
	case o.Kind == task.OutcomeCompleted && a.plan:
		l.planned(t, a, o)
	case o.Kind == task.OutcomeCompleted:
		l.complete(t, a, o)
	case errors.Is(cause, task.CauseCancelled):
		l.cancelled(t, s, o)
	case errors.Is(cause, task.CauseStopping):
		l.stopped(t, s)
	case o.Kind == task.OutcomeSessionLost && l.top.Session != "" && !a.plan:
		l.sessionLost(t, s, o)
	case errors.Is(cause, task.CauseDeadline):
		l.fault(t, s, a.timedOut(o))
	default:
		l.failed(t, s, o)
	}
}

// complete ends a step that is done.
func (l *lane) complete(t *transition, a *attempt, o task.Outcome) {
	s := a.step
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
func (l *lane) planned(t *transition, a *attempt, o task.Outcome) {
	s := a.step
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
		l.giveBack(t, s)
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
// number stays used.
func (l *lane) giveBack(t *transition, s task.RunStep) {
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
}

// stopped gives a step back that ended because the daemon stops.
func (l *lane) stopped(t *transition, s task.RunStep) {
	if l.top.Effect == task.AtMostOnce && !s.Planning {
		l.interrupt(t, s, "the daemon was stopped while it ran")
		return
	}
	l.giveBack(t, s)
	if l.r.halt.why == haltStop {
		t.say(task.LogInfo, l.fullName(s), s.Attempt, "stopped with the daemon; it goes on when that is back")
	}
}

// lose takes up a step that was running when the daemon died.
func (l *lane) lose(t *transition, s task.RunStep) {
	s.Losses++
	switch {
	case s.Losses >= maxLosses:
		l.fault(t, s, fault{reason: task.ReasonPoisoned, text: fmt.Sprintf(
			"the daemon died %d times while this step ran; it is not tried again by itself", s.Losses)})
	case l.top.Effect == task.AtMostOnce && !s.Planning:
		l.interrupt(t, s, "the daemon died while it ran")
	default:
		l.giveBack(t, s)
		t.say(task.LogWarn, l.fullName(s), s.Attempt, "the daemon died while it ran; it goes on")
	}
}

// sessionLost starts the whole group again: completed steps too, as they
// belong to a session that is gone. Work that must not be repeated is left for
// a person instead.
func (l *lane) sessionLost(t *transition, s task.RunStep, o task.Outcome) {
	if l.top.Effect == task.AtMostOnce {
		l.interrupt(t, s, o.Message)
		return
	}
	l.giveBack(t, s)
	if l.restarting || l.top.Status.Ended() || l.r.halt.why != goOn {
		return // one loss counts once; a run that ends leaves it to whoever continues it
	}
	l.top.Losses++
	if l.top.Losses >= maxLosses {
		l.giveUp(t, fmt.Sprintf("the session of its plan was lost %d times: %s", l.top.Losses, o.Message))
		return
	}
	l.restarting = true
	t.put(l.top)
	t.say(task.LogWarn, l.def.Name, 0, o.Message+"; all its planned steps start again, so that none is of another session")
	for _, a := range l.r.attempts {
		if a.lane == l {
			t.after(func() { a.end(task.CauseStopping, "") })
		}
	}
}

// giveUp ends a planner whose planned steps cannot be carried out. What of
// them still runs may end; nothing new is started.
func (l *lane) giveUp(t *transition, why string) {
	top := l.top
	top.Status = mustStep(top.Status, task.EventFail)
	top.Reason, top.Error, top.EndedAt = task.ReasonLost, cut(why, task.MaxMessage), l.r.e.Clock.Now()
	l.ended(t, top)
	t.say(task.LogError, l.def.Name, 0, "failed: "+top.Error)
	l.r.progress.fault(l.def.Name, top.Error)
	l.r.haltFor(fmt.Sprintf("step %s failed: its session was lost", l.def.Name))
}

// restart forgets the planned steps and plans anew. Nothing of the lane runs.
func (l *lane) restart(t *transition) {
	l.restarting = false
	l.r.run.Completed -= l.tally.completed
	l.r.run.Failed -= l.tally.failed
	l.r.run.Total -= l.top.Planned - 1
	l.top.Status = mustStep(l.top.Status, task.EventRelease)
	l.top.PlanDone, l.top.Planned, l.top.Session = false, 0, ""
	l.top.Tries = 0
	if l.tally.failed > 0 {
		l.r.progress.forgive(l.def.Name)
	}
	l.tally = tally{}
	l.window, l.again, l.handled = nil, nil, map[task.Position]bool{}
	for pos := range l.waiting {
		delete(l.waiting, pos)
	}
	l.known = false // ask whether it still plans
	t.put(l.top)
	t.runChanged = true
}

// attempts is how often a step may be tried in all.
func (l *lane) attempts() int {
	switch {
	case l.def.Retry.Attempts > 0:
		return l.def.Retry.Attempts
	case l.top.Effect == task.AtMostOnce:
		return 1
	}
	return defaultAttempts
}

// pause is how long to wait after so many tries: exponential, with jitter.
func (l *lane) pause(tries int) time.Duration {
	base, top := l.def.Retry.Backoff, l.def.Retry.MaxBackoff
	if base <= 0 {
		base = defaultBackoff
	}
	if top <= 0 {
		top = max(defaultMaxBackoff, base)
	}
	pause := base
	for i := 1; i < tries && pause < top; i++ {
		pause *= 2
	}
	return l.r.e.Jitter(min(pause, top))
}

func fifthEitherWay(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// timedOut is the fault of an attempt that a time limit ended.
func (a *attempt) timedOut(o task.Outcome) fault {
	a.mu.Lock()
	which := a.limit
	a.mu.Unlock()
	limits := a.lane.def.Limits
	f := fault{reason: task.ReasonTimedOut}
	switch which {
	case limitAttempt:
		f.text, f.retry = fmt.Sprintf("attempt_timeout of %s passed", limits.AttemptTimeout), true
	case limitProgress:
		f.text, f.retry = fmt.Sprintf("no progress for %s (progress_timeout)", limits.ProgressTimeout), true
	case limitStep:
		f.text = fmt.Sprintf("max_execution_time of the step (%s) passed", limits.MaxExecutionTime)
	default:
		f.text = fmt.Sprintf("max_execution_time of the task (%s) passed", a.r.def.MaxExecutionTime)
	}
	if o.Kind != task.OutcomeCancelled && o.Message != "" {
		f.text += ": " + o.Message
	}
	return f
}

// verdict is how the run ends, with nothing under way any more.
func (r *runner) verdict(t *transition) (task.Event, string) {
	everything := len(r.lanes) == 0 && r.nextTop >= len(r.def.Steps)
	switch {
	case r.halt.why == haltCancel && !(everything && t.wish): // the first commit wins
		return task.EventCancel, r.halt.reason
	case r.halt.why == haltDeadline && (!everything || r.run.Failed > 0):
		return task.EventFail, r.halt.reason
	case r.run.Failed > 0 || r.progress.faulty():
		if r.halt.why == haltFault && r.interrupted == "" {
			return task.EventFail, r.halt.reason
		}
		return task.EventFail, r.progress.reason(r.run)
	case r.interrupted != "":
		return task.EventIncomplete, r.interrupted
	case everything:
		return task.EventComplete, ""
	case r.halt.why == haltFault:
		return task.EventFail, r.halt.reason
	}
	return task.EventIncomplete, fmt.Sprintf("%d of %d steps are left", r.run.Total-r.run.Completed-r.run.Skipped, r.run.Total)
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
