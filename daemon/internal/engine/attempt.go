package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// limit names the time limit that ended an attempt.
type limit string

const (
	limitAttempt  limit = "attempt_timeout"
	limitStep     limit = "max_execution_time"
	limitTask     limit = "max_execution_time of the task"
	limitProgress limit = "progress_timeout"
)

// attempt is one try of one step, or of its plan. It is the task.Reporter of
// its controller.
type attempt struct {
	r      *runner
	lane   *lane
	id     task.Attempt
	step   task.RunStep
	work   task.Work
	plan   bool
	part   float64 // percent of the run that the step is worth
	ticket *ticket // its places with the controller; the runner's
	told   bool    // that it is to end, because its step is cancelled; the runner's

	detailed bool // all that can be told goes into the log

	ctx     context.Context
	endWith context.CancelCauseFunc
	stops   []func() bool // of timers; changed by launch only

	mu       sync.Mutex
	over     bool
	limit    limit // why endWith was called, where a limit was
	progress task.Progress
	fraction float64
	resumed  time.Time // when it first said where it goes on from
	headFrom float64   // and where that was
	sign     time.Time // of progress
	silence  func() bool
	heard    time.Time // the last sign of progress, lines of the log among them
	said     string    // by the controller, last
	saidAt   time.Time
	stuck    bool
	idle     func() bool
	noted    string // last note in the log
	notedAt  time.Time
	saved    bool // a checkpoint exists
	outputs  map[string]json.RawMessage
	outSize  int
	planned  int
	tally    tally // of a plan
}

// newAttempt takes the settings of the step itself; those of a planned step are
// in its record.
func newAttempt(l *lane, s task.RunStep, plan bool, settings json.RawMessage) *attempt {
	r := l.r
	a := &attempt{
		r: r, lane: l, step: s, plan: plan, sign: s.AttemptAt, heard: s.AttemptAt, detailed: r.detailed(),
		id: task.Attempt{Run: r.id, Position: s.Position, Number: s.Attempt},
		work: task.Work{
			Task: r.run.Task, RunNumber: r.run.Number, Step: l.fullName(s), Controller: l.def.Controller,
			Settings: s.Settings, IdempotencyKey: r.run.Key + "/" + l.fullName(s),
			ScheduledFor: r.run.ScheduledFor, RunCreatedAt: r.run.CreatedAt, BaseDir: r.def.Dir, WorkDir: r.workDir,
			HookOf: hookOf(r.run),
		},
	}
	a.work.Attempt = a.id
	if s.Position.Sub > 0 {
		a.work.Session = l.top.Session
	} else {
		a.work.Settings = settings
	}
	if !plan {
		a.part = r.progress.part(l, s)
	}
	a.ctx, a.endWith = context.WithCancelCause(context.Background())
	a.setLimits()
	return a
}

// setLimits finds the first time limit that the attempt can run into.
func (a *attempt) setLimits() {
	consider := func(at time.Time, which limit) {
		if a.work.Deadline.IsZero() || at.Before(a.work.Deadline) {
			a.work.Deadline, a.limit = at, which
		}
	}
	limits := a.lane.def.Limits
	if d := limits.AttemptTimeout; d > 0 {
		consider(a.step.AttemptAt.Add(d), limitAttempt)
	}
	if d := limits.MaxExecutionTime; d > 0 {
		since := a.step.StartedAt
		if a.step.Position.Sub > 0 {
			since = a.lane.top.StartedAt
		}
		consider(since.Add(d), limitStep)
	}
	if d := a.r.def.MaxExecutionTime; d > 0 {
		consider(a.r.run.StartedAt.Add(d), limitTask)
	}
}

// launch carries the attempt out in a goroutine of its own, which ends with a
// doneMessage. The attempt's start is durable.
func (a *attempt) launch() {
	clock := a.r.e.Clock
	if !a.work.Deadline.IsZero() {
		which := a.limit
		a.limit = ""
		a.stops = append(a.stops, clock.AfterFunc(max(0, a.work.Deadline.Sub(clock.Now())), func() {
			a.end(task.ErrDeadline, which)
		}))
	}
	if d := a.lane.def.Limits.ProgressTimeout; d > 0 {
		a.watchSilence(d)
	}
	a.mu.Lock()
	a.watchIdle()
	a.mu.Unlock()
	if a.detailed {
		a.logStart()
	}
	go func() {
		outcome := a.perform()
		a.r.inbox <- doneMessage{a, outcome} // the runner stays until it has read it
	}()
}

