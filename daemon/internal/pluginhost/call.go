package pluginhost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/stepd/stepd/daemon/internal/task"
	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

const (
	// deathPatience is how long a broken connection is given to turn out as
	// the plugin's death, and faultPatience any other fault of the transport.
	deathPatience = 3 * time.Second
	faultPatience = 200 * time.Millisecond
	// deliveries bounds how often work goes to a fresh process because the one
	// at hand was dying and had not been given anything.
	deliveries = 3
)

// call is one attempt, or one plan, in the hands of a process.
type call struct {
	work     task.Work
	reporter task.Reporter
	proc     *process
	cfg      *Config
	stream   stepdv1.Plugin_ExecuteClient // nil for a plan
	sendMu   sync.Mutex                   // streams take one sender at a time

	logs       limiter
	logDropped int
	outputs    int // bytes

	mu       sync.Mutex
	finished bool
	told     bool        // Cancel was sent, or is being
	overrun  bool        // it did not end within the grace
	timer    *time.Timer // of the grace
	fault    string      // broke the contract with this; the first one counts
}

// Execute hands the attempt to its plugin and blocks until it has ended. When
// ctx is done the controller is told why (context.Cause) and gets the grace;
// then its process is ended, so that Execute returns within Grace, TermGrace
// and a second after that.
func (h *Host) Execute(ctx context.Context, work task.Work, r task.Reporter) task.Outcome {
	for range deliveries {
		c := &call{work: work, reporter: r, cfg: &h.cfg, logs: newLimiter(h.cfg.LogRate, h.cfg.LogBurst)}
		ctl, failed := h.admit(ctx, c)
		if failed != nil {
			return *failed
		}
		outcome, delivered := c.execute(ctx, ctl)
		c.proc.leave(c, false)
		if delivered {
			return outcome
		}
		c.proc.undelivered()
	}
	return task.Outcome{Kind: task.OutcomeRefused, Message: fmt.Sprintf("plugin %s: no process of it took the step, %d times", work.Controller, deliveries)}
}

// admit finds a process for the call and enters it, or says why not.
func (h *Host) admit(ctx context.Context, c *call) (controller, *task.Outcome) {
	pl, name, err := h.resolve(c.work.Controller)
	if err == nil {
		err = pl.with(ctx, func(p *process) bool {
			c.proc = p
			return p.enter(c)
		})
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, cause) {
			return controller{}, &task.Outcome{Kind: task.OutcomeCancelled, Message: "before the plugin was ready: " + cause.Error()}
		}
		return controller{}, &task.Outcome{Kind: task.OutcomeRefused, Message: cut(err.Error(), task.MaxMessage)}
	}
	ctl, err := c.proc.desc.find(pl.name, name)
	if err != nil {
		c.proc.leave(c, false)
		return controller{}, &task.Outcome{Kind: task.OutcomeRefused, Message: cut(err.Error(), task.MaxMessage)}
	}
	return ctl, nil
}

// execute carries the call through. It reports false when the plugin has not
// been given the work, so that another process may have it.
func (c *call) execute(ctx context.Context, ctl controller) (_ task.Outcome, delivered bool) {
	// The stream must outlive ctx: the controller is to hear of its end in the
	// stream, and may answer.
	streamCtx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := c.proc.api.Execute(streamCtx)
	if err != nil {
		return task.Outcome{}, false
	}
	c.stream = stream
	err = stream.Send(&stepdv1.ExecuteRequest{Body: &stepdv1.ExecuteRequest_Start{Start: &stepdv1.Start{
		Controller: ctl.own, Settings: settings(c.work), Info: infoOf(c.work),
		HasCheckpoint: c.work.Checkpoint != nil, Checkpoint: c.work.Checkpoint,
	}}})
	if err != nil && !errors.Is(err, io.EOF) { // EOF: Recv says more
		return task.Outcome{Kind: task.OutcomeNoResult, Message: cut(fmt.Sprintf("plugin %s: hand over the step: %v", c.name(), err), task.MaxMessage)}, true
	}

	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		c.tell(context.Cause(ctx))
	})
	outcome := c.receive(stream)
	c.finish()
	cancel() // frees whoever is stuck in Send
	if !stop() {
		<-told
	}
	c.reportDropped()
	return outcome, true
}

