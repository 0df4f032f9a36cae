package pluginhost

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stepd/stepd/daemon/internal/task"
)

// TestMisbehaviour goes through what a step can do wrong by itself. After
// each, the same plugin and another one must work, and (see newRig) nothing
// may be left.
func TestMisbehaviour(t *testing.T) {
	tests := []struct {
		mode  string
		n     int
		kind  task.OutcomeKind
		texts []string
		dies  bool // the process does not outlive the step
		check func(*testing.T, *rig, task.Outcome, *recorder)
	}{
		{mode: "none", kind: task.OutcomeCompleted},
		{mode: "fail", kind: task.OutcomeFailed, texts: []string{"it did not work"}},
		{mode: "permanent", kind: task.OutcomePermanent},
		{mode: "session-lost", kind: task.OutcomeSessionLost},
		{mode: "retry-after", kind: task.OutcomeFailed, check: func(t *testing.T, _ *rig, o task.Outcome, _ *recorder) {
			if o.RetryAfter != 90*time.Second {
				t.Errorf("retry after %v", o.RetryAfter)
			}
		}},

		{mode: "crash", kind: task.OutcomeNoResult, texts: []string{"plugin misbehave", "exit status 3", "about to crash"}, dies: true},
		{mode: "exit-0", kind: task.OutcomeNoResult, texts: []string{"plugin misbehave", "exit status 0"}, dies: true},
		{mode: "panic", kind: task.OutcomeNoResult, texts: []string{"exit status 2", "a bug in the controller"}, dies: true},
		{mode: "kill-itself", kind: task.OutcomeNoResult, texts: []string{"signal: killed"}, dies: true},
		{mode: "setsid-crash", kind: task.OutcomeNoResult, texts: []string{"exit status 4"}, dies: true},
		{mode: "cut-connection", kind: task.OutcomeNoResult, texts: []string{"cut its connection"}, dies: true},
		{mode: "no-result", kind: task.OutcomeNoResult, texts: []string{"without a result"}},
		{mode: "grpc-error", kind: task.OutcomeNoResult, texts: []string{"not today"}},
		{mode: "unknown-status", kind: task.OutcomeNoResult, texts: []string{"77"}},
		{mode: "two-results", kind: task.OutcomeCompleted, texts: []string{"first"}},
		{mode: "never-end", kind: task.OutcomeCompleted},
		{mode: "cancel-itself", kind: task.OutcomeFailed, texts: []string{"nobody", "rather not"}},
		{mode: "long-result", kind: task.OutcomeFailed, check: func(t *testing.T, _ *rig, o task.Outcome, _ *recorder) {
			if !utf8.ValidString(o.Message) || len(o.Message) < task.MaxMessage-10 {
				t.Errorf("message of %d bytes, valid: %v", len(o.Message), utf8.ValidString(o.Message))
			}
		}},

		{mode: "huge-message", kind: task.OutcomeNoResult, texts: []string{"4 MiB"}},
		{mode: "bad-utf8", kind: task.OutcomeNoResult, texts: []string{"UTF-8"}},
		{mode: "garbage", kind: task.OutcomeNoResult, texts: []string{"broke the protocol"}},
		{mode: "empty-message", kind: task.OutcomeCompleted},
		{mode: "bad-json", kind: task.OutcomeFailed, texts: []string{"output rows", "not valid JSON"}},
		{mode: "bad-json-utf8", kind: task.OutcomeFailed, texts: []string{"not valid JSON"}},
		{mode: "output-name", kind: task.OutcomeFailed, texts: []string{"output"}},
		{mode: "output-large", kind: task.OutcomeFailed, texts: []string{"at most 65536"}},
		{mode: "outputs-many", kind: task.OutcomeFailed, texts: []string{"together"}},
		{mode: "bad-json-hang", kind: task.OutcomeFailed, texts: []string{"not valid JSON"}, dies: true},
		{mode: "checkpoint-large", kind: task.OutcomeFailed, texts: []string{"checkpoint has 307200 bytes"},
			check: func(t *testing.T, _ *rig, _ task.Outcome, rec *recorder) {
				if len(rec.checkpoints) > 0 {
					t.Error("the large checkpoint was kept")
				}
			}},
		{mode: "progress", kind: task.OutcomeCompleted, check: checkProgress},
		{mode: "log-flood", n: 200_000, kind: task.OutcomeCompleted, check: checkLogFlood},
		{mode: "log-nonsense", kind: task.OutcomeCompleted, check: func(t *testing.T, _ *rig, _ task.Outcome, rec *recorder) {
			if len(rec.logs) != 1 || len(rec.logs[0]) > maxLine || rec.levels[0] != task.LogInfo {
				t.Errorf("%d lines, %v", len(rec.logs), rec.levels)
			}
		}},
		{mode: "stderr-flood", n: 200_000, kind: task.OutcomeCompleted, check: func(t *testing.T, r *rig, _ task.Outcome, _ *recorder) {
			eventually(t, "the drops are reported", func() bool { return strings.Contains(r.log.String(), "lines dropped") })
		}},
		{mode: "stderr-strange", kind: task.OutcomeCompleted, check: func(t *testing.T, r *rig, _ task.Outcome, _ *recorder) {
			eventually(t, "the line is in the daemon's log", func() bool { return strings.Contains(r.log.String(), `{\"@message\":5}`) })
		}},
		{mode: "stdout-flood", n: 80, kind: task.OutcomeCompleted},

		{mode: "fork", kind: task.OutcomeCompleted, check: checkNoStrays},
		{mode: "setsid", kind: task.OutcomeCompleted, check: checkNoStrays},
		{mode: "daemonize", kind: task.OutcomeCompleted, check: checkNoStrays},
		{mode: "sockets", kind: task.OutcomeCompleted},
	}
	for _, test := range tests {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil, "misbehave", "healthy")
			got, rec := r.do("misbehave", test.mode, test.n)
			wantOutcome(t, got, test.kind, test.texts...)
			if test.check != nil {
				test.check(t, r, got, rec)
			}
			r.wantHealthy()
			if got, _ := r.do("misbehave", "none", 0); got.Kind != task.OutcomeCompleted {
				t.Errorf("the same plugin afterwards: %+v", got)
			}
			if restarts := r.info("misbehave").Restarts; (restarts > 0) != test.dies {
				t.Errorf("the process was started anew %d times", restarts)
			}
		})
	}
}

