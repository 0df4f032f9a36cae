package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

const (
	roomPoll   = time.Second // how often a full disk is looked at again
	maxWaiting = 64          // planned steps that wait for a retry at once; more keep others from starting
	inboxSize  = 64
	maxLosses  = 3 // times that a step may lose its daemon, or a group its session
)

// runner carries out one run. All fields without another note belong to the
// goroutine of main.
type runner struct {
	e      *Engine
	id     task.RunID
	inbox  chan any
	nudged chan struct{} // has room for one: something may start that could not before
	gone   chan struct{} // closed when main is through and the engine has let go

	run         task.Run
	def         task.Task
	workDir     string
	attempts    map[task.Position]*attempt
	lanes       []*lane // of the steps that share the current order
	nextTop     int     // index of the first step behind them
	progress    progress
	halt        halt
	timers      map[int]func() bool // their stops
	lastTimer   int
	polling     bool
	lookups     int             // controllers that are being looked up
	booked      time.Time       // when the run's record was last written for its planned steps
	interrupted string          // why a step waits for a person
	missing     string          // why a step is not done although nothing failed
	scene       scene           // for expressions
	asking      context.Context // for lookups; ends with main
	stopAsking  context.CancelFunc

	mu    sync.Mutex
	state shown // what others see: committed states only
}

// halt says why nothing new is started any more.
type halt struct {
	why    haltReason
	reason string
}

// event is what becomes of steps that have begun and not ended then.
func (h halt) event() task.Event {
	if h.why == haltCancel || h.why == haltDeadline {
		return task.EventCancel
	}
	return task.EventRelease
}

type haltReason int

const (
	goOn         haltReason = iota
	haltFault               // a step failed that interrupts the run, or must be decided on by a person
	haltCancel              // somebody wants the run to end
	haltDeadline            // the run's time limit passed
	haltStop                // the daemon stops
)

// Messages that reach a runner.
type (
	stopMessage   struct{}
	cancelMessage struct {
		by    string
		step  string // empty: the run
		reply chan error
	}
	doneMessage struct {
		attempt *attempt
		outcome task.Outcome
	}
	wakeMessage struct {
		pos     task.Position
		retryAt time.Time
	}
	deadlineMessage struct{}
	pollMessage     struct{}
	timerMessage    struct {
		timer   int
		message any
	}
)

func newRunner(e *Engine, id task.RunID) *runner {
	return &runner{
		e: e, id: id, inbox: make(chan any, inboxSize), nudged: make(chan struct{}, 1), gone: make(chan struct{}),
		attempts: map[task.Position]*attempt{}, timers: map[int]func() bool{},
	}
}

// tell gives the runner a message and reports whether it will be read.
func (r *runner) tell(message any) bool {
	select {
	case r.inbox <- message:
		return true
	case <-r.gone:
		return false
	}
}

// main carries the run out until it has ended, or the daemon stops, or the
// store has failed.
func (r *runner) main() {
	r.asking, r.stopAsking = context.WithCancel(context.Background())
	defer func() {
		r.stopAsking()
		r.giveTickets()
		for _, stop := range r.timers {
			stop()
		}
		r.drain()
	}()
	t := &transition{}
	if err := r.begin(t); err != nil {
		r.e.Logger.Error("a run cannot be carried out", "run", r.id, "error", err)
		return
	}
	for {
		ended := false
		if !t.hold {
			r.fill(t)
			ended = r.conclude(t)
		}
		if err := r.commit(t); err != nil {
			for _, m := range t.cancels {
				m.reply <- err
			}
			for _, a := range t.starts {
				a.close() // it never began
			}
			r.abandon(err)
			return
		}
		if ended {
			r.finish()
			return
		}
		held := t.hold
		if t = (&transition{}); held {
			continue
		}
		select {
		case message := <-r.inbox:
			r.handle(t, message)
		case <-r.nudged:
		}
		// What has come meanwhile shares the commit.
		for more := true; more; {
			select {
			case message := <-r.inbox:
				r.handle(t, message)
			default:
				more = false
			}
		}
	}
}

// begin reads the run and, when it was running before, recovers it.
func (r *runner) begin(t *transition) error {
	err := r.e.Store.View(func(rd Reader) error {
		var err error
		if r.run, err = rd.Run(r.id); err != nil {
			return err
		}
		r.def, err = definition(rd, r.run)
		return err
	})
	if err != nil {
		return fmt.Errorf("read run %d: %w", r.id, err)
	}
	if !r.run.Status.Alive() {
		return fmt.Errorf("run %s is %s already: %w", r.run.Ref(), r.run.Status, task.ErrState)
	}
	now := r.e.Clock.Now()
	if r.workDir, err = r.e.Workspaces.Make(r.run); err != nil {
		return r.refuse(fmt.Errorf("make the run's directory: %w", err))
	}
	if r.run.Status == task.RunQueued {
		r.run.Status = mustRun(r.run.Status, task.EventStart)
		r.run.StartedAt, r.run.EndedAt = now, time.Time{}
		r.run.Reason = ""
		t.runChanged = true
		t.say(task.LogInfo, "", 0, startText(r.def, r.run))
	} else {
		t.say(task.LogInfo, "", 0, "the daemon has come back; the run goes on")
	}
	if err := r.progress.load(r); err != nil {
		return err
	}
	if limit := r.def.MaxExecutionTime; limit > 0 {
		r.after(r.run.StartedAt.Add(limit).Sub(now), deadlineMessage{})
	}
	if r.run.Cancel != nil {
		r.halt = halt{haltCancel, cancelReason(r.run.Cancel)}
	}
	if r.halt.why != goOn {
		r.nextGroup(t) // settles what was under way
	}
	r.show()
	return nil
}

