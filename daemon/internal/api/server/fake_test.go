package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
	"github.com/stepd/stepd/daemon/internal/api/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend remembers how it was called, and answers with made-up values or with
// err.
type backend struct {
	api.Backend // of what is not faked
	err         error
	watch       func(ctx context.Context, send func(api.Event) error) error
	logs        func(ctx context.Context, send func(api.LogLine) error) error
	hook        func(ctx context.Context) // in Status

	mu    sync.Mutex
	calls []string
	who   api.Caller
}

func (b *backend) called(format string, args ...any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, fmt.Sprintf(format, args...))
	return b.err
}

func (b *backend) by(who api.Caller, format string, args ...any) error {
	b.mu.Lock()
	b.who = who
	b.mu.Unlock()
	return b.called(format, args...)
}

func (b *backend) take() (calls []string, who api.Caller) {
	b.mu.Lock()
	defer b.mu.Unlock()
	calls, b.calls = b.calls, nil
	who, b.who = b.who, api.Caller{}
	return calls, who
}

var (
	when     = time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC)
	half     = 30.5
	aTask    = api.Task{Name: "backup", Status: "ready", MaxParallel: 1, StepCount: 1, Version: 3, CreatedAt: when, UpdatedAt: when, Settings: json.RawMessage(`{"dir":"<a&b>"}`), Steps: []api.TaskStep{{Name: "tables", Controller: "dumptables"}}}
	aRun     = api.Run{Ref: "backup/42", Task: "backup", Number: 42, Status: "running", Progress: 12.5, ETASeconds: &half, Total: 3, Completed: 1, CreatedAt: when, StartedAt: &when}
	aStep    = api.Step{Name: "tables/actor", Position: "0.17", Controller: "dumptables", Status: "running", Attempt: 2, Counters: map[string]int64{"rows": 7}}
	aDetail  = api.RunDetail{Run: aRun, Steps: []api.Step{aStep}, Outputs: []api.Output{{Step: "archive", Name: "path", Value: json.RawMessage(`"/b/1.tar"`)}}, WorkDir: "/w"}
	aStatus  = api.Status{Version: "1.2", PID: 7, StartedAt: when, DataDir: "/d", Running: 1, MaxRuns: 4, Problems: []string{"no plugins"}}
	aPlugins = api.PluginList{Dirs: []string{"/p"}, Plugins: []api.Plugin{{Name: "http", Path: "/p/http", State: "known"}}}
	aLine    = api.LogLine{Time: when, Level: "info", Step: "tables", Message: "a line\nand another", Fields: json.RawMessage(`{"n":1}`)}
	anEvent  = api.Event{Type: "snapshot", Run: aRun, Active: []api.Step{aStep}}
	aPause   = api.Task{Name: "backup", Status: "paused", Pause: &api.Pause{By: "ada", At: when, Until: &when, Reason: "moving house"}}
	aNext    = api.Upcoming{Task: "backup", Schedule: "nightly", ScheduledFor: when, Due: when.Add(time.Minute), Jitter: "10m0s", Timezone: "Europe/Berlin"}
	aSlot    = api.Slot{Task: "backup", Schedule: "nightly", First: when, Last: when, Count: 1, Outcome: "ran_late", Run: "backup/42", DecidedAt: when, LateSeconds: &half}
	aMeaning = api.Explanation{Spec: "30 2 * * *", Timezone: "Europe/Berlin", Summary: "at 02:30", Times: []api.Occurrence{{At: when, Due: when, Notes: []string{"a gap"}, Excluded: true}}}
	aValid   = api.ValidateResult{Tasks: []api.Valid{{Task: "backup", File: "b.yaml", Steps: 2, Next: &aNext}}}
	anApply  = api.ApplyResult{Tasks: []api.Applied{{Task: "backup", File: "b.yaml", Action: "created", Version: 1, Steps: 1}}}
)

