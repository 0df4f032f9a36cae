package schedule

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

func missed(s task.Schedule, m task.Missed) task.Schedule {
	s.Missed = m
	return s
}

func overlap(s task.Schedule, o task.Overlap) task.Schedule {
	s.Overlap = o
	return s
}

func TestTimeIsOnTimeForAMinute(t *testing.T) {
	for look, want := range map[string]string{
		"01:00:00":     "01:00 ran 1",
		"01:00:59":     "01:00 ran 1",
		"01:01:00":     "01:00 ran 1",
		"01:01:00.001": "01:00 ran_late 1: found 1 m 0 s after it was due",
		"01:59:59":     "01:00 ran_late 1: found 59 m 59 s after it was due",
	} {
		t.Run(look, func(t *testing.T) {
			s := newStand(t)
			s.save("00:00:00", plan(hourly()))
			s.look("00:59:59.999")
			s.want("s")
			s.wantNext("s", "01:00")
			s.look(look)
			s.want("s", want)
			s.wantNext("s", "02:00")
			s.look(look)
			s.want("s", want)
			if run := s.store.submits[0]; run.Trigger != task.TriggerSchedule || run.Schedule != "s" || !run.ScheduledFor.Equal(on("01:00:00")) {
				t.Errorf("the run is %+v", run)
			}
		})
	}
}

// What becomes of the times 01:00 to 04:00 that are found at 04:30, or at 04:01
// with the last one on time.
func TestMissedTimes(t *testing.T) {
	limited := missed(hourly(), task.MissedAll)
	limited.MissedLimit = 2
	window := func(s task.Schedule, d time.Duration) task.Schedule {
		s.MissedWindow = d
		return s
	}
	for _, c := range []struct {
		name string
		s    task.Schedule
		look string
		want []string
	}{
		{"skip", missed(hourly(), task.MissedSkip), "04:30:00", []string{"01:00..04:00 x4 missed: it was found late, and missed times are skipped"}},
		{"skip, the last on time", missed(hourly(), task.MissedSkip), "04:01:00", []string{
			"01:00..03:00 x3 missed: it was found late, and missed times are skipped", "04:00 ran 1"}},
		{"skip has no window", window(missed(hourly(), task.MissedSkip), time.Hour), "04:30:00", []string{
			"01:00..04:00 x4 missed: it was found late, and missed times are skipped"}},
		{"once", hourly(), "04:30:00", []string{
			"01:00..03:00 x3 missed: the time at 2026-01-01 04:00 stands for it", "04:00 ran_late 1: found 30 m 0 s after it was due"}},
		{"once, the last on time", hourly(), "04:01:00", []string{
			"01:00..03:00 x3 missed: the time at 2026-01-01 04:00 stands for it", "04:00 ran 1"}},
		{"once, some outside", window(hourly(), 150*time.Minute), "04:30:00", []string{
			"01:00 outside_window: older than the window of 2h30m",
			"02:00..03:00 x2 missed: the time at 2026-01-01 04:00 stands for it", "04:00 ran_late 1: found 30 m 0 s after it was due"}},
		{"once, all outside", window(hourly(), 29*time.Minute), "04:30:00", []string{"01:00..04:00 x4 outside_window: older than the window of 29m"}},
		{"all", missed(hourly(), task.MissedAll), "04:30:00", []string{
			"01:00 ran_late 1: found 3 h 30 m after it was due", "02:00 ran_late 2: found 2 h 30 m after it was due",
			"03:00 ran_late 3: found 1 h 30 m after it was due", "04:00 ran_late 4: found 30 m 0 s after it was due"}},
		{"all, the last on time", missed(hourly(), task.MissedAll), "04:00:30", []string{
			"01:00 ran_late 1: found 3 h 0 m after it was due", "02:00 ran_late 2: found 2 h 0 m after it was due",
			"03:00 ran_late 3: found 1 h 0 m after it was due", "04:00 ran 4"}},
		{"all, limited", limited, "04:30:00", []string{"01:00..02:00 x2 missed: more than 2 were missed",
			"03:00 ran_late 1: found 1 h 30 m after it was due", "04:00 ran_late 2: found 30 m 0 s after it was due"}},
		{"all, limited, the last on time", limited, "04:00:30", []string{"01:00 missed: more than 2 were missed",
			"02:00 ran_late 1: found 2 h 0 m after it was due", "03:00 ran_late 2: found 1 h 0 m after it was due", "04:00 ran 3"}},
		{"all, limited, some outside", window(limited, 150*time.Minute), "04:30:00", []string{
			"01:00 outside_window: older than the window of 2h30m", "02:00 missed: more than 2 were missed",
			"03:00 ran_late 1: found 1 h 30 m after it was due", "04:00 ran_late 2: found 30 m 0 s after it was due"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStand(t)
			s.save("00:00:00", plan(c.s))
			s.look(c.look)
			s.want("s", c.want...)
			s.wantNext("s", "05:00")
			if n := strings.Count(s.log.String(), "[INFO]"); n != 1 {
				t.Errorf("%d lines of information for one series:\n%s", n, s.log)
			}
		})
	}
}

