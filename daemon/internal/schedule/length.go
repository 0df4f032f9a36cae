package schedule

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// parseLength reads a duration such as 90s, 15m, 1h30m or 2d.
func parseLength(text string) (time.Duration, error) {
	bad := fmt.Errorf("%s is no duration such as 30s, 15m, 1h30m or 2d", quoted(text))
	var total time.Duration
	rest := text
	if head, tail, ok := strings.Cut(text, "d"); ok {
		days, err := strconv.ParseUint(head, 10, 32)
		if err != nil || !digits(head) {
			return 0, bad
		}
		if days > math.MaxInt64/uint64(24*time.Hour) {
			return 0, fmt.Errorf("%s is too long", quoted(text))
		}
		total, rest = time.Duration(days)*24*time.Hour, tail
		if rest == "" {
			return total, nil
		}
	}
	part, err := time.ParseDuration(rest)
	if err != nil || part < 0 || strings.HasPrefix(rest, "+") || part > math.MaxInt64-total {
		return 0, bad
	}
	return total + part, nil
}

// length writes a duration as parseLength reads it: 1d12h, 15m.
func length(d time.Duration) string {
	if d <= 0 {
		return d.String()
	}
	var b strings.Builder
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}} {
		if n := d / unit.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, unit.name)
			d -= n * unit.size
		}
	}
	if d > 0 {
		b.WriteString(d.String())
	}
	return b.String()
}
