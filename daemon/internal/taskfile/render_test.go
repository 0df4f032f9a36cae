package taskfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepd/stepd/daemon/internal/taskfile"
)

// The goldens show what a person sees. STEPD_GOLDEN=write makes them anew.
func TestGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = taskfile.Parse(t.Context(), taskfile.Source{Name: filepath.Base(file), Data: data}, ports())
			if err == nil {
				t.Fatal("no faults")
			}
			got := err.Error() + "\n"
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if os.Getenv("STEPD_GOLDEN") == "write" {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestProblemsAreCapped(t *testing.T) {
	text := "name: x\nsteps:\n"
	for i := range 80 {
		text += fmt.Sprintf("  - {name: s%d, controller: script, order: x}\n", i)
	}
	_, err := parse(t, text)
	e, ok := errors.AsType[*taskfile.Errors](err)
	if !ok || len(e.Problems) != taskfile.MaxProblems || e.More != 30 {
		t.Fatalf("got %v", err)
	}
	if !strings.HasSuffix(e.Error(), "backup.yaml: 30 more problems") {
		t.Errorf("the rest is not counted: %q", e.Error()[len(e.Error())-60:])
	}
	if e.Problems[0].Line != 3 || e.Problems[49].Line != 52 {
		t.Errorf("the first ones are lines %d to %d", e.Problems[0].Line, e.Problems[49].Line)
	}
}

func TestRenderInColour(t *testing.T) {
	e := &taskfile.Errors{File: "a.yaml", Problems: []taskfile.Problem{{Line: 2, Column: 3, Message: "bad", Hint: "better", Excerpt: "x\ty"}}}
	var plain, colour bytes.Buffer
	if err := errors.Join(e.Render(&plain, false), e.Render(&colour, true)); err != nil {
		t.Fatal(err)
	}
	if want := "a.yaml:2:3: bad\n  2 | x\ty\n    |  \t^\n      hint: better\n"; plain.String() != want {
		t.Errorf("got %q, want %q", plain.String(), want)
	}
	if want := "\x1b[1ma.yaml:2:3:\x1b[0m \x1b[31mbad\x1b[0m\n  2 | x\ty\n    |  \t\x1b[1;32m^\x1b[0m\n      \x1b[36mhint:\x1b[0m better\n"; colour.String() != want {
		t.Errorf("got %q, want %q", colour.String(), want)
	}
}

func TestFilesCannotSteerTheTerminal(t *testing.T) {
	_, err := parse(t, "name: \"\\e[2J\"\ndescription: [\u202e\u200b]\n? \"\\e]0;x\\a\"\n: 1\nsteps: [{name: \"\\e\", controller: \"\\e[31m\", settings: {}}]\n")
	if err == nil {
		t.Fatal("no error")
	}
	for _, r := range err.Error() {
		if r != '\n' && r < ' ' || r == '\u202e' || r == '\u009b' {
			t.Errorf("%q in\n%q", r, err.Error())
		}
	}
}
