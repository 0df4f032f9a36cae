package schedule

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

func TestCheckExpect(t *testing.T) {
	for _, c := range []struct {
		e    task.Expect
		want string // field+offset, then what the message holds
	}{
		{task.Expect{By: "06:00", Timezone: "Europe/Berlin"}, ""},
		{task.Expect{By: "06:00:30", Days: "mon-fri,sun", Timezone: "Europe/Berlin"}, ""},
		{task.Expect{By: "06:00", Days: "7", Timezone: "Europe/Berlin"}, ""},
		{task.Expect{By: "6:00", Timezone: "Europe/Berlin"}, "by+0 two digits"},
		{task.Expect{By: "6 am", Timezone: "Europe/Berlin"}, `by+1 "am" behind`},
		{task.Expect{By: "24:00", Timezone: "Europe/Berlin"}, "by+0 hour 24"},
		{task.Expect{By: "", Timezone: "Europe/Berlin"}, "by+0 time of day"},
		{task.Expect{By: "06:00", Days: "mon-fre", Timezone: "Europe/Berlin"}, "days+4 did you mean fri?"},
		{task.Expect{By: "06:00", Days: "fri-mon", Timezone: "Europe/Berlin"}, "days+0 fri-sat,sun-mon"},
		{task.Expect{By: "06:00", Days: "mon fri", Timezone: "Europe/Berlin"}, "days+0 blank"},
		{task.Expect{By: "06:00", Days: "5L", Timezone: "Europe/Berlin"}, "days+0 the last one of a month"},
		{task.Expect{By: "06:00", Days: "@daily", Timezone: "Europe/Berlin"}, "days+0 day of the week"},
		{task.Expect{By: "06:00", Timezone: "Mars"}, "timezone+0 no time zone"},
	} {
		var got []string
		for _, f := range new(Zones).CheckExpect(c.e) {
			got = append(got, fmt.Sprintf("%s+%d %s %s", f.Field, f.Offset, f.Message, f.Hint))
		}
		text := strings.Join(got, "\n")
		place, holds, _ := strings.Cut(c.want, " ")
		if c.want == "" && text != "" || !strings.HasPrefix(text, place) || !strings.Contains(text, holds) || len(got) > 1 {
			t.Errorf("%+v: %s, want %s", c.e, text, c.want)
		}
	}
}

// The deadlines are those that are judged, and the first is excused where its period is older than the rule.
func TestExplainExpect(t *testing.T) {
	e := task.Expect{By: "06:00:30", Days: "mon-fri", Timezone: "Europe/Berlin"}
	saved := instant(t, "2026-11-27T12:00:00Z") // a Friday
	x, err := new(Zones).ExplainExpect(e, saved, saved, 2)
	if err != nil || x.Summary != "a completed run by 06:00:30 on Monday to Friday, Europe/Berlin" || len(x.Times) != 2 {
		t.Fatalf("%+v, %v", x, err)
	}
	if got := x.Times[0]; got.Nominal.Format(time.RFC3339) != "2026-11-30T06:00:30+01:00" || len(got.Notes) != 1 || !strings.HasPrefix(got.Notes[0], "excused if no run completes") {
		t.Errorf("%+v", got)
	}
	if got := x.Times[1]; got.Nominal.Format(time.RFC3339) != "2026-12-01T06:00:30+01:00" || len(got.Notes) > 0 {
		t.Errorf("%+v", got)
	}
	if x, err := new(Zones).ExplainExpect(task.Expect{By: "23:00", Timezone: "UTC"}, saved, saved, 1); err != nil || x.Summary != "a completed run by 23:00 every day, UTC" {
		t.Errorf("%+v, %v", x, err)
	}
	if _, err := new(Zones).ExplainExpect(task.Expect{By: "6", Timezone: "UTC"}, saved, saved, 1); !errors.Is(err, task.ErrInvalid) {
		t.Error(err)
	}
}

