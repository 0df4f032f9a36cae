package schedule_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/schedule"
	"github.com/stepd/stepd/daemon/internal/task"
)

// walls are the times that a clock leaves out or shows twice at a change: what
// is just before, the first, one in the middle, the last, and what is just
// behind.
func (c change) walls() [5]int64 {
	low, high := c.at+int64(min(c.before, c.after)), c.at+int64(max(c.before, c.after))
	return [...]int64{low - 1, low, low + (high-low)/2 + 1, high - 1, high}
}

// moment writes a wall-clock time, given in seconds, in one of the ways that a
// person may.
func moment(wall int64) string {
	t := time.Unix(wall, 0).UTC()
	switch {
	case t.Second() != 0:
		return t.Format("2006-01-02T15:04:05")
	case t.Minute() != 0:
		return t.Format("2006-01-02 15:04")
	case t.Hour() != 0:
		return t.Format("2006-01-02T15:04")
	}
	return t.Format(time.DateOnly)
}

// compile compiles a schedule in the window's zone, or in another that shows the same.
func (a *account) compile(rules *schedule.Zones, zone string, s task.Schedule, since time.Time) *schedule.Rule {
	s.Name, s.Timezone = "oracle", zone
	rule, err := rules.Compile(s, since)
	if err != nil {
		a.differ(fmt.Sprint(s), "%s, %+v: want a rule, got: %v", zone, s, err)
		return nil
	}
	return rule
}

// One time is due once at each change of each zone, whichever time it is.
func momentsOnce(rules *schedule.Zones, changes, kinds int) check {
	return check{"moments", 5*changes + 10*kinds, func(a *account, kinds []kind, windows []*window) {
		for i, w := range windows {
			for place, wall := range w.change.walls() {
				text, want := moment(wall), []int64{w.wallDue(wall)}
				what := fmt.Sprintf("at place %d of the change", place)
				for _, name := range kinds[i].names {
					if rule := a.compile(rules, name, task.Schedule{At: text}, since()); rule != nil {
						a.compare(w, what+": at "+text+" in "+name, rule, want, w.from, w.to, true)
					}
				}
				for _, offset := range [...]int{w.change.before, w.change.after} {
					text := time.Unix(wall, 0).In(time.FixedZone("", offset)).Add(-time.Duration(offset) * time.Second).Format(time.RFC3339)
					if rule := a.compile(rules, w.zone, task.Schedule{At: text}, since()); rule != nil {
						a.compare(w, "at "+text, rule, []int64{wall - int64(offset)}, w.from, w.to, true)
					}
				}
			}
		}
	}}
}

// Start and end are moments, too; an excluded day is one on which the time falls.
func startsEndsAndExcludedDays(t *testing.T, rules *schedule.Zones, days []day, kinds int) check {
	t.Helper()
	var specs []cronSpec
	for _, text := range []string{"*/20 * * * *", "10,30 0-4,22,23 * * *", "@daily", "30 30 2 * * *"} {
		s, err := readCron(text, days)
		if err != nil {
			t.Fatal(err)
		}
		specs = append(specs, s)
	}
	return check{"start, end and excluded days", 3 * kinds * len(specs), func(a *account, _ []kind, windows []*window) {
		for _, w := range windows {
			walls := w.change.walls()
			// The day on which what is left out falls, and the one of which it is.
			falls := w.shownAt(w.change.at).Format(time.DateOnly)
			meant := time.Unix(walls[1], 0).UTC().Format("01-02")
			for i := range specs {
				s := &specs[i]
				from, to := around(w, s)
				all := w.dueTimes(nil, s, from, to)

				start, end := w.wallDue(walls[2]), w.wallDue(walls[4]+30*minute)
				if rule := a.compile(rules, w.zone, task.Schedule{Cron: s.text, Start: moment(walls[2]), End: moment(walls[4] + 30*minute)}, since()); rule != nil {
					want := slices.DeleteFunc(slices.Clone(all), func(at int64) bool { return at < start || at >= end })
					a.compare(w, fmt.Sprintf("%s from %s to %s", s.text, moment(walls[2]), moment(walls[4]+30*minute)), rule, want, from, to, true)
				}
				for _, day := range [...]string{falls, meant} {
					if rule := a.compile(rules, w.zone, task.Schedule{Cron: s.text, Exclude: []string{day}}, since()); rule != nil {
						want := slices.DeleteFunc(slices.Clone(all), func(at int64) bool {
							shown := w.shownAt(at)
							return shown.Format(time.DateOnly) == day || shown.Format("01-02") == day
						})
						a.compare(w, s.text+" but not on "+day, rule, want, from, to, false)
					}
				}
			}
		}
	}}
}

