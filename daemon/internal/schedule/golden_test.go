package schedule

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// sameAs compares a text with a golden file. With UPDATE set in the environment the file is
// written instead: read it before it is committed.
func sameAs(t *testing.T, file, got string) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, have := strings.Split(string(text), "\n"), strings.Split(got, "\n")
	for i := range max(len(want), len(have)) {
		var w, h string
		if i < len(want) {
			w = want[i]
		}
		if i < len(have) {
			h = have[i]
		}
		if w != h {
			t.Fatalf("%s:%d:\n got %s\nwant %s", file, i+1, h, w)
		}
	}
}

// questions are the lines of a golden file which are not part of an answer.
func questions(t *testing.T, file string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\n"); !strings.HasPrefix(line, "\t") && line != "" {
			list = append(list, line)
		}
	}
	return list
}

// readSchedule reads "cron: 30 2 * * * | timezone: UTC".
func readSchedule(t *testing.T, line string) task.Schedule {
	t.Helper()
	s := task.Schedule{Timezone: "Europe/Berlin"}
	length := func(text string) time.Duration {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(line, err)
		}
		return d
	}
	for part := range strings.SplitSeq(line, " | ") {
		key, value, _ := strings.Cut(part, ": ")
		switch key {
		case "cron":
			s.Cron = value
		case "at":
			s.At = value
		case "rate":
			s.Rate = length(value)
		case "delay":
			s.Delay = length(value)
		case "anchor":
			s.Anchor = value
		case "timezone":
			s.Timezone = strings.Trim(value, "'")
		case "start":
			s.Start = value
		case "end":
			s.End = value
		case "jitter":
			s.Jitter = length(value)
		case "exclude":
			s.Exclude = strings.Split(value, ", ")
		case "missed":
			s.Missed = task.Missed(value)
		case "missed_window":
			s.MissedWindow = length(value)
		case "missed_limit":
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			s.MissedLimit = n
		case "overlap":
			s.Overlap = task.Overlap(value)
		case "name":
			s.Name = value
		case "nothing":
		default:
			t.Fatal("no key of schedules: ", line)
		}
	}
	return s
}

func TestWords(t *testing.T) {
	const file = "testdata/words.golden"
	var got strings.Builder
	for _, text := range questions(t, file) {
		c, faults := parseCron(text)
		if len(faults) > 0 {
			t.Fatal(text, faults)
		}
		fmt.Fprintf(&got, "%s\n\t%s\n", text, c.words())
	}
	sameAs(t, file, got.String())
}

// The place of each fault counts bytes of the field's text, and is shown by a caret.
func TestFaults(t *testing.T) {
	const file = "testdata/faults.golden"
	now := instant(t, "2026-11-24T09:00:00Z")
	var got strings.Builder
	for _, line := range questions(t, file) {
		s := readSchedule(t, line)
		fmt.Fprintf(&got, "%s\n", line)
		text := map[string]string{"cron": s.Cron, "at": s.At, "anchor": s.Anchor, "start": s.Start, "end": s.End}
		faults := new(Zones).Check(s, now)
		if len(faults) == 0 {
			got.WriteString("\tis well\n")
		}
		for _, f := range faults {
			field := f.Field
			of := text[f.Field]
			if f.Field == "exclude" {
				field += fmt.Sprintf("[%d]", f.Index)
				if f.Index >= 0 {
					of = s.Exclude[f.Index]
				}
			}
			if f.Offset > 0 {
				fmt.Fprintf(&got, "\t%s ^ %s\n", of[:f.Offset], of[f.Offset:])
			}
			fmt.Fprintf(&got, "\t%s %s\n", field, f.Message)
			if f.Hint != "" {
				fmt.Fprintf(&got, "\t\t%s\n", f.Hint)
			}
			if s.Timezone == "" {
				break
			}
		}
	}
	sameAs(t, file, got.String())
}

func TestExplanations(t *testing.T) {
	const file = "testdata/explain.golden"
	var got strings.Builder
	for _, line := range questions(t, file) {
		from, spec, _ := strings.Cut(line, " ")
		s := readSchedule(t, spec)
		at := instant(t, from)
		e, err := new(Zones).Explain(s, "backup", instant(t, "2026-01-01T00:00:00Z"), at, 4)
		if err != nil {
			t.Fatal(line, err)
		}
		fmt.Fprintf(&got, "%s\n\t%s\n", line, e.Summary)
		for _, note := range e.Notes {
			fmt.Fprintf(&got, "\t- %s\n", note)
		}
		for _, o := range e.Times {
			text := o.Nominal.Format("Mon 2006-01-02 15:04:05 -07:00")
			if o.Excluded {
				text = "(" + text + ")"
			}
			if len(o.Notes) > 0 {
				text += "  " + strings.Join(o.Notes, "; ")
			}
			fmt.Fprintf(&got, "\t\t%s\n", text)
		}
		if e.Over {
			got.WriteString("\t\tno more\n")
		}
	}
	sameAs(t, file, got.String())
}
