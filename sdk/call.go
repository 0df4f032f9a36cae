package sdk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/types/known/durationpb"

	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

// call is one attempt on its stream, without the type of its settings.
//
// What must be in order and acknowledged is sent by the caller itself; logs and
// progress go through a pump that starts with the first of them, so that they
// never block the controller and cost nothing where there are none.
type call struct {
	info          Info
	hasCheckpoint bool
	saved         []byte
	sessionValue  any

	stream stepdv1.Plugin_ExecuteServer
	sendMu sync.Mutex // gRPC allows one sender at a time

	mu       sync.Mutex
	message  string
	sequence uint64
	waiting  map[uint64]chan *stepdv1.ExecuteRequest // by checkpoint sequence or input id
	newest   *stepdv1.Progress                       // as last reported; replaced, never changed
	unsent   bool                                    // newest was not sent yet
	lines    []*stepdv1.Log
	dropped  int
	log      hclog.Logger
	wake     chan struct{} // nil until the pump runs
	stop     chan struct{}
	pumpDone chan struct{}
}

const (
	maxQueuedLines   = 1024
	progressInterval = 50 * time.Millisecond
)

func (c *call) send(response *stepdv1.ExecuteResponse) error {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	return c.stream.Send(response)
}

// receive takes what the daemon sends until the stream ends.
func (c *call) receive(cancel context.CancelCauseFunc) {
	for {
		request, err := c.stream.Recv()
		if err != nil {
			return // the stream's context ends too and wakes everybody who waits
		}
		switch body := request.GetBody().(type) {
		case *stepdv1.ExecuteRequest_Cancel:
			cancel(causeOf(body.Cancel.GetCause()))
		case *stepdv1.ExecuteRequest_CheckpointAck:
			c.answer(body.CheckpointAck.GetSequence(), request)
		case *stepdv1.ExecuteRequest_InputReply:
			c.answer(body.InputReply.GetId(), request)
		}
	}
}

func causeOf(cause stepdv1.Cancel_Cause) error {
	switch cause {
	case stepdv1.Cancel_CAUSE_STOPPING:
		return ErrStopping
	case stepdv1.Cancel_CAUSE_DEADLINE:
		return ErrDeadline
	}
	return ErrCancelled
}

func (c *call) answer(id uint64, request *stepdv1.ExecuteRequest) {
	c.mu.Lock()
	ch := c.waiting[id]
	delete(c.waiting, id)
	c.mu.Unlock()
	if ch != nil {
		ch <- request // has room for one
	}
}

// ask sends what build makes and waits for the answer to it.
func (c *call) ask(done <-chan struct{}, build func(id uint64) *stepdv1.ExecuteResponse) (*stepdv1.ExecuteRequest, error) {
	ch := make(chan *stepdv1.ExecuteRequest, 1)
	c.mu.Lock()
	c.sequence++
	id := c.sequence
	if c.waiting == nil {
		c.waiting = map[uint64]chan *stepdv1.ExecuteRequest{}
	}
	c.waiting[id] = ch
	c.mu.Unlock()
	if err := c.send(build(id)); err != nil {
		return nil, fmt.Errorf("the daemon is not listening: %w", err)
	}
	select {
	case request := <-ch:
		return request, nil
	case <-c.stream.Context().Done():
		return nil, errors.New("the daemon ended the attempt")
	case <-done:
		return nil, context.Canceled
	}
}

func (c *call) checkpoint(data []byte) error {
	reply, err := c.ask(nil, func(id uint64) *stepdv1.ExecuteResponse {
		return &stepdv1.ExecuteResponse{Body: &stepdv1.ExecuteResponse_Checkpoint{
			Checkpoint: &stepdv1.Checkpoint{Sequence: id, Data: data}}}
	})
	if err != nil {
		return fmt.Errorf("save checkpoint: %w", err)
	}
	if text := reply.GetCheckpointAck().GetError(); text != "" {
		return fmt.Errorf("save checkpoint: %s", text)
	}
	return nil
}

func (c *call) inputs(ctx context.Context, step, name, after string) (*stepdv1.InputReply, error) {
	reply, err := c.ask(ctx.Done(), func(id uint64) *stepdv1.ExecuteResponse {
		return &stepdv1.ExecuteResponse{Body: &stepdv1.ExecuteResponse_InputRequest{
			InputRequest: &stepdv1.InputRequest{Id: id, Step: step, Name: name, After: after}}}
	})
	if err != nil {
		return nil, fmt.Errorf("input %s of step %s: %w", name, step, err)
	}
	if text := reply.GetInputReply().GetError(); text != "" {
		return nil, fmt.Errorf("input %s of step %s: %s", name, step, text)
	}
	return reply.GetInputReply(), nil
}

