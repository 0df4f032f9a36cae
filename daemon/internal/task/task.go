package task

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of a definition. They keep one record of the store within 256 KiB;
// work that needs more steps than fit is what plans are for.
const (
	MaxNameLen     = 100       // bytes of a task's or step's name
	MaxDefinition  = 240 << 10 // bytes of a whole task, encoded
	MaxParallelCap = 256       // highest max_parallel
)

// Task is a named definition of work. Runs pin the version that they started
// from, so a change never reaches a run that is alive.
type Task struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	CreatedBy   string          `json:"created_by,omitempty"`
	Settings    json.RawMessage `json:"settings,omitempty"` // an object: what steps took their defaults from
	Steps       []Step          `json:"steps"`

	// Dir is the absolute directory that relative paths in settings start
	// from: the task file's own.
	Dir string `json:"dir,omitempty"`

	MaxParallel      int           `json:"max_parallel,omitempty"`       // steps of one order at once; 0 means 1
	MaxExecutionTime time.Duration `json:"max_execution_time,omitempty"` // of a run, 0 means no limit
	Disabled         bool          `json:"disabled,omitempty"`

	// Starter lists who may start runs of the task, and control them, beside
	// administrators: names of users, and of groups as "@group". Empty: whoever
	// has the role of a runner. Whoever is listed needs no role for it.
	Starter []string `json:"starter,omitempty"`

	// Settable lists the settings that whoever may start a run may have otherwise
	// for once: "mode" of the task, "tables.mode" of a step; "*" is all of them.
	// Administrators may set any. A setting may send a step's secret elsewhere, or
	// write as the daemon: so none is, unless the task says so.
	Settable []string `json:"settable,omitempty"`

	Priority int      `json:"priority,omitempty"` // of its queued runs, -MaxPriority to MaxPriority; the highest goes first
	MaxRuns  int      `json:"max_runs,omitempty"` // of its runs that are carried out at once, 0 means no limit of its own
	Locks    []string `json:"locks,omitempty"`    // names; no two runs that share one are carried out at once
	Log      Detail   `json:"log,omitempty"`      // of its runs; empty: the daemon's
	Keep     Keep     `json:"keep,omitzero"`      // of its ended runs; zero fields: the daemon's

	Schedules []Schedule `json:"schedules,omitempty"`
	Expect    *Expect    `json:"expect,omitempty"`
	OnMissed  []Step     `json:"on_missed,omitempty"`  // carried out when Expect is not met
	OnSuccess []Step     `json:"on_success,omitempty"` // when a run has completed
	OnFailure []Step     `json:"on_failure,omitempty"` // when a run has failed or is incomplete
	OnEnd     []Step     `json:"on_end,omitempty"`     // when a run has ended in whatever way, behind the two above
	Pause     *Pause     `json:"pause,omitempty"`      // somebody's decision, not the file's

	Version   uint64    `json:"version"` // 1 at creation, counts up with each change
	UpdatedBy string    `json:"updated_by,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`

	// Source is the absolute path of the file that the task was applied from;
	// empty: it was made over the socket. Edited: the definition was changed
	// otherwise since, so that the file does not say what the task is.
	Source string `json:"source,omitempty"`
	Edited bool   `json:"edited,omitempty"`
}

// Draft reports whether the task has no steps yet: it is kept and cannot be run.
func (t *Task) Draft() bool { return len(t.Steps) == 0 }

// MaxPriority bounds Task.Priority and Run.Priority in both directions.
const MaxPriority = 100

// MaxLocks is how many locks a task may name.
const MaxLocks = 16

// Detail is how much the log of a run has.
type Detail string

const (
	// Simple: what became of the run and its steps, and what controllers say at
	// level info and above.
	Simple Detail = "simple"
	// Detailed: level debug too, each attempt with the settings that it was given
	// (secrets as references), progress notes, checkpoints and outputs by name and size.
	Detailed Detail = "detailed"
)

// Keep says which ended runs of a task are kept: those that are within all of
// the bounds that are set. The newest is always kept, and so is what is alive or
// what something alive may still read.
type Keep struct {
	Runs  int   `json:"runs,omitempty"`
	Days  int   `json:"days,omitempty"`  // since the run ended
	Bytes int64 `json:"bytes,omitempty"` // of logs and directories together (Run.Bytes)
}

// Held reports whether the task's schedules make no runs at that time: it is a
// draft, disabled or paused.
func (t *Task) Held(at time.Time) bool {
	return t.HeldForGood() || t.Pause != nil && at.Before(t.Pause.Until)
}

// HeldForGood reports whether no time is set at which the task's schedules make
// runs again.
func (t *Task) HeldForGood() bool {
	return t.Draft() || t.Disabled || t.Pause != nil && t.Pause.Until.IsZero()
}

