package taskfile

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

var (
	errNotPositive = errors.New("must be longer than zero")
	errTooLong     = errors.New("is too long: the longest duration is about 290 years")
)

// ParseDuration reads a duration as task files have it: numbers with the units
// d (24 hours), h, m, s, ms, us and ns, as in "1d12h", "1h30m" or "1.5s".
// Zero and less are refused.
func ParseDuration(s string) (time.Duration, error) {
	rest, total := s, time.Duration(0)
	if head, tail, ok := strings.Cut(s, "d"); ok {
		days, err := strconv.ParseFloat(head, 64)
		if err != nil || strings.ContainsAny(head, "eExXpPnNiI_+-") && !strings.HasPrefix(head, "-") {
			return 0, badDuration(s)
		}
		if days < 0 {
			return 0, errNotPositive
		}
		if days*float64(day) >= math.MaxInt64 {
			return 0, errTooLong
		}
		total, rest = time.Duration(days*float64(day)), tail
		if strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") {
			return 0, badDuration(s)
		}
	}
	if rest != "" || total == 0 && !strings.Contains(s, "d") {
		part, err := time.ParseDuration(rest)
		switch {
		case err != nil:
			return 0, badDuration(s)
		case part < 0:
			return 0, errNotPositive
		case total > math.MaxInt64-part:
			return 0, errTooLong
		}
		total += part
	}
	if total <= 0 {
		return 0, errNotPositive
	}
	return total, nil
}

func badDuration(s string) error {
	return fmt.Errorf("must be a duration such as 30s, 10m, 1h30m or 2d, found %s", quote(s))
}

// FormatDuration writes the shortest text that ParseDuration reads back as d.
func FormatDuration(d time.Duration) string {
	var b strings.Builder
	if days := d / day; days > 0 {
		fmt.Fprintf(&b, "%dd", days)
		d -= days * day
	}
	if hours := d / time.Hour; hours > 0 {
		fmt.Fprintf(&b, "%dh", hours)
		d -= hours * time.Hour
	}
	if minutes := d / time.Minute; minutes > 0 {
		fmt.Fprintf(&b, "%dm", minutes)
		d -= minutes * time.Minute
	}
	if d > 0 {
		b.WriteString(d.String())
	}
	return b.String()
}
