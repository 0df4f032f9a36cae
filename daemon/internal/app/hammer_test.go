package app

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
	"github.com/stepd/stepd/daemon/internal/config"
)

var (
	hammerTime  = flag.Duration("hammer", 60*time.Second, "how long two clients and a crash hammer the same tasks")
	hammerCrash = flag.Duration("crash", 4*time.Second, "the longest time between two crashes")
)

// daemonVariable makes the test's own program the daemon, so that the race
// detector watches one that is killed as well.
const daemonVariable = "STEPD_TEST_DAEMON"

// daemonItself is that daemon: it ends with SIGTERM, and then has no goroutine
// left.
func daemonItself(dir string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	a, err := New(Options{
		Config: config.Config{
			DataDir: filepath.Join(dir, "data"), Socket: filepath.Join(dir, "run", "s"), PluginDirs: []string{os.Getenv(daemonVariable + "_PLUGINS")},
			MaxRuns: 4, LogFormat: config.FormatText, KeepRuns: 20, Grace: time.Second, LogSize: 1 << 20,
		},
		Version: "test", Stderr: os.Stderr,
	})
	if err == nil {
		err = a.Run(ctx)
	}
	stop()
	if err == nil {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Two clients change, start, cancel, continue, restart, pause and delete the same
// tasks at once, while the daemon is killed again and again: no acknowledged
// change is lost, none is lost to the other client, nothing hangs, no data race
// is found in the daemon, and nothing is left in the end.
func TestTwoClientsAndACrashHammerTheSameTasks(t *testing.T) {
	h := &hammer{T: t, dir: t.TempDir(), plugins: pluginDir(t, "told", "noop"), up: make(chan struct{}), acked: map[string]uint64{}, refs: map[string]bool{}}
	h.launch()
	for _, name := range hammered() {
		h.makes(name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), *hammerTime)
	defer cancel()
	var clients sync.WaitGroup
	for who := range 2 {
		clients.Go(func() { h.client(ctx, who) })
	}
	random := rand.New(rand.NewPCG(seedOf(t), 0))
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(random.Int64N(int64(*hammerCrash)))):
			h.kill()
			h.launch()
		}
	}
	clients.Wait()
	h.check()
	t.Logf("%d calls, %d of them in vain, %d crashes, %d runs acknowledged", h.calls.Load(), h.vain.Load(), h.crashes, len(h.refs))
}

func hammered() []string { return []string{"one", "two", "three"} }

func seedOf(t *testing.T) uint64 {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed %d", s)
	return s
}

type hammer struct {
	*testing.T
	dir, plugins string

	daemon  *daemon
	crashes int

	calls, vain atomic.Int64

	mu    sync.Mutex
	up    chan struct{}     // closed while the daemon answers
	acked map[string]uint64 // "task step": the number that the client saved last, and knows of
	refs  map[string]bool   // runs that were acknowledged
}

func (h *hammer) dial() *client.Client {
	return &client.Client{Socket: filepath.Join(h.dir, "run", "s")}
}

func (h *hammer) launch() {
	h.Helper()
	p := &place{data: filepath.Join(h.dir, "data"), socket: filepath.Join(h.dir, "run", "s"), plugins: h.plugins,
		itself: []string{daemonVariable + "=" + h.dir, daemonVariable + "_PLUGINS=" + h.plugins}}
	h.daemon = p.start(h)
	close(h.isUp())
}

func (h *hammer) isUp() chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.up
}

func (h *hammer) kill() {
	h.mu.Lock()
	h.up = make(chan struct{})
	h.mu.Unlock()
	h.daemon.kill()
	h.crashes++
	h.raced()
}

// raced holds that the race detector found nothing in the daemon.
func (h *hammer) raced() {
	h.Helper()
	if said := h.daemon.log.String(); strings.Contains(said, "DATA RACE") || strings.Contains(said, "panic:") {
		h.Fatalf("the daemon said:\n%s", said)
	}
}

func (h *hammer) makes(name string) {
	h.Helper()
	document := fmt.Sprintf(`{"name":%q,"max_runs":2,"locks":["shared"],"steps":[
		{"name":"client-0","controller":"told","settings":{"say":"0"}},
		{"name":"many","controller":"noop","settings":{"steps":20}},
		{"name":"client-1","controller":"told","settings":{"say":"0"}}]}`, name)
	if _, err := h.dial().CreateTask(h.Context(), api.SaveRequest{Task: json.RawMessage(document)}); err != nil {
		h.Fatal(err)
	}
}

