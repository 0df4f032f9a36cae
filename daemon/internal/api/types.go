package api

import (
	"encoding/json"
	"time"
)

// Schema is the version of all JSON that the daemon and `-o json` print. It
// counts up when a field changes its meaning or goes away, not when one is
// added.
const Schema = 1

// Task is a task as people see it.
type Task struct {
	Name             string          `json:"name"`
	Description      string          `json:"description,omitempty"`        // what it is for
	Status           string          `json:"status"`                       // draft (no steps), disabled, paused, scheduled or ready: the first that applies
	CreatedBy        string          `json:"created_by,omitempty"`         // user who made it, or for whom it was made
	UpdatedBy        string          `json:"updated_by,omitempty"`         // user who made this version
	Starter          []string        `json:"starter,omitempty"`            // users and @groups who may start it; none: everyone with the role runner
	Settable         []string        `json:"settable,omitempty"`           // settings that runners and starters may have otherwise for one run; "*" is all
	Source           string          `json:"source,omitempty"`             // file that it was applied from
	Edited           bool            `json:"edited,omitempty"`             // changed since otherwise than by applying that file
	Priority         int             `json:"priority,omitempty"`           // of its queued runs; the highest goes first
	MaxRuns          int             `json:"max_runs,omitempty"`           // of its runs at once; 0: no limit of its own
	Locks            []string        `json:"locks,omitempty"`              // no two runs that share one are carried out at once
	Log              string          `json:"log,omitempty"`                // simple or detailed; empty: the daemon's
	Keep             *Keep           `json:"keep,omitempty"`               // which of its ended runs are kept; left out: the daemon's
	Dir              string          `json:"dir,omitempty"`                // where relative paths in settings start
	Settings         json.RawMessage `json:"settings,omitempty"`           // what steps take their defaults from
	MaxParallel      int             `json:"max_parallel"`                 // steps of one order at once
	MaxExecutionTime string          `json:"max_execution_time,omitempty"` // of a run: "1h30m0s"; empty: no limit
	Steps            []TaskStep      `json:"steps,omitempty"`              // left out in lists
	StepCount        int             `json:"step_count"`
	Schedules        []Schedule      `json:"schedules,omitempty"` // left out in lists
	ScheduleCount    int             `json:"schedule_count,omitempty"`
	Expect           *Expect         `json:"expect,omitempty"`     // by when a run must have completed; left out in lists
	OnMissed         []TaskStep      `json:"on_missed,omitempty"`  // steps for when that was missed; left out in lists
	OnSuccess        []TaskStep      `json:"on_success,omitempty"` // steps for when a run has completed; left out in lists
	OnFailure        []TaskStep      `json:"on_failure,omitempty"` // steps for when a run has failed or is incomplete; left out in lists
	OnEnd            []TaskStep      `json:"on_end,omitempty"`     // steps for when a run has ended in whatever way; left out in lists
	Pause            *Pause          `json:"paused,omitempty"`     // while it holds
	NextDue          *time.Time      `json:"next_due,omitempty"`   // when its schedules make the next run
	Version          uint64          `json:"version"`              // 1 at first, counts up with each change
	CreatedAt        time.Time       `json:"created_at"`
	UpdatedAt        time.Time       `json:"updated_at"`
	LastRun          *Run            `json:"last_run,omitempty"` // the newest, hooks apart
}

// Keep says which ended runs are kept: those within all bounds that are set. The
// newest is always kept, and what is alive or may still be read by something
// alive.
type Keep struct {
	Runs  int   `json:"runs,omitempty"`  // the newest so many
	Days  int   `json:"days,omitempty"`  // since they ended
	Bytes int64 `json:"bytes,omitempty"` // of their logs and directories together
}

