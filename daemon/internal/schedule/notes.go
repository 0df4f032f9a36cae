package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// notes are what may surprise somebody about the schedule.
func (x *explaining) notes() []string {
	var notes []string
	add := func(note string) {
		if note != "" {
			notes = append(notes, note)
		}
	}
	r, s := x.rule, &x.schedule
	switch r.kind {
	case cronKind:
		add(x.eitherDay())
		add(x.shortMonths())
		for _, note := range x.unevenSteps() {
			add(note)
		}
		for _, note := range x.clockNotes() {
			add(note)
		}
	case rateKind:
		add(x.drift())
		if s.Anchor == "" {
			add("The times are counted from when the schedule was saved; an anchor makes them begin at a time of your choice.")
		}
	case delayKind:
		add("It has no fixed times: how long a run takes decides when the next one begins. The first one begins as long after the schedule was saved.")
	}
	add(zoneNote(r.zone.name))
	if s.Start != "" {
		add("Nothing is due before " + r.clock(r.start) + ".")
	}
	if s.End != "" {
		note := "Nothing is due from " + r.clock(r.end) + " on"
		if m, fault := parseMoment(s.End); fault == nil && m.dateish {
			note += ": " + s.End[:10] + " itself is not part of it"
		}
		add(note + ".")
	}
	if n := len(s.Exclude); n > 0 {
		shown := s.Exclude[:min(n, 5)]
		text := list(shown, "and")
		if n > len(shown) {
			text = strings.Join(shown, ", ") + fmt.Sprintf(" and %d more", n-len(shown))
		}
		add("Nothing is due on excluded days: " + text + ".")
	}
	if r.jitter > 0 {
		add("Each time is delayed by less than " + spanOf(s.Jitter) + ", a given time always by the same amount.")
	}
	add(missedNote(s))
	add(overlapNote(s))
	return notes
}

func spanOf(d time.Duration) string {
	if d%time.Second != 0 {
		return d.String()
	}
	return spanWords(d)
}

// missedNote says what becomes of times that nobody was there for.
func missedNote(s *task.Schedule) string {
	const missed = "Of times that were missed, as when the daemon was down, "
	window := s.MissedWindow
	if window == 0 {
		window = task.DefaultMissedWindow
	}
	if s.Delay > 0 || s.At != "" { // there is one such time at most
		switch s.Missed {
		case task.MissedOnce, task.MissedAll:
			return "If its time is missed, as when the daemon is down, it is made up for when that is no more than " + length(window) + " late."
		case task.MissedSkip:
			return "If its time is missed, as when the daemon is down, it is not made up for."
		}
		return ""
	}
	limit := s.MissedLimit
	if limit == 0 {
		limit = task.DefaultMissedLimit
	}
	switch s.Missed {
	case task.MissedOnce:
		return missed + "the newest is made up for, if it is no older than " + length(window) + "."
	case task.MissedAll:
		return missed + fmt.Sprintf("those no older than %s are made up for, at most the newest %d.", length(window), limit)
	case task.MissedSkip:
		return missed + "none is made up for."
	}
	return ""
}

// overlapNote says what becomes of a time at which a run of the task is alive. A fixed delay has none.
func overlapNote(s *task.Schedule) string {
	if s.Delay > 0 {
		return ""
	}
	switch s.Overlap {
	case task.OverlapSkip:
		return "Overlap is skip: a time at which a run of the task is alive is not run."
	case task.OverlapQueue:
		return "Overlap is queue: at a time at which a run of the task is alive, the new run waits until that has ended."
	case task.OverlapReplace:
		return "Overlap is replace: a run of the task that is alive is cancelled, also one that a person started, and the new run begins when that has ended."
	case task.OverlapAllow:
		return "Overlap is allow: the new run does not wait for other runs of the task that are alive."
	}
	return ""
}

// eitherDay warns of cron's oldest surprise.
func (x *explaining) eitherDay() string {
	dom, dow := &x.spec.fields[domField], &x.spec.fields[dowField]
	if dom.open() || dow.open() {
		return ""
	}
	days := "one of these days of the month"
	if doms := x.spec.domDays(); len(doms) == 1 {
		days = "the " + ordinal(doms[0])
	}
	week := "one of these days of the week"
	if dows := x.spec.dowDays(); len(dows) == 1 {
		week = "a " + time.Weekday(dows[0]%7).String()
	}
	return "Cron takes a day that is " + days + " or " + week + ": it need not be both. Where one of the two fields is *, the other one decides."
}

// shortMonths says which months have not got the day.
func (x *explaining) shortMonths() string {
	dom, dow := &x.spec.fields[domField], &x.spec.fields[dowField]
	doms := x.spec.domDays()
	if dom.open() || !dow.open() || len(doms) == 0 || doms[0] < 29 {
		return ""
	}
	var short []string
	leap := false
	for _, m := range values(x.spec.fields[monthField].bits()) {
		switch {
		case daysIn(2024, m) < doms[0]:
			short = append(short, time.Month(m).String())
		case m == 2:
			leap = true
		}
	}
	name := "day " + fmt.Sprint(doms[0])
	switch {
	case len(short) == 0 && leap:
		return "February has a day 29 in leap years only."
	case len(short) == 0:
		return ""
	case leap:
		return "February has a day 29 in leap years only; " + list(short, "and") + " have no " + name + "."
	}
	if len(short) == 1 {
		return short[0] + " has no " + name + " and is left out."
	}
	return list(short, "and") + " have no " + name + " and are left out."
}

