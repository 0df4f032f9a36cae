package app

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
	"github.com/stepd/stepd/daemon/internal/config"
)

// inside is a complete daemon in the test's own process, so that the race
// detector watches it.
type inside struct {
	*client.Client
	app    *App
	config config.Config
	log    *watchedLog
	end    func() error // stops the daemon and returns what Run did
}

// open runs a daemon until the test ends, and requires that it then ends
// properly and leaves nothing.
func open(t testing.TB, plugins string) *inside {
	t.Helper()
	return openWith(t, plugins, func(*config.Config) {}, func(*Options) {})
}

func openWith(t testing.TB, plugins string, change func(*config.Config), more func(*Options)) *inside {
	t.Helper()
	dir := t.TempDir()
	d := &inside{log: &watchedLog{ready: make(chan struct{})}, config: config.Config{
		DataDir: filepath.Join(dir, "data"), Socket: filepath.Join(dir, "run", "s"), PluginDirs: []string{plugins},
		MaxRuns: 64, LogFormat: config.FormatText, KeepRuns: 100, Grace: 500 * time.Millisecond,
	}}
	change(&d.config)
	ready := make(chan struct{})
	options := Options{Config: d.config, Version: "test", Stderr: d.log, Ready: func() { close(ready) }}
	more(&options)
	a, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	d.app = a
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- a.Run(ctx) }()
	stopped := false
	d.end = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ran
	}
	t.Cleanup(func() {
		if err := d.end(); err != nil {
			t.Errorf("the daemon ended with %v", err)
		}
		noProcesses(t, d.config.DataDir)
		noSockets(t, d.config.DataDir, d.config.Socket)
		if t.Failed() {
			t.Logf("the daemon said:\n%s", d.log.tail(6000))
		}
	})
	select {
	case <-ready:
	case err := <-ran:
		stopped = true
		t.Fatalf("the daemon did not start: %v", err)
	}
	d.Client = &client.Client{Socket: d.config.Socket}
	return d
}

// quick is the time within which the daemon has to answer whatever goes on in
// it, with much slack for slow machines under the race detector.
const quick = 10 * time.Second

// well holds that the daemon is none the worse: it answers, and another
// plugin's task runs.
func (d *inside) well(t testing.TB) {
	t.Helper()
	d.answers(t)
	wantCompleted(t, d.Client, await(t, d.Client, begin(t, d.Client, "well")))
}

func (d *inside) answers(t testing.TB) api.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), quick)
	defer cancel()
	st, err := d.Status(ctx)
	if err != nil {
		t.Fatalf("status: %v", err)
	}
	if st.PID != os.Getpid() {
		t.Fatalf("another daemon answers: %+v", st)
	}
	return st
}

const wellTask = "name: well\nsteps: [{name: one, controller: noop, settings: {steps: 3}}]\n"

// refused holds that a task which names the plugin is not saved, with the
// reason, and that the daemon is none the worse.
func refused(t testing.TB, d *inside, plugin, reason string) {
	t.Helper()
	name := filepath.Base(plugin)
	_, err := d.Apply(t.Context(), request(t.TempDir(), misbehaviour(name, name, "none", 0, "")))
	fault, ok := errors.AsType[*api.Error](err)
	if !ok || fault.Code != api.CodeInvalid || len(fault.Problems) != 1 {
		t.Fatalf("apply: %+v", err)
	}
	problem := fault.Problems[0]
	if said := problem.Message + "\n" + problem.Hint; problem.Line != 4 || !strings.Contains(said, name) || !strings.Contains(said, reason) {
		t.Errorf("line %d: %s, want %q", problem.Line, said, reason)
	}
	if _, err := d.Task(t.Context(), name); err == nil {
		t.Error("the task was saved")
	}
	d.well(t)
}