func checkProgress(t *testing.T, _ *rig, _ task.Outcome, rec *recorder) {
	if len(rec.progress) != 8 {
		t.Fatalf("%d reports", len(rec.progress))
	}
	for i, p := range rec.progress {
		if _, err := json.Marshal(p); err != nil { // NaN and Inf cannot be encoded
			t.Errorf("report %d: %v", i, err)
		}
		if p.Done < 0 || p.Total < 0 || p.Total > 0 && p.Done > p.Total || len(p.Note) > maxNote || len(p.Counters) > maxCounters {
			t.Errorf("report %d: %v of %v", i, p.Done, p.Total)
		}
	}
	if p := rec.progress[4]; p.Done != 3 || p.Total != 10 {
		t.Errorf("a proper report came as %+v", p)
	}
}

func checkLogFlood(t *testing.T, r *rig, _ task.Outcome, rec *recorder) {
	if n := len(rec.logs); n > 5000+1000*60 || n < 5000 {
		t.Errorf("%d lines came through", n)
	}
	if !rec.has("log lines dropped") {
		t.Error("nobody says that lines were dropped")
	}
	var mem runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&mem)
	if mem.HeapAlloc > 128<<20 {
		t.Errorf("%d MiB are held", mem.HeapAlloc>>20)
	}
}

func checkNoStrays(t *testing.T, r *rig, _ task.Outcome, _ *recorder) {
	pid := r.info("misbehave").PID
	eventually(t, "the plugin is alone", func() bool {
		pids := markedPids(r.cfg.Marker)
		return len(pids) == 1 && pids[0] == pid
	})
}

// cancelAfterLine cancels with the cause once the controller has said
// something, so that it is known to be at work.
func (r *rig) cancelAfterLine(mode string, cause error) (task.Outcome, time.Duration) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	rec := newRecorder()
	watched := make(chan time.Time)
	go func() {
		<-rec.logged
		cancel(cause)
		watched <- time.Now()
	}()
	got := r.Execute(ctx, work("misbehave", mode, 0), rec)
	return got, time.Since(<-watched)
}

func TestCancelIsHeardWithItsCause(t *testing.T) {
	for cause, word := range map[error]string{task.ErrCancelled: "CAUSE_CANCELLED", task.ErrStopping: "CAUSE_STOPPING", task.ErrDeadline: "CAUSE_DEADLINE"} {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(c *Config) { c.Grace = time.Minute }, "misbehave", "healthy")
			got, _ := r.cancelAfterLine("obey", cause)
			wantOutcome(t, got, task.OutcomeCancelled, word, "1m0s")
			if r.info("misbehave").State != StateRunning {
				t.Error("the process was ended although its step obeyed")
			}
			r.wantHealthy()
		})
	}
}