// unevenSteps says where a step is shorter than the others.
func (x *explaining) unevenSteps() []string {
	var notes []string
	for i, size := range map[int]int{secondField: 60, minuteField: 60, hourField: 24} {
		items := x.spec.fields[i].items
		if len(items) != 1 || !items[0].star || items[0].step == 1 || size%items[0].step == 0 {
			continue
		}
		step := items[0].step
		cycle := map[int]string{secondField: "minute", minuteField: "hour", hourField: "day"}[i]
		last := size - (size-1)/step*step
		notes = append(notes, fmt.Sprintf("The step %d begins anew with each %s: the last one is only %s long.", step, cycle, count(last, placeOf(i).name)))
	}
	slices.Sort(notes)
	if items := x.spec.fields[domField].items; len(items) == 1 && items[0].star && items[0].step > 1 {
		notes = append(notes, fmt.Sprintf("The step %d begins anew with each month: the time between two days is shorter at its end.", items[0].step))
	}
	return notes
}

// year is how far ahead is looked for changes of the clock.
const year = 400 * secondsPerDay

// changes are the next two changes of the zone's clock within a year.
func (x *explaining) changes() (list [][2]span) {
	for s := x.rule.zone.at(x.from); len(list) < 2 && s.end < x.from+year; {
		after := x.rule.zone.at(s.end)
		list = append(list, [2]span{s, after})
		s = after
	}
	return list
}

// clockNotes say what happens when the zone's clock is set next, ahead and back.
func (x *explaining) clockNotes() []string {
	var notes []string
	changes := x.changes()
	for _, c := range changes {
		if note := x.clockNote(c[0], c[1]); note != "" {
			notes = append(notes, note)
		}
	}
	if len(notes) == 0 && len(changes) > 0 {
		return []string{x.setting(changes[0][0], changes[0][1]) + ", which moves none of these times."}
	}
	return notes
}

func (x *explaining) clockNote(before, after span) string {
	from, to := before.wallEnd(), after.wallStart()
	lead := x.setting(before, after)
	names, n := x.between(min(from, to), max(from, to))
	ahead := to > from
	switch {
	case n == 0:
		return ""
	case ahead && x.rule.cron.follows:
		return lead + ": the times between do not exist and are left out."
	case ahead:
		at := clockOf(to)
		if day(from) != day(to) {
			at = date(to) + " " + at
		}
		return lead + ": " + x.missing(from, to) + ", and the schedule is due once, at " + at + "."
	case x.rule.cron.follows:
		return lead + ": the times between come twice, and the schedule is due both times."
	case n == 1:
		return lead + ": " + names + " comes twice, and the schedule is due the first time only."
	}
	return lead + ": " + names + " come twice, and the schedule is due the first time only."
}

// setting says when and how the clock is set.
func (x *explaining) setting(before, after span) string {
	change := x.rule.zone.change(before, after)
	if day(before.wallEnd()) != day(after.wallStart()) {
		return "The clock is set from " + change // which has the dates
	}
	return "On " + date(before.wallEnd()) + " the clock is set from " + change
}

// drift says that a rate knows of no clock on the wall.
func (x *explaining) drift() string {
	if x.schedule.Rate <= time.Hour {
		return ""
	}
	changes := x.changes()
	if len(changes) == 0 {
		return ""
	}
	before, after := changes[0][0], changes[0][1]
	by := time.Duration(after.offset-before.offset) * time.Second
	how := "later"
	if by < 0 {
		by, how = -by, "earlier"
	}
	note := "It counts real time: from " + date(before.wallEnd()) + " on, when the clock is set from " + x.rule.zone.change(before, after) +
		", its times are " + spanWords(by) + " " + how + " by the clock on the wall."
	if x.schedule.Rate%(24*time.Hour) == 0 {
		note += " For a fixed time of day use cron."
	}
	return note
}

func date(wall int64) string { return time.Unix(wall, 0).UTC().Format("2006-01-02") }

// zoneNote warns of zones whose names promise more than they are.
func zoneNote(name string) string {
	switch name {
	case "EST":
		return "EST has no summer time: for New York's time name America/New_York."
	case "MST":
		return "MST has no summer time: for Denver's time name America/Denver."
	}
	if rest, ok := strings.CutPrefix(name, "Etc/GMT"); ok && len(rest) > 1 && rest != "-0" && rest != "+0" {
		switch rest[0] {
		case '+':
			return name + " is " + rest[1:] + " hours behind UTC: the sign is the other way round than usual."
		case '-':
			return name + " is " + rest[1:] + " hours ahead of UTC: the sign is the other way round than usual."
		}
	}
	return ""
}
