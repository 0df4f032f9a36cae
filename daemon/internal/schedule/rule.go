package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Rule is a compiled schedule. It does not change and is safe for concurrent use.
type Rule struct {
	zone *zone
	kind kind

	cron         *cronSpec
	at           int64
	rate, anchor int64

	start, end int64 // longAgo and never where there is none
	days       days
	jitter     int64 // milliseconds
}

type kind int

const (
	cronKind kind = iota
	atKind
	rateKind
	delayKind
)

// Compile makes the rule of a schedule. since is the anchor of a fixed rate that names none. The error,
// a task.ErrInvalid, is the first of what Check would find; that the rule makes sense is not looked at.
func (z *Zones) Compile(s task.Schedule, since time.Time) (*Rule, error) {
	r, faults := z.compile(s, since)
	return r, invalid("schedule", s.Name, faults)
}

// CompileExpect makes the rule of an expectation's deadlines. The error is a task.ErrInvalid.
func (z *Zones) CompileExpect(e task.Expect) (*Rule, error) {
	r, faults := z.compileExpect(e)
	return r, invalid("expect", "", faults)
}

func invalid(what, name string, faults []task.ScheduleFault) error {
	if len(faults) == 0 {
		return nil
	}
	if name != "" {
		what += " " + name
	}
	f := faults[0]
	if f.Field != "" {
		what += ": " + f.Field
	}
	if f.Hint != "" {
		return fmt.Errorf("%w: %s %s (%s)", task.ErrInvalid, what, f.Message, f.Hint)
	}
	return fmt.Errorf("%w: %s %s", task.ErrInvalid, what, f.Message)
}

// latest is beyond all times that are looked at: years have four digits.
const latest = 253402300799

// Next is the first nominal time after the given one, in the rule's zone. Zero: there is
// none any more. It is always zero for a fixed delay.
func (r *Rule) Next(after time.Time) time.Time {
	// A nominal time is a whole second: it is after the given time if it is after that time's second.
	next, ok := r.next(clamp(after))
	if !ok {
		return time.Time{}
	}
	return time.Unix(next, 0).In(r.zone.location)
}

// clamp keeps times within what can be computed with.
func clamp(t time.Time) int64 {
	const year1 = -62135596800
	switch year := t.Year(); {
	case year < 1:
		return year1
	case year > 9999:
		return latest
	}
	return t.Unix()
}

func (r *Rule) next(after int64) (int64, bool) {
	after = max(after, r.start-1)
	if r.days.empty() {
		next, ok := r.raw(after)
		return next, ok && next < r.end
	}
	// The days of the week and of the months come together in the same way after 28 years, or 40 when a
	// year such as 2100 lies in between.
	const cycle = 41 * 366 * secondsPerDay
	horizon := max(after, min(r.days.lastOf(), latest/secondsPerDay)*secondsPerDay) + cycle
	for x := after; x < horizon; {
		next, ok := r.raw(x)
		if !ok || next >= r.end {
			return 0, false
		}
		last, excluded := r.excluded(next)
		if !excluded {
			return next, true
		}
		x = last
	}
	return 0, false
}

// excluded reports whether the instant is on an excluded day, and the last instant up to
// which that is so without a break.
func (r *Rule) excluded(instant int64) (last int64, excluded bool) {
	s := r.zone.at(instant)
	through, excluded := r.days.through(day(instant + s.offset))
	// Where the clock is set, the day may be another one.
	return min(s.end, (through+1)*secondsPerDay-s.offset) - 1, excluded
}

// raw is the first nominal time after the given one, without regard to start, end and excluded days.
func (r *Rule) raw(after int64) (int64, bool) {
	if after >= latest {
		return 0, false
	}
	switch r.kind {
	case atKind:
		return r.at, r.at > after
	case rateKind:
		if after < r.anchor {
			return r.anchor, true
		}
		next := r.anchor + ((after-r.anchor)/r.rate+1)*r.rate
		return next, next <= latest
	case cronKind:
		if r.cron.follows {
			return r.following(after)
		}
		wall, ok := r.cron.next(r.zone.shown(after))
		if !ok {
			return 0, false
		}
		return r.zone.instant(wall), true
	}
	return 0, false
}

// following is the first instant after the given one at which the clock shows a time of the spec.
func (r *Rule) following(after int64) (int64, bool) {
	for s := r.zone.at(after); ; s = r.zone.at(s.end) {
		wall, ok := r.cron.next(max(after, s.start-1) + s.offset)
		if !ok {
			return 0, false
		}
		if next := wall - s.offset; next < s.end {
			return next, true
		}
		if s.end >= latest {
			return 0, false
		}
	}
}

// lookBack is how far Before looks: farther than from one 29 February to the next.
const lookBack = 12 * 366 * secondsPerDay

// Before is the newest nominal time before the given one, in the rule's zone. Zero: there is none
// in the twelve years before it.
func (r *Rule) Before(t time.Time) time.Time {
	until := clamp(t)
	if t.Nanosecond() > 0 {
		until++ // that second itself is before t
	}
	before := func(x int64) bool { // there is a nominal time between x and t
		next, ok := r.next(x)
		return ok && next < until
	}
	back := int64(64)
	for !before(until - back) {
		if back > lookBack {
			return time.Time{}
		}
		back *= 4
	}
	// low has a nominal time between itself and t, and high has none: the newest one is behind the last such low.
	low, high := until-back, until
	for high-low > 1 {
		if middle := low + (high-low)/2; before(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return time.Unix(high, 0).In(r.zone.location)
}

// Admit is the first whole second at or after the given time that lies within start and end and on no
// excluded day, in the rule's zone: what a fixed delay makes of the time at which it would be due.
// Zero: there is none.
func (r *Rule) Admit(t time.Time) time.Time {
	x := clamp(t)
	if t.Nanosecond() > 0 {
		x++
	}
	x = max(x, r.start)
	for x < r.end && x < latest {
		last, excluded := r.excluded(x)
		if r.days.empty() || !excluded {
			return time.Unix(x, 0).In(r.zone.location)
		}
		x = last + 1
	}
	return time.Time{}
}

// Due is when the nominal time is due: it plus a jitter of whole milliseconds, from 0 to less than the
// schedule's. The same names and nominal time have the same jitter always.
func (r *Rule) Due(taskName, scheduleName string, nominal time.Time) time.Time {
	if r.jitter <= 0 {
		return nominal
	}
	text := make([]byte, 0, 128)
	text = append(text, taskName...)
	text = append(text, 0)
	text = append(text, scheduleName...)
	text = append(text, 0)
	text = strconv.AppendInt(text, nominal.Unix(), 10)
	sum := sha256.Sum256(text)
	drawn, _ := bits.Mul64(binary.BigEndian.Uint64(sum[:]), uint64(r.jitter))
	return nominal.Add(time.Duration(drawn) * time.Millisecond)
}
