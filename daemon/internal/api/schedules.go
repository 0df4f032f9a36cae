package api

import "time"

// Schedule is a rule by which runs of a task are made, as its file says it.
// Exactly one of Cron, At, Rate and Delay is set. Times with JSON type string
// are wall-clock times of Timezone, or instants with an offset.
type Schedule struct {
	Name     string `json:"name"`
	Cron     string `json:"cron,omitempty"`
	At       string `json:"at,omitempty"`
	Rate     string `json:"rate,omitempty"`  // "15m0s", here and below
	Delay    string `json:"delay,omitempty"` // after the end of the run before
	Anchor   string `json:"anchor,omitempty"`
	Timezone string `json:"timezone"`

	Start   string   `json:"start,omitempty"`
	End     string   `json:"end,omitempty"`
	Jitter  string   `json:"jitter,omitempty"`
	Exclude []string `json:"exclude,omitempty"`

	Missed       string `json:"missed"`        // once, skip or all
	MissedWindow string `json:"missed_window"` // "168h0m0s"
	MissedLimit  int    `json:"missed_limit"`
	Overlap      string `json:"overlap"` // skip, queue, replace or allow

	Summary string `json:"summary,omitempty"` // in words; left out in lists

	Next    *time.Time `json:"next,omitempty"`     // nominal time that is decided on next
	NextDue *time.Time `json:"next_due,omitempty"` // the same with its jitter
	Last    *time.Time `json:"last,omitempty"`     // newest nominal time that was decided on
	LastRun string     `json:"last_run,omitempty"` // ref of the newest run that it made
}

// Expect says by when a run must have completed.
type Expect struct {
	By       string     `json:"by"`             // "06:00"
	Days     string     `json:"days,omitempty"` // "mon-fri"; empty: every day
	Timezone string     `json:"timezone"`
	Next     *time.Time `json:"next,omitempty"` // the deadline that is judged next
	Last     *time.Time `json:"last,omitempty"` // the one that was judged last
	LastRun  string     `json:"last_run,omitempty"`
	// Excused says that the next deadline is not held against the task: the time
	// that it judges began before the expectation was saved.
	Excused bool `json:"excused,omitempty"`
}

// Deadline is when an expectation is judged next; Excused as in Expect.
type Deadline struct {
	At       time.Time `json:"at"`
	Timezone string    `json:"timezone"`
	Excused  bool      `json:"excused,omitempty"`
}

// Pause keeps the schedules of a task from making runs.
type Pause struct {
	By     string     `json:"by,omitempty"`
	At     time.Time  `json:"at"`
	Until  *time.Time `json:"until,omitempty"` // left out: until somebody resumes it
	Reason string     `json:"reason,omitempty"`
}

// PauseRequest pauses a task until a time, for a duration such as "2d" or
// "1h30m", or, with neither, until it is resumed. A pause replaces the one before.
type PauseRequest struct {
	Until  *time.Time `json:"until,omitempty"`
	For    string     `json:"for,omitempty"`
	Reason string     `json:"reason,omitempty"`
}

// Upcoming is a run that a schedule will make, as things stand.
type Upcoming struct {
	Task         string    `json:"task"`
	Schedule     string    `json:"schedule"`
	ScheduledFor time.Time `json:"scheduled_for"`    // nominal time
	Due          time.Time `json:"due"`              // the same with its jitter
	Jitter       string    `json:"jitter,omitempty"` // at most so much: "10m0s"
	Timezone     string    `json:"timezone"`
}

// Slot is what became of a due time, or of several in a row that went the same
// way.
type Slot struct {
	Task     string     `json:"task"`
	Schedule string     `json:"schedule"`      // "@expect" for deadlines of an expectation
	First    time.Time  `json:"first"`         // nominal
	Last     time.Time  `json:"last"`          // nominal
	Count    int        `json:"count"`         // 0: too many to be counted
	Due      *time.Time `json:"due,omitempty"` // of a single one: with its jitter
	// Outcome is ran, ran_late, overlapped, missed, paused or outside_window; of
	// a deadline met, unmet or excused.
	Outcome     string    `json:"outcome"`
	Reason      string    `json:"reason,omitempty"`
	Run         string    `json:"run,omitempty"` // ref
	DecidedAt   time.Time `json:"decided_at"`
	LateSeconds *float64  `json:"late_seconds,omitempty"` // of one that ran
	Timezone    string    `json:"timezone,omitempty"`     // of the schedule, while the task has it
}

// ExpectSchedule is the Slot.Schedule of an expectation's deadlines.
const ExpectSchedule = "@expect"

// HistoryQuery selects slots of a task, newest first.
type HistoryQuery struct {
	Task     string
	Schedule string // empty: all of them, merged
	After    string // Page.Next of the page before
	Limit    int    // 0 means PageSize, at most MaxPage
}

// ExplainRequest asks what a spec means. Spec is a cron spec, "@daily",
// "every 15m", "after 1h" or "at 2026-12-24T18:00". A Timezone that is empty is
// the daemon's.
type ExplainRequest struct {
	Spec     string   `json:"spec"`
	Timezone string   `json:"timezone,omitempty"`
	Count    int      `json:"count,omitempty"` // of times: 0 means ExplainCount
	From     string   `json:"from,omitempty"`  // as in Schedule; empty: now
	Jitter   string   `json:"jitter,omitempty"`
	Start    string   `json:"start,omitempty"`
	End      string   `json:"end,omitempty"`
	Exclude  []string `json:"exclude,omitempty"`
}

// ExplainQuery asks for the times of a task's schedules.
type ExplainQuery struct {
	Task     string
	Schedule string // empty: all of them
	Count    int    // of times: 0 means ExplainCount
	From     string // as in ExplainRequest
}

// Limits of explanations.
const (
	ExplainCount = 5
	MaxExplain   = 100 // times
)

// Explanation says what a schedule means and when it is due.
type Explanation struct {
	Schedule string       `json:"schedule,omitempty"` // name, of a task's
	Spec     string       `json:"spec"`
	Timezone string       `json:"timezone"`
	Summary  string       `json:"summary"`
	Notes    []string     `json:"notes,omitempty"`
	Times    []Occurrence `json:"times"`
	Over     bool         `json:"over,omitempty"` // nothing is due after these
	// Pause is set when the task's schedules make no runs now; a task that is
	// disabled has Disabled.
	Pause    *Pause `json:"paused,omitempty"`
	Disabled bool   `json:"disabled,omitempty"`
}

// Explanations are those of a task's schedules, and of its expectation under the
// name ExpectSchedule: its times are the deadlines.
type Explanations struct {
	Task  string        `json:"task"`
	Items []Explanation `json:"items"`
}

// Occurrence is one nominal time with the reasons for it.
type Occurrence struct {
	At       time.Time `json:"at"`              // in the schedule's time zone
	Due      time.Time `json:"due"`             // the same with its jitter
	Notes    []string  `json:"notes,omitempty"` // a gap, a repeated hour, jitter, an exclusion
	Excluded bool      `json:"excluded,omitempty"`
}

// ValidateResult says what the tasks of valid files would be.
type ValidateResult struct {
	Tasks []Valid `json:"tasks"`
}

// Valid is one task of a ValidateResult.
type Valid struct {
	Task  string `json:"task"`
	File  string `json:"file"`
	Steps int    `json:"steps"`
	// Next is the run that its schedules would make first, if it was saved now.
	Next *Upcoming `json:"next,omitempty"`
	// Deadline is when its expectation would be judged first.
	Deadline *Deadline `json:"deadline,omitempty"`
}
