package schedule

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Whatever somebody writes, Check says what is wrong with it or the schedule works, and a
// schedule that Check lets through is due at some time.
func FuzzSchedule(f *testing.F) {
	f.Add("30 2 * * *", "", int64(0), int64(0), "", "Europe/Berlin", "", "", int64(0), "", "once", int64(0), 0, "skip", int64(1700000000))
	f.Add("", "2026-12-24T18:00", int64(0), int64(0), "", "America/New_York", "2026-01-01", "2027-01-01", int64(1e9), "12-25,2026-12-24..2027-01-02", "all", int64(1e12), 5, "queue", int64(0))
	f.Add("", "", int64(15*time.Minute), int64(0), "2026-01-01T00:00Z", "UTC", "", "", int64(5e9), "", "", int64(0), 0, "", int64(-1))
	f.Add("", "", int64(0), int64(time.Hour), "", "Pacific/Apia", "", "2026-12-31", int64(0), "02-29", "skip", int64(-1), -1, "replace", int64(1<<62))
	f.Add("TZ=", "", int64(0), int64(0), "", "Local", "", "", int64(0), "", "", int64(0), 0, "", int64(0))
	f.Add("CRON_TZ=UTC", "", int64(0), int64(0), "", "", "", "", int64(0), "", "", int64(0), 0, "", int64(0))
	f.Add("@every 0s", "", int64(-1), int64(-1), "0000-00-00", "../x", "9999-99-99T99:99:99", "x", int64(-1), "..,-,99-99", "x", int64(1), 1, "x", int64(0))
	f.Add("*/9223372036854775807 0-59/61 1-7/2 ? jan-dec sun-7", "", int64(0), int64(0), "", "Etc/GMT+5", "", "", int64(0), "", "", int64(0), 0, "", int64(0))
	f.Add("0 0 12 1/5 * * 2026", "", int64(0), int64(0), "", "UTC+2", "", "", int64(0), "2026-12-24 to 2026-12-26", "", int64(0), 0, "", int64(0))
	var zones Zones
	f.Fuzz(func(t *testing.T, cron, at string, rate, delay int64, anchor, zone, start, end string, jitter int64, exclude, missed string, window int64, limit int, overlap string, now int64) {
		s := task.Schedule{Name: "s", Cron: cron, At: at, Rate: time.Duration(rate), Delay: time.Duration(delay), Anchor: anchor, Timezone: zone, Start: start, End: end,
			Jitter: time.Duration(jitter), Missed: task.Missed(missed), MissedWindow: time.Duration(window), MissedLimit: limit, Overlap: task.Overlap(overlap)}
		if exclude != "" {
			s.Exclude = strings.Split(exclude, ",")
		}
		texts := map[string]string{"cron": cron, "at": at, "anchor": anchor, "start": start, "end": end, "timezone": zone}
		when := time.Unix(now, 0)
		begun := time.Now()
		faults := zones.Check(s, when)
		for _, fault := range faults {
			if fault.Message == "" || !utf8.ValidString(fault.Message) || !utf8.ValidString(fault.Hint) || len(fault.Message) > 1000 || len(fault.Hint) > 1500 {
				t.Errorf("%+v: %+v", s, fault)
			}
			text, known := texts[fault.Field]
			if fault.Field == "exclude" && fault.Index >= 0 {
				text, known = s.Exclude[fault.Index], true
			}
			if known && (fault.Offset < 0 || fault.Offset > len(text)) {
				t.Errorf("%q: %+v", text, fault)
			}
		}
		_, err := ParseSpec(cron)
		_ = err // that it does not panic is enough
		zones.CheckExpect(task.Expect{By: at, Days: cron, Timezone: zone})
		explained, err := zones.Explain(s, "t", when, when, 3)
		if took := time.Since(begun); took > 5*time.Second {
			t.Fatalf("%+v takes %v", s, took)
		}
		if len(faults) > 0 {
			return
		}
		if err != nil {
			t.Fatalf("%+v is well, but %v", s, err)
		}
		if explained.Summary == "" || s.Delay == 0 && len(explained.Times) == 0 {
			t.Fatalf("%+v is well, but %+v", s, explained)
		}
	})
}