// receive takes messages in the caller's goroutine until the call has ended.
func (c *call) receive(stream stepdv1.Plugin_ExecuteClient) task.Outcome {
	for {
		m, err := stream.Recv()
		if err != nil {
			return c.lost(err)
		}
		if result := m.GetResult(); result != nil {
			return c.settle(result)
		}
		c.take(m)
	}
}

// finish makes everything that comes later harmless.
func (c *call) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finished = true
	if c.timer != nil {
		c.timer.Stop()
	}
}

// tell lets the controller know that it is to end, and why, and starts the
// clock. It may block while the plugin does not read.
func (c *call) tell(cause error) {
	word := stepdv1.Cancel_CAUSE_CANCELLED
	switch {
	case errors.Is(cause, task.ErrStopping):
		word = stepdv1.Cancel_CAUSE_STOPPING
	case errors.Is(cause, task.ErrDeadline), errors.Is(cause, context.DeadlineExceeded):
		word = stepdv1.Cancel_CAUSE_DEADLINE
	}
	c.mu.Lock()
	if c.finished || c.told {
		c.mu.Unlock()
		return
	}
	c.told = true
	c.timer = time.AfterFunc(c.cfg.Grace, c.overstay)
	c.mu.Unlock()
	c.send(&stepdv1.ExecuteRequest{Body: &stepdv1.ExecuteRequest_Cancel{Cancel: &stepdv1.Cancel{
		Cause: word, Grace: durationpb.New(c.cfg.Grace)}}})
}

// overstay ends the process of a controller that did not end itself.
func (c *call) overstay() {
	c.mu.Lock()
	if c.finished {
		c.mu.Unlock()
		return
	}
	c.overrun = true
	c.mu.Unlock()
	c.proc.end(ending{by: c, how: firmly, why: fmt.Sprintf("was ended because step %s of %s/%d did not stop within %v of being told to",
		c.work.Step, c.work.Task, c.work.RunNumber, c.cfg.Grace)})
}

// send is for answers; a fault of the stream shows up in Recv.
func (c *call) send(m *stepdv1.ExecuteRequest) {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	_ = c.stream.Send(m)
}

// breach notes that the controller broke the contract. The step fails with
// this; the controller is told to end, like one that is cancelled, so that
// nobody works on unseen.
func (c *call) breach(format string, args ...any) {
	c.mu.Lock()
	if c.fault == "" {
		c.fault = fmt.Sprintf("plugin %s broke the contract: %s", c.name(), fmt.Sprintf(format, args...))
	}
	c.mu.Unlock()
	if c.stream != nil {
		c.tell(task.ErrCancelled)
	}
}

func (c *call) broken() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fault
}

// settle makes an outcome of a result.
func (c *call) settle(result *stepdv1.Result) task.Outcome {
	c.proc.pl.worked()
	if fault := c.broken(); fault != "" {
		return task.Outcome{Kind: task.OutcomeFailed, Message: cut(fault, task.MaxMessage)}
	}
	outcome := task.Outcome{Message: cut(result.GetMessage(), task.MaxMessage)}
	switch result.GetStatus() {
	case stepdv1.Result_STATUS_COMPLETED:
		outcome.Kind = task.OutcomeCompleted
	case stepdv1.Result_STATUS_FAILED:
		outcome.Kind = task.OutcomeFailed
		if after := result.GetRetryAfter(); after.IsValid() {
			outcome.RetryAfter = max(0, after.AsDuration())
		}
	case stepdv1.Result_STATUS_FAILED_PERMANENT:
		outcome.Kind = task.OutcomePermanent
	case stepdv1.Result_STATUS_SESSION_LOST:
		outcome.Kind = task.OutcomeSessionLost
	case stepdv1.Result_STATUS_CANCELLED:
		outcome.Kind = task.OutcomeCancelled
		c.mu.Lock()
		told := c.told
		c.mu.Unlock()
		if !told {
			outcome.Kind = task.OutcomeFailed
			outcome.Message = cut("the controller says that it was cancelled, but nobody did that: "+outcome.Message, task.MaxMessage)
		}
	default:
		outcome.Kind = task.OutcomeNoResult
		outcome.Message = fmt.Sprintf("plugin %s ended the step with a result of unknown status %d", c.name(), result.GetStatus())
	}
	return outcome
}

