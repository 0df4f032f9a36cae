package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

func TestWordsForPeople(t *testing.T) {
	now := time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC)
	for _, tt := range []struct{ got, want string }{
		{span(350 * time.Millisecond), "350 ms"},
		{span(12300 * time.Millisecond), "12.3 s"},
		{span(200 * time.Second), "3 min 20 s"},
		{span(3599600 * time.Millisecond), "60 min"},
		{span(125 * time.Minute), "2 h 5 min"},
		{span(-time.Second), "0 s"},
		{ago(now.Add(-3*time.Minute), now), "3 min ago"},
		{ago(now.Add(90*time.Second), now), "in 1 min"},
		{ago(now, now), "now"},
		{left(0.2), "1 s left"},
		{left(75), "1 min 15 s left"},
		{left(-1), ""},
		{size(999), "999 B"},
		{size(1500), "1.5 KB"},
		{size(999_999), "1.0 MB"},
		{number(-1234567), "-1,234,567"},
		{number(123), "123"},
		{count(1, "step"), "1 step"},
		{percent(99.9), "99 %"},
		{percent(100), "100 %"},
		{counters(map[string]int64{"rows": 1200, "bytes": 2000, "sent_bytes": 5}), "2.0 KB, 1,200 rows, sent 5 B"},
		{printable("a\x1b[2J\u202eb\nc\xff"), "a�[2J�b c�"},
		{block("one\ntwo\n"), "one\n  two"},
		{clip("日本語", 5), "日本…"},
		{nearest("bakcup", []string{"import", "backup"}), "backup"},
		{nearest("back", []string{"import", "backup"}), "backup"},
		{nearest("zzz", []string{"import", "backup"}), ""},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

func TestTheCaretStandsBelowItsPlace(t *testing.T) {
	for _, tt := range []struct {
		line   string
		column int
		lead   string
	}{
		{"steps:", 1, ""},
		{"\tkey: x", 3, "\t "},
		{"日本: x", 3, "    "},
		{"e\u0301: x", 3, " "}, // a letter and its accent are one column
		{"ab", 9, "  "},        // beyond the end of the line
		{"a\x1bb", 3, "  "},
	} {
		if _, lead := excerpt(tt.line, tt.column); lead != tt.lead {
			t.Errorf("%q column %d: lead %q, want %q", tt.line, tt.column, lead, tt.lead)
		}
	}
}

// Of a line that no terminal holds what is around the caret is shown.
func TestVeryLongLinesAreCut(t *testing.T) {
	line := strings.Repeat("a", 5000) + "X" + strings.Repeat("b", 5000)
	for _, column := range []int{1, 5001, 10001} {
		shown, lead := excerpt(line, column)
		if len(shown) > 206 || len(lead) > len(shown) {
			t.Errorf("column %d: %d characters, and %d before the caret", column, len(shown), len(lead))
		}
		if column == 5001 && shown[len(lead):len(lead)+1] != "X" {
			t.Errorf("the caret is at %q", shown[len(lead):])
		}
	}
	if shown, lead := excerpt(strings.Repeat("a", 200), 150); len(shown) != 200 || len(lead) != 149 {
		t.Errorf("%d, %d", len(shown), len(lead))
	}
}

func TestEveryErrorHasOneExitCode(t *testing.T) {
	for want, errs := range map[int][]error{
		exitOK:          {nil},
		exitError:       {&api.Error{Code: api.CodeNotFound}, &api.Error{Code: api.CodeInvalid}, &api.Error{Code: api.CodeDiskFull}, &client.BrokenError{}},
		exitUsage:       {usageError("x"), withHint(usageError("x"), "y")},
		exitIncomplete:  {&runEnd{"incomplete"}},
		exitDenied:      {&api.Error{Code: api.CodeDenied}, &client.DownError{Why: client.NotPermitted}},
		exitDown:        {&client.DownError{Why: client.NoSocket}, withHint(&client.DownError{Why: client.NobodyListens}, "y"), &api.Error{Code: api.CodeStopping}},
		exitRunFailed:   {&runEnd{"failed"}},
		exitCancelled:   {&runEnd{"cancelled"}},
		exitInterrupted: {errInterrupted},
	} {
		for _, err := range errs {
			if got := exitCode(err); got != want {
				t.Errorf("%T %v: %d, want %d", err, err, got, want)
			}
		}
	}
}

func TestADaemonThatStaysAwayIsGivenUp(t *testing.T) {
	e := &env{patience: time.Millisecond}
	var notes []string
	err := e.persist(t.Context(), func(s string) { notes = append(notes, s) }, func(func()) error {
		return &client.DownError{Socket: "/s", Why: client.NoSocket}
	})
	if exitCode(err) != exitDown || len(notes) != 1 {
		t.Errorf("%v, told %q", err, notes)
	}
}
