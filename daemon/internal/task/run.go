package task

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// RunID identifies a run in the store. It grows with each run of the daemon,
// over all tasks, and is never reused. People see Run.Ref instead.
type RunID uint64

// Run is one execution of a task.
type Run struct {
	ID     RunID     `json:"id"`
	Task   string    `json:"task"`
	Number uint64    `json:"number"` // counts up for each task, from 1
	Status RunStatus `json:"status"`
	Reason string    `json:"reason,omitempty"` // why it failed, is incomplete, was cancelled

	// DefinitionVersion names the definition that this run is pinned to: the
	// Task.Version, or PrivateVersion of a run whose definition is its own because
	// it was started with other settings.
	DefinitionVersion uint64 `json:"definition_version"`
	// TaskVersion is the Task.Version that the definition comes from; 0 in old
	// records: DefinitionVersion.
	TaskVersion uint64 `json:"task_version,omitempty"`
	// Set is what was asked for to be otherwise for once, as it was given: an
	// object of settings of the task ("mode") and of steps ("tables.mode").
	Set json.RawMessage `json:"set,omitempty"`

	// Key is unique over all daemons: what idempotency keys begin with. A
	// number would come back with a state directory that is made anew.
	Key string `json:"key"`

	Trigger      Trigger   `json:"trigger,omitempty"` // empty in old records: see Cause
	StartedBy    string    `json:"started_by,omitempty"`
	Schedule     string    `json:"schedule,omitempty"`     // name of the schedule that made the run
	ScheduledFor time.Time `json:"scheduled_for,omitzero"` // nominal time, when a schedule made the run
	RestartOf    uint64    `json:"restart_of,omitempty"`   // run number

	// HookOf is the number of the run whose end made this one, 0 for none;
	// HookStatus and HookReason are how that had ended then. It may have been
	// continued since.
	HookOf     uint64    `json:"hook_of,omitempty"`
	HookStatus RunStatus `json:"hook_status,omitempty"`
	HookReason string    `json:"hook_reason,omitempty"`
	// Hooks are the numbers of the runs that its ends made, in their order.
	Hooks []uint64 `json:"hooks,omitempty"`

	// Serial: it is not started while another run of its task is carried out.
	Serial bool `json:"serial,omitempty"`
	// Replaces: the runs of its task that were alive when it was made are to be
	// cancelled. It is serial too.
	Replaces bool `json:"replaces,omitempty"`

	// NotBefore: it waits in the queue until then. Zero: it does not.
	NotBefore time.Time `json:"not_before,omitzero"`
	Priority  int       `json:"priority,omitempty"` // see Task
	MaxRuns   int       `json:"max_runs,omitempty"` // see Task
	Locks     []string  `json:"locks,omitempty"`    // see Task
	// Batch is the name that all runs of one request share which are to be carried
	// out one after another: BatchDue or BatchAll, a slash, and something random.
	Batch string `json:"batch,omitempty"`
	// Only is the name of the one step that is to be carried out: the others stay
	// ready, and the run ends incomplete where there are any.
	Only string `json:"only,omitempty"`
	// From is the step that a restart begins with. Those before it are skipped;
	// who asks for their outputs gets those of RestartOf.
	From string `json:"from,omitempty"`

	// Bytes is the size of its log and directory when it had ended.
	Bytes int64 `json:"bytes,omitempty"`

	// Stripped: its directory was removed although it had not completed, so it
	// cannot be continued.
	Stripped bool `json:"stripped,omitempty"`

	CreatedAt time.Time `json:"created_at"`
	QueuedAt  time.Time `json:"queued_at"`           // created or continued: first come first served
	StartedAt time.Time `json:"started_at,omitzero"` // first step; anew at continue
	EndedAt   time.Time `json:"ended_at,omitzero"`

	// Cancel is the durable intent to cancel; it wins or loses against
	// completion by the order of commits.
	Cancel *CancelRequest `json:"cancel,omitempty"`

	// Progress is the share that is done, 0 to 100. It never decreases within
	// one life of the run and is 100 exactly when all steps completed.
	Progress float64 `json:"progress"`

	// Counts of leaf steps. A step that planned itself counts through the
	// steps that it planned.
	Total     int `json:"total"`
	Completed int `json:"completed"`
	Failed    int `json:"failed"`
	Skipped   int `json:"skipped"`
}

