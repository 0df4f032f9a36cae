package schedule

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/stepd/stepd/daemon/internal/task"
)

// compiling collects what is wrong with a schedule or an expectation while its rule is made.
type compiling struct {
	zones  *Zones
	faults []task.ScheduleFault
}

func (c *compiling) fault(field, message, hint string) {
	c.faults = append(c.faults, task.ScheduleFault{Field: field, Message: message, Hint: hint})
}

func (c *compiling) textFault(field string, f textFault) {
	c.faults = append(c.faults, task.ScheduleFault{Field: field, Offset: f.offset, Message: f.message, Hint: f.hint})
}

// compile makes a rule, or says all that is wrong with the parts of the schedule. With faults there is no rule.
func (z *Zones) compile(s task.Schedule, since time.Time) (*Rule, []task.ScheduleFault) {
	c := &compiling{zones: z}
	r := &Rule{start: longAgo, end: never}
	kinds := 0
	r.zone = c.zone(s.Timezone)
	if s.Cron != "" {
		kinds++
		spec, faults := parseCron(s.Cron)
		for _, f := range faults {
			c.textFault("cron", f)
		}
		r.kind = cronKind
		if len(faults) == 0 {
			r.cron = &cronSpec{spec: spec.spec, follows: spec.follows}
		}
	}
	if s.At != "" {
		kinds++
		r.kind = atKind
		r.at = c.moment("at", s.At, r.zone)
	}
	if s.Rate != 0 {
		kinds++
		r.kind, r.anchor = rateKind, clamp(since)
		r.rate = c.wholeSeconds("rate", s.Rate)
		if s.Anchor != "" {
			r.anchor = c.moment("anchor", s.Anchor, r.zone)
		}
	} else if s.Anchor != "" {
		c.fault("anchor", "is there for a fixed rate only", "leave it out, or write every: {rate: 15m, anchor: ...}")
	}
	if s.Delay != 0 {
		kinds++
		r.kind = delayKind
		c.wholeSeconds("delay", s.Delay)
	}
	switch kinds {
	case 0:
		c.fault("", "does not say when it is due", `write one of cron: "30 2 * * *", at: 2026-12-24T18:00, every: 15m`)
	case 1:
	default:
		c.fault("", "has more than one of cron, at, every with a rate and every with a delay", "a task may have several schedules: write a list of them")
	}
	if s.Start != "" {
		r.start = c.moment("start", s.Start, r.zone)
	}
	if s.End != "" {
		r.end = c.moment("end", s.End, r.zone)
	}
	c.jitter(r, s.Jitter)
	c.exclude(r, s.Exclude)
	if len(c.faults) > 0 {
		return nil, c.told()
	}
	return r, nil
}

// told are the faults as they may be shown.
func (c *compiling) told() []task.ScheduleFault {
	for i := range c.faults {
		c.faults[i].Message, c.faults[i].Hint = plain(c.faults[i].Message), plain(c.faults[i].Hint)
	}
	return c.faults
}

// zone is the schedule's zone; UTC when it is unknown, which is then a fault.
func (c *compiling) zone(name string) *zone {
	z, err := c.zones.load(name)
	if err == nil {
		return z
	}
	c.faults = append(c.faults, c.zones.unknownZone(name))
	return &zone{name: "UTC", location: time.UTC}
}

func (c *compiling) moment(field, text string, z *zone) int64 {
	m, fault := parseMoment(text)
	if fault != nil {
		c.textFault(field, *fault)
		return 0
	}
	return m.in(z)
}

// wholeSeconds is the duration in seconds, at least one.
func (c *compiling) wholeSeconds(field string, d time.Duration) int64 {
	const hint = "the shortest is 1s"
	switch {
	case d < 0:
		c.fault(field, "is "+d.String()+" and would go back in time", hint)
	case d < time.Second:
		c.fault(field, "is "+d.String()+": less than a second is not possible", hint)
	case d%time.Second != 0:
		c.fault(field, "is "+d.String()+", which is no whole number of seconds", "write "+length(d.Round(time.Second)))
	}
	return max(1, int64(d/time.Second))
}

func (c *compiling) jitter(r *Rule, d time.Duration) {
	switch {
	case d < 0:
		c.fault("jitter", "is "+d.String()+", less than nothing", "due times can only be delayed")
	case d%time.Millisecond != 0:
		c.fault("jitter", "is "+d.String()+", which is no whole number of milliseconds", "")
	}
	r.jitter = int64(d / time.Millisecond)
}

// maxExclude is how many items an exclusion list may have: a year of days.
const maxExclude = 366

func (c *compiling) exclude(r *Rule, items []string) {
	if len(items) > maxExclude {
		c.faults = append(c.faults, task.ScheduleFault{Field: "exclude", Index: -1, Message: fmt.Sprintf("has %d items, at most %d are allowed", len(items), maxExclude),
			Hint: "write days that follow on each other as 2026-12-24..2027-01-02"})
		return
	}
	for i, text := range items {
		if fault := r.days.add(strings.TrimSpace(text)); fault != nil {
			c.faults = append(c.faults, task.ScheduleFault{Field: "exclude", Index: i, Offset: fault.offset, Message: fault.message, Hint: fault.hint})
		}
	}
	r.days.sort()
}

func (z *Zones) compileExpect(e task.Expect) (*Rule, []task.ScheduleFault) {
	c := &compiling{zones: z}
	r := &Rule{start: longAgo, end: never, kind: cronKind, zone: c.zone(e.Timezone)}
	seconds, fault := parseClock(e.By)
	if fault != nil {
		c.textFault("by", *fault)
	}
	days := "*"
	if e.Days != "" {
		days = e.Days
		// A cron spec of these days alone, for its faults.
		field := cronField{text: days}
		if strings.ContainsFunc(days, unicode.IsSpace) {
			c.fault("days", "has "+quoted(days)+", with a blank", "days are written as mon-fri or sat,sun")
		} else {
			for _, f := range field.parse(dowField) {
				c.textFault("days", f)
			}
		}
	}
	if len(c.faults) > 0 {
		return nil, c.told()
	}
	spec, faults := parseCron(fmt.Sprintf("%d %d %d * * %s", seconds%60, seconds/60%60, seconds/3600, days))
	if len(faults) > 0 {
		c.fault("days", faults[0].message, faults[0].hint)
		return nil, c.told()
	}
	r.cron = &cronSpec{spec: spec.spec, follows: spec.follows}
	return r, nil
}
