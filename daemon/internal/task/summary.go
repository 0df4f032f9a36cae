package task

import (
	"slices"
	"time"
)

// Summary is what lists of tasks are filtered, sorted and counted by. The store
// keeps one beside each task, small enough that ten thousand are read in some
// milliseconds.
type Summary struct {
	Name      string
	CreatedBy string
	Source    string
	Starter   []string
	Disabled  bool
	Draft     bool
	Paused    bool      // while PausedUntil is zero or not reached
	PauseEnds time.Time // zero: until somebody resumes it
	Schedules []string  // names
	Version   uint64
	CreatedAt time.Time
	UpdatedAt time.Time

	// Of the newest run of the task itself, hooks apart; zero: there is none.
	LastRun    RunID
	LastNumber uint64
	LastStatus RunStatus
	LastAt     time.Time // it ended, else began, else was made
}

// Summarise is the summary of the task, without its runs.
func Summarise(t *Task) Summary {
	s := Summary{
		Name: t.Name, CreatedBy: t.CreatedBy, Source: t.Source, Starter: slices.Clone(t.Starter),
		Disabled: t.Disabled, Draft: t.Draft(), Version: t.Version, CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt,
	}
	if t.Pause != nil {
		s.Paused, s.PauseEnds = true, t.Pause.Until
	}
	for _, one := range t.Schedules {
		s.Schedules = append(s.Schedules, one.Name)
	}
	return s
}

// TaskStatus is where a task stands; the first that applies.
type TaskStatus string

const (
	TaskDraft     TaskStatus = "draft"     // it has no steps yet
	TaskDisabled  TaskStatus = "disabled"  // nobody may run it
	TaskPaused    TaskStatus = "paused"    // its schedules make no runs
	TaskScheduled TaskStatus = "scheduled" // it has schedules
	TaskReady     TaskStatus = "ready"     // it runs when somebody asks
)

// TaskStatuses lists all of them.
var TaskStatuses = [...]TaskStatus{TaskDraft, TaskDisabled, TaskPaused, TaskScheduled, TaskReady}

// Status is where the task stands at that time.
func (s *Summary) Status(now time.Time) TaskStatus {
	switch {
	case s.Draft:
		return TaskDraft
	case s.Disabled:
		return TaskDisabled
	case s.Paused && (s.PauseEnds.IsZero() || now.Before(s.PauseEnds)):
		return TaskPaused
	case len(s.Schedules) > 0:
		return TaskScheduled
	}
	return TaskReady
}
