package task

import "fmt"

// RunStatus is where a run stands. It is stored as a word.
//
//	            submit
//	              |
//	              v        cancel
//	   +------> queued ---------------+
//	   |          | start             v
//	continue      v     cancel     cancelled --+
//	   |       running ---------------^        |
//	   |          |                            |
//	   |   +------+-------+----------+         |
//	   |   v              v          v         |
//	   | failed      incomplete   completed    |
//	   +---+--------------+--------------------+
type RunStatus string

const (
	RunQueued     RunStatus = "queued"     // waits for its turn
	RunRunning    RunStatus = "running"    // its steps are carried out
	RunCompleted  RunStatus = "completed"  // all steps completed or were skipped
	RunFailed     RunStatus = "failed"     // a step failed
	RunIncomplete RunStatus = "incomplete" // ended with work left and no failure, always with a reason
	RunCancelled  RunStatus = "cancelled"  // somebody wanted it to end
)

// RunStatuses lists all of them.
var RunStatuses = [...]RunStatus{RunQueued, RunRunning, RunCompleted, RunFailed, RunIncomplete, RunCancelled}

// Alive reports whether the run waits for its turn or is carried out.
func (s RunStatus) Alive() bool { return s == RunQueued || s == RunRunning }

// StepStatus is where a step of a run stands. It is stored as a word.
//
//	         start              complete
//	ready ----------> running ------------> completed
//	 ^ ^               | | | \  fail
//	 | |     release   | | |  +-----------> failed
//	 | +---------------+ | |  interrupt
//	 |  retry            | +--------------> interrupted
//	 |      +------------+    cancel
//	 |      v        +--------------------> cancelled
//	 |   waiting ----+
//	 |      | wake (as ready) / start
//	 +------+
//
// reset takes any ended step back to ready (continue, a lost session).
type StepStatus string

const (
	StepReady       StepStatus = "ready"       // not started, or given back to be started again
	StepRunning     StepStatus = "running"     // an attempt is under way, or its planned steps are
	StepWaiting     StepStatus = "waiting"     // for the time of its next attempt
	StepCompleted   StepStatus = "completed"   // done
	StepFailed      StepStatus = "failed"      // no attempt is left
	StepSkipped     StepStatus = "skipped"     // was not to be done
	StepCancelled   StepStatus = "cancelled"   // ended because somebody wanted it to
	StepInterrupted StepStatus = "interrupted" // lost in the middle; a person must decide
)

// StepStatuses lists all of them.
var StepStatuses = [...]StepStatus{StepReady, StepRunning, StepWaiting, StepCompleted, StepFailed, StepSkipped, StepCancelled, StepInterrupted}

// Ended reports whether the step is not to be carried out any more in this
// life of its run.
func (s StepStatus) Ended() bool {
	switch s {
	case StepCompleted, StepFailed, StepSkipped, StepCancelled, StepInterrupted:
		return true
	}
	return false
}

// Event is what happens to a run or a step.
type Event string

const (
	EventStart      Event = "start"      // run: its turn has come; step: an attempt begins
	EventComplete   Event = "complete"   // all of it is done
	EventFail       Event = "fail"       // it ended with a fault
	EventCancel     Event = "cancel"     // somebody's wish took effect
	EventIncomplete Event = "incomplete" // run: ended with work left, no failure
	EventContinue   Event = "continue"   // run: somebody wants what is left to be done
	EventRetry      Event = "retry"      // step: failed, another attempt follows later
	EventWake       Event = "wake"       // step: the pause before its next attempt is over
	EventRelease    Event = "release"    // step: the attempt was lost or stopped, and may start again
	EventInterrupt  Event = "interrupt"  // step: the attempt was lost and must not be repeated by itself
	EventSkip       Event = "skip"       // step: its condition says no
	EventReset      Event = "reset"      // step: to be done again
)

// Events lists all of them.
var Events = [...]Event{EventStart, EventComplete, EventFail, EventCancel, EventIncomplete, EventContinue,
	EventRetry, EventWake, EventRelease, EventInterrupt, EventSkip, EventReset}

var runTransitions = map[RunStatus]map[Event]RunStatus{
	RunQueued:     {EventStart: RunRunning, EventCancel: RunCancelled},
	RunRunning:    {EventComplete: RunCompleted, EventFail: RunFailed, EventIncomplete: RunIncomplete, EventCancel: RunCancelled},
	RunFailed:     {EventContinue: RunQueued},
	RunIncomplete: {EventContinue: RunQueued},
	RunCancelled:  {EventContinue: RunQueued},
	RunCompleted:  {},
}

var stepTransitions = map[StepStatus]map[Event]StepStatus{
	StepReady: {EventStart: StepRunning, EventSkip: StepSkipped, EventCancel: StepCancelled},
	StepRunning: {EventComplete: StepCompleted, EventFail: StepFailed, EventRetry: StepWaiting,
		EventRelease: StepReady, EventInterrupt: StepInterrupted, EventCancel: StepCancelled},
	StepWaiting:     {EventStart: StepRunning, EventWake: StepReady, EventFail: StepFailed, EventCancel: StepCancelled},
	StepCompleted:   {EventReset: StepReady},
	StepFailed:      {EventReset: StepReady},
	StepSkipped:     {EventReset: StepReady},
	StepCancelled:   {EventReset: StepReady},
	StepInterrupted: {EventReset: StepReady},
}

// TransitionError is returned for a change that the tables do not allow.
type TransitionError struct {
	What   string // "run" or "step"
	Status string
	Event  Event
}

func (e *TransitionError) Error() string {
	return fmt.Sprintf("a %s that is %s cannot %s", e.What, e.Status, e.Event)
}

// Next is the status that event leads to, or a *TransitionError.
func (s RunStatus) Next(event Event) (RunStatus, error) {
	if next, ok := runTransitions[s][event]; ok {
		return next, nil
	}
	return s, &TransitionError{"run", string(s), event}
}

// Next is the status that event leads to, or a *TransitionError.
func (s StepStatus) Next(event Event) (StepStatus, error) {
	if next, ok := stepTransitions[s][event]; ok {
		return next, nil
	}
	return s, &TransitionError{"step", string(s), event}
}
