package schedule

import (
	"fmt"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// clockTime writes a time for people, in its own zone.
func clockTime(t time.Time) string {
	if t.Second() != 0 {
		return t.Format("2006-01-02 15:04:05")
	}
	return t.Format("2006-01-02 15:04")
}

// lateness writes how long something took, in the two largest units.
func lateness(d time.Duration) string {
	switch d = max(d, 0); {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%d d %d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%d h %d m", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%d m %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

func foundLate(late time.Duration) string { return "found " + lateness(late) + " after it was due" }

func (d *decision) window() string { return "older than the window of " + length(d.plan.MissedWindow) }

// holder says what keeps the task's schedules from making runs.
func holder(t *task.Task, zone *time.Location) string {
	switch {
	case t.Disabled:
		return "the task was disabled"
	case t.Draft():
		return "the task had no steps"
	case t.Pause == nil:
		return "the task was held"
	}
	text := "the task was paused"
	if t.Pause.By != "" {
		text += " by " + t.Pause.By
	}
	if !t.Pause.Until.IsZero() {
		text += " until " + clockTime(t.Pause.Until.In(zone))
	}
	if t.Pause.Reason != "" {
		text += ": " + t.Pause.Reason
	}
	return text
}
