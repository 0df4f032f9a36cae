package schedule

import (
	"math"
	"sync/atomic"
	"time"
)

// Instants are seconds since 1970 here, and walls are what a clock on the wall shows, written as
// the instant at which a clock in UTC shows the same. A wall is an instant plus an offset.

const (
	longAgo = math.MinInt64 / 4
	never   = math.MaxInt64 / 4

	secondsPerDay = 24 * 60 * 60
	// maxOffset is farther from UTC than a zone may be (RFC 9636, section 3.2: less than 26 hours).
	maxOffset = 26 * 60 * 60
)

// zone answers what the clock of a time zone shows. It is safe for concurrent use.
type zone struct {
	name     string
	location *time.Location
	// last is the span of the newest answer: almost all questions are about times near to now.
	last atomic.Pointer[span]
}

// span is a stretch of time, from start to before end, in which a zone's offset does not change.
type span struct{ start, end, offset int64 }

// wallStart and wallEnd bound what the clock shows within the span.
func (s span) wallStart() int64 { return s.start + s.offset }
func (s span) wallEnd() int64   { return s.end + s.offset }

// at is the longest span that the instant lies in.
func (z *zone) at(instant int64) span {
	if s := z.last.Load(); s != nil && s.start <= instant && instant < s.end {
		return *s
	}
	s := z.piece(instant)
	// Some changes are of the zone's name only, and ZoneBounds cuts at the ends of years. No zone has many of these
	// in a row, but a damaged file may.
	for range 100 {
		if s.start == longAgo {
			break
		}
		before := z.piece(s.start - 1)
		if before.offset != s.offset {
			break
		}
		s.start = before.start
	}
	for range 100 {
		if s.end == never {
			break
		}
		after := z.piece(s.end)
		if after.offset != s.offset {
			break
		}
		s.end = after.end
	}
	z.last.Store(&s)
	return s
}

// piece is a span around the instant which may go on, with the same offset, on either side.
func (z *zone) piece(instant int64) span {
	s := z.bounds(instant)
	// Behind the last change that the zone's file lists, ZoneBounds takes the start from the rule for the years
	// to come, which may lie before that change.
	for from := s.start; from > longAgo && from < instant; {
		earlier := z.bounds(from)
		if earlier.end > instant {
			break
		}
		from = earlier.end
		s.start = from
	}
	return s
}

func (z *zone) bounds(instant int64) span {
	t := time.Unix(instant, 0).In(z.location)
	_, offset := t.Zone()
	s := span{start: longAgo, end: never, offset: int64(offset)}
	start, end := t.ZoneBounds()
	if !start.IsZero() {
		s.start = max(longAgo, start.Unix())
	}
	if !end.IsZero() {
		s.end = min(never, end.Unix())
	}
	if s.end <= instant {
		// By such a rule a year ends after 365 days: it answers wrongly on the last day of leap years.
		s.end = time.Date(t.UTC().Year()+1, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	}
	return s
}

// instant is when the clock shows the wall, the first time if it does so twice. In a gap
// it is the first instant after the gap. In other words, which make it monotonic: it is the first instant
// at which the clock shows the wall or has gone beyond it.
func (z *zone) instant(wall int64) int64 {
	for s := z.at(wall - maxOffset); ; s = z.at(s.end) {
		if wall < s.wallEnd() || s.end == never {
			return max(s.start, wall-s.offset)
		}
	}
}

// shown is the latest wall that the clock has shown up to the instant: those later than it are
// the walls whose instant is later.
func (z *zone) shown(instant int64) int64 {
	s := z.at(instant)
	wall := instant + s.offset
	for s.start > instant-2*maxOffset {
		s = z.at(s.start - 1)
		wall = max(wall, s.wallEnd()-1)
	}
	return wall
}

// day is the number of the wall's day, counted from 1970-01-01.
func day(wall int64) int64 {
	d := wall / secondsPerDay
	if wall%secondsPerDay < 0 {
		d--
	}
	return d
}
