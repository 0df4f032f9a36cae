package engine

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

const (
	noteInterval   = time.Second // between notes of progress in a detailed log
	maxLogSettings = 16 << 10    // bytes of settings in one line
)

// detailed reports whether the run's log has all that can be told.
func (r *runner) detailed() bool { return cmp.Or(r.def.Log, r.e.Detail) == task.Detailed }

// debug writes a line that only a detailed log has.
func (a *attempt) debug(text string, fields json.RawMessage) {
	a.r.e.RunLog.Append(a.r.shown().run, task.LogEntry{
		Time: a.r.e.Clock.Now(), Level: task.LogDebug, Step: a.work.Step, Attempt: a.id.Number, Message: text, Fields: fields,
	})
}

// logStart says what the attempt was given. Secrets are references in it.
func (a *attempt) logStart() {
	text := fmt.Sprintf("attempt %d begins", a.id.Number)
	if a.plan {
		text = fmt.Sprintf("attempt %d begins to plan", a.id.Number)
	}
	var fields json.RawMessage
	switch size := len(a.work.Settings); {
	case size == 0:
	case size > maxLogSettings:
		text += fmt.Sprintf(" (its settings have %d bytes)", size)
	default:
		fields, _ = json.Marshal(map[string]json.RawMessage{"settings": a.work.Settings}) // no JSON: left out
	}
	a.debug(text, fields)
}

// noteworthy reports whether a note of progress is to be logged. The caller
// holds a.mu.
func (a *attempt) noteworthy(note string, now time.Time) bool {
	if !a.detailed || note == "" || note == a.noted || !a.notedAt.IsZero() && now.Sub(a.notedAt) < noteInterval {
		return false
	}
	a.noted, a.notedAt = note, now
	return true
}