// perform runs in the attempt's goroutine.
func (a *attempt) perform() task.Outcome {
	e := a.r.e
	if a.plan {
		if err := a.clearPlan(); err != nil {
			return task.Outcome{Kind: task.OutcomeFailed, Message: fmt.Sprintf("clear the last plan: %v", err)}
		}
		return e.Controllers.Plan(a.ctx, a.work, a, a.addPlanned)
	}
	if a.id.Number > 1 {
		err := e.Store.View(func(rd Reader) error {
			saved, err := rd.Checkpoint(a.id.Run, a.id.Position)
			a.work.Checkpoint = saved
			return err
		})
		if err != nil {
			return task.Outcome{Kind: task.OutcomeFailed, Message: fmt.Sprintf("read the checkpoint: %v", err)}
		}
		a.mu.Lock()
		a.saved = a.work.Checkpoint != nil
		a.mu.Unlock()
	}
	return e.Controllers.Execute(a.ctx, a.work, a)
}

// end tells the controller to stop, for that cause. The first cause counts.
func (a *attempt) end(cause error, which limit) {
	a.mu.Lock()
	if a.ctx.Err() == nil {
		a.limit = which
	}
	a.mu.Unlock()
	a.endWith(cause)
}

// close frees what the attempt holds. Its outcome has been read.
func (a *attempt) close() {
	a.mu.Lock()
	a.over = true
	silence, idle := a.silence, a.idle
	a.mu.Unlock()
	for _, stop := range []func() bool{silence, idle} {
		if stop != nil {
			stop()
		}
	}
	for _, stop := range a.stops {
		stop()
	}
	a.endWith(nil)
	a.r.e.limits.give(a.ticket)
	a.ticket = nil
}

// watchSilence ends the attempt when d passes without a sign of progress.
func (a *attempt) watchSilence(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return
	}
	clock := a.r.e.Clock
	left := a.sign.Add(d).Sub(clock.Now())
	a.silence = clock.AfterFunc(max(0, left), func() {
		a.mu.Lock()
		silent := clock.Now().Sub(a.sign) >= d
		a.mu.Unlock()
		if silent {
			a.end(task.ErrDeadline, limitProgress)
		} else {
			a.watchSilence(d)
		}
	})
}

// Log implements task.Reporter.
func (a *attempt) Log(level task.LogLevel, message string, fields json.RawMessage) {
	now := a.r.e.Clock.Now()
	a.mu.Lock()
	over := a.over
	if !over {
		a.say(message, now)
		a.hear(now)
	}
	a.mu.Unlock()
	if over || level == task.LogDebug && !a.detailed {
		return
	}
	a.r.e.RunLog.Append(a.r.shown().run, task.LogEntry{
		Time: now, Level: level, Step: a.work.Step, Attempt: a.id.Number, Message: message, Fields: fields,
	})
}

func (a *attempt) isOver() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.over
}

// Progress implements task.Reporter. A fraction never falls within an attempt.
func (a *attempt) Progress(p task.Progress) {
	now := a.r.e.Clock.Now()
	if a.progressed(p, now) {
		a.debug(p.Note, nil)
	}
}

// progressed reports whether the note is to be logged.
func (a *attempt) progressed(p task.Progress, now time.Time) (tell bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return false
	}
	a.progress, a.sign = p, now
	a.say(p.Note, now)
	a.hear(now)
	if p.Total > 0 && p.Done > 0 { // false for NaN
		f := p.Done / p.Total
		if !math.IsNaN(f) {
			a.fraction = max(a.fraction, min(1, f))
			if a.saved && a.resumed.IsZero() {
				a.resumed, a.headFrom = now, a.fraction
				a.r.giveHead(a.part * a.fraction)
			}
		}
	}
	return a.noteworthy(p.Note, now)
}

