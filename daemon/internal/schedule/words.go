package schedule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// words says what the spec means, as in "at 02:30 on Monday to Friday".
func (c *cronSpec) words() string {
	var set [6][]int
	for i := range c.fields {
		set[i] = values(c.fields[i].bits())
	}
	text, daily := clockWords(set[secondField], set[minuteField], set[hourField])
	days, months := c.dayWords()
	switch {
	case days != "":
		text += " " + days
	case daily && strings.HasPrefix(text, "every"):
		text += ", every day"
	case daily:
		text += " every day"
	}
	return text + months
}

// clockWords says at which times of a day, and whether it has to be said that this is so every day.
func clockWords(seconds, minutes, hours []int) (text string, daily bool) {
	everyHour := len(hours) == 24
	full := slices.Equal(seconds, []int{0})
	one := len(seconds) == 1
	switch {
	case everyHour && full && len(minutes) == 60:
		return "every minute", false
	case everyHour && full && regular(minutes, 60) > 1:
		return fmt.Sprintf("every %d minutes", regular(minutes, 60)), false
	case everyHour && full && slices.Equal(minutes, []int{0}):
		return "every hour, on the hour", false
	case everyHour && full && len(minutes) == 1:
		return "every hour, at " + count(minutes[0], "minute") + " past", false
	case everyHour && len(minutes) == 60 && len(seconds) == 60:
		return "every second", false
	case everyHour && len(minutes) == 60 && regular(seconds, 60) > 1:
		return fmt.Sprintf("every %d seconds", regular(seconds, 60)), false
	case everyHour && len(minutes) == 60 && one:
		return "every minute, at " + count(seconds[0], "second") + " past", false
	case !everyHour && len(seconds)*len(minutes)*len(hours) <= 8:
		return "at " + list(clockTimes(seconds, minutes, hours), "and"), true
	case !everyHour && run(hours) && full && len(minutes) == 60:
		return "every minute from " + fromTo(hours), true
	case !everyHour && run(hours) && full && regular(minutes, 60) > 1:
		return fmt.Sprintf("every %d minutes from %s", regular(minutes, 60), fromTo(hours)), true
	case !everyHour && run(hours) && len(minutes) == 60 && len(seconds) == 60:
		return "every second from " + fromTo(hours), true
	case !everyHour && run(hours) && len(minutes) == 60 && regular(seconds, 60) > 1:
		return fmt.Sprintf("every %d seconds from %s", regular(seconds, 60), fromTo(hours)), true
	case !everyHour && one && len(minutes) == 1 && run(hours):
		times := clockTimes(seconds, minutes, hours)
		return "every hour from " + times[0] + " to " + times[len(times)-1], true
	case !everyHour && one && len(minutes) == 1 && evenly(hours) > 0:
		times := clockTimes(seconds, minutes, hours)
		return fmt.Sprintf("every %d hours from %s to %s", evenly(hours), times[0], times[len(times)-1]), true
	}
	hourText := "of every hour"
	if !everyHour {
		hourText = "in " + some("the hour", hours)
	}
	if full {
		if len(minutes) == 60 {
			return "every minute " + hourText, !everyHour
		}
		if n := regular(minutes, 60); n > 1 {
			return fmt.Sprintf("every %d minutes %s", n, hourText), !everyHour
		}
		return "at " + some("minute", minutes) + " " + hourText, !everyHour
	}
	minuteText := "of every minute"
	if len(minutes) < 60 {
		minuteText = "of " + some("minute", minutes)
	}
	if everyHour && len(minutes) == 60 {
		hourText = ""
	}
	secondText := "at " + some("second", seconds)
	if len(seconds) == 60 {
		secondText = "every second"
	} else if n := regular(seconds, 60); n > 1 {
		secondText = fmt.Sprintf("every %d seconds", n)
	}
	return strings.TrimSpace(secondText + " " + minuteText + " " + hourText), !everyHour
}

// some writes "minute 30", "minutes 5 and 35", "the hours 8 to 17".
func some(noun string, set []int) string {
	if len(set) == 1 {
		return noun + " " + strconv.Itoa(set[0])
	}
	return noun + "s " + series(set, strconv.Itoa)
}

