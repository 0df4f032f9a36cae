package cli_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/api/server"
	"github.com/stepd/stepd/daemon/internal/cli"
)

// told collects what is written and lets a test wait for words in it.
type told struct {
	mu   sync.Mutex
	cond *sync.Cond
	text bytes.Buffer
}

func newTold() *told {
	w := &told{}
	w.cond = sync.NewCond(&w.mu)
	return w
}

func (w *told) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cond.Broadcast()
	return w.text.Write(b)
}

func (w *told) await(t *testing.T, words string) {
	t.Helper()
	timeout := time.AfterFunc(20*time.Second, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		_, _ = w.text.WriteString("\n(timeout)")
		w.cond.Broadcast()
	})
	defer timeout.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !strings.Contains(w.text.String(), words) {
		if strings.HasSuffix(w.text.String(), "(timeout)") {
			t.Fatalf("nobody said %q:\n%s", words, w.text.String())
		}
		w.cond.Wait()
	}
}

func (w *told) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// listen starts a daemon at path and returns what stops it.
func listen(t *testing.T, path string, b *backend) (stop func()) {
	t.Helper()
	l, err := server.Listen(path, "")
	if err != nil {
		t.Fatal(err)
	}
	s := server.New(server.Options{Backend: b})
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	return sync.OnceFunc(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

type command struct {
	out, err *told
	code     chan int
}

func start(ctx context.Context, socket string, args ...string) command {
	c := command{newTold(), newTold(), make(chan int, 1)}
	app := cli.New(cli.Deps{Stdin: strings.NewReader(""), Stdout: c.out, Stderr: c.err, Getenv: func(name string) string {
		return map[string]string{"STEPD_SOCKET": socket}[name]
	}})
	go func() { c.code <- app.Run(ctx, args) }()
	return c
}

func (c command) want(t *testing.T, code int, out, err string) {
	t.Helper()
	if got := <-c.code; got != code {
		t.Errorf("exit code %d, want %d", got, code)
	}
	if !strings.Contains(c.out.String(), out) || out == "" && c.out.String() != "" {
		t.Errorf("stdout:\n%s\nwant: %s", c.out, out)
	}
	if !strings.Contains(c.err.String(), err) {
		t.Errorf("stderr:\n%s\nwant: %s", c.err, err)
	}
}

func TestFollowingOutlivesARestartOfTheDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	b := newBackend()
	b.hold = make(chan struct{})
	stop := listen(t, path, b)
	c := start(t.Context(), path, "run", "backup", "--follow")
	c.err.await(t, "60 %")
	stop()
	c.err.await(t, "the daemon is gone; waiting for it")
	close(b.hold)
	defer listen(t, path, b)()
	c.want(t, 0, "backup/42 completed", "the daemon is back")
}

func TestAnInterruptLeavesTheRunAlone(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "s")
		b := newBackend()
		b.hold = make(chan struct{})
		stop := listen(t, path, b)
		ctx, cancel := context.WithCancel(t.Context())
		args := []string{"run", "backup", "--follow"}
		if quiet {
			args = append(args, "--quiet")
		}
		c := start(ctx, path, args...)
		if quiet {
			b.await(t, "backup/42")
		} else {
			c.err.await(t, "60 %")
		}
		cancel()
		c.want(t, 130, "", "backup/42 goes on; watch it again: stepd run show backup/42 --follow; end it: stepd cancel backup/42")
		stop()
		if r := b.runs["backup/42"]; r.Status != "running" || r.CancelRequested {
			t.Errorf("the run: %+v", r)
		}
	}
}

func TestAnInterruptEndsAQuestionToADaemonThatHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	b := newBackend()
	b.mu.Lock() // it answers nothing now
	stop := listen(t, path, b)
	ctx, cancel := context.WithCancel(t.Context())
	c := start(ctx, path, "tasks")
	cancel()
	c.want(t, 130, "", "")
	b.mu.Unlock()
	stop()
}

// onTerminal runs a command of its own on a terminal of a given width and
// returns all that it wrote there.
func onTerminal(t *testing.T, socket, width string, meanwhile func(*told, io.Writer), args ...string) string {
	t.Helper()
	script, err := exec.LookPath("script")
	if err != nil {
		t.Fatal("this test needs script(1), of the package bsdutils")
	}
	cmd := exec.CommandContext(t.Context(), script, "-qefc", "stty rows 30 cols "+width+"; exec stepd "+strings.Join(args, " "), "/dev/null")
	cmd.Env = append(os.Environ(), "STEPD_SOCKET="+socket, "TERM=xterm", "GORACE="+noRaceSleep, "LANG=C.UTF-8")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out := newTold()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if meanwhile != nil {
		meanwhile(out, in)
	}
	_ = cmd.Wait() // the exit code is told elsewhere
	_ = in.Close()
	return out.String()
}

