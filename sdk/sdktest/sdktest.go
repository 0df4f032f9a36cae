package sdktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/stepd/stepd/sdk"
	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

// Harness serves one plugin for one test.
type Harness struct {
	t      testing.TB
	plugin string
	client stepdv1.PluginClient
	work   string
	mayDie bool
}

// New serves the plugin until the test ends.
func New(t testing.TB, p sdk.Plugin) *Harness {
	t.Helper()
	server, err := sdk.NewServer(p)
	if err != nil {
		t.Fatalf("sdktest: %v", err)
	}
	// Not t.TempDir: its path grows with the test's name, a socket's must not.
	dir, err := os.MkdirTemp("", "sdktest")
	if err != nil {
		t.Fatalf("sdktest: %v", err)
	}
	listener, err := net.Listen("unix", filepath.Join(dir, "plugin"))
	if err != nil {
		t.Fatalf("sdktest: %v", err)
	}
	grpcServer := grpc.NewServer(grpc.MaxRecvMsgSize(sdk.MaxMessage), grpc.MaxSendMsgSize(sdk.MaxMessage))
	stepdv1.RegisterPluginServer(grpcServer, server)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = grpcServer.Serve(listener) // ends with Stop
	}()
	conn, err := grpc.NewClient("unix://"+listener.Addr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(sdk.MaxMessage), grpc.MaxCallSendMsgSize(sdk.MaxMessage)))
	if err != nil {
		t.Fatalf("sdktest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		server.Stop(ctx)
		conn.Close()
		grpcServer.Stop()
		<-served
		os.RemoveAll(dir)
	})
	return &Harness{t: t, plugin: p.Name, client: stepdv1.NewPluginClient(conn), work: t.TempDir()}
}

// Attach talks to a plugin that a test serves itself, in a process of its own
// perhaps. Closing conn is left to the test. The process may die: what is under
// way then ends without a status.
func Attach(t testing.TB, plugin string, conn grpc.ClientConnInterface) *Harness {
	t.Helper()
	return &Harness{t: t, plugin: plugin, client: stepdv1.NewPluginClient(conn), work: t.TempDir(), mayDie: true}
}

// Start says what to execute or plan.
type Start struct {
	Controller string // "" is the plugin's name
	Settings   any    // encoded to JSON, unless it is a json.RawMessage
	Checkpoint any    // nil: none; encoded to JSON, unless it is a json.RawMessage
	Task, Step string // default "test" and "step"
	Run        uint64 // default 1
	Attempt    int    // default 1
	BaseDir    string // default: the current directory
	WorkDir    string // default: one of the harness, the same for all calls
	Session    string // as Plan answered it

	Deadline     time.Time
	ScheduledFor time.Time
	RunCreatedAt time.Time
	HookOf       sdk.HookOf // zero: no hook of a run's end

	// Inputs answers for outputs of earlier steps; nil means there are none.
	Inputs func(step, name string) []sdk.InputItem
	// InputError is what the daemon answers in place of inputs, unless it is "".
	InputError string
	// OnCheckpoint is called before a checkpoint is acknowledged. An error is
	// what the controller gets, and the checkpoint is not recorded.
	OnCheckpoint func(n int, data json.RawMessage) error
	// OnProgress is called with each progress message as it arrives.
	OnProgress func(Progress)
	// Cancel, when it can be received from, makes the daemon send Cancel with
	// that cause: sdk.ErrCancelled, sdk.ErrStopping or sdk.ErrDeadline.
	Cancel <-chan error
}

// Progress is one progress message.
type Progress struct {
	Done, Total float64
	Note        string
	Counters    map[string]int64
}

// Line is one line of the log.
type Line struct {
	Level   string // debug, info, warn, error
	Message string
	Fields  map[string]any
}

// Result is all that was heard of one attempt.
type Result struct {
	Status      stepdv1.Result_Status
	Message     string
	RetryAfter  time.Duration
	Progress    []Progress
	Lines       []Line
	Checkpoints []json.RawMessage
	Outputs     map[string]json.RawMessage
}

// Completed reports whether the attempt completed its step.
func (r Result) Completed() bool { return r.Status == stepdv1.Result_STATUS_COMPLETED }

// RequireCompleted ends the test unless the attempt completed.
func (r Result) RequireCompleted(t testing.TB) {
	t.Helper()
	if !r.Completed() {
		t.Fatalf("the attempt ended as %v: %s", r.Status, r.Message)
	}
}

// Output decodes an output into v and ends the test where there is none.
func (r Result) Output(t testing.TB, name string, v any) {
	t.Helper()
	raw, ok := r.Outputs[name]
	if !ok {
		t.Fatalf("the attempt has no output %q", name)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatalf("output %q: %v", name, err)
	}
}

// LastCheckpoint is the newest one, or nil: give it to the next Start.
func (r Result) LastCheckpoint() any {
	if len(r.Checkpoints) == 0 {
		return nil
	}
	return r.Checkpoints[len(r.Checkpoints)-1]
}

