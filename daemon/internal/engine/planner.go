package engine

import (
	"cmp"
	"fmt"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// takeUp sums up the planned steps and finds those that were under way.
func (l *lane) takeUp(t *transition) error {
	l.known = true
	if l.top.Status == task.StepReady { // continued
		now := l.r.e.Clock.Now()
		l.top.Status = mustStep(l.top.Status, task.EventStart)
		l.top.StartedAt, l.top.AttemptAt, l.top.EndedAt = now, now, time.Time{}
		t.put(l.top)
	}
	var lost []task.RunStep
	first := task.Position{Top: l.top.Position.Top, Sub: 1}
	err := l.r.e.Store.View(func(rd Reader) error {
		return rd.Steps(l.r.id, first, func(s task.RunStep) bool {
			if s.Position.Top != first.Top {
				return false
			}
			l.tally.plan(s)
			switch {
			case s.Status.Ended():
				l.tally.end(s)
				if s.Status == task.StepCancelled {
					l.noteCancelled(s)
				}
			case s.Status == task.StepRunning:
				l.handled[s.Position] = true
				lost = append(lost, s)
				l.order = s.Order
			case s.Status == task.StepWaiting:
				l.handled[s.Position] = true
				l.wait(s)
				l.order = s.Order
			}
			return true
		})
	})
	if err != nil {
		return fmt.Errorf("read the planned steps of %s: %w", l.def.Name, err)
	}
	for _, s := range lost {
		l.lose(t, s)
	}
	switch {
	case l.tally.interrupted > 0:
		l.r.interrupt(fmt.Sprintf("step %s: a planned step was lost in the middle and is not repeated by itself", l.def.Name))
	case l.tally.failed > 0 && l.def.InterruptOnStepFault:
		l.r.haltFor(l.def.Name + "/" + l.tally.firstFault)
	}
	return nil
}

// nextPlanned is the planned step that may start now.
func (l *lane) nextPlanned() (task.RunStep, bool) {
	if len(l.again) > 0 {
		s := l.again[0]
		l.again = l.again[1:]
		return s, true
	}
	if len(l.waiting) >= maxWaiting {
		return task.RunStep{}, false
	}
	if len(l.window) == 0 && (l.exhausted || !l.readWindow()) {
		return task.RunStep{}, false
	}
	s := l.window[0]
	if s.Order > l.order && l.running+len(l.waiting) > 0 {
		return task.RunStep{}, false // a lower order ends first
	}
	l.window = l.window[1:]
	l.order = s.Order
	return s, true
}

// readWindow reads the next planned steps that are to be started.
func (l *lane) readWindow() bool {
	top := l.top.Position.Top
	l.window = make([]task.RunStep, 0, windowSize)
	err := l.r.e.Store.View(func(rd Reader) error {
		return rd.Steps(l.r.id, task.Position{Top: top, Sub: l.read + 1}, func(s task.RunStep) bool {
			if s.Position.Top != top {
				return false
			}
			l.read = s.Position.Sub
			if s.Status == task.StepReady && !l.handled[s.Position] {
				l.window = append(l.window, s)
			}
			return len(l.window) < windowSize
		})
	})
	if err != nil {
		l.r.halt = halt{haltFault, fmt.Sprintf("read the planned steps of %s: %v", l.def.Name, err)}
		return false
	}
	if l.read >= uint32(l.top.Planned) {
		l.exhausted = true
	}
	return len(l.window) > 0
}

// finished reports whether all planned steps have ended.
func (l *lane) finished() bool {
	return l.exhausted && len(l.window)+len(l.again)+len(l.waiting)+l.running == 0
}

// conclude ends the planner of planned steps that have all ended.
func (l *lane) conclude(t *transition) {
	event := task.EventComplete
	switch {
	case l.tally.failed > 0:
		event = task.EventFail
		l.top.Reason = task.ReasonSteps
		l.top.Error = fmt.Sprintf("%d of %d planned steps failed, the first: %s", l.tally.failed, l.top.Planned, l.tally.firstFault)
	case l.tally.interrupted > 0:
		event = task.EventInterrupt
		l.top.Reason = task.ReasonLost
		l.top.Error = fmt.Sprintf("%d of %d planned steps were lost and must be decided on", l.tally.interrupted, l.top.Planned)
	case l.top.Cancel != nil:
		event = task.EventCancel
		l.top.Reason, l.top.Error = task.ReasonCancelled, ""
	case l.tally.cancelled > 0:
		event = task.EventCancel
		l.top.Reason = task.ReasonCancelled
		l.top.Error = fmt.Sprintf("%d of %d planned steps were cancelled", l.tally.cancelled, l.top.Planned)
	default:
		l.top.Error, l.top.Reason = "", ""
	}
	l.top.Status = mustStep(l.top.Status, event)
	l.top.EndedAt = l.r.e.Clock.Now()
	t.put(l.top)
	t.runChanged = true
	l.r.progress.endLane(l)
	switch event {
	case task.EventComplete:
		t.say(task.LogInfo, l.def.Name, 0, completedText(l.top.Message))
	case task.EventCancel:
		t.say(task.LogWarn, l.def.Name, 0, cmp.Or(l.top.Error, "cancelled"))
		l.noteCancelled(l.top)
	default:
		t.say(task.LogError, l.def.Name, 0, l.top.Error)
	}
}

// tally sums up a lane's planned steps.
type tally struct {
	weight, weightDone             float64
	eta, etaDone                   time.Duration
	completed, failed, interrupted int
	cancelled                      int
	firstFault                     string
}

func (y *tally) plan(s task.RunStep) {
	y.weight += share(s)
	y.eta += max(0, s.ETA)
}

func (y *tally) end(s task.RunStep) {
	y.etaDone += max(0, s.ETA)
	switch s.Status {
	case task.StepCompleted, task.StepSkipped:
		y.weightDone += share(s)
		y.completed++
	case task.StepFailed:
		y.failed++
		if y.firstFault == "" {
			y.firstFault = s.Name + ": " + s.Error
		}
	case task.StepInterrupted:
		y.interrupted++
	case task.StepCancelled:
		y.cancelled++
	}
}

// maxShare keeps the sum of whatever plugins say a number.
const maxShare = 1e12

// share is what a planned step weighs against its siblings.
func share(s task.RunStep) float64 {
	switch {
	case s.Weight > 0:
		return min(s.Weight, maxShare)
	case s.ETA > 0:
		return s.ETA.Seconds()
	}
	return 1
}

const windowSize = 256 // planned steps that are read ahead
