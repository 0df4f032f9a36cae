package task_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/stepd/stepd/daemon/internal/task"
)

// transitions is the expected outcome of every pair, written as a person would
// on paper: a row for each status, a word for each event, "-" for a refusal.
// The events are those of the head line, in that order.
type transitions struct {
	events []string
	rows   map[string][]string
}

var events = []string{
	"start", "complete", "fail", "cancel", "incomplete", "continue",
	"retry", "wake", "release", "interrupt", "skip", "reset",
}

var runs = transitions{events, map[string][]string{
	"queued":     {"running", "-", "-", "cancelled", "-", "-", "-", "-", "-", "-", "-", "-"},
	"running":    {"-", "completed", "failed", "cancelled", "incomplete", "-", "-", "-", "-", "-", "-", "-"},
	"completed":  {"-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"},
	"failed":     {"-", "-", "-", "-", "-", "queued", "-", "-", "-", "-", "-", "-"},
	"incomplete": {"-", "-", "-", "-", "-", "queued", "-", "-", "-", "-", "-", "-"},
	"cancelled":  {"-", "-", "-", "-", "-", "queued", "-", "-", "-", "-", "-", "-"},
}}

var steps = transitions{events, map[string][]string{
	"ready":       {"running", "-", "-", "cancelled", "-", "-", "-", "-", "-", "-", "skipped", "-"},
	"running":     {"-", "completed", "failed", "cancelled", "-", "-", "waiting", "-", "ready", "interrupted", "-", "-"},
	"waiting":     {"running", "-", "failed", "cancelled", "-", "-", "-", "ready", "-", "-", "-", "-"},
	"completed":   {"-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "ready"},
	"failed":      {"-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "ready"},
	"skipped":     {"-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "ready"},
	"cancelled":   {"-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "ready"},
	"interrupted": {"-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "ready"},
}}

func (x transitions) check(t *testing.T, what string, statuses []string, next func(status, event string) (string, error)) {
	t.Helper()
	if len(statuses) != len(x.rows) {
		t.Fatalf("there are %d statuses of a %s, the table has %d", len(statuses), what, len(x.rows))
	}
	for _, status := range statuses {
		row, ok := x.rows[status]
		if !ok {
			t.Errorf("the table has no %s that is %q", what, status)
			continue
		}
		for i, event := range x.events {
			got, err := next(status, event)
			if row[i] != "-" {
				if err != nil || got != row[i] {
					t.Errorf("%s %s, %s: got %q, %v, want %q", what, status, event, got, err, row[i])
				}
				continue
			}
			refusal, ok := errors.AsType[*task.TransitionError](err)
			if !ok {
				t.Errorf("%s %s, %s: got %q, %v, want a *TransitionError", what, status, event, got, err)
				continue
			}
			if got != status {
				t.Errorf("%s %s, %s: refused, but the status became %q", what, status, event, got)
			}
			if want := (task.TransitionError{What: what, Status: status, Event: task.Event(event)}); *refusal != want {
				t.Errorf("%s %s, %s: the refusal says %+v", what, status, event, *refusal)
			}
		}
	}
}

func words[S ~string](list []S) []string {
	var all []string
	for _, s := range list {
		all = append(all, string(s))
	}
	return all
}

func TestEveryTransitionOfARun(t *testing.T) {
	runs.check(t, "run", words(task.RunStatuses[:]), func(status, event string) (string, error) {
		next, err := task.RunStatus(status).Next(task.Event(event))
		return string(next), err
	})
}

func TestEveryTransitionOfAStep(t *testing.T) {
	steps.check(t, "step", words(task.StepStatuses[:]), func(status, event string) (string, error) {
		next, err := task.StepStatus(status).Next(task.Event(event))
		return string(next), err
	})
}

func TestEventsAreAllInTheTable(t *testing.T) {
	if got := words(task.Events[:]); !slices.Equal(got, events) {
		t.Errorf("Events are %v, the tables are about %v", got, events)
	}
	if _, err := task.RunStatus("stuck").Next(task.EventStart); err == nil {
		t.Error("a status that nobody knows started")
	}
	if _, err := task.StepStatus("").Next(task.EventReset); err == nil {
		t.Error("an empty status was reset")
	}
}

func TestAliveAndEnded(t *testing.T) {
	for _, s := range task.RunStatuses {
		if want := s == "queued" || s == "running"; s.Alive() != want {
			t.Errorf("run %s: Alive is %v", s, s.Alive())
		}
	}
	for _, s := range task.StepStatuses {
		if want := s != "ready" && s != "running" && s != "waiting"; s.Ended() != want {
			t.Errorf("step %s: Ended is %v", s, s.Ended())
		}
		// What has ended leaves that state by a reset only.
		for _, e := range task.Events {
			if _, err := s.Next(e); s.Ended() && err == nil && e != task.EventReset {
				t.Errorf("step %s has ended, yet it can %s", s, e)
			}
		}
	}
}
