package pluginhost

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	hclog "github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/stepd/stepd/daemon/internal/task"
)

// builtPlugin is the path of the misbehaving plugin, built once for all tests.
var builtPlugin string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ph")
	if err != nil {
		panic(err)
	}
	builtPlugin = filepath.Join(dir, "misbehave")
	out, err := exec.Command("go", "build", "-o", builtPlugin, "github.com/stepd/stepd/plugins/misbehave").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "build the misbehaving plugin: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	if code == 0 {
		if err := goleak.Find(goleak.IgnoreCurrent()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// rig is a host with plugins in a directory of its own, which at the end of
// the test is closed and must have left neither a process nor a socket.
type rig struct {
	*Host
	t       testing.TB
	plugins string
	cfg     Config
	log     *syncBuffer
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf.Len() > 4<<20 {
		return len(p), nil
	}
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// newRig installs the plugin under the given names and opens a host on them.
func newRig(t testing.TB, change func(*Config), names ...string) *rig {
	t.Helper()
	r := &rig{t: t, plugins: t.TempDir(), log: &syncBuffer{}}
	for _, name := range names {
		r.install(name)
	}
	run, err := os.MkdirTemp("", "r")
	if err != nil {
		t.Fatal(err)
	}
	r.cfg = Config{
		Dirs: []string{r.plugins}, RunDir: run, Marker: "test:" + run,
		Grace: 400 * time.Millisecond, TermGrace: 400 * time.Millisecond, StartTimeout: 20 * time.Second, CallTimeout: 5 * time.Second,
		StrayDelay: 20 * time.Millisecond, Backoff: time.Millisecond, MaxBackoff: 2 * time.Millisecond,
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: r.log}),
	}
	if change != nil {
		change(&r.cfg)
	}
	r.Host, err = New(r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		if pids := markedPids(r.cfg.Marker); len(pids) > 0 {
			t.Errorf("processes are left: %v", pids)
			_, _ = Sweep(r.cfg.Marker)
		}
		entries, err := os.ReadDir(run)
		if err != nil || len(entries) > 0 {
			t.Errorf("left in the run directory: %v, %v", entries, err)
		}
		_ = os.RemoveAll(run)
		if t.Failed() {
			t.Logf("daemon's log:\n%.6000s", r.log.String())
		}
	})
	return r
}

func (r *rig) install(name string) string {
	path := filepath.Join(r.plugins, name)
	if err := os.Link(builtPlugin, path); err != nil {
		raw, err := os.ReadFile(builtPlugin)
		if err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(path, raw, 0o755); err != nil {
			r.t.Fatal(err)
		}
	}
	return path
}

func markedPids(marker string) []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err == nil && marked(pid, func(v []byte) bool { return strings.HasPrefix(string(v), marker+"#") }) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// eventually is for what only another process can bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it never happened: %s", what)
		}
	}
}

func work(controller, mode string, n int) task.Work {
	settings, _ := json.Marshal(map[string]any{"mode": mode, "n": n})
	return task.Work{Attempt: task.Attempt{Run: 7, Position: task.Position{Top: 1}, Number: 1}, Task: "backup", RunNumber: 42,
		Step: "tables", Controller: controller, Settings: settings}
}

// do runs a mode that needs no more than a time limit.
func (r *rig) do(controller, mode string, n int) (task.Outcome, *recorder) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rec := newRecorder()
	return r.Execute(ctx, work(controller, mode, n), rec), rec
}

// wantHealthy holds that another plugin is none the worse.
func (r *rig) wantHealthy() {
	r.t.Helper()
	if got, _ := r.do("healthy", "none", 0); got.Kind != task.OutcomeCompleted {
		r.t.Errorf("the healthy plugin: %+v", got)
	}
}

func (r *rig) info(name string) PluginInfo {
	for _, p := range r.Plugins() {
		if p.Name == name {
			return p
		}
	}
	return PluginInfo{}
}

func wantOutcome(t testing.TB, got task.Outcome, kind task.OutcomeKind, texts ...string) {
	t.Helper()
	if got.Kind != kind {
		t.Errorf("outcome %+v, want %s", got, kind)
	}
	for _, text := range texts {
		if !strings.Contains(got.Message, text) {
			t.Errorf("message %q, want it to contain %q", got.Message, text)
		}
	}
	if len(got.Message) > task.MaxMessage {
		t.Errorf("message has %d bytes", len(got.Message))
	}
}

// recorder is a reporter that remembers.
type recorder struct {
	mu          sync.Mutex
	logs        []string
	levels      []task.LogLevel
	progress    []task.Progress
	checkpoints [][]byte
	outputs     map[string]string
	refuse      error
	pages       map[string][]task.Input
	next        map[string]string
	logged      chan struct{} // poked at each line
}

func newRecorder() *recorder {
	return &recorder{outputs: map[string]string{}, logged: make(chan struct{}, 1)}
}

func (r *recorder) Log(level task.LogLevel, message string, _ json.RawMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs, r.levels = append(r.logs, message), append(r.levels, level)
	poke(r.logged)
}

func (r *recorder) Progress(p task.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress = append(r.progress, p)
}

func (r *recorder) Checkpoint(data []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		return r.refuse
	}
	r.checkpoints = append(r.checkpoints, slices.Clone(data))
	return nil
}

func (r *recorder) Output(name string, value json.RawMessage) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		return r.refuse
	}
	r.outputs[name] = string(value)
	return nil
}

func (r *recorder) Inputs(step, name, after string) ([]task.Input, string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		return nil, "", r.refuse
	}
	return r.pages[after], r.next[after], nil
}

func (r *recorder) has(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.logs, func(line string) bool { return strings.Contains(line, text) })
}