// CancelRequest records who wanted a run to end, and when.
type CancelRequest struct {
	By string    `json:"by,omitempty"`
	At time.Time `json:"at"`
}

// Words that Run.Batch begins with.
const (
	BatchDue = "due" // all that was due
	BatchAll = "all" // all tasks, forced
	BatchRun = "run" // those that were named
)

// PrivateVersion is the DefinitionVersion of a definition that belongs to that
// run, and to restarts of it, alone. It is above all versions of tasks. nth, less
// than MaxPrivate, tells apart those that the run has had: a restart may be pinned
// to one that the run itself has left.
func PrivateVersion(id RunID, nth uint64) uint64 { return 1<<63 | nth<<48 | uint64(id) }

// MaxPrivate is how many definitions of its own a run may have had at one time.
const MaxPrivate = 1 << 15

// Private reports whether the run's definition is its own.
func (r *Run) Private() bool { return r.DefinitionVersion>>63 == 1 }

// OfVersion is the task's version that the run's definition comes from.
func (r *Run) OfVersion() uint64 {
	if r.TaskVersion > 0 {
		return r.TaskVersion
	}
	return r.DefinitionVersion
}

// Cause is what made the run, also of records from before there was a Trigger.
func (r *Run) Cause() Trigger {
	switch {
	case r.Trigger != "":
		return r.Trigger
	case r.RestartOf > 0:
		return TriggerRestart
	}
	return TriggerManual
}

// HookOfRef is the name of the run whose end made this one, or "".
func (r *Run) HookOfRef() string {
	if r.HookOf == 0 {
		return ""
	}
	of := Run{Task: r.Task, Number: r.HookOf}
	return of.Ref()
}

// Ref is the run's name for people: "backup/42".
func (r *Run) Ref() string { return r.Task + "/" + strconv.FormatUint(r.Number, 10) }

// ParseRef splits "backup/42" into its parts. Without a number it returns 0,
// which stands for the newest run.
func ParseRef(ref string) (name string, number uint64, err error) {
	name, num, found := strings.Cut(ref, "/")
	if err := CheckName(name); err != nil {
		return "", 0, err
	}
	if !found {
		return name, 0, nil
	}
	number, err = strconv.ParseUint(num, 10, 64)
	if err != nil || number == 0 {
		return "", 0, fmt.Errorf("%q is no run: a run is named TASK/NUMBER, as in backup/42", ref)
	}
	return name, number, nil
}

// Position is a step's place in its run. Sub is 0 for a step of the
// definition and counts from 1 for the steps that it planned.
type Position struct {
	Top uint32 `json:"top"`
	Sub uint32 `json:"sub"`
}

// Less orders positions as they run and as they are stored.
func (p Position) Less(q Position) bool {
	return p.Top < q.Top || p.Top == q.Top && p.Sub < q.Sub
}

func (p Position) String() string {
	if p.Sub == 0 {
		return strconv.FormatUint(uint64(p.Top), 10)
	}
	return fmt.Sprintf("%d.%d", p.Top, p.Sub)
}

