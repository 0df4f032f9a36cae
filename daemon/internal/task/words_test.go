package task_test

import (
	"strings"
	"testing"

	"github.com/stepd/stepd/daemon/internal/task"
)

func TestCheckName(t *testing.T) {
	for _, good := range []string{"backup", "backup-weekly", "a", "7", "a.b_c-d", "Sicherung-Ärger", "備份", strings.Repeat("x", 100)} {
		if err := task.CheckName(good); err != nil {
			t.Errorf("%q was refused: %v", good, err)
		}
	}
	for bad, part := range map[string]string{
		"":                       "empty",
		strings.Repeat("x", 101): "101 bytes",
		strings.Repeat("é", 51):  "102 bytes", // bytes count, not letters
		"a\xff":                  "UTF-8",
		"a/b":                    "slash",
		".":                      "start with",
		"..":                     "start with",
		".hidden":                "start with",
		"-rf":                    "start with",
		"a b":                    "allowed",
		"a\x00b":                 "allowed",
		"a\nb":                   "allowed",
		"$HOME":                  "allowed",
		"a*":                     "allowed",
	} {
		if err := task.CheckName(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		} else if !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %q does not say %q", bad, err, part)
		}
	}
}

func TestParseRef(t *testing.T) {
	for ref, want := range map[string]struct {
		name   string
		number uint64
	}{
		"backup/42":              {"backup", 42},
		"backup":                 {"backup", 0},
		"a/1":                    {"a", 1},
		"a/18446744073709551615": {"a", 1<<64 - 1},
	} {
		name, number, err := task.ParseRef(ref)
		if err != nil || name != want.name || number != want.number {
			t.Errorf("%q: %q, %d, %v", ref, name, number, err)
		}
	}
	for _, bad := range []string{"", "/", "/1", "a/", "a/0", "a/-1", "a/x", "a/1/2", "a/18446744073709551616", "a b/1", "-a/1"} {
		if name, number, err := task.ParseRef(bad); err == nil {
			t.Errorf("%q was read as %q, %d", bad, name, number)
		}
	}
	run := task.Run{Task: "backup", Number: 42}
	if name, number, err := task.ParseRef(run.Ref()); name != "backup" || number != 42 || err != nil {
		t.Errorf("%q does not lead back: %q, %d, %v", run.Ref(), name, number, err)
	}
}

func TestPositionsSortAsTheyRun(t *testing.T) {
	order := []task.Position{{Top: 0}, {Top: 0, Sub: 1}, {Top: 0, Sub: 2}, {Top: 1}, {Top: 2}, {Top: 2, Sub: 9}, {Top: 10}}
	for i, p := range order {
		for j, q := range order {
			if p.Less(q) != (i < j) {
				t.Errorf("%s < %s is %v", p, q, p.Less(q))
			}
		}
	}
	if s := order[2].String(); s != "0.2" {
		t.Errorf("a planned step is %q", s)
	}
	if s := order[6].String(); s != "10" {
		t.Errorf("a step of the definition is %q", s)
	}
}

func TestDefaultsOfADefinition(t *testing.T) {
	for n, want := range map[int]int{0: 1, -3: 1, 1: 1, 8: 8} {
		if got := (&task.Task{MaxParallel: n}).Parallel(); got != want {
			t.Errorf("max_parallel %d allows %d", n, got)
		}
	}
	for w, want := range map[float64]float64{0: 1, -2: 1, 0.5: 0.5, 7: 7} {
		if got := (&task.Step{Weight: w}).ProgressWeight(); got != want {
			t.Errorf("weight %v counts as %v", w, got)
		}
	}
	for e, want := range map[task.Effect]bool{"idempotent": true, "resumable": true, "at_most_once": true, "": false, "once": false} {
		if e.Valid() != want {
			t.Errorf("effect %q: Valid is %v", e, e.Valid())
		}
	}
}
