package schedule_test

import (
	"fmt"
	"math/bits"
	"slices"
	"testing"
	"time"
)

// window is what a zone's clock shows in the days around a change, looked up
// minute by minute. Minutes count from 1970: instants as they pass, and
// wall minutes as if the clock's face were in UTC.
//
// Minutes are fine enough for seconds, too: a clock that is set at a full minute by
// full minutes shows the second of the instant, and newWindow refuses others.
type window struct {
	zone   string // one that shows this; others may
	loc    *time.Location
	change change

	// The compared instants, in seconds: [from, to). The minutes below reach
	// further, so that what a change just outside does to them is seen.
	from, to int64

	start int32   // the first instant, in minutes
	shown []int32 // the wall minute at instant start+i

	firstWall int32
	due       []int32 // when wall minute firstWall+i is due, by the rule of wall-clock times: an instant in minutes
	skipped   []bool  // the clock never shows wall minute firstWall+i; its due is the first instant after the gap
}

// reach is how far from a change the compared instants go: the whole days
// beside it, and more where the clock is set by a day.
func reach(c change) int64 { return 36*60*minute + max(c.shift(), -c.shift()) }

// margin is how much further a window's minutes go: longer than a clock's offset.
func margin(c change) int64 { return 15*60*minute + max(c.shift(), -c.shift()) }

// windowChanges returns the changes in the window of changes[i], its margin included.
func windowChanges(changes []change, i int) []change {
	c := changes[i]
	far := reach(c) + margin(c)
	return slices.DeleteFunc(slices.Clone(changes), func(o change) bool {
		return o.at < c.at-far || o.at >= c.at+far
	})
}

func newWindow(t *testing.T, z zone, i int) *window {
	t.Helper()
	c := z.changes[i]
	if c.at%minute != 0 || c.before%minute != 0 || c.after%minute != 0 {
		t.Fatalf("%s sets its clock at %d from %d to %d: not by full minutes, which the oracle counts on", z.name, c.at, c.before, c.after)
	}
	w := &window{zone: z.name, loc: z.loc, change: c, from: c.at - reach(c), to: c.at + reach(c)}
	w.start = int32((w.from - margin(c)) / minute)
	w.shown = make([]int32, (w.to+margin(c))/minute-int64(w.start))
	for i := range w.shown {
		at := w.start + int32(i)
		w.shown[i] = at + int32(offsetAt(z.loc, int64(at)*minute)/minute)
	}

	w.firstWall = slices.Min(w.shown)
	w.due = make([]int32, slices.Max(w.shown)+1-w.firstWall)
	w.skipped = make([]bool, len(w.due))
	for i := range w.due {
		w.due[i] = -1
	}
	for i, wall := range w.shown {
		if w.due[wall-w.firstWall] < 0 { // the first time that it is shown
			w.due[wall-w.firstWall] = w.start + int32(i)
		}
	}
	for i, wall := range w.shown[1:] {
		for gone := w.shown[i] + 1; gone < wall; gone++ {
			if w.due[gone-w.firstWall] < 0 { // never shown, and this is the first instant after the gap
				w.due[gone-w.firstWall], w.skipped[gone-w.firstWall] = w.start+int32(i)+1, true
			}
		}
	}
	return w
}

// dueTimes appends the instants in [from, to) at which the spec is due, in
// seconds, in order and once each. The times must lie within the window's.
func (w *window) dueTimes(list []int64, s *cronSpec, from, to int64) []int64 {
	if s.everyHour() {
		return w.followClock(list, s, from, to)
	}
	return w.wallTimes(list, s, from, to)
}

// followClock looks at the clock each minute.
func (w *window) followClock(list []int64, s *cronSpec, from, to int64) []int64 {
	epoch := int32(firstDay().Unix() / minute)
	for at := int32(from / minute); int64(at)*minute < to; at++ {
		wall := w.shown[at-w.start] - epoch
		if s.minutes>>(wall%60)&1 == 1 && s.days[wall/minutesOfDay] {
			list = appendSeconds(list, s, at, from, to)
		}
	}
	return list
}

// wallTimes goes through the matching times of all days that the window's
// clock shows or leaves out, and looks up when each is due.
func (w *window) wallTimes(list []int64, s *cronSpec, from, to int64) []int64 {
	begin := len(list)
	first := int(w.firstWall) - int(firstDay().Unix()/minute)
	for day := first / minutesOfDay; day*minutesOfDay < first+len(w.due); day++ {
		if !s.days[day] {
			continue
		}
		for hours := s.hours; hours != 0; hours &= hours - 1 {
			hour := day*minutesOfDay + 60*bits.TrailingZeros64(hours)
			for minutes := s.minutes; minutes != 0; minutes &= minutes - 1 {
				wall := hour + bits.TrailingZeros64(minutes) - first
				if wall < 0 || wall >= len(w.due) {
					continue
				}
				if !w.skipped[wall] {
					list = appendSeconds(list, s, w.due[wall], from, to)
				} else if at := int64(w.due[wall]) * minute; at >= from && at < to {
					list = append(list, at) // all its seconds are due then
				}
			}
		}
	}
	slices.Sort(list[begin:])
	return append(list[:begin], slices.Compact(list[begin:])...)
}

// appendSeconds appends the spec's seconds of one minute.
func appendSeconds(list []int64, s *cronSpec, at int32, from, to int64) []int64 {
	for seconds := s.seconds; seconds != 0; seconds &= seconds - 1 {
		if second := int64(at)*minute + int64(bits.TrailingZeros64(seconds)); second >= from && second < to {
			list = append(list, second)
		}
	}
	return list
}

// wallDue is when a wall-clock time, given in seconds, is due by the rule of
// wall-clock times.
func (w *window) wallDue(wall int64) int64 {
	i := wall/minute - int64(w.firstWall)
	if w.skipped[i] {
		return int64(w.due[i]) * minute
	}
	return int64(w.due[i])*minute + wall%minute
}

func (w *window) String() string {
	c := w.change
	return fmt.Sprintf("%s, clock set from %s to %s at %s", w.zone,
		showWall(c.at+int64(c.before)), showWall(c.at+int64(c.after)), time.Unix(c.at, 0).UTC().Format(time.RFC3339))
}

func showWall(wall int64) string {
	return time.Unix(wall, 0).UTC().Format("Mon 2006-01-02T15:04:05")
}

// show writes an instant as the zone's clock shows it.
func (w *window) show(at int64) string {
	return time.Unix(at, 0).In(w.loc).Format("Mon 2006-01-02T15:04:05Z07:00")
}
