package server_test

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
	"github.com/stepd/stepd/daemon/internal/api/server"
)

// backend remembers how it was called, and answers with made-up values or with
// err.
type backend struct {
	err   error
	watch func(ctx context.Context, send func(api.Event) error) error
	logs  func(ctx context.Context, send func(api.LogLine) error) error
	hook  func(ctx context.Context) // in Status
	// starter is that of each task.
	starter []string

	mu    sync.Mutex
	calls []call
	who   api.Caller
}

var _ api.Backend = (*backend)(nil)

// call is a method of the backend with what it was given.
type call struct {
	Method string
	Args   []any
}

func (b *backend) called(method string, args ...any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, call{method, args})
	return b.err
}

func (b *backend) by(who api.Caller, method string, args ...any) error {
	b.mu.Lock()
	b.who = who
	b.mu.Unlock()
	return b.called(method, args...)
}

func (b *backend) take() (calls []call, who api.Caller) {
	b.mu.Lock()
	defer b.mu.Unlock()
	calls, b.calls = b.calls, nil
	who, b.who = b.who, api.Caller{}
	return calls, who
}

func (b *backend) Status(ctx context.Context) (api.Status, error) {
	if b.hook != nil {
		b.hook(ctx)
	}
	return aStatus, b.called("Status")
}
func (b *backend) Task(_ context.Context, name string) (api.Task, error) {
	t := aTask
	if b.starter != nil {
		t.Starter = b.starter
	}
	return t, b.called("Task", name)
}
func (b *backend) DeleteTask(_ context.Context, who api.Caller, name string, version uint64) error {
	return b.by(who, "DeleteTask", name, version)
}
func (b *backend) Plugins(_ context.Context) (api.PluginList, error) {
	return aPlugins, b.called("Plugins")
}
func (b *backend) WhoAmI(_ context.Context, who api.Caller) (api.Who, error) {
	return aWho, b.by(who, "WhoAmI")
}
func (b *backend) Secrets(_ context.Context) (api.SecretList, error) {
	return someSecrets, b.called("Secrets")
}
func (b *backend) Audit(_ context.Context, q api.AuditQuery) (api.Page[api.AuditEntry], error) {
	return api.Page[api.AuditEntry]{Items: []api.AuditEntry{anEntry}, Next: "n"}, b.called("Audit", q)
}
func (b *backend) Validate(_ context.Context, files []api.TaskFile) (api.ValidateResult, error) {
	return aValid, b.called("Validate", files)
}
func (b *backend) Apply(_ context.Context, who api.Caller, r api.ApplyRequest) (api.ApplyResult, error) {
	return anApply, b.by(who, "Apply", r)
}
func (b *backend) Tasks(_ context.Context, q api.TaskQuery) (api.Page[api.Task], error) {
	return somePage, b.called("Tasks", q)
}
func (b *backend) Definition(_ context.Context, name string) (api.Definition, error) {
	return aDefinition, b.called("Definition", name)
}
func (b *backend) Export(_ context.Context, after string, limit int) (api.Page[api.Definition], error) {
	return api.Page[api.Definition]{Items: []api.Definition{aDefinition}}, b.called("Export", after, limit)
}
func (b *backend) CreateTask(_ context.Context, who api.Caller, r api.SaveRequest) (api.Saved, error) {
	return aSaved, b.by(who, "CreateTask", r)
}
func (b *backend) ReplaceTask(_ context.Context, who api.Caller, name string, r api.SaveRequest) (api.Saved, error) {
	return aSaved, b.by(who, "ReplaceTask", name, r)
}
func (b *backend) PatchTask(_ context.Context, who api.Caller, name string, r api.PatchRequest) (api.Saved, error) {
	return aSaved, b.by(who, "PatchTask", name, r)
}
func (b *backend) SetDisabled(_ context.Context, who api.Caller, name string, disabled bool) (api.Task, error) {
	return aTask, b.by(who, "SetDisabled", name, disabled)
}
func (b *backend) Pause(_ context.Context, who api.Caller, name string, r api.PauseRequest) (api.Task, error) {
	return aPause, b.by(who, "Pause", name, r)
}
func (b *backend) Resume(_ context.Context, who api.Caller, name string) (api.Task, error) {
	return aTask, b.by(who, "Resume", name)
}
func (b *backend) TaskSteps(_ context.Context, name string) (api.Page[api.TaskStep], error) {
	return api.Page[api.TaskStep]{Items: aTask.Steps}, b.called("TaskSteps", name)
}
func (b *backend) TaskStep(_ context.Context, name, step string) (api.TaskStep, error) {
	return aTask.Steps[0], b.called("TaskStep", name, step)
}
func (b *backend) AddStep(_ context.Context, who api.Caller, name string, r api.StepRequest) (api.Saved, error) {
	return aSaved, b.by(who, "AddStep", name, r)
}
func (b *backend) PatchStep(_ context.Context, who api.Caller, name, step string, r api.PatchRequest) (api.Saved, error) {
	return aSaved, b.by(who, "PatchStep", name, step, r)
}
func (b *backend) OrderSteps(_ context.Context, who api.Caller, name string, r api.OrderRequest) (api.Saved, error) {
	return aSaved, b.by(who, "OrderSteps", name, r)
}
func (b *backend) DeleteStep(_ context.Context, who api.Caller, name, step string, version uint64) (api.Saved, error) {
	return aSaved, b.by(who, "DeleteStep", name, step, version)
}
func (b *backend) Next(_ context.Context, after string, limit int) (api.Page[api.Upcoming], error) {
	return api.Page[api.Upcoming]{Items: []api.Upcoming{aNext}, Next: "n"}, b.called("Next", after, limit)
}
func (b *backend) History(_ context.Context, q api.HistoryQuery) (api.Page[api.Slot], error) {
	return api.Page[api.Slot]{Items: []api.Slot{aSlot}, Next: "n"}, b.called("History", q)
}
func (b *backend) Explain(_ context.Context, r api.ExplainRequest) (api.Explanation, error) {
	return aMeaning, b.called("Explain", r)
}
func (b *backend) ExplainTask(_ context.Context, q api.ExplainQuery) (api.Explanations, error) {
	return api.Explanations{Task: "backup", Items: []api.Explanation{aMeaning}}, b.called("ExplainTask", q)
}
func (b *backend) Start(_ context.Context, who api.Caller, r api.RunRequest) (api.Run, error) {
	return aRun, b.by(who, "Start", r)
}
func (b *backend) StartBatch(_ context.Context, who api.Caller, r api.BatchRequest) (api.BatchResult, error) {
	return aBatch, b.by(who, "StartBatch", r)
}
func (b *backend) Cancel(_ context.Context, who api.Caller, ref string, r api.CancelRequest) (api.Run, error) {
	return aRun, b.by(who, "Cancel", ref, r)
}
func (b *backend) Continue(_ context.Context, who api.Caller, ref string, r api.AgainRequest) (api.Run, error) {
	return aRun, b.by(who, "Continue", ref, r)
}
func (b *backend) Restart(_ context.Context, who api.Caller, ref string, r api.AgainRequest) (api.Run, error) {
	return aRestart, b.by(who, "Restart", ref, r)
}
func (b *backend) Runs(_ context.Context, q api.RunQuery) (api.Page[api.Run], error) {
	return api.Page[api.Run]{Items: []api.Run{aRun}}, b.called("Runs", q)
}
func (b *backend) Run(_ context.Context, ref string) (api.RunDetail, error) {
	return aDetail, b.called("Run", ref)
}
func (b *backend) Steps(_ context.Context, ref string, q api.StepQuery) (api.Page[api.Step], error) {
	return api.Page[api.Step]{}, b.called("Steps", ref, q)
}
func (b *backend) Step(_ context.Context, ref, step string) (api.StepDetail, error) {
	return aStepDetail, b.called("Step", ref, step)
}
func (b *backend) Watch(ctx context.Context, ref string, send func(api.Event) error) error {
	if err := b.called("Watch", ref); err != nil {
		return err
	}
	if b.watch != nil {
		return b.watch(ctx, send)
	}
	return send(anEvent)
}
func (b *backend) Logs(ctx context.Context, ref string, q api.LogQuery, send func(api.LogLine) error) error {
	if err := b.called("Logs", ref, q); err != nil {
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
