package engine

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/stepd/stepd/daemon/internal/task"
)

// limiter gives out the places that controllers have: how many attempts of one,
// or of all of a plugin, are carried out at once over all runs. First come first
// served.
//
// Who waits for a place holds none, and who has one gives it back when its
// attempt is over, which waits for nobody: so all get one.
type limiter struct {
	limits map[string]int // by controller, or "plugin/*"

	mu   sync.Mutex
	used map[string]int
	line []*ticket // wait, as they came
}

// ticket stands for one attempt that wants places, or has them.
type ticket struct {
	keys []string // of limits
	wake func()   // when it has its places; does not block
	has  bool     // under the limiter's mu
}

func newLimiter(limits map[string]int) *limiter {
	return &limiter{limits: limits, used: map[string]int{}}
}

// keys are the limits that an attempt of the controller comes under.
func (m *limiter) keys(controller string) (keys []string) {
	plugin, _, _ := strings.Cut(controller, "/")
	for _, key := range []string{controller, plugin + "/*"} {
		if m.limits[key] > 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

// take asks for the places of an attempt; nil: it needs none. wake is called, from
// any goroutine, when it has to wait and then has them.
func (m *limiter) take(controller string, wake func()) *ticket {
	if len(m.limits) == 0 {
		return nil
	}
	t := &ticket{keys: m.keys(controller), wake: wake}
	if len(t.keys) == 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.has = m.fits(t); t.has {
		m.book(t, 1)
	} else {
		m.line = append(m.line, t)
	}
	return t
}

// give takes the ticket back, with its places or out of the line.
func (m *limiter) give(t *ticket) {
	if t == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !t.has {
		m.line = slices.DeleteFunc(m.line, func(other *ticket) bool { return other == t })
		return
	}
	t.has = false
	m.book(t, -1)
	// One that does not fit yet keeps nothing from those behind it: they share the
	// plugin's limit at most, and it is the first to be asked when that has room.
	m.line = slices.DeleteFunc(m.line, func(next *ticket) bool {
		if next.has = m.fits(next); next.has {
			m.book(next, 1)
			next.wake()
		}
		return next.has
	})
}

func (m *limiter) fits(t *ticket) bool {
	return !slices.ContainsFunc(t.keys, func(key string) bool { return m.used[key] >= m.limits[key] })
}

func (m *limiter) book(t *ticket, n int) {
	for _, key := range t.keys {
		m.used[key] += n
	}
}

func (m *limiter) granted(t *ticket) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return t.has
}

// waitsFor is what the ticket waits for in words.
func (m *limiter) waitsFor(t *ticket) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range t.keys {
		if m.used[key] >= m.limits[key] {
			return fmt.Sprintf("waits for a place: %d of %s are carried out (controller_limits)", m.used[key], key)
		}
	}
	return "waits for a place"
}

// admitted reports whether the limits let another attempt of the lane begin now.
// If not, it stands in line, and the runner is told.
func (l *lane) admitted(t *transition) bool {
	if l.ticket == nil {
		if l.ticket = l.r.e.limits.take(l.def.Controller, l.r.nudge); l.ticket == nil {
			return true
		}
		t.settled = true // it is shown
	}
	return l.r.e.limits.granted(l.ticket)
}

// giveTicket gives up what the lane has or waits for, because it begins nothing.
func (l *lane) giveTicket() {
	if l.ticket != nil {
		l.r.e.limits.give(l.ticket)
		l.ticket = nil
	}
}

// giveTickets does so for all lanes: the run begins nothing for now, be it that as
// many steps are carried out as the task allows.
func (r *runner) giveTickets() {
	for _, l := range r.lanes {
		l.giveTicket()
	}
}

// nudge makes the runner look again at what it may start. It does not block.
func (r *runner) nudge() {
	select {
	case r.nudged <- struct{}{}:
	default:
	}
}

// standing is the step with which the lane stands in line, and whether it does.
func (l *lane) standing() (view StepView, yes bool) {
	if l.ticket == nil || l.r.e.limits.granted(l.ticket) || l.top.Status.Ended() {
		return view, false
	}
	s := l.top
	if s.PlanDone {
		if len(l.again) == 0 {
			return view, false
		}
		s = l.again[0]
	}
	if s.Status != task.StepReady {
		return view, false // it is shown as waiting for another attempt
	}
	view = l.view(s)
	view.Note = l.r.e.limits.waitsFor(l.ticket)
	return view, true
}
