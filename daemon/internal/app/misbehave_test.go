package app

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/task"
)

// TestMisbehavingSteps lets steps of runs misbehave as plugins/misbehave can.
// Each has a stated end, and the daemon is none the worse for any.
func TestMisbehavingSteps(t *testing.T) {
	tests := []struct {
		mode   string
		n      int
		limits string // of the step
		run    string
		step   string
		reason string
		texts  []string // of the step's error, or message when it completed
		check  func(*testing.T, *inside, string)
	}{
		// What ends as it should not.
		{mode: "fail", run: "failed", step: "failed", reason: "error", texts: []string{"it did not work"}},
		{mode: "permanent", run: "failed", step: "failed", reason: "permanent", texts: []string{"it never will"}},
		{mode: "crash", run: "failed", step: "failed", reason: "no_result", texts: []string{"misbehave-steps-crash", "exit status 3", "about to crash"}},
		{mode: "exit-0", run: "failed", step: "failed", reason: "no_result", texts: []string{"exit status 0"}},
		{mode: "panic", run: "failed", step: "failed", reason: "no_result", texts: []string{"exit status 2", "a bug in the controller"}},
		{mode: "kill-itself", run: "failed", step: "failed", reason: "no_result", texts: []string{"signal: killed"}},
		{mode: "setsid-crash", run: "failed", step: "failed", reason: "no_result", texts: []string{"exit status 4"}},
		{mode: "cut-connection", run: "failed", step: "failed", reason: "no_result", texts: []string{"cut its connection"}},
		{mode: "no-result", run: "failed", step: "failed", reason: "no_result", texts: []string{"without a result"}},
		{mode: "grpc-error", run: "failed", step: "failed", reason: "no_result", texts: []string{"not today"}},
		{mode: "unknown-status", run: "failed", step: "failed", reason: "no_result", texts: []string{"77"}},
		{mode: "cancel-itself", run: "failed", step: "failed", reason: "error", texts: []string{"nobody", "rather not"}},
		{mode: "two-results", run: "completed", step: "completed", texts: []string{"first"}},
		{mode: "never-end", run: "completed", step: "completed"},
		{mode: "retry-after", run: "failed", step: "failed", reason: "error", texts: []string{"busy"}},
		{mode: "session-lost", run: "failed", step: "failed", reason: "error", texts: []string{"has none", "it is gone"}},

		// What is too much, or nonsense.
		{mode: "long-result", run: "failed", step: "failed", reason: "error", texts: []string{"éé"}, check: shortError},
		{mode: "huge-message", run: "failed", step: "failed", reason: "no_result", texts: []string{"4 MiB"}},
		{mode: "bad-utf8", run: "failed", step: "failed", reason: "no_result", texts: []string{"UTF-8"}},
		{mode: "garbage", run: "failed", step: "failed", reason: "no_result", texts: []string{"broke the protocol"}},
		{mode: "empty-message", run: "completed", step: "completed"},
		{mode: "bad-json", run: "failed", step: "failed", reason: "error", texts: []string{"output rows", "not valid JSON"}},
		{mode: "bad-json-utf8", run: "failed", step: "failed", reason: "error", texts: []string{"not valid JSON"}},
		{mode: "bad-json-hang", run: "failed", step: "failed", reason: "error", texts: []string{"not valid JSON"}},
		{mode: "output-name", run: "failed", step: "failed", reason: "error", texts: []string{"output"}, check: noOutputs},
		{mode: "output-large", run: "failed", step: "failed", reason: "error", texts: []string{"at most 65536"}, check: noOutputs},
		{mode: "outputs-many", run: "failed", step: "failed", reason: "error", texts: []string{"together"}, check: noOutputs},
		{mode: "checkpoint-large", run: "failed", step: "failed", reason: "error", texts: []string{"checkpoint has 307200 bytes"}},
		{mode: "progress", run: "completed", step: "completed"},
		{mode: "log-nonsense", run: "completed", step: "completed"},
		{mode: "stderr-flood", n: 100_000, run: "completed", step: "completed"},
		{mode: "stderr-strange", run: "completed", step: "completed"},
		{mode: "stdout-flood", n: 40, run: "completed", step: "completed"},

		// What is left behind.
		{mode: "fork", run: "completed", step: "completed"},
		{mode: "setsid", run: "completed", step: "completed"},
		{mode: "daemonize", run: "completed", step: "completed"},
		{mode: "sockets", run: "completed", step: "completed"},

		// What does not end by itself.
		{mode: "hang", limits: "attempt_timeout: 300ms", run: "failed", step: "failed", reason: "timed_out", texts: []string{"attempt_timeout of 300ms passed"}},
		{mode: "hang-hard", limits: "progress_timeout: 300ms", run: "failed", step: "failed", reason: "timed_out", texts: []string{"no progress for 300ms"}},
		{mode: "freeze", limits: "max_execution_time: 2s", run: "failed", step: "failed", reason: "timed_out", texts: []string{"max_execution_time of the step (2s) passed"}},
		{mode: "obey", limits: "attempt_timeout: 300ms", run: "failed", step: "failed", reason: "timed_out", texts: []string{"attempt_timeout"}},
		{mode: "finish-late", limits: "attempt_timeout: 300ms", run: "completed", step: "completed", texts: []string{"was done anyway"}},

		// Plans. Their plugin is one that plans.
		{mode: "plan-bad-name", run: "failed", step: "failed", reason: "permanent", texts: []string{"step 2", "slash"}},
		{mode: "plan-decreasing", run: "failed", step: "failed", reason: "permanent", texts: []string{"must not decrease"}},
		{mode: "plan-settings", run: "failed", step: "failed", reason: "permanent", texts: []string{"no JSON object"}},
		{mode: "plan-large", run: "failed", step: "failed", reason: "permanent", texts: []string{"at most"}},
		{mode: "plan-crash", run: "failed", step: "failed", reason: "no_result", texts: []string{"exit status 5"}},
		{mode: "plan-no-end", run: "failed", step: "failed", reason: "no_result", texts: []string{"without a result"}},
		{mode: "plan-hang", limits: "attempt_timeout: 300ms", run: "failed", step: "failed", reason: "timed_out", texts: []string{"attempt_timeout"}},
	}
	dir := pluginDir(t, "noop")
	d := open(t, dir)
	apply(t, d.Client, t.TempDir(), wellTask)
	for _, test := range tests {
		t.Run(test.mode, func(t *testing.T) {
			// A plugin of its own for each, or one's deaths would open the
			// circuit for the next.
			plugin := "misbehave-steps-" + test.mode
			if strings.HasPrefix(test.mode, "plan") {
				plugin = "misbehave-" + test.mode
			}
			install(t, dir, plugin, "misbehave")
			apply(t, d.Client, t.TempDir(), misbehaviour(test.mode, plugin, test.mode, test.n, test.limits))
			run := await(t, d.Client, begin(t, d.Client, test.mode))
			step := steps(t, d.Client, run.Ref)["0"]
			if run.Status != test.run || step.Status != test.step || step.Reason != test.reason {
				t.Errorf("run %s (%s), step %s (%s): %s; want run %s, step %s (%s)",
					run.Status, run.Reason, step.Status, step.Reason, step.Error, test.run, test.step, test.reason)
			}
			said := step.Error
			if test.step == "completed" {
				said = step.Message
				if step.Error != "" || run.Progress != 100 {
					t.Errorf("progress %v, error %q", run.Progress, step.Error)
				}
			} else if run.Reason == "" || run.Progress >= 100 || len(step.Error) > task.MaxMessage {
				t.Errorf("reason %q, progress %v, an error of %d bytes", run.Reason, run.Progress, len(step.Error))
			}
			for _, text := range test.texts {
				if !strings.Contains(said, text) {
					t.Errorf("it says %q, want %q in it", said, text)
				}
			}
			if test.check != nil {
				test.check(t, d, run.Ref)
			}
			d.well(t)
		})
	}
	t.Run("the other steps' plugins", func(t *testing.T) {
		list, err := d.Plugins(t.Context())
		if err != nil || len(list.Plugins) != len(tests)+1 {
			t.Errorf("%d plugins, %v", len(list.Plugins), err)
		}
		for _, p := range list.Plugins {
			if p.State != "running" && p.State != "known" {
				t.Errorf("%s is %s: %s", p.Name, p.State, p.Error)
			}
		}
	})
	eventually(t, "what steps left behind is killed", func() bool {
		plugins := map[int]bool{}
		list, err := d.Plugins(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list.Plugins {
			plugins[p.PID] = true
		}
		for _, pid := range marked(markerOf(d.config.DataDir)) {
			if !plugins[pid] {
				return false
			}
		}
		return true
	})
}

// misbehaviour is a task of one step that is tried once.
func misbehaviour(name, plugin, mode string, n int, limits string) string {
	if limits != "" {
		limits = "    " + limits + "\n"
	}
	return fmt.Sprintf("name: %s\nsteps:\n  - name: bad\n    controller: %s\n    settings: {mode: %s, n: %d}\n    retry: {attempts: 1}\n%s", name, plugin, mode, n, limits)
}

func shortError(t *testing.T, d *inside, ref string) {
	if text := steps(t, d.Client, ref)["0"].Error; len(text) < task.MaxMessage/2 || strings.ContainsRune(text, '�') {
		t.Errorf("an error of %d bytes: %.40q", len(text), text)
	}
}

func noOutputs(t *testing.T, d *inside, ref string) {
	detail, err := d.Run(t.Context(), ref)
	if err != nil || len(detail.Outputs) > 0 {
		t.Errorf("outputs of a failed step: %v, %v", detail.Outputs, err)
	}
}

// TestLogFloodIsBounded holds what a flood of log lines may cost: 32 MiB of
// memory, and nobody else's answers.
func TestLogFloodIsBounded(t *testing.T) {
	d := open(t, pluginDir(t, "noop"))
	install(t, d.config.PluginDirs[0], "misbehave-steps", "misbehave")
	apply(t, d.Client, t.TempDir(), wellTask, misbehaviour("flood", "misbehave-steps", "log-flood", 200_000, ""), misbehaviour("calm", "misbehave-steps", "none", 0, ""))
	wantCompleted(t, d.Client, await(t, d.Client, begin(t, d.Client, "calm")))
	d.well(t)

	before := heap(true)
	var peak atomic.Uint64
	done, sampled := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sampled)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				peak.Store(max(peak.Load(), heap(false)))
			case <-done:
				return
			}
		}
	}()
	ref := begin(t, d.Client, "flood")
	answers := 0
	for alive := true; alive; answers++ {
		d.answers(t)
		detail, err := d.Run(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		alive = detail.Alive()
	}
	close(done)
	<-sampled
	wantCompleted(t, d.Client, await(t, d.Client, ref))
	if grown := int64(peak.Load()) - int64(before); grown > 32<<20 {
		t.Errorf("the heap grew by %d KiB", grown>>10)
	}
	lines, dropped := 0, false
	err := d.Logs(t.Context(), ref, api.LogQuery{}, func(l api.LogLine) error {
		lines++
		dropped = dropped || strings.Contains(l.Message, "lines dropped")
		return nil
	})
	if err != nil || lines > 100_000 || lines < 1000 || !dropped {
		t.Errorf("%d lines came through; said that some were dropped: %t; %v", lines, dropped, err)
	}
	t.Logf("%d answers meanwhile, %d lines kept, heap %d MiB before and %d MiB at most", answers, lines, before>>20, peak.Load()>>20)
	d.well(t)
}