// Where one time at most can be missed, nothing is said of many.
func TestOneMissedTimeAtMost(t *testing.T) {
	now := instant(t, "2026-11-24T09:00:00Z")
	for _, s := range []task.Schedule{{Delay: time.Hour}, {At: "2026-12-24T18:00"}} {
		s.Timezone, s.Missed, s.MissedLimit = "UTC", task.MissedAll, 5
		var fields []string
		for _, f := range new(Zones).Check(s, now) {
			fields = append(fields, f.Field)
		}
		if !slices.Equal(fields, []string{"missed", "missed_limit"}) {
			t.Errorf("%+v: faults of %q", s, fields)
		}
		s.Missed, s.MissedLimit = task.MissedOnce, 0
		if faults := new(Zones).Check(s.WithDefaults(), now); len(faults) > 0 {
			t.Errorf("%+v", faults)
		}
		x, err := new(Zones).Explain(s, "t", now, now, 1)
		if text := strings.Join(x.Notes, "\n"); err != nil || strings.Contains(text, "newest") || !strings.Contains(text, "no more than 7d late") {
			t.Errorf("%s, %v", text, err)
		}
	}
}

// What has passed is a fault of what somebody writes now, and none of what was saved long ago.
func TestCheckWithoutNowForgivesThatTimesHavePassed(t *testing.T) {
	for _, s := range []task.Schedule{
		{At: "2020-05-01T12:00"},
		{Cron: "0 0 * * *", End: "2020-05-01"},
		{Cron: "0 0 * * *", Start: "2019-05-01", End: "2020-05-01", Jitter: time.Hour},
		{Rate: time.Hour, Anchor: "2019-05-01", End: "2020-05-01"},
	} {
		s.Timezone = "Europe/Berlin"
		if faults := new(Zones).Check(s, instant(t, "2026-01-01T00:00:00Z")); len(faults) == 0 {
			t.Errorf("%+v is well", s)
		}
		if faults := new(Zones).Check(s, time.Time{}); len(faults) > 0 {
			t.Errorf("%+v: %+v", s, faults)
		}
	}
}

// All faults of one schedule are found at once.
func TestCheckFindsEverything(t *testing.T) {
	s := task.Schedule{Name: "a b", Cron: "60 24 * * *", Rate: time.Millisecond, Anchor: "no", Timezone: "Berlin", Start: "2026-02-30", End: "25:00", Jitter: -1,
		Exclude: []string{"2026-12-24", "02-30", "xmas"}, Missed: "al", MissedLimit: 1000, MissedWindow: time.Second, Overlap: "x"}
	var fields []string
	for _, f := range new(Zones).Check(s, time.Now()) {
		fields = append(fields, f.Field)
	}
	want := []string{"timezone", "cron", "cron", "rate", "anchor", "", "start", "end", "jitter", "exclude", "exclude", "name", "missed", "overlap", "missed_window", "missed_limit"}
	if !slices.Equal(fields, want) {
		t.Errorf("faults of %q, want %q", fields, want)
	}
}

// Where a machine has no list of zones, usual mistakes are seen all the same.
func TestSuggestionsWithoutAListOfZones(t *testing.T) {
	for wrong, want := range map[string]string{"europe/berlin": "Europe/Berlin", "Berlin": "Europe/Berlin", "america/new york": "America/New_York", "utc": "UTC", "NEW YORK": "America/New_York", "Atlantis": ""} {
		var z Zones
		z.listed.Do(func() {}) // and nothing was found
		if got := strings.Join(z.near(wrong), " "); got != want {
			t.Errorf("%s: %q, want %q", wrong, got, want)
		}
	}
}

func TestListZones(t *testing.T) {
	if names := listZones(t.TempDir() + "/none"); len(names) > 0 {
		t.Error(names)
	}
}

