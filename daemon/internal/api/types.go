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
	Description      string          `json:"description,omitempty"`
	Status           string          `json:"status"` // draft (no steps), disabled, paused, scheduled or ready
	CreatedBy        string          `json:"created_by,omitempty"`
	UpdatedBy        string          `json:"updated_by,omitempty"`
	Starter          []string        `json:"starter,omitempty"` // users and @groups who may start it; none: every runner
	Source           string          `json:"source,omitempty"`  // file that it was applied from
	Edited           bool            `json:"edited,omitempty"`  // changed since otherwise than by applying that file
	Priority         int             `json:"priority,omitempty"`
	MaxRuns          int             `json:"max_runs,omitempty"` // of its runs at once; 0: no limit of its own
	Locks            []string        `json:"locks,omitempty"`
	Log              string          `json:"log,omitempty"` // simple or detailed; empty: the daemon's
	Keep             *Keep           `json:"keep,omitempty"`
	Dir              string          `json:"dir,omitempty"`
	Settings         json.RawMessage `json:"settings,omitempty"`
	MaxParallel      int             `json:"max_parallel"`
	MaxExecutionTime string          `json:"max_execution_time,omitempty"` // "1h30m0s"
	Steps            []TaskStep      `json:"steps,omitempty"`              // left out in lists
	StepCount        int             `json:"step_count"`
	Schedules        []Schedule      `json:"schedules,omitempty"` // left out in lists
	ScheduleCount    int             `json:"schedule_count,omitempty"`
	Expect           *Expect         `json:"expect,omitempty"`    // left out in lists
	OnMissed         []TaskStep      `json:"on_missed,omitempty"` // left out in lists, as the three below
	OnSuccess        []TaskStep      `json:"on_success,omitempty"`
	OnFailure        []TaskStep      `json:"on_failure,omitempty"`
	OnEnd            []TaskStep      `json:"on_end,omitempty"`
	Pause            *Pause          `json:"paused,omitempty"`   // while it holds
	NextDue          *time.Time      `json:"next_due,omitempty"` // when its schedules make the next run
	Version          uint64          `json:"version"`
	CreatedAt        time.Time       `json:"created_at"`
	UpdatedAt        time.Time       `json:"updated_at"`
	LastRun          *Run            `json:"last_run,omitempty"`
}

// Keep says which ended runs are kept: those within all bounds that are set.
type Keep struct {
	Runs  int   `json:"runs,omitempty"`
	Days  int   `json:"days,omitempty"`
	Bytes int64 `json:"bytes,omitempty"`
}

// TaskStep is a step of a definition.
type TaskStep struct {
	Name                 string          `json:"name"`
	Controller           string          `json:"controller"`
	Settings             json.RawMessage `json:"settings,omitempty"`
	Order                int             `json:"order"`
	When                 string          `json:"when,omitempty"` // condition; empty: always
	StuckAfter           string          `json:"stuck_after,omitempty"`
	InterruptOnStepFault bool            `json:"interrupt_on_step_fault"`
	Weight               float64         `json:"weight,omitempty"`
	RetryAttempts        int             `json:"retry_attempts,omitempty"`
	RetryBackoff         string          `json:"retry_backoff,omitempty"`
	RetryMaxBackoff      string          `json:"retry_max_backoff,omitempty"`
	MaxExecutionTime     string          `json:"max_execution_time,omitempty"`
	AttemptTimeout       string          `json:"attempt_timeout,omitempty"`
	ProgressTimeout      string          `json:"progress_timeout,omitempty"`
}