// series lists values: "5 and 35", "8 to 17", "1, 3, 5 and so on to 31".
func series(set []int, name func(int) string) string {
	if len(set) >= 6 && evenly(set) > 1 {
		return name(set[0]) + ", " + name(set[1]) + ", " + name(set[2]) + " and so on to " + name(set[len(set)-1])
	}
	return list(ranges(set, name), "and")
}

// regular is the step of values which go on evenly from the end of one cycle, which is size long, to the
// next, and begin with 0; else it is 0.
func regular(set []int, size int) int {
	if len(set) < 2 || set[0] != 0 || size%len(set) != 0 {
		return 0
	}
	step := size / len(set)
	for i, v := range set {
		if v != i*step {
			return 0
		}
	}
	return step
}

// evenly is the step between three or more values, if it is the same one; else it is 0.
func evenly(set []int) int {
	if len(set) < 3 {
		return 0
	}
	step := set[1] - set[0]
	for i := range len(set) - 1 {
		if set[i+1]-set[i] != step {
			return 0
		}
	}
	return step
}

// run reports whether the values follow on each other without one left out.
func run(set []int) bool { return set[len(set)-1]-set[0] == len(set)-1 }

func fromTo(hours []int) string {
	return fmt.Sprintf("%02d:00 to %02d:59", hours[0], hours[len(hours)-1])
}

func clockTimes(seconds, minutes, hours []int) []string {
	var times []string
	for _, hour := range hours {
		for _, minute := range minutes {
			for _, second := range seconds {
				text := fmt.Sprintf("%02d:%02d", hour, minute)
				if second != 0 || len(seconds) > 1 {
					text += fmt.Sprintf(":%02d", second)
				}
				times = append(times, text)
			}
		}
	}
	return times
}

// ranges writes values, with three and more that follow on each other as "8 to 17".
func ranges(set []int, name func(int) string) []string {
	var items []string
	for i := 0; i < len(set); {
		end := i
		for end+1 < len(set) && set[end+1] == set[end]+1 {
			end++
		}
		if end-i >= 2 {
			items = append(items, name(set[i])+" to "+name(set[end]))
		} else {
			for _, v := range set[i : end+1] {
				items = append(items, name(v))
			}
		}
		i = end + 1
	}
	return items
}

// dayWords says on which days, and in which months. Of what is not restricted it says nothing.
func (c *cronSpec) dayWords() (days, in string) {
	doms, dows, months := c.domDays(), c.dowDays(), values(c.fields[monthField].bits())
	given := func(field int) bool { return !c.fields[field].open() }
	named := ""
	if len(months) < 12 {
		named = series(months, func(m int) string { return time.Month(m).String() })
	}
	domText := "on the " + strings.Replace(series(doms, ordinal), "so on to ", "so on to the ", 1)
	dowText := "on " + list(dayNames(dows), "and")
	if len(dows) == 7 {
		dowText = "on every day of the week"
	}
	if named != "" {
		in = " in " + named
	}
	switch {
	case given(domField) && given(dowField):
		if named != "" {
			in = "," + in
		}
		return domText + " of the month, or " + dowText, in
	case given(domField) && len(doms) < 31:
		if named != "" {
			return domText + " of " + named, ""
		}
		return domText + " of the month", ""
	case given(dowField) && len(dows) < 7:
		return dowText, in
	}
	return "", in
}

func (c *cronSpec) domDays() []int { return values(c.fields[domField].bits()) }

// dowDays lists the days of the week from Monday, 1, to Sunday, 7.
func (c *cronSpec) dowDays() []int {
	set := c.fields[dowField].bits()
	if set&1 != 0 {
		set = set&^1 | 1<<7
	}
	return values(set)
}

func dayNames(dows []int) []string {
	return ranges(dows, func(d int) string { return time.Weekday(d % 7).String() })
}

func ordinal(n int) string {
	suffix := "th"
	if n%100/10 != 1 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return strconv.Itoa(n) + suffix
}

// spanWords writes a duration for people: "15 minutes", "1 hour and 30 minutes", "36 hours". Days are
// not counted: the clock may be set within them.
func spanWords(d time.Duration) string {
	var parts []string
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}} {
		if n := d / unit.size; n > 0 {
			parts = append(parts, count(int(n), unit.name))
			d -= n * unit.size
		}
	}
	return list(parts, "and")
}
