package schedule

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

func instant(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func compile(t testing.TB, s task.Schedule) *Rule {
	t.Helper()
	r, err := new(Zones).Compile(s, instant(t, "2026-01-01T00:00:00Z"))
	if err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
	return r
}

// upTo asks for n times, one after the other, until there is none.
func upTo(r *Rule, after time.Time, n int) []string {
	var list []string
	for range n {
		if after = r.Next(after); after.IsZero() {
			return append(list, "none")
		}
		list = append(list, after.Format(time.RFC3339))
	}
	return list
}

func TestNextWhereClocksAreSet(t *testing.T) {
	for _, c := range []struct{ why, cron, zone, after, want string }{
		{"02:30 does not exist on 8 March: 02:00 EST is 03:00 EDT, the first instant after the gap",
			"30 2 * * *", "America/New_York", "2026-03-07T02:30:00-05:00", "2026-03-08T03:00:00-04:00 2026-03-09T02:30:00-04:00"},
		{"all four times of the missing hour are one due time, as is 03:00 itself",
			"0,15,30,45 2,3 * * *", "America/New_York", "2026-03-08T01:59:59-05:00", "2026-03-08T03:00:00-04:00 2026-03-08T03:15:00-04:00"},
		{"asked from within the second after the gap, the times of the gap are over",
			"30 2 * * *", "America/New_York", "2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"},
		{"asked from the last nanosecond before it, they are not",
			"30 2 * * *", "America/New_York", "2026-03-08T01:59:59.999999999-05:00", "2026-03-08T03:00:00-04:00"},
		{"01:30 comes twice on 1 November: the first, in EDT, is taken",
			"30 1 * * *", "America/New_York", "2026-10-31T01:30:00-04:00", "2026-11-01T01:30:00-04:00 2026-11-02T01:30:00-05:00"},
		{"asked from the second 01:15, which is before the second 01:30, today's is over",
			"30 1 * * *", "America/New_York", "2026-11-01T01:15:00-05:00", "2026-11-02T01:30:00-05:00"},
		{"02:00 comes once, an hour and a half after the first 00:30 plus the repeated hour",
			"0 1,2 * * *", "America/New_York", "2026-11-01T00:30:00-04:00", "2026-11-01T01:00:00-04:00 2026-11-01T02:00:00-05:00"},
		{"every hour follows the clock: both passes of 01:00 and 01:30",
			"*/30 * * * *", "America/New_York", "2026-11-01T00:45:00-04:00",
			"2026-11-01T01:00:00-04:00 2026-11-01T01:30:00-04:00 2026-11-01T01:00:00-05:00 2026-11-01T01:30:00-05:00 2026-11-01T02:00:00-05:00"},
		{"and nothing for the gap: 01:30 EST is followed by 03:00 EDT half an hour later",
			"*/30 * * * *", "America/New_York", "2026-03-08T01:15:00-05:00", "2026-03-08T01:30:00-05:00 2026-03-08T03:00:00-04:00"},
		{"30 minutes past each hour, and the gap moves none of them",
			"30 * * * *", "America/New_York", "2026-03-08T00:45:00-05:00", "2026-03-08T01:30:00-05:00 2026-03-08T03:30:00-04:00"},
		{"0-23 admits every hour as well",
			"30 0-23 * * *", "America/New_York", "2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00"},
		{"0-22 does not: the second pass is left out",
			"30 0-22 * * *", "America/New_York", "2026-11-01T01:30:00-04:00", "2026-11-01T02:30:00-05:00"},

		{"midnight was missing in Sao Paulo on 4 November 2018: 00:00 -03 is 01:00 -02",
			"0 0 * * *", "America/Sao_Paulo", "2018-11-03T00:00:00-03:00", "2018-11-04T01:00:00-02:00 2018-11-05T00:00:00-02:00"},
		{"and came after 23:00 had come twice on 17 February 2018: 24:00 -02 is 23:00 -03",
			"0 23 * * *", "America/Sao_Paulo", "2018-02-17T12:00:00-02:00", "2018-02-17T23:00:00-02:00 2018-02-18T23:00:00-03:00"},
		{"midnight of the 18th comes once, after both passes of 23:00",
			"0 0 * * *", "America/Sao_Paulo", "2018-02-17T23:30:00-02:00", "2018-02-18T00:00:00-03:00"},

		{"Lord Howe sets its clock by half an hour: 02:00 +10:30 is 02:30 +11",
			"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00+10:30", "2026-10-04T02:30:00+11:00 2026-10-05T02:15:00+11:00"},
		{"and back: 02:00 +11 is 01:30 +10:30, so 01:45 comes twice",
			"45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00+11:00", "2026-04-05T01:45:00+11:00 2026-04-06T01:45:00+10:30"},
		{"and who follows the clock is due both times, half an hour apart",
			"45 * * * *", "Australia/Lord_Howe", "2026-04-05T01:00:00+11:00", "2026-04-05T01:45:00+11:00 2026-04-05T01:45:00+10:30"},

		{"Samoa left out 30 December 2011: the 29th in -10 is followed by the 31st in +14",
			"0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00-10:00",
			"2011-12-29T12:00:00-10:00 2011-12-31T00:00:00+14:00 2011-12-31T12:00:00+14:00"},
		{"midnight of the 30th and of the 31st are the same instant",
			"0 0 * * *", "Pacific/Apia", "2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00 2012-01-01T00:00:00+14:00"},
		{"a Friday job: there was no Friday 30 December, it is due when Saturday begins",
			"0 12 * * fri", "Pacific/Apia", "2011-12-24T00:00:00-10:00", "2011-12-31T00:00:00+14:00 2012-01-06T12:00:00+14:00"},
		{"who follows the clock finds nothing in the missing day",
			"0 * 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00-10:00", "2012-12-30T00:00:00+14:00"},
		{"Kwajalein left out 21 August 1993: the 20th in -12 is followed by the 22nd in +12",
			"30 6 * * *", "Pacific/Kwajalein", "1993-08-20T06:30:00-12:00", "1993-08-22T00:00:00+12:00 1993-08-22T06:30:00+12:00"},
		{"Manila had 31 December 1844 left out, in odd seconds: -15:56:08 became +8:03:52",
			"0 12 31 12 *", "Asia/Manila", "1844-12-01T00:00:00Z", "1844-12-31T15:56:08Z"},

		{"Dublin's winter is negative daylight saving time: 01:00 GMT is 02:00 IST on 29 March",
			"30 1 * * *", "Europe/Dublin", "2026-03-28T12:00:00Z", "2026-03-29T02:00:00+01:00 2026-03-30T01:30:00+01:00"},
		{"and 02:00 IST is 01:00 GMT on 25 October",
			"30 1 * * *", "Europe/Dublin", "2026-10-24T12:00:00+01:00", "2026-10-25T01:30:00+01:00 2026-10-26T01:30:00Z"},
		{"Morocco goes back for Ramadan, on 15 February 2026, at 03:00 +01, and ahead on 22 March at 02:00 +00",
			"30 2 * * *", "Africa/Casablanca", "2026-02-14T12:00:00+01:00", "2026-02-15T02:30:00+01:00 2026-02-16T02:30:00Z"},
		{"in Western Sahara, too: 02:30 is missing on 22 March",
			"30 2 * * *", "Africa/El_Aaiun", "2026-03-21T12:00:00Z", "2026-03-22T03:00:00+01:00 2026-03-23T02:30:00+01:00"},
		{"Troll goes ahead by two hours at 01:00 UTC on 29 March: 02:00 does not exist",
			"0 2 * * *", "Antarctica/Troll", "2026-03-28T12:00:00Z", "2026-03-29T03:00:00+02:00 2026-03-30T02:00:00+02:00"},
		{"before 1893 Berlin was 53 minutes and 28 seconds ahead: 00:00 was 23:06:32 in Greenwich",
			"0 0 * * *", "Europe/Berlin", "1892-05-01T12:00:00Z", "1892-05-02T00:00:00+00:53"},
		{"Toronto's clock went from 23:30 to 00:30 on 30 March 1919: midnight of the 31st is due at 00:30",
			"0 0 * * *", "America/Toronto", "1919-03-30T12:00:00Z", "1919-03-31T00:30:00-04:00"},
		{"Tehran's went from 00:00 to 01:00 on 22 March 2021",
			"30 0 * * *", "Asia/Tehran", "2021-03-21T12:00:00Z", "2021-03-22T01:00:00+04:30"},
		{"Kathmandu's from 00:00 +05:30 to 00:15 +05:45 in 1986",
			"10 0 * * *", "Asia/Kathmandu", "1985-12-31T12:00:00Z", "1986-01-01T00:15:00+05:45"},
		{"Pyongyang's from 23:30 +08:30 to 00:00 +09 on 4 May 2018: 23:45 is due as the 5th begins",
			"45 23 * * *", "Asia/Pyongyang", "2018-05-04T12:00:00+08:30", "2018-05-05T00:00:00+09:00 2018-05-05T23:45:00+09:00"},

		{"the last day of a leap year by a rule beyond the zone's list",
			"0 12 31 12 *", "America/New_York", "2044-12-31T11:00:00-05:00", "2044-12-31T12:00:00-05:00 2045-12-31T12:00:00-05:00"},
		{"29 February is eight years away when 2100 lies between",
			"0 0 29 2 *", "UTC", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z 2108-02-29T00:00:00Z"},
		{"also for who follows the clock",
			"0 * 29 2 *", "Europe/Berlin", "2096-02-29T23:00:00+01:00", "2104-02-29T00:00:00+01:00"},
		{"there is no 30 February", "0 0 30 2 *", "Europe/Berlin", "2026-01-01T00:00:00Z", "none"},
		{"nor for who follows the clock", "0 * 31 4,6,9,11 *", "Europe/Berlin", "2026-01-01T00:00:00Z", "none"},

		{"seconds come first", "10,40 30 2 * * *", "UTC", "2026-05-01T02:30:10Z", "2026-05-01T02:30:40Z 2026-05-02T02:30:10Z"},
		{"7 is Sunday: 3 May 2026", "0 9 * * 7", "UTC", "2026-05-01T00:00:00Z", "2026-05-03T09:00:00Z 2026-05-10T09:00:00Z"},
		{"5-7 are Friday the 1st to Sunday", "0 9 * * 5-7", "UTC", "2026-05-01T00:00:00Z", "2026-05-01T09:00:00Z 2026-05-02T09:00:00Z 2026-05-03T09:00:00Z 2026-05-08T09:00:00Z"},
		{"so are fri-sun", "0 9 * * fri-sun", "UTC", "2026-05-02T10:00:00Z", "2026-05-03T09:00:00Z 2026-05-08T09:00:00Z"},
		{"1-7/2 are Monday, Wednesday, Friday and Sunday", "0 9 * * 1-7/2", "UTC", "2026-05-01T10:00:00Z", "2026-05-03T09:00:00Z 2026-05-04T09:00:00Z 2026-05-06T09:00:00Z"},
		{"1-7 in another field is no Sunday", "0 9 1-7 * *", "UTC", "2026-05-06T10:00:00Z", "2026-05-07T09:00:00Z 2026-06-01T09:00:00Z"},
		{"nor are the minutes 5-7", "5-7 9 * * *", "UTC", "2026-05-06T09:05:00Z", "2026-05-06T09:06:00Z 2026-05-06T09:07:00Z 2026-05-07T09:05:00Z"},
		{"the day of the month or of the week: Friday the 1st, Monday the 4th", "0 9 1,15 * mon", "UTC", "2026-05-01T00:00:00Z", "2026-05-01T09:00:00Z 2026-05-04T09:00:00Z 2026-05-11T09:00:00Z 2026-05-15T09:00:00Z"},
		{"a question mark is a star", "0 9 ? * mon", "UTC", "2026-05-01T00:00:00Z", "2026-05-04T09:00:00Z"},
		{"blanks around do not matter", "  @weekly\t", "UTC", "2026-05-01T00:00:00Z", "2026-05-03T00:00:00Z"},
	} {
		r := compile(t, task.Schedule{Cron: c.cron, Timezone: c.zone})
		want := strings.Fields(c.want)
		after := instant(t, c.after)
		for _, w := range want {
			next := r.Next(after)
			got := "none"
			if !next.IsZero() {
				got = next.Format(time.RFC3339)
			}
			if same := w != "none" && !next.IsZero() && next.Equal(instantOr(w)); got != w && !same {
				t.Errorf("%s:\n%s in %s after %s is due at %s, want %s", c.why, c.cron, c.zone, after.Format(time.RFC3339Nano), got, w)
			}
			if next.IsZero() {
				break
			}
			if before := r.Before(next.Add(1)); !before.Equal(next) {
				t.Errorf("%s in %s: %s is due, but the newest before a nanosecond later is %s", c.cron, c.zone, got, before)
			}
			after = next
		}
	}
}

func instantOr(text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return at
}

func TestNextOfTheOtherKinds(t *testing.T) {
	for _, c := range []struct {
		why   string
		s     task.Schedule
		after string
		want  string
	}{
		{"once", task.Schedule{At: "2026-12-24T18:00", Timezone: "Europe/Berlin"}, "2026-01-01T00:00:00Z", "2026-12-24T18:00:00+01:00 none"},
		{"not at the time itself", task.Schedule{At: "2026-12-24T18:00", Timezone: "Europe/Berlin"}, "2026-12-24T17:00:00Z", "none"},
		{"an offset is stronger than the zone", task.Schedule{At: "2026-12-24T18:00:30-05:00", Timezone: "Europe/Berlin"}, "2026-01-01T00:00:00Z", "2026-12-25T00:00:30+01:00 none"},
		{"a day alone is its midnight", task.Schedule{At: "2026-12-24", Timezone: "Europe/Berlin"}, "2026-01-01T00:00:00Z", "2026-12-24T00:00:00+01:00 none"},
		{"a moment in a gap", task.Schedule{At: "2026-03-29 02:30", Timezone: "Europe/Berlin"}, "2026-01-01T00:00:00Z", "2026-03-29T03:00:00+02:00 none"},
		{"a moment that comes twice", task.Schedule{At: "2026-10-25T02:30", Timezone: "Europe/Berlin"}, "2026-01-01T00:00:00Z", "2026-10-25T02:30:00+02:00 none"},
		{"its second pass, by offset", task.Schedule{At: "2026-10-25T02:30+01:00", Timezone: "Europe/Berlin"}, "2026-01-01T00:00:00Z", "2026-10-25T02:30:00+01:00 none"},

		{"a rate from when it was saved", task.Schedule{Rate: 15 * time.Minute, Timezone: "UTC"}, "2026-01-01T00:00:00Z", "2026-01-01T00:15:00Z 2026-01-01T00:30:00Z"},
		{"nothing before the anchor, which is the first", task.Schedule{Rate: time.Hour, Anchor: "2026-06-01T00:20", Timezone: "UTC"}, "2026-01-01T00:00:00Z", "2026-06-01T00:20:00Z 2026-06-01T01:20:00Z"},
		{"a rate counts real time across 29 March", task.Schedule{Rate: 24 * time.Hour, Anchor: "2026-03-28T12:00", Timezone: "Europe/Berlin"}, "2026-03-28T12:00:00+01:00", "2026-03-29T13:00:00+02:00 2026-03-30T13:00:00+02:00"},
		{"far from the anchor", task.Schedule{Rate: 7 * time.Second, Anchor: "1970-01-01", Timezone: "UTC"}, "2286-11-20T17:46:40Z", "2286-11-20T17:46:43Z"}, // 10^10 s is 4 more than a multiple of 7

		{"a delay has no times of its own", task.Schedule{Delay: time.Hour, Timezone: "UTC"}, "2026-01-01T00:00:00Z", "none"},

		{"nothing before start, which is a possible time", task.Schedule{Cron: "0 0 * * *", Start: "2026-02-01", Timezone: "Europe/Berlin"}, "2026-01-01T00:00:00Z", "2026-02-01T00:00:00+01:00 2026-02-02T00:00:00+01:00"},
		{"nothing from the end on", task.Schedule{Cron: "0 0 * * *", End: "2026-02-03", Timezone: "Europe/Berlin"}, "2026-02-01T12:00:00Z", "2026-02-02T00:00:00+01:00 none"},
		{"no rate before start, in its rhythm", task.Schedule{Rate: time.Hour, Anchor: "2026-01-01T00:10", Start: "2026-02-01", Timezone: "UTC"}, "2026-01-01T00:00:00Z", "2026-02-01T00:10:00Z"},

		{"excluded days, of each year and of one", task.Schedule{Cron: "0 18 * * *", Exclude: []string{"12-25", "2026-12-30..2027-01-02", "2026-12-29"}, Timezone: "Europe/Berlin"}, "2026-12-24T12:00:00Z",
			"2026-12-24T18:00:00+01:00 2026-12-26T18:00:00+01:00 2026-12-27T18:00:00+01:00 2026-12-28T18:00:00+01:00 2027-01-03T18:00:00+01:00"},
		{"the end counts beside excluded days, too", task.Schedule{Cron: "0 18 * * *", Exclude: []string{"2026-12-25"}, End: "2026-12-26T18:00", Timezone: "UTC"}, "2026-12-24T12:00:00Z", "2026-12-24T18:00:00Z none"},
		{"the day is that of the zone", task.Schedule{Rate: 6 * time.Hour, Anchor: "2026-01-01T00:00Z", Exclude: []string{"2026-07-04"}, Timezone: "Pacific/Auckland"}, "2026-07-03T06:00:00Z", // in +12
			"2026-07-04T12:00:00Z 2026-07-04T18:00:00Z"},
		{"a day is left out in one go", task.Schedule{Rate: time.Second, Exclude: []string{"2026-01-01..2095-12-31"}, Timezone: "Europe/Berlin"}, "2026-01-01T00:00:00Z", "2096-01-01T00:00:00+01:00"},
		{"where a gap moves a time to the next day, that day counts", task.Schedule{Cron: "45 23 * * *", Exclude: []string{"2018-05-04"}, Timezone: "Asia/Pyongyang"}, "2018-05-04T00:00:00Z", "2018-05-05T00:00:00+09:00"},
		{"and if that is excluded, it is", task.Schedule{Cron: "45 23 * * *", Exclude: []string{"2018-05-05"}, Timezone: "Asia/Pyongyang"}, "2018-05-04T00:00:00Z", "2018-05-06T23:45:00+09:00"},
		{"who follows the clock into a day, back out of it and into it again: St. John's went from 00:01 to 23:01 on 2 November 2008",
			task.Schedule{Cron: "*/20 * * * *", Exclude: []string{"2008-11-02"}, Timezone: "America/St_Johns"}, "2008-11-01T23:30:00-02:30",
			"2008-11-01T23:40:00-02:30 2008-11-01T23:20:00-03:30 2008-11-01T23:40:00-03:30 2008-11-03T00:00:00-03:30"},
		{"29 February of each year", task.Schedule{Cron: "0 0 28,29 2 *", Exclude: []string{"02-29"}, Timezone: "UTC"}, "2028-02-01T00:00:00Z", "2028-02-28T00:00:00Z 2029-02-28T00:00:00Z"},
		{"a day that only a leap year leaves, and on a Monday: 2044", task.Schedule{Cron: "0 0 * 2 mon", Exclude: februaryButLeapDay(), Timezone: "UTC"}, "2026-01-01T00:00:00Z", "2044-02-29T00:00:00Z 2072-02-29T00:00:00Z"},
		{"an excluded single time", task.Schedule{At: "2026-12-24T18:00", Exclude: []string{"12-24"}, Timezone: "UTC"}, "2026-01-01T00:00:00Z", "none"},
		{"everything excluded", task.Schedule{Cron: "0 0 25 12 *", Exclude: []string{"12-25"}, Timezone: "UTC"}, "2026-01-01T00:00:00Z", "none"},
	} {
		want := strings.Fields(c.want)
		got := upTo(compile(t, c.s), instant(t, c.after), len(want))
		for i := range want {
			if i >= len(got) || got[i] != want[i] && (want[i] == "none" || !instantOr(got[i]).Equal(instantOr(want[i]))) {
				t.Errorf("%s: %v, want %v", c.why, got, want)
				break
			}
		}
	}
}

func februaryButLeapDay() (list []string) {
	for dom := 1; dom <= 28; dom++ {
		list = append(list, time.Date(2026, 2, dom, 0, 0, 0, 0, time.UTC).Format("01-02"))
	}
	return list
}

// The deadline of an expectation is a wall-clock time as that of a cron spec.
func TestDeadlines(t *testing.T) {
	r, err := new(Zones).CompileExpect(task.Expect{By: "02:30", Days: "sat-sun", Timezone: "Europe/Berlin"})
	if err != nil {
		t.Fatal(err)
	}
	from := instant(t, "2026-03-27T12:00:00Z") // a Friday; the clock goes ahead on Sunday
	first := r.Next(from)
	second := r.Next(first)
	if !first.Equal(instant(t, "2026-03-28T02:30:00+01:00")) || !second.Equal(instant(t, "2026-03-29T03:00:00+02:00")) {
		t.Errorf("due at %v and %v", first, second)
	}
	if before := r.Before(second); !before.Equal(first) {
		t.Errorf("before %v: %v", second, before)
	}
	if before := r.Before(first); !before.Equal(instant(t, "2026-03-22T02:30:00+01:00")) {
		t.Errorf("before %v: %v", first, before)
	}
	every, err := new(Zones).CompileExpect(task.Expect{By: "06:00:30", Timezone: "UTC"})
	if err != nil {
		t.Fatal(err)
	}
	if got := every.Before(from); !got.Equal(instant(t, "2026-03-27T06:00:30Z")) {
		t.Errorf("every day: %v", got)
	}
}

func TestBeforeLooksBackABoundedTime(t *testing.T) {
	leap := compile(t, task.Schedule{Cron: "0 0 29 2 *", Timezone: "UTC"})
	if got := leap.Before(instant(t, "2104-02-29T00:00:00Z")); !got.Equal(instant(t, "2096-02-29T00:00:00Z")) {
		t.Errorf("the leap day before 2104: %v", got)
	}
	started := compile(t, task.Schedule{Cron: "0 0 * * *", Timezone: "UTC", Start: "2026-05-01"})
	if got := started.Before(instant(t, "2026-05-01T00:00:00Z")); !got.IsZero() {
		t.Errorf("before the start: %v", got)
	}
	ended := compile(t, task.Schedule{Cron: "0 0 * * *", Timezone: "UTC", End: "2026-05-01"})
	if got := ended.Before(instant(t, "2027-01-01T00:00:00Z")); !got.Equal(instant(t, "2026-04-30T00:00:00Z")) {
		t.Errorf("after the end: %v", got)
	}
}

func TestAdmitMovesWhatIsExcluded(t *testing.T) {
	r := compile(t, task.Schedule{Delay: time.Hour, Timezone: "Europe/Berlin", Start: "2026-05-01", End: "2026-05-10", Exclude: []string{"2026-05-03..2026-05-04"}})
	for _, c := range [][2]string{
		{"2026-04-01T00:00:00Z", "2026-05-01T00:00:00+02:00"},
		{"2026-05-02T13:00:00Z", "2026-05-02T13:00:00Z"},
		{"2026-05-02T13:00:00.5Z", "2026-05-02T13:00:01Z"},
		{"2026-05-03T13:00:00Z", "2026-05-05T00:00:00+02:00"},
		{"2026-05-10T00:00:00+02:00", ""},
	} {
		got := r.Admit(instant(t, c[0]))
		if c[1] == "" && !got.IsZero() || c[1] != "" && !got.Equal(instant(t, c[1])) {
			t.Errorf("%s is admitted at %v, want %s", c[0], got, c[1])
		}
	}
}

func TestDueIsTheSameWheneverItIsAskedFor(t *testing.T) {
	nominal := instant(t, "2026-05-01T02:30:00Z")
	r := compile(t, task.Schedule{Cron: "30 2 * * *", Timezone: "UTC", Jitter: 10 * time.Minute})
	due := r.Due("backup", "cron", nominal)
	// Computed by hand from the SHA-256 of the names and the time. Another value would move due times that cursors
	// hold already.
	const wantJitter = 459442 * time.Millisecond
	if want := nominal.Add(wantJitter); !due.Equal(want) {
		t.Errorf("due %v, want %v", due.Sub(nominal), wantJitter)
	}
	if again := compile(t, task.Schedule{Cron: "30 2 * * *", Timezone: "Asia/Tokyo", Jitter: 10 * time.Minute}).Due("backup", "cron", nominal.In(time.FixedZone("x", 3600))); !again.Equal(due) {
		t.Errorf("then %v, now %v", due, again)
	}
	if r.Due("backu", "pcron", nominal).Equal(due) {
		t.Error("the names run together")
	}
	if got := compile(t, task.Schedule{Cron: "30 2 * * *", Timezone: "UTC"}).Due("backup", "cron", nominal); !got.Equal(nominal) {
		t.Errorf("without jitter: %v", got)
	}
	// Tasks with the same times are spread evenly: each tenth of the jitter gets about a tenth of them.
	var tenths [10]int
	for i := range 10000 {
		late := r.Due("task-"+time.Duration(i).String(), "cron", nominal).Sub(nominal)
		if late < 0 || late >= 10*time.Minute || late%time.Millisecond != 0 {
			t.Fatalf("jitter %v", late)
		}
		tenths[late/time.Minute]++
	}
	for i, n := range tenths {
		if n < 850 || n > 1150 {
			t.Errorf("%d of 10000 are due in minute %d", n, i)
		}
	}
}

func TestCompileSaysWhatIsWrong(t *testing.T) {
	_, err := new(Zones).Compile(task.Schedule{Name: "night", Cron: "30 24 * * *", Timezone: "UTC"}, time.Time{})
	if !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), "schedule night: cron has the hour 24") {
		t.Error(err)
	}
	_, err = new(Zones).CompileExpect(task.Expect{By: "24:00", Timezone: "UTC"})
	if !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), "expect: by has the hour 24") {
		t.Error(err)
	}
}

// Times beyond all calendars neither panic nor go on for ever.
func TestNextOfOddTimes(t *testing.T) {
	for _, s := range []task.Schedule{{Cron: "* * * * *"}, {Cron: "0 0 29 2 *"}, {Cron: "0 5 * * *"}, {Rate: time.Second}, {Rate: 1<<63 - 1 - (1<<63-1)%time.Second}, {At: "2026-01-01"},
		{Cron: "0 5 * * *", Exclude: []string{"1900-01-01..2999-12-31"}}} {
		s.Timezone = "Europe/Berlin"
		r := compile(t, s)
		for _, at := range []time.Time{{}, time.Unix(1<<62, 0), time.Unix(-1<<62, 0), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC)} {
			if next := r.Next(at); !next.IsZero() && !next.After(at) {
				t.Errorf("%+v after %v: %v", s, at, next)
			}
			r.Before(at)
			r.Admit(at)
		}
	}
}
