package schedule

import (
	"fmt"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// TestBacklogDoesNotMakeOthersLate holds that what becomes due while a long backlog
// is worked off is decided on in time, on a disk that takes 50 ms a commit.
func TestBacklogDoesNotMakeOthersLate(t *testing.T) {
	s := newStand(t)
	s.store.twice = nil
	for i := range 30 {
		d := plan(missed(everySecond(), task.MissedSkip))
		d.Name = fmt.Sprintf("x%d", i)
		s.change(d.Name, &d)
	}
	s.save("4 11:00:00", plan(missed(task.Schedule{Cron: "0 12 * * *"}, task.MissedSkip)))
	s.store.before = func() error { s.clock.set(s.clock.Now().Add(50 * time.Millisecond)); return nil }
	s.look("4 11:59:58")
	slots := s.store.slots[place{"t", "s"}]
	if last := slots[len(slots)-1]; last.Outcome != task.SlotRan {
		t.Errorf("the daemon was there at 12:00, and yet: %s", last.Outcome)
	}
}

// TestDelayWhoseZoneWasGone holds that a fixed delay whose rule cannot be followed
// at the moment in which a run ends is due again when it can be.
func TestDelayWhoseZoneWasGone(t *testing.T) {
	s := newStand(t)
	good := plan(task.Schedule{Delay: time.Hour})
	s.save("00:00:00", good)
	s.look("01:00:00")
	s.store.tasks["t"] = plan(task.Schedule{Delay: time.Hour, Timezone: "Nowhere/Gone"})
	s.end("01:10:00", 1, task.RunCompleted)
	s.store.tasks["t"] = good
	for h := 2; h < 23; h++ {
		s.look(fmt.Sprintf("%d:30:00", h))
	}
	if n := len(s.store.submits); n < 2 {
		t.Errorf("%d runs in a day, each an hour after the one before", n)
	}
}

// TestLeapEndsWithThePause holds that what a pause held and what came behind it are
// told apart also where there are too many times to count.
func TestLeapEndsWithThePause(t *testing.T) {
	s := newStand(t)
	s.store.twice = nil
	s.save("00:00:00", plan(everySecond()))
	p := plan(everySecond())
	p.Pause = &task.Pause{Until: on("13 00:00:00")}
	s.save("00:00:00", p)
	q := p
	q.Description = "changed before the first look after 40 days"
	s.save("41 00:00:00", q)
	for _, slot := range s.store.slots[place{"t", "s"}] {
		until := on("13 00:00:00")
		if slot.Outcome == task.SlotPaused && !slot.Last.Before(until) || slot.Outcome != task.SlotPaused && slot.First.Before(until) {
			t.Errorf("%v to %v: %s", slot.First, slot.Last, slot.Outcome)
		}
	}
}

// TestChangeWithinTheJitter holds that a time which waits for its jitter alone is
// not lost when the schedule changes.
func TestChangeWithinTheJitter(t *testing.T) {
	for name, change := range map[string]struct {
		now  task.Task
		want task.SlotOutcome
		runs int
	}{
		"other times":      {plan(task.Schedule{Cron: "0 12 * * *", Jitter: time.Hour, Exclude: []string{"12-25"}}), task.SlotRan, 1},
		"no jitter":        {plan(task.Schedule{Cron: "0 12 * * *"}), task.SlotRan, 1},
		"taken out":        {task.Task{Name: "t"}, task.SlotMissed, 0},
		"other words only": {described(plan(task.Schedule{Cron: "0 12 * * *", Jitter: time.Hour})), task.SlotRanLate, 1}, // nobody looked at 12:26
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			s.save("11:00:00", plan(task.Schedule{Cron: "0 12 * * *", Jitter: time.Hour}))
			s.look("12:00:00")
			s.save("12:00:01", change.now)
			s.look("13:00:00")
			slots := s.store.slots[place{"t", "s"}]
			if len(slots) != 1 || slots[0].Outcome != change.want || !slots[0].First.Equal(on("12:00:00")) || len(s.store.submits) != change.runs {
				t.Errorf("slots %+v, %d runs", slots, len(s.store.submits))
			}
		})
	}
}

func described(t task.Task) task.Task {
	t.Description = "other"
	return t
}

// TestDraftsMakeNoRuns holds that the times of a task without steps are accounted
// for, and that it goes on once it has some.
func TestDraftsMakeNoRuns(t *testing.T) {
	s := newStand(t)
	s.save("00:00:00", plan(hourly()))
	s.look("01:00:00")
	draft := plan(hourly())
	draft.Steps = nil
	s.save("01:30:00", draft)
	s.look("02:00:00")
	s.look("03:30:00")
	s.save("03:40:00", plan(hourly()))
	s.look("04:00:00")
	s.want("s", "01:00 ran 1", "02:00..03:00 x2 paused: the task had no steps", "04:00 overlapped: t/1 was queued")
}