// The runs that make up for missed times wait for one another under every
// overlap policy, and the one that is on time waits for them.
func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		name  string
		s     task.Schedule
		alive bool
		look  string
		want  []string
		runs  string // of each that was made: s for serial, r for one that replaces
	}{
		{"skip", overlap(hourly(), task.OverlapSkip), true, "01:00:00", []string{"01:00 overlapped: t/1 was running"}, ""},
		{"skip, none alive", overlap(hourly(), task.OverlapSkip), false, "01:00:00", []string{"01:00 ran 1"}, "s"},
		{"skip, made up for", overlap(hourly(), task.OverlapSkip), true, "02:30:00", []string{
			"01:00 missed: the time at 2026-01-01 02:00 stands for it", "02:00 overlapped: t/1 was running"}, ""},
		{"queue", overlap(hourly(), task.OverlapQueue), true, "01:00:00", []string{"01:00 ran 2"}, "s"},
		{"replace", overlap(hourly(), task.OverlapReplace), true, "01:00:00", []string{"01:00 ran 2"}, "r"},
		{"replace, none alive", overlap(hourly(), task.OverlapReplace), false, "01:00:00", []string{"01:00 ran 1"}, "s"},
		{"allow", overlap(hourly(), task.OverlapAllow), true, "01:00:00", []string{"01:00 ran 2"}, "-"},
		{"all, skip", missed(overlap(hourly(), task.OverlapSkip), task.MissedAll), true, "03:00:10", []string{
			"01:00 ran_late 2: found 2 h 0 m after it was due", "02:00 ran_late 3: found 1 h 0 m after it was due", "03:00 ran 4"}, "sss"},
		{"all, queue", missed(overlap(hourly(), task.OverlapQueue), task.MissedAll), true, "02:30:00", []string{
			"01:00 ran_late 2: found 1 h 30 m after it was due", "02:00 ran_late 3: found 30 m 0 s after it was due"}, "ss"},
		{"all, replace", missed(overlap(hourly(), task.OverlapReplace), task.MissedAll), true, "02:30:00", []string{
			"01:00 ran_late 2: found 1 h 30 m after it was due", "02:00 ran_late 3: found 30 m 0 s after it was due"}, "rs"},
		{"all, replace, none alive", missed(overlap(hourly(), task.OverlapReplace), task.MissedAll), false, "02:30:00", []string{
			"01:00 ran_late 1: found 1 h 30 m after it was due", "02:00 ran_late 2: found 30 m 0 s after it was due"}, "ss"},
		{"all, allow", missed(overlap(hourly(), task.OverlapAllow), task.MissedAll), true, "02:30:00", []string{
			"01:00 ran_late 2: found 1 h 30 m after it was due", "02:00 ran_late 3: found 30 m 0 s after it was due"}, "ss"},
		{"all with nothing missed, skip", missed(overlap(hourly(), task.OverlapSkip), task.MissedAll), true, "01:00:00", []string{
			"01:00 overlapped: t/1 was running"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStand(t)
			s.save("00:00:00", plan(c.s))
			made := 0
			if c.alive {
				s.begin("00:30:00")
				made = 1
			}
			s.look(c.look)
			s.want("s", c.want...)
			runs := ""
			for _, run := range s.store.submits[made:] {
				switch {
				case run.Replaces:
					runs += "r"
				case run.Serial:
					runs += "s"
				default:
					runs += "-"
				}
			}
			if runs != c.runs {
				t.Errorf("the runs are %q, want %q", runs, c.runs)
			}
		})
	}
}

func TestHooksDoNotOverlap(t *testing.T) {
	s := newStand(t)
	s.save("00:00:00", plan(hourly()))
	s.store.alive["t"] = []task.Run{{Task: "t", Number: 9, Trigger: task.TriggerOnMissed, Status: task.RunRunning}}
	s.look("01:00:00")
	s.want("s", "01:00 ran 1")
}