func TestDeafStepsAreKilled(t *testing.T) {
	for _, mode := range []string{"hang", "hang-hard", "freeze"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(c *Config) { c.HealthInterval = time.Hour }, "misbehave", "healthy")
			ctx, cancel := context.WithCancelCause(context.Background())
			done := make(chan task.Outcome)
			go func() { done <- r.Execute(ctx, work("misbehave", mode, 0), newRecorder()) }()
			eventually(t, "the step runs", func() bool { return r.info("misbehave").Steps == 1 })
			from := time.Now()
			cancel(task.ErrCancelled)
			wantOutcome(t, <-done, task.OutcomeCancelled, "did not stop")
			if took := time.Since(from); took < r.cfg.Grace || took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			r.wantHealthy()
			if got, _ := r.do("misbehave", "none", 0); got.Kind != task.OutcomeCompleted {
				t.Errorf("afterwards: %+v", got)
			}
			if state := r.info("misbehave").State; state != StateRunning {
				t.Errorf("state %s", state)
			}
		})
	}
}

func TestFinishAfterCancelCounts(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Grace = time.Minute }, "misbehave")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(task.ErrCancelled)
	// The plugin is up already, so that a done context does not end the start.
	if _, err := r.Lookup(t.Context(), "misbehave"); err != nil {
		t.Fatal(err)
	}
	got := r.Execute(ctx, work("misbehave", "finish-late", 0), newRecorder())
	wantOutcome(t, got, task.OutcomeCompleted, "done anyway")
}

func TestNeighboursOfADeafStepAreLost(t *testing.T) {
	r := newRig(t, nil, "misbehave", "healthy")
	neighbour := make(chan task.Outcome)
	rec := newRecorder()
	go func() { neighbour <- r.Execute(context.Background(), work("misbehave", "obey", 0), rec) }()
	<-rec.logged
	ctx, cancel := context.WithCancelCause(context.Background())
	deaf := make(chan task.Outcome)
	go func() { deaf <- r.Execute(ctx, work("misbehave", "hang-hard", 0), newRecorder()) }()
	eventually(t, "both run", func() bool { return r.info("misbehave").Steps == 2 })
	cancel(task.ErrCancelled)
	wantOutcome(t, <-deaf, task.OutcomeCancelled)
	wantOutcome(t, <-neighbour, task.OutcomeLost, "step tables of backup/42 did not stop")
	r.wantHealthy()
}

func TestDeathSettlesAllSteps(t *testing.T) {
	r := newRig(t, nil, "misbehave", "healthy")
	const others = 5
	ends := make(chan task.Outcome)
	for range others {
		go func() { ends <- r.Execute(context.Background(), work("misbehave", "obey", 0), newRecorder()) }()
	}
	eventually(t, "all run", func() bool { return r.info("misbehave").Steps == others })
	got, _ := r.do("misbehave", "crash", 0)
	wantOutcome(t, got, task.OutcomeNoResult, "exit status 3")
	for range others {
		wantOutcome(t, <-ends, task.OutcomeNoResult, "exit status 3", "about to crash")
	}
	r.wantHealthy()
}

func TestFrozenPluginIsFoundOut(t *testing.T) {
	r := newRig(t, func(c *Config) { c.HealthInterval, c.HealthTimeout = 50*time.Millisecond, 300*time.Millisecond }, "misbehave", "healthy")
	got, _ := r.do("misbehave", "freeze", 0)
	wantOutcome(t, got, task.OutcomeNoResult, "did not answer 3 health checks")
	r.wantHealthy()
}

func TestStderrOfTheOnlyStepIsItsLog(t *testing.T) {
	r := newRig(t, nil, "misbehave")
	_, rec := r.do("misbehave", "crash", 0)
	if !rec.has("stderr: about to crash") {
		t.Errorf("the step's log: %q", rec.logs)
	}
}

func TestCircuitOpensAndRecovers(t *testing.T) {
	clock := newFakeClock()
	r := newRig(t, func(c *Config) { c.BreakerDeaths, c.Now = 3, clock.Now }, "misbehave", "healthy")
	for range 3 {
		got, _ := r.do("misbehave", "crash", 0)
		wantOutcome(t, got, task.OutcomeNoResult)
	}
	got, _ := r.do("misbehave", "none", 0)
	wantOutcome(t, got, task.OutcomeRefused, "died 3 times", "not started before", "exit status 3")
	if _, err := r.Lookup(t.Context(), "misbehave"); err != nil {
		t.Errorf("what is known needs no process: %v", err)
	}
	if state := r.info("misbehave").State; state != StateBroken {
		t.Errorf("state %s", state)
	}
	r.wantHealthy()

	clock.add(61 * time.Second)
	got, _ = r.do("misbehave", "crash", 0)
	wantOutcome(t, got, task.OutcomeNoResult) // the one probe
	got, _ = r.do("misbehave", "none", 0)
	wantOutcome(t, got, task.OutcomeRefused)

	clock.add(61 * time.Second)
	for range 2 {
		got, _ = r.do("misbehave", "none", 0)
		wantOutcome(t, got, task.OutcomeCompleted)
	}
	if state := r.info("misbehave").State; state != StateRunning {
		t.Errorf("state %s", state)
	}
}