// StepsOf is what a run with that trigger carries out: the steps of its hook, or
// the task's own.
func (t *Task) StepsOf(trigger Trigger) []Step {
	switch trigger {
	case TriggerOnMissed:
		return t.OnMissed
	case TriggerOnSuccess:
		return t.OnSuccess
	case TriggerOnFailure:
		return t.OnFailure
	case TriggerOnEnd:
		return t.OnEnd
	}
	return t.Steps
}

// HooksAfter lists, in their order, the hooks that the end of a run with that
// trigger has. Hooks have none.
func (t *Task) HooksAfter(trigger Trigger, status RunStatus) (list []Trigger) {
	if trigger.Hook() {
		return nil
	}
	add := func(hook Trigger) {
		if len(t.StepsOf(hook)) > 0 {
			list = append(list, hook)
		}
	}
	switch status {
	case RunCompleted:
		add(TriggerOnSuccess)
	case RunFailed, RunIncomplete:
		add(TriggerOnFailure)
	}
	if !status.Alive() {
		add(TriggerOnEnd)
	}
	return list
}

// Parallel is how many steps of one order may run side by side, at least 1.
func (t *Task) Parallel() int { return max(1, t.MaxParallel) }

// Step is one unit of work in a definition.
type Step struct {
	Name       string          `json:"name"`
	Controller string          `json:"controller"`         // "plugin" or "plugin/controller"
	Settings   json.RawMessage `json:"settings,omitempty"` // an object, whole: the task's defaults are in it

	// Order groups steps: equal orders may run side by side, a lower order
	// ends before a higher one starts. Never decreases along Task.Steps.
	Order int `json:"order"`

	// When is a condition, an expression over settings, outputs and statuses of
	// earlier steps (package expression has the language); where it is false the
	// step is skipped. Empty: always.
	When string `json:"when,omitempty"`

	// InterruptOnStepFault ends the run when this step fails.
	InterruptOnStepFault bool `json:"interrupt_on_step_fault,omitempty"`

	Weight float64 `json:"weight,omitempty"` // share of the run's progress, 0 means 1
	Retry  Retry   `json:"retry,omitzero"`
	Limits Limits  `json:"limits,omitzero"`
}

// ProgressWeight is the step's share of the run's progress, above zero.
func (s *Step) ProgressWeight() float64 {
	if s.Weight > 0 {
		return s.Weight
	}
	return 1
}

// Retry says how often a failed step is tried and how long the pauses are.
// Zero fields take the default of the controller's effect.
type Retry struct {
	Attempts   int           `json:"attempts,omitempty"`    // tries in all, the first included
	Backoff    time.Duration `json:"backoff,omitempty"`     // pause before the second try; doubles each time
	MaxBackoff time.Duration `json:"max_backoff,omitempty"` // upper bound of a pause
}

// Limits bound the time that a step may take. Zero means no limit, except
// for a cancelled step, which always ends within its grace.
type Limits struct {
	MaxExecutionTime time.Duration `json:"max_execution_time,omitempty"` // of the step, all attempts and pauses together
	AttemptTimeout   time.Duration `json:"attempt_timeout,omitempty"`    // of one attempt
	ProgressTimeout  time.Duration `json:"progress_timeout,omitempty"`   // without any sign of progress from the controller

	// StuckAfter is how long a running step may give no sign of progress before
	// it is shown as stuck; nothing else follows from it. 0: the daemon's.
	StuckAfter time.Duration `json:"stuck_after,omitempty"`
}

// Effect is what a controller declares about doing its work twice. It decides
// what happens to a step whose attempt was lost.
type Effect string

const (
	// Idempotent work may simply be done again.
	Idempotent Effect = "idempotent"
	// Resumable work goes on from its last checkpoint.
	Resumable Effect = "resumable"
	// AtMostOnce work must never be repeated without a person's word.
	AtMostOnce Effect = "at_most_once"
)

// Valid reports whether e is one of the declared effects.
func (e Effect) Valid() bool { return e == Idempotent || e == Resumable || e == AtMostOnce }

// CheckName says what is wrong with a task's or step's name, or nil.
// Names appear in paths, keys and commands, hence no separators and no
// surprises in a shell.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the name is empty")
	case len(name) > MaxNameLen:
		return fmt.Errorf("the name is %d bytes long, at most %d are allowed", len(name), MaxNameLen)
	case !utf8.ValidString(name):
		return fmt.Errorf("the name is not valid UTF-8")
	case strings.ContainsRune(name, '/'):
		return fmt.Errorf("the name %q contains a slash", name)
	case name == "." || name == ".." || strings.HasPrefix(name, "-") || strings.HasPrefix(name, "."):
		return fmt.Errorf("the name %q must start with a letter or digit", name)
	}
	for _, r := range name {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.", r) {
			return fmt.Errorf("the name %q contains %q: letters, digits, '-', '_' and '.' are allowed", name, r)
		}
	}
	return nil
}
