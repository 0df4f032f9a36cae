package retain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func date(t failer, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	must(t, err)
	return at
}

func zone(t failer, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	must(t, err)
	return loc
}

func TestRulesAsPeopleKnowThem(t *testing.T) {
	// Newest first.
	for _, c := range []struct {
		name  string
		rules Rules
		zone  string
		times []string
		want  []string // by archive, "" for one that goes
	}{
		{"last counts archives", Rules{Last: 2}, "UTC",
			[]string{"2026-11-24T02:30:00Z", "2026-11-24T02:30:00Z", "2026-11-23T02:30:00Z"},
			[]string{"last 1", "last 2", ""}},
		{"days without an archive are not counted", Rules{Daily: 3}, "UTC",
			[]string{"2026-11-24T09:00:00Z", "2026-11-24T02:30:00Z", "2026-11-20T02:30:00Z", "2025-01-01T00:00:00Z", "2024-12-31T23:59:59Z"},
			[]string{"daily 2026-11-24", "", "daily 2026-11-20", "daily 2025-01-01", ""}},
		{"the day is the zone's", Rules{Daily: 9}, "America/New_York",
			[]string{"2026-11-24T05:00:00Z", "2026-11-24T04:59:59Z", "2026-11-23T05:00:00Z"},
			[]string{"daily 2026-11-24", "daily 2026-11-23", ""}},
		{"an hour that comes twice is two", Rules{Hourly: 9}, "America/New_York",
			[]string{"2026-11-01T06:30:00Z", "2026-11-01T06:00:00Z", "2026-11-01T05:30:00Z"},
			[]string{"hourly 2026-11-01 01h -0500", "", "hourly 2026-11-01 01h -0400"}},
		{"a day of 25 hours is one", Rules{Daily: 9}, "America/New_York",
			[]string{"2026-11-02T04:59:59Z", "2026-11-01T04:00:00Z", "2026-11-01T03:59:59Z"},
			[]string{"daily 2026-11-01", "", "daily 2026-10-31"}},
		{"hours of a zone of quarters", Rules{Hourly: 9}, "Asia/Kathmandu",
			[]string{"2026-11-24T02:15:00Z", "2026-11-24T02:14:59Z", "2026-11-24T01:15:00Z"},
			[]string{"hourly 2026-11-24 08h +0545", "hourly 2026-11-24 07h +0545", ""}},
		{"weeks begin on Monday and know no New Year", Rules{Weekly: 9}, "UTC",
			[]string{"2026-01-04T23:59:59Z", "2025-12-29T00:00:00Z", "2025-12-28T23:59:59Z"},
			[]string{"weekly 2026-W01", "", "weekly 2025-W52"}},
		{"the union of the rules", Rules{Last: 1, Daily: 2, Monthly: 2, Yearly: 2}, "UTC",
			[]string{"2026-11-24T02:00:00Z", "2026-11-23T02:00:00Z", "2026-11-01T02:00:00Z", "2026-10-31T02:00:00Z", "2026-10-01T02:00:00Z", "2025-12-31T02:00:00Z", "2024-12-31T02:00:00Z"},
			[]string{"last 1, daily 2026-11-24, monthly 2026-11, yearly 2026", "daily 2026-11-23", "", "monthly 2026-10", "", "yearly 2025", ""}},
		// In 2006 Newfoundland put its clocks back from 00:01 to 23:01: the 29th
		// came for a minute, went, and came again.
		{"a date that comes twice is one", Rules{Daily: 3}, "America/St_Johns",
			[]string{"2006-10-29T12:00:00Z", "2006-10-29T03:00:00Z", "2006-10-29T02:30:30Z", "2006-10-28T12:00:00Z", "2006-10-27T12:00:00Z"},
			[]string{"daily 2006-10-29", "daily 2006-10-28", "", "", "daily 2006-10-27"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var times []time.Time
			for _, text := range c.times {
				times = append(times, date(t, text))
			}
			for i, reasons := range c.rules.reasons(times, zone(t, c.zone)) {
				if got := strings.Join(reasons, ", "); got != c.want[i] {
					t.Errorf("%s: %q, want %q", c.times[i], got, c.want[i])
				}
			}
		})
	}
}

func drawRules(t *rapid.T) Rules {
	count := func(name string) int { return rapid.SampledFrom([]int{0, 0, 1, 2, 3, 7, 30}).Draw(t, name) }
	r := Rules{count("last"), count("hourly"), count("daily"), count("weekly"), count("monthly"), count("yearly")}
	if r.check() != nil {
		r.Daily = 1 + rapid.IntRange(0, 5).Draw(t, "some")
	}
	return r
}

