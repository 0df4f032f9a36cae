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
func (a *account) report(t *testing.T) {
	t.Helper()
	if a.differences > 0 {
		var texts []string
		for _, d := range a.first {
			texts = append(texts, d.text)
		}
		t.Errorf("%d differences, of which the first are:\n%s", a.differences, strings.Join(texts, "\n"))
	}
}

// kinds of changes: those of all zones, without those that look the same. What
// it returns are the places in zones[i].changes that are left of them.
//
// Two look the same when the zones' clocks go by the same offsets at all
// instants of their windows. When a spec is due there follows from these alone,
// as the rules ask for nothing else of a zone, so that it is enough to ask one
// of the zones. TestMoments asks all of them by their own names.
func kinds(zones []zone) [][]int {
	seen := map[string]bool{}
	left := make([][]int, len(zones))
	for z := range zones {
		for i := range zones[z].changes {
			key := fmt.Sprint(zones[z].changes[i], windowChanges(zones[z].changes, i))
			if !seen[key] {
				seen[key] = true
				left[z] = append(left[z], i)
			}
		}
	}
	return left
}

// around narrows a window for specs that come so often that whole days of them
// show nothing that the hours, or minutes, beside the change do not.
func around(w *window, s *cronSpec) (from, to int64) {
	var near int64
	switch often := s.perDay(); {
	case often <= 96:
		return w.from, w.to
	case often <= minutesOfDay:
		near = 6*60*minute + max(w.change.shift(), -w.change.shift())
	default:
		near = 10 * minute
	}
	return max(w.from, w.change.at-near), min(w.to, w.change.at+near)
}

// compare walks the scheduler over the window and looks whether it is due when it should be: want, in
// [from, to). It then asks from moments in between, of which a walk sees none.
func (a *account) compare(w *window, what string, s scheduler, want []int64, from, to int64) {
	a.lists++
	a.instants += len(want)
	at := from - 1
	for i := 0; ; i++ {
		next := s.Next(time.Unix(at, 0))
		a.asked++
		got := next.Unix()
		over := i == len(want)
		if next.Nanosecond() == 0 && (over && got >= to || !over && got == want[i]) {
			if over {
				break
			}
			at = got
			continue
		}
		a.differ(what, "%s", w.explain(what, want, from, to, i, next, s))
		return
	}

	shift := max(w.change.shift(), -w.change.shift())
	c := w.change.at
	for _, after := range [...]int64{c - shift - 1, c - shift, c - shift/2 - 1, c - 1, c, c + 1, c + shift/2 + 17, c + shift - 1, c + shift} {
		if after < from || after >= to {
			continue
		}
		i, found := slices.BinarySearch(want, after)
		if found {
			i++
		}
		next := s.Next(time.Unix(after, 0))
		a.asked++
		got := next.Unix()
		if over := i == len(want); next.Nanosecond() != 0 || over && got < to || !over && got != want[i] {
			expected := "nothing before " + w.show(to)
			if !over {
				expected = w.show(want[i])
			}
			a.differ(what, "%v, %s: after %s\n\twant %s\n\tgot  %s (%v)", w, what, w.show(after), expected, w.show(got), next)
			return
		}
	}
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
func (a *account) compareSpecs(name string, windows []*window, specs []cronSpec, compile func(zone, spec string) (scheduler, error)) {
	var want []int64
	for i := range specs {
		s := &specs[i]
		rule, err := compile(name, s.text)
		if err != nil {
			a.differ(s.text, "%s, %s: want a rule, got: %v", name, s.text, err)
			continue
		}
		for _, w := range windows {
			from, to := around(w, s)
			want = w.dueTimes(want[:0], s, from, to)
			a.compare(w, s.text, rule, want, from, to)
		}
	}
}

// What the comparison must have held at least, so that it can not come to
// compare little without anybody noticing.
const (
	minChangingZones = 320
	minChanges       = 16_500
	minWindows       = 3_000
	minSpecs         = 500
	minInstants      = 30_000_000
)

func TestCronIsDueWhenTheClockSaysSo(t *testing.T) {
	zones := changingZones(t)
	changes := 0
	for _, z := range zones {
		changes += len(z.changes)
	}
	specs := oracleSpecs(t)
	left := kinds(zones)
	windows := 0
	var rules schedule.Zones
	var total account
	t.Run("in", func(t *testing.T) {
		for i, z := range zones {
			if len(left[i]) == 0 {
				continue
			}
			windows += len(left[i])
			t.Run(strings.ReplaceAll(z.name, "/", "_"), func(t *testing.T) {
				t.Parallel()
				var list []*window
				for _, change := range left[i] {
					list = append(list, newWindow(t, z, change))
				}
				var a account
				a.compareSpecs(z.name, list, specs, func(zone, spec string) (scheduler, error) {
					return rules.Compile(task.Schedule{Name: "cron", Cron: spec, Timezone: zone}, since())
				})
				total.add(&a)
			})
		}
	})
	total.report(t)

	t.Logf("%d zones, %d changes of %d kinds, %d specs: %d instants in %d lists; Next was asked %d times",
		len(zones), changes, windows, len(specs), total.instants, total.lists, total.asked)
	if len(zones) < minChangingZones || changes < minChanges || windows < minWindows ||
		len(specs) < minSpecs || total.instants < minInstants || total.lists != windows*len(specs) {
		t.Errorf("compared too little: want at least %d zones, %d changes of %d kinds, %d specs, %d instants, and each spec with each change",
			minChangingZones, minChanges, minWindows, minSpecs, minInstants)
	}
}
