package pluginhost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

func TestManyCallersStartOnce(t *testing.T) {
	r := newRig(t, nil, "misbehave-slow-start")
	var wg sync.WaitGroup
	pids := make([]string, 20)
	for i := range pids {
		wg.Go(func() {
			got, _ := r.do("misbehave-slow-start", "pid", 0)
			pids[i] = got.Message
		})
	}
	wg.Wait()
	slices.Sort(pids)
	if all := slices.Compact(pids); len(all) != 1 || all[0] == "" {
		t.Errorf("processes: %v", all)
	}
}

func TestWaitForStartEndsWithContext(t *testing.T) {
	r := newRig(t, func(c *Config) { c.StartTimeout = time.Minute }, "misbehave-silent")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan task.Outcome)
	go func() { done <- r.Execute(ctx, work("misbehave-silent", "none", 0), newRecorder()) }()
	eventually(t, "it is being started", func() bool { return len(markedPids(r.cfg.Marker)) == 1 })
	cancel(task.ErrCancelled)
	wantOutcome(t, <-done, task.OutcomeCancelled, "before the plugin was ready")
}

func TestIdlePluginIsEnded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.IdleTimeout = 100 * time.Millisecond }, "misbehave")
	if got, _ := r.do("misbehave", "none", 0); got.Kind != task.OutcomeCompleted {
		t.Fatalf("%+v", got)
	}
	eventually(t, "it is ended", func() bool { return len(markedPids(r.cfg.Marker)) == 0 })
	eventually(t, "its end is noted", func() bool { return r.info("misbehave").LastExit == "exit status 0" })
	if info := r.info("misbehave"); info.State != StateKnown || info.Error != "" || len(info.Controllers) != 1 {
		t.Errorf("%+v", info)
	}
	if info, err := r.Lookup(t.Context(), "misbehave"); err != nil || info.Name != "misbehave" || !info.Plans || info.Effect != task.Idempotent {
		t.Errorf("from memory: %+v, %v", info, err)
	}
	if pids := markedPids(r.cfg.Marker); len(pids) > 0 {
		t.Error("a process was started for what was known")
	}
}

func TestSessionKeepsTheProcessUntilTheRunEnds(t *testing.T) {
	r := newRig(t, func(c *Config) { c.IdleTimeout = 50 * time.Millisecond }, "misbehave", "healthy")
	w := work("misbehave", "plan-session", 3)
	var steps []task.PlannedStep
	got := r.Plan(t.Context(), w, newRecorder(), func(s []task.PlannedStep) error {
		steps = append(steps, s...)
		return nil
	})
	wantOutcome(t, got, task.OutcomeCompleted)
	if got.Session != "snapshot-1" || len(steps) != 3 || steps[2].Order != 2 || steps[0].Weight != 2 {
		t.Errorf("session %q, steps %+v", got.Session, steps)
	}
	pid := r.info("misbehave").PID
	// Another plugin of this host comes and goes meanwhile: that long is idle.
	r.wantHealthy()
	eventually(t, "the other is ended", func() bool { return r.info("healthy").State == StateKnown })
	w.Session = got.Session
	w.Settings = json.RawMessage(`{"mode":"pid"}`)
	if got := r.Execute(t.Context(), w, newRecorder()); got.Message != fmt.Sprint(pid) {
		t.Errorf("the step ran in %s, the session is in %d", got.Message, pid)
	}
	r.EndRun(w.Attempt.Run)
	eventually(t, "it is ended", func() bool { return r.info("misbehave").State == StateKnown })
}

