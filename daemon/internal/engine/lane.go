package engine

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// lane is one step of the definition on its way: a leaf, or a planner with
// its planned steps, of which only a window is held.
type lane struct {
	r   *runner
	def *task.Step
	top task.RunStep

	known  bool // the controller has been looked up
	asking bool
	info   task.ControllerInfo

	// Of the planned steps:
	read       uint32 // highest sub that was read into the window
	window     []task.RunStep
	exhausted  bool
	order      int
	running    int
	waiting    map[task.Position]task.RunStep
	again      []task.RunStep         // to be started once more, before those of the window
	handled    map[task.Position]bool // found under way when the lane was opened
	restarting bool                   // the session was lost: ends what runs, then plans anew

	ticket *ticket // for its next attempt, where its controller has limits
	tally  tally
	booked bool // counts as ended in the run's progress
}

// infoMessage brings the answer of a controller's lookup.
type infoMessage struct {
	lane *lane
	info task.ControllerInfo
	err  error
}

// openLane reads the step's record and takes up what an earlier life left.
func openLane(r *runner, index int, t *transition) (*lane, error) {
	l := &lane{r: r, def: &r.def.Steps[index], waiting: map[task.Position]task.RunStep{}, handled: map[task.Position]bool{}}
	err := r.e.Store.View(func(rd Reader) error {
		var err error
		l.top, err = rd.Step(r.id, task.Position{Top: uint32(index)})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read step %s: %w", r.def.Steps[index].Name, err)
	}
	switch {
	case l.top.Status == task.StepCancelled:
		l.noteCancelled(l.top)
	case l.top.Status.Ended():
	case l.top.PlanDone:
		return l, l.takeUp(t)
	case l.top.Status == task.StepRunning:
		l.lose(t, l.top)
	case l.top.Status == task.StepWaiting:
		l.wait(l.top)
	}
	return l, nil
}

// startNext starts one step of the lane, if one may start now.
func (l *lane) startNext(t *transition) bool {
	if l.top.Status.Ended() {
		return false
	}
	if l.top.PlanDone && l.top.Cancel != nil {
		if l.running == 0 {
			l.conclude(t)
		}
		return false
	}
	if l.restarting {
		if l.running > 0 {
			return false
		}
		l.restart(t)
	}
	if !l.top.PlanDone {
		return l.startTop(t)
	}
	s, ok := l.nextPlanned()
	if !ok {
		l.giveTicket()
		if l.finished() {
			l.conclude(t)
		}
		return false
	}
	if !l.admitted(t) {
		l.again = slices.Insert(l.again, 0, s)
		return false
	}
	l.start(t, s, false)
	return true
}

// startTop starts the step itself: its plan, or its work.
func (l *lane) startTop(t *transition) bool {
	switch {
	case len(l.waiting) > 0 || l.running > 0 || l.top.Status.Ended():
		l.giveTicket()
		return false
	case !l.known:
		l.ask()
		return false
	case !l.admitted(t):
		return false
	}
	l.top.Effect = l.info.Effect
	l.start(t, l.top, l.info.Plans)
	return true
}

// ask looks the controller up without holding the runner.
func (l *lane) ask() {
	if l.asking {
		return
	}
	l.asking = true
	l.r.lookups++
	ctx, name := l.r.asking, l.def.Controller
	go func() {
		info, err := l.r.e.Controllers.Lookup(ctx, name)
		l.r.tell(infoMessage{l, info, err})
	}()
}

// answered takes the controller's description.
func (l *lane) answered(t *transition, m infoMessage) {
	l.asking = false
	l.r.lookups--
	if m.err == nil {
		l.known, l.info = true, m.info
		return
	}
	if l.r.halt.why != goOn || l.top.Status.Ended() {
		return
	}
	s := l.begun(l.top)
	l.fault(t, s, fault{reason: task.ReasonRefused, text: m.err.Error(), retry: true})
}

// begun is the step with another attempt.
func (l *lane) begun(s task.RunStep) task.RunStep {
	now := l.r.e.Clock.Now()
	s.Status = mustStep(s.Status, task.EventStart)
	s.Attempt++
	s.Tries++
	s.AttemptAt = now
	if s.StartedAt.IsZero() {
		s.StartedAt = now
	}
	s.RetryAt, s.EndedAt, s.Planning = time.Time{}, time.Time{}, false
	s.Done, s.Amount, s.Note, s.Counters = 0, 0, "", nil
	return s
}

// start begins an attempt of the step, or of its plan. A step whose settings
// cannot be made fails.
func (l *lane) start(t *transition, s task.RunStep, plan bool) {
	s = l.begun(s)
	settings := s.Settings
	if s.Position.Sub == 0 {
		var err error
		if settings, err = l.settings(t, s.Attempt); err != nil {
			l.fault(t, s, fault{reason: task.ReasonSettings, text: "its settings: " + err.Error()})
			return
		}
	}
	s.Planning = plan
	l.keep(s)
	l.running++
	t.put(s)
	a := newAttempt(l, s, plan, settings)
	a.ticket, l.ticket = l.ticket, nil
	t.starts = append(t.starts, a)
}

// keep holds on to the step's record where it is the lane's own.
func (l *lane) keep(s task.RunStep) {
	if s.Position == l.top.Position {
		l.top = s
	}
}

// wait sets the timer of a step that waits for its next attempt.
func (l *lane) wait(s task.RunStep) {
	l.keep(s)
	l.waiting[s.Position] = s
	l.r.after(s.RetryAt.Sub(l.r.e.Clock.Now()), wakeMessage{s.Position, s.RetryAt})
}

// wake lets a step that waited start again. A pause of a plan that is gone
// since wakes nobody.
func (l *lane) wake(m wakeMessage) {
	s, ok := l.waiting[m.pos]
	if !ok || !s.RetryAt.Equal(m.retryAt) {
		return
	}
	delete(l.waiting, m.pos)
	if m.pos.Sub > 0 {
		l.again = append(l.again, s)
	}
}

// abort ends the lane because the run ends before it.
func (l *lane) abort(t *transition, h halt) {
	event := h.event()
	l.endPauses(t, event)
	top := l.top
	switch {
	case top.Status.Ended() || top.Status == task.StepReady:
		return
	case event == task.EventCancel:
		top.Status, top.Reason, top.EndedAt = mustStep(top.Status, event), task.ReasonCancelled, l.r.e.Clock.Now()
	case top.Status == task.StepWaiting:
		top.Status = mustStep(top.Status, task.EventWake)
	case l.tally.failed > 0:
		top.Status, top.Reason, top.EndedAt = mustStep(top.Status, task.EventFail), task.ReasonSteps, l.r.e.Clock.Now()
		top.Error = fmt.Sprintf("%d of %d planned steps failed, the first: %s", l.tally.failed, top.Planned, l.tally.firstFault)
	case l.tally.interrupted > 0:
		top.Status, top.Reason, top.EndedAt = mustStep(top.Status, task.EventInterrupt), task.ReasonLost, l.r.e.Clock.Now()
	default:
		top.Status = mustStep(top.Status, task.EventRelease)
	}
	l.keep(top)
	t.put(top)
}

// endPauses takes the planned steps that wait for another attempt out of that.
func (l *lane) endPauses(t *transition, event task.Event) {
	// Those of again that were woken are recorded as waiting still.
	for _, s := range append(slices.Collect(maps.Values(l.waiting)), l.again...) {
		if s.Position.Sub == 0 || s.Status != task.StepWaiting {
			continue
		}
		if event == task.EventCancel {
			s.Status, s.Reason, s.EndedAt = mustStep(s.Status, event), task.ReasonCancelled, l.r.e.Clock.Now()
		} else {
			s.Status = mustStep(s.Status, task.EventWake)
		}
		s.RetryAt = time.Time{}
		t.put(s)
	}
}

// view is the step with what its record leaves to its planner.
func (l *lane) view(s task.RunStep) StepView {
	if s.Controller == "" {
		s.Controller = l.def.Controller
	}
	return StepView{RunStep: s, Top: l.def.Name, Fraction: keptFraction(s), Note: s.Note, Counters: s.Counters}
}

// fullName is the step's name within the run: "tables/actor".
func (l *lane) fullName(s task.RunStep) string { return fullName(l.def.Name, s) }

func fullName(top string, s task.RunStep) string {
	if s.Position.Sub == 0 {
		return top
	}
	return top + "/" + s.Name
}