// Run is one execution of a task.
type Run struct {
	Ref             string          `json:"ref"` // backup/42
	Task            string          `json:"task"`
	Number          uint64          `json:"number"`
	Status          string          `json:"status"`
	Reason          string          `json:"reason,omitempty"`
	Progress        float64         `json:"progress"`              // 0 to 100
	ETASeconds      *float64        `json:"eta_seconds,omitempty"` // of what is left, while it runs
	QueuePosition   int             `json:"queue_position,omitempty"`
	WaitsFor        string          `json:"waits_for,omitempty"` // in words, while it is queued: "the lock shop-db, held by backup/41"
	NotBefore       *time.Time      `json:"not_before,omitempty"`
	Priority        int             `json:"priority,omitempty"`
	Locks           []string        `json:"locks,omitempty"`
	Batch           string          `json:"batch,omitempty"`        // of runs that were started together and go one after another
	Only            string          `json:"only,omitempty"`         // the one step that was asked for
	From            string          `json:"from,omitempty"`         // the step that the restart begins with
	Set             json.RawMessage `json:"set,omitempty"`          // settings that are otherwise for once
	Stuck           bool            `json:"stuck,omitempty"`        // a step of it gives no sign of progress
	WaitSeconds     *float64        `json:"wait_seconds,omitempty"` // in the queue: so far, or until it began
	TookSeconds     *float64        `json:"took_seconds,omitempty"` // so far, or in all
	Bytes           int64           `json:"bytes,omitempty"`        // of its log and directory, when it had ended
	Total           int             `json:"total"`                  // leaf steps
	Completed       int             `json:"completed"`
	Failed          int             `json:"failed"`
	Skipped         int             `json:"skipped"`
	CancelRequested bool            `json:"cancel_requested,omitempty"`
	Trigger         string          `json:"trigger,omitempty"` // manual, restart, schedule, or its hook: on_missed, on_success, on_failure, on_end
	StartedBy       string          `json:"started_by,omitempty"`
	Schedule        string          `json:"schedule,omitempty"`      // that made it
	ScheduledFor    *time.Time      `json:"scheduled_for,omitempty"` // nominal time
	RestartOf       uint64          `json:"restart_of,omitempty"`
	HookOf          uint64          `json:"hook_of,omitempty"` // the run whose end made it
	Hooks           []uint64        `json:"hooks,omitempty"`   // the runs that its own ends made
	TaskVersion     uint64          `json:"task_version"`
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
	Planned    int              `json:"planned,omitempty"` // steps that it split itself into
	Attempt    int              `json:"attempt,omitempty"`
	Progress   float64          `json:"progress"` // 0 to 100
	Note       string           `json:"note,omitempty"`
	Counters   map[string]int64 `json:"counters,omitempty"`
	ETASeconds *float64         `json:"eta_seconds,omitempty"`
	Message    string           `json:"message,omitempty"`
	Error      string           `json:"error,omitempty"`
	Reason     string           `json:"reason,omitempty"` // a word for Error: timed_out, no_result ...
	StartedAt  *time.Time       `json:"started_at,omitempty"`
	EndedAt    *time.Time       `json:"ended_at,omitempty"`
	RetryAt    *time.Time       `json:"retry_at,omitempty"`
	Attempts   []Attempt        `json:"attempts,omitempty"` // that are over and did not end the step, the last 20; in details only

	CancelRequested bool `json:"cancel_requested,omitempty"` // of this step alone
	// Stuck: it gives no sign of progress for longer than its limit. IdleSince is
	// the last sign of a running step, LastSaid what its controller last said.
	Stuck      bool       `json:"stuck,omitempty"`
	IdleSince  *time.Time `json:"idle_since,omitempty"`
	LastSaid   string     `json:"last_said,omitempty"`
	LastSaidAt *time.Time `json:"last_said_at,omitempty"`
}

// Attempt is a try of a step that is over and after which the step went on.
type Attempt struct {
	Number    int       `json:"number"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at"`
	Reason    string    `json:"reason,omitempty"`
	Error     string    `json:"error,omitempty"`
}

// StepDetail is one step of a run with all that is kept of it.
type StepDetail struct {
	Step
	Run      string          `json:"run"` // ref
	When     string          `json:"when,omitempty"`
	Settings json.RawMessage `json:"settings,omitempty"` // as defined; secrets are references
	Outputs  []Output        `json:"outputs,omitempty"`
}

// RunDetail is a run with its steps of the definition, what runs now, what
// went wrong, and its outputs. Planned steps come in pages of their own.
type RunDetail struct {
	Run
	Steps   []Step   `json:"steps"`             // of the definition
	Active  []Step   `json:"active,omitempty"`  // planned steps that run or wait
	Faults  []Step   `json:"faults,omitempty"`  // planned steps that failed, the first 20
	Outputs []Output `json:"outputs,omitempty"` // of the steps of the definition
	// Timezone is that of the schedule that made it, while the task has it.
	Timezone string `json:"timezone,omitempty"`
	WorkDir  string `json:"work_dir,omitempty"`
}

// Output is a value that a step left.
type Output struct {
	Step  string          `json:"step"`
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
}

// Plugin is an executable that serves controllers.
type Plugin struct {
	Name        string       `json:"name"`
	Path        string       `json:"path"`
	State       string       `json:"state"` // known, running, refused, broken
	Error       string       `json:"error,omitempty"`
	Version     string       `json:"version,omitempty"`
	PID         int          `json:"pid,omitempty"`
	Restarts    int          `json:"restarts,omitempty"`
	LastExit    string       `json:"last_exit,omitempty"`
	Controllers []Controller `json:"controllers,omitempty"`
}