func heap(collect bool) uint64 {
	if collect {
		runtime.GC()
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return mem.HeapAlloc
}

// TestCancelOfADeafStep holds the bound of a cancel: the grace, and five
// seconds for SIGTERM.
func TestCancelOfADeafStep(t *testing.T) {
	const term, slack = 5 * time.Second, 20 * time.Second
	dir := pluginDir(t, "noop")
	d := open(t, dir)
	apply(t, d.Client, t.TempDir(), wellTask)
	for _, mode := range []string{"obey", "hang", "hang-hard", "freeze", "plan-hang"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			plugin := "misbehave-steps-" + mode
			if mode == "plan-hang" {
				plugin = "misbehave-plan"
			}
			install(t, dir, plugin, "misbehave")
			apply(t, d.Client, t.TempDir(), misbehaviour(mode, plugin, mode, 0, ""))
			ref := begin(t, d.Client, mode)
			awaitEvent(t, d.Client, ref, func(e api.Event) bool { return len(e.Active) > 0 || e.Step != nil && e.Step.Status == "running" })
			// The plugin has it in its hands.
			eventually(t, "the plugin runs", func() bool {
				list, err := d.Plugins(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range list.Plugins {
					if p.Name == plugin {
						return p.PID > 0
					}
				}
				return false
			})
			from := time.Now()
			run, err := d.Cancel(t.Context(), ref, api.CancelRequest{})
			if err != nil || !run.CancelRequested && run.Status != "cancelled" {
				t.Fatalf("cancel: %+v, %v", run, err)
			}
			d.answers(t)
			run = await(t, d.Client, ref)
			took := time.Since(from)
			step := steps(t, d.Client, ref)["0"]
			if run.Status != "cancelled" || step.Status != "cancelled" || !strings.Contains(run.Reason, "cancelled") {
				t.Errorf("run %s (%s), step %s (%s)", run.Status, run.Reason, step.Status, step.Error)
			}
			if limit := d.config.Grace + term + slack; took > limit {
				t.Errorf("it took %s, more than %s", took, limit)
			}
			d.well(t)
		})
	}
}

