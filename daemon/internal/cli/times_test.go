package cli

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/stepd/stepd/daemon/internal/api"
)

// The reason is what the table is read for: none of it is cut.
func TestReasonsThatDoNotFitStandBelow(t *testing.T) {
	head := []string{"TIME", "OUTCOME", "RUN", "WHY"}
	reason := "2 h 6 min late: the daemon was down, and the newest of the 3 times that were missed meanwhile was made up for"
	rows := [][]cell{
		{text("Wed 2026-11-25 02:30"), status("ran late"), text("backup/12"), text(reason)},
		{text("Tue 2026-11-24 02:30"), status("ran"), text("backup/11"), text("short")},
	}
	for room, want := range map[int]string{
		0: "TIME                  OUTCOME   RUN        WHY\n" +
			"Wed 2026-11-25 02:30  ran late  backup/12  " + reason + "\n" +
			"Tue 2026-11-24 02:30  ran       backup/11  short\n",
		80: "TIME                  OUTCOME   RUN        WHY\n" +
			"Wed 2026-11-25 02:30  ran late  backup/12\n" +
			"    2 h 6 min late: the daemon was down, and the newest of the 3 times that were\n" +
			"    missed meanwhile was made up for\n" +
			"Tue 2026-11-24 02:30  ran       backup/11  short\n",
	} {
		if got := layProse(painter{}, room, head, rows); got != want {
			t.Errorf("in %d columns:\n%s", room, got)
		}
	}
	for line := range strings.Lines(layProse(painter{}, 30, head, rows)) {
		if w := runewidth.StringWidth(strings.TrimRight(line, "\n")); w > 30 {
			t.Errorf("%d columns: %q", w, line)
		}
	}
}

func TestAheadNeverPromisesTooMuch(t *testing.T) {
	now := time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		-time.Hour: "now", 0: "now", 900 * time.Millisecond: "now", 42 * time.Second: "in 42 s", 59*time.Second + 900*time.Millisecond: "in 59 s",
		time.Minute: "in 1 min", 90*time.Second - 1: "in 1 min", 59*time.Minute + 50*time.Second: "in 1 h", 20*time.Hour + 30*time.Minute: "in 20 h 30 min",
		25*time.Hour + 29*time.Minute + 50*time.Second: "in 1 d 1 h", 7 * 24 * time.Hour: "in 7 days", 400 * 24 * time.Hour: "in 400 days", 4000 * 24 * time.Hour: "in 4,000 days",
	} {
		if got := ahead(now.Add(d), now); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestStampsNameAZoneOnlyWhereClocksDiffer(t *testing.T) {
	at := time.Date(2026, 11, 25, 2, 30, 0, 0, time.Local)
	if got, want := stamp(at, ""), "Wed 2026-11-25 02:30 "+at.Format("MST"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := stamp(at.Add(5*time.Second), "No/Such/Zone"); !strings.HasPrefix(got, "Wed 2026-11-25 02:30:05 ") || strings.Contains(got, "(") {
		t.Error(got)
	}
	utc := time.Date(2026, 11, 25, 2, 30, 0, 0, time.UTC)
	for _, name := range []string{"Asia/Kathmandu", "America/New_York"} { // one of them is not here
		if got := stamp(utc, name); elsewhere(utc, name) && !strings.HasSuffix(got, "("+name+")") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// 58 ms after 10:31 is something else than 58 ms after 10:31:25.
func TestNotesOfWhatIsNextHaveTheSeconds(t *testing.T) {
	at := time.Date(2026, 11, 25, 10, 31, 25, 0, time.Local)
	u := api.Upcoming{ScheduledFor: at, Due: at.Add(58 * time.Millisecond), Jitter: "1m0s"}
	if got := upcomingNote(u); got != "jitter: 58 ms after 10:31:25, of at most 1 min" {
		t.Error(got)
	}
	there := time.Date(2026, 11, 25, 4, 0, 40, 0, time.UTC)
	if got := upcomingNote(api.Upcoming{ScheduledFor: there, Due: there, Timezone: "Asia/Kathmandu"}); got != "09:45:40 in Asia/Kathmandu" {
		t.Error(got)
	}
}

func TestZonesAreCompletedFromTheMachinesList(t *testing.T) {
	file := t.TempDir() + "/zone.tab"
	if err := os.WriteFile(file, []byte("# a comment of many words\nDE\t+5230+01322\tEurope/Berlin\tmost of it\nAD\t+4230+00131\tEurope/Andorra\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := zoneNames(file); !slices.Equal(got, []string{"Europe/Andorra", "Europe/Berlin", "UTC"}) {
		t.Error(got)
	}
	for _, name := range zoneNames(file + ".none") {
		if _, err := time.LoadLocation(name); err != nil {
			t.Error(err)
		}
	}
}

// Machines call it Etc/UTC, people do not.
func TestUTCIsCalledUTC(t *testing.T) {
	at := time.Date(2026, 11, 25, 2, 30, 0, 0, time.UTC)
	for _, got := range []string{stamp(at, "Etc/UTC"), upcomingNote(api.Upcoming{ScheduledFor: at, Due: at, Timezone: "Etc/UTC"}), timeHead("TIME", "Etc/UTC", at),
		new(env).expectation(&api.Expect{By: "06:00", Timezone: "Etc/UTC"})} {
		if strings.Contains(got, "Etc") {
			t.Error(got)
		}
	}
}