func TestStartMisbehaviour(t *testing.T) {
	tests := []struct {
		mode string
		kind error
		text string
	}{
		{"early-stdout", ErrHandshake, "Welcome to my plugin!"},
		{"old-protocol", ErrProtocol, `version "0" of stepd's protocol`},
		{"new-protocol", ErrProtocol, `version "999"`},
		{"old-core", ErrProtocol, "go-plugin's protocol"},
		{"netrpc", ErrProtocol, "grpc only"},
		{"silent", ErrStart, "did not get ready within"},
		{"foreign-socket", ErrHandshake, "only a unix socket in its own directory"},
		{"tcp-address", ErrHandshake, "127.0.0.1:22"},
		{"link-address", ErrHandshake, "no socket of its own"},
		{"bad-cert", ErrHandshake, "unusable certificate"},
		{"no-cert", ErrHandshake, "offers no certificate"},
		{"long-line", ErrHandshake, "more than 8192 bytes"},
		{"endless-line", ErrHandshake, "more than 8192 bytes"},
		{"exit-early", ErrStart, "cannot find my configuration"},
		{"close-stdout", ErrStart, "without a handshake"},
		{"describe-hang", ErrDescribe, "does not say"},
		{"describe-nothing", ErrDescribe, "no controllers"},
		{"describe-schema", ErrDescribe, "no JSON object"},
		{"describe-effect", ErrDescribe, "effect"},
		{"describe-name", ErrDescribe, "slash"},
		{"describe-twice", ErrDescribe, "two controllers are named run"},
		{"describe-large", ErrDescribe, "does not say"},
		{"bad-log", nil, ""},
		{"slow-start", nil, ""},
	}
	for _, test := range tests {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			name := "misbehave-" + test.mode
			r := newRig(t, func(c *Config) {
				if test.mode == "silent" {
					c.StartTimeout = time.Second
				}
				c.CallTimeout = 2 * time.Second
			}, name)
			r.install("healthy")
			r.Scan()
			_, err := r.Lookup(t.Context(), name)
			got, _ := r.do(name, "none", 0)
			if test.kind == nil {
				if err != nil {
					t.Error(err)
				}
				wantOutcome(t, got, task.OutcomeCompleted)
			} else {
				if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.text) || !strings.Contains(err.Error(), name) {
					t.Errorf("error %v, want %v with %q", err, test.kind, test.text)
				}
				wantOutcome(t, got, task.OutcomeRefused, test.text)
				if info := r.info(name); info.State != StateRefused || !strings.Contains(info.Error, test.text) {
					t.Errorf("listed as %s: %s", info.State, info.Error)
				}
			}
			if test.mode != "silent" {
				r.wantHealthy()
			}
		})
	}
}

func TestSweepKillsWhatAnEarlierDaemonLeft(t *testing.T) {
	r := newRig(t, nil, "misbehave-immortal", "healthy")
	other := newRig(t, nil, "healthy")
	if got, _ := r.do("misbehave-immortal", "none", 0); got.Kind != task.OutcomeCompleted {
		t.Fatalf("%+v", got)
	}
	if got, _ := r.do("misbehave-immortal", "daemonize", 0); got.Kind != task.OutcomeCompleted {
		t.Fatalf("%+v", got)
	}
	other.wantHealthy()
	if n, err := Sweep(r.cfg.Marker); err != nil || n < 1 {
		t.Errorf("killed %d, %v", n, err)
	}
	if pids := markedPids(r.cfg.Marker); len(pids) > 0 {
		t.Errorf("left: %v", pids)
	}
	if pids := markedPids(other.cfg.Marker); len(pids) != 1 {
		t.Errorf("the other daemon's plugins: %v", pids)
	}
}

func TestOldSocketsAreRemoved(t *testing.T) {
	r := newRig(t, nil)
	for _, path := range []string{"/p-old/plugin123", "/plugin-dir77/x"} {
		if err := os.MkdirAll(r.cfg.RunDir+path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	again, err := New(r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(r.cfg.RunDir); len(entries) > 0 {
		t.Errorf("left: %v", entries)
	}
}
