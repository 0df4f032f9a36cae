package schedule

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

func TestClockThatIsSetBack(t *testing.T) {
	begin := func(t *testing.T) *stand {
		s := newStand(t)
		s.save("00:00:00", plan(hourly()))
		s.look("01:00:00")
		s.end("01:10:00", 1, task.RunCompleted)
		s.look("02:00:00")
		s.look("03:00:00")
		s.look("04:00:00")
		s.end("04:30:00", 2, task.RunCompleted)
		s.want("s", "01:00 ran 1", "02:00 ran 2", "03:00..04:00 x2 overlapped: t/2 was queued")
		return s
	}
	t.Run("what ran stays, the rest is open again", func(t *testing.T) {
		s := begin(t)
		s.look("00:30:00")
		s.want("s", "01:00 ran 1", "02:00 ran 2")
		s.wantNext("s", "03:00")
		s.look("02:30:00")
		s.look("03:00:00")
		s.want("s", "01:00 ran 1", "02:00 ran 2", "03:00 ran 3")
		if !strings.Contains(s.log.String(), "set back") {
			t.Error("nobody was warned")
		}
	})
	t.Run("a series is cut", func(t *testing.T) {
		s := begin(t)
		s.look("03:30:00")
		s.want("s", "01:00 ran 1", "02:00 ran 2", "03:00 overlapped: t/2 was queued")
		s.look("04:00:00")
		s.want("s", "01:00 ran 1", "02:00 ran 2", "03:00 overlapped: t/2 was queued", "04:00 ran 3")
	})
	t.Run("by a second it is as if it had not been", func(t *testing.T) {
		s := begin(t)
		s.look("05:00:00")
		s.end("05:00:00", 3, task.RunCompleted)
		s.look("04:59:59")
		s.want("s", "01:00 ran 1", "02:00 ran 2", "03:00..04:00 x2 overlapped: t/2 was queued", "05:00 ran 3")
		s.wantNext("s", "06:00")
		other := plan(task.Schedule{Cron: "0 * * * 1-7"})
		s.save("04:59:59.500", other) // another timing with the same times
		s.wantNext("s", "06:00")
	})
	t.Run("ten years, and forth again", func(t *testing.T) {
		s := begin(t)
		far := day0().AddDate(10, 0, 0)
		s.clock.set(far)
		if _, err := s.ledger.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(s.store.submits); n != 3 {
			t.Fatalf("%d runs", n)
		}
		late := plan(hourly())
		late.Name = "late"
		s.change("late", &late) // saved by the wrong clock
		s.look("05:00:00")
		if c := s.store.cursors[place{"late", "s"}]; !c.Since.Equal(on("05:00:00")) || !c.Next.Equal(on("06:00:00")) {
			t.Errorf("what was saved by the wrong clock stands at %+v", c)
		}
		before := []string{"01:00 ran 1", "02:00 ran 2", "03:00..04:00 x2 overlapped: t/2 was queued", "05:00 outside_window: older than the window of 7d"}
		s.want("s", append(before, "3653 00:00 ran 3")...)
		s.end("05:30:00", 3, task.RunCompleted)
		s.look("06:00:00")
		s.want("s", append(before, "06:00 ran 4", "3653 00:00 ran 3")...)
		s.end("06:30:00", 4, task.RunCompleted)
		s.look("3653 01:00:30") // there again, and now it is right
		s.want("s", append(before, "06:00 ran 4", "07:00..3646 01:00 x87475 outside_window: older than the window of 7d",
			"3646 02:00..3652 23:00 x166 missed: the time at 2036-01-01 01:00 stands for it", "3653 00:00 ran 3", "3653 01:00 ran 5")...)
	})
	t.Run("a change comes before the look", func(t *testing.T) {
		s := begin(t)
		s.save("01:30:00", plan(missed(hourly(), task.MissedSkip)))
		s.want("s", "01:00 ran 1", "02:00 ran 2")
		s.wantNext("s", "03:00")
		s.look("01:31:00")
		s.look("03:00:00")
		s.want("s", "01:00 ran 1", "02:00 ran 2", "03:00 ran 3")
	})
	t.Run("the daemon dies meanwhile", func(t *testing.T) {
		s := begin(t)
		s.clock.set(on("01:30:00"))
		crash := errors.New("crash")
		s.store.before = func() error {
			if s.store.commits%2 == 0 {
				s.store.commits++
				return nil
			}
			return crash
		}
		_, _ = s.ledger.look(t.Context())
		_, _ = s.ledger.look(t.Context())
		s.store.before = nil
		s.look("01:31:00")
		s.look("03:00:00")
		s.want("s", "01:00 ran 1", "02:00 ran 2", "03:00 ran 3")
	})
}

func TestFixedDelayWhenTheClockIsSetBack(t *testing.T) {
	s := newStand(t)
	s.save("00:00:00", plan(task.Schedule{Delay: time.Hour}))
	s.look("01:00:00")
	s.end("5 00:00:00", 1, task.RunCompleted)
	s.wantNext("s", "5 01:00")
	s.look("02:00:00")
	s.wantNext("s", "03:00")
	s.look("03:00:00")
	s.want("s", "01:00 ran 1", "03:00 ran 2")
}

func TestJumpOfTheClockIsTold(t *testing.T) {
	for _, c := range []struct{ wall, steady, want time.Duration }{
		{30 * time.Second, 30 * time.Second, 0},
		{32 * time.Second, 30 * time.Second, 0},
		{time.Hour, 30 * time.Second, time.Hour - 30*time.Second},
		{-time.Hour, 30 * time.Second, -time.Hour - 30*time.Second},
	} {
		if got := jumped(c.wall, c.steady); got != c.want {
			t.Errorf("%v against %v: %v, want %v", c.wall, c.steady, got, c.want)
		}
	}
}

func TestDeadlineStaysMetWhenTheClockIsSetBack(t *testing.T) {
	s := newStand(t)
	s.save("00:00:00", expecting())
	for day := 2; day < 5; day++ {
		at := func(text string) string { return fmt.Sprint(day, " ", text) }
		s.runs(at("02:00:00"), at("05:00:00"), task.RunCompleted)
		s.look(at("06:00:00"))
	}
	s.runs("4 06:10:00", "4 07:00:00", task.RunCompleted)
	s.want(task.ExpectName, "06:00 excused: "+young, "2 06:00..4 06:00 x3 met")
	s.look("3 05:30:00")
	s.want(task.ExpectName, "06:00 excused: "+young, "2 06:00 met", "3 06:00 met")
	s.wantNext(task.ExpectName, "4 06:00")
	s.look("4 06:00:00")
	s.want(task.ExpectName, "06:00 excused: "+young, "2 06:00 met", "3 06:00 met", "4 06:00 unmet 5: "+none+"2026-01-03 06:00")
}