// RunStep is a step within a run. Each has its own record, so that a run of a
// million steps costs the same a step as a run of ten. What the definition
// says (limits, retry) is not repeated here; planned steps take it from the
// step that planned them.
type RunStep struct {
	Position   Position   `json:"position"`
	Name       string     `json:"name"`
	Controller string     `json:"controller,omitempty"` // empty for a planned step: its planner's
	Order      int        `json:"order,omitempty"`
	Status     StepStatus `json:"status"`

	Settings json.RawMessage `json:"settings,omitempty"` // planned steps only
	Weight   float64         `json:"weight,omitempty"`   // planned steps: share of their planner's progress
	ETA      time.Duration   `json:"eta,omitempty"`      // as planned

	// Planned is the number of steps that this one split itself into, valid
	// once PlanDone is set, in the same transaction that makes them visible.
	Planned  int    `json:"planned,omitempty"`
	PlanDone bool   `json:"plan_done,omitempty"`
	Planning bool   `json:"planning,omitempty"` // the running attempt plans and does no work yet
	Session  string `json:"session,omitempty"`  // what the plugin holds open for the planned steps

	// Effect is what the controller declared when the step was first started.
	// It outlives the plugin: recovery goes by it. Planned steps take their
	// planner's.
	Effect Effect `json:"effect,omitempty"`

	// Attempt is the number of the newest attempt, a fencing token: it grows
	// with each start and results of older attempts are refused. Tries counts
	// those that the retry policy counts, since the run was started or
	// continued; Losses those that ended because the daemon died or the
	// session was lost.
	Attempt int `json:"attempt,omitempty"`
	Tries   int `json:"tries,omitempty"`
	Losses  int `json:"losses,omitempty"`

	// Cancel is the durable wish that this step alone is to end.
	Cancel *CancelRequest `json:"cancel,omitempty"`

	// Done, Total, Note and Counters are the last that the newest attempt said of
	// its progress, kept when it ends.
	Done     float64          `json:"done,omitempty"`
	Amount   float64          `json:"amount,omitempty"` // what Done counts up to, 0: not known
	Note     string           `json:"note,omitempty"`
	Counters map[string]int64 `json:"counters,omitempty"`

	// Tried are the attempts that are over and after which the step went on, the
	// last MaxTried of them. How the step ended is in its own fields.
	Tried []Tried `json:"tried,omitempty"`

	Message string `json:"message,omitempty"` // the controller's own words on success; of a skipped step, why
	Error   string `json:"error,omitempty"`   // of the newest failed attempt
	Reason  string `json:"reason,omitempty"`  // machine-readable word for Error, as "timed_out"

	StartedAt time.Time `json:"started_at,omitzero"` // of the first attempt
	AttemptAt time.Time `json:"attempt_at,omitzero"` // of the newest attempt
	EndedAt   time.Time `json:"ended_at,omitzero"`
	RetryAt   time.Time `json:"retry_at,omitzero"` // while waiting
}

// Attempt names one try of one step: what fences checkpoints and results.
type Attempt struct {
	Run      RunID
	Position Position
	Number   int
}

// Tried is an attempt that is over.
type Tried struct {
	Number  int       `json:"number"`
	At      time.Time `json:"at"`
	EndedAt time.Time `json:"ended_at"`
	Reason  string    `json:"reason,omitempty"` // as RunStep.Reason
	Error   string    `json:"error,omitempty"`  // at most MaxTriedError bytes
}

// Limits of what is kept of attempts.
const (
	MaxTried      = 20
	MaxTriedError = 500 // bytes
)

// Words for RunStep.Reason.
const (
	ReasonError     = "error"     // the controller said so
	ReasonPermanent = "permanent" // the controller said so, and that a retry is pointless
	ReasonNoResult  = "no_result" // the plugin ended without a result
	ReasonRefused   = "refused"   // the plugin could not be started or called
	ReasonTimedOut  = "timed_out" // a time limit passed
	ReasonPoisoned  = "poisoned"  // the daemon died three times while it ran
	ReasonLost      = "lost"      // the attempt was lost and must not be repeated by itself
	ReasonCancelled = "cancelled"
	ReasonSteps     = "steps_failed" // a planned step of it failed
	ReasonSettings  = "settings"     // its settings, with the outputs and secrets that they name, are not what its controller takes
	ReasonCondition = "condition"    // skipped: its condition is false; failed: it cannot be evaluated
	ReasonNotAsked  = "not_asked"    // skipped: the restart begins behind it
)
