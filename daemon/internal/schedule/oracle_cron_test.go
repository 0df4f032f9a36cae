package schedule_test

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// cronSpec is a cron spec as the oracle reads it. It is written from what cron
// is known to mean and shares nothing with the scheduler, its parser included.
type cronSpec struct {
	text                    string
	seconds, minutes, hours uint64 // bit n: the value n is admitted
	days                    []bool // by calendar day, counted from firstDay
}

const (
	minute       = 60      // seconds
	minutesOfDay = 24 * 60 // on a clock's face
)

// day is one of the calendar: what a spec can ask of it, as single bits.
type day struct{ dom, month, dow uint32 }

// firstDay is the first of the calendar. The years on either side of the
// changes are there for the windows that reach over them.
func firstDay() time.Time { return time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) }

func calendar() []day {
	var days []day
	for d := firstDay(); d.Year() < 2039; d = d.AddDate(0, 0, 1) {
		days = append(days, day{1 << d.Day(), 1 << d.Month(), 1 << d.Weekday()})
	}
	return days
}

// readCron reads five fields, six with seconds first, or a descriptor.
func readCron(text string, days []day) (cronSpec, error) {
	long := map[string]string{
		"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *",
		"@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
	}
	fields := strings.Fields(text)
	if l, ok := long[text]; ok {
		fields = strings.Fields(l)
	}
	if len(fields) == 5 {
		fields = append([]string{"0"}, fields...)
	}
	if len(fields) != 6 {
		return cronSpec{}, fmt.Errorf("%q has %d fields", text, len(fields))
	}
	months := strings.Fields("- jan feb mar apr may jun jul aug sep oct nov dec")
	weekdays := strings.Fields("sun mon tue wed thu fri sat")
	var sets [6]uint64
	var free [6]bool
	for i, r := range []struct {
		low, high int
		names     []string
	}{{0, 59, nil}, {0, 59, nil}, {0, 23, nil}, {1, 31, nil}, {1, 12, months}, {0, 6, weekdays}} {
		var err error
		if sets[i], free[i], err = readField(fields[i], r.low, r.high, r.names); err != nil {
			return cronSpec{}, fmt.Errorf("%q: %w", text, err)
		}
	}

	s := cronSpec{text: text, seconds: sets[0], minutes: sets[1], hours: sets[2]}
	s.days = make([]bool, len(days))
	for i, d := range days {
		dom, dow := sets[3]&uint64(d.dom) != 0, sets[5]&uint64(d.dow) != 0
		matches := dom && dow
		if !free[3] && !free[5] {
			matches = dom || dow
		}
		s.days[i] = matches && sets[4]&uint64(d.month) != 0
	}
	return s, nil
}

// readField returns the values that a field admits, and whether it is free:
// it holds a plain star, and so does not restrict the day on its own.
func readField(text string, low, high int, names []string) (set uint64, free bool, err error) {
	value := func(word string) int {
		for i, name := range names {
			if strings.EqualFold(name, word) {
				return i
			}
		}
		n, bad := strconv.Atoi(word)
		if bad != nil || n < low || n > high {
			err = fmt.Errorf("%q is not in %d..%d", word, low, high)
		}
		return n
	}
	for part := range strings.SplitSeq(text, ",") {
		span, stepText, hasStep := strings.Cut(part, "/")
		step := 1
		if hasStep {
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 {
				return 0, false, fmt.Errorf("%q is not a step", stepText)
			}
		}
		from, to := low, high
		if span == "*" || span == "?" {
			free = free || step == 1
		} else if a, b, isRange := strings.Cut(span, "-"); isRange {
			from, to = value(a), value(b)
		} else if from = value(a); !hasStep {
			to = from
		}
		if err != nil {
			return 0, false, err
		}
		for n := from; n <= to; n += step {
			set |= 1 << n
		}
	}
	if set == 0 {
		return 0, false, fmt.Errorf("%q admits nothing", text)
	}
	return set, free, nil
}

// everyHour reports which of the two rules of a clock change the spec goes by.
func (s *cronSpec) everyHour() bool { return s.hours == 1<<24-1 }

// perDay is how often it comes on a matching day of 24 hours.
func (s *cronSpec) perDay() int {
	return bits.OnesCount64(s.seconds) * bits.OnesCount64(s.minutes) * bits.OnesCount64(s.hours)
}
