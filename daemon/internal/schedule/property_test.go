package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stepd/stepd/daemon/internal/task"
)

// drawField draws a field of a spec as people write them.
func drawField(t *rapid.T, low, high int) string {
	var items []string
	for range rapid.IntRange(1, 3).Draw(t, "items") {
		a := rapid.IntRange(low, high).Draw(t, "a")
		b := rapid.IntRange(a, high).Draw(t, "b")
		step := rapid.IntRange(1, high-low).Draw(t, "step")
		items = append(items, rapid.SampledFrom([]string{"*", fmt.Sprint(a), fmt.Sprintf("%d-%d", a, b), fmt.Sprintf("*/%d", step),
			fmt.Sprintf("%d-%d/%d", a, b, step), fmt.Sprintf("%d/%d", a, step)}).Draw(t, "item"))
	}
	return strings.Join(items, ",")
}

func drawCron(t *rapid.T) string {
	fields := []string{drawField(t, 0, 59), drawField(t, 0, 23), drawField(t, 1, 31), drawField(t, 1, 12), drawField(t, 0, 7)}
	for i := range fields {
		if rapid.Bool().Draw(t, "star") {
			fields[i] = "*"
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "seconds") == 0 {
		fields = append([]string{drawField(t, 0, 59)}, fields...)
	}
	return strings.Join(fields, " ")
}

func drawSchedule(t *rapid.T) task.Schedule {
	s := task.Schedule{Name: "s", Timezone: rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia",
		"America/Sao_Paulo", "Africa/Casablanca", "Europe/Dublin", "Antarctica/Troll", "America/St_Johns", "Asia/Tehran"}).Draw(t, "zone")}
	if rapid.IntRange(0, 5).Draw(t, "rate") == 0 {
		s.Rate = time.Duration(rapid.IntRange(1, 200000).Draw(t, "seconds")) * time.Second
	} else {
		s.Cron = drawCron(t)
	}
	s.Jitter = time.Duration(rapid.IntRange(0, 100000).Draw(t, "jitter")) * time.Millisecond
	for range rapid.IntRange(0, 3).Draw(t, "excluded") {
		day := instantOr("2005-01-01T00:00:00Z").AddDate(0, 0, rapid.IntRange(0, 30*366).Draw(t, "day"))
		s.Exclude = append(s.Exclude, rapid.SampledFrom([]string{day.Format("01-02"), day.Format("2006-01-02"), day.Format("2006-01-02") + ".." + day.AddDate(0, 1, 0).Format("2006-01-02")}).Draw(t, "item"))
	}
	return s
}

func TestNextAndBeforeAreInverse(t *testing.T) {
	var zones Zones
	rapid.Check(t, func(t *rapid.T) {
		s := drawSchedule(t)
		r, err := zones.Compile(s, instantOr("2004-05-06T07:08:09Z"))
		if err != nil {
			t.Fatal(s, err)
		}
		after := time.Unix(rapid.Int64Range(unix(2005), unix(2040)).Draw(t, "after"), rapid.Int64Range(0, 999999999).Draw(t, "nanoseconds"))
		last := time.Time{}
		for range 20 {
			next := r.Next(after)
			if next.IsZero() {
				return
			}
			if !next.After(after) || next.Nanosecond() != 0 {
				t.Fatalf("%+v after %v: %v", s, after, next)
			}
			if again := r.Next(next.Add(-1)); !again.Equal(next) {
				t.Fatalf("%+v: %v, but a nanosecond before it %v", s, next, again)
			}
			if before := r.Before(next.Add(1)); !before.Equal(next) {
				t.Fatalf("%+v: %v is not the newest a nanosecond later, but %v", s, next, before)
			}
			if before := r.Before(next); !last.IsZero() && !before.Equal(last) {
				t.Fatalf("%+v: before %v comes %v, by Next it is %v", s, next, before, last)
			}
			// Between two nominal times there is none, wherever one asks from.
			middle := after.Add(next.Sub(after) / 2)
			if !r.Next(middle).Equal(next) {
				t.Fatalf("%+v: after %v and after %v is not the same", s, after, middle)
			}
			if due := r.Due("t", s.Name, next); due.Before(next) || s.Jitter > 0 && !due.Before(next.Add(max(s.Jitter, time.Millisecond))) || s.Jitter == 0 && !due.Equal(next) {
				t.Fatalf("%+v: %v is due %v", s, next, due)
			}
			if s.Cron != "" {
				agrees(t, s, r, next)
			}
			after, last = next, next
		}
	})
}

// agrees holds a nominal time against the words of the rule, without its arithmetic: the clock shows a matching time,
// unless it was just set ahead over one.
func agrees(t *rapid.T, s task.Schedule, r *Rule, next time.Time) {
	c, faults := parseCron(s.Cron)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	matches := func(at time.Time) bool {
		has := func(field, value int) bool { return c.fields[field].bits()&(1<<value) != 0 }
		dow := has(dowField, int(at.Weekday())) || at.Weekday() == time.Sunday && has(dowField, 7)
		dom := has(domField, at.Day())
		days := dom || dow
		if c.fields[domField].open() || c.fields[dowField].open() {
			days = dom && dow
		}
		return days && has(secondField, at.Second()) && has(minuteField, at.Minute()) && has(hourField, at.Hour()) && has(monthField, int(at.Month()))
	}
	if matches(next) {
		return
	}
	_, before := next.Add(-1).Zone()
	_, now := next.Zone()
	if c.follows || now <= before {
		t.Fatalf("%+v: due at %v", s, next)
	}
	for wall := next.UTC().Add(time.Duration(before) * time.Second); wall.Before(next.UTC().Add(time.Duration(now) * time.Second)); wall = wall.Add(time.Second) {
		if matches(wall) {
			return
		}
	}
	t.Fatalf("%+v: due at %v, behind a gap in which it is not", s, next)
}

// What the library reads is what the spec says.
func TestTheLibraryReadsWhatIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := drawCron(t)
		c, faults := parseCron(text)
		if len(faults) > 0 {
			t.Fatal(text, faults)
		}
		const star = 1 << 63
		dow := c.fields[dowField].bits()
		for i, got := range []uint64{c.spec.Second, c.spec.Minute, c.spec.Hour, c.spec.Dom, c.spec.Month, c.spec.Dow} {
			want := c.fields[i].bits()
			if i == dowField {
				want = dow&^(1<<7) | dow>>7&1
			}
			if got&^star != want || got&star != 0 != c.fields[i].open() {
				t.Fatalf("%s: field %d is %b, want %b", text, i, got, want)
			}
		}
	})
}