// lost makes an outcome of a stream that ended without a result.
func (c *call) lost(err error) task.Outcome {
	text := c.judge(err)
	c.mu.Lock()
	overrun, fault := c.overrun, c.fault
	c.mu.Unlock()
	e := c.proc.reason()
	outcome := task.Outcome{Kind: task.OutcomeNoResult, Message: text}
	switch {
	case fault != "":
		outcome = task.Outcome{Kind: task.OutcomeFailed, Message: fault}
	case overrun:
		outcome = task.Outcome{Kind: task.OutcomeCancelled,
			Message: fmt.Sprintf("the controller did not stop within %v of being told to; its process was ended", c.cfg.Grace)}
	case e != nil && !e.bad && e.by != c:
		outcome.Kind = task.OutcomeLost
	}
	outcome.Message = cut(outcome.Message, task.MaxMessage)
	return outcome
}

// judge waits until it is clear whether the process died, and says what
// happened.
func (c *call) judge(err error) string {
	code := status.Code(err)
	patience := faultPatience
	switch {
	case c.proc.reason() != nil:
		// It is being ended: that takes at most TermGrace and a little.
		patience = c.cfg.TermGrace*2 + deathPatience
	case errors.Is(err, io.EOF):
		return fmt.Sprintf("plugin %s ended the step without a result", c.name())
	case code == codes.ResourceExhausted:
		return fmt.Sprintf("plugin %s broke the contract: a message of more than %d MiB, or as many at once (%s)", c.name(), maxMessage>>20, status.Convert(err).Message())
	case code == codes.Unavailable:
		patience = deathPatience
	}
	if c.proc.awaitSettled(patience) {
		return fmt.Sprintf("plugin %s %s", c.name(), c.proc.epitaph)
	}
	if code == codes.Unavailable {
		c.proc.end(ending{bad: true, how: atOnce, why: "cut its connection and was ended"})
		<-c.proc.settled
		return fmt.Sprintf("plugin %s cut its connection while it lived, and was ended", c.name())
	}
	return fmt.Sprintf("plugin %s broke the protocol: %s", c.name(), status.Convert(err).Message())
}

func (c *call) name() string { return c.proc.pl.name }

func (p *process) awaitSettled(patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.settled:
		return true
	case <-timer.C:
		return false
	}
}

// undelivered makes sure that a process which takes no calls is not tried
// again.
func (p *process) undelivered() {
	if !p.awaitSettled(faultPatience) {
		p.end(ending{bad: true, how: atOnce, why: "took no calls and was ended"})
	}
}

func settings(work task.Work) json.RawMessage {
	if len(work.Settings) == 0 {
		return json.RawMessage("{}")
	}
	return work.Settings
}

func infoOf(work task.Work) *stepdv1.Info {
	info := &stepdv1.Info{
		Task: work.Task, Run: work.RunNumber, Step: work.Step, Attempt: uint32(work.Attempt.Number),
		IdempotencyKey: work.IdempotencyKey,
		BaseDir:        work.BaseDir, WorkDir: work.WorkDir,
		RunId: runKey(work.Attempt.Run), Session: work.Session,
	}
	if !work.Deadline.IsZero() {
		info.Deadline = timestamppb.New(work.Deadline)
	}
	if !work.RunCreatedAt.IsZero() {
		info.RunCreatedAt = timestamppb.New(work.RunCreatedAt)
	}
	if of := work.HookOf; of.Run > 0 {
		info.HookOf = &stepdv1.HookOf{Ref: of.Ref, Run: of.Run, Status: string(of.Status), Reason: of.Reason}
	}
	if !work.ScheduledFor.IsZero() {
		info.ScheduledFor = timestamppb.New(work.ScheduledFor)
	}
	return info
}
