package app

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

// patience is for what only a slow machine keeps from happening.
const patience = 2 * time.Minute

// place is a state directory with its socket and plugins, on which one daemon
// after the other may run.
type place struct {
	data, socket, plugins string
	env                   []string // of the daemon, besides the test's own
	attr                  *syscall.SysProcAttr
	wrap                  []string // put before the daemon's command line
	itself                []string // the test's own program is the daemon, with that in its environment
}

func newPlace(t testing.TB, plugins string) *place {
	dir := t.TempDir()
	// The daemon makes the directories itself, with the rights that it wants.
	return &place{data: filepath.Join(dir, "data"), socket: filepath.Join(dir, "run", "s"), plugins: plugins}
}

func (p *place) client() *client.Client { return &client.Client{Socket: p.socket} }

// daemon is a process of "stepd serve".
type daemon struct {
	*client.Client
	place *place
	cmd   *exec.Cmd
	log   *watchedLog
	gone  chan struct{} // closed when the process has ended
	state *os.ProcessState
}

// command makes the daemon's process, not started yet.
func (p *place) command() (*exec.Cmd, *watchedLog) {
	args := append(append([]string{}, p.wrap...), filepath.Join(built, "stepd"), "serve",
		"--data", p.data, "--socket", p.socket, "--plugin-dir", p.plugins, "--log-level", "info")
	if len(p.itself) > 0 {
		args = os.Args[:1]
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(append(append(os.Environ(), "STEPD_CONFIG="), p.env...), p.itself...)
	cmd.SysProcAttr = p.attr
	cmd.WaitDelay = 10 * time.Second
	log := &watchedLog{ready: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = log, log
	return cmd, log
}

// start starts a daemon and waits until it says that it is ready.
func (p *place) start(t testing.TB) *daemon {
	t.Helper()
	d := p.launch(t)
	d.awaitReady(t)
	return d
}

func (d *daemon) awaitReady(t testing.TB) {
	t.Helper()
	select {
	case <-d.log.ready:
	case <-d.gone:
		t.Fatalf("the daemon did not start: %v\n%s", d.state, d.log)
	case <-time.After(patience):
		t.Fatalf("the daemon did not get ready\n%s", d.log)
	}
}

// launch starts a daemon.
func (p *place) launch(t testing.TB) *daemon {
	t.Helper()
	d := &daemon{Client: p.client(), place: p, gone: make(chan struct{})}
	d.cmd, d.log = p.command()
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = d.cmd.Wait() // the state says how it went
		d.state = d.cmd.ProcessState
		close(d.gone)
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.gone
		if t.Failed() {
			t.Logf("daemon %d said:\n%s", d.cmd.Process.Pid, d.log.tail(1500))
		}
	})
	return d
}

// fails runs a daemon that must refuse to start, and returns its exit code and
// what it said.
func (p *place) fails(t testing.TB) (code int, said string) {
	t.Helper()
	cmd, log := p.command()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-log.ready:
		t.Errorf("the daemon started")
	case <-time.After(patience):
		t.Errorf("the daemon neither started nor ended")
	}
	_ = cmd.Process.Kill()
	<-gone
	return cmd.ProcessState.ExitCode(), log.String()
}

// kill ends the daemon as a power cut would, and waits for its end.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill()
	<-d.gone
}

// stop asks the daemon to end, and requires that it does so properly.
func (d *daemon) stop(t testing.TB) {
	t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.gone:
	case <-time.After(patience):
		t.Fatalf("the daemon does not stop\n%s", d.log.tail(4000))
	}
	if code := d.state.ExitCode(); code != 0 {
		t.Fatalf("the daemon ended with %d\n%s", code, d.log.tail(4000))
	}
}

// nothingLeft holds that a daemon which ended in order left nobody behind.
func (p *place) nothingLeft(t testing.TB) {
	t.Helper()
	noProcesses(t, p.data)
	noSockets(t, p.data, p.socket)
}

func noProcesses(t testing.TB, data string) {
	t.Helper()
	if pids := marked(markerOf(data)); len(pids) > 0 {
		t.Errorf("processes are left: %v", pids)
	}
}

