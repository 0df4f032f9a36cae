package schedule

import (
	"fmt"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Check says everything that is wrong with a schedule. Fields are named as in task files: name,
// cron, at, rate, delay, anchor, timezone, start, end, jitter, exclude, missed, missed_window,
// missed_limit, overlap; none for the schedule as a whole. Where the whole exclusion list is at fault,
// Index is -1. Policies that are not set are not judged, nor is an empty name. With a zero now it does
// not matter that the schedule's times have passed. Check never panics.
func (z *Zones) Check(s task.Schedule, now time.Time) []task.ScheduleFault {
	rule, faults := z.compile(s, now)
	c := &compiling{zones: z, faults: faults}
	if s.Name != "" {
		if err := task.CheckName(s.Name); err != nil {
			c.fault("name", "is not possible: "+err.Error(), "letters, digits, '-', '_' and '.' make a name, as in nightly-backup")
		}
	}
	c.policies(s)
	if rule != nil {
		c.sense(s, rule, now)
	}
	return c.told()
}

// CheckExpect says everything that is wrong with an expectation, by the fields by, days and timezone.
// It never panics.
func (z *Zones) CheckExpect(e task.Expect) []task.ScheduleFault {
	_, faults := z.compileExpect(e)
	return faults
}

func (c *compiling) policies(s task.Schedule) {
	switch s.Missed {
	case "", task.MissedOnce, task.MissedSkip, task.MissedAll:
	default:
		c.fault("missed", "is "+quoted(string(s.Missed))+": once, skip and all are possible", didYouMean(string(s.Missed), []string{"once", "skip", "all"}))
	}
	switch s.Overlap {
	case "", task.OverlapSkip, task.OverlapQueue, task.OverlapReplace, task.OverlapAllow:
	default:
		c.fault("overlap", "is "+quoted(string(s.Overlap))+": skip, queue, replace and allow are possible",
			didYouMean(string(s.Overlap), []string{"skip", "queue", "replace", "allow"}))
	}
	if s.Missed == task.MissedAll {
		switch {
		case s.Delay > 0:
			c.fault("missed", "is all, but a fixed delay has one time at most that can be missed", "write missed: once, or leave it out")
		case s.At != "":
			c.fault("missed", "is all, but there is one time only that can be missed", "write missed: once, or leave it out")
		}
	}
	// What was filled in says nothing of what somebody wanted.
	if w := s.MissedWindow; w != 0 && w != task.DefaultMissedWindow {
		switch {
		case s.Missed == task.MissedSkip:
			c.fault("missed_window", "means nothing with missed: skip, which makes up for no time", "leave it out, or use missed: once")
		case w < 0:
			c.fault("missed_window", "is "+w.String()+", less than nothing", "")
		case w < OnTime:
			c.fault("missed_window", "is "+w.String()+": a time is not missed until it is "+length(OnTime)+" late", "write "+length(OnTime)+" or more, or use missed: skip")
		}
	}
	if n := s.MissedLimit; n != 0 && n != task.DefaultMissedLimit {
		switch {
		case s.Delay > 0 || s.At != "":
			c.fault("missed_limit", "means nothing here: one time at most can be missed", "leave it out")
		case s.Missed == task.MissedOnce || s.Missed == task.MissedSkip:
			c.fault("missed_limit", "means nothing with missed: "+string(s.Missed), "leave it out, or use missed: all")
		case n < 1 || n > task.MaxMissedLimit:
			c.fault("missed_limit", fmt.Sprintf("is %d: 1 to %d are possible", n, task.MaxMissedLimit), "")
		}
	}
}

// sense finds what is wrong with a rule whose parts are all well: times that have passed,
// and rules that are never due.
func (c *compiling) sense(s task.Schedule, r *Rule, now time.Time) {
	known := len(c.faults)
	if s.Start != "" && s.End != "" && r.end <= r.start {
		c.fault("end", "is not after start: "+r.clock(r.end)+" and "+r.clock(r.start), "start comes first")
	}
	// With no time to compare with, all times are still to come.
	at := int64(longAgo)
	if !now.IsZero() {
		at = clamp(now)
	}
	if s.End != "" && r.end <= at {
		c.fault("end", "has passed: it was "+r.clock(r.end), "leave the schedule out, or set a later end")
	}
	if r.kind == atKind && r.at <= at {
		c.fault("at", "has passed: it was "+r.clock(r.at), "write a later time, or start the task by hand with \"stepd run\"")
	}
	if len(c.faults) > known {
		return
	}
	if never := r.silent(at); never != nil {
		if r.kind == cronKind && never.field == "cron" {
			never.offset = domOffset(s.Cron)
		}
		c.textFault(never.field, never.textFault)
		if never.field == "exclude" {
			c.faults[len(c.faults)-1].Index = -1
		}
		return
	}
	if r.jitter > 0 && (r.kind == cronKind || r.kind == rateKind) {
		c.order(r, at)
	}
}

type silence struct {
	field string
	textFault
}

// silent says why nothing is due after the instant; nil: something is.
func (r *Rule) silent(after int64) *silence {
	if r.kind == delayKind {
		if r.Admit(time.Unix(max(after, clampYear), 0)).IsZero() {
			return &silence{"exclude", textFault{message: "leaves no day on which the schedule could be due", hint: "take some days out"}}
		}
		return nil
	}
	after = max(after, clampYear)
	if _, ok := r.next(after); ok {
		return nil
	}
	always := *r
	always.days = days{}
	if _, ok := always.next(after); ok {
		return &silence{"exclude", textFault{message: "leaves no time at which the schedule is due", hint: "take some days out"}}
	}
	from, end := always.start, always.end
	always.start, always.end = longAgo, never
	first, ok := always.next(max(after, from-1))
	switch {
	case ok && r.kind == atKind:
		return &silence{"end", textFault{message: "is " + r.clock(end) + ", and at is not before it", hint: "a schedule with at needs no end"}}
	case ok:
		return &silence{"end", textFault{message: "is " + r.clock(end) + ", before the first time at which the schedule would be due: " + r.clock(first), hint: "set a later end"}}
	case r.kind == atKind:
		return &silence{"start", textFault{message: "is " + r.clock(from) + ", after the time at which the schedule is due: " + r.clock(r.at), hint: "a schedule with at needs no start"}}
	case r.kind == cronKind:
		return &silence{"cron", r.cron.impossible()}
	}
	return &silence{"", textFault{message: "is never due"}}
}

// clampYear is the year 1900: no date that can be written is before it.
const clampYear = -2208988800 - 1

// impossible says which days the spec wants that do not exist.
func (c *cronSpec) impossible() textFault {
	const days, months = 1<<32 - 2, 1<<13 - 2
	var names []string
	for _, m := range values(c.spec.Month & months) {
		names = append(names, time.Month(m).String())
	}
	doms := values(c.spec.Dom & days)
	if len(names) == 0 || len(doms) == 0 {
		return textFault{message: "is never due"}
	}
	if len(names) == 1 {
		return textFault{message: fmt.Sprintf("is never due: %s never has a day %d", names[0], doms[0]), hint: "name a day that the month has, or the first of the next month"}
	}
	return textFault{message: fmt.Sprintf("is never due: %s never have a day %d", list(names, "and"), doms[0]), hint: "name a day that these months have, or the first of the next months"}
}

// domOffset is where the day of the month stands in a spec.
func domOffset(text string) int {
	c, faults := parseCron(text)
	if len(faults) > 0 || len(c.fields) <= domField {
		return 0
	}
	return c.fields[domField].offset
}

// order finds a jitter that would make two times change places.
func (c *compiling) order(r *Rule, after int64) {
	earlier, later, ok := r.closest(max(after, clampYear))
	if !ok || (later-earlier)*1000 > r.jitter {
		return
	}
	gap := time.Duration(later-earlier) * time.Second
	c.fault("jitter", fmt.Sprintf("is %s, but %s and %s are only %s apart: these times would change places", length(time.Duration(r.jitter)*time.Millisecond),
		r.clock(earlier), r.clock(later), length(gap)), "write less than "+length(gap))
}

// closest finds, among the times to come and those around the next changes of the zone's clock,
// two that follow on each other with the least time between them.
func (r *Rule) closest(after int64) (earlier, later int64, ok bool) {
	look := func(from int64, times int) {
		last, found := r.next(from)
		for range times {
			if !found {
				return
			}
			next, more := r.next(last)
			if more && (!ok || next-last < later-earlier) {
				earlier, later, ok = last, next, true
			}
			last, found = next, more
		}
	}
	if r.kind == rateKind {
		look(after, 2)
		return earlier, later, ok
	}
	look(after, 400)
	s := r.zone.at(max(after, r.start))
	for range 4 {
		if s.end >= latest {
			break
		}
		look(s.end-secondsPerDay/2, 50)
		look(s.end-60, 50)
		s = r.zone.at(s.end)
	}
	return earlier, later, ok
}

// clock writes an instant as the zone's clock shows it, with seconds if there are any.
func (r *Rule) clock(instant int64) string { return r.zone.show(instant) }

func (z *zone) show(instant int64) string {
	t := time.Unix(instant, 0).In(z.location)
	if t.Second() != 0 {
		return t.Format("2006-01-02 15:04:05")
	}
	return t.Format("2006-01-02 15:04")
}
