package schedule

import (
	"fmt"
	"strings"

	"github.com/stepd/stepd/daemon/internal/task"
)

// ParseSpec reads a schedule as it is written on one line: a cron spec ("30 2 * * *", "@daily"), "every 15m" for
// a fixed rate, "after 1h" for a fixed delay, or "at 2026-12-24T18:00". A name, a time zone and policies are
// not filled in, and a cron spec or a moment is not looked at: that is Check's. The error is a task.ErrInvalid.
func ParseSpec(text string) (task.Schedule, error) {
	text = strings.TrimSpace(text)
	if len(text) > maxCron {
		return task.Schedule{}, fmt.Errorf("%w: the spec is %d bytes long, at most %d are allowed", task.ErrInvalid, len(text), maxCron)
	}
	word, rest, _ := strings.Cut(text, " ")
	rest = strings.TrimSpace(rest)
	switch strings.ToLower(strings.TrimSuffix(word, ":")) {
	case "":
		return task.Schedule{}, fmt.Errorf(`%w: the spec is empty: write "30 2 * * *", "@daily", "every 15m", "after 1h" or "at 2026-12-24T18:00"`, task.ErrInvalid)
	case "every", "@every", "after":
		d, err := parseLength(strings.ReplaceAll(rest, " ", ""))
		if err != nil {
			return task.Schedule{}, fmt.Errorf("%w: the spec %s: %w", task.ErrInvalid, quoted(text), err)
		}
		if d <= 0 {
			return task.Schedule{}, fmt.Errorf("%w: the spec %s would not move: the shortest time is 1s", task.ErrInvalid, quoted(text))
		}
		if strings.HasPrefix(strings.ToLower(word), "after") {
			return task.Schedule{Delay: d}, nil
		}
		return task.Schedule{Rate: d}, nil
	case "at":
		if rest == "" {
			return task.Schedule{}, fmt.Errorf("%w: the spec %s has no time: write it as at 2026-12-24T18:00", task.ErrInvalid, quoted(text))
		}
		return task.Schedule{At: rest}, nil
	}
	if rest, ok := strings.CutPrefix(strings.ToLower(text), "every"); ok {
		if d, err := parseLength(rest); err == nil && d > 0 {
			return task.Schedule{}, fmt.Errorf(`%w: the spec %s lacks a blank: write "every %s"`, task.ErrInvalid, quoted(text), length(d))
		}
	}
	if d, err := parseLength(text); err == nil && d > 0 {
		return task.Schedule{}, fmt.Errorf(`%w: the spec %s is a duration: write "every %s", or "after %s" for so long after the end of the last run`,
			task.ErrInvalid, quoted(text), length(d), length(d))
	}
	if aMoment(text) {
		return task.Schedule{}, fmt.Errorf(`%w: the spec %s is a time: write "at %s"`, task.ErrInvalid, quoted(text), text)
	}
	return task.Schedule{Cron: text}, nil
}

// aMoment reports whether the text is a date, or one with a time of day.
func aMoment(text string) bool {
	if len(text) < len("2026-12-24") || !digits(text[:4]) {
		return false
	}
	_, fault := parseMoment(text)
	return fault == nil
}