func TestEndRunReachesThoseThatTookPart(t *testing.T) {
	r := newRig(t, nil, "misbehave", "healthy")
	r.do("misbehave", "none", 0)
	w := work("healthy", "none", 0)
	w.Attempt.Run = 8
	r.Execute(t.Context(), w, newRecorder())
	r.EndRun(7)
	r.EndRun(7)
	r.EndRun(99)
	ended := func(plugin string) string {
		w := work(plugin, "ended-runs", 0)
		w.Attempt.Run = 1000
		rec := newRecorder()
		r.Execute(t.Context(), w, rec)
		return rec.outputs["ended"]
	}
	eventually(t, "run 7 is told", func() bool { return ended("misbehave") != "[]" })
	if got := ended("misbehave"); got != `["7"]` {
		t.Errorf("told: %s", got)
	}
	if got := ended("healthy"); got != "[]" {
		t.Errorf("the other was told: %s", got)
	}
}

func TestEndRunSweepsLeftovers(t *testing.T) {
	r := newRig(t, nil, "misbehave")
	r.do("misbehave", "daemonize", 0)
	r.EndRun(7)
	eventually(t, "the plugin is alone", func() bool { return len(markedPids(r.cfg.Marker)) == 1 })
}

func TestReplacedFileTakesOver(t *testing.T) {
	r := newRig(t, func(c *Config) { c.HealthInterval = time.Hour }, "misbehave")
	first, _ := r.do("misbehave", "pid", 0)
	raw, err := os.ReadFile(builtPlugin)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.plugins, "misbehave")
	if err := os.WriteFile(path+".new", append(raw, 0), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Lookup(t.Context(), "misbehave"); err != nil {
		t.Fatal(err)
	}
	second, _ := r.do("misbehave", "pid", 0)
	if first.Message == second.Message || second.Kind != task.OutcomeCompleted {
		t.Errorf("first %+v, then %+v", first, second)
	}
	eventually(t, "the old one is gone", func() bool { return len(markedPids(r.cfg.Marker)) == 1 })
}

