package schedule

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// moment is a text such as 2026-12-24T18:00 that was read: a wall, or with an offset an instant.
type moment struct {
	wall    int64
	offset  int64 // of a fixed one
	fixed   bool
	dateish bool // it was written without a time of day
}

// in is the instant of the moment in a zone.
func (m moment) in(z *zone) int64 {
	if m.fixed {
		return m.wall - m.offset
	}
	return z.instant(m.wall)
}

// Moment reads a moment, as schedules have it, in that time zone: the instant,
// with the zone as its location. The error, a task.ErrInvalid, goes on from the
// name of what the text was given for.
func (z *Zones) Moment(text, timezone string) (time.Time, error) {
	c := &compiling{zones: z}
	zone := c.zone(timezone)
	at := c.moment("", text, zone)
	if faults := c.told(); len(faults) > 0 {
		return time.Time{}, fmt.Errorf("%s (%s): %w", faults[0].Message, faults[0].Hint, task.ErrInvalid)
	}
	return time.Unix(at, 0).In(zone.location), nil
}

// textFault is what is wrong with a text, and at which byte.
type textFault struct {
	offset        int
	message, hint string
}

const momentHint = "write 2026-12-24, 2026-12-24T18:00 or 2026-12-24T18:00:30, with or without an offset such as +01:00"

// parseMoment reads a date, with or without a time of day, with or without an offset.
func parseMoment(text string) (moment, *textFault) {
	var m moment
	head := text[:min(len(text), 10)]
	day, fault := parseDay(head)
	if fault != nil {
		if len(head) < 10 || head[4] != '-' || head[7] != '-' {
			fault = &textFault{message: "is " + quoted(text) + ", which is no date", hint: momentHint}
			if guessed := guessDay(text); guessed != "" {
				fault.hint = "write " + guessed
			}
		}
		return m, fault
	}
	m.wall = day * secondsPerDay
	rest := text[10:]
	at := 10
	m.dateish = true
	if rest != "" && (rest[0] == 'T' || rest[0] == ' ') {
		clock := rest[1:]
		if end := strings.IndexAny(clock, "Z+-"); end >= 0 {
			clock = clock[:end]
		}
		seconds, fault := parseClock(clock)
		if fault != nil {
			fault.offset += at + 1
			return m, fault
		}
		m.wall += seconds
		m.dateish = false
		rest, at = rest[1+len(clock):], at+1+len(clock)
	}
	if rest == "" {
		return m, nil
	}
	m.fixed = true
	if rest == "Z" {
		return m, nil
	}
	offset, ok := parseOffset(rest)
	if !ok {
		return m, &textFault{offset: at, message: "has " + quoted(rest) + " where an offset such as Z or +01:00 may stand", hint: momentHint}
	}
	m.offset = offset
	return m, nil
}

func parseOffset(text string) (int64, bool) {
	if len(text) != 6 || text[0] != '+' && text[0] != '-' || text[3] != ':' || !digits(text[1:3]) || !digits(text[4:6]) {
		return 0, false
	}
	hours, _ := strconv.Atoi(text[1:3]) // two digits
	minutes, _ := strconv.Atoi(text[4:6])
	if hours > 23 || minutes > 59 {
		return 0, false
	}
	offset := int64(hours*3600 + minutes*60)
	if text[0] == '-' {
		offset = -offset
	}
	return offset, true
}

