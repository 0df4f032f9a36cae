// Package daemon_test holds the import walls between the rooms of the house,
// as ARCHITECTURE.md draws them.
package daemon_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/stepd/stepd/"

// rooms lists, for each package of the daemon, which other packages of this
// module it may import. Tests may import more.
var rooms = map[string][]string{
	"daemon/internal/task":        {},
	"daemon/internal/taskfile":    {"daemon/internal/task"},
	"daemon/internal/engine":      {"daemon/internal/task"},
	"daemon/internal/schedule":    {"daemon/internal/task"},
	"daemon/internal/store":       {"daemon/internal/task"},
	"daemon/internal/pluginhost":  {"daemon/internal/task", "sdk/proto/stepd/v1"},
	"daemon/internal/runlog":      {"daemon/internal/task"},
	"daemon/internal/expression":  {"daemon/internal/task"},
	"daemon/internal/secret":      {"daemon/internal/task"},
	"daemon/internal/audit":       {},
	"daemon/internal/config":      {},
	"daemon/internal/api":         {},
	"daemon/internal/api/openapi": {"daemon/internal/api"},
	"daemon/internal/api/server":  {"daemon/internal/api", "daemon/internal/api/openapi"},
	"daemon/internal/api/client":  {"daemon/internal/api"},
	"daemon/internal/cli":         {"daemon/internal/api", "daemon/internal/api/client", "daemon/internal/api/openapi"},
	"daemon/internal/app":         {"*"},
	"daemon/internal/bench":       {"*"},
	"daemon/cmd/stepd":            {"daemon/internal/app", "daemon/internal/cli"},
}

type listed struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
}

func list(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Standard,Imports,Deps"}, args...)...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, exitText(err))
	}
	var all []listed
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var one listed
		if err := decoder.Decode(&one); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
}

func exitText(err error) string {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(exit.Stderr)
	}
	return ""
}

func TestRoomsImportOnlyWhatTheirWallsAllow(t *testing.T) {
	for _, pkg := range list(t, "./...") {
		name := strings.TrimPrefix(pkg.ImportPath, module)
		for _, imported := range pkg.Imports {
			target, ours := strings.CutPrefix(imported, module)
			if ours && !allowed(name, target) {
				t.Errorf("%s must not import %s", name, target)
			}
		}
		if strings.HasPrefix(name, "daemon/") {
			if _, known := rooms[name]; !known {
				t.Errorf("%s is a new room: draw its walls here and in ARCHITECTURE.md", name)
			}
		}
	}
}

func allowed(from, to string) bool {
	switch {
	case strings.HasPrefix(from, "daemon/"):
		for _, one := range rooms[from] {
			if one == to || one == "*" {
				return true
			}
		}
		return false
	case strings.HasPrefix(from, "plugins/"):
		own := strings.Join(strings.SplitN(from, "/", 3)[:2], "/")
		return to == own || strings.HasPrefix(to, own+"/") || to == "sdk" || strings.HasPrefix(to, "sdk/proto/")
	case strings.HasPrefix(from, "sdk"):
		return to == "sdk" || strings.HasPrefix(to, "sdk/")
	case strings.HasPrefix(from, "examples/"):
		return strings.HasPrefix(to, "sdk") || strings.HasPrefix(to, strings.Join(strings.SplitN(from, "/", 3)[:2], "/"))
	}
	return false
}

func TestTaskImportsTheStandardLibraryOnly(t *testing.T) {
	for _, imported := range list(t, "./daemon/internal/task")[0].Imports {
		if first, _, _ := strings.Cut(imported, "/"); strings.Contains(first, ".") {
			t.Errorf("task imports %s", imported)
		}
	}
}

// An author who imports the SDK compiles nothing of the daemon.
func TestSDKBringsNothingOfTheDaemon(t *testing.T) {
	for _, pkg := range list(t, "./sdk") {
		for _, dep := range pkg.Deps {
			for _, banned := range []string{module + "daemon", "go.etcd.io/bbolt", "github.com/spf13/cobra", "github.com/robfig/cron", "modernc.org"} {
				if strings.HasPrefix(dep, banned) {
					t.Errorf("the sdk depends on %s", dep)
				}
			}
		}
	}
}