func TestAtMostSoManyRunsAreAlive(t *testing.T) {
	for _, policy := range []task.Overlap{task.OverlapQueue, task.OverlapReplace, task.OverlapAllow} {
		s := newStand(t)
		s.save("00:00:00", plan(overlap(hourly(), policy)))
		for range MaxQueued {
			s.begin("00:30:00")
		}
		s.look("01:00:00")
		s.want("s", "01:00 overlapped: 100 runs are alive already")
	}
	s := newStand(t)
	every := missed(task.Schedule{Cron: "* * * * *"}, task.MissedAll)
	every.MissedLimit = 3
	s.save("00:00:00", plan(every))
	for range MaxQueued - 1 {
		s.begin("00:00:30")
	}
	s.look("00:04:59")
	s.want("s", "00:01 ran_late 100: found 3 m 59 s after it was due",
		"00:02..00:04 x3 overlapped: 100 runs are alive already")
}

// Times that went the same way are one slot also when they were decided on one
// by one, and a run between them ends it.
func TestSeriesIsOneSlot(t *testing.T) {
	s := newStand(t)
	s.save("00:00:00", plan(hourly()))
	s.look("01:00:00")
	for h := 2; h < 5; h++ {
		s.look(fmt.Sprintf("%02d:00:00", h))
	}
	s.want("s", "01:00 ran 1", "02:00..04:00 x3 overlapped: t/1 was queued")
	s.end("04:30:00", 1, task.RunCompleted)
	s.look("05:00:00")
	s.look("06:00:00")
	s.want("s", "01:00 ran 1", "02:00..04:00 x3 overlapped: t/1 was queued", "05:00 ran 2", "06:00 overlapped: t/2 was queued")
	if slot := s.store.slots[place{"t", "s"}][1]; !slot.At.Equal(on("04:00:00")) || !slot.Due.IsZero() {
		t.Errorf("the series is %+v", slot)
	}
	if slot := s.store.slots[place{"t", "s"}][0]; !slot.Due.Equal(on("01:00:00")) || !slot.At.Equal(on("01:00:00")) {
		t.Errorf("the single one is %+v", slot)
	}
}

func TestAccountIsPruned(t *testing.T) {
	s := newStand(t)
	s.ledger.keep = 3
	s.save("00:00:00", plan(overlap(hourly(), task.OverlapAllow)))
	for h := 1; h < 8; h++ {
		s.look(fmt.Sprintf("%02d:00:00", h))
	}
	s.want("s", "05:00 ran 5", "06:00 ran 6", "07:00 ran 7")
}

func TestJitterDelays(t *testing.T) {
	s := newStand(t)
	jittered := hourly()
	jittered.Jitter = 30 * time.Minute
	s.save("00:00:00", plan(jittered))
	c, _ := (&memTx{memStore: s.store}).Cursor("t", "s")
	if !c.Next.Equal(on("01:00:00")) || !c.Due.After(c.Next.Add(time.Second)) {
		t.Fatalf("the cursor is due at %v for %v", c.Due, c.Next)
	}
	s.clock.set(c.Due.Add(-time.Millisecond))
	if next, err := s.ledger.look(t.Context()); err != nil || !next.Equal(c.Due) {
		t.Fatalf("looks again at %v, %v", next, err)
	}
	s.want("s")
	s.clock.set(c.Due)
	if _, err := s.ledger.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.want("s", "01:00 ran 1")
	if slot := s.store.slots[place{"t", "s"}][0]; !slot.Due.Equal(c.Due) {
		t.Errorf("the slot was due at %v", slot.Due)
	}
}

func TestOnceIsOnce(t *testing.T) {
	s := newStand(t)
	s.save("00:00:00", plan(task.Schedule{At: "2026-01-01T06:00"}))
	s.wantNext("s", "06:00")
	s.look("06:00:00")
	s.want("s", "06:00 ran 1")
	s.wantNext("s", "")
	s.look("12:00:00")
	s.want("s", "06:00 ran 1")
}

func TestRateIsCountedFromWhenItWasSaved(t *testing.T) {
	s := newStand(t)
	rate := task.Schedule{Rate: 40 * time.Minute}
	s.save("00:10:00.500", plan(rate))
	s.look("00:49:59")
	s.want("s")
	s.look("00:50:00")
	s.want("s", "00:50 ran 1")
	again := plan(overlap(rate, task.OverlapAllow)) // a policy is no new timing
	s.save("01:00:00", again)
	s.wantNext("s", "01:30")
	rate.Rate = 30 * time.Minute
	s.save("01:00:10", plan(rate))
	s.wantNext("s", "01:30:10")
}