func (b *backend) Status(ctx context.Context) (api.Status, error) {
	if b.hook != nil {
		b.hook(ctx)
	}
	return aStatus, b.called("status")
}
func (b *backend) Plugins(context.Context) (api.PluginList, error) {
	return aPlugins, b.called("plugins")
}
func (b *backend) Validate(_ context.Context, files []api.TaskFile) (api.ValidateResult, error) {
	return aValid, b.called("validate %v", files)
}
func (b *backend) Pause(_ context.Context, who api.Caller, name string, r api.PauseRequest) (api.Task, error) {
	return aPause, b.by(who, "pause %q %v %q %q", name, r.Until, r.For, r.Reason)
}
func (b *backend) Resume(_ context.Context, who api.Caller, name string) (api.Task, error) {
	return aTask, b.by(who, "resume %q", name)
}
func (b *backend) Next(_ context.Context, after string, limit int) (api.Page[api.Upcoming], error) {
	return api.Page[api.Upcoming]{Items: []api.Upcoming{aNext}, Next: "n"}, b.called("next %q %d", after, limit)
}
func (b *backend) History(_ context.Context, q api.HistoryQuery) (api.Page[api.Slot], error) {
	return api.Page[api.Slot]{Items: []api.Slot{aSlot}, Next: "n"}, b.called("history %v", q)
}
func (b *backend) Explain(_ context.Context, r api.ExplainRequest) (api.Explanation, error) {
	return aMeaning, b.called("explain %v", r)
}
func (b *backend) ExplainTask(_ context.Context, q api.ExplainQuery) (api.Explanations, error) {
	return api.Explanations{Task: "backup", Items: []api.Explanation{aMeaning}}, b.called("explain task %v", q)
}
func (b *backend) Apply(_ context.Context, who api.Caller, r api.ApplyRequest) (api.ApplyResult, error) {
	return anApply, b.by(who, "apply %v", r)
}
func (b *backend) Tasks(_ context.Context, q api.TaskQuery) (api.Page[api.Task], error) {
	return api.Page[api.Task]{Items: []api.Task{aTask}, Next: "backup"}, b.called("tasks %q %d", q.After, q.Limit)
}
func (b *backend) Task(_ context.Context, name string) (api.Task, error) {
	return aTask, b.called("task %q", name)
}
func (b *backend) DeleteTask(_ context.Context, who api.Caller, name string, _ uint64) error {
	return b.by(who, "delete %q", name)
}
func (b *backend) SetDisabled(_ context.Context, who api.Caller, name string, disabled bool) (api.Task, error) {
	return aTask, b.by(who, "disable %q %t", name, disabled)
}
func (b *backend) Start(_ context.Context, who api.Caller, r api.RunRequest) (api.Run, error) {
	return aRun, b.by(who, "start %v", r)
}
func (b *backend) Cancel(_ context.Context, who api.Caller, ref string, _ api.CancelRequest) (api.Run, error) {
	return aRun, b.by(who, "cancel %q", ref)
}
func (b *backend) Continue(_ context.Context, who api.Caller, ref string, _ api.AgainRequest) (api.Run, error) {
	return aRun, b.by(who, "continue %q", ref)
}
func (b *backend) Restart(_ context.Context, who api.Caller, ref string, _ api.AgainRequest) (api.Run, error) {
	return aRun, b.by(who, "restart %q", ref)
}
func (b *backend) Runs(_ context.Context, q api.RunQuery) (api.Page[api.Run], error) {
	return api.Page[api.Run]{Items: []api.Run{aRun}}, b.called("runs %v", q)
}
func (b *backend) Run(_ context.Context, ref string) (api.RunDetail, error) {
	return aDetail, b.called("run %q", ref)
}
func (b *backend) Steps(_ context.Context, ref string, q api.StepQuery) (api.Page[api.Step], error) {
	return api.Page[api.Step]{}, b.called("steps %q %q %d", ref, q.After, q.Limit)
}
func (b *backend) Watch(ctx context.Context, ref string, send func(api.Event) error) error {
	if err := b.called("watch %q", ref); err != nil {
		return err
	}
	if b.watch != nil {
		return b.watch(ctx, send)
	}
	return send(anEvent)
}
func (b *backend) Logs(ctx context.Context, ref string, q api.LogQuery, send func(api.LogLine) error) error {
	if err := b.called("logs %q %t", ref, q.Follow); err != nil {
		return err
	}
	if b.logs != nil {
		return b.logs(ctx, send)
	}
	return send(aLine)
}

// serve runs a server until the test ends.
func serve(t *testing.T, opts server.Options) (*server.Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run", "stepd.sock")
	l, err := server.Listen(path, "")
	if err != nil {
		t.Fatal(err)
	}
	s := server.New(opts)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = s.Shutdown(ctx)
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s, path
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func start(t *testing.T, b *backend) *client.Client {
	t.Helper()
	_, path := serve(t, server.Options{Backend: b})
	return &client.Client{Socket: path}
}
