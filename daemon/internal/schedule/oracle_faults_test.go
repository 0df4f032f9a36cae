package schedule_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"
)

// recited is a scheduler that knows a list by heart, and nothing else.
type recited struct{ list []time.Time }

func (r recited) Next(after time.Time) time.Time {
	for _, at := range r.list {
		if at.After(after) {
			return at
		}
	}
	return time.Time{}
}

// windowOf is the window of the zone's first change between two times.
func windowOf(t *testing.T, name string, from, to time.Time) *window {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	z := zone{name, loc, changesOf(loc)}
	for i, c := range z.changes {
		if c.at >= from.Unix() && c.at < to.Unix() {
			return newWindow(t, z, i)
		}
	}
	t.Fatalf("%s does not set its clock between %v and %v", name, from, to)
	return nil
}

func utc(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

// The oracle itself is held to times that were worked out by hand.
func TestOracleKnowsWhatPeopleKnow(t *testing.T) {
	days := calendar()
	for _, c := range []struct {
		zone     string
		from, to time.Time
		spec     string
		want     string // all of the window, as its clock shows them
	}{
		{"America/New_York", utc(2026, 3, 1), utc(2026, 4, 1), "30 2 * * *", "07T02:30-05:00 08T03:00-04:00 09T02:30-04:00"},
		{"America/New_York", utc(2026, 3, 1), utc(2026, 4, 1), "0,30 2-3 8 * *", "08T03:00-04:00 08T03:30-04:00"},
		{"America/New_York", utc(2026, 11, 1), utc(2026, 12, 1), "30 1 * * *", "31T01:30-04:00 01T01:30-04:00 02T01:30-05:00"},
		{"America/New_York", utc(2026, 11, 1), utc(2026, 12, 1), "30 * 1 11 *",
			"01T00:30-04:00 01T01:30-04:00 01T01:30-05:00 01T02:30-05:00 01T03:30-05:00 01T04:30-05:00 01T05:30-05:00 " +
				"01T06:30-05:00 01T07:30-05:00 01T08:30-05:00 01T09:30-05:00 01T10:30-05:00 01T11:30-05:00 01T12:30-05:00 " +
				"01T13:30-05:00 01T14:30-05:00 01T15:30-05:00 01T16:30-05:00 01T17:30-05:00 01T18:30-05:00 01T19:30-05:00 " +
				"01T20:30-05:00 01T21:30-05:00 01T22:30-05:00 01T23:30-05:00"},
		{"America/Sao_Paulo", utc(2018, 11, 1), utc(2018, 12, 1), "@daily", "03T00:00-03:00 04T01:00-02:00 05T00:00-02:00"},
		{"America/Sao_Paulo", utc(2018, 11, 1), utc(2018, 12, 1), "@weekly", "04T01:00-02:00"},
		{"Australia/Lord_Howe", utc(2026, 4, 1), utc(2026, 5, 1), "45 1 5 * *", "05T01:45+11:00"},
		{"America/St_Johns", utc(2006, 10, 20), utc(2006, 11, 1), "30 23 * * *", "27T23:30-02:30 28T23:30-02:30 29T23:30-03:30"},
		{"Pacific/Apia", utc(2011, 12, 25), utc(2012, 1, 1), "30 2,14 * * *",
			"27T14:30-10:00 28T02:30-10:00 28T14:30-10:00 29T02:30-10:00 29T14:30-10:00 31T00:00+14:00 31T02:30+14:00 31T14:30+14:00 01T02:30+14:00 01T14:30+14:00 02T02:30+14:00"},
		{"Pacific/Apia", utc(2011, 12, 25), utc(2012, 1, 1), "0 0 30 12 *", "31T00:00+14:00"},
	} {
		s, err := readCron(c.spec, days)
		if err != nil {
			t.Fatal(err)
		}
		w := windowOf(t, c.zone, c.from, c.to)
		var got []string
		for _, at := range w.dueTimes(nil, &s, w.from, w.to) {
			got = append(got, time.Unix(at, 0).In(w.loc).Format("02T15:04Z07:00"))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%v, %s:\n got %s\nwant %s", w, c.spec, strings.Join(got, " "), c.want)
		}
	}
}

// The oracle must be able to find faults: it is given schedulers that have them.
func TestOracleFindsFaults(t *testing.T) {
	days := calendar()
	found := func(w *window, s *cronSpec, judged scheduler) bool {
		var a account
		a.compare(w, s.text, judged, w.dueTimes(nil, s, w.from, w.to), w.from, w.to, false)
		return a.differences > 0
	}

	// The cron library's own times: what it does at a change is known.
	parser := cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	for _, c := range []struct {
		zone     string
		from, to time.Time
		spec     string
		faulty   bool
	}{
		{"America/New_York", utc(2026, 3, 1), utc(2026, 4, 1), "30 2 * * *", true}, // leaves the day out
		{"America/New_York", utc(2026, 3, 1), utc(2026, 4, 1), "30 3 * * *", false},
		{"America/New_York", utc(2026, 3, 1), utc(2026, 4, 1), "30 * * * *", false},
		{"America/New_York", utc(2026, 11, 1), utc(2026, 12, 1), "30 1 * * *", true}, // comes twice
		{"America/New_York", utc(2026, 11, 1), utc(2026, 12, 1), "*/20 0-2 * * *", true},
		{"America/New_York", utc(2026, 11, 1), utc(2026, 12, 1), "30 2 * * *", false},
		{"America/New_York", utc(2026, 11, 1), utc(2026, 12, 1), "*/7 * * * *", false},
		{"America/Sao_Paulo", utc(2018, 11, 1), utc(2018, 12, 1), "@daily", true}, // no midnight
		{"America/Sao_Paulo", utc(2018, 11, 1), utc(2018, 12, 1), "0 12 * * *", false},
	} {
		s, err := readCron(c.spec, days)
		if err != nil {
			t.Fatal(err)
		}
		judged, err := parser.Parse("CRON_TZ=" + c.zone + " " + c.spec)
		if err != nil {
			t.Fatal(err)
		}
		if got := found(windowOf(t, c.zone, c.from, c.to), &s, judged); got != c.faulty {
			t.Errorf("%s in %s from %v: found a difference: %v, want %v", c.spec, c.zone, c.from, got, c.faulty)
		}
	}

	// The right times with one fault each.
	w := windowOf(t, "Europe/Berlin", utc(2026, 10, 1), utc(2026, 11, 1))
	s, err := readCron("30 0-4 * * *", days)
	if err != nil {
		t.Fatal(err)
	}
	var right []time.Time
	for _, at := range w.dueTimes(nil, &s, w.from, w.to+24*60*minute/2) {
		right = append(right, time.Unix(at, 0))
	}
	if len(right) < 15 {
		t.Fatalf("only %d times", len(right))
	}
	last := slices.IndexFunc(right, func(at time.Time) bool { return at.Unix() >= w.change.at })
	again := right[last-1].Add(time.Hour) // the repeated hour's other 02:30
	for name, c := range map[string]struct {
		list   []time.Time
		faulty bool
	}{
		"no fault":           {right, false},
		"one left out":       {slices.Delete(slices.Clone(right), last-1, last), true},
		"the first left out": {right[1:], true},
		"one too many":       {slices.Insert(slices.Clone(right), last, again), true},
		"the second of two":  {slices.Replace(slices.Clone(right), last-1, last, again), true},
		"a second late":      {slices.Replace(slices.Clone(right), last, last+1, right[last].Add(time.Second)), true},
		"not a whole second": {slices.Replace(slices.Clone(right), last, last+1, right[last].Add(time.Nanosecond)), true},
		"the end too early":  {right[:last], true},
		"nothing":            {nil, true},
	} {
		if got := found(w, &s, recited{c.list}); got != c.faulty {
			t.Errorf("%s: found a difference: %v, want %v", name, got, c.faulty)
		}
	}
}