func TestATerminalSeesBarsAndIsAskedBeforeADeletion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	b := newBackend()
	b.hold = make(chan struct{})
	defer listen(t, path, b)()
	answer := func(line string) func(*told, io.Writer) {
		return func(seen *told, in io.Writer) {
			seen.await(t, "[y/N]")
			_, _ = io.WriteString(in, line)
		}
	}
	out := onTerminal(t, path, "100", func(seen *told, _ io.Writer) {
		seen.await(t, "━") // the bars are there while the run goes on
		close(b.hold)
	}, "run", "backup", "--follow")
	for _, want := range []string{"tables/actor", "12 s left", " in 5.0 s: 3 steps", "\x1b[32mcompleted"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q on the terminal:\n%q", want, out)
		}
	}
	// What has ended has no bar any more below the line that tells the end.
	if _, after, _ := strings.Cut(out, "locked"); strings.Count(after, "tables/film") > 0 {
		t.Errorf("a bar outlives its step:\n%q", out)
	}
	if out := onTerminal(t, path, "100", answer("n\n"), "task", "delete", "import"); !strings.Contains(out, "nothing was done") || b.tasks["import"] == nil {
		t.Errorf("no is no:\n%s", out)
	}
	if out := onTerminal(t, path, "100", answer("y\n"), "task", "delete", "import"); !strings.Contains(out, "import is deleted") || b.tasks["import"] != nil {
		t.Errorf("yes is yes:\n%s", out)
	}
}

// What stands against an apply, or would be done twice, is shown on a terminal
// and asked about.
func TestATerminalIsAskedBeforeAnythingIsReplacedOrRepeated(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	b := newBackend()
	defer listen(t, path, b)()
	file := filepath.Join(dir, "good.yaml")
	if err := os.WriteFile(file, []byte("name: good\ndescription: File\nsteps: [{controller: noop}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	answer := func(line string) func(*told, io.Writer) {
		return func(seen *told, in io.Writer) {
			seen.await(t, "[y/N]")
			_, _ = io.WriteString(in, line)
		}
	}
	has := func(out string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("no %q on the terminal:\n%q", w, out)
			}
		}
	}
	onTerminal(t, path, "100", nil, "apply", file)
	onTerminal(t, path, "100", nil, "task", "set", "good", "description=Hand")
	out := onTerminal(t, path, "100", answer("n\n"), "apply", file)
	has(out, "was edited by", "\x1b[33m~ description: Hand -> File", "Have the files replace it?", "nothing was done")
	if b.tasks["good"].Description != "Hand" {
		t.Errorf("no is no: %+v", b.tasks["good"])
	}
	has(onTerminal(t, path, "100", answer("y\n"), "apply", file), "changed")
	if b.tasks["good"].Description != "File" {
		t.Errorf("yes is yes: %+v", b.tasks["good"])
	}
	has(onTerminal(t, path, "100", answer("n\n"), "continue", "backup/3"), "may have had their effect", "\r\n  mail\r\n", "Do it again?", "nothing was done")
	if s := b.runs["backup/3"].Status; s != "incomplete" {
		t.Errorf("no is no: %s", s)
	}
	has(onTerminal(t, path, "100", answer("y\n"), "continue", "backup/3"), "backup/3\r\n")
}

// A text with problems goes back to the editor. Ctrl-C there is the editor's own.
func TestATerminalEditsAgainWhatHasProblems(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	b := newBackend()
	defer listen(t, path, b)()
	editor := filepath.Join(dir, "editor")
	script := "#!/bin/sh\ntrap '' INT\nif grep -q ^fault $1; then sed -i s/^fault.*/description:\\ Mended/ $1; else sed -i s/^description.*/fault:\\ 1/ $1; fi\necho READY; read answer\n"
	if err := os.WriteFile(editor, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VISUAL", editor)
	t.Setenv("TMPDIR", dir)
	out := onTerminal(t, path, "100", func(seen *told, in io.Writer) {
		seen.await(t, "READY")
		_, _ = io.WriteString(in, "\x03\x03\x03\n")
		seen.await(t, "Edit it again? [y/N]")
		_, _ = io.WriteString(in, "y\n")
		seen.await(t, "again? [y/N] y\r\nREADY")
		_, _ = io.WriteString(in, "\n")
	}, "task", "edit", "backup")
	if !strings.Contains(out, `there is no key "fault"`) || !strings.Contains(out, " changed (version 2") || b.tasks["backup"].Description != "Mended" {
		t.Errorf("%s\n%+v", out, b.tasks["backup"])
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "stepd-edit-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestNoColorIsHeard(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	defer listen(t, path, newBackend())()
	if out := onTerminal(t, path, "80", nil, "--no-color", "tasks"); strings.Contains(out, "\x1b[") {
		t.Errorf("colours:\n%q", out)
	}
}
