package cli

import (
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
)

func TestTimesThatLieBehind(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.Local)
	for text, want := range map[string]time.Time{
		"90s":                  now.Add(-90 * time.Second),
		"1h30m":                now.Add(-90 * time.Minute),
		"2d":                   now.Add(-48 * time.Hour),
		"1w":                   now.Add(-7 * 24 * time.Hour),
		"11:00":                time.Date(2026, 11, 24, 11, 0, 0, 0, time.Local),
		"13:00":                time.Date(2026, 11, 23, 13, 0, 0, 0, time.Local),
		"2026-11-01":           time.Date(2026, 11, 1, 0, 0, 0, 0, time.Local),
		"2026-11-01T10:00:00Z": time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC),
	} {
		if got, err := past("since", text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "2", "d", "2x", "0s", "-2d", "soon", "99999999999w", "9999w9999w9999w"} {
		if got, err := past("since", text, now); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// A log that is followed goes on where it was, also from its end: lines of the
// same time are neither printed twice nor left out.
func TestALogGoesOnWhereItWas(t *testing.T) {
	at := func(s int) api.LogLine { return api.LogLine{Time: time.Unix(int64(s), 0)} }
	whole := logPlace{query: api.LogQuery{Follow: true}}
	tail := logPlace{query: api.LogQuery{Follow: true, Tail: 2}}
	if q, skip := tail.again(); q.Tail != 2 || skip != 0 {
		t.Errorf("at first: %+v, %d", q, skip)
	}
	for _, l := range []api.LogLine{at(1), at(2), at(2)} {
		whole.printed(l)
		tail.printed(l)
	}
	if q, skip := whole.again(); skip != 3 || !q.Since.IsZero() {
		t.Errorf("of the whole: %+v, %d", q, skip)
	}
	if q, skip := tail.again(); q.Tail != 0 || !q.Since.Equal(time.Unix(2, 0)) || skip != 2 || !q.Follow {
		t.Errorf("of the end: %+v, %d", q, skip)
	}
}

func TestStepsThatGiveNoSignAreToldOnce(t *testing.T) {
	l := stepLines{told: newReasons()}
	silent := api.Step{Name: "tables/film", Position: "0.1", Status: "running", Stuck: true, LastSaid: "waiting for the lock"}
	moving := silent
	moving.Stuck = false
	for i, want := range []string{"stuck      tables/film: no sign of progress; last said: waiting for the lock", "", "moves      tables/film", ""} {
		step := []api.Step{silent, silent, moving, moving}[i]
		if got := l.of(api.Event{Type: "progress", Active: []api.Step{step}}); got != want {
			t.Errorf("%d: %q, want %q", i, got, want)
		}
	}
	queued := api.Run{Ref: "a/1", Status: "queued", WaitsFor: "the lock db, held by b/2", QueuePosition: 1}
	for i, want := range []string{"a/1 waits for the lock db, held by b/2", ""} {
		if got := l.of(api.Event{Type: "run", Run: queued}); got != want {
			t.Errorf("%d: %q, want %q", i, got, want)
		}
	}
}