// shownAt is what the clock shows at an instant, as if it were UTC.
func (w *window) shownAt(at int64) time.Time {
	return time.Unix(int64(w.shown[int32(at/minute)-w.start])*minute, 0).UTC()
}

// A fixed rate counts real time, whatever the clock is set to.
func ratesOfRealTime(rules *schedule.Zones, kinds int) check {
	return check{"fixed rates", 4 * kinds, func(a *account, _ []kind, windows []*window) {
		for _, w := range windows {
			wall := w.change.walls()[2]
			for _, c := range []struct {
				rate   time.Duration
				anchor string
				first  int64 // the first time of the rate
				since  int64
			}{
				{25 * time.Minute, "", w.change.at - 3600 + 7 + 25*minute, w.change.at - 3600 + 7},
				{24 * time.Hour, moment(wall), w.wallDue(wall), w.from},
				{24 * time.Hour, moment(w.change.at + int64(w.change.before) - 86400), w.change.at - 86400, w.from},
				{90 * time.Minute, time.Unix(w.from+77, 0).UTC().Format(time.RFC3339), w.from + 77, w.from},
			} {
				rule := a.compile(rules, w.zone, task.Schedule{Rate: c.rate, Anchor: c.anchor}, time.Unix(c.since, 0))
				if rule == nil {
					continue
				}
				var want []int64
				for at := c.first; at < w.to && len(want) < 40; at += int64(c.rate / time.Second) {
					want = append(want, at)
				}
				to := w.to
				if len(want) == 40 {
					to = want[39] + 1
				}
				a.compare(w, fmt.Sprintf("every %v, anchor %q, since %s", c.rate, c.anchor, w.show(c.since)), rule, want, c.first-1, to, false)
			}
		}
	}}
}

// Deadlines are wall-clock times of the days given, looked at in both directions.
func deadlines(t *testing.T, rules *schedule.Zones, days []day, kinds int) check {
	t.Helper()
	return check{"deadlines", 2 * kinds, func(a *account, _ []kind, windows []*window) {
		specs := map[string]cronSpec{} // zones set their clocks at few times of a day
		for _, w := range windows {
			by := time.Unix(w.change.walls()[2], 0).UTC()
			for _, on := range []string{"", "sun,tue-thu"} {
				what := fmt.Sprintf("expected by %s on %q", by.Format(time.TimeOnly), on)
				rule, err := rules.CompileExpect(task.Expect{By: by.Format(time.TimeOnly), Days: on, Timezone: w.zone})
				if err != nil {
					a.differ(what, "%v, %s: want a rule, got: %v", w, what, err)
					continue
				}
				if on == "" {
					on = "*"
				}
				text := fmt.Sprintf("%d %d %d * * %s", by.Second(), by.Minute(), by.Hour(), on)
				s, known := specs[text]
				if !known {
					if s, err = readCron(text, days); err != nil {
						t.Error(err)
						return
					}
					specs[text] = s
				}
				want := w.dueTimes(nil, &s, w.from, w.to)
				a.compare(w, what, rule, want, w.from, w.to, false)
				for i, at := range slices.Backward(want) {
					before := w.to
					if i+1 < len(want) {
						before = want[i+1]
					}
					if got := rule.Before(time.Unix(before, 0)); got.Unix() != at || got.Nanosecond() != 0 {
						a.differ(what, "%v, %s: before %s\n\twant %s\n\tgot  %s", w, what, w.show(before), w.show(at), w.show(got.Unix()))
					}
				}
			}
		}
	}}
}
