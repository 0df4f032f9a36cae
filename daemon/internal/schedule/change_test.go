package schedule

import (
	"fmt"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

func disabled(t task.Task) task.Task {
	t.Disabled = true
	return t
}

func paused(t task.Task, at, until string) task.Task {
	t.Pause = &task.Pause{By: "anna", At: on(at), Reason: "stocktaking"}
	if until != "" {
		t.Pause.Until = on(until)
	}
	return t
}

func TestDisabledTimesAreRecordedWhenItIsEnabled(t *testing.T) {
	s := newStand(t)
	s.save("00:00:00", plan(hourly()))
	s.look("01:00:00")
	s.end("01:10:00", 1, task.RunCompleted)
	s.save("01:30:00", disabled(plan(hourly())))
	s.wantNext("s", "")
	s.look("03:30:00")
	s.want("s", "01:00 ran 1")
	s.save("04:00:10", plan(hourly()))
	s.want("s", "01:00 ran 1", "02:00..04:00 x3 paused: the task was disabled")
	s.wantNext("s", "05:00")
	s.look("05:00:00")
	s.want("s", "01:00 ran 1", "02:00..04:00 x3 paused: the task was disabled", "05:00 ran 2")
}

func TestPauseThatEnds(t *testing.T) {
	reason := "the task was paused by anna until 2026-01-01 04:00: stocktaking"
	begin := func(t *testing.T) *stand {
		s := newStand(t)
		s.save("00:00:00", plan(hourly()))
		s.save("00:30:00", paused(plan(hourly()), "00:30:00", "04:00:00"))
		s.wantNext("s", "04:00") // the first time at or after the end
		s.look("03:30:00")
		s.want("s")
		return s
	}
	t.Run("by itself", func(t *testing.T) {
		s := begin(t)
		s.look("04:00:00")
		s.want("s", "01:00..03:00 x3 paused: "+reason, "04:00 ran 1")
	})
	t.Run("by itself while nobody was there", func(t *testing.T) {
		s := begin(t)
		s.look("06:30:00")
		s.want("s", "01:00..03:00 x3 paused: "+reason,
			"04:00..05:00 x2 missed: the time at 2026-01-01 06:00 stands for it", "06:00 ran_late 1: found 30 m 0 s after it was due")
	})
	t.Run("earlier", func(t *testing.T) {
		s := begin(t)
		s.save("02:30:00", plan(hourly()))
		s.want("s", "01:00..02:00 x2 paused: "+reason)
		s.wantNext("s", "03:00")
		s.look("03:00:00")
		s.want("s", "01:00..02:00 x2 paused: "+reason, "03:00 ran 1")
	})
	t.Run("becomes one without an end", func(t *testing.T) {
		s := begin(t)
		s.save("02:30:00", paused(plan(hourly()), "00:30:00", ""))
		s.wantNext("s", "")
		s.save("05:30:00", plan(hourly()))
		s.want("s", "01:00..02:00 x2 paused: "+reason, "03:00..05:00 x3 paused: the task was paused by anna: stocktaking")
	})
	t.Run("with nothing behind it", func(t *testing.T) {
		s := newStand(t)
		one := plan(task.Schedule{At: "2026-01-01T02:00"})
		s.save("00:00:00", one)
		s.save("00:30:00", paused(one, "00:30:00", "04:00:00"))
		s.wantNext("s", "only to record, 04:00")
		if list, _, err := s.ledger.Upcoming(nil, 10); err != nil || len(list) != 0 {
			t.Errorf("upcoming: %v, %v", list, err)
		}
		s.look("04:00:00")
		s.want("s", "02:00 paused: "+reason)
		s.wantNext("s", "")
	})
}

func TestChangeDecidesFirstByTheOldDefinition(t *testing.T) {
	s := newStand(t)
	old := plan(missed(hourly(), task.MissedSkip))
	s.save("00:00:00", old)
	now := plan(task.Schedule{Cron: "30 * * * *"})
	now.Version = 2
	s.save("02:00:20", now)
	s.want("s", "01:00 missed: it was found late, and missed times are skipped", "02:00 ran 1")
	if v := s.store.submits[0].DefinitionVersion; v != 1 {
		t.Errorf("the run is of version %d", v)
	}
	s.wantNext("s", "02:30")
	s.end("02:10:00", 1, task.RunCompleted)
	s.look("02:30:00")
	s.want("s", "01:00 missed: it was found late, and missed times are skipped", "02:00 ran 1", "02:30 ran 2")
}

func TestPolicyChangeKeepsTheCursor(t *testing.T) {
	s := newStand(t)
	s.save("00:00:00", plan(hourly()))
	s.save("00:20:00", plan(missed(hourly(), task.MissedSkip)))
	c := s.store.cursors[place{"t", "s"}]
	if !c.Since.Equal(on("00:00:00")) {
		t.Errorf("it stands since %v", c.Since)
	}
	s.look("02:00:20")
	s.want("s", "01:00 missed: it was found late, and missed times are skipped", "02:00 ran 1")
}

func TestScheduleThatIsTakenOutKeepsItsAccount(t *testing.T) {
	s := newStand(t)
	named := func(name string) task.Task {
		h := hourly()
		h.Name = name
		return plan(h)
	}
	s.save("00:00:00", named("a"))
	s.look("01:00:00")
	s.end("01:01:00", 1, task.RunCompleted)
	s.save("01:30:00", named("b"))
	s.look("02:00:00")
	s.want("a", "01:00 ran 1")
	s.want("b", "02:00 ran 2")
	if list, err := s.ledger.Cursors("t"); err != nil || len(list) != 1 || list[0].Schedule != "b" {
		t.Errorf("cursors: %v, %v", list, err)
	}
	list, more, err := s.ledger.History(HistoryQuery{Task: "t", Limit: 10})
	if err != nil || more || len(list) != 2 || list[0].Schedule != "b" || list[1].Schedule != "a" {
		t.Errorf("history: %v, %v, %v", list, more, err)
	}
	s.end("02:10:00", 2, task.RunCompleted)
	s.save("05:30:00", named("a")) // the same again: it starts from now
	s.look("06:00:00")
	s.want("a", "01:00 ran 1", "06:00 overlapped: t/3 was queued")
	s.want("b", "02:00 ran 2", "03:00..04:00 x2 missed: the time at 2026-01-01 05:00 stands for it", "05:00 ran_late 3: found 30 m 0 s after it was due")
	for i := range 2 * task.MaxSchedules {
		s.save("07:00:00", named(fmt.Sprintf("n%d", i)))
	}
	if n := len(s.store.cursors); n > task.MaxSchedules+1 {
		t.Errorf("%d cursors are kept", n)
	}
}

func TestDeletedTaskLeavesNothingAndMakesNoRun(t *testing.T) {
	s := newStand(t)
	e := plan(hourly(), task.Schedule{Delay: time.Hour})
	e.Expect = &task.Expect{By: "06:00", Timezone: "UTC"}
	s.save("00:00:00", e)
	s.look("01:00:00")
	s.end("01:10:00", 1, task.RunCompleted)
	made := len(s.store.submits)
	s.delete("09:00:00", "t")
	if len(s.store.cursors) != 0 || len(s.store.due) != 0 || len(s.store.submits) != made {
		t.Errorf("left: %s, runs %v", s.store.dump(), s.store.submits[made:])
	}
	for key, slots := range s.store.slots {
		if len(slots) > 0 {
			t.Errorf("left of %v: %v", key, slots)
		}
	}
}

func TestFixedDelay(t *testing.T) {
	begin := func(t *testing.T, m task.Missed) *stand {
		s := newStand(t)
		s.save("00:00:00", plan(missed(task.Schedule{Delay: time.Hour}, m)))
		s.wantNext("s", "01:00")
		return s
	}
	t.Run("after its own run", func(t *testing.T) {
		s := begin(t, task.MissedOnce)
		s.look("01:00:00")
		s.want("s", "01:00 ran 1")
		s.wantNext("s", "")
		s.end("01:20:00.300", 1, task.RunFailed)
		s.wantNext("s", "02:20:01") // never shorter than said
		s.look("02:20:01")
		s.want("s", "01:00 ran 1", "02:20:01 ran 2")
	})
	t.Run("somebody's run is alive", func(t *testing.T) {
		s := begin(t, task.MissedOnce)
		run := s.begin("00:50:00")
		s.look("01:00:00")
		s.want("s")
		s.wantNext("s", "")
		other := s.begin("01:10:00")
		s.end("01:20:00", run.Number, task.RunCompleted)
		s.wantNext("s", "")
		s.end("01:30:00", other.Number, task.RunCompleted)
		s.wantNext("s", "02:30")
	})
	t.Run("hooks are nothing to it", func(t *testing.T) {
		s := begin(t, task.MissedOnce)
		s.store.alive["t"] = []task.Run{{Task: "t", Number: 9, Trigger: task.TriggerOnMissed}}
		s.end("00:30:00", 9, task.RunCompleted)
		s.wantNext("s", "01:00")
	})
	t.Run("missed, made up for once", func(t *testing.T) {
		s := begin(t, task.MissedAll)
		s.look("05:30:00")
		s.want("s", "01:00 ran_late 1: found 4 h 30 m after it was due")
	})
	t.Run("missed, skipped", func(t *testing.T) {
		s := begin(t, task.MissedSkip)
		s.look("05:30:00")
		s.want("s", "01:00 missed: found 4 h 30 m after it was due, and missed times are skipped")
		s.wantNext("s", "06:30")
	})
	t.Run("outside the window", func(t *testing.T) {
		s := begin(t, task.MissedOnce)
		s.look("10 01:30:00")
		s.want("s", "01:00 outside_window: older than the window of 7d")
		s.wantNext("s", "10 02:30")
	})
	t.Run("paused", func(t *testing.T) {
		s := begin(t, task.MissedOnce)
		s.save("00:30:00", paused(plan(task.Schedule{Delay: time.Hour}), "00:30:00", "03:00:00"))
		s.look("03:00:00")
		s.want("s", "01:00 paused: the task was paused by anna until 2026-01-01 03:00: stocktaking")
		s.wantNext("s", "04:00")
	})
	t.Run("disabled", func(t *testing.T) {
		s := begin(t, task.MissedOnce)
		s.save("00:30:00", disabled(plan(task.Schedule{Delay: time.Hour})))
		s.wantNext("s", "")
		s.save("00:50:00", plan(task.Schedule{Delay: time.Hour}))
		s.wantNext("s", "01:00")
		s.save("00:55:00", disabled(plan(task.Schedule{Delay: time.Hour})))
		s.save("04:00:00", plan(task.Schedule{Delay: time.Hour}))
		s.want("s", "01:00 paused: the task was disabled")
		s.wantNext("s", "05:00")
	})
	t.Run("saved while a run is alive", func(t *testing.T) {
		s := newStand(t)
		s.save("00:00:00", plan())
		run := s.begin("00:10:00")
		s.save("00:20:00", plan(task.Schedule{Delay: time.Hour}))
		s.wantNext("s", "")
		s.end("00:30:00", run.Number, task.RunCompleted)
		s.wantNext("s", "01:30")
	})
	t.Run("not on an excluded day", func(t *testing.T) {
		s := newStand(t)
		s.save("23:30:00", plan(task.Schedule{Delay: time.Hour, Exclude: []string{"2026-01-02"}}))
		s.wantNext("s", "3 00:00")
	})
}

// A series ends with its timing, even if the new one begins in the very second of
// its last time: what is left of it after the clock is set back is counted by one rule.
func TestSeriesEndsWithItsTiming(t *testing.T) {
	s := newStand(t)
	s.save("00:00:00", disabled(plan(hourly())))
	s.save("02:00:00", disabled(plan(task.Schedule{Cron: "30 * * * *"})))
	s.save("04:00:00", plan(task.Schedule{Cron: "30 * * * *"}))
	s.want("s", "01:00..02:00 x2 paused: the task was disabled", "02:30..03:30 x2 paused: the task was disabled")
}
