package schedule

import (
	"context"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Store keeps cursors and slots beside tasks and runs. Its transactions are
// serialisable.
type Store interface {
	// View reads one consistent state. It must be short.
	View(fn func(Reader) error) error
	// Update is durable when it returns nil. It may call fn more than once,
	// each time on a clean state. Runs that fn submitted are taken up by the
	// engine once it is durable. Errors are those of the engine's store:
	// task.ErrDiskFull, task.ErrStoreFailed, or fn's own.
	Update(ctx context.Context, fn func(Tx) error) error
	// Room is nil, or a task.ErrDiskFull, while there is too little room to
	// begin a run.
	Room() error
}

// Reader reads one state. Records that are not there are task.ErrNotFound.
// Callbacks return false to stop. Cursors and DueCursors pass over what is
// damaged, so that it holds up no other schedule, and fail with it at their end:
// what they called back with is good all the same.
type Reader interface {
	Task(name string) (task.Task, error)

	Cursor(name, schedule string) (task.Cursor, error)
	// Cursors calls fn for each cursor of the task, or of all tasks (name ""),
	// by task and schedule.
	Cursors(name string, fn func(task.Cursor) bool) error
	// DueCursors calls fn for each cursor with a Due, the earliest first, from
	// the first one behind the given one (nil: from the start).
	DueCursors(after *task.Cursor, fn func(task.Cursor) bool) error

	// Slots calls fn newest first for the slots of one schedule, from the first
	// one whose First is before the given time (zero: from the newest).
	Slots(name, schedule string, before time.Time, fn func(task.Slot) bool) error
	// ClockMark is the latest time at which was decided, or zero.
	ClockMark() (time.Time, error)

	// AliveRuns calls fn for each queued and running run of the task, oldest
	// first.
	AliveRuns(name string, fn func(task.Run) bool) error
}

// Tx reads and changes one state.
type Tx interface {
	Reader

	// PutCursor writes the cursor and its place in the index of due times.
	PutCursor(task.Cursor) error
	// DeleteCursor removes the cursor and its place in the index. None: nil.
	DeleteCursor(name, schedule string) error
	// PutSlot writes the slot under its First.
	PutSlot(task.Slot) error
	DeleteSlot(name, schedule string, first time.Time) error
	// DeleteOldestSlots removes up to limit slots of the schedule, the oldest
	// first, and returns how many.
	DeleteOldestSlots(name, schedule string, limit int) (int, error)
	PutClockMark(time.Time) error

	// Submit makes a queued run of the task as given, whose Trigger, Schedule,
	// ScheduledFor, Serial and Replaces the caller has set, and returns it with
	// its number. With a hook's trigger its steps are those of the hook.
	Submit(def task.Task, run task.Run) (task.Run, error)
}

// Clock is time as the ledger sees it.
type Clock interface {
	// Now is the wall clock's time. It may jump, either way.
	Now() time.Time
	// AfterFunc calls f in its own goroutine after d, unless stopped before.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

const (
	// OnTime is how late a decision may be without the due time counting as
	// missed.
	OnTime = time.Minute
	// MaxSleep is the longest time between two looks at the clock.
	MaxSleep = 30 * time.Second
	// MaxQueued is how many runs of a task may be alive for a schedule to make
	// another one.
	MaxQueued = 100
	// KeepSlots is how many slots of a schedule are kept, the newest.
	KeepSlots = 500
)