// Execute runs one attempt. When ctx ends, the stream is cut, as by a crash of
// the daemon; the result then has no status.
func (h *Harness) Execute(ctx context.Context, start Start) Result {
	h.t.Helper()
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	stream, err := h.client.Execute(ctx)
	if err != nil && h.mayDie {
		return Result{}
	}
	if err != nil {
		h.t.Fatalf("sdktest: execute: %v", err)
	}
	begin := &stepdv1.Start{Controller: h.controller(start), Settings: h.encode(start.Settings), Info: h.info(start)}
	if start.Checkpoint != nil {
		begin.HasCheckpoint, begin.Checkpoint = true, h.encode(start.Checkpoint)
	}
	sends := make(chan *stepdv1.ExecuteRequest)
	finished := make(chan struct{})
	sender := make(chan struct{})
	go func() {
		defer close(sender)
		for {
			select {
			case request := <-sends:
				if stream.Send(request) != nil {
					return
				}
			case cause := <-start.Cancel:
				if stream.Send(cancelRequest(cause)) != nil {
					return
				}
				start.Cancel = nil
			case <-finished:
				return
			}
		}
	}()
	defer func() { close(finished); cut(); <-sender }()
	send := func(request *stepdv1.ExecuteRequest) {
		select {
		case sends <- request:
		case <-sender:
		}
	}
	send(&stepdv1.ExecuteRequest{Body: &stepdv1.ExecuteRequest_Start{Start: begin}})

	result := Result{Outputs: map[string]json.RawMessage{}}
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) || ctx.Err() != nil || err != nil && h.mayDie {
			return result
		}
		if err != nil {
			h.t.Fatalf("sdktest: execute %s: the plugin broke the protocol: %v", start.Controller, err)
		}
		switch body := response.GetBody().(type) {
		case *stepdv1.ExecuteResponse_Log:
			result.Lines = append(result.Lines, lineOf(body.Log))
		case *stepdv1.ExecuteResponse_Progress:
			p := Progress{body.Progress.GetDone(), body.Progress.GetTotal(), body.Progress.GetNote(), body.Progress.GetCounters()}
			result.Progress = append(result.Progress, p)
			if start.OnProgress != nil {
				start.OnProgress(p)
			}
		case *stepdv1.ExecuteResponse_Checkpoint:
			ack := &stepdv1.CheckpointAck{Sequence: body.Checkpoint.GetSequence()}
			var refused error
			if start.OnCheckpoint != nil {
				refused = start.OnCheckpoint(len(result.Checkpoints)+1, body.Checkpoint.GetData())
			}
			if refused != nil {
				ack.Error = refused.Error()
			} else {
				result.Checkpoints = append(result.Checkpoints, body.Checkpoint.GetData())
			}
			send(&stepdv1.ExecuteRequest{Body: &stepdv1.ExecuteRequest_CheckpointAck{CheckpointAck: ack}})
		case *stepdv1.ExecuteResponse_Output:
			result.Outputs[body.Output.GetName()] = body.Output.GetValue()
		case *stepdv1.ExecuteResponse_InputRequest:
			reply := &stepdv1.InputReply{Id: body.InputRequest.GetId(), Error: start.InputError}
			if start.Inputs != nil && start.InputError == "" {
				for _, item := range start.Inputs(body.InputRequest.GetStep(), body.InputRequest.GetName()) {
					reply.Items = append(reply.Items, &stepdv1.InputItem{Step: item.Step, Value: item.Value})
				}
			}
			send(&stepdv1.ExecuteRequest{Body: &stepdv1.ExecuteRequest_InputReply{InputReply: reply}})
		case *stepdv1.ExecuteResponse_Result:
			result.Status = body.Result.GetStatus()
			result.Message = body.Result.GetMessage()
			result.RetryAfter = body.Result.GetRetryAfter().AsDuration()
		}
	}
}

// PlanResult is what a plan answered.
type PlanResult struct {
	Result
	Steps   []PlannedStep
	Session string
}

// PlannedStep is one step of a plan.
type PlannedStep struct {
	Name     string
	Settings json.RawMessage
	Order    int
	Weight   float64
	ETA      time.Duration
}

// Plan asks the controller to split its step.
func (h *Harness) Plan(ctx context.Context, start Start) PlanResult {
	h.t.Helper()
	stream, err := h.client.Plan(ctx, &stepdv1.PlanRequest{
		Controller: h.controller(start), Settings: h.encode(start.Settings), Info: h.info(start)})
	if err != nil {
		h.t.Fatalf("sdktest: plan: %v", err)
	}
	var plan PlanResult
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) || ctx.Err() != nil || err != nil && h.mayDie {
			return plan
		}
		if err != nil {
			h.t.Fatalf("sdktest: plan %s: the plugin broke the protocol: %v", start.Controller, err)
		}
		switch body := response.GetBody().(type) {
		case *stepdv1.PlanResponse_Steps:
			for _, s := range body.Steps.GetSteps() {
				plan.Steps = append(plan.Steps, PlannedStep{s.GetName(), s.GetSettings(), int(s.GetOrder()), s.GetWeight(), s.GetEta().AsDuration()})
			}
		case *stepdv1.PlanResponse_Log:
			plan.Lines = append(plan.Lines, lineOf(body.Log))
		case *stepdv1.PlanResponse_Done:
			plan.Session = body.Done.GetSession()
			plan.Status = body.Done.GetResult().GetStatus()
			plan.Message = body.Done.GetResult().GetMessage()
		}
	}
}