// TaskStep is a step of a definition.
type TaskStep struct {
	Name                 string          `json:"name"`
	Controller           string          `json:"controller"`                   // plugin, or plugin/controller
	Settings             json.RawMessage `json:"settings,omitempty"`           // whole: the task's defaults are in it
	Order                int             `json:"order"`                        // equal ones may run side by side, a lower one ends before a higher one starts
	When                 string          `json:"when,omitempty"`               // condition: where it is false the step is skipped; empty: always
	StuckAfter           string          `json:"stuck_after,omitempty"`        // how long it may give no sign of progress before it is shown as stuck; empty: the daemon's
	InterruptOnStepFault bool            `json:"interrupt_on_step_fault"`      // its failure ends the run
	Weight               float64         `json:"weight,omitempty"`             // share of the run's progress; left out: 1
	RetryAttempts        int             `json:"retry_attempts,omitempty"`     // tries in all; left out: by what the controller says of repeating it
	RetryBackoff         string          `json:"retry_backoff,omitempty"`      // pause before the second try, which doubles each time
	RetryMaxBackoff      string          `json:"retry_max_backoff,omitempty"`  // the longest pause
	MaxExecutionTime     string          `json:"max_execution_time,omitempty"` // of all attempts and pauses together
	AttemptTimeout       string          `json:"attempt_timeout,omitempty"`    // of one attempt
	ProgressTimeout      string          `json:"progress_timeout,omitempty"`   // without any sign of progress; then the attempt is ended
}

// Run is one execution of a task.
type Run struct {
	Ref             string          `json:"ref"`    // backup/42
	Task            string          `json:"task"`   // its name
	Number          uint64          `json:"number"` // counts up for each task, from 1
	Status          string          `json:"status"`
	Reason          string          `json:"reason,omitempty"`         // why it failed, is incomplete or was cancelled
	Progress        float64         `json:"progress"`                 // 0 to 100
	ETASeconds      *float64        `json:"eta_seconds,omitempty"`    // of what is left, while it runs
	QueuePosition   int             `json:"queue_position,omitempty"` // from 1, while it is queued
	WaitsFor        string          `json:"waits_for,omitempty"`      // in words, while it is queued: "the lock shop-db, held by backup/41"
	NotBefore       *time.Time      `json:"not_before,omitempty"`     // it is queued until then
	Priority        int             `json:"priority,omitempty"`       // the highest goes first
	Locks           []string        `json:"locks,omitempty"`          // no two runs that share one are carried out at once
	Batch           string          `json:"batch,omitempty"`          // of runs that were started together and go one after another
	Only            string          `json:"only,omitempty"`           // the one step that was asked for
	From            string          `json:"from,omitempty"`           // the step that the restart begins with
	Set             json.RawMessage `json:"set,omitempty"`            // settings that are otherwise for once
	Stuck           bool            `json:"stuck,omitempty"`          // a step of it gives no sign of progress
	WaitSeconds     *float64        `json:"wait_seconds,omitempty"`   // in the queue: so far, or until it began
	TookSeconds     *float64        `json:"took_seconds,omitempty"`   // so far, or in all
	Bytes           int64           `json:"bytes,omitempty"`          // of its log and directory, when it had ended
	Total           int             `json:"total"`                    // steps; one that planned others counts through those
	Completed       int             `json:"completed"`                // steps
	Failed          int             `json:"failed"`                   // steps
	Skipped         int             `json:"skipped"`                  // steps
	CancelRequested bool            `json:"cancel_requested,omitempty"`
	Trigger         string          `json:"trigger,omitempty"`       // what made it; hooks have the name of their hook
	StartedBy       string          `json:"started_by,omitempty"`    // user who asked for it, or for whom it was asked
	Schedule        string          `json:"schedule,omitempty"`      // that made it
	ScheduledFor    *time.Time      `json:"scheduled_for,omitempty"` // nominal time
	RestartOf       uint64          `json:"restart_of,omitempty"`    // number of the run that it does again
	HookOf          uint64          `json:"hook_of,omitempty"`       // number of the run whose end made it
	Hooks           []uint64        `json:"hooks,omitempty"`         // numbers of the runs that its own ends made
	TaskVersion     uint64          `json:"task_version"`            // that its definition comes from
	CreatedAt       time.Time       `json:"created_at"`
	StartedAt       *time.Time      `json:"started_at,omitempty"`
	EndedAt         *time.Time      `json:"ended_at,omitempty"`
}

// Alive reports whether the run waits for its turn or is carried out.
func (r *Run) Alive() bool { return r.Status == "queued" || r.Status == "running" }

