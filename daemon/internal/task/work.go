package task

import (
	"encoding/json"
	"errors"
	"time"
)

// Work is one attempt of one step, as it is handed to a controller.
type Work struct {
	Attempt    Attempt
	Task       string
	RunNumber  uint64
	Step       string // "tables", or "tables/actor" for a planned step
	Controller string // "plugin" or "plugin/controller"
	Settings   json.RawMessage
	Checkpoint []byte // nil: none

	// IdempotencyKey is the same for all attempts of the step in its run, and
	// of no other step on any daemon.
	IdempotencyKey string

	Deadline     time.Time // zero: none
	ScheduledFor time.Time // zero: not made by a schedule
	RunCreatedAt time.Time
	BaseDir      string
	WorkDir      string
	Session      string

	HookOf HookOf // zero: no hook of a run's end
}

// HookOf is the run whose end a hook follows, as it had ended then.
type HookOf struct {
	Ref    string // "backup/42"
	Run    uint64
	Status RunStatus
	Reason string
}

// Causes for ending an attempt early, beside ErrStopping: what the context of
// Work is cancelled with (context.Cause).
var (
	ErrCancelled = errors.New("cancelled")
	ErrDeadline  = errors.New("a time limit passed")
)

// Reporter takes what a controller says while it works. All methods may be
// called from several goroutines and after the attempt ended; what comes then
// is refused with ErrStale or dropped.
type Reporter interface {
	// Log never blocks for long; it may drop lines and then says so.
	Log(level LogLevel, message string, fields json.RawMessage)
	// Progress never blocks. Values may be nonsense; they are clamped.
	Progress(Progress)
	// Checkpoint is durable when it returns nil. ErrStale: a newer attempt
	// exists.
	Checkpoint(data []byte) error
	// Output keeps a value; it becomes durable with the step's result.
	Output(name string, value json.RawMessage) error
	// Inputs answers one page of outputs called name of an earlier step of the
	// run, or of the steps that it planned. In a hook of a run's end, any step
	// of that run is an earlier one, where the hook has none of that name.
	// next is empty on the last page.
	Inputs(step, name, after string) (items []Input, next string, err error)
}

// Limits of what a controller may say.
const (
	MaxCheckpoint = 250 << 10 // bytes
	MaxOutput     = 64 << 10  // bytes of one output
	MaxOutputs    = 192 << 10 // bytes of all outputs of a step
	MaxMessage    = 4 << 10   // bytes of a result's message, cut when longer
)

// LogLevel is a word: debug, info, warn or error.
type LogLevel string

const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"
)

// Progress is what a controller says about how far it is.
type Progress struct {
	Done, Total float64 // Total 0: not known
	Note        string
	Counters    map[string]int64
}

// Input is an output of an earlier step.
type Input struct {
	Step  string
	Value json.RawMessage
}

// Outcome is how an attempt, or a plan, ended.
type Outcome struct {
	Kind       OutcomeKind
	Message    string        // on completion: what was done; else what went wrong
	RetryAfter time.Duration // with OutcomeFailed: no attempt before that
	Session    string        // of a completed plan: see RunStep.Session
}

// OutcomeKind is a word for how an attempt ended.
type OutcomeKind string

const (
	OutcomeCompleted   OutcomeKind = "completed"
	OutcomeFailed      OutcomeKind = "failed"       // the controller said so
	OutcomePermanent   OutcomeKind = "permanent"    // and that trying again is pointless
	OutcomeCancelled   OutcomeKind = "cancelled"    // it followed the context's cause, or was killed for it
	OutcomeSessionLost OutcomeKind = "session_lost" // Work.Session is gone
	OutcomeNoResult    OutcomeKind = "no_result"    // the plugin died or broke the protocol
	OutcomeRefused     OutcomeKind = "refused"      // the plugin was not or could not be started
	OutcomeLost        OutcomeKind = "lost"         // the plugin was ended for another step's sake
)

// ControllerInfo is what a plugin says about one of its controllers.
type ControllerInfo struct {
	Name    string          `json:"name"` // as steps name it: "compress", "compress/verify"
	Plugin  string          `json:"plugin"`
	Version string          `json:"version,omitempty"` // the plugin's
	Summary string          `json:"summary,omitempty"`
	Schema  json.RawMessage `json:"settings_schema,omitempty"`
	Effect  Effect          `json:"effect"`
	Plans   bool            `json:"plans,omitempty"`
}

// PlannedStep is one of the steps into which a step splits itself.
type PlannedStep struct {
	Name     string
	Settings json.RawMessage
	Order    int
	Weight   float64
	ETA      time.Duration
}

// LogEntry is one line of a run's log.
type LogEntry struct {
	Time    time.Time       `json:"time"`
	Level   LogLevel        `json:"level"`
	Step    string          `json:"step,omitempty"`
	Attempt int             `json:"attempt,omitempty"`
	Message string          `json:"message"`
	Fields  json.RawMessage `json:"fields,omitempty"`
}
