package app

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// seed makes a run of the random tests again: go test -args -seed N.
var seed = flag.Uint64("seed", 0, "seed of the random moments; 0 takes a new one")

// built holds the programs, made once for all tests: each is at built/NAME.
var built string

var (
	programs = []string{"daemon/cmd/stepd", "daemon/internal/app/testdata/killat", "examples/backup/mkshop", "examples/backup/compare"}
	plugins  = []string{"daemon/internal/app/testdata/told", "plugins/copyfiles", "plugins/compress", "plugins/retain", "plugins/dumptables", "plugins/misbehave", "plugins/noop"}
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(daemonVariable); dir != "" {
		os.Exit(daemonItself(dir))
	}
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if built, err = os.MkdirTemp("", "stepd-app"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(built)) }()
	// Whatever the umask: the daemon runs no plugin that others may write, and
	// one test runs the daemon as somebody else.
	if err := os.Chmod(built, 0o755); err != nil {
		return 1, err
	}
	args := []string{"build", "-o", built + "/"}
	for _, path := range append(programs, plugins...) {
		args = append(args, "github.com/stepd/stepd/"+path)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	for _, path := range append(programs, plugins...) {
		if err := os.Chmod(filepath.Join(built, filepath.Base(path)), 0o755); err != nil {
			return 1, err
		}
	}
	if code := m.Run(); code != 0 {
		return code, nil
	}
	return 0, goleak.Find()
}

// pluginDir is a directory with these plugins.
func pluginDir(t testing.TB, names ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "plugins")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		install(t, dir, name, name)
	}
	return dir
}

// install puts a program into a plugin directory. It is a link: checksums and
// owners are those of the file.
func install(t testing.TB, dir, name, program string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.Link(filepath.Join(built, program), path); err != nil {
		t.Fatal(err)
	}
	return path
}

// writeFile makes a file with its directory.
func writeFile(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