// client makes random calls. Each client has a step of its own in each task,
// whose setting it counts up, and deletes and makes anew a task of its own.
func (h *hammer) client(ctx context.Context, who int) {
	c := h.dial()
	random := rand.New(rand.NewPCG(uint64(who), 1))
	own := fmt.Sprint("own-", who)
	next := map[string]uint64{}
	for ctx.Err() == nil {
		select {
		case <-h.isUp():
		case <-ctx.Done():
			return
		}
		h.calls.Add(1)
		name := hammered()[random.IntN(3)]
		ref := name // the newest
		call, done := context.WithTimeout(ctx, time.Minute)
		var err error
		switch random.IntN(12) {
		case 0, 1, 2:
			step := fmt.Sprint("client-", who)
			key := name + " " + step
			next[key]++
			patch := fmt.Sprintf(`{"settings":{"say":"%d"}}`, next[key])
			if _, err = c.PatchStep(call, name, step, api.PatchRequest{Patch: json.RawMessage(patch)}); err == nil {
				h.mu.Lock()
				h.acked[key] = next[key]
				h.mu.Unlock()
			}
		case 3:
			var t api.Task
			if t, err = c.Task(call, name); err == nil {
				patch := fmt.Sprintf(`{"description":"by %d after %d"}`, who, t.Version)
				_, err = c.PatchTask(call, name, api.PatchRequest{Patch: json.RawMessage(patch), Version: t.Version})
			}
		case 4, 5:
			var run api.Run
			if st, err := c.Status(call); err == nil && st.Queued > 20 {
				break // rather than a queue that nobody works through
			}
			if run, err = c.Start(call, api.RunRequest{Task: name, Set: map[string]json.RawMessage{"many.steps": json.RawMessage(strconv.Itoa(random.IntN(30)))}}); err == nil {
				h.mu.Lock()
				h.refs[run.Ref] = true
				h.mu.Unlock()
			}
		case 6:
			_, err = c.Cancel(call, ref, api.CancelRequest{})
		case 7:
			_, err = c.Cancel(call, ref, api.CancelRequest{Step: "many"})
		case 8:
			_, err = c.Continue(call, ref, api.AgainRequest{Latest: random.IntN(2) == 0})
		case 9:
			_, err = c.Restart(call, ref, api.AgainRequest{From: []string{"", "many"}[random.IntN(2)]})
		case 10:
			if _, err = c.SetDisabled(call, name, random.IntN(4) == 0); err == nil {
				_, err = c.SetDisabled(call, name, false)
			}
		case 11:
			if _, err = c.CreateTask(call, api.SaveRequest{Task: json.RawMessage(fmt.Sprintf(`{"name":%q,"steps":[{"name":"one","controller":"told"}]}`, own))}); err == nil {
				err = c.DeleteTask(call, own, 0)
			} else if code(err) == api.CodeExists {
				err = c.DeleteTask(call, own, 0)
			}
		}
		hung := errors.Is(call.Err(), context.DeadlineExceeded) && ctx.Err() == nil
		done()
		if hung {
			h.Errorf("a call got no answer within a minute")
			return
		}
		if err != nil {
			h.vain.Add(1)
			switch code(err) {
			case "", api.CodeState, api.CodeConflict, api.CodeNotFound, api.CodeStopping, api.CodeConfirm: // "": the daemon was killed
			default:
				h.Errorf("client %d: %v", who, err)
			}
		}
	}
}

func code(err error) api.Code {
	if fault, ok := errors.AsType[*api.Error](err); ok {
		return fault.Code
	}
	return ""
}

// check holds what must be true when all is over.
func (h *hammer) check() {
	c := h.dial()
	for _, name := range hammered() {
		if _, err := c.SetDisabled(h.Context(), name, false); err != nil {
			h.Fatal(err)
		}
	}
	eventually(h, "all runs end", func() bool {
		page, err := c.Runs(h.Context(), api.RunQuery{Status: "alive"})
		if err != nil {
			h.Fatal(err)
		}
		return len(page.Items) == 0
	})
	for key, want := range h.acked {
		name, step, _ := strings.Cut(key, " ")
		s, err := c.TaskStep(h.Context(), name, step)
		if err != nil {
			h.Fatal(err)
		}
		var now struct{ Say string }
		if err := json.Unmarshal(s.Settings, &now); err != nil {
			h.Fatal(err)
		}
		// One above may have been saved without an answer.
		if got, err := strconv.ParseUint(now.Say, 10, 64); err != nil || got < want {
			h.Errorf("%s is %s, but %d was acknowledged", key, now.Say, want)
		}
	}
	newest := map[string]uint64{}
	for _, name := range hammered() {
		run, err := c.Run(h.Context(), name)
		if err != nil {
			h.Fatal(err)
		}
		newest[name] = run.Number
	}
	for ref := range h.refs {
		name, number, _ := strings.Cut(ref, "/")
		if n, err := strconv.ParseUint(number, 10, 64); err != nil || n > newest[name] {
			h.Errorf("%s was acknowledged, the newest is %d", ref, newest[name])
		}
	}
	h.daemon.stop(h)
	h.raced()
	h.daemon.place.nothingLeft(h)
	// Directories are kept of runs that may be continued, and those are few.
	if left, err := filepath.Glob(filepath.Join(h.dir, "data", "work", "*", "*")); err != nil || len(left) > 4 {
		h.Errorf("directories are left: %v, %v", left, err)
	}
}
