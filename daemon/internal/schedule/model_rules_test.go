package schedule

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// reckoning is what should have become of one schedule: each of its nominal
// times, one by one.
type reckoning struct {
	task, name string
	live       bool // the task has it

	plan   task.Schedule
	expect *task.Expect
	rule   *Rule
	since  time.Time
	from   time.Time // all up to it are decided on
	base   time.Time // of a fixed delay

	entries   map[int64]entry // by nominal time
	completed []time.Time     // of an expectation: ends of runs
}

type entry struct {
	outcome task.SlotOutcome
	run     bool
}

// verdict is what is to become of a time.
type verdict struct {
	of               *reckoning
	nominal, due     time.Time
	outcome          task.SlotOutcome
	run              bool
	serial, replaces bool
	base             time.Time
}

func (r *reckoning) delay() bool { return r.expect == nil && r.plan.Delay > 0 }

func (r *reckoning) clone() *reckoning {
	c := *r
	c.entries, c.completed = maps.Clone(r.entries), slices.Clone(r.completed)
	return &c
}

func (r *reckoning) compile() {
	var err error
	if r.expect != nil {
		r.rule, err = (&Zones{}).CompileExpect(*r.expect)
	} else {
		r.rule, err = (&Zones{}).Compile(r.plan, r.since)
	}
	if err != nil {
		panic(err)
	}
}

func (r *reckoning) begin(now time.Time) {
	r.live = true
	r.since = now.Truncate(time.Second)
	r.from, r.base = r.since, r.since
	r.completed = r.completed[max(0, len(r.completed)-1):] // all that is known of the time before
	r.compile()
}

// held is the task's word on its own times.
func (a *actor) held(at time.Time) bool {
	switch p := a.def.Pause; {
	case a.def.Disabled:
		return true
	case p == nil:
		return false
	default:
		return p.Until.IsZero() || p.Until.After(at)
	}
}

func upwards(t time.Time) time.Time {
	if whole := t.Truncate(time.Second); whole.Before(t) {
		return whole.Add(time.Second)
	} else {
		return whole
	}
}

// pending lists what is due and has no entry.
func (r *reckoning) pending(now time.Time, alive int) (list []verdict) {
	if !r.live {
		return nil
	}
	if r.delay() {
		n := r.rule.Admit(r.base.Add(r.plan.Delay))
		for !n.IsZero() && r.has(n) {
			n = r.rule.Admit(n.Add(time.Second))
		}
		if alive == 0 && !n.IsZero() {
			if due := r.rule.Due(r.task, r.name, n); !due.After(now) {
				list = append(list, verdict{of: r, nominal: n, due: due})
			}
		}
		return list
	}
	for n := r.rule.Next(r.from); !n.IsZero(); n = r.rule.Next(n) {
		due := r.rule.Due(r.task, r.name, n)
		if due.After(now) {
			break
		}
		if !r.has(n) {
			list = append(list, verdict{of: r, nominal: n, due: due})
		}
	}
	return list
}

func (r *reckoning) has(n time.Time) bool {
	_, ok := r.entries[n.Unix()]
	return ok
}

// decide is what a look, or a change, makes of a task's schedules.
func (a *actor) decide(now time.Time, alive int, order []*reckoning) (all []verdict) {
	for _, r := range order {
		list := r.pending(now, alive)
		if r.expect != nil {
			a.judgeDeadlines(list)
			all = append(all, list...)
			continue
		}
		var free []*verdict
		for i := range list {
			v := &list[i]
			v.base = upwards(now)
			if a.held(v.due) {
				v.outcome = task.SlotPaused
			} else {
				free = append(free, v)
			}
		}
		if len(free) > 0 {
			alive = r.policies(free, now, alive)
		}
		all = append(all, list...)
	}
	return all
}

// policies writes down, for each time, what the words of the rules make of it.
func (r *reckoning) policies(free []*verdict, now time.Time, alive int) int {
	late := func(v *verdict) time.Duration { return now.Sub(v.due) }
	newest := free[len(free)-1]
	punctual := late(newest) <= time.Minute
	makeUps := 0 // how many may still be made up for, the newest first
	switch {
	case r.plan.Missed == task.MissedOnce && !punctual:
		makeUps = 1
	case r.plan.Missed == task.MissedAll:
		makeUps = r.plan.MissedLimit
		if r.delay() {
			makeUps = 1
		}
	}
	series := false
	for _, v := range slices.Backward(free) {
		switch {
		case v == newest && punctual:
			v.outcome = task.SlotRan
		case r.plan.Missed == task.MissedSkip:
			v.outcome = task.SlotMissed
		case late(v) > r.plan.MissedWindow:
			v.outcome = task.SlotOutsideWindow
		case makeUps > 0:
			makeUps--
			v.outcome = task.SlotRanLate
			series = series || r.plan.Missed == task.MissedAll && !r.delay()
		default:
			v.outcome = task.SlotMissed
		}
	}
	others := alive
	first := true
	for _, v := range free {
		if !v.outcome.Ran() {
			continue
		}
		if alive >= 100 || alive > 0 && r.plan.Overlap == task.OverlapSkip && !series {
			v.outcome = task.SlotOverlapped
			continue
		}
		v.run = true
		v.serial = series || r.plan.Overlap != task.OverlapAllow
		v.replaces = first && others > 0 && r.plan.Overlap == task.OverlapReplace
		first = false
		alive++
	}
	return alive
}

