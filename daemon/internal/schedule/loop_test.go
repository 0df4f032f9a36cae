package schedule

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// offClock is the bubble's clock, set ahead or back.
type offClock struct {
	off   atomic.Int64
	looks atomic.Int64
}

func (c *offClock) Now() time.Time {
	c.looks.Add(1)
	return time.Now().Round(0).UTC().Add(time.Duration(c.off.Load()))
}

func (c *offClock) AfterFunc(d time.Duration, f func()) func() bool {
	return time.AfterFunc(d, f).Stop
}

type running struct {
	*stand
	clock *offClock
	stop  context.CancelFunc
	done  chan error
}

// runLoop runs a ledger in a bubble until the test's end.
func runLoop(t *testing.T) *running {
	s := newStand(t)
	clock := &offClock{}
	s.ledger = NewLedger(Config{Store: s.store, Clock: clock, Zones: &Zones{}})
	ctx, stop := context.WithCancel(t.Context())
	r := &running{s, clock, stop, make(chan error, 1)}
	go func() { r.done <- s.ledger.Run(ctx) }()
	synctest.Wait()
	return r
}

func (r *running) end() {
	r.t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Errorf("the loop ended: %v", err)
	}
}

func (r *running) slots(name string) []task.Slot {
	synctest.Wait()
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	return append([]task.Slot(nil), r.store.slots[place{name, "s"}]...)
}

func allowed(s task.Schedule) task.Task { return plan(overlap(s, task.OverlapAllow)) }

func TestLoopLooksWhenSomethingIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runLoop(t)
		one := allowed(task.Schedule{Cron: "* * * * *"})
		r.change("t", &one)
		r.ledger.Wake()
		before := r.clock.looks.Load()
		time.Sleep(time.Hour)
		slots := r.slots("t")
		if len(slots) != 60 {
			t.Fatalf("%d slots", len(slots))
		}
		for _, slot := range slots {
			if slot.Outcome != task.SlotRan || !slot.At.Equal(slot.First) {
				t.Errorf("%+v", slot)
			}
		}
		if n := r.clock.looks.Load() - before; n > 1200 {
			t.Errorf("the clock was read %d times in an hour", n)
		}
		r.end()
	})
}

func TestIdleLoopSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runLoop(t)
		before := r.store.commits
		looks := r.clock.looks.Load()
		time.Sleep(time.Hour)
		if n := r.clock.looks.Load() - looks; n > 600 || r.store.commits != before {
			t.Errorf("the clock was read %d times, %d commits", n, r.store.commits-before)
		}
		r.end()
	})
}

func TestWakeFindsWhatIsDueEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runLoop(t)
		time.Sleep(58 * time.Second)
		one := allowed(task.Schedule{Cron: "* * * * *"})
		r.change("t", &one)
		r.ledger.Wake()
		time.Sleep(2 * time.Second)
		if slots := r.slots("t"); len(slots) != 1 || slots[0].At.Sub(slots[0].First) != 0 {
			t.Errorf("%+v", slots)
		}
		r.end()
	})
}

func TestJumpsAreFoundSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runLoop(t)
		one := allowed(hourly())
		r.change("t", &one)
		r.ledger.Wake()
		time.Sleep(10 * time.Minute)
		r.clock.off.Store(int64(5 * time.Hour))
		time.Sleep(MaxSleep)
		slots := r.slots("t")
		if len(slots) != 2 || slots[0].Count != 4 || slots[1].Outcome != task.SlotRanLate {
			t.Fatalf("after a jump ahead: %+v", slots)
		}
		r.clock.off.Store(0)
		time.Sleep(MaxSleep)
		if slots = r.slots("t"); len(slots) != 1 || slots[0].Run != 1 {
			t.Fatalf("after a jump back: %+v", slots)
		}
		time.Sleep(6 * time.Hour)
		if slots = r.slots("t"); len(slots) != 6 || slots[4].Run != 1 || slots[5].Run != 6 {
			t.Errorf("in the end: %+v", slots)
		}
		r.end()
	})
}

func TestStormOfWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runLoop(t)
		one := allowed(task.Schedule{Cron: "* * * * * *"})
		r.change("t", &one)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for range 500 {
					r.ledger.Wake()
					time.Sleep(time.Duration(i+1) * 7 * time.Millisecond)
				}
			})
		}
		time.Sleep(10 * time.Second)
		if slots := r.slots("t"); len(slots) != 10 {
			t.Errorf("%d slots", len(slots))
		}
		wg.Wait()
		r.end()
	})
}

func TestLoopOutlivesAFullDiskAndEndsWithTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runLoop(t)
		one := allowed(task.Schedule{Cron: "* * * * *"})
		r.change("t", &one)
		r.ledger.Wake()
		full := error(task.ErrDiskFull)
		r.store.full.Store(&full)
		looks := r.clock.looks.Load()
		time.Sleep(2*time.Hour + 10*time.Second)
		if n := r.clock.looks.Load() - looks; n > 1500 || len(r.slots("t")) > 0 {
			t.Errorf("without room the clock was read %d times, %d slots", n, len(r.slots("t")))
		}
		r.store.full.Store(nil)
		time.Sleep(MaxSleep)
		if slots := r.slots("t"); len(slots) != 2 || !slots[1].Outcome.Ran() {
			t.Errorf("with room again: %+v", slots)
		}
		r.store.mu.Lock()
		r.store.before = func() error { return task.ErrStoreFailed }
		r.store.mu.Unlock()
		if err := <-r.done; !errors.Is(err, task.ErrStoreFailed) {
			t.Errorf("the loop ended with %v", err)
		}
	})
}

// What cannot be decided on nor put off is passed over, without a busy loop.
func TestLoopDoesNotSpinOnWhatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runLoop(t)
		one := allowed(hourly())
		one.Name = "a"
		r.change("a", &one)
		two := allowed(hourly())
		r.change("t", &two)
		r.store.mu.Lock()
		r.store.stuck = map[place]error{{"a", "s"}: errors.New("record too large")}
		r.store.mu.Unlock()
		r.ledger.Wake()
		looks := r.clock.looks.Load()
		time.Sleep(3 * time.Hour)
		if n := r.clock.looks.Load() - looks; n > 20_000 {
			t.Errorf("the clock was read %d times", n)
		}
		if slots := r.slots("t"); len(slots) != 3 {
			t.Errorf("the other has %+v", slots)
		}
		r.end()
	})
}