func TestParseSpec(t *testing.T) {
	for text, want := range map[string]task.Schedule{
		"30 2 * * *":           {Cron: "30 2 * * *"},
		" @daily ":             {Cron: "@daily"},
		"every 15m":            {Rate: 15 * time.Minute},
		"every: 1h 30m":        {Rate: 90 * time.Minute},
		"@every 2d":            {Rate: 48 * time.Hour},
		"after 1h":             {Delay: time.Hour},
		"at 2026-12-24T18:00":  {At: "2026-12-24T18:00"},
		"at: 2026-12-24 18:00": {At: "2026-12-24 18:00"},
		"AT 2026-12-24":        {At: "2026-12-24"},
		"2026 2 * * *":         {Cron: "2026 2 * * *"},
		"nonsense":             {Cron: "nonsense"}, // Check knows what to say of it
	} {
		got, err := ParseSpec(text)
		if err != nil || got.Timing() != want.Timing() {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for text, holds := range map[string]string{"": "is empty", "every": "no duration", "every day": "no duration", "every 0s": "would not move", "every -5m": "no duration", "after": "no duration", "at": "no time",
		"15m": `write "every 15m", or "after 15m"`, "every15m": `write "every 15m"`, "2026-12-24T18:00": `write "at 2026-12-24T18:00"`, "2026-12-24": `write "at 2026-12-24"`,
		strings.Repeat("1,", 1000): "at most"} {
		if got, err := ParseSpec(text); !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), holds) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestLengths(t *testing.T) {
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "1d": 24 * time.Hour, "1d12h": 36 * time.Hour, "1h30m": 90 * time.Minute, "1.5s": 1500 * time.Millisecond} {
		got, err := parseLength(text)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		if again, err := parseLength(length(got)); err != nil || again != got {
			t.Errorf("%s is written %s, which is %v, %v", text, length(got), again, err)
		}
	}
	for _, text := range []string{"", "d", "15", "-5m", "+5m", "1d-5m", "1d+5m", "99999999999d", "106752d", "1d 5m", "١d", "5m1d"} {
		if got, err := parseLength(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// The most that a hostile schedule can cost stays small.
func TestHostileSchedulesAreCheap(t *testing.T) {
	var odd []string
	for d := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC); d.Year() == 2024; d = d.AddDate(0, 0, 2) {
		odd = append(odd, d.Format("01-02"))
	}
	for name, s := range map[string]task.Schedule{
		"never":                  {Cron: "0 0 31 2 *"},
		"each second, excluded":  {Cron: "* * * * * *", Exclude: []string{"1900-01-01..2999-12-31"}},
		"a rate, excluded":       {Rate: time.Second, Exclude: []string{"1900-01-01..2999-12-31"}},
		"each other day":         {Cron: "0 0 1-31/2 * *", Exclude: odd},
		"each other day, once":   {Cron: "* * * * * *", Exclude: append(odd[:len(odd):len(odd)], "1900-01-01..2999-12-31")},
		"29 February, excluded":  {Cron: "0 0 29 2 *", Exclude: []string{"02-29"}},
		"long and never":         {Cron: "* * * 2 *", Start: "1900-01-01", End: "2999-12-31", Exclude: februaryAll()},
		"follows, and never":     {Cron: "* * 30 2 *"},
		"a delay, excluded":      {Delay: time.Second, Exclude: []string{"1900-01-01..2999-12-31"}},
		"all in one, with a lot": {Cron: strings.Repeat("0-59/1,", 100) + "0 0 * * *", Jitter: time.Hour},
	} {
		for _, zone := range []string{"Europe/Berlin", "Africa/Casablanca", "America/St_Johns"} {
			s.Timezone = zone
			before := time.Now()
			new(Zones).Check(s, instant(t, "2026-01-01T00:00:00Z"))
			if _, err := new(Zones).Explain(s, "t", before, instant(t, "2026-01-01T00:00:00Z"), 10); err != nil {
				t.Error(name, err)
			}
			took := time.Since(before)
			t.Logf("%s in %s: %v", name, zone, took)
			if took > 3*time.Second { // about 20 times what it takes on a quiet machine
				t.Errorf("%s in %s took %v", name, zone, took)
			}
		}
	}
}

func februaryAll() []string { return append(februaryButLeapDay(), "02-29") }
