package postgres

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stepd/stepd/sdk"
)

// endPause is how long a program has to end when it is told to.
const endPause = 10 * time.Second

// program is pg_dump or psql of one version.
type program struct {
	name, path   string
	major, minor int
}

// find chooses a program that is as old as the server, or the next newer one:
// an older pg_dump does not know all that there is to dump, and what a newer one
// writes the server may not know.
func (s *server) find(ctx context.Context, name string, server int) (program, error) {
	known, err := s.installed(ctx, name)
	if err != nil {
		return program{}, err
	}
	slices.SortFunc(known, func(a, b program) int { return a.major - b.major })
	for _, p := range known {
		if p.major >= server {
			return p, nil
		}
	}
	if name == psql && len(known) > 0 {
		return known[len(known)-1], nil // what it does is as old as it is
	}
	if len(known) == 0 {
		return program{}, sdk.Permanent(fmt.Errorf("there is no %s here, which a dump of PostgreSQL needs: install it (Debian: apt-get install postgresql-client-%d), or name its directory in the setting programs", name, server))
	}
	p := known[len(known)-1]
	return program{}, sdk.Permanent(fmt.Errorf("%s is of version %d and the server of version %d: an older %s cannot dump a newer server; install postgresql-client-%d, or name its directory in the setting programs",
		p.path, p.major, server, name, server))
}

const (
	pgDump = "pg_dump"
	psql   = "psql"
)

// installed lists the versions of a program, where the packages of Debian and of
// the project itself put them, and in PATH. Debian's own wrapper is passed over,
// as it chooses by rules of its own.
func (s *server) installed(ctx context.Context, name string) ([]program, error) {
	var paths []string
	if s.programs != "" {
		paths = []string{filepath.Join(s.programs, name)}
	} else {
		for _, pattern := range []string{"/usr/lib/postgresql/*/bin/", "/usr/pgsql-*/bin/"} {
			found, _ := filepath.Glob(pattern + name) // the patterns are well formed
			paths = append(paths, found...)
		}
		if path, err := exec.LookPath(name); err == nil {
			if real, err := filepath.EvalSymlinks(path); err == nil && filepath.Base(real) != "pg_wrapper" {
				paths = append(paths, path)
			}
		}
	}
	var list []program
	for _, path := range paths {
		out, err := exec.CommandContext(ctx, path, "--version").Output()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil && s.programs != "" {
			return nil, sdk.Permanent(fmt.Errorf("setting programs: %w", err))
		}
		if p, ok := parseProgram(name, path, string(out)); ok && err == nil {
			list = append(list, p)
		}
	}
	return list, nil
}

var programVersion = regexp.MustCompile(`\(PostgreSQL\) ([0-9]+)(?:\.([0-9]+))?`)

func parseProgram(name, path, text string) (program, bool) {
	m := programVersion.FindStringSubmatch(text)
	if m == nil {
		return program{}, false
	}
	major, err := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2]) // none: a version before its release
	return program{name: name, path: path, major: major, minor: minor}, err == nil
}

// restricts reports whether psql knows \restrict, which keeps a dump from being
// more than SQL to it.
func (p program) restricts() bool {
	first, ok := map[int]int{13: 22, 14: 19, 15: 14, 16: 10, 17: 6}[p.major]
	return p.major > 17 || ok && p.minor >= first
}

// clientError is what a program says when it fails.
type clientError struct {
	name, text, code string
}

func (e *clientError) Error() string { return e.name + ": " + e.text }

// run starts a program and waits for it. talk, if there is one, reads what it
// writes; when that fails, or ctx ends, the program is ended. The program ends
// with this process too.
func (s *server) run(ctx context.Context, p program, input io.Reader, talk func(out io.Reader) error, args ...string) error {
	// The kernel takes the end of the thread that started a process for the end of
	// its parent.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, end := context.WithCancel(ctx)
	defer end()
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Env, cmd.Stdin = s.environment(), input
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = endPause
	said := &tail{}
	cmd.Stderr = said
	var out io.ReadCloser
	var err error
	if talk != nil {
		if out, err = cmd.StdoutPipe(); err != nil {
			return fmt.Errorf("start %s: %w", p.name, err)
		}
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	var talked error
	if talk != nil {
		if talked = talk(out); talked != nil {
			end()
		}
	}
	err = cmd.Wait()
	switch {
	case talked != nil:
		return talked
	case err == nil:
		return nil
	}
	if fault := p.fault(said.String()); fault.text != "" {
		return fault
	}
	return fmt.Errorf("%s: %w", p.name, err)
}

var (
	serverFault = regexp.MustCompile(`(?m)^psql:<stdin>:[0-9]+: [^:]+:  ([0-9A-Z]{5}): (.*)$`)
	detailLine  = regexp.MustCompile(`(?m)^(?:pg_dump: (?:error|detail|hint): |DETAIL:  |CONTEXT:  |HINT:  )(.*)$`)
)

// fault finds the fault in what a program has said.
func (p program) fault(said string) *clientError {
	fault := &clientError{name: p.name}
	var parts []string
	for _, m := range serverFault.FindAllStringSubmatch(said, -1) {
		if !strings.HasPrefix(m[1], "00") && !strings.HasPrefix(m[1], "01") {
			fault.code, parts = m[1], []string{m[2]}
		}
	}
	for _, m := range detailLine.FindAllStringSubmatch(said, -1) {
		if len(parts) < 4 {
			parts = append(parts, strings.TrimSpace(m[1]))
		}
	}
	if len(parts) == 0 {
		parts = append(parts, strings.Join(strings.Fields(said), " "))
	}
	fault.text = strings.Join(parts, "; ")
	if len(fault.text) > 1500 {
		fault.text = strings.ToValidUTF8(fault.text[:1500], "") + " ..."
	}
	if fault.code == "" {
		fault.code = guess(fault.text)
	}
	return fault
}

// guess is for pg_dump, which does not tell codes.
func guess(text string) string {
	for _, one := range []struct{ part, code string }{
		{"password authentication failed", codeInvalidPassword}, {"permission denied", codeNoPrivilege},
		{"row-level security", codeNoPrivilege}, {"lock timeout", codeLockTimeout}, {"deadlock detected", codeDeadlock},
		{"too many clients", codeTooMany}, {"remaining connection slots", codeTooMany},
		{"no matching tables were found", codeNoTable}, {"could not open relation", codeNoTable},
		{"terminating connection", "57P01"}, {"server closed the connection", "08006"}, {"connection to server", "08001"},
	} {
		if strings.Contains(text, one.part) {
			return one.code
		}
	}
	switch {
	case strings.Contains(text, "column \"") && strings.Contains(text, "does not exist"): // also of a relation
		return codeNoColumn
	case strings.Contains(text, "relation \"") && strings.Contains(text, "does not exist"):
		return codeNoTable
	}
	return ""
}

// tail keeps the end of what a program says.
type tail struct{ kept []byte }

const tailBytes = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if len(t.kept) > 2*tailBytes {
		t.kept = bytes.Clone(t.kept[len(t.kept)-tailBytes:])
	}
	return len(p), nil
}

func (t *tail) String() string { return string(bytes.ToValidUTF8(t.kept, []byte("?"))) }
