package schedule

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stepd/stepd/daemon/internal/task"
)

func TestHistoryMergesSchedulesPageByPage(t *testing.T) {
	s := newStand(t)
	s.save("00:00:00", plan(overlap(hourly(), task.OverlapAllow), overlap(task.Schedule{Cron: "*/30 * * * *"}, task.OverlapAllow)))
	for m := 30; m <= 300; m += 30 {
		s.look(fmt.Sprintf("%02d:%02d:00", m/60, m%60))
	}
	whole, more, err := s.ledger.History(HistoryQuery{Task: "t", Limit: 100})
	if err != nil || more || len(whole) != 15 {
		t.Fatalf("%d slots, more %v, %v", len(whole), more, err)
	}
	if !slices.IsSortedFunc(whole, compareSlots) || !whole[0].First.Equal(on("05:00:00")) || whole[0].Schedule != "s" || whole[1].Schedule != "s2" {
		t.Errorf("the order is %v", whole)
	}
	for limit := 1; limit <= 16; limit++ {
		var got []task.Slot
		q := HistoryQuery{Task: "t", Limit: limit}
		for {
			page, more, err := s.ledger.History(q)
			if err != nil || len(page) > limit {
				t.Fatalf("a page of %d: %d, %v", limit, len(page), err)
			}
			got = append(got, page...)
			if !more {
				break
			}
			q.After = &page[len(page)-1]
		}
		if !slices.Equal(got, whole) {
			t.Errorf("in pages of %d: %d slots", limit, len(got))
		}
	}
	one, _, err := s.ledger.History(HistoryQuery{Task: "t", Schedule: "s", Limit: 100})
	if err != nil || len(one) != 5 {
		t.Errorf("of one schedule: %d slots, %v", len(one), err)
	}
	if none, _, err := s.ledger.History(HistoryQuery{Task: "nobody", Limit: 1}); err != nil || len(none) != 0 {
		t.Errorf("of nobody: %v, %v", none, err)
	}
}

func TestUpcomingGoesByDueTimes(t *testing.T) {
	s := newStand(t)
	for i := range 5 {
		one := plan(task.Schedule{Cron: fmt.Sprintf("%d * * * *", 50-10*i)})
		one.Name = fmt.Sprintf("t%d", i)
		s.change(one.Name, &one)
	}
	var names []string
	var after *task.Cursor
	for {
		page, more, err := s.ledger.Upcoming(after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page {
			names = append(names, c.Task)
		}
		if !more {
			break
		}
		after = &page[len(page)-1]
	}
	if want := []string{"t4", "t3", "t2", "t1", "t0"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}