func noSockets(t testing.TB, data, socket string) {
	t.Helper()
	if entries, err := os.ReadDir(runDir(data)); err != nil || len(entries) > 0 {
		t.Errorf("left of the plugins' sockets: %v, %v", entries, err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the daemon's socket is left: %v", err)
	}
}

// marked lists the processes that the marker was given to, plugins and what
// they started.
func marked(marker string) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		environ, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "environ"))
		if bytes.Contains(environ, []byte("STEPD_INSTANCE="+marker+"#")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// eventually is for what only another process can bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it never happened: %s", what)
		}
	}
}

// watchedLog keeps what a daemon says and tells when it is ready.
type watchedLog struct {
	mu    sync.Mutex
	text  bytes.Buffer
	told  bool
	ready chan struct{}
}

func (l *watchedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	if !l.told && strings.Contains(l.text.String(), "stepd: ready:") {
		l.told = true
		close(l.ready)
	}
	return len(p), nil
}

func (l *watchedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *watchedLog) tail(n int) string {
	text := l.String()
	return text[max(0, len(text)-n):]
}

// stepd runs the command line against the daemon of the place.
func (p *place) stepd(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(built, "stepd"), args...)
	cmd.Env = append(os.Environ(), "STEPD_SOCKET="+p.socket, "NO_COLOR=1")
	var out, faults bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &faults
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), faults.String()
}

// apply saves tasks from their text. Relative paths in them start at dir.
func apply(t testing.TB, c *client.Client, dir string, texts ...string) {
	t.Helper()
	if _, err := c.Apply(t.Context(), request(dir, texts...)); err != nil {
		if fault, ok := errors.AsType[*api.Error](err); ok {
			t.Fatalf("apply: %v %+v", err, fault.Problems)
		}
		t.Fatalf("apply: %v", err)
	}
}

func request(dir string, texts ...string) (request api.ApplyRequest) {
	for i, text := range texts {
		request.Files = append(request.Files, api.TaskFile{Name: "task" + strconv.Itoa(i) + ".yaml", Dir: dir, Data: text})
	}
	return request
}

func begin(t testing.TB, c *client.Client, name string) string {
	t.Helper()
	run, err := c.Start(t.Context(), api.RunRequest{Task: name})
	if err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	return run.Ref
}

// await follows a run to its end.
func await(t testing.TB, c *client.Client, ref string) api.Run {
	t.Helper()
	return awaitEvent(t, c, ref, func(e api.Event) bool { return !e.Run.Alive() })
}

var errSeen = errors.New("seen")

// awaitEvent follows a run until an event satisfies ok.
func awaitEvent(t testing.TB, c *client.Client, ref string, ok func(api.Event) bool) api.Run {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last api.Event
	err := c.Watch(ctx, ref, func(e api.Event) error {
		if last = e; ok(e) {
			return errSeen
		}
		return nil
	})
	if !errors.Is(err, errSeen) {
		t.Fatalf("follow %s: %v; it was last seen %s with %.0f %% (%+v)", ref, err, last.Run.Status, last.Run.Progress, last.Step)
	}
	return last.Run
}

// steps are all steps of a run, planned ones too, by position.
func steps(t testing.TB, c *client.Client, ref string) map[string]api.Step {
	t.Helper()
	all := map[string]api.Step{}
	for after, more := "", true; more; more = after != "" {
		page, err := c.Steps(t.Context(), ref, api.StepQuery{After: after, Limit: api.MaxPage})
		if err != nil {
			t.Fatalf("steps of %s: %v", ref, err)
		}
		for _, s := range page.Items {
			all[s.Position] = s
		}
		after = page.Next
	}
	return all
}

func wantCompleted(t testing.TB, c *client.Client, run api.Run) {
	t.Helper()
	if run.Status == "completed" && run.Progress == 100 {
		return
	}
	for _, s := range steps(t, c, run.Ref) {
		if s.Status != "completed" {
			t.Logf("step %s is %s: %s", s.Name, s.Status, s.Error)
		}
	}
	t.Fatalf("%s is %s with %v %%: %s", run.Ref, run.Status, run.Progress, run.Reason)
}