// after sends the message to the runner itself when d has passed.
func (r *runner) after(d time.Duration, message any) {
	r.lastTimer++
	timer := r.lastTimer
	r.timers[timer] = r.e.Clock.AfterFunc(max(0, d), func() { r.tell(timerMessage{timer, message}) })
}

// handle takes one message into the transition.
func (r *runner) handle(t *transition, message any) {
	switch m := message.(type) {
	case timerMessage:
		delete(r.timers, m.timer)
		r.handle(t, m.message)
	case doneMessage:
		delete(r.attempts, m.attempt.id.Position)
		m.attempt.close()
		r.settle(t, m.attempt, m.outcome)
	case wakeMessage:
		for _, l := range r.lanes {
			l.wake(m)
		}
	case cancelMessage:
		if m.step != "" {
			r.cancelStep(t, m)
		} else {
			r.cancel(t, m)
		}
	case deadlineMessage:
		if r.halt.why == goOn || r.halt.why == haltFault {
			r.halt = halt{haltDeadline, fmt.Sprintf("max_execution_time of the task (%s) passed", r.def.MaxExecutionTime)}
			t.after(func() { r.endAttempts(task.ErrDeadline, limitTask) })
		}
	case stopMessage:
		if r.halt.why != haltStop {
			r.halt = halt{why: haltStop}
			t.after(func() { r.endAttempts(task.ErrStopping, "") })
		}
	case infoMessage:
		m.lane.answered(t, m)
	case stuckMessage:
		r.stuck(t, m)
	case pollMessage:
		r.polling = false
	}
}

// cancel makes the wish durable; the first commit wins between it and the
// results that are under way.
func (r *runner) cancel(t *transition, m cancelMessage) {
	if r.halt.why == haltStop {
		t.after(func() { m.reply <- task.ErrStopping })
		return
	}
	if r.run.Cancel == nil {
		t.wish = true
		r.run.Cancel = &task.CancelRequest{By: m.by, At: r.e.Clock.Now()}
		t.runChanged = true
		t.say(task.LogWarn, "", 0, cancelReason(r.run.Cancel))
	}
	r.halt = halt{haltCancel, cancelReason(r.run.Cancel)}
	t.cancels = append(t.cancels, m)
	t.after(func() {
		r.endAttempts(task.ErrCancelled, "")
		if r.run.Cancel == nil {
			m.reply <- r.refusal()
			return
		}
		m.reply <- nil
	})
}

func cancelReason(c *task.CancelRequest) string {
	if c.By == "" {
		return "cancelled"
	}
	return "cancelled by " + c.By
}

func (r *runner) endAttempts(cause error, limit limit) {
	for _, a := range r.attempts {
		a.end(cause, limit)
	}
}

// fill starts what may start now: steps of the lanes in their order, as many
// as the task allows side by side.
func (r *runner) fill(t *transition) {
	defer func() {
		if r.halt.why != goOn {
			r.giveTickets()
		}
	}()
	for r.halt.why == goOn {
		if len(r.lanes) == 0 && !r.nextGroup(t) || r.halt.why != goOn {
			return // what an earlier life left may halt the run
		}
		if len(r.attempts)+len(t.starts) >= r.def.Parallel() {
			r.giveTickets()
			return
		}
		started := false
		for _, l := range r.lanes {
			if err := r.e.Store.Reserve(); err != nil {
				r.giveTickets()
				r.pollRoom()
				return
			}
			if l.startNext(t) {
				started = true
				break
			}
			if l.asking {
				r.askAhead()
				break // steps start as they stand in the task, whoever answers first
			}
		}
		r.lanes = slices.DeleteFunc(r.lanes, func(l *lane) bool {
			if l.top.Status.Ended() {
				l.giveTicket()
			}
			return l.top.Status.Ended()
		})
		if !started && len(r.lanes) > 0 {
			return
		}
	}
}

// askAhead looks up all controllers of the current order at once.
func (r *runner) askAhead() {
	for _, l := range r.lanes {
		if !l.known && !l.top.Status.Ended() {
			l.ask()
		}
	}
}

func (r *runner) pollRoom() {
	if !r.polling {
		r.polling = true
		r.after(roomPoll, pollMessage{})
	}
}

// nextGroup opens the lanes of the steps that share the next order. It
// reports whether there are any.
func (r *runner) nextGroup(t *transition) bool {
	for r.nextTop < len(r.def.Steps) {
		order := r.def.Steps[r.nextTop].Order
		for r.nextTop < len(r.def.Steps) && r.def.Steps[r.nextTop].Order == order {
			if only := r.run.Only; only != "" && r.def.Steps[r.nextTop].Name != only {
				r.nextTop++
				continue
			}
			l, err := openLane(r, r.nextTop, t)
			if err != nil {
				r.halt = halt{haltFault, err.Error()}
				return false
			}
			r.nextTop++
			if !l.top.Status.Ended() {
				r.lanes = append(r.lanes, l)
			}
		}
		for _, l := range r.lanes { // what was taken up may halt the run
			if r.halt.why == goOn {
				l.judge(t)
			}
		}
		r.lanes = slices.DeleteFunc(r.lanes, func(l *lane) bool { return l.top.Status.Ended() })
		if len(r.lanes) > 0 {
			return true
		}
	}
	return false
}

func mustRun(status task.RunStatus, event task.Event) task.RunStatus {
	next, err := status.Next(event)
	if err != nil {
		panic("engine: " + err.Error()) // the runner owns the run: a fault of the code
	}
	return next
}

func mustStep(status task.StepStatus, event task.Event) task.StepStatus {
	next, err := status.Next(event)
	if err != nil {
		panic("engine: " + err.Error())
	}
	return next
}