func TestCloseEndsStepsAndIsHardWhenTimeIsUp(t *testing.T) {
	r := newRig(t, func(c *Config) { c.TermGrace = time.Hour }, "misbehave")
	done := make(chan task.Outcome)
	go func() { done <- r.Execute(context.Background(), work("misbehave", "hang-hard", 0), newRecorder()) }()
	eventually(t, "it runs", func() bool { return r.info("misbehave").Steps == 1 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Close(ctx); err == nil {
		t.Error("close says that it was not hard")
	}
	wantOutcome(t, <-done, task.OutcomeLost, "daemon is stopping")
	got, _ := r.do("misbehave", "none", 0)
	wantOutcome(t, got, task.OutcomeRefused, "the daemon is stopping")
	if _, err := r.Lookup(t.Context(), "misbehave"); err != nil {
		t.Errorf("what is known stays known: %v", err)
	}
}

func TestCloseDuringStart(t *testing.T) {
	r := newRig(t, func(c *Config) { c.StartTimeout = time.Hour }, "misbehave-silent")
	done := make(chan task.Outcome)
	go func() {
		done <- r.Execute(context.Background(), work("misbehave-silent", "none", 0), newRecorder())
	}()
	eventually(t, "it is being started", func() bool { return len(markedPids(r.cfg.Marker)) == 1 })
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	wantOutcome(t, <-done, task.OutcomeRefused, "the daemon is stopping")
}

func TestPlugins(t *testing.T) {
	r := newRig(t, nil, "stepd-plugin-one", "two")
	second := t.TempDir()
	if err := os.Link(builtPlugin, filepath.Join(second, "two")); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(r.plugins, "README.md"), "x", 0o644)
	writeFile(t, filepath.Join(r.plugins, "plain"), "x", 0o644)
	writeFile(t, filepath.Join(r.plugins, "bad name!"), "x", 0o755)
	r.Host.cfg.Dirs = []string{filepath.Join(r.plugins, "none"), r.plugins, second}
	problems := r.Scan()
	var texts []string
	for _, err := range problems {
		texts = append(texts, err.Error())
	}
	all := strings.Join(texts, "\n")
	if len(problems) != 3 || !strings.Contains(all, "none does not exist") || !strings.Contains(all, "bad name!") || !strings.Contains(all, "plain is not executable") {
		t.Errorf("problems:\n%s", all)
	}
	var list []string
	for _, p := range r.Plugins() {
		list = append(list, fmt.Sprintf("%s %s", p.Name, p.State))
		if p.Name == "two" && filepath.Dir(p.Path) != r.plugins {
			t.Errorf("two comes from %s", p.Path)
		}
	}
	if got := strings.Join(list, ", "); got != "one known, plain refused, two known" {
		t.Errorf("list: %s", got)
	}
}

func TestUnknownNames(t *testing.T) {
	r := newRig(t, nil, "misbehave")
	for name, kind := range map[string]error{"nothing": ErrNotFound, "nothing/x": ErrNotFound, "": ErrNotFound,
		"misbehave/other": ErrNoController, "misbehave/": ErrNoController} {
		if _, err := r.Lookup(t.Context(), name); !errors.Is(err, kind) || !errors.Is(err, task.ErrNotFound) {
			t.Errorf("%q: %v", name, err)
		}
		got := r.Execute(t.Context(), work(name, "none", 0), newRecorder())
		wantOutcome(t, got, task.OutcomeRefused)
	}
	if info, err := r.Lookup(t.Context(), "misbehave/run"); err != nil || info.Name != "misbehave" {
		t.Errorf("by its full name: %+v, %v", info, err)
	}
	// A plugin that is installed later needs no restart.
	r.install("late")
	if _, err := r.Lookup(t.Context(), "late"); err != nil {
		t.Error(err)
	}
}

func TestEnvironmentIsAllowListed(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/run/notify")
	t.Setenv("AWS_SECRET", "x")
	t.Setenv("LC_TIME", "C")
	t.Setenv("WANTED", "yes")
	r := newRig(t, func(c *Config) { c.ExtraEnv = []string{"WANTED"} }, "misbehave")
	_, rec := r.do("misbehave", "environment", 0)
	var env []string
	if err := json.Unmarshal([]byte(rec.outputs["environment"]), &env); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if _, twice := names[name]; twice && name != "PLUGIN_UNIX_SOCKET_DIR" {
			t.Errorf("%s is there twice", name)
		}
		names[name] = value
	}
	for _, bad := range []string{"NOTIFY_SOCKET", "AWS_SECRET"} {
		if _, there := names[bad]; there {
			t.Errorf("%s leaks", bad)
		}
	}
	if names["LC_TIME"] != "C" || names["WANTED"] != "yes" || names[lifelineEnv] != "0" ||
		!strings.HasPrefix(names[instanceEnv], r.cfg.Marker+"#misbehave#") || filepath.Dir(names["PLUGIN_UNIX_SOCKET_DIR"]) != r.cfg.RunDir {
		t.Errorf("environment: %v", names)
	}
}

func TestWorkArrivesWhole(t *testing.T) {
	r := newRig(t, nil, "misbehave")
	w := work("misbehave", "info", 0)
	w.Checkpoint = []byte(`{"at":5}`)
	w.Deadline = time.Unix(2_000_000_000, 0)
	w.ScheduledFor = time.Unix(1_900_000_000, 0)
	w.RunCreatedAt, w.IdempotencyKey = time.Unix(1_800_000_000, 0), "key/tables"
	w.BaseDir, w.WorkDir, w.Session = "/base", "/work", "s1"
	w.HookOf = task.HookOf{Ref: "backup/41", Run: 41, Status: task.RunFailed, Reason: "no room"}
	rec := newRecorder()
	wantOutcome(t, r.Execute(t.Context(), w, rec), task.OutcomeCompleted)
	for _, want := range []string{`"task":"backup"`, `"run":42`, `"step":"tables"`, `"attempt":1`, `2000000000`, `1900000000`, `"run_id":"7"`,
		`"base_dir":"/base"`, `"work_dir":"/work"`, `"session":"s1"`, `"checkpoint":"{\"at\":5}"`, `"has":true`, `"idempotency_key":"key/tables"`, `1800000000`,
		`"hook_of":{"ref":"backup/41","run":41,"status":"failed","reason":"no room"}`} {
		if !strings.Contains(rec.outputs["info"], want) {
			t.Errorf("%s is missing in %s", want, rec.outputs["info"])
		}
	}
}

