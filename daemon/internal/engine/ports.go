package engine

import (
	"context"
	"encoding/json"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Store keeps tasks and runs. Its transactions are serialisable.
type Store interface {
	// View reads one consistent state. It must be short: it pins pages.
	View(fn func(Reader) error) error
	// Update is durable when it returns nil. It may call fn more than once,
	// each time on a clean state, and commits several callers together, so fn
	// only assigns to what it captured. An error of fn changes nothing and is
	// returned as it is. Else the error is task.ErrDiskFull (nothing was
	// changed) or task.ErrStoreFailed (nobody knows; the store is done).
	Update(ctx context.Context, fn func(Tx) error) error
	// Room is nil, or a task.ErrDiskFull with the reason, while there is too
	// little room to begin a run.
	Room() error
	// Reserve is nil, or a task.ErrDiskFull, while what is held back for a full
	// disk is given away: then no step is begun either, for its end might not
	// be saved. It follows from Room's being nil.
	Reserve() error
}

// Reader reads one state of the store. Records that are not there are
// task.ErrNotFound. Callbacks return false to stop.
type Reader interface {
	Task(name string) (task.Task, error)
	// Tasks calls fn in the order of names, from the first after the given one.
	Tasks(after string, fn func(task.Task) bool) error
	// Definition is the task as it was at that version, kept while a run is
	// pinned to it.
	Definition(name string, version uint64) (task.Task, error)

	// Summaries calls fn for each task in the order of names. It reads an index
	// and no definition.
	Summaries(fn func(task.Summary) bool) error
	// Summary is what Summaries has of one task.
	Summary(name string) (task.Summary, error)
	// DueOrder calls fn with each due time of a schedule, the earliest first, and
	// the task. Expectations are no schedules. It reads keys alone.
	DueOrder(fn func(due time.Time, name string) bool) error

	Run(id task.RunID) (task.Run, error)
	// RunByNumber finds by number, or the newest for number 0.
	RunByNumber(name string, number uint64) (task.Run, error)
	// Runs calls fn newest first, of one task or of all (name ""), from the
	// first one older than before (0: from the newest). Damaged records do not
	// keep it, nor the next two, from the others: it fails when it is done.
	Runs(name string, before task.RunID, fn func(task.Run) bool) error
	// RunsByStatus is Runs of those that have that status now. It reads no others.
	RunsByStatus(name string, status task.RunStatus, before task.RunID, fn func(task.Run) bool) error
	// AliveBefore is Runs of those that are queued or running. It reads no others.
	AliveBefore(name string, before task.RunID, fn func(task.Run) bool) error
	// AliveTasks calls fn with the task and the status of each queued and running
	// run. It reads no run.
	AliveTasks(fn func(name string, status task.RunStatus) bool) error
	// RunsMade bounds the ids of the runs that were made at since or later, and
	// before until (zero: no bound); last is 0 where there are none.
	RunsMade(since, until time.Time) (first, last task.RunID, err error)
	// RunsAfter is Runs the other way round: oldest first, from the first one newer
	// than after (0: from the oldest).
	RunsAfter(name string, after task.RunID, fn func(task.Run) bool) error
	// ActiveRuns calls fn for each queued and running run, oldest first.
	ActiveRuns(fn func(task.Run) bool) error
	// AliveRuns is ActiveRuns of one task.
	AliveRuns(name string, fn func(task.Run) bool) error

	Step(id task.RunID, pos task.Position) (task.RunStep, error)
	// Steps calls fn in the order of positions, from the given one on.
	Steps(id task.RunID, from task.Position, fn func(task.RunStep) bool) error
	// Checkpoint returns nil where there is none.
	Checkpoint(id task.RunID, pos task.Position) ([]byte, error)
	// Output is one output of one step.
	Output(id task.RunID, pos task.Position, name string) (json.RawMessage, error)
	// Outputs calls fn for each output in the order of positions and names,
	// from the given position on.
	Outputs(id task.RunID, from task.Position, fn func(pos task.Position, name string, value json.RawMessage) bool) error
}

// Tx reads and changes one state of the store.
type Tx interface {
	Reader

	// PutTask writes the task and, under its Version, the definition that runs
	// pin.
	PutTask(task.Task) error
	// PutDefinition writes a definition of task.PrivateVersion. It goes with the
	// last run that is pinned to it; that run is put in the same transaction.
	PutDefinition(version uint64, def task.Task) error
	// DeleteTask removes the task, the definitions that no run is pinned to,
	// and the slots of its schedules. Its runs, its run counter and its cursors
	// stay: Schedules is told, and deletes those.
	DeleteTask(name string) error

	// NextRun takes the next id and the task's next number.
	NextRun(name string) (task.RunID, uint64, error)
	// PutRun writes the run and its indexes.
	PutRun(task.Run) error
	// DeleteRun removes up to limit records of an ended run and reports
	// whether it is all gone; call it again in a new transaction until then.
	DeleteRun(id task.RunID, limit int) (done bool, err error)

	PutStep(id task.RunID, step task.RunStep) error
	// DeleteStep removes a step of the definition, with its checkpoint and outputs.
	// What it planned is deleted before.
	DeleteStep(id task.RunID, top uint32) error
	// DeletePlanned removes up to limit steps that the step planned, with
	// their checkpoints and outputs, and reports whether all are gone.
	DeletePlanned(id task.RunID, top uint32, limit int) (done bool, err error)
	PutCheckpoint(id task.RunID, pos task.Position, data []byte) error
	DeleteCheckpoint(id task.RunID, pos task.Position) error
	PutOutput(id task.RunID, pos task.Position, name string, value json.RawMessage) error
	DeleteOutputs(id task.RunID, pos task.Position) error
}

// Schedules is told, within the transaction, of what moves schedules. The
// schedule's ledger is the one; it may submit runs through Engine.SubmitIn.
type Schedules interface {
	// Changed: the task is being saved (old nil: created), or deleted (now nil).
	// Both are as they are in the store before and after. It is called just
	// before the write, so that a run which it submits of the old definition
	// keeps that. The runs that it submitted are to be adopted when the
	// transaction is durable.
	Changed(tx Tx, old, now *task.Task) ([]task.Run, error)
	// Ended: the run has ended; it is written already.
	Ended(tx Tx, run task.Run) error
	// Due reports whether a time of the task's schedules has passed after since
	// (and after the schedule was saved), up to now.
	Due(rd Reader, t *task.Task, since, now time.Time) (bool, error)
	// Committed is called when such a transaction is durable: what is due next
	// may have changed.
	Committed()
}

// Controllers carries out work. pluginhost is the one; tests have a fake.
type Controllers interface {
	// Lookup says what is known of a controller, and starts its plugin when it
	// has to ask.
	Lookup(ctx context.Context, name string) (task.ControllerInfo, error)
	// Plan asks into which steps the work splits; add is called in order, with
	// a bounded number at a time, and an error of it ends the plan.
	Plan(ctx context.Context, work task.Work, r task.Reporter, add func([]task.PlannedStep) error) task.Outcome
	// Execute blocks until the attempt has ended, at most the grace after ctx
	// is done; context.Cause tells the controller why.
	Execute(ctx context.Context, work task.Work, r task.Reporter) task.Outcome
	// EndRun tells the plugins that took part that the run has ended.
	EndRun(id task.RunID)
}

// Expressions evaluates the expressions of definitions. Package expression is
// the one.
type Expressions interface {
	// When evaluates a condition, which must give true or false.
	When(expression string, env task.Env) (bool, error)
	// Has reports whether there is an expression anywhere in the settings.
	Has(settings json.RawMessage) bool
	// Settings replaces all expressions in the settings by their values.
	Settings(settings json.RawMessage, env task.Env) (json.RawMessage, error)
}

// Clock is time as the engine sees it.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f in its own goroutine after d, unless stopped before.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// RunLog takes the lines of runs.
type RunLog interface {
	Append(run task.Run, entry task.LogEntry)
	// Close says that the run has ended and nothing more will come.
	Close(run task.Run)
	// Size is how many bytes the log takes, 0 when there is none.
	Size(run task.Run) (int64, error)
	// Remove deletes the log of a run that is about to be forgotten.
	Remove(run task.Run) error
}

// Workspaces keeps a directory for each run.
type Workspaces interface {
	// Make returns the run's directory and creates it if need be.
	Make(run task.Run) (string, error)
	// Size is how many bytes the directory takes, 0 when there is none.
	Size(run task.Run) (int64, error)
	// Remove deletes it with all that is in it.
	Remove(run task.Run) error
}
