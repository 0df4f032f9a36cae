package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

// Server answers the daemon for a plugin. Serve uses it; sdktest does too.
type Server struct {
	stepdv1.UnimplementedPluginServer

	describe    *stepdv1.DescribeResponse
	controllers map[string]*controller
	sessions    sessions

	stopping context.Context // done: every attempt is told ErrStopping
	stop     context.CancelCauseFunc
	mu       sync.Mutex // orders begin and Stop: no call begins after Stop
	calls    sync.WaitGroup
}

// NewServer checks the plugin. Its errors are for the plugin's author.
func NewServer(p Plugin) (*Server, error) {
	if p.Name == "" {
		return nil, errors.New("the plugin has no name")
	}
	if len(p.Controllers) == 0 {
		return nil, fmt.Errorf("plugin %s has no controllers", p.Name)
	}
	s := &Server{
		describe:    &stepdv1.DescribeResponse{Name: p.Name, Version: p.Version},
		controllers: map[string]*controller{},
	}
	s.stopping, s.stop = context.WithCancelCause(context.Background())
	for _, registration := range p.Controllers {
		c, err := registration.compile(p.Name)
		if err != nil {
			return nil, fmt.Errorf("plugin %s: %w", p.Name, err)
		}
		if _, twice := s.controllers[c.info.Name]; twice {
			return nil, fmt.Errorf("plugin %s: two controllers are named %s", p.Name, c.info.Name)
		}
		s.controllers[c.info.Name] = c
		s.describe.Controllers = append(s.describe.Controllers, c.info)
	}
	return s, nil
}

// Stop tells all attempts to end (ErrStopping), waits for them until ctx is
// done, and closes all sessions.
func (s *Server) Stop(ctx context.Context) {
	s.mu.Lock()
	s.stop(ErrStopping)
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.calls.Wait()
		s.sessions.closeAll()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// begin counts a call in, unless the server stops. The caller calls calls.Done.
func (s *Server) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Err() != nil {
		return status.Error(codes.Unavailable, "the plugin is stopping")
	}
	s.calls.Add(1)
	return nil
}

// Describe implements the protocol.
func (s *Server) Describe(context.Context, *stepdv1.DescribeRequest) (*stepdv1.DescribeResponse, error) {
	return s.describe, nil
}

// EndRun implements the protocol.
func (s *Server) EndRun(_ context.Context, request *stepdv1.EndRunRequest) (*stepdv1.EndRunResponse, error) {
	s.sessions.endRun(request.GetRunId())
	return &stepdv1.EndRunResponse{}, nil
}

// Execute implements the protocol.
func (s *Server) Execute(stream stepdv1.Plugin_ExecuteServer) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.calls.Done()
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil {
		return status.Error(codes.InvalidArgument, "the first message must be Start")
	}
	c := &call{
		info: infoOf(start.GetInfo()), stream: stream,
		hasCheckpoint: start.GetHasCheckpoint(), saved: start.GetCheckpoint(),
	}
	ctl := s.controllers[start.GetController()]
	if ctl == nil {
		return c.finish(s.unknown(start.GetController()))
	}
	if c.info.session != "" {
		value, ok := s.sessions.get(c.info.session)
		if !ok {
			return c.finish(&stepdv1.Result{Status: stepdv1.Result_STATUS_SESSION_LOST,
				Message: "the session that the plan kept open is gone"})
		}
		c.sessionValue = value
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.stopping, func() { cancel(ErrStopping) })()
	go c.receive(cancel) // ends with the stream, right after this function
	result := resultOf(ctx, guard(func() error { return ctl.run(ctx, c, start.GetSettings()) }))
	return c.finish(result)
}

// Plan implements the protocol.
func (s *Server) Plan(request *stepdv1.PlanRequest, stream stepdv1.Plugin_PlanServer) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.calls.Done()
	c := &planCall{info: infoOf(request.GetInfo()), stream: stream}
	ctl := s.controllers[request.GetController()]
	switch {
	case ctl == nil:
		return c.finish(s.unknown(request.GetController()), "")
	case ctl.plan == nil:
		return status.Errorf(codes.Unimplemented, "controller %s has no plan", ctl.info.GetName())
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.stopping, func() { cancel(ErrStopping) })()
	err := guard(func() error { return ctl.plan(ctx, c, request.GetSettings()) })
	if err == nil {
		err = c.flush()
	}
	session := ""
	if c.session != nil {
		if err != nil {
			c.session.Close()
		} else {
			session = s.sessions.add(c.info.runID, c.info.Step, c.session)
		}
	}
	return c.finish(resultOf(ctx, err), session)
}