// parseClock reads 18:00 or 18:00:30 as seconds of the day.
func parseClock(text string) (int64, *textFault) {
	parts := strings.Split(text, ":")
	if i := strings.IndexByte(text, ' '); i >= 0 {
		return 0, &textFault{offset: i, message: "has " + quoted(text[i+1:]) + " behind the time of day", hint: "a time of day has 24 hours, as in 18:30; the time zone is written with the key timezone, or as an offset: 18:30+01:00"}
	}
	if len(parts) < 2 || len(parts) > 3 {
		return 0, &textFault{message: "has " + quoted(text) + " as the time of day", hint: "write hours and minutes, as in 18:00 or 18:00:30"}
	}
	var seconds int64
	at := 0
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if strings.ContainsAny(part, ".,") && i == 2 {
			return 0, &textFault{offset: at, message: "has a part of a second", hint: "times are whole seconds: " + strings.Join(parts[:2], ":") + ":" + part[:strings.IndexAny(part, ".,")]}
		}
		if err != nil || len(part) != 2 || !digits(part) {
			return 0, &textFault{offset: at, message: "has " + quoted(text) + " as the time of day", hint: "write hours and minutes with two digits each, as in 08:30"}
		}
		if most := []int{23, 59, 59}[i]; n > most {
			hint := ""
			if i == 0 && n == 24 {
				hint = "midnight is 00:00 of the day that begins"
			}
			return 0, &textFault{offset: at, message: fmt.Sprintf("has the %s %s: 0 to %d are possible", placeOf(hourField-i).name, part, most), hint: hint}
		}
		seconds = seconds*60 + int64(n)
		at += len(part) + 1
	}
	if len(parts) == 2 {
		seconds *= 60
	}
	return seconds, nil
}

// guessDay is the day that was meant by 24.12.2026, 2026/12/24 or 2026-1-2, or nothing.
func guessDay(text string) string {
	text, _, _ = strings.Cut(strings.ReplaceAll(text, "T", " "), " ")
	for _, by := range []string{".", "/", "-"} {
		parts := strings.Split(text, by)
		if len(parts) != 3 || !digits(parts[0]) || !digits(parts[1]) || !digits(parts[2]) {
			continue
		}
		switch {
		case len(parts[2]) == 4 && by == ".": // elsewhere it may be the month that comes first
			parts[0], parts[2] = parts[2], parts[0]
		case len(parts[0]) != 4:
			continue
		}
		for i := 1; i < 3; i++ {
			if len(parts[i]) == 1 {
				parts[i] = "0" + parts[i]
			}
		}
		guessed := strings.Join(parts, "-")
		if _, fault := readDay(guessed); fault == nil && guessed != text {
			return guessed
		}
	}
	return ""
}

// The first and last year that a date may have.
const minYear, maxYear = 1900, 2999

// parseDay reads 2026-12-24 as the number of the day, and guesses what else may be meant.
func parseDay(text string) (int64, *textFault) {
	number, fault := readDay(text)
	if fault == nil {
		return number, nil
	}
	if guessed := guessDay(text); guessed != "" {
		fault.hint = "write " + guessed
	}
	return 0, fault
}

func readDay(text string) (int64, *textFault) {
	const hint = "a day is written as year-month-day, as in 2026-12-24"
	if len(text) != 10 || text[4] != '-' || text[7] != '-' || !digits(text[:4]) || !digits(text[5:7]) || !digits(text[8:10]) {
		return 0, &textFault{message: "has " + quoted(text) + " where a day is to stand", hint: hint}
	}
	year, _ := strconv.Atoi(text[:4]) // they are digits
	month, _ := strconv.Atoi(text[5:7])
	dom, _ := strconv.Atoi(text[8:10])
	switch {
	case year < minYear || year > maxYear:
		return 0, &textFault{message: fmt.Sprintf("has the year %s: %d to %d are possible", text[:4], minYear, maxYear)}
	case month < 1 || month > 12:
		return 0, &textFault{offset: 5, message: fmt.Sprintf("has the month %s: 01 to 12 are possible", text[5:7]), hint: hint}
	case dom < 1 || dom > daysIn(year, month):
		return 0, &textFault{offset: 8, message: fmt.Sprintf("has the day %s, but %s has %d days", text, monthYear(year, month), daysIn(year, month))}
	}
	return time.Date(year, time.Month(month), dom, 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay, nil
}

func monthYear(year, month int) string { return fmt.Sprintf("%s %d", time.Month(month), year) }

// yearlyDay reads 12-25. Whether there is such a day is not looked at.
func yearlyDay(text string) (month, dom int, ok bool) {
	if len(text) != 5 || text[2] != '-' || !digits(text[:2]) || !digits(text[3:]) {
		return 0, 0, false
	}
	month, _ = strconv.Atoi(text[:2]) // they are digits
	dom, _ = strconv.Atoi(text[3:])
	return month, dom, true
}