// RunPlanned plans the step and then executes all planned steps one after
// another, each required to complete. It returns the results by name.
func (h *Harness) RunPlanned(ctx context.Context, start Start) (PlanResult, map[string]Result) {
	h.t.Helper()
	plan := h.Plan(ctx, start)
	plan.RequireCompleted(h.t)
	results := map[string]Result{}
	parent := start.step()
	for _, planned := range plan.Steps {
		start.Step, start.Settings, start.Session = parent+"/"+planned.Name, planned.Settings, plan.Session
		result := h.Execute(ctx, start)
		if !result.Completed() {
			h.t.Fatalf("planned step %s ended as %v: %s", planned.Name, result.Status, result.Message)
		}
		results[planned.Name] = result
	}
	return plan, results
}

// EndRun says that the run has ended.
func (h *Harness) EndRun(ctx context.Context, run uint64) {
	h.t.Helper()
	if _, err := h.client.EndRun(ctx, &stepdv1.EndRunRequest{RunId: fmt.Sprint(run)}); err != nil {
		h.t.Fatalf("sdktest: end run: %v", err)
	}
}

// Describe is what the plugin says about itself.
func (h *Harness) Describe(ctx context.Context) *stepdv1.DescribeResponse {
	h.t.Helper()
	description, err := h.client.Describe(ctx, &stepdv1.DescribeRequest{})
	if err != nil {
		h.t.Fatalf("sdktest: describe: %v", err)
	}
	return description
}

// WorkDir is the run's directory where Start does not name another.
func (h *Harness) WorkDir() string { return h.work }

func (h *Harness) controller(s Start) string {
	if s.Controller == "" {
		return h.plugin
	}
	return s.Controller
}

func (h *Harness) encode(v any) []byte {
	h.t.Helper()
	switch raw := v.(type) {
	case nil:
		return []byte("{}")
	case json.RawMessage:
		return raw
	}
	raw, err := json.Marshal(v)
	if err != nil {
		h.t.Fatalf("sdktest: encode: %v", err)
	}
	return raw
}

func (s Start) step() string {
	if s.Step == "" {
		return "step"
	}
	return s.Step
}

func (h *Harness) info(s Start) *stepdv1.Info {
	h.t.Helper()
	info := &stepdv1.Info{
		Task: s.Task, Run: max(1, s.Run), Step: s.step(), Attempt: uint32(max(1, s.Attempt)),
		BaseDir: s.BaseDir, WorkDir: s.WorkDir, Session: s.Session,
	}
	if info.Task == "" {
		info.Task = "test"
	}
	if info.WorkDir == "" {
		info.WorkDir = h.work
	}
	if info.BaseDir == "" {
		dir, err := os.Getwd()
		if err != nil {
			h.t.Fatalf("sdktest: %v", err)
		}
		info.BaseDir = dir
	}
	if !s.Deadline.IsZero() {
		info.Deadline = timestamppb.New(s.Deadline)
	}
	if !s.RunCreatedAt.IsZero() {
		info.RunCreatedAt = timestamppb.New(s.RunCreatedAt)
	}
	if !s.ScheduledFor.IsZero() {
		info.ScheduledFor = timestamppb.New(s.ScheduledFor)
	}
	if of := s.HookOf; of != (sdk.HookOf{}) {
		info.HookOf = &stepdv1.HookOf{Ref: of.Ref, Run: of.Run, Status: of.Status, Reason: of.Reason}
	}
	info.RunId = fmt.Sprint(info.GetRun())
	info.IdempotencyKey = fmt.Sprintf("%s/%d/%s", info.GetTask(), info.GetRun(), info.GetStep())
	return info
}

func cancelRequest(cause error) *stepdv1.ExecuteRequest {
	cancel := &stepdv1.Cancel{Cause: stepdv1.Cancel_CAUSE_CANCELLED, Grace: durationpb.New(10 * time.Second)}
	switch {
	case errors.Is(cause, sdk.ErrStopping):
		cancel.Cause = stepdv1.Cancel_CAUSE_STOPPING
	case errors.Is(cause, sdk.ErrDeadline):
		cancel.Cause = stepdv1.Cancel_CAUSE_DEADLINE
	}
	return &stepdv1.ExecuteRequest{Body: &stepdv1.ExecuteRequest_Cancel{Cancel: cancel}}
}

func lineOf(log *stepdv1.Log) Line {
	line := Line{Message: log.GetMessage(), Level: "info"}
	switch log.GetLevel() {
	case stepdv1.Log_LEVEL_DEBUG:
		line.Level = "debug"
	case stepdv1.Log_LEVEL_WARN:
		line.Level = "warn"
	case stepdv1.Log_LEVEL_ERROR:
		line.Level = "error"
	}
	if len(log.GetFields()) > 0 {
		_ = json.Unmarshal(log.GetFields(), &line.Fields) // a test sees the missing fields
	}
	return line
}
