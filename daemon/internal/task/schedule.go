package task

import (
	"encoding/json"
	"time"
)

// Schedule is a rule by which runs of a task are made. Exactly one of Cron,
// At, Rate and Delay is set. A saved one has passed schedule.Check, and has its
// name, time zone and policies filled in.
type Schedule struct {
	// Name is unique within the task. Where the file gives none it is made of
	// the kind: cron, cron-2, at, every, after.
	Name string `json:"name"`

	Cron  string        `json:"cron,omitempty"`  // five fields, six with seconds first, or a word such as @daily
	At    string        `json:"at,omitempty"`    // once: a Moment
	Rate  time.Duration `json:"rate,omitempty"`  // fixed rate: each Rate from the anchor on
	Delay time.Duration `json:"delay,omitempty"` // fixed delay: so long after the end of the task's last run

	// Anchor is the Moment that a fixed rate is counted from; empty: when the
	// schedule was saved, which is kept (Cursor.Since).
	Anchor string `json:"anchor,omitempty"`

	// Timezone is a name of the time zone database, in which Cron and all
	// Moments without an offset are read.
	Timezone string `json:"timezone"`

	Start string `json:"start,omitempty"` // a Moment: nothing is due before it
	End   string `json:"end,omitempty"`   // a Moment: nothing is due from it on

	// Jitter delays each due time by up to that much, the same amount whenever
	// it is asked for (it is drawn from task, schedule and nominal time).
	Jitter time.Duration `json:"jitter,omitempty"`

	// Exclude lists days on which nothing is due, in Timezone: 2026-12-25,
	// 2026-12-24..2027-01-02, or 12-25 for each year.
	Exclude []string `json:"exclude,omitempty"`

	Missed       Missed        `json:"missed"`
	MissedWindow time.Duration `json:"missed_window"` // older times are not made up for
	MissedLimit  int           `json:"missed_limit"`  // with MissedAll: at most so many, the newest
	Overlap      Overlap       `json:"overlap"`
}

// Defaults of a schedule.
const (
	DefaultMissedWindow = 7 * 24 * time.Hour
	DefaultMissedLimit  = 10
	MaxMissedLimit      = 100
	MaxSchedules        = 32 // of one task
)

// WithDefaults fills in the policies that are not set.
func (s Schedule) WithDefaults() Schedule {
	if s.Missed == "" {
		s.Missed = MissedOnce
	}
	if s.MissedWindow == 0 {
		s.MissedWindow = DefaultMissedWindow
	}
	if s.MissedLimit == 0 {
		s.MissedLimit = DefaultMissedLimit
	}
	if s.Overlap == "" {
		s.Overlap = OverlapSkip
	}
	return s
}

// Timing is a text that is equal for schedules with the same due times: what a
// cursor is made for. Names and policies are not part of it.
func (s *Schedule) Timing() string {
	t := Schedule{Cron: s.Cron, At: s.At, Rate: s.Rate, Delay: s.Delay, Anchor: s.Anchor, Timezone: s.Timezone,
		Start: s.Start, End: s.End, Jitter: s.Jitter, Exclude: s.Exclude}
	text, err := json.Marshal(t)
	if err != nil {
		panic("task: " + err.Error()) // texts and numbers only
	}
	return string(text)
}

// Missed says what becomes of due times that nobody was there for: the daemon
// was down, the machine slept, the clock jumped ahead.
type Missed string

const (
	MissedOnce Missed = "once" // the newest of them is run, if it is within the window
	MissedSkip Missed = "skip" // none is run
	MissedAll  Missed = "all"  // the newest ones are run one after another, oldest first, up to the limit
)

// Overlap says what becomes of a due time when a run of the task is alive.
type Overlap string

const (
	OverlapSkip    Overlap = "skip"    // it is not run
	OverlapQueue   Overlap = "queue"   // it is run when the other has ended
	OverlapReplace Overlap = "replace" // the other is cancelled, and it is run when that has ended
	OverlapAllow   Overlap = "allow"   // both run side by side
)

// Expect is a dead-man rule: by a time of day a run must have completed since
// that time on the rule's day before.
type Expect struct {
	By       string `json:"by"`             // "06:00" or "06:00:30"
	Days     string `json:"days,omitempty"` // a day-of-week field of cron: "mon-fri"; empty: every day
	Timezone string `json:"timezone"`       // always set in a saved task
}

// ExpectName is the schedule name under which a task's Expect has its cursor
// and its slots. No schedule can have it.
const ExpectName = "@expect"

// Pause keeps the schedules of a task from making runs.
type Pause struct {
	By     string    `json:"by,omitempty"`
	At     time.Time `json:"at"`
	Until  time.Time `json:"until,omitzero"` // zero: until somebody resumes it
	Reason string    `json:"reason,omitempty"`
}

