package schedule

import (
	"fmt"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Explanation says what a schedule means.
type Explanation struct {
	Summary string   // "at 02:30 on Monday to Friday, Europe/Berlin"
	Notes   []string // what may surprise, one or more sentences each
	Times   []Occurrence
	Over    bool // there are no times after these
}

// Occurrence is a time at which the schedule is due, or would be if its day were not excluded.
// Times are in the schedule's zone.
type Occurrence struct {
	Nominal, Due time.Time
	Notes        []string // why it is then, and not at another time
	Excluded     bool
}

const (
	maxTimes = 1000
	// maxExcluded is how many excluded times are listed between two others.
	maxExcluded = 3
)

// Explain says what the schedule means, and lists its next n times after from, at most 1000,
// with the excluded ones among them. taskName draws the jitter; since is as for Compile. The error is
// a task.ErrInvalid.
func (z *Zones) Explain(s task.Schedule, taskName string, since, from time.Time, n int) (Explanation, error) {
	r, err := z.Compile(s, since)
	if err != nil {
		return Explanation{}, err
	}
	x := explaining{schedule: s, rule: r, from: clamp(from)}
	if r.kind == cronKind {
		spec, faults := parseCron(s.Cron)
		if len(faults) > 0 {
			return Explanation{}, fmt.Errorf("%w: schedule: cron %s", task.ErrInvalid, faults[0].message)
		}
		x.spec = spec
	}
	e := Explanation{Summary: x.summary(), Notes: x.notes()}
	e.Times, e.Over = x.times(taskName, min(n, maxTimes))
	return e, nil
}

// ExplainExpect does the same for an expectation, whose times are its deadlines. since is when it was
// saved: a deadline whose period began before it is not held against the task.
func (z *Zones) ExplainExpect(e task.Expect, since, from time.Time, n int) (Explanation, error) {
	r, err := z.CompileExpect(e)
	if err != nil {
		return Explanation{}, err
	}
	seconds, _ := parseClock(e.By) // which compiled
	days := e.Days
	if days == "" {
		days = "*"
	}
	spec, _ := parseCron(fmt.Sprintf("%d %d %d * * %s", seconds%60, seconds/60%60, seconds/3600, days))
	x := explaining{rule: r, from: clamp(from), spec: spec}
	text := strings.TrimPrefix(x.spec.words(), "at ")
	out := Explanation{Summary: "a completed run by " + text + ", " + r.zone.shownName(),
		Notes: []string{"At each deadline the time since the one before it is judged: it is met when a run of the task completed in it, and unmet when none did; then the steps of on_missed are run.",
			"A deadline at which the task is paused or disabled is excused, and so is one whose time began before the expectation was saved."}}
	if note := zoneNote(r.zone.name); note != "" {
		out.Notes = append(out.Notes, note)
	}
	out.Times, out.Over = x.times("", min(n, maxTimes))
	for i := range out.Times {
		if o := &out.Times[i]; Excused(r, since, o.Nominal) {
			o.Notes = append(o.Notes, "excused if no run completes: the time that is judged began before the expectation was saved")
		}
	}
	return out, nil
}

// Excused reports whether a deadline of an expectation that was saved at since is not held against
// the task, because the time that it judges began before.
func Excused(r *Rule, since, deadline time.Time) bool { return since.After(r.Before(deadline)) }

type explaining struct {
	schedule task.Schedule
	rule     *Rule
	spec     *cronSpec // of a cron rule
	from     int64
}

func (x *explaining) summary() string {
	r, zone := x.rule, ", "+x.rule.zone.shownName()
	switch r.kind {
	case atKind:
		t := time.Unix(r.at, 0).In(r.zone.location)
		clock := "15:04"
		if t.Second() != 0 {
			clock = "15:04:05"
		}
		return "once, at " + t.Format(clock+" on Monday, 2 January 2006") + zone
	case rateKind:
		return "every " + one(spanWords(x.schedule.Rate)) + ", counted from " + r.clock(r.anchor) + zone
	case delayKind:
		return spanWords(x.schedule.Delay) + " after the end of the task's last run"
	}
	return x.spec.words() + zone
}

// one leaves out a leading one: "every hour", not "every 1 hour".
func one(span string) string {
	switch span {
	case "1 hour", "1 minute", "1 second":
		return span[len("1 "):]
	}
	return span
}

// times lists the next n times that are not excluded, and the excluded ones before each.
func (x *explaining) times(taskName string, n int) (list []Occurrence, over bool) {
	r := x.rule
	if r.kind == delayKind {
		return nil, false
	}
	after := max(x.from, r.start-1)
	for len(list) < maxTimes*2 && n > 0 {
		next, ok := r.next(after)
		if !ok {
			next = r.end // the excluded ones before the end are worth to be seen, too
		}
		list = append(list, x.excluded(taskName, after, next)...)
		if !ok {
			return list, true
		}
		list = append(list, x.occurrence(taskName, next, false))
		after = next
		n--
	}
	if n > 0 {
		return list, false
	}
	_, more := r.next(after)
	return list, !more
}

// excluded lists the first excluded times between two others.
func (x *explaining) excluded(taskName string, after, until int64) (list []Occurrence) {
	if x.rule.days.empty() {
		return nil
	}
	for {
		next, ok := x.rule.raw(after)
		if !ok || next >= until {
			return list
		}
		if len(list) == maxExcluded {
			last := &list[len(list)-1]
			last.Notes = append(last.Notes, "more excluded times follow, which are not listed")
			return list
		}
		list = append(list, x.occurrence(taskName, next, true))
		after = next
	}
}

func (x *explaining) occurrence(taskName string, nominal int64, excluded bool) Occurrence {
	r := x.rule
	o := Occurrence{Nominal: time.Unix(nominal, 0).In(r.zone.location), Excluded: excluded}
	o.Due = r.Due(taskName, x.schedule.Name, o.Nominal)
	if r.kind == cronKind {
		o.Notes = x.clockReasons(nominal)
	}
	if r.kind == atKind {
		o.Notes = x.momentReasons(nominal)
	}
	if excluded {
		o.Notes = append(o.Notes, "excluded: "+x.exclusion(nominal))
	}
	if r.jitter > 0 && !excluded {
		o.Notes = append(o.Notes, "jitter +"+o.Due.Sub(o.Nominal).String())
	}
	return o
}

// exclusion is the item of the list that the instant's day is in.
func (x *explaining) exclusion(instant int64) string {
	number := day(instant + x.rule.zone.at(instant).offset)
	for _, item := range x.schedule.Exclude {
		var only days
		if only.add(item) != nil {
			continue
		}
		only.sort()
		if _, in := only.through(number); in {
			return item
		}
	}
	return "its day"
}

// clockReasons says what setting the clock has to do with the instant.
func (x *explaining) clockReasons(instant int64) []string {
	r := x.rule
	s := r.zone.at(instant)
	wall := instant + s.offset
	var notes []string
	if s.start > longAgo {
		before := r.zone.at(s.start - 1)
		switch {
		case !r.cron.follows && instant == s.start && before.offset < s.offset:
			if missing := x.missing(before.wallEnd(), wall); missing != "" {
				notes = append(notes, missing+": the clock is set from "+r.zone.change(before, s))
			}
		case r.cron.follows && before.offset < s.offset:
			first, ok := r.raw(s.start - 1)
			if _, n := x.between(before.wallEnd(), s.wallStart()); n > 0 && ok && first == instant {
				notes = append(notes, "the first time after the clock is set from "+r.zone.change(before, s))
			}
		case r.cron.follows && wall < before.wallEnd():
			notes = append(notes, "the second time that day: the clock was set from "+r.zone.change(before, s))
		}
	}
	if s.end < never {
		if after := r.zone.at(s.end); after.wallStart() <= wall {
			how := ": the second is left out"
			if r.cron.follows {
				how = ": this is the first"
			}
			notes = append(notes, clockOf(wall)+" comes twice, because the clock is set from "+r.zone.change(s, after)+how)
		}
	}
	return notes
}

// momentReasons says the same of a single time.
func (x *explaining) momentReasons(instant int64) []string {
	m, fault := parseMoment(x.schedule.At)
	if fault != nil || m.fixed {
		return nil
	}
	z := x.rule.zone
	s := z.at(instant)
	if instant+s.offset != m.wall {
		return []string{clockOf(m.wall) + " does not exist that day: the clock is set from " + z.change(z.at(s.start-1), s)}
	}
	if s.end < never {
		if after := z.at(s.end); after.wallStart() <= m.wall {
			return []string{clockOf(m.wall) + " comes twice, because the clock is set from " + z.change(s, after) + ": the second is left out"}
		}
	}
	return nil
}

// between names the times of the spec from one wall to before another, and how many they are: five are many.
func (x *explaining) between(from, to int64) (names string, n int) {
	var all []string
	for wall := from - 1; ; {
		next, ok := x.rule.cron.next(wall)
		if !ok || next >= to {
			return list(all, "and"), len(all)
		}
		if len(all) == 4 {
			return all[0] + " and other times", 5
		}
		name := clockOf(next)
		if day(from) != day(to) {
			name = date(next) + " " + name
		}
		all = append(all, name)
		wall = next
	}
}

// missing says that the times of the spec between two walls do not exist, or nothing if there are none.
func (x *explaining) missing(from, to int64) string {
	names, n := x.between(from, to)
	on := " that day"
	if day(from) != day(to) {
		on = ""
	}
	switch n {
	case 0:
		return ""
	case 1:
		return names + " does not exist" + on
	}
	return names + " do not exist" + on
}

// clockOf is what a clock shows.
func clockOf(wall int64) string {
	t := time.Unix(wall, 0).UTC()
	if t.Second() != 0 {
		return t.Format("15:04:05")
	}
	return t.Format("15:04")
}

// change says from what to what a clock is set: "02:00 to 03:00".
func (z *zone) change(before, after span) string {
	from, to := before.wallEnd(), after.wallStart()
	if day(from) == day(to) {
		return clockOf(from) + " to " + clockOf(to)
	}
	return date(from) + " " + clockOf(from) + " to " + date(to) + " " + clockOf(to)
}

// shownName is the zone's name for people: Etc/UTC, as machines have it, is UTC.
func (z *zone) shownName() string {
	if z.name == "Etc/UTC" {
		return "UTC"
	}
	return z.name
}