func (s *Server) unknown(name string) *stepdv1.Result {
	return &stepdv1.Result{Status: stepdv1.Result_STATUS_FAILED_PERMANENT,
		Message: fmt.Sprintf("plugin %s has no controller %q", s.describe.GetName(), name)}
}

// guard turns a panic of the controller into an error; the other steps in the
// process go on.
func guard(run func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			stack := debug.Stack()
			err = fmt.Errorf("the controller panicked: %v\n%s", r, stack[:min(len(stack), 3000)])
		}
	}()
	return run()
}

func infoOf(info *stepdv1.Info) Info {
	out := Info{
		Task: info.GetTask(), Run: info.GetRun(), Step: info.GetStep(), Attempt: int(info.GetAttempt()),
		IdempotencyKey: info.GetIdempotencyKey(), BaseDir: info.GetBaseDir(), WorkDir: info.GetWorkDir(),
		runID: info.GetRunId(), session: info.GetSession(),
	}
	if t := info.GetDeadline(); t != nil {
		out.Deadline = t.AsTime()
	}
	if t := info.GetRunCreatedAt(); t != nil {
		out.RunCreatedAt = t.AsTime()
	}
	if of := info.GetHookOf(); of != nil {
		out.HookOf = HookOf{Ref: of.GetRef(), Run: of.GetRun(), Status: of.GetStatus(), Reason: of.GetReason()}
	}
	if t := info.GetScheduledFor(); t != nil {
		out.ScheduledFor = t.AsTime()
	}
	return out
}

// planCall is one plan on its stream.
type planCall struct {
	info    Info
	stream  stepdv1.Plugin_PlanServer
	session io.Closer

	mu      sync.Mutex
	batch   []*stepdv1.PlannedStep
	size    int
	message string
	log     hclog.Logger
}

const (
	maxPlanBatch = 500
	maxPlanBytes = 512 << 10
)

func (c *planCall) add(name string, settings []byte, order int, weight float64, eta time.Duration) error {
	step := &stepdv1.PlannedStep{Name: name, Settings: settings, Order: int32(order), Weight: weight}
	if eta > 0 {
		step.Eta = durationpb.New(eta)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.batch = append(c.batch, step)
	c.size += len(settings) + len(name)
	if len(c.batch) < maxPlanBatch && c.size < maxPlanBytes {
		return nil
	}
	return c.flushLocked()
}

func (c *planCall) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flushLocked()
}

func (c *planCall) flushLocked() error {
	if len(c.batch) == 0 {
		return nil
	}
	err := c.stream.Send(&stepdv1.PlanResponse{Body: &stepdv1.PlanResponse_Steps{
		Steps: &stepdv1.PlannedSteps{Steps: c.batch}}})
	c.batch, c.size = nil, 0
	if err != nil {
		return fmt.Errorf("the daemon is not listening: %w", err)
	}
	return nil
}

func (c *planCall) keep(value io.Closer) {
	if c.session != nil {
		c.session.Close()
	}
	c.session = value
}

func (c *planCall) setMessage(text string) {
	c.mu.Lock()
	c.message = text
	c.mu.Unlock()
}

func (c *planCall) logger() hclog.Logger {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.log == nil {
		c.log = newLogger(func(line *stepdv1.Log) {
			c.mu.Lock()
			defer c.mu.Unlock()
			// A plan that cannot log still plans; a broken stream shows at the next Add.
			_ = c.stream.Send(&stepdv1.PlanResponse{Body: &stepdv1.PlanResponse_Log{Log: line}})
		})
	}
	return c.log
}

func (c *planCall) finish(result *stepdv1.Result, session string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if result.Message == "" {
		result.Message = c.message
	}
	result.Message = valid(result.Message)
	return c.stream.Send(&stepdv1.PlanResponse{Body: &stepdv1.PlanResponse_Done{
		Done: &stepdv1.PlanDone{Result: result, Session: session}}})
}
