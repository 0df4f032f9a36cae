package pluginhost

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/stepd/stepd/daemon/internal/task"
	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

const (
	maxFields   = 16 << 10 // bytes of a log line's fields
	maxNote     = 1 << 10
	maxCounters = 32
	maxCounter  = 64      // bytes of a counter's name
	maxPage     = 3 << 20 // bytes of inputs in one message
)

// take passes on one message, bounded and checked. A controller that broke
// the contract is not listened to any more.
func (c *call) take(m *stepdv1.ExecuteResponse) {
	if c.broken() != "" {
		return
	}
	switch body := m.GetBody().(type) {
	case *stepdv1.ExecuteResponse_Log:
		c.log(body.Log)
	case *stepdv1.ExecuteResponse_Progress:
		c.reporter.Progress(progressOf(body.Progress))
	case *stepdv1.ExecuteResponse_Checkpoint:
		c.checkpoint(body.Checkpoint)
	case *stepdv1.ExecuteResponse_Output:
		c.output(body.Output)
	case *stepdv1.ExecuteResponse_InputRequest:
		c.inputs(body.InputRequest)
	}
	// Anything else comes from a newer SDK and is none of our business.
}

func (c *call) log(m *stepdv1.Log) {
	if !c.logs.allow(time.Now(), 1) {
		c.logDropped++
		return
	}
	c.reportDropped()
	var fields json.RawMessage
	if raw := m.GetFields(); len(raw) > 0 && len(raw) <= maxFields && raw[0] == '{' && validJSON(raw) {
		fields = raw
	}
	c.reporter.Log(levelOf(m.GetLevel()), cut(m.GetMessage(), maxLine), fields)
}

// reportDropped is called by the goroutine that receives.
func (c *call) reportDropped() {
	if n := c.logDropped; n > 0 {
		c.logDropped = 0
		c.reporter.Log(task.LogWarn, fmt.Sprintf("(%d log lines dropped: more than %g a second)", n, c.cfg.LogRate), nil)
	}
}

func levelOf(level stepdv1.Log_Level) task.LogLevel {
	switch level {
	case stepdv1.Log_LEVEL_DEBUG:
		return task.LogDebug
	case stepdv1.Log_LEVEL_WARN:
		return task.LogWarn
	case stepdv1.Log_LEVEL_ERROR:
		return task.LogError
	}
	return task.LogInfo
}

// progressOf makes numbers of nonsense: finite, not negative, and not more
// done than there is.
func progressOf(m *stepdv1.Progress) task.Progress {
	p := task.Progress{Done: amount(m.GetDone()), Total: amount(m.GetTotal()), Note: cut(m.GetNote(), maxNote)}
	if p.Total > 0 {
		p.Done = min(p.Done, p.Total)
	}
	for name, n := range m.GetCounters() {
		if len(p.Counters) == maxCounters {
			break
		}
		if name == "" || len(name) > maxCounter {
			continue
		}
		if p.Counters == nil {
			p.Counters = map[string]int64{}
		}
		p.Counters[name] = n
	}
	return p
}

func amount(v float64) float64 {
	switch {
	case math.IsNaN(v) || v < 0:
		return 0
	case math.IsInf(v, 1):
		return math.MaxFloat64
	}
	return v
}

func (c *call) checkpoint(m *stepdv1.Checkpoint) {
	ack := &stepdv1.CheckpointAck{Sequence: m.GetSequence()}
	if n := len(m.GetData()); n > task.MaxCheckpoint {
		ack.Error = fmt.Sprintf("the checkpoint has %d bytes, at most %d are kept", n, task.MaxCheckpoint)
		c.send(&stepdv1.ExecuteRequest{Body: &stepdv1.ExecuteRequest_CheckpointAck{CheckpointAck: ack}})
		c.breach("%s", ack.Error)
		return
	}
	if err := c.reporter.Checkpoint(m.GetData()); err != nil {
		ack.Error = cut(err.Error(), task.MaxMessage)
	}
	c.send(&stepdv1.ExecuteRequest{Body: &stepdv1.ExecuteRequest_CheckpointAck{CheckpointAck: ack}})
}

func (c *call) output(m *stepdv1.Output) {
	name, value := m.GetName(), m.GetValue()
	if err := task.CheckName(name); err != nil {
		c.breach("output %.40q: %v", c.cfg.Redact(name), err)
		return
	}
	c.outputs += len(value)
	switch {
	case len(value) > task.MaxOutput:
		c.breach("output %s has %d bytes, at most %d are kept", name, len(value), task.MaxOutput)
	case c.outputs > task.MaxOutputs:
		c.breach("its outputs have more than %d bytes together", task.MaxOutputs)
	case !validJSON(value):
		c.breach("output %s is not valid JSON in UTF-8", name)
	default:
		if err := c.reporter.Output(name, json.RawMessage(value)); err != nil {
			c.breach("output %s was refused: %v", name, err)
		}
	}
}

func validJSON(raw []byte) bool { return utf8.Valid(raw) && json.Valid(raw) }

func (c *call) inputs(m *stepdv1.InputRequest) {
	reply := &stepdv1.InputReply{Id: m.GetId()}
	items, next, err := c.reporter.Inputs(m.GetStep(), m.GetName(), m.GetAfter())
	if err != nil {
		reply.Error = cut(err.Error(), task.MaxMessage)
	} else {
		size := 0
		reply.Next = next
		for _, item := range items {
			size += len(item.Step) + len(item.Value)
			reply.Items = append(reply.Items, &stepdv1.InputItem{Step: item.Step, Value: item.Value})
		}
		if size > maxPage {
			reply = &stepdv1.InputReply{Id: m.GetId(), Error: fmt.Sprintf("a page of inputs has %d bytes, at most %d fit into a message", size, maxPage)}
		}
	}
	c.send(&stepdv1.ExecuteRequest{Body: &stepdv1.ExecuteRequest_InputReply{InputReply: reply}})
}