// Trigger is a word for what made a run.
type Trigger string

const (
	TriggerManual   Trigger = "manual"    // somebody asked for it
	TriggerRestart  Trigger = "restart"   // somebody asked for an ended run to be done again
	TriggerSchedule Trigger = "schedule"  // a schedule of the task
	TriggerOnMissed Trigger = "on_missed" // the task's Expect was not met: its steps are Task.OnMissed

	// These follow from the end of a run, Run.HookOf.
	TriggerOnSuccess Trigger = "on_success"
	TriggerOnFailure Trigger = "on_failure"
	TriggerOnEnd     Trigger = "on_end"
)

// Triggers lists all of them.
var Triggers = [...]Trigger{TriggerManual, TriggerRestart, TriggerSchedule, TriggerOnMissed,
	TriggerOnSuccess, TriggerOnFailure, TriggerOnEnd}

// Hook reports whether a run with this trigger carries out hook steps and not
// those of the task. Such a run counts for no policy and no expectation.
func (t Trigger) Hook() bool {
	switch t {
	case TriggerOnMissed, TriggerOnSuccess, TriggerOnFailure, TriggerOnEnd:
		return true
	}
	return false
}

// Cursor is where a schedule stands. It is written in the transaction that
// decides on a due time, with what follows from the decision.
type Cursor struct {
	Task     string `json:"task"`
	Schedule string `json:"schedule"`
	Timing   string `json:"timing"` // Schedule.Timing of what it was made for; empty: the task has it no more

	// Since is when the schedule was saved as it is, in whole seconds: nothing
	// is due up to then. It is the anchor of a fixed rate that names none.
	Since time.Time `json:"since"`
	// Last is the newest nominal time that is decided on, at first Since:
	// nothing is due any more up to it.
	Last time.Time `json:"last"`
	// Next is the nominal time of the next decision, and Due that time with
	// its jitter: the cursor's place in the index of due times. Zero: none is to
	// come as things stand (the schedule is over, the task is disabled or paused
	// without an end, or a fixed delay waits for the end of a run). With Next alone
	// zero there is only something to be written down, or tried again, at Due.
	Next time.Time `json:"next,omitzero"`
	Due  time.Time `json:"due,omitzero"`

	LastRun   uint64    `json:"last_run,omitempty"` // number of the newest run that it made
	Completed time.Time `json:"completed,omitzero"` // of ExpectName: end of the newest completed run
	Slots     int       `json:"slots,omitempty"`    // how many it has
}

// SlotOutcome is a word for what became of a due time.
type SlotOutcome string

const (
	SlotRan           SlotOutcome = "ran"            // a run was made when it was due
	SlotRanLate       SlotOutcome = "ran_late"       // a run was made, to make up for it
	SlotOverlapped    SlotOutcome = "overlapped"     // not run: another run of the task was alive
	SlotMissed        SlotOutcome = "missed"         // not run: nobody was there, and the policy says so
	SlotPaused        SlotOutcome = "paused"         // not run: the task was paused or disabled
	SlotOutsideWindow SlotOutcome = "outside_window" // not run: nobody was there for longer than the window

	// Of an expectation:
	SlotMet     SlotOutcome = "met"     // a run had completed
	SlotUnmet   SlotOutcome = "unmet"   // none had
	SlotExcused SlotOutcome = "excused" // not judged: paused, disabled, or saved too short a time before
)

// Ran reports whether a run was made for the due time.
func (o SlotOutcome) Ran() bool { return o == SlotRan || o == SlotRanLate }

// Slot is the ledger's entry for a due time, or for a series of them that went
// the same way. Each nominal time of a schedule is in exactly one slot.
type Slot struct {
	Task     string      `json:"task"`
	Schedule string      `json:"schedule"`
	First    time.Time   `json:"first"`        // nominal
	Last     time.Time   `json:"last"`         // nominal; First, unless Count is more than 1
	Count    int         `json:"count"`        // 0: so many that nobody counted them
	Due      time.Time   `json:"due,omitzero"` // of a single one: with its jitter
	Outcome  SlotOutcome `json:"outcome"`
	Reason   string      `json:"reason,omitempty"` // for people
	Run      uint64      `json:"run,omitempty"`    // number of the run that was made
	At       time.Time   `json:"at"`               // when it was decided
}

// ScheduleFault is what is wrong with a schedule or an expectation.
type ScheduleFault struct {
	Field   string // the key that it is about: cron, timezone, exclude ...
	Index   int    // of the item, where Field is a list
	Offset  int    // bytes into the field's text where it begins; 0 also where that is not known
	Message string // goes on from the field's name: "is never due: ..."
	Hint    string // what to do, may be empty
}
