package app

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stepd/stepd/daemon/internal/api"
)

// TestEveryFaultAtOnce applies a task file with ten kinds of faults through
// the command line: each is shown in its place, and nothing is saved, not even
// the good file beside it.
func TestEveryFaultAtOnce(t *testing.T) {
	s := newShop(t)
	p := newPlace(t, pluginDir(t, "copyfiles", "compress", "dumptables", "noop"))
	d := p.start(t)
	bad := writeFile(t, s.path("bad.yaml"), `name: shop/backup
descripton: a key that does not exist
max_parallel: many
steps:
  - name: tables
    controller: dumptable
    settings: {dsn: "sqlite:./shop.db"}
  - name: tables
    controller: dumptables
    settings: {mode: sideways, tables: "*"}
  - name: files
    controller: copyfiles
    settings: {sourc: ./shop}
    retry: {attempts: 0}
    max_execution_time: 10
  - controller: compress
    order: 1
---
name: another
`)
	wants := []struct {
		line, column int
		text         string
	}{
		{1, 7, "shop/backup"},      // a name with a slash
		{2, 1, "descripton"},       // an unknown key
		{3, 15, "max_parallel"},    // a wrong type
		{6, 17, "dumptable"},       // an unknown controller
		{8, 11, "used twice"},      // a duplicate step name
		{10, 5, "dsn"},             // settings: something is missing
		{10, 22, "mode"},           // settings: none of the values
		{10, 40, "tables"},         // settings: a wrong type
		{13, 16, "sourc"},          // settings: an unknown key
		{14, 23, "attempts"},       // a number out of its range
		{15, 25, "duration"},       // a duration without its unit
		{16, 5, "name"},            // a step without a name
		{17, 12, "order"},          // an order that decreases
		{18, 1, "second document"}, // two documents
	}
	for _, command := range []string{"validate", "apply"} {
		code, out, faults := p.stepd(t, command, s.path("backup.yaml"), bad)
		if code != 1 || out != "" {
			t.Errorf("%s: exit code %d, %q on stdout", command, code, out)
		}
		lines := strings.Split(faults, "\n")
		for _, want := range wants {
			prefix := fmt.Sprintf("%s:%d:%d: ", bad, want.line, want.column)
			found := false
			for i, line := range lines {
				if !strings.HasPrefix(line, prefix) || !strings.Contains(line, want.text) {
					continue
				}
				found = true
				// The line itself, and a caret below the column.
				if i+2 >= len(lines) || !caretAt(lines[i+1], lines[i+2], strings.Split(readFile(t, bad), "\n")[want.line-1], want.column) {
					t.Errorf("%s%s has no caret in its place:\n%s", prefix, want.text, strings.Join(lines[i:min(i+4, len(lines))], "\n"))
				}
			}
			if !found {
				t.Errorf("%s: no line begins with %q and has %q", command, prefix, want.text)
			}
		}
		if n := len(regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(bad)+`:\d+:\d+: `).FindAllString(faults, -1)); n < len(wants) {
			t.Errorf("%d faults, want at least %d", n, len(wants))
		}
		if t.Failed() {
			t.Fatalf("%s said:\n%s", command, faults)
		}
	}
	if list, err := d.Tasks(t.Context(), api.TaskQuery{}); err != nil || len(list.Items) > 0 {
		t.Errorf("saved: %+v, %v", list.Items, err)
	}
	for _, text := range []string{"", "name: x\nsteps: {}\n", "steps: []\n", "\x00", "- 1\n", "name: [", "name: x\nsteps:\n- {name: a, controller: noop}\n- &a [*a]\n"} {
		path := writeFile(t, filepath.Join(t.TempDir(), "bad.yaml"), text)
		if code, _, faults := p.stepd(t, "apply", path); code != 1 || !strings.Contains(faults, path+":") {
			t.Errorf("%q: exit code %d\n%s", text, code, faults)
		}
	}
	if list, err := d.Tasks(t.Context(), api.TaskQuery{}); err != nil || len(list.Items) > 0 {
		t.Errorf("saved: %+v, %v", list.Items, err)
	}
	// The good file was held back for the bad one's sake alone.
	if code, _, faults := p.stepd(t, "apply", s.path("backup.yaml")); code != 0 {
		t.Errorf("exit code %d\n%s", code, faults)
	}
	d.stop(t)
	p.nothingLeft(t)
}

// caretAt tells whether the excerpt shows the source line with the caret of the
// line below it under the column.
func caretAt(excerpt, below, source string, column int) bool {
	at := strings.Index(excerpt, strings.TrimSpace(source))
	indent := len(source) - len(strings.TrimLeft(source, " "))
	caret := strings.Index(below, "^")
	return at >= 0 && caret >= 0 && caret == at-indent+column-1
}
