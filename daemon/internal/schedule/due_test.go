package schedule

import (
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// A time of a task has come when one has passed since its run began, and since the
// schedule was saved, whatever the ledger made of it.
func TestDue(t *testing.T) {
	s := newStand(t)
	s.save("03:30:00", plan(hourly()))
	def := plan(hourly())
	due := func(since, now string, want bool) {
		t.Helper()
		var from time.Time
		if since != "" {
			from = on(since)
		}
		err := s.store.View(func(rd Reader) error {
			got, err := s.ledger.Due(rd, &def, from, on(now))
			if got != want {
				t.Errorf("since %q, at %s: due is %v", since, now, got)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	due("", "03:59:59", false) // 03:00 was before it was saved
	due("", "04:00:00", true)
	due("01:00:00", "03:59:59", false)
	due("04:00:00.5", "04:59:59", false)
	due("03:59:59", "04:00:00", true)
	s.look("04:00:00")
	due("", "04:30:00", true) // the ledger's run of it has not completed, perhaps

	late := hourly()
	late.Jitter = 30 * time.Minute
	s.save("05:30:00", plan(late))
	def = plan(late)
	rule, err := s.ledger.zones.Compile(def.Schedules[0], on("05:30:00"))
	if err != nil {
		t.Fatal(err)
	}
	at := rule.Due("t", def.Schedules[0].Name, on("06:00:00"))
	due("", at.Add(-time.Second).Format("15:04:05"), false)
	due("", at.Add(time.Second).Format("15:04:05"), true)

	s = newStand(t) // where no run of the others is alive
	after := task.Schedule{Delay: time.Hour}
	s.save("07:00:00", plan(after))
	def = plan(after)
	due("", "07:59:59", false)
	due("", "08:00:00", true)
	s.begin("07:30:00")
	s.look("08:30:00")
	s.end("08:45:00", 1, task.RunCompleted)
	due("07:30:00", "09:44:59", false)
	due("07:30:00", "09:45:00", true)
}

// A run that somebody wants to have later is in the way of none of a schedule.
func TestARunForLaterOverlapsWithNothing(t *testing.T) {
	s := newStand(t)
	s.save("00:30:00", plan(hourly()))
	_ = s.store.Update(t.Context(), func(tx Tx) error {
		tx.(*memTx).newRun(task.Run{Task: "t", Status: task.RunQueued, CreatedAt: on("00:45:00"), NotBefore: on("01:30:00")})
		return nil
	})
	s.look("01:00:00")
	s.end("01:10:00", 2, task.RunCompleted)
	s.look("02:00:00") // by now its time has come
	s.want("s", "01:00 ran 2", "02:00 overlapped: t/1 was queued")
}
