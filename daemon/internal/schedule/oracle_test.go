package schedule_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/schedule"
	"github.com/stepd/stepd/daemon/internal/task"
)

// A scheduler is what the oracle judges.
type scheduler interface {
	Next(after time.Time) time.Time
}

// since is a moment before all changes, of which schedules were saved.
func since() time.Time { return time.Date(1999, 6, 1, 0, 0, 0, 0, time.UTC) }

// account is what has been compared, and the differences that were found.
type account struct {
	mu                     sync.Mutex
	lists, instants, asked int
	differences            int
	first                  []difference // of different specs, so that one fault does not hide the others
}

type difference struct{ spec, text string }

const shownDifferences = 10

func (a *account) add(b *account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lists += b.lists
	a.instants += b.instants
	a.asked += b.asked
	a.differences += b.differences
	for _, d := range b.first {
		a.show(d)
	}
}

func (a *account) show(d difference) {
	if len(a.first) < shownDifferences && !slices.ContainsFunc(a.first, func(o difference) bool { return o.spec == d.spec }) {
		a.first = append(a.first, d)
	}
}

func (a *account) differ(spec, format string, args ...any) {
	a.differences++
	a.show(difference{spec, fmt.Sprintf(format, args...)})
}

// report fails the test if there were differences, and shows the first ones.
func (a *account) report(t *testing.T, name string) {
	t.Helper()
	if a.differences > 0 {
		var texts []string
		for _, d := range a.first {
			texts = append(texts, d.text)
		}
		t.Errorf("%s: %d differences, of which the first are:\n%s", name, a.differences, strings.Join(texts, "\n"))
	}
}

// kind is a change that may have come in several zones.
type kind struct {
	zone  zone // the first of them
	place int  // in its changes
	names []string
}

// kindsOf puts changes together that look the same: the zones' clocks go by the
// same offsets at all instants of their windows. When a spec is due there
// follows from these alone, as the rules ask for nothing else of a zone, so
// that it is enough to ask one of the zones. Moments are asked of all.
func kindsOf(zones []zone) []kind {
	places := map[string]int{}
	var list []kind
	for _, z := range zones {
		for i := range z.changes {
			key := fmt.Sprint(z.changes[i], windowChanges(z.changes, i))
			place, found := places[key]
			if !found {
				place = len(list)
				places[key] = place
				list = append(list, kind{zone: z, place: i})
			}
			list[place].names = append(list[place].names, z.name)
		}
	}
	return list
}

// byZone cuts the list where the zone changes.
func byZone(kinds []kind) [][]kind {
	var list [][]kind
	for i, k := range kinds {
		if i == 0 || kinds[i-1].zone.name != k.zone.name {
			list = append(list, nil)
		}
		list[len(list)-1] = append(list[len(list)-1], k)
	}
	return list
}

// check is something to compare at the changes of one zone.
type check struct {
	name  string
	lists int // that it compares at least
	run   func(a *account, kinds []kind, windows []*window)
}

// inEachZone makes the checks at all changes, in the zones that stand for their
// kinds, and returns the account of each check.
func inEachZone(t *testing.T, kinds []kind, checks []check) []account {
	t.Helper()
	totals := make([]account, len(checks))
	t.Run("in", func(t *testing.T) {
		for _, list := range byZone(kinds) {
			t.Run(strings.ReplaceAll(list[0].zone.name, "/", "_"), func(t *testing.T) {
				t.Parallel()
				var windows []*window
				for _, k := range list {
					windows = append(windows, newWindow(t, k.zone, k.place))
				}
				for i, c := range checks {
					var a account
					c.run(&a, list, windows)
					totals[i].add(&a)
				}
			})
		}
	})
	for i, c := range checks {
		total := &totals[i]
		total.report(t, c.name)
		t.Logf("%s: %d instants in %d lists; Next was asked %d times", c.name, total.instants, total.lists, total.asked)
		if total.lists < c.lists {
			t.Errorf("%s: compared too little: want at least %d lists", c.name, c.lists)
		}
	}
	return totals
}

// around narrows a window for specs that come so often that whole days of them
// show nothing that the hours, or minutes, beside the change do not.
func around(w *window, s *cronSpec) (from, to int64) {
	const hour = 60 * minute
	near := max(w.change.shift(), -w.change.shift())
	switch n := s.perDay(); {
	case n > minutesOfDay:
		near = 2 * minute
	case n > 96 && underRace:
		near += 5 * minute
	case n > 96:
		near += 6 * hour
	case underRace:
		near += hour
	default:
		return w.from, w.to
	}
	return max(w.from, w.change.at-near), min(w.to, w.change.at+near)
}

