package app

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestAuthorOutsideTheRepository builds, tests and runs a plugin in a module of
// its own that knows nothing but the SDK, and holds what its author compiles.
func TestAuthorOutsideTheRepository(t *testing.T) {
	dir := t.TempDir()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"main.go", "main_test.go"} {
		writeFile(t, filepath.Join(dir, name), readFile(t, filepath.Join("testdata/author", name)))
	}
	version := regexp.MustCompile(`(?m)^go .*$`).FindString(readFile(t, filepath.Join(root, "go.mod")))
	writeFile(t, filepath.Join(dir, "go.mod"), fmt.Sprintf(
		"module example.com/wordcount\n\n%s\n\nrequire github.com/stepd/stepd v0.0.0\n\nreplace github.com/stepd/stepd => %q\n", version, root))
	// The versions are those of the repository, so that its module cache will do.
	writeFile(t, filepath.Join(dir, "go.sum"), readFile(t, filepath.Join(root, "go.sum")))
	tool := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	plugins := pluginDir(t)
	tool("build", "-o", filepath.Join(plugins, "wordcount"), ".")
	tool("test", "./...")
	if err := os.Chmod(filepath.Join(plugins, "wordcount"), 0o755); err != nil {
		t.Fatal(err)
	}
	for dep := range strings.FieldsSeq(tool("list", "-deps", ".")) {
		for _, wall := range []string{"go.etcd.io/bbolt", "github.com/spf13/cobra", "github.com/stepd/stepd/daemon", "github.com/stepd/stepd/plugins", "modernc.org/sqlite"} {
			if dep == wall || strings.HasPrefix(dep, wall+"/") {
				t.Errorf("the author compiles %s", dep)
			}
		}
	}

	p := newPlace(t, plugins)
	d := p.start(t)
	task := writeFile(t, filepath.Join(dir, "count.yaml"), "name: count\nsteps:\n  - name: words\n    controller: wordcount\n"+
		"    settings: {file: text, fail_at: 2}\n    retry: {attempts: 2, backoff: 10ms}\n")
	writeFile(t, filepath.Join(dir, "text"), "one two\nthree\nfour five six\n")
	if code, _, faults := p.stepd(t, "apply", task); code != 0 {
		t.Fatalf("apply: exit code %d\n%s", code, faults)
	}
	if code, out, faults := p.stepd(t, "run", "count", "--follow"); code != 0 {
		t.Fatalf("run: exit code %d\n%s%s", code, out, faults)
	}
	detail, err := d.Run(t.Context(), "count")
	if err != nil || detail.Status != "completed" || len(detail.Outputs) != 1 || detail.Steps[0].Attempt != 2 || detail.Steps[0].Message != "counted 6 words" {
		t.Fatalf("%+v, %v", detail, err)
	}
	var counts struct{ Lines, Words, From int }
	if err := json.Unmarshal(detail.Outputs[0].Value, &counts); err != nil || counts.Lines != 3 || counts.Words != 6 || counts.From != 2 {
		t.Errorf("the output is %s, %v", detail.Outputs[0].Value, err)
	}
	if code, out, _ := p.stepd(t, "run", "show", "count"); code != 0 || !strings.Contains(out, "counts") || !strings.Contains(out, `"words":6`) {
		t.Errorf("run show: exit code %d\n%s", code, out)
	}
	// The schema comes from the struct.
	bad := writeFile(t, filepath.Join(dir, "bad.yaml"), "name: bad\nsteps:\n  - {name: words, controller: wordcount, settings: {fail_at: -1}}\n")
	code, _, faults := p.stepd(t, "apply", bad)
	if code != 1 || !strings.Contains(faults, bad+":3:") || !strings.Contains(faults, "file") || !strings.Contains(faults, "fail_at") {
		t.Errorf("faulty settings: exit code %d\n%s", code, faults)
	}
	d.stop(t)
	p.nothingLeft(t)
}