// TestTaskTimeLimit holds that a run ends at the time limit of its task,
// whatever its steps do.
func TestTaskTimeLimit(t *testing.T) {
	d := open(t, pluginDir(t, "noop"))
	install(t, d.config.PluginDirs[0], "misbehave-steps", "misbehave")
	apply(t, d.Client, t.TempDir(), wellTask, "max_execution_time: 2s\n"+misbehaviour("long", "misbehave-steps", "hang-hard", 0, "")+
		"  - {name: later, controller: noop}\n")
	run := await(t, d.Client, begin(t, d.Client, "long"))
	all := steps(t, d.Client, run.Ref)
	if run.Status != "failed" || !strings.Contains(run.Reason, "max_execution_time") || all["0"].Reason != "timed_out" || all["1"].Status == "completed" {
		t.Errorf("run %s (%s), steps %+v", run.Status, run.Reason, all)
	}
	d.well(t)
}

// TestMisbehavingStarts holds what is said of plugins that cannot be used: when
// a task names them, and when they break after it was saved.
func TestMisbehavingStarts(t *testing.T) {
	tests := []struct{ mode, text string }{
		{"early-stdout", "Welcome to my plugin!"},
		{"new-protocol", `version "999"`},
		{"old-core", "go-plugin's protocol"},
		{"netrpc", "grpc only"},
		{"foreign-socket", "only a unix socket in its own directory"},
		{"tcp-address", "127.0.0.1:22"},
		{"bad-cert", "unusable certificate"},
		{"no-cert", "offers no certificate"},
		{"long-line", "more than 8192 bytes"},
		{"exit-early", "cannot find my configuration"},
		{"close-stdout", "without a handshake"},
		{"describe-nothing", "no controllers"},
		{"describe-large", "does not say"},
		{"describe-twice", "two controllers are named run"},
	}
	dir := pluginDir(t, "noop")
	d := open(t, dir)
	apply(t, d.Client, t.TempDir(), wellTask)
	for _, test := range tests {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			refused(t, d, install(t, dir, "misbehave-"+test.mode, "misbehave"), test.text)
		})
	}
	for name, mode := range map[string]os.FileMode{"others-write": 0o757, "not-executable": 0o644} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(dir, name)
			writeFile(t, path, readFile(t, filepath.Join(built, "misbehave")))
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			refused(t, d, path, strings.ReplaceAll(name, "others-write", "writ"))
		})
	}
	t.Run("after it was saved", func(t *testing.T) {
		path := install(t, dir, "misbehave-steps-good", "misbehave")
		apply(t, d.Client, t.TempDir(), misbehaviour("broken", "misbehave-steps-good", "crash", 0, ""))
		await(t, d.Client, begin(t, d.Client, "broken")) // the process ends
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		writeFile(t, path, "#!/bin/sh\necho 'I am no plugin'\n")
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
		run := await(t, d.Client, begin(t, d.Client, "broken"))
		step := steps(t, d.Client, run.Ref)["0"]
		if run.Status != "failed" || step.Reason != "refused" || !strings.Contains(step.Error, "I am no plugin") {
			t.Errorf("run %s, step %s (%s): %s", run.Status, step.Status, step.Reason, step.Error)
		}
		d.well(t)
	})
}
