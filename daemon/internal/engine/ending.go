package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/stepd/stepd/daemon/internal/task"
)

// conclude decides whether the run has ended, and how.
func (r *runner) conclude(t *transition) bool {
	if r.lookups > 0 && r.halt.why != goOn {
		r.stopAsking() // a plugin that takes its time to start is not waited for
	}
	if len(r.attempts)+len(t.starts)+r.lookups > 0 {
		return false
	}
	switch r.halt.why {
	case goOn:
		if len(r.lanes) > 0 || r.nextTop < len(r.def.Steps) {
			return false
		}
	case haltStop:
		if r.interrupted == "" {
			return true // waiting steps keep their time; the next life goes on from it
		}
	}
	for _, l := range r.lanes {
		switch {
		case l.top.Status.Ended():
			l.endPauses(t, r.halt.event()) // of one that gave up
		case l.top.PlanDone && (l.top.Cancel != nil || l.finished() && (l.tally.cancelled == 0 || r.halt.event() != task.EventCancel)):
			l.conclude(t)
		}
	}
	r.lanes = slices.DeleteFunc(r.lanes, func(l *lane) bool { return l.top.Status.Ended() })
	event, reason := r.verdict(t)
	for _, l := range r.lanes {
		l.abort(t, r.halt)
	}
	if event != task.EventCancel {
		r.run.Cancel = nil // it came too late
	}
	r.run.Status = mustRun(r.run.Status, event)
	r.run.Reason = reason
	r.run.EndedAt = r.e.Clock.Now()
	if event == task.EventComplete {
		r.run.Progress = 100
	}
	t.runChanged = true
	level := task.LogInfo
	if r.run.Status != task.RunCompleted {
		level = task.LogError
	}
	text := "the run is " + string(r.run.Status)
	if reason != "" {
		text += ": " + reason
	}
	t.say(level, "", 0, text)
	return true
}

// finish does what follows the run's last commit.
func (r *runner) finish() {
	if r.run.Status.Alive() { // the daemon stops
		return
	}
	r.e.Controllers.EndRun(r.id)
	if r.run.Status == task.RunCompleted {
		if err := r.e.Workspaces.Remove(r.run); err != nil {
			r.e.Logger.Warn("the run's directory stays", "run", r.run.Ref(), "error", err)
		}
	}
	r.e.RunLog.Close(r.run)
}

// refuse ends a run that cannot even begin.
func (r *runner) refuse(cause error) error {
	if r.run.Status == task.RunQueued {
		r.run.Status = mustRun(r.run.Status, task.EventStart)
	}
	r.run.Status = mustRun(r.run.Status, task.EventFail)
	r.run.Reason, r.run.EndedAt = cause.Error(), r.e.Clock.Now()
	t := &transition{runChanged: true}
	t.say(task.LogError, "", 0, r.run.Reason)
	if err := r.commit(t); err != nil {
		return errors.Join(cause, err)
	}
	r.finish()
	return cause
}

// drain answers those who still wait for the runner.
func (r *runner) drain() {
	for {
		select {
		case message := <-r.inbox:
			if m, ok := message.(cancelMessage); ok {
				m.reply <- r.refusal()
			}
		default:
			return
		}
	}
}

// refusal is why a run whose runner is through cannot be cancelled.
func (r *runner) refusal() error {
	if r.run.Status.Alive() {
		return task.ErrStopping
	}
	return fmt.Errorf("run %s has just ended, it is %s: %w", r.run.Ref(), r.run.Status, task.ErrState)
}

// abandon ends the attempts of a run whose state cannot be saved. The next
// life of the daemon takes it up as after a crash.
func (r *runner) abandon(err error) {
	r.e.Logger.Error("a run is left as it is: its state cannot be saved", "run", r.run.Ref(), "error", err)
	for _, a := range r.attempts {
		a.end(task.ErrStopping, "")
	}
	for len(r.attempts) > 0 {
		switch m := (<-r.inbox).(type) {
		case doneMessage:
			delete(r.attempts, m.attempt.id.Position)
			m.attempt.close()
		case cancelMessage:
			m.reply <- err
		}
	}
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
		if r.halt.why == haltFault && r.interrupted == "" && r.missing == "" {
			return task.EventFail, r.halt.reason
		}
		return task.EventFail, r.progress.reason(r.run)
	case r.interrupted != "":
		return task.EventIncomplete, r.interrupted
	case r.missing != "":
		return task.EventIncomplete, r.missing
	case everything && r.run.Only != "" && len(r.def.Steps) > 1:
		return task.EventIncomplete, fmt.Sprintf("only step %s was asked for", r.run.Only)
	case everything:
		return task.EventComplete, ""
	case r.halt.why == haltFault:
		return task.EventFail, r.halt.reason
	}
	return task.EventIncomplete, fmt.Sprintf("%d of %d steps are left", r.run.Total-r.run.Completed-r.run.Skipped, r.run.Total)
}