func (c *call) output(name string, data []byte) error {
	err := c.send(&stepdv1.ExecuteResponse{Body: &stepdv1.ExecuteResponse_Output{
		Output: &stepdv1.Output{Name: name, Value: data}}})
	if err != nil {
		return fmt.Errorf("output %s: the daemon is not listening: %w", name, err)
	}
	return nil
}

func (c *call) setMessage(text string) {
	c.mu.Lock()
	c.message = text
	c.mu.Unlock()
}

func (c *call) progress(done, total float64, note string) {
	c.mu.Lock()
	c.newest = &stepdv1.Progress{Done: done, Total: total, Note: valid(note), Counters: c.newest.GetCounters()}
	c.unsent = true
	c.mu.Unlock()
	c.nudge()
}

func (c *call) count(counters map[string]int64) {
	c.mu.Lock()
	c.newest = &stepdv1.Progress{Done: c.newest.GetDone(), Total: c.newest.GetTotal(), Note: c.newest.GetNote(),
		Counters: maps.Clone(counters)}
	c.unsent = true
	c.mu.Unlock()
	c.nudge()
}

func (c *call) logger() hclog.Logger {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.log == nil {
		c.log = newLogger(c.addLine)
	}
	return c.log
}

func (c *call) addLine(line *stepdv1.Log) {
	c.mu.Lock()
	if len(c.lines) >= maxQueuedLines {
		c.dropped++
	} else {
		c.lines = append(c.lines, line)
	}
	c.mu.Unlock()
	c.nudge()
}

// nudge wakes the pump and starts it the first time.
func (c *call) nudge() {
	c.mu.Lock()
	if c.wake == nil && c.stop == nil {
		c.wake, c.stop, c.pumpDone = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
		go c.pump()
	}
	wake := c.wake
	c.mu.Unlock()
	select {
	case wake <- struct{}{}:
	default:
	}
}

// pump sends log lines as they come and progress at most every
// progressInterval, until stop; then what is left.
func (c *call) pump() {
	defer close(c.pumpDone)
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-c.wake:
		case <-c.stop:
			c.flush()
			return
		}
		if !c.flush() {
			return
		}
		pause.Reset(progressInterval)
		select {
		case <-pause.C:
		case <-c.stop:
			c.flush()
			return
		}
	}
}

func (c *call) flush() bool {
	c.mu.Lock()
	lines, dropped, progress := c.lines, c.dropped, c.newest
	if !c.unsent {
		progress = nil
	}
	c.lines, c.dropped, c.unsent = nil, 0, false
	c.mu.Unlock()
	if dropped > 0 {
		lines = append(lines, &stepdv1.Log{Level: stepdv1.Log_LEVEL_WARN,
			Message: fmt.Sprintf("%d log lines were dropped: they came faster than they could be taken", dropped)})
	}
	for _, line := range lines {
		if c.send(&stepdv1.ExecuteResponse{Body: &stepdv1.ExecuteResponse_Log{Log: line}}) != nil {
			return false
		}
	}
	if progress != nil {
		return c.send(&stepdv1.ExecuteResponse{Body: &stepdv1.ExecuteResponse_Progress{Progress: progress}}) == nil
	}
	return true
}

// finish sends what is left and then the result.
func (c *call) finish(result *stepdv1.Result) error {
	c.mu.Lock()
	stop, done := c.stop, c.pumpDone
	if stop == nil {
		c.stop = make(chan struct{}) // no pump any more
		c.wake = make(chan struct{}, 1)
	}
	if result.Message == "" {
		result.Message = c.message
	}
	c.mu.Unlock()
	if stop != nil {
		close(stop)
		<-done
	}
	result.Message = valid(result.Message)
	return c.send(&stepdv1.ExecuteResponse{Body: &stepdv1.ExecuteResponse_Result{Result: result}})
}

// resultOf turns what a controller returned into what the daemon hears.
func resultOf(ctx context.Context, err error) *stepdv1.Result {
	if err == nil {
		return &stepdv1.Result{Status: stepdv1.Result_STATUS_COMPLETED}
	}
	result := &stepdv1.Result{Status: stepdv1.Result_STATUS_FAILED, Message: err.Error()}
	var later *retryAfterError
	var permanent *permanentError
	var lost *sessionLostError
	switch {
	case isCancelled(ctx, err):
		result.Status = stepdv1.Result_STATUS_CANCELLED
	case errors.As(err, &lost):
		result.Status = stepdv1.Result_STATUS_SESSION_LOST
	case errors.As(err, &permanent):
		result.Status = stepdv1.Result_STATUS_FAILED_PERMANENT
	case errors.As(err, &later):
		result.RetryAfter = durationpb.New(later.after)
	}
	if result.Message == "" {
		result.Message = "the controller failed without saying why"
	}
	return result
}

// valid makes text fit for protobuf, which refuses invalid UTF-8.
func valid(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