func TestCheckpointsAndInputsAreAnswered(t *testing.T) {
	r := newRig(t, nil, "misbehave")
	got, rec := r.do("misbehave", "checkpoints", 50)
	wantOutcome(t, got, task.OutcomeCompleted)
	if len(rec.checkpoints) != 50 || string(rec.checkpoints[49]) != `{"i":49}` {
		t.Errorf("%d checkpoints", len(rec.checkpoints))
	}
	rec = newRecorder()
	rec.pages = map[string][]task.Input{"": {{Step: "tables/a", Value: json.RawMessage("1")}}, "p2": {{Step: "tables/b", Value: json.RawMessage("2")}}}
	rec.next = map[string]string{"": "p2"}
	wantOutcome(t, r.Execute(t.Context(), work("misbehave", "inputs", 0), rec), task.OutcomeCompleted, "tables/a=1 tables/b=2")

	rec = newRecorder()
	rec.refuse = task.ErrStale
	wantOutcome(t, r.Execute(t.Context(), work("misbehave", "checkpoints", 1), rec), task.OutcomeFailed, task.ErrStale.Error())
	wantOutcome(t, r.Execute(t.Context(), work("misbehave", "inputs", 0), rec), task.OutcomeFailed, task.ErrStale.Error())

	rec = newRecorder()
	rec.pages = map[string][]task.Input{"": {{Step: "a", Value: json.RawMessage(`"` + strings.Repeat("x", 5<<20) + `"`)}}}
	wantOutcome(t, r.Execute(t.Context(), work("misbehave", "inputs", 0), rec), task.OutcomeFailed, "a page of inputs")
}

func TestPlanMisbehaviour(t *testing.T) {
	tests := []struct {
		mode  string
		kind  task.OutcomeKind
		texts []string
		added int
	}{
		{"plan", task.OutcomeCompleted, nil, 1200},
		{"plan-bad-name", task.OutcomePermanent, []string{"step 2", "slash"}, 0},
		{"plan-decreasing", task.OutcomePermanent, []string{"must not decrease"}, 0},
		{"plan-settings", task.OutcomePermanent, []string{"no JSON object"}, 0},
		{"plan-large", task.OutcomePermanent, []string{"at most"}, 0},
		{"plan-crash", task.OutcomeNoResult, []string{"exit status 5"}, 1},
		{"plan-no-end", task.OutcomeNoResult, []string{"without a result"}, 1},
	}
	for _, test := range tests {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil, "misbehave", "healthy")
			added := 0
			got := r.Plan(t.Context(), work("misbehave", test.mode, test.added), newRecorder(), func(s []task.PlannedStep) error {
				added += len(s)
				return nil
			})
			wantOutcome(t, got, test.kind, test.texts...)
			// What a dying plugin sent last may be lost with it.
			if added != test.added && test.mode != "plan-crash" {
				t.Errorf("%d steps were added", added)
			}
			r.wantHealthy()
		})
	}
	t.Run("plan-hang", func(t *testing.T) {
		r := newRig(t, nil, "misbehave")
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan task.Outcome)
		go func() { done <- r.Plan(ctx, work("misbehave", "plan-hang", 0), newRecorder(), nil) }()
		eventually(t, "it plans", func() bool { return r.info("misbehave").Steps == 1 })
		cancel(task.ErrDeadline)
		wantOutcome(t, <-done, task.OutcomeCancelled, task.ErrDeadline.Error())
	})
	t.Run("add fails", func(t *testing.T) {
		r := newRig(t, nil, "misbehave")
		got := r.Plan(t.Context(), work("misbehave", "plan", 5), newRecorder(), func([]task.PlannedStep) error { return task.ErrDiskFull })
		wantOutcome(t, got, task.OutcomeFailed, task.ErrDiskFull.Error())
	})
}

func writeFile(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // despite the umask
		t.Fatal(err)
	}
}