// Step is a step of a run.
type Step struct {
	Name       string           `json:"name"`     // "tables", or "tables/actor" for a planned step
	Position   string           `json:"position"` // "0", or "0.17" for a planned step
	Controller string           `json:"controller"`
	Status     string           `json:"status"`
	Planned    int              `json:"planned,omitempty"`     // steps that it split itself into
	Attempt    int              `json:"attempt,omitempty"`     // number of the newest
	Progress   float64          `json:"progress"`              // 0 to 100
	Note       string           `json:"note,omitempty"`        // what the controller says that it does
	Counters   map[string]int64 `json:"counters,omitempty"`    // what the controller counts, by name
	ETASeconds *float64         `json:"eta_seconds,omitempty"` // of what is left, while it runs
	Message    string           `json:"message,omitempty"`     // of its completion, or why it was skipped
	Error      string           `json:"error,omitempty"`       // of its newest attempt
	Reason     string           `json:"reason,omitempty"`      // a word for error: timed_out, no_result ...
	StartedAt  *time.Time       `json:"started_at,omitempty"`
	EndedAt    *time.Time       `json:"ended_at,omitempty"`
	RetryAt    *time.Time       `json:"retry_at,omitempty"` // while it waits for its next attempt
	Attempts   []Attempt        `json:"attempts,omitempty"` // that are over and did not end the step, the last 20; in details only

	CancelRequested bool       `json:"cancel_requested,omitempty"` // of this step alone
	Stuck           bool       `json:"stuck,omitempty"`            // it gives no sign of progress for longer than its limit
	IdleSince       *time.Time `json:"idle_since,omitempty"`       // the last sign of a running step
	LastSaid        string     `json:"last_said,omitempty"`        // by its controller
	LastSaidAt      *time.Time `json:"last_said_at,omitempty"`
}

// Attempt is a try of a step that is over and after which the step went on.
type Attempt struct {
	Number    int       `json:"number"` // from 1
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at"`
	Reason    string    `json:"reason,omitempty"` // a word for error
	Error     string    `json:"error,omitempty"`
}

// StepDetail is one step of a run with all that is kept of it.
type StepDetail struct {
	Step
	Run      string          `json:"run"`                // backup/42
	When     string          `json:"when,omitempty"`     // its condition
	Settings json.RawMessage `json:"settings,omitempty"` // as defined; secrets are references
	Outputs  []Output        `json:"outputs,omitempty"`
}

// RunDetail is a run with its steps of the definition, what runs now, what
// went wrong, and its outputs. Planned steps come in pages of their own.
type RunDetail struct {
	Run
	Steps    []Step   `json:"steps"`              // of the definition
	Active   []Step   `json:"active,omitempty"`   // planned steps that run or wait
	Faults   []Step   `json:"faults,omitempty"`   // planned steps that failed, the first 20
	Outputs  []Output `json:"outputs,omitempty"`  // of the steps of the definition
	Timezone string   `json:"timezone,omitempty"` // of the schedule that made it, while the task has it
	WorkDir  string   `json:"work_dir,omitempty"` // its directory, while it is there
}

// Output is a value that a step left.
type Output struct {
	Step  string          `json:"step"` // its name
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
}

// Plugin is an executable that serves controllers.
type Plugin struct {
	Name        string       `json:"name"`
	Path        string       `json:"path"`
	State       string       `json:"state"`           // known, running, refused, broken
	Error       string       `json:"error,omitempty"` // why it is refused or broken
	Version     string       `json:"version,omitempty"`
	PID         int          `json:"pid,omitempty"`       // while it runs
	Restarts    int          `json:"restarts,omitempty"`  // since the daemon started
	LastExit    string       `json:"last_exit,omitempty"` // how it ended last
	Controllers []Controller `json:"controllers,omitempty"`
}

// Controller is what carries out a kind of step.
type Controller struct {
	Name    string          `json:"name"` // as steps call it
	Summary string          `json:"summary,omitempty"`
	Effect  string          `json:"effect"`                    // of doing its work twice: idempotent, resumable or at_most_once
	Plans   bool            `json:"plans,omitempty"`           // it can split a step into others
	Schema  json.RawMessage `json:"settings_schema,omitempty"` // JSON Schema of its settings
}

// PluginList is all plugins, and what is wrong with the directories.
type PluginList struct {
	Dirs     []string `json:"dirs"` // that are searched, in this order
	Warnings []string `json:"warnings,omitempty"`
	Plugins  []Plugin `json:"plugins"`
}

// Status is how the daemon is.
type Status struct {
	Version   string    `json:"version"`
	PID       int       `json:"pid"`
	StartedAt time.Time `json:"started_at"`
	DataDir   string    `json:"data_dir"`
	Running   int       `json:"running"`            // runs
	Queued    int       `json:"queued"`             // runs
	MaxRuns   int       `json:"max_runs"`           // that are carried out at once
	Problems  []string  `json:"problems,omitempty"` // "no space left ...", "no plugins ..."
}