// compare walks the scheduler over [from, to) and looks whether it is due when
// it should be: want. With ends it is over then; otherwise it must go on. Of few
// times it also asks from the middle of what may be repeated hours.
func (a *account) compare(w *window, what string, s scheduler, want []int64, from, to int64, ends bool) {
	a.lists++
	a.instants += len(want)
	at := from - 1
	for i := 0; ; i++ {
		next := s.Next(time.Unix(at, 0))
		a.asked++
		if !right(next, want, i, to, ends) {
			a.differ(what, "%s", w.explain(what, want, from, to, i, next, s))
			return
		}
		if i == len(want) {
			break
		}
		at = want[i]
	}
	if underRace || len(want) > 24 {
		return
	}

	for _, after := range [...]int64{w.change.at - max(1, -w.change.shift()/2), w.change.at + max(1, -w.change.shift()/2)} {
		if after < from || after >= to {
			continue
		}
		i, found := slices.BinarySearch(want, after)
		if found {
			i++
		}
		next := s.Next(time.Unix(after, 0))
		a.asked++
		if !right(next, want, i, to, ends) {
			a.differ(what, "after %s: %s", w.show(after), w.explain(what, want, from, to, i, next, s))
			return
		}
	}
}

// right reports whether the time is the one that is to come: want[i], or one
// that is not before to.
func right(next time.Time, want []int64, i int, to int64, ends bool) bool {
	switch {
	case i < len(want):
		return next.Unix() == want[i] && next.Nanosecond() == 0
	case ends:
		return next.IsZero()
	}
	return next.Unix() >= to && next.Nanosecond() == 0
}

// explain shows both lists from where they part.
func (w *window) explain(what string, want []int64, from, to int64, i int, got time.Time, s scheduler) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%v, %s: between %s and %s", w, what, w.show(from), w.show(to))
	if i > 0 {
		fmt.Fprintf(&text, "\n\tboth %s", w.show(want[i-1]))
	}
	for _, at := range want[i:min(i+3, len(want))] {
		fmt.Fprintf(&text, "\n\twant %s, instant %s", w.show(at), time.Unix(at, 0).UTC().Format(time.RFC3339))
	}
	if i+3 >= len(want) {
		text.WriteString("\n\twant no others")
	}
	for range 3 {
		if got.IsZero() {
			text.WriteString("\n\tgot  the zero time: never again")
			break
		}
		fmt.Fprintf(&text, "\n\tgot  %s, instant %s", w.show(got.Unix()), got.UTC().Format(time.RFC3339Nano))
		next := s.Next(got)
		if !next.After(got) && !next.IsZero() {
			text.WriteString("\n\tgot  no later one, but " + next.UTC().Format(time.RFC3339Nano))
			break
		}
		got = next
	}
	return text.String()
}

// compareSpecs compares all specs over all windows of one zone.
func (a *account) compareSpecs(windows []*window, specs []cronSpec, compile func(zone, spec string) (scheduler, error)) {
	var want []int64
	for i := range specs {
		s := &specs[i]
		rule, err := compile(windows[0].zone, s.text)
		if err != nil {
			a.differ(s.text, "%s, %s: want a rule, got: %v", windows[0].zone, s.text, err)
			continue
		}
		for _, w := range windows {
			from, to := around(w, s)
			want = w.dueTimes(want[:0], s, from, to)
			a.compare(w, s.text, rule, want, from, to, false)
		}
	}
}

// What must have been compared at least, so that it can not come to be little
// without anybody noticing.
const (
	minChangingZones = 320
	minChanges       = 16_500
	minKinds         = 3_000
	minSpecs         = 400
	minInstants      = 20_000_000
	minInstantsRace  = 2_000_000 // of fewer hours: see underRace
)

func TestDueTimesAtEachChangeOfEachZone(t *testing.T) {
	zones := changingZones(t)
	changes := 0
	for _, z := range zones {
		changes += len(z.changes)
	}
	days := calendar()
	specs := oracleSpecs(t, days)
	kinds := kindsOf(zones)
	rules := new(schedule.Zones)
	totals := inEachZone(t, kinds, []check{
		{"cron specs", len(kinds) * len(specs), func(a *account, _ []kind, windows []*window) {
			a.compareSpecs(windows, specs, func(zone, spec string) (scheduler, error) {
				return rules.Compile(task.Schedule{Name: "cron", Cron: spec, Timezone: zone}, since())
			})
		}},
		momentsOnce(rules, changes, len(kinds)),
		startsEndsAndExcludedDays(t, rules, days, len(kinds)),
		ratesOfRealTime(rules, len(kinds)),
		deadlines(t, rules, days, len(kinds)),
	})

	t.Logf("%d zones, %d changes of %d kinds, %d cron specs", len(zones), changes, len(kinds), len(specs))
	instants := minInstants
	if underRace {
		instants = minInstantsRace
	}
	if len(zones) < minChangingZones || changes < minChanges || len(kinds) < minKinds || len(specs) < minSpecs || totals[0].instants < instants {
		t.Errorf("compared too little: want at least %d zones, %d changes of %d kinds, %d specs and %d instants of them",
			minChangingZones, minChanges, minKinds, minSpecs, instants)
	}
}
