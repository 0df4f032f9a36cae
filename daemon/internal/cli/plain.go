package cli

import (
	"fmt"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
)

// plainView writes lines: one when a step ends, and one for each tenth of the
// run.
type plainView struct {
	*env
	lines stepLines
	begun bool
	tenth int
}

func (v *plainView) event(ev api.Event) error {
	if line := v.lines.of(ev); line != "" {
		v.note(line)
	}
	tenth := int(ev.Run.Progress) / 10
	if v.begun && tenth > v.tenth && ev.Run.Alive() {
		line := fmt.Sprintf("%s %s, %s", printable(ev.Run.Ref), percent(ev.Run.Progress), tally(&ev.Run))
		if ev.Run.ETASeconds != nil {
			line += ", " + left(*ev.Run.ETASeconds)
		}
		v.note(line)
	}
	v.begun = true
	v.tenth = max(v.tenth, tenth)
	return nil
}

func (v *plainView) note(line string) { fmt.Fprintln(v.Stderr, line) }

func (v *plainView) close() {}

// percent never says 100 before all is done.
func percent(f float64) string {
	n := int(f + 0.5)
	if n >= 100 && f < 100 {
		n = 99
	}
	return fmt.Sprintf("%d %%", n)
}

// stepLines turns events into the lines that stay: how steps ended, and which
// are tried again.
type stepLines struct {
	p      painter
	told   *reasons
	queued int             // place in the queue that was told last
	waits  string          // what the run waits for, as it was told last
	stuck  map[string]bool // positions of steps that were said to be stuck
}

func (l *stepLines) of(ev api.Event) string {
	if line := l.waiting(&ev.Run); line != "" {
		return line
	}
	s := ev.Step
	if ev.Type != "step" || s == nil {
		for i := range ev.Active {
			if line := l.silence(&ev.Active[i]); line != "" {
				return line
			}
		}
		return ""
	}
	name := printable(s.Name)
	if line := l.silence(s); line != "" && s.Status == "running" {
		return line
	}
	switch s.Status {
	case "completed":
		return l.line(name, s, s.Message)
	case "failed", "cancelled", "interrupted", "skipped":
		says := l.told.tell(name, s.Error)
		if says == "" {
			says = s.Message
		}
		return l.line(name, s, says)
	case "waiting":
		again := ""
		if s.RetryAt != nil && time.Until(*s.RetryAt) > time.Second {
			again = ", again " + ago(*s.RetryAt, time.Now())
		}
		return fmt.Sprintf("%s  %s: attempt %d failed%s: %s", l.p.paint(yellow, "waiting  "), name, s.Attempt, again, block(l.told.tell(name, s.Error)))
	}
	return ""
}

// waiting says what a run in the queue waits for, when that has changed.
func (l *stepLines) waiting(r *api.Run) string {
	switch {
	case r.Status != "queued":
	case later(r, time.Now()) && l.waits == "":
		l.waits = "its time"
		return fmt.Sprintf("%s starts %s", printable(r.Ref), stamp(*r.NotBefore, ""))
	case later(r, time.Now()):
	case r.WaitsFor != "" && r.WaitsFor != l.waits:
		l.waits = r.WaitsFor
		return fmt.Sprintf("%s waits for %s", printable(r.Ref), block(r.WaitsFor))
	case r.WaitsFor == "" && r.QueuePosition > 0 && r.QueuePosition != l.queued:
		l.queued = r.QueuePosition
		return fmt.Sprintf("%s waits for its turn, number %d in the queue", printable(r.Ref), l.queued)
	}
	return ""
}

// silence says that a step has become stuck, or moves again.
func (l *stepLines) silence(s *api.Step) string {
	if s.Stuck == l.stuck[s.Position] {
		return ""
	}
	if l.stuck == nil {
		l.stuck = map[string]bool{}
	}
	l.stuck[s.Position] = s.Stuck
	if !s.Stuck {
		return l.p.paint(green, "moves    ") + "  " + printable(s.Name)
	}
	says := "no sign of progress"
	if s.IdleSince != nil {
		says += " since " + clock(s.IdleSince.Local())
	}
	if s.LastSaid != "" {
		says += "; last said: " + block(s.LastSaid)
	}
	return l.p.paint(red, "stuck    ") + "  " + printable(s.Name) + ": " + says
}

func (l *stepLines) line(name string, s *api.Step, says string) string {
	line := l.p.paint(statusColor(s.Status), pad(s.Status, 9)) + "  " + name
	if s.StartedAt != nil && s.EndedAt != nil {
		line += l.p.paint(dim, " ("+span(s.EndedAt.Sub(*s.StartedAt))+")")
	}
	if says != "" {
		line += ": " + block(says)
	}
	return line
}