// TaskFile is the text of a task file, as it is applied or validated.
type TaskFile struct {
	Name string `json:"name"`           // as problems show it
	Dir  string `json:"dir"`            // absolute: where relative paths start
	Path string `json:"path,omitempty"` // absolute, of the file; empty: it comes from no file
	Data string `json:"data"`           // YAML, or JSON
}

// Problem is one fault of a task file, or of a definition.
type Problem struct {
	File    string `json:"file"` // its name, as it was given; empty: it is in the request
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path,omitempty"` // steps[0].settings.mode
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`    // what to do
	Excerpt string `json:"excerpt,omitempty"` // the line itself
}

// ValidateRequest checks task files as they would be applied.
type ValidateRequest struct {
	Files []TaskFile `json:"files"` // at least one
}

// ApplyRequest saves the tasks of all files and deletes those of delete, or does
// nothing of it.
//
// A task that came from another file, was made over the socket, or was edited
// since it was applied, is not replaced unless replace says so: its action is
// conflict in a dry run, and the request ends with the error conflict otherwise.
type ApplyRequest struct {
	Files   []TaskFile    `json:"files"`             // whose tasks are saved
	DryRun  bool          `json:"dry_run,omitempty"` // save nothing, say what would be done
	Replace bool          `json:"replace,omitempty"` // take over what stands against it
	Prune   []string      `json:"prune,omitempty"`   // in a dry run: absolute directories; tasks from files in them that are not among files are listed as deleted
	Delete  []TaskVersion `json:"delete,omitempty"`  // what a dry run listed so and somebody has confirmed
}

// TaskVersion names a task as it was at a version.
type TaskVersion struct {
	Task    string `json:"task"` // its name
	Version uint64 `json:"version"`
}

// ApplyResult says what became of each task.
type ApplyResult struct {
	Tasks []Applied `json:"tasks"` // in the order of the files, then those that are deleted
}

// Applied is what became of one task.
type Applied struct {
	Task     string    `json:"task"`           // its name
	File     string    `json:"file,omitempty"` // as it was named
	Action   string    `json:"action"`         // created, changed, unchanged, deleted, conflict
	Version  uint64    `json:"version"`        // that it has now
	Steps    int       `json:"steps"`          // how many
	Changes  []Change  `json:"changes,omitempty"`
	Reason   string    `json:"reason,omitempty"`   // of a conflict, in words
	Next     *Upcoming `json:"next,omitempty"`     // the run that its schedules make first
	Deadline *Deadline `json:"deadline,omitempty"` // when its expectation is judged next
}

// Change is one difference between two definitions, in the words of a task file.
type Change struct {
	Path string          `json:"path"`          // steps and schedules go by their names: steps.tables.settings.mode
	Op   string          `json:"op"`            // added, removed, changed, moved
	Old  json.RawMessage `json:"old,omitempty"` // left out: it was not there; of a move, its place from 1
	New  json.RawMessage `json:"new,omitempty"` // left out: it is gone
}

// Page is part of a list. It may be short, or empty, and yet have a next one,
// when little of what was looked at fits the query.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`  // what the parameter after takes for the next part; left out: this is the last
	Total *int   `json:"total,omitempty"` // of all that fits, where the list counts it
}

// LogLine is one line of a run's log.
type LogLine struct {
	Time    time.Time       `json:"time"`
	Level   string          `json:"level"`             // debug, info, warn, error
	Step    string          `json:"step,omitempty"`    // its name; left out: it is about the run
	Attempt int             `json:"attempt,omitempty"` // of the step
	Message string          `json:"message"`
	Fields  json.RawMessage `json:"fields,omitempty"` // what else was said, by name
}

// Event is something that happened, live. A stream of events begins with a
// snapshot of each run that it is about, so that a client that comes back needs
// nothing but a new stream.
type Event struct {
	Type   string `json:"type"`             // snapshot, run, step, progress
	Run    Run    `json:"run"`              // as it is now
	Step   *Step  `json:"step,omitempty"`   // the one that changed, with type step
	Active []Step `json:"active,omitempty"` // that run or wait now, with types snapshot and progress; planners are left out when their planned steps are shown
}