func (a *actor) judgeDeadlines(list []verdict) {
	told := false
	for i := range slices.Backward(list) {
		v := &list[i]
		r := v.of
		since := r.rule.Before(v.nominal)
		met := slices.ContainsFunc(r.completed, func(at time.Time) bool { return at.After(since) && !at.After(v.nominal) })
		switch {
		case met:
			v.outcome = task.SlotMet
		case a.held(v.nominal), r.since.After(since):
			v.outcome = task.SlotExcused
		default:
			v.outcome = task.SlotUnmet
			v.run = !told && len(a.def.OnMissed) > 0
			told = true
		}
	}
}

// enter is the verdict's being durable.
func (r *reckoning) enter(v verdict) {
	if r.has(v.nominal) {
		panic(fmt.Sprintf("%s/%s: %v is decided on twice", r.task, r.name, v.nominal))
	}
	r.entries[v.nominal.Unix()] = entry{v.outcome, v.run}
	if v.nominal.After(r.from) {
		r.from = v.nominal
	}
	if r.base = v.base; v.run {
		r.base = v.nominal
	}
}

// ended is what the end of a run means to the task's schedules.
func (a *actor) ended(run task.Run) {
	for _, r := range a.accounts {
		switch {
		case !r.live || run.Cause().Hook():
		case r.delay():
			r.base = upwards(run.EndedAt)
		case r.expect != nil && run.Status == task.RunCompleted:
			// A deadline that has passed and was met is settled, whoever comes to look.
			if n := len(r.completed); n > 0 {
				passed := r.rule.Next(r.completed[n-1].Add(-1))
				if passed.After(r.from) && passed.Before(run.EndedAt) && !r.has(passed) {
					r.entries[passed.Unix()] = entry{outcome: task.SlotMet}
				}
			}
			// No period is longer than a week, and the clock is not set back so far.
			for len(r.completed) > 1 && r.completed[0].Before(r.from.AddDate(0, 0, -40)) {
				r.completed = r.completed[1:]
			}
			// Those that the clock was set back from have not been yet.
			r.completed = slices.DeleteFunc(r.completed, func(at time.Time) bool { return at.After(run.EndedAt) })
			r.completed = append(r.completed, run.EndedAt)
		}
	}
}

// rewind opens what is ahead of the clock and made no run.
func (r *reckoning) rewind(now time.Time) {
	second := now.Truncate(time.Second)
	before := r.since
	if r.live && r.since.After(now) {
		r.since = second
		r.compile()
	}
	var met time.Time // the next deadline stays met
	if r.live && r.expect != nil {
		next := r.rule.Next(now)
		if e, ok := r.entries[next.Unix()]; ok && e.outcome == task.SlotMet && next.After(before) {
			met = next
		}
	}
	for n, e := range r.entries {
		if n > now.Unix() && !e.run {
			delete(r.entries, n)
		}
	}
	if !met.IsZero() {
		r.entries[met.Unix()] = entry{outcome: task.SlotMet}
	}
	if len(r.completed) > 0 {
		last := r.completed[len(r.completed)-1]
		r.completed = slices.DeleteFunc(r.completed, func(at time.Time) bool { return at.After(now) })
		if last.After(now) {
			r.completed = append(r.completed, last)
		}
	}
	if r.from.After(now) {
		r.from = second
	}
	if r.base.After(now) {
		r.base = second
	}
}

// change is the task's new definition, saved.
func (a *actor) change(def task.Task, now time.Time) {
	old := a.def
	a.def = def
	for _, name := range scheduleNames(&old) {
		if timing(&def, name) == "" {
			a.accounts[name].live = false
		}
	}
	for _, name := range scheduleNames(&def) {
		r := a.accounts[name]
		if r == nil {
			r = &reckoning{task: a.name, name: name, entries: map[int64]entry{}}
			a.accounts[name] = r
		}
		r.expect = nil
		if name == task.ExpectName {
			r.expect = def.Expect
		} else {
			r.plan = def.Schedules[slices.IndexFunc(def.Schedules, func(s task.Schedule) bool { return s.Name == name })]
		}
		if timing(&old, name) != timing(&def, name) {
			r.begin(now)
		}
	}
}

// compare says what is wrong with the slots, or nothing: each time is in exactly
// one.
func (r *reckoning) compare(slots []task.Slot) string {
	times := slices.Sorted(maps.Keys(r.entries))
	for i, s := range slots {
		if i > 0 && !s.First.After(slots[i-1].Last) {
			return fmt.Sprintf("slots overlap: %+v and %+v", slots[i-1], s)
		}
		n := 0
		for n < len(times) && times[n] <= s.Last.Unix() {
			e := r.entries[times[n]]
			at := time.Unix(times[n], 0).UTC()
			switch {
			case at.Before(s.First):
				return fmt.Sprintf("%v (%s) is in no slot before %+v", at, e.outcome, s)
			case e.outcome != s.Outcome || e.run != (s.Run > 0):
				return fmt.Sprintf("%v should be %s (a run: %v), and is in %+v", at, e.outcome, e.run, s)
			}
			n++
		}
		if n == 0 || times[0] != s.First.Unix() || s.Count != 0 && (s.Count != n || times[n-1] != s.Last.Unix()) {
			return fmt.Sprintf("%d times should be in %+v", n, s)
		}
		times = times[n:]
	}
	if len(times) > 0 {
		return fmt.Sprintf("%d times are in no slot, from %v (%s) on", len(times), time.Unix(times[0], 0).UTC(), r.entries[times[0]].outcome)
	}
	return ""
}

// forget drops the entries up to a time.
func (r *reckoning) forget(upTo time.Time) {
	for n := range r.entries {
		if n <= upTo.Unix() {
			delete(r.entries, n)
		}
	}
}
