package engine

import (
	"fmt"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// stuckMessage says that an attempt has given no sign for too long, or that it
// gives some again.
type stuckMessage struct {
	attempt *attempt
	stuck   bool
	idle    time.Duration // how long it has given none
}

// stuckAfter is how long an attempt of the step may give no sign of progress
// before it is shown as stuck; 0: it never is.
func (l *lane) stuckAfter() time.Duration {
	if d := l.def.Limits.StuckAfter; d > 0 {
		return d
	}
	return l.r.e.StuckAfter
}

// hear notes a sign of progress. The caller holds a.mu.
func (a *attempt) hear(now time.Time) {
	idle := now.Sub(a.heard)
	a.heard = now
	if !a.stuck {
		return
	}
	a.stuck = false
	a.tellStuck(stuckMessage{a, false, idle})
	a.watchIdle()
}

// say notes what the controller last said. The caller holds a.mu.
func (a *attempt) say(words string, now time.Time) {
	if words != "" {
		a.said, a.saidAt = cut(firstLine(words), maxSaid), now
	}
}

const maxSaid = 500 // bytes

// watchIdle marks the attempt when it gives no sign for as long as it may. The
// caller holds a.mu.
func (a *attempt) watchIdle() {
	limit := a.lane.stuckAfter()
	if limit <= 0 || a.over {
		return
	}
	clock := a.r.e.Clock
	a.idle = clock.AfterFunc(max(0, a.heard.Add(limit).Sub(clock.Now())), func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		idle := clock.Now().Sub(a.heard)
		switch {
		case a.over || a.stuck:
		case idle < limit:
			a.watchIdle()
		default:
			a.stuck = true
			a.tellStuck(stuckMessage{a, true, idle})
		}
	})
}

// tellStuck does not wait for the runner: a controller's sign must not.
func (a *attempt) tellStuck(m stuckMessage) {
	a.r.e.Clock.AfterFunc(0, func() { a.r.tell(m) })
}

// stuck logs and shows that an attempt does not move, or does so again.
func (r *runner) stuck(t *transition, m stuckMessage) {
	a := m.attempt
	if r.attempts[a.id.Position] != a {
		return // it is over
	}
	text := fmt.Sprintf("it moves again, after %s without a sign of progress", m.idle.Round(time.Second))
	if m.stuck {
		text = fmt.Sprintf("it may be stuck: no sign of progress for %s", m.idle.Round(time.Second))
		a.mu.Lock()
		if a.said != "" {
			text += "; it last said: " + a.said
		}
		a.mu.Unlock()
	}
	t.say(task.LogWarn, a.work.Step, a.id.Number, text)
	t.after(func() {
		if r.e.watchers.any() {
			view := a.view(r.e.Clock.Now())
			r.e.watchers.publish(Event{Kind: EventStep, Run: r.run, Step: &view})
		}
	})
}
