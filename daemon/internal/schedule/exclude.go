package schedule

import (
	"slices"
	"strings"
	"time"
)

// days is a set of days: numbers as day counts them, and days of each year.
type days struct {
	ranges []dayRange    // sorted, none touches another
	yearly *[13][32]bool // by month and day; nil: none
	all    bool          // yearly holds all of them
}

type dayRange struct{ first, last int64 }

// add reads 2026-12-25, 2026-12-24..2027-01-02 or 12-25.
func (d *days) add(text string) *textFault {
	if month, dom, ok := yearlyDay(text); ok {
		// 2024 has a 29 February.
		if month < 1 || month > 12 || dom < 1 || dom > daysIn(2024, month) {
			return &textFault{message: "has " + quoted(text) + ", which is no day of any year", hint: "a day of each year is written as month-day, as in 12-25"}
		}
		if d.yearly == nil {
			d.yearly = new([13][32]bool)
		}
		d.yearly[month][dom] = true
		return nil
	}
	from, to, ranged := strings.Cut(text, "..")
	if _, _, yearly := yearlyDay(to); yearly {
		if _, _, both := yearlyDay(from); both {
			return &textFault{message: "has the days " + quoted(text) + " of each year", hint: "days of each year are listed one by one: 12-24, 12-25, 12-26"}
		}
		return &textFault{offset: len(from) + len(".."), message: "has " + quoted(to) + " at the end of a range, without its year", hint: "both ends have a year, as in 2026-12-24..2027-01-02"}
	}
	first, fault := parseDay(from)
	if fault != nil {
		for _, word := range []string{" to ", " - ", "/", "...", " until "} {
			if a, b, ok := strings.Cut(text, word); ok {
				if _, fault := parseDay(a); fault == nil {
					return &textFault{offset: len(a), message: "has " + quoted(text), hint: "a range of days has two dots: " + a + ".." + strings.TrimSpace(b)}
				}
			}
		}
		return fault
	}
	last := first
	if ranged {
		if last, fault = parseDay(to); fault != nil {
			fault.offset += len(from) + len("..")
			return fault
		}
	}
	if last < first {
		return &textFault{message: "ends on " + to + ", before it begins", hint: "the earlier day comes first: " + to + ".." + from}
	}
	d.ranges = append(d.ranges, dayRange{first, last})
	return nil
}

// sort makes the set ready for use.
func (d *days) sort() {
	slices.SortFunc(d.ranges, func(a, b dayRange) int {
		if a.first != b.first {
			return int(a.first - b.first)
		}
		return int(a.last - b.last)
	})
	merged := d.ranges[:0]
	for _, r := range d.ranges {
		if n := len(merged); n > 0 && r.first <= merged[n-1].last+1 {
			merged[n-1].last = max(merged[n-1].last, r.last)
			continue
		}
		merged = append(merged, r)
	}
	d.ranges = slices.Clip(merged)
	d.all = d.yearly != nil
	for month := 1; d.all && month <= 12; month++ {
		for dom := 1; dom <= daysIn(2024, month); dom++ {
			d.all = d.all && d.yearly[month][dom]
		}
	}
}

func (d *days) empty() bool { return len(d.ranges) == 0 && d.yearly == nil }

// through reports whether the day is in the set, and the last of the days that follow on it
// without one between them.
func (d *days) through(day int64) (last int64, in bool) {
	if d.all {
		return never / secondsPerDay, true
	}
	last = day - 1
	for {
		switch r, ok := d.rangeOf(last + 1); {
		case ok:
			last = r.last
		case d.yearly != nil && d.inYear(last+1):
			last++
		default:
			return last, last >= day
		}
	}
}

func (d *days) rangeOf(day int64) (dayRange, bool) {
	i, _ := slices.BinarySearchFunc(d.ranges, day, func(r dayRange, day int64) int {
		if r.last < day {
			return -1
		}
		return 1
	})
	if i < len(d.ranges) && d.ranges[i].first <= day {
		return d.ranges[i], true
	}
	return dayRange{}, false
}

func (d *days) inYear(day int64) bool {
	_, month, dom := time.Unix(day*secondsPerDay, 0).UTC().Date()
	return d.yearly[month][dom]
}

// lastOf is the last day of the ranges, or one long ago.
func (d *days) lastOf() int64 {
	if n := len(d.ranges); n > 0 {
		return d.ranges[n-1].last
	}
	return longAgo / secondsPerDay
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
