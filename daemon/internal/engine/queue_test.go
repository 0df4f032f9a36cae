package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stepd/stepd/daemon/internal/task"
)

// plainQueue says what queue does in the words of the rules, by looking at all
// there is each time.
type plainQueue struct {
	waiting, carried []*queued
	came             map[task.RunID]bool // whose time has come, once
}

func (p *plainQueue) tick(now time.Time) {
	for _, q := range p.waiting {
		if !q.notBefore.After(now) {
			p.came[q.id] = true
		}
	}
}

// contends reports whether its time and its turn within its batch have come.
func (p *plainQueue) contends(q *queued) bool {
	if !p.came[q.id] {
		return false
	}
	if q.batch == "" {
		return true
	}
	return !slices.ContainsFunc(p.carried, func(o *queued) bool { return o.batch == q.batch }) &&
		!slices.ContainsFunc(p.waiting, func(o *queued) bool { return o.batch == q.batch && o.id < q.id && p.came[o.id] })
}

func (p *plainQueue) mayStart(q *queued) bool {
	if !p.contends(q) {
		return false
	}
	count := 0
	for _, o := range p.carried {
		if o.turn == q.turn {
			count++
		}
		if shareLock(o, q) {
			return false
		}
	}
	if q.limit > 0 && count >= q.limit {
		return false
	}
	return !slices.ContainsFunc(p.waiting, func(o *queued) bool {
		return o.compare(q) < 0 && shareLock(o, q) && p.contends(o)
	})
}

func shareLock(a, b *queued) bool {
	return slices.ContainsFunc(a.locks, func(l string) bool { return slices.Contains(b.locks, l) })
}

func (p *plainQueue) first() *queued {
	var first *queued
	for _, q := range p.waiting {
		if p.mayStart(q) && (first == nil || q.compare(first) < 0) {
			first = q
		}
	}
	return first
}

func (p *plainQueue) position(q *queued) int {
	if !p.came[q.id] {
		return 0
	}
	at := 1
	for _, o := range p.waiting {
		if p.came[o.id] && o.compare(q) < 0 {
			at++
		}
	}
	return at
}

func drop(list []*queued, id task.RunID) []*queued {
	return slices.DeleteFunc(list, func(q *queued) bool { return q.id == id })
}

func TestTheQueueFollowsItsRules(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		u, p := newQueue(), &plainQueue{came: map[task.RunID]bool{}}
		now := time.Date(2026, 3, 8, 2, 0, 0, 0, time.UTC)
		id := task.RunID(0)
		one := func(list []*queued) *queued {
			return list[rapid.IntRange(0, len(list)-1).Draw(rt, "which")]
		}
		check := func(when string) {
			if got, want := u.first(), p.first(); got != want {
				rt.Fatalf("%s: the first is %v, want %v", when, got, want)
			}
			if u.len() != len(p.waiting) {
				rt.Fatalf("%s: %d wait, want %d", when, u.len(), len(p.waiting))
			}
			for _, q := range p.waiting {
				if got, want := u.position(q.id), p.position(q); got != want {
					rt.Fatalf("%s: %v is number %d, want %d", when, q, got, want)
				}
				if why := u.waitsFor(q.id); (why == "") != p.mayStart(q) {
					rt.Fatalf("%s: %v waits for %q, may start: %v", when, q, why, p.mayStart(q))
				}
			}
		}
		carry := func(q *queued) {
			u.carry(q)
			p.waiting, p.carried = drop(p.waiting, q.id), append(p.carried, q)
		}
		land := func(q *queued) {
			u.land(q)
			p.carried = drop(p.carried, q.id)
		}
		for range rapid.IntRange(1, 60).Draw(rt, "acts") {
			act := rapid.SampledFrom([]string{"add", "add", "add", "remove", "carry", "carry", "land", "tick"}).Draw(rt, "act")
			switch {
			case act == "add":
				id++
				q := &queued{
					id: id, ref: fmt.Sprint("t/", id), at: now, priority: rapid.IntRange(-1, 1).Draw(rt, "priority"),
					turn: rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "turn"), limit: rapid.IntRange(0, 2).Draw(rt, "limit"),
					locks: rapid.SampledFrom([][]string{nil, nil, {"x"}, {"y"}, {"x", "y"}}).Draw(rt, "locks"),
					batch: rapid.SampledFrom([]string{"", "", "", "p", "q"}).Draw(rt, "batch"),
				}
				if q.turn == "" {
					q.limit = 0
				}
				if q.batch == "" && rapid.IntRange(0, 3).Draw(rt, "later") == 0 {
					q.notBefore = now.Add(time.Duration(rapid.IntRange(1, 3).Draw(rt, "hours")) * time.Hour)
				}
				u.add(q, now)
				if u.add(q, now) {
					rt.Fatal("a run has two places")
				}
				p.waiting = append(p.waiting, q)
			case act == "tick":
				now = now.Add(time.Duration(rapid.IntRange(-1, 2).Draw(rt, "moved")) * time.Hour)
				u.tick(now)
			case act == "remove" && len(p.waiting) > 0:
				q := one(p.waiting)
				if u.remove(q.id) != q || u.remove(q.id) != nil {
					rt.Fatalf("%v was not there, or stays", q)
				}
				p.waiting = drop(p.waiting, q.id)
			case act == "carry" && p.first() != nil:
				carry(p.first())
			case act == "land" && len(p.carried) > 0:
				land(one(p.carried))
			}
			p.tick(now)
			check(act)
		}
		// All get their turn, whatever they wait for.
		now = now.Add(24 * time.Hour)
		u.tick(now)
		p.tick(now)
		for len(p.waiting)+len(p.carried) > 0 {
			if next := u.first(); next != nil {
				carry(next)
			} else if len(p.carried) > 0 {
				land(p.carried[0])
			} else {
				rt.Fatalf("%d runs wait for ever", len(p.waiting))
			}
			check("at the end")
		}
		if n := len(u.all) + len(u.groups) + len(u.turns) + len(u.locks) + len(u.line) + len(u.later) + len(u.free); n > 0 {
			rt.Fatalf("an empty queue keeps %d things: %+v", n, u)
		}
	})
}

// What is at stake when ten thousand runs wait is that each run that begins or
// ends, and each that comes, costs no walk through them.
func BenchmarkQueue(b *testing.B) {
	const waiting = 10_000
	for name, give := range map[string]func(i int, q *queued){
		"of one task":      func(i int, q *queued) { q.turn, q.limit = "t", 1 },
		"of as many tasks": func(i int, q *queued) { q.turn = fmt.Sprint("t", i) },
		"for one lock":     func(i int, q *queued) { q.turn, q.locks = fmt.Sprint("t", i), []string{"l"} },
		"of one batch":     func(i int, q *queued) { q.turn, q.batch = fmt.Sprint("t", i), "all/1" },
		"for many locks":   func(i int, q *queued) { q.turn, q.locks = fmt.Sprint("t", i), []string{fmt.Sprint("l", i%100), "m"} },
	} {
		b.Run(name, func(b *testing.B) {
			u, now := newQueue(), time.Now()
			random := rand.New(rand.NewPCG(1, 2))
			n := 0
			add := func() {
				n++
				q := &queued{id: task.RunID(n), ref: fmt.Sprint("t/", n), at: now.Add(time.Duration(n)), priority: random.IntN(5)}
				give(n, q)
				u.add(q, now)
			}
			for range waiting {
				add()
			}
			for b.Loop() {
				next := u.first()
				u.carry(next)
				add()
				u.land(next)
			}
		})
	}
}
