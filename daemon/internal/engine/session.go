package engine

import (
	"fmt"

	"github.com/stepd/stepd/daemon/internal/task"
)

// sessionLost starts the whole group again: completed steps too, as they
// belong to a session that is gone. Work that must not be repeated is left for
// a person instead.
func (l *lane) sessionLost(t *transition, s task.RunStep, o task.Outcome) {
	if l.top.Effect == task.AtMostOnce {
		l.interrupt(t, s, o.Message)
		return
	}
	l.giveBack(t, s, o.Message)
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
			t.after(func() { a.end(task.ErrStopping, "") })
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
