package cli

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"

	"github.com/mattn/go-runewidth"
)

// printable takes what would move the cursor or colour the screen out of text
// that plugins and files bring in.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r):
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

// block is printable text of several lines, those after the first indented.
func block(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n  ")
}

// clip cuts text to a width on the terminal.
func clip(s string, width int) string {
	if width <= 0 {
		return ""
	}
	return runewidth.Truncate(s, width, "…")
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-runewidth.StringWidth(s)))
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%s %ss", number(int64(n)), noun)
}

// number groups digits: 1,234,567.
func number(n int64) string {
	s := fmt.Sprint(n)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func size(n int64) string {
	const units = "KMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1000, 0
	for f >= 999.95 && i < len(units)-1 {
		f, i = f/1000, i+1
	}
	return fmt.Sprintf("%.1f %cB", f, units[i])
}

// span is a length of time in at most two units.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return twoUnits(int(d.Round(time.Second)/time.Second), 60, "min", "s")
	case d < 24*time.Hour:
		return twoUnits(int(d.Round(time.Minute)/time.Minute), 60, "h", "min")
	}
	return twoUnits(int(d.Round(time.Hour)/time.Hour), 24, "d", "h")
}

func twoUnits(n, per int, big, small string) string {
	if n%per == 0 {
		return fmt.Sprintf("%d %s", n/per, big)
	}
	return fmt.Sprintf("%d %s %d %s", n/per, big, n%per, small)
}

// left is what remains, without pretending to know it to the second.
func left(seconds float64) string {
	if math.IsNaN(seconds) || seconds < 0 || seconds > 1e8 {
		return ""
	}
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Second:
		return "1 s left"
	case d < 10*time.Minute:
		d = d.Round(time.Second)
		if d < time.Minute {
			return fmt.Sprintf("%d s left", d/time.Second)
		}
	}
	return span(d) + " left"
}

// ago is a time in relation to now.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	in := d < 0
	if in {
		d = -d
	}
	var s string
	switch {
	case d < 2*time.Second:
		return "now"
	case d < time.Minute:
		s = fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		s = fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		s = fmt.Sprintf("%d h", d/time.Hour)
	case d < 60*24*time.Hour:
		s = fmt.Sprintf("%d days", d/(24*time.Hour))
	default:
		return t.Local().Format("2006-01-02")
	}
	if in {
		return "in " + s
	}
	return s + " ago"
}

// counters shows a step's own counts in the order of their names.
func counters(m map[string]int64) string {
	var parts []string
	for _, name := range sortedKeys(m) {
		if name == "bytes" || strings.HasSuffix(name, "_bytes") {
			parts = append(parts, strings.TrimSpace(strings.TrimSuffix(strings.TrimSuffix(name, "bytes"), "_")+" "+size(m[name])))
		} else {
			parts = append(parts, number(m[name])+" "+printable(name))
		}
	}
	return strings.Join(parts, ", ")
}