func drawZone(t *rapid.T) string {
	return rapid.SampledFrom([]string{"UTC", "America/New_York", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Apia", "America/St_Johns", "Australia/Lord_Howe"}).Draw(t, "zone")
}

// drawTimes draws times in clusters, at distances that make periods meet.
func drawTimes(t *rapid.T, atMost int) []time.Time {
	at := rapid.SampledFrom([]time.Time{
		time.Date(2026, 11, 1, 7, 0, 0, 0, time.UTC), time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC),
		time.Date(2012, 1, 3, 12, 0, 0, 0, time.UTC), time.Date(2006, 10, 30, 2, 31, 0, 0, time.UTC),
	}).Draw(t, "newest")
	steps := []time.Duration{0, time.Second, 29 * time.Minute, time.Hour, 5 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 31 * 24 * time.Hour, 400 * 24 * time.Hour}
	var times []time.Time
	for range rapid.IntRange(0, atMost).Draw(t, "archives") {
		times = append(times, at)
		at = at.Add(-rapid.SampledFrom(steps).Draw(t, "step") * time.Duration(rapid.IntRange(1, 3).Draw(t, "times")))
	}
	return times
}

// stays is the model, told another way round and without any state: an archive
// stays by a rule when it is the first of its period, and fewer periods than
// the rule's count have come before it.
func stays(rules Rules, newestFirst []time.Time, loc *time.Location, i int) bool {
	if i < rules.Last {
		return true
	}
	type same func(a, b time.Time) bool
	ymd := func(a, b time.Time) bool { return a.Year() == b.Year() && a.YearDay() == b.YearDay() }
	offset := func(t time.Time) int { _, s := t.Zone(); return s }
	for _, rule := range []struct {
		count int
		same  same
	}{
		{rules.Hourly, func(a, b time.Time) bool { return ymd(a, b) && a.Hour() == b.Hour() && offset(a) == offset(b) }},
		{rules.Daily, ymd},
		{rules.Weekly, func(a, b time.Time) bool { // their Mondays are the same day
			monday := func(t time.Time) time.Time {
				return time.Date(t.Year(), t.Month(), t.Day()-(int(t.Weekday())+6)%7, 12, 0, 0, 0, time.UTC)
			}
			return monday(a).Equal(monday(b))
		}},
		{rules.Monthly, func(a, b time.Time) bool { return a.Year() == b.Year() && a.Month() == b.Month() }},
		{rules.Yearly, func(a, b time.Time) bool { return a.Year() == b.Year() }},
	} {
		firstOfItsPeriod := func(k int) bool {
			return !slices.ContainsFunc(newestFirst[:k], func(t time.Time) bool { return rule.same(t.In(loc), newestFirst[k].In(loc)) })
		}
		before := 0
		for k := range i {
			if firstOfItsPeriod(k) {
				before++
			}
		}
		if firstOfItsPeriod(i) && before < rule.count {
			return true
		}
	}
	return false
}

func TestRulesAgreeWithTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, loc, times := drawRules(t), zone(t, drawZone(t)), drawTimes(t, 40)
		reasons := rules.reasons(times, loc)
		kept := []time.Time{}
		for i := range times {
			if got, want := len(reasons[i]) > 0, stays(rules, times, loc, i); got != want {
				t.Fatalf("%+v in %s: archive %d of %v stays: %v (%q), the model says %v", rules, loc, i, times, got, reasons[i], want)
			}
			if len(reasons[i]) > 0 {
				kept = append(kept, times[i])
			}
		}
		if len(times) > 0 && len(reasons[0]) == 0 {
			t.Fatalf("%+v does not keep the newest", rules)
		}
		// What stays is what stays when it is looked at again.
		for i, again := range rules.reasons(kept, loc) {
			if len(again) == 0 {
				t.Fatalf("%+v: %v goes at a second look", rules, kept[i])
			}
		}
	})
}

func TestNamesOfOtherTasksAreNeverTaken(t *testing.T) {
	for name, want := range map[string]bool{
		"backup-20261124T023000Z-42.tar.zst":                  true,
		"backup-20261124T023000Z-42.tar.gz":                   true,
		"backup-20261124T023000Z-42.tar.zst.age":              true,
		"backup-weekly-20261124T023000Z-42.tar.zst":           false,
		"backup-20261124T023000Z-42.tar.zst.manifest.json":    false,
		"backup20261124T023000Z-42.tar.zst":                   false,
		"backup-20261124T023000Z-42-1.tar.zst":                false,
		"backup-20261124T023000Z-20261124T023000Z-42.tar.zst": false,
		"backup-20261324T023000Z-42.tar.zst":                  false, // no such month
		"backup-20261124T023000-42.tar.zst":                   false,
		"backup-20261124T023000Z-0.tar.zst":                   false,
		"backup-20261124T023000Z-42.tar.xz":                   false,
		"backup-42.tar.zst":                                   false,
		"Backup-20261124T023000Z-42.tar.zst":                  false,
		" backup-20261124T023000Z-42.tar.zst":                 false,
		"backup-20261124T023000Z-99999999999999999999.tar.gz": false,
		".backup-20261124T023000Z-42.tar.zst":                 false,
	} {
		if _, _, ok := newArchiveName("backup").parse(name); ok != want {
			t.Errorf("%s is an archive of backup: %v", name, ok)
		}
	}
	// Names that are hard to tell apart, each against each.
	tasks := []string{"a", "a-", "a-b", "a.b", "a+", "a-20261124T023000Z", "a-20261124T023000Z-1", "ä b", "(a"}
	for _, mine := range tasks {
		for _, other := range tasks {
			name := fmt.Sprintf("%s-20261124T023000Z-7.tar.zst", other)
			if _, _, ok := newArchiveName(mine).parse(name); ok != (mine == other) {
				t.Errorf("%s is an archive of %q: %v", name, mine, ok)
			}
		}
	}
}