// Checkpoint implements task.Reporter.
func (a *attempt) Checkpoint(data []byte) error {
	if len(data) > task.MaxCheckpoint {
		return fmt.Errorf("the checkpoint has %d bytes, at most %d are kept: %w", len(data), task.MaxCheckpoint, task.ErrInvalid)
	}
	if a.isOver() {
		return task.ErrStale
	}
	err := a.r.e.persist(func(tx Tx) error {
		s, err := tx.Step(a.id.Run, a.id.Position)
		if err != nil {
			return err
		}
		if s.Attempt != a.id.Number || s.Status != task.StepRunning {
			return fmt.Errorf("attempt %d of step %s: %w", a.id.Number, a.work.Step, task.ErrStale)
		}
		return tx.PutCheckpoint(a.id.Run, a.id.Position, data)
	})
	if err != nil {
		return err
	}
	now := a.r.e.Clock.Now()
	a.mu.Lock()
	a.saved, a.sign = true, now
	a.hear(now)
	a.mu.Unlock()
	if a.detailed {
		a.debug(fmt.Sprintf("a checkpoint of %d bytes is saved", len(data)), nil)
	}
	return nil
}

// Output implements task.Reporter.
func (a *attempt) Output(name string, value json.RawMessage) error {
	if err := task.CheckName(name); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	if len(value) > task.MaxOutput {
		return fmt.Errorf("output %s has %d bytes, at most %d are kept: %w", name, len(value), task.MaxOutput, task.ErrInvalid)
	}
	if err := a.output(name, value); err != nil {
		return err
	}
	if a.detailed {
		a.debug(fmt.Sprintf("output %s, %d bytes", name, len(value)), nil)
	}
	return nil
}

func (a *attempt) output(name string, value json.RawMessage) error {
	now := a.r.e.Clock.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return task.ErrStale
	}
	size := a.outSize + len(value) - len(a.outputs[name])
	if size > task.MaxOutputs {
		return fmt.Errorf("all outputs of a step may have %d bytes together, %s is over that: %w", task.MaxOutputs, name, task.ErrInvalid)
	}
	if a.outputs == nil {
		a.outputs = map[string]json.RawMessage{}
	}
	a.outputs[name], a.outSize = value, size
	a.sign = now
	a.hear(now)
	return nil
}

// Inputs implements task.Reporter.
func (a *attempt) Inputs(step, name, after string) ([]task.Input, string, error) {
	return a.r.e.inputs(a, step, name, after)
}

// addPlanned writes one batch of the plan. The steps cannot be seen before the
// plan is done.
func (a *attempt) addPlanned(batch []task.PlannedStep) error {
	if a.isOver() {
		return task.ErrStale
	}
	first := a.planned
	steps := make([]task.RunStep, len(batch))
	for i, p := range batch {
		steps[i] = task.RunStep{
			Position: task.Position{Top: a.id.Position.Top, Sub: uint32(first + i + 1)},
			Name:     p.Name, Settings: p.Settings, Order: p.Order, Weight: p.Weight, ETA: p.ETA, Status: task.StepReady,
		}
	}
	err := a.r.e.persist(func(tx Tx) error {
		for _, s := range steps {
			if err := tx.PutStep(a.id.Run, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("save the plan: %w", err)
	}
	a.planned += len(steps)
	now := a.r.e.Clock.Now()
	a.mu.Lock()
	for _, s := range steps {
		a.tally.plan(s)
	}
	a.sign = now
	a.hear(now)
	a.mu.Unlock()
	return nil
}

// clearPlan removes what an interrupted plan has left.
func (a *attempt) clearPlan() error {
	if a.id.Number == 1 {
		return nil
	}
	return a.r.e.deletePlanned(a.id.Run, a.id.Position.Top)
}

func (e *Engine) deletePlanned(id task.RunID, top uint32) error {
	for {
		done := false
		err := e.persist(func(tx Tx) error {
			var err error
			done, err = tx.DeletePlanned(id, top, deleteBatch)
			return err
		})
		if err != nil || done {
			return err
		}
	}
}

const deleteBatch = 1000

// seen is what an attempt shows of itself.
func (a *attempt) seen() (p task.Progress, fraction float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.progress, a.fraction
}