// Controller is what carries out a kind of step.
type Controller struct {
	Name    string          `json:"name"`
	Summary string          `json:"summary,omitempty"`
	Effect  string          `json:"effect"`
	Plans   bool            `json:"plans,omitempty"`
	Schema  json.RawMessage `json:"settings_schema,omitempty"`
}

// PluginList is all plugins, and what is wrong with the directories.
type PluginList struct {
	Dirs     []string `json:"dirs"`
	Warnings []string `json:"warnings,omitempty"`
	Plugins  []Plugin `json:"plugins"`
}

// Status is how the daemon is.
type Status struct {
	Version   string    `json:"version"`
	PID       int       `json:"pid"`
	StartedAt time.Time `json:"started_at"`
	DataDir   string    `json:"data_dir"`
	Running   int       `json:"running"`
	Queued    int       `json:"queued"`
	MaxRuns   int       `json:"max_runs"`
	Problems  []string  `json:"problems,omitempty"` // "no space left ...", "no plugins ..."
}

// TaskFile is the text of a task file, as it is applied or validated.
type TaskFile struct {
	Name string `json:"name"`           // as problems show it
	Dir  string `json:"dir"`            // absolute: where relative paths start
	Path string `json:"path,omitempty"` // absolute, of the file; empty: it comes from no file
	Data string `json:"data"`
}

// Problem is one fault of a task file.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path,omitempty"` // steps[0].settings.mode
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Excerpt string `json:"excerpt,omitempty"` // the line itself
}

// ValidateRequest checks task files as they would be applied.
type ValidateRequest struct {
	Files []TaskFile `json:"files"`
}

// ApplyRequest saves the tasks of all files and deletes those of Delete, or does
// nothing of it. With DryRun nothing is saved.
//
// A task that came from another file, was made over the socket, or was edited
// since it was applied, is not replaced unless Replace says so: its Action is
// "conflict" in a dry run, and the error CodeConflict otherwise.
type ApplyRequest struct {
	Files   []TaskFile    `json:"files"`
	DryRun  bool          `json:"dry_run,omitempty"`
	Replace bool          `json:"replace,omitempty"`
	Prune   []string      `json:"prune,omitempty"`  // in a dry run: absolute directories; tasks from files in them that are not among Files are listed as deleted
	Delete  []TaskVersion `json:"delete,omitempty"` // what a dry run listed so and somebody has confirmed
}

// TaskVersion names a task as it was at a version.
type TaskVersion struct {
	Task    string `json:"task"`
	Version uint64 `json:"version"`
}

// ApplyResult says what became of each task.
type ApplyResult struct {
	Tasks []Applied `json:"tasks"`
}

// Applied is one task of an ApplyResult.
type Applied struct {
	Task    string   `json:"task"`
	File    string   `json:"file,omitempty"`
	Action  string   `json:"action"` // created, changed, unchanged, deleted, conflict
	Version uint64   `json:"version"`
	Steps   int      `json:"steps"`
	Changes []Change `json:"changes,omitempty"`
	Reason  string   `json:"reason,omitempty"` // of a conflict, in words
	// Next is the run that its schedules make first.
	Next *Upcoming `json:"next,omitempty"`
	// Deadline is when its expectation is judged next.
	Deadline *Deadline `json:"deadline,omitempty"`
}

// Change is one difference between two definitions, in the words of a task file.
// Steps and schedules go by their names: steps.tables.settings.mode.
type Change struct {
	Path string          `json:"path"`
	Op   string          `json:"op"` // added, removed, changed, moved
	Old  json.RawMessage `json:"old,omitempty"`
	New  json.RawMessage `json:"new,omitempty"`
}

// Page is part of a list. Next, when set, is what the query's after takes for
// the next part; a page may be short, or empty, and yet have one, when little of
// what was looked at fits the query. Total, where the list has one, counts all
// that fits.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
	Total *int   `json:"total,omitempty"`
}

// LogLine is one line of a run's log.
type LogLine struct {
	Time    time.Time       `json:"time"`
	Level   string          `json:"level"` // debug, info, warn, error
	Step    string          `json:"step,omitempty"`
	Attempt int             `json:"attempt,omitempty"`
	Message string          `json:"message"`
	Fields  json.RawMessage `json:"fields,omitempty"`
}

// Event is something that happened, live. A stream of events begins with a
// snapshot of each run that it is about, so that a client that comes back needs
// nothing but a new stream.
type Event struct {
	Type string `json:"type"` // snapshot, run, step, progress
	Run  Run    `json:"run"`
	// Step is the one that changed, with type step.
	Step *Step `json:"step,omitempty"`
	// Active are the steps that run or wait now, with types snapshot and
	// progress; planners are left out when their planned steps are shown.
	Active []Step `json:"active,omitempty"`
}