func TestFullDiskHoldsUpDecisions(t *testing.T) {
	s := newStand(t)
	s.save("00:00:00", plan(hourly()))
	full := fmt.Errorf("10 MiB are free: %w", task.ErrDiskFull)
	s.store.full.Store(&full)
	s.clock.set(on("01:00:00"))
	if _, err := s.ledger.look(t.Context()); !errors.Is(err, task.ErrDiskFull) {
		t.Fatalf("looked: %v", err)
	}
	s.want("s")
	s.store.full.Store(nil)
	s.store.before = func() error { return full }
	if _, err := s.ledger.look(t.Context()); !errors.Is(err, task.ErrDiskFull) {
		t.Fatalf("looked: %v", err)
	}
	s.want("s")
	s.store.before = nil
	s.look("01:30:00")
	s.want("s", "01:00 ran_late 1: found 30 m 0 s after it was due")
}

func TestChangeWithoutRoomMakesNoRun(t *testing.T) {
	s := newStand(t)
	s.save("00:00:00", plan(hourly()))
	full := error(task.ErrDiskFull)
	s.store.full.Store(&full)
	held := plan(hourly())
	held.Disabled = true
	s.save("02:00:10", held)
	s.want("s", "01:00 missed: the time at 2026-01-01 02:00 stands for it", "02:00 missed: there was no room on the disk for a run")
}

// One schedule that cannot be followed stops no other, and is put off durably.
func TestInvalidScheduleStopsNoOther(t *testing.T) {
	s := newStand(t)
	s.save("00:00:00", plan(hourly(), hourly()))
	broken := s.store.tasks["t"]
	broken.Schedules = append([]task.Schedule(nil), broken.Schedules...)
	broken.Schedules[0].Timezone = "Mars/Olympus"
	s.store.tasks["t"] = broken
	s.look("01:00:00")
	s.want("s")
	s.want("s2", "01:00 ran 1")
	s.wantNext("s", "only to record, 02:00")
	if !strings.Contains(s.log.String(), "Mars") {
		t.Errorf("the log does not say why: %s", s.log)
	}
	commits := s.store.commits
	s.look("01:30:00")
	if s.store.commits != commits {
		t.Error("it was tried again too soon")
	}
	broken.Schedules[0].Timezone = "UTC"
	s.look("02:00:00")
	s.want("s", "01:00 missed: the time at 2026-01-01 02:00 stands for it", "02:00 overlapped: t/1 was queued")
	s.wantNext("s", "03:00")
}

func TestUnreadableTaskStopsNoOther(t *testing.T) {
	s := newStand(t)
	s.save("00:00:00", plan(hourly()))
	other := plan(hourly())
	other.Name = "a"
	s.save("00:00:00", other)
	s.store.refuse = map[place]error{{"a", "s"}: errors.New("record damaged")}
	s.look("01:00:00")
	s.want("s", "01:00 ran 1")
	if c := s.store.cursors[place{"a", "s"}]; !c.Due.Equal(on("02:00:00")) {
		t.Errorf("the unreadable one is due at %v", c.Due)
	}
	s.store.refuse = nil
	s.look("02:00:00")
	if slots := s.store.slots[place{"a", "s"}]; len(slots) != 2 || slots[1].Outcome != task.SlotRan {
		t.Errorf("afterwards: %+v", slots)
	}
}

// A run that cannot be made rolls back its whole transaction: the others of it
// are decided on all the same.
func TestRefusedRunStopsNoOther(t *testing.T) {
	s := newStand(t)
	s.save("00:00:00", plan(hourly()))
	other := plan(hourly())
	other.Name, other.Steps = "a", []task.Step{{}}
	s.save("00:00:00", other)
	s.look("01:00:00")
	s.want("s", "01:00 ran 1")
	if c := s.store.cursors[place{"a", "s"}]; !c.Due.Equal(on("02:00:00")) || !c.Last.Equal(on("00:00:00")) {
		t.Errorf("the other is at %+v", c)
	}
}

func TestFailedStoreEndsTheLook(t *testing.T) {
	s := newStand(t)
	s.save("00:00:00", plan(hourly()))
	s.store.before = func() error { return task.ErrStoreFailed }
	s.clock.set(on("01:00:00"))
	if _, err := s.ledger.look(t.Context()); !errors.Is(err, task.ErrStoreFailed) {
		t.Errorf("looked: %v", err)
	}
	if _, err := s.ledger.look(s.cancelled()); err == nil {
		t.Error("looked with an ended context")
	}
}

func TestOrphanedCursorGoes(t *testing.T) {
	s := newStand(t)
	s.save("00:00:00", plan(hourly()))
	delete(s.store.tasks, "t")
	s.look("01:00:00")
	if len(s.store.cursors) != 0 {
		t.Errorf("left: %v", s.store.cursors)
	}
}
