package schedule

import (
	"testing"

	"github.com/stepd/stepd/daemon/internal/task"
)

// expecting is a task that is to have completed by 06:00 each day.
func expecting() task.Task {
	t := plan()
	t.Expect = &task.Expect{By: "06:00", Timezone: "UTC"}
	t.OnMissed = []task.Step{{Name: "tell"}}
	return t
}

const (
	young = "the rule was made less than a period before"
	none  = "no run completed since "
)

func (s *stand) runs(from, to string, status task.RunStatus) {
	s.t.Helper()
	run := s.begin(from)
	s.end(to, run.Number, status)
}

func TestExpectation(t *testing.T) {
	begin := func(t *testing.T) *stand {
		s := newStand(t)
		s.save("00:00:00", expecting())
		s.wantNext(task.ExpectName, "06:00")
		s.look("06:00:00")
		s.want(task.ExpectName, "06:00 excused: "+young)
		return s
	}
	first := "06:00 excused: " + young
	t.Run("met, also before the rule is a period old", func(t *testing.T) {
		s := newStand(t)
		s.save("00:00:00", expecting())
		s.runs("01:00:00", "02:00:00", task.RunCompleted)
		s.look("06:00:00")
		s.want(task.ExpectName, "06:00 met")
	})
	t.Run("met", func(t *testing.T) {
		s := begin(t)
		s.runs("01:00:00", "2 06:00:00", task.RunCompleted)
		s.look("2 06:00:01")
		s.want(task.ExpectName, first, "2 06:00 met")
	})
	t.Run("unmet", func(t *testing.T) {
		s := begin(t)
		s.runs("01:00:00", "2 05:00:00", task.RunFailed)
		s.look("2 06:00:00")
		s.want(task.ExpectName, first, "2 06:00 unmet 2: "+none+"2026-01-01 06:00")
		run := s.store.submits[1]
		if run.Trigger != task.TriggerOnMissed || !run.ScheduledFor.Equal(on("2 06:00:00")) || run.Schedule != task.ExpectName {
			t.Errorf("the run is %+v", run)
		}
		s.end("2 06:05:00", 2, task.RunCompleted) // a hook's run completes nothing
		s.look("3 06:00:00")
		s.want(task.ExpectName, first, "2 06:00 unmet 2: "+none+"2026-01-01 06:00", "3 06:00 unmet 3: "+none+"2026-01-02 06:00")
	})
	t.Run("completed a second too late", func(t *testing.T) {
		s := begin(t)
		s.runs("2 05:00:00", "2 06:00:01", task.RunCompleted)
		s.look("2 06:00:30")
		s.want(task.ExpectName, first, "2 06:00 unmet 2: "+none+"2026-01-01 06:00")
		s.look("3 06:00:30")
		s.want(task.ExpectName, first, "2 06:00 unmet 2: "+none+"2026-01-01 06:00", "3 06:00 met")
	})
	t.Run("the newest only is told", func(t *testing.T) {
		s := begin(t)
		s.look("5 09:00:00")
		s.want(task.ExpectName, first, "2 06:00 unmet: "+none+"2026-01-01 06:00", "3 06:00 unmet: "+none+"2026-01-02 06:00",
			"4 06:00 unmet: "+none+"2026-01-03 06:00", "5 06:00 unmet 1: "+none+"2026-01-04 06:00")
	})
	t.Run("met by the run before the newest", func(t *testing.T) {
		s := begin(t)
		s.runs("2 04:00:00", "2 05:00:00", task.RunCompleted)
		s.runs("2 06:10:00", "2 07:00:00", task.RunCompleted) // nobody looked meanwhile
		s.look("2 08:00:00")
		s.want(task.ExpectName, first, "2 06:00 met")
		s.look("3 06:00:00")
		s.want(task.ExpectName, first, "2 06:00 met", "3 06:00 met")
		s.look("4 06:00:00")
		s.want(task.ExpectName, first, "2 06:00 met", "3 06:00 met", "4 06:00 unmet 3: "+none+"2026-01-03 06:00")
	})
	t.Run("excused while paused", func(t *testing.T) {
		s := begin(t)
		s.save("23:00:00", disabled(expecting()))
		s.runs("3 01:00:00", "3 02:00:00", task.RunCompleted)
		s.save("3 12:00:00", expecting())
		s.want(task.ExpectName, first, "2 06:00 excused: the task was disabled", "3 06:00 met")
		s.look("4 06:00:00")
		s.want(task.ExpectName, first, "2 06:00 excused: the task was disabled", "3 06:00 met", "4 06:00 unmet 2: "+none+"2026-01-03 06:00")
	})
	t.Run("without a hook", func(t *testing.T) {
		s := begin(t)
		e := expecting()
		e.OnMissed = nil
		s.save("07:00:00", e)
		s.look("2 06:00:00")
		s.want(task.ExpectName, first, "2 06:00 unmet: "+none+"2026-01-01 06:00")
	})
	t.Run("changed, it starts anew", func(t *testing.T) {
		s := begin(t)
		e := expecting()
		e.Expect.By = "07:00"
		s.save("2 06:30:00", e)
		s.want(task.ExpectName, first, "2 06:00 unmet 1: "+none+"2026-01-01 06:00")
		s.look("2 07:00:00")
		s.want(task.ExpectName, first, "2 06:00 unmet 1: "+none+"2026-01-01 06:00", "2 07:00 excused: "+young)
	})
}

func TestExpectationOnWorkdays(t *testing.T) {
	s := newStand(t)
	e := expecting()
	e.Expect.Days = "mon-fri" // the 1st is a Thursday
	s.save("00:00:00", e)
	s.look("2 06:00:00")
	s.runs("2 07:00:00", "3 08:00:00", task.RunCompleted) // on Saturday
	s.look("5 06:00:00")
	s.want(task.ExpectName, "06:00 excused: "+young, "2 06:00 unmet 1: "+none+"2026-01-01 06:00", "5 06:00 met")
}
