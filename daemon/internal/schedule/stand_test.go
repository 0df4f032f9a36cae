package schedule

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/daemon/internal/task"
)

// handClock is moved by hand. Its timers fire when it is moved beyond them.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = at
}

func (c *handClock) AfterFunc(time.Duration, func()) func() bool {
	panic("these tests look by hand")
}

// stand is a ledger on a store and a clock that a test moves.
type stand struct {
	t      testing.TB
	store  *memStore
	clock  *handClock
	ledger *Ledger
	log    *strings.Builder
}

// day0 is a Thursday without changes of clocks nearby.
func day0() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// on is day 1 (the 1st of January) at that time of day, or "5 12:00:00" for the 5th.
func on(text string) time.Time {
	var day, h, m, s, ms int
	if !strings.Contains(text, " ") {
		text = "1 " + text
	}
	if _, err := fmt.Sscanf(text, "%d %d:%d:%d.%d", &day, &h, &m, &s, &ms); err != nil && h < 0 {
		panic(err)
	}
	return day0().AddDate(0, 0, day-1).Add(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute +
		time.Duration(s)*time.Second + time.Duration(ms)*time.Millisecond)
}

func newStand(t testing.TB) *stand {
	log := &strings.Builder{}
	s := &stand{t: t, store: newMemStore(), clock: &handClock{now: day0()}, log: log}
	calls := 0
	s.store.twice = func() bool { calls++; return calls%3 == 0 }
	s.ledger = NewLedger(Config{
		Store: s.store, Clock: s.clock, Zones: &Zones{},
		Logger: hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Info, DisableTime: true}),
	})
	return s
}

// plan is a task with these schedules.
func plan(schedules ...task.Schedule) task.Task {
	t := task.Task{Name: "t", Version: 1, Steps: []task.Step{{Name: "work"}}}
	for i, s := range schedules {
		if s.Name == "" {
			s.Name = "s"
			if i > 0 {
				s.Name = fmt.Sprintf("s%d", i+1)
			}
		}
		if s.Timezone == "" {
			s.Timezone = "UTC"
		}
		t.Schedules = append(t.Schedules, s.WithDefaults())
	}
	return t
}

func hourly() task.Schedule { return task.Schedule{Cron: "0 * * * *"} }

// save writes the task at that time, as the engine does.
func (s *stand) save(at string, t task.Task) {
	s.t.Helper()
	s.clock.set(on(at))
	s.change(t.Name, &t)
}

func (s *stand) delete(at string, name string) {
	s.t.Helper()
	s.clock.set(on(at))
	s.change(name, nil)
}

func (s *stand) change(name string, now *task.Task) {
	s.t.Helper()
	err := s.store.Update(s.t.Context(), func(tx Tx) error {
		return changeIn(s.ledger, tx.(*memTx), name, now)
	})
	if err != nil {
		s.t.Fatalf("save %s: %v", name, err)
	}
}

func changeIn(l *Ledger, tx *memTx, name string, now *task.Task) error {
	var old *task.Task
	if t, ok := tx.tasks[name]; ok {
		old = &t
	}
	if err := l.Changed(tx, old, now); err != nil {
		return err
	}
	if now == nil {
		tx.deleteTask(name)
	} else {
		tx.putTask(now)
	}
	return nil
}

// look lets the ledger look at the clock at that time.
func (s *stand) look(at string) {
	s.t.Helper()
	s.clock.set(on(at))
	if _, err := s.ledger.look(s.t.Context()); err != nil {
		s.t.Fatalf("look at %s: %v", at, err)
	}
}

// begin makes a run of somebody at that time.
func (s *stand) begin(at string) task.Run {
	s.t.Helper()
	var run task.Run
	s.clock.set(on(at))
	_ = s.store.Update(s.t.Context(), func(tx Tx) error {
		run = tx.(*memTx).newRun(task.Run{Task: "t", Status: task.RunRunning, CreatedAt: on(at)})
		return nil
	})
	return run
}

// end ends the run of that number.
func (s *stand) end(at string, number uint64, status task.RunStatus) {
	s.t.Helper()
	s.clock.set(on(at))
	err := s.store.Update(s.t.Context(), func(tx Tx) error {
		m := tx.(*memTx)
		i := slices.IndexFunc(m.alive["t"], func(r task.Run) bool { return r.Number == number })
		if i < 0 {
			return fmt.Errorf("run %d is not alive", number)
		}
		run := m.alive["t"][i]
		run.Status, run.EndedAt = status, on(at)
		m.endRun(run)
		return s.ledger.Ended(tx, run)
	})
	if err != nil {
		s.t.Fatalf("end of run %d: %v", number, err)
	}
}

// want compares the account of the schedule, oldest first, with lines such as
// "02:00 ran 1" or "02:00..05:00 x4 missed: reason".
func (s *stand) want(schedule string, lines ...string) {
	s.t.Helper()
	got := s.account(schedule)
	want := strings.Join(lines, "\n")
	if got != want {
		s.t.Errorf("account of %s\ngot:\n%s\nwant:\n%s", schedule, got, want)
	}
	if c, err := (&memTx{memStore: s.store}).Cursor("t", schedule); err == nil && c.Slots != len(s.store.slots[keyOf(c)]) {
		s.t.Errorf("the cursor of %s counts %d slots, there are %d", schedule, c.Slots, len(s.store.slots[keyOf(c)]))
	}
}

func (s *stand) account(schedule string) string {
	var lines []string
	for _, slot := range s.store.slots[place{"t", schedule}] {
		line := shortTime(slot.First)
		if slot.Count != 1 {
			line += fmt.Sprintf("..%s x%d", shortTime(slot.Last), slot.Count)
		}
		line += " " + string(slot.Outcome)
		if slot.Run > 0 {
			line += fmt.Sprintf(" %d", slot.Run)
		}
		if slot.Reason != "" {
			line += ": " + slot.Reason
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// shortTime leaves out the 1st of January, and seconds that are none.
func shortTime(t time.Time) string {
	layout := "15:04"
	if t.Second() != 0 {
		layout = "15:04:05"
	}
	text := t.Format(layout)
	if days := int(t.Sub(day0()).Hours()/24) + 1; days != 1 {
		text = fmt.Sprintf("%d %s", days, text)
	}
	return text
}

// wantNext is when the schedule's next time and its due time are; "" for none.
func (s *stand) wantNext(schedule, next string) {
	s.t.Helper()
	c, err := (&memTx{memStore: s.store}).Cursor("t", schedule)
	if err != nil {
		s.t.Fatal(err)
	}
	got := ""
	if !c.Next.IsZero() {
		got = shortTime(c.Next)
	} else if !c.Due.IsZero() {
		got = "only to record, " + shortTime(c.Due)
	}
	if got != next {
		s.t.Errorf("next time of %s: got %q, want %q", schedule, got, next)
	}
}

func (s *stand) cancelled() context.Context {
	ctx, cancel := context.WithCancel(s.t.Context())
	cancel()
	return ctx
}
