package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
)

// zone is a time zone by its name; nil: the person's own, also where the name is
// not known here.
func zone(name string) *time.Location {
	if name == "" {
		return nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	return loc
}

// zoneName is a zone's name for people: Etc/UTC, as machines have it, is UTC.
func zoneName(name string) string {
	if name == "Etc/UTC" {
		return "UTC"
	}
	return printable(name)
}

// elsewhere reports whether clocks in the zone show something else at that time
// than the person's own.
func elsewhere(t time.Time, name string) bool {
	loc := zone(name)
	if loc == nil {
		return false
	}
	_, there := t.In(loc).Zone()
	_, here := t.Local().Zone()
	return there != here
}

// wall is a date and a time of day as t has it.
func wall(t time.Time) string {
	if t.Second() == 0 {
		return t.Format("Mon 2006-01-02 15:04")
	}
	return t.Format("Mon 2006-01-02 15:04:05")
}

// clock is a time of day as t has it.
func clock(t time.Time) string {
	if t.Second() == 0 {
		return t.Format("15:04")
	}
	return t.Format("15:04:05")
}

// stamp is a time to be read once and for all: "Wed 2026-11-25 02:30 CET", or,
// where the schedule's clock shows something else than the person's own, "Wed
// 2026-11-25 02:30 EST (America/New_York)".
func stamp(t time.Time, name string) string {
	if !elsewhere(t, name) {
		t = t.Local()
		return wall(t) + " " + t.Format("MST")
	}
	t = t.In(zone(name))
	short := t.Format("MST")
	if short == zoneName(name) {
		return wall(t) + " " + short
	}
	return wall(t) + " " + short + " (" + zoneName(name) + ")"
}

// ahead is how long it is until then.
func ahead(t, now time.Time) string {
	d := t.Sub(now)
	switch {
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("in %d s", d/time.Second)
	}
	minutes := d.Round(time.Minute)
	switch {
	case minutes < time.Hour:
		return fmt.Sprintf("in %d min", minutes/time.Minute)
	case d < 7*24*time.Hour:
		return "in " + span(max(d, time.Hour))
	}
	return fmt.Sprintf("in %s days", number(int64(d.Round(24*time.Hour)/(24*time.Hour))))
}

// length shows a duration as the daemon writes it, in words of a person.
func length(text string) string {
	d, err := time.ParseDuration(text)
	if err != nil {
		return printable(text)
	}
	return span(d)
}

// momentLayouts are how people write times, here and in task files.
func momentLayouts() []string {
	return []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"}
}

// moment reads a time that lies ahead, of the person's own clock unless it has an
// offset. A time of day is the next one.
func moment(flag, text string, now time.Time) (time.Time, error) {
	now = now.Local()
	t, err := time.Parse(time.RFC3339, text)
	for _, layout := range momentLayouts() {
		if err != nil {
			t, err = time.ParseInLocation(layout, text, time.Local)
		}
	}
	if clock, e := time.Parse("15:04", text); err != nil && e == nil {
		t, err = time.Date(now.Year(), now.Month(), now.Day(), clock.Hour(), clock.Minute(), 0, 0, time.Local), nil
		if !t.After(now) {
			t = time.Date(now.Year(), now.Month(), now.Day()+1, clock.Hour(), clock.Minute(), 0, 0, time.Local)
		}
	}
	if err != nil {
		return t, withHint(usageError("--%s is %q, which is no time", flag, text), "write it as 18:00, 2026-12-24, 2026-12-24T18:00 or 2026-12-24T18:00:00+01:00")
	}
	if !t.After(now) {
		return t, usageError("--%s is %s, which has passed", flag, stamp(t, ""))
	}
	return t, nil
}

// timeHead is the head of a column of times without a zone. It names the zone
// where that is another one than the person's.
func timeHead(head, name string, times ...time.Time) string {
	for _, t := range times {
		if elsewhere(t, name) {
			return head + " (" + zoneName(name) + ")"
		}
	}
	return head
}

// in is t as the zone's clocks show it.
func in(t time.Time, name string) time.Time {
	if loc := zone(name); loc != nil {
		return t.In(loc)
	}
	return t.Local()
}

// prose lines cells up as table does, but does not cut the last column: where it
// does not fit, it stands below its row.
func (e *env) prose(head []string, rows [][]cell) error {
	return e.print(layProse(e.painter(e.Stdout), e.room(), head, rows))
}

func layProse(p painter, room int, head []string, rows [][]cell) string {
	last := len(head) - 1
	before := 0
	for i := range last {
		width := runewidth.StringWidth(head[i])
		for _, r := range rows {
			width = max(width, runewidth.StringWidth(r[i].text))
		}
		before += width + 2
	}
	short := slices.Clone(rows)
	below := make(map[int]string)
	for i, r := range rows {
		if text := r[last].text; room > 0 && before+runewidth.StringWidth(text) > room {
			below[i] = text
			short[i] = append(slices.Clone(r[:last]), cell{})
		}
	}
	var b strings.Builder
	for i, line := range strings.SplitAfter(layTable(p, room, head, short), "\n") {
		b.WriteString(line)
		if text := below[i-1]; text != "" { // the first line is the head
			b.WriteString(wrap(text, "    ", room))
		}
	}
	return b.String()
}

// hanging breaks text between words into lines of which those after the first
// are indented, where it goes to a terminal.
func (e *env) hanging(s string, indent int) string {
	if room := e.room(); room > 2*indent {
		return strings.TrimSpace(wrap(printable(s), strings.Repeat(" ", indent), room))
	}
	return printable(s)
}

// wrap breaks text between words into indented lines.
func wrap(text, indent string, room int) string {
	var b strings.Builder
	width := 0
	for i, word := range strings.Fields(text) {
		w := runewidth.StringWidth(word)
		switch {
		case i == 0:
			b.WriteString(indent)
			width = len(indent)
		case width+1+w > room:
			b.WriteString("\n" + indent)
			width = len(indent)
		default:
			b.WriteString(" ")
			width++
		}
		b.WriteString(word)
		width += w
	}
	return b.String() + "\n"
}
