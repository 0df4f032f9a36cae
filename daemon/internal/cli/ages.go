package cli

import (
	"strconv"
	"strings"
	"time"
)

// past reads a time that lies behind: how long ago, as 90m, 36h, 2d or 1w, or a
// time of the person's own clock. A time of day is the last one.
func past(flag, text string, now time.Time) (time.Time, error) {
	if d, ok := spoken(text); ok {
		return now.Add(-d), nil
	}
	now = now.Local()
	t, err := time.Parse(time.RFC3339, text)
	for _, layout := range momentLayouts() {
		if err != nil {
			t, err = time.ParseInLocation(layout, text, time.Local)
		}
	}
	if clock, e := time.Parse("15:04", text); err != nil && e == nil {
		t, err = time.Date(now.Year(), now.Month(), now.Day(), clock.Hour(), clock.Minute(), 0, 0, time.Local), nil
		if t.After(now) {
			t = time.Date(now.Year(), now.Month(), now.Day()-1, clock.Hour(), clock.Minute(), 0, 0, time.Local)
		}
	}
	if err != nil {
		return t, withHint(usageError("--%s is %q, which is no time", flag, text), "write it as 2d or 90m (ago), 18:00, 2026-12-24, 2026-12-24T18:00 or 2026-12-24T18:00:00+01:00")
	}
	return t, nil
}

// spoken reads a length of time as people write it: 90s, 1h30m, 2d, 1w.
func spoken(text string) (time.Duration, bool) {
	var sum time.Duration
	for text != "" {
		end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
		if end <= 0 {
			return 0, false
		}
		n, err := strconv.ParseInt(text[:end], 10, 64)
		unit := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[text[end]]
		if err != nil || unit == 0 || n > int64(100*365*24*time.Hour/unit) {
			return 0, false
		}
		if sum, text = sum+time.Duration(n)*unit, text[end+1:]; sum > 100*365*24*time.Hour {
			return 0, false
		}
	}
	return sum, sum > 0
}
