package schedule

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

func everySecond() task.Schedule { return task.Schedule{Cron: "* * * * * *"} }

// A second's schedule and a month of downtime: 2.6 million times, worked off a
// chunk at a time.
func TestMonthOfMissedSecondsIsWorkedOffInChunks(t *testing.T) {
	for _, m := range []task.Missed{task.MissedOnce, task.MissedSkip, task.MissedAll} {
		t.Run(string(m), func(t *testing.T) {
			s := newStand(t)
			s.store.twice = nil
			s.save("00:00:00", plan(missed(everySecond(), m)))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			s.look("8 12:00:00")
			runtime.ReadMemStats(&after)
			const total = 7*86400 + 43200 // the first half day is outside the window
			switch m {
			case task.MissedSkip:
				s.want("s", fmt.Sprintf("00:00:01..8 11:59:59 x%d missed: it was found late, and missed times are skipped", total-1), "8 12:00 ran 1")
			case task.MissedOnce:
				if !strings.HasSuffix(s.account("s"), "missed: the time at 2026-01-08 12:00:00 stands for it\n8 12:00 ran 1") &&
					!strings.HasSuffix(s.account("s"), "missed: the time at 2026-01-08 12:00 stands for it\n8 12:00 ran 1") {
					t.Error(s.account("s"))
				}
			case task.MissedAll:
				if n := len(s.store.submits); n != 11 {
					t.Errorf("%d runs", n)
				}
			}
			count := 0
			var last time.Time
			for _, slot := range s.store.slots[place{"t", "s"}] {
				if slot.First.Sub(last) != time.Second && !last.IsZero() {
					t.Errorf("a hole before %v", slot.First)
				}
				count, last = count+slot.Count, slot.Last
			}
			if count != total {
				t.Errorf("%d times are accounted for, of %d", count, total)
			}
			if s.store.commits < total/chunkSize || s.store.largest > 50 {
				t.Errorf("%d transactions, the largest with %d writes", s.store.commits, s.store.largest)
			}
			if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 16<<20 {
				t.Errorf("%d bytes of memory", kept)
			}
		})
	}
}

// What has to be decided before a change is, in the transaction of the change;
// so many times that they cannot be counted meanwhile are entered uncounted.
func TestChangeAfterMoreTimesThanCanBeCounted(t *testing.T) {
	s := newStand(t)
	s.store.twice = nil
	s.save("00:00:00", disabled(plan(everySecond())))
	s.save("41 00:00:00", plan(everySecond()))
	slots := s.store.slots[place{"t", "s"}]
	if len(slots) != 1 || slots[0].Count != 0 || !slots[0].First.Equal(on("00:00:01")) || !slots[0].Last.Equal(on("41 00:00:00")) || slots[0].Outcome != task.SlotPaused {
		t.Errorf("the account is %+v", slots)
	}
	s.wantNext("s", "41 00:00:01")
	s.look("41 00:00:01")
	if n := len(s.store.submits); n != 1 {
		t.Errorf("%d runs", n)
	}
}

func TestTenThousandDueInOneSecond(t *testing.T) {
	s := newStand(t)
	s.store.twice = nil
	for i := range 10_000 {
		one := plan(hourly())
		one.Name = fmt.Sprintf("t%05d", i)
		s.change(one.Name, &one)
	}
	before := s.store.commits
	s.look("01:00:00")
	if n := len(s.store.submits); n != 10_000 {
		t.Errorf("%d runs", n)
	}
	if n := s.store.commits - before; n < 10_000/batchSize || n > 10_000/batchSize+2 {
		t.Errorf("%d transactions", n)
	}
	s.look("01:00:00")
	if n := len(s.store.submits); n != 10_000 {
		t.Errorf("%d runs after a second look", n)
	}
}

// After a crash before or after any commit the next ledger goes on without a
// loss or a double.
func TestCrashAtEachCommit(t *testing.T) {
	build := func(t *testing.T) *stand {
		s := newStand(t)
		for i := range 3 * batchSize {
			one := plan(missed(hourly(), []task.Missed{task.MissedAll, task.MissedOnce, task.MissedSkip}[i%3]))
			one.Name = fmt.Sprintf("t%03d", i)
			s.change(one.Name, &one)
		}
		return s
	}
	whole := build(t)
	first := whole.store.commits
	whole.look("03:30:00")
	steps := whole.store.commits - first
	runs := len(whole.store.submits)
	for n := range steps {
		for _, after := range []bool{false, true} {
			s := build(t)
			crash := fmt.Errorf("crash")
			left := n
			hook := func() error {
				if left == 0 {
					return crash
				}
				left--
				return nil
			}
			if after {
				s.store.after = hook
			} else {
				s.store.before = hook
			}
			s.clock.set(on("03:30:00"))
			if _, err := s.ledger.look(t.Context()); err == nil {
				t.Fatalf("no crash at commit %d", n)
			}
			s.store.before, s.store.after = nil, nil
			s.ledger = NewLedger(Config{Store: s.store, Clock: s.clock, Zones: &Zones{}})
			s.look("03:30:00")
			if got := len(s.store.submits); got != runs {
				t.Errorf("crash at commit %d (after it: %v): %d runs instead of %d", n, after, got, runs)
			}
			if s.store.dump() != whole.store.dump() {
				t.Errorf("crash at commit %d (after it: %v): another account", n, after)
			}
		}
	}
}

// A chunk holds back what a policy may still want: here it ends in the midst of
// the times that are made up for.
func TestChunkHoldsBackWhatIsMadeUpFor(t *testing.T) {
	s := newStand(t)
	all := missed(everySecond(), task.MissedAll)
	all.MissedLimit = task.MaxMissedLimit
	s.save("00:00:00", plan(all))
	s.look(fmt.Sprintf("00:%02d:%02d", (chunkSize+20)/60, (chunkSize+20)%60))
	if n := len(s.store.submits); n != MaxQueued {
		t.Errorf("%d runs", n)
	}
	first := s.store.submits[0].ScheduledFor
	if want := on("00:00:00").Add((chunkSize + 20 - task.MaxMissedLimit) * time.Second); !first.Equal(want) {
		t.Errorf("the first is for %v, want %v", first, want)
	}
}
