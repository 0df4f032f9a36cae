package api

import "time"

// Schedule is a rule by which runs of a task are made, as its file says it.
// Exactly one of cron, at, rate and delay is set. Times that are texts are
// wall-clock times of the time zone, or instants with an offset.
type Schedule struct {
	Name     string `json:"name"`
	Cron     string `json:"cron,omitempty"`   // "30 2 * * *"
	At       string `json:"at,omitempty"`     // once
	Rate     string `json:"rate,omitempty"`   // each so often: "15m0s"
	Delay    string `json:"delay,omitempty"`  // after the end of the run before
	Anchor   string `json:"anchor,omitempty"` // a time of a rate that the others are counted from
	Timezone string `json:"timezone"`

	Start   string   `json:"start,omitempty"`   // nothing is due before
	End     string   `json:"end,omitempty"`     // nothing is due after
	Jitter  string   `json:"jitter,omitempty"`  // each time is late by at most so much
	Exclude []string `json:"exclude,omitempty"` // days on which nothing is due

	Missed       string `json:"missed"`        // what becomes of times that passed while the daemon was down: once, skip or all
	MissedWindow string `json:"missed_window"` // how long ago they may be: "168h0m0s"
	MissedLimit  int    `json:"missed_limit"`  // of them at most
	Overlap      string `json:"overlap"`       // when a run is alive: skip, queue, replace or allow

	Summary string `json:"summary,omitempty"` // in words; left out in lists

	Next    *time.Time `json:"next,omitempty"`     // nominal time that is decided on next
	NextDue *time.Time `json:"next_due,omitempty"` // the same with its jitter
	Last    *time.Time `json:"last,omitempty"`     // newest nominal time that was decided on
	LastRun string     `json:"last_run,omitempty"` // the newest run that it made, as TASK/NUMBER
}

// Expect says by when a run must have completed.
type Expect struct {
	By       string     `json:"by"`             // "06:00"
	Days     string     `json:"days,omitempty"` // "mon-fri"; empty: every day
	Timezone string     `json:"timezone"`
	Next     *time.Time `json:"next,omitempty"`     // the deadline that is judged next
	Last     *time.Time `json:"last,omitempty"`     // the one that was judged last
	LastRun  string     `json:"last_run,omitempty"` // the newest run that missed deadlines made, as TASK/NUMBER
	Excused  bool       `json:"excused,omitempty"`  // the next deadline is not held against the task: the time that it judges began before the expectation was saved
}

// Deadline is when an expectation is judged next.
type Deadline struct {
	At       time.Time `json:"at"`
	Timezone string    `json:"timezone"`
	Excused  bool      `json:"excused,omitempty"` // it is not held against the task: the time that it judges began before the expectation was saved
}

// Pause keeps the schedules of a task from making runs.
type Pause struct {
	By     string     `json:"by,omitempty"`    // user
	At     time.Time  `json:"at"`              // since
	Until  *time.Time `json:"until,omitempty"` // left out: until somebody resumes it
	Reason string     `json:"reason,omitempty"`
}

// PauseRequest pauses a task until a time, for a duration, or, with neither, until
// it is resumed. A pause replaces the one before.
type PauseRequest struct {
	Until  *time.Time `json:"until,omitempty"`
	For    string     `json:"for,omitempty"`    // "2d", "1h30m"
	Reason string     `json:"reason,omitempty"` // for people, at most 1000 bytes
}

// Upcoming is a run that a schedule will make, as things stand.
type Upcoming struct {
	Task         string    `json:"task"`             // its name
	Schedule     string    `json:"schedule"`         // its name
	ScheduledFor time.Time `json:"scheduled_for"`    // nominal time
	Due          time.Time `json:"due"`              // the same with its jitter
	Jitter       string    `json:"jitter,omitempty"` // at most so much: "10m0s"
	Timezone     string    `json:"timezone"`
}

// Slot is what became of a due time, or of several in a row that went the same
// way.
type Slot struct {
	Task        string     `json:"task"`             // its name
	Schedule    string     `json:"schedule"`         // "@expect" for deadlines of an expectation
	First       time.Time  `json:"first"`            // nominal
	Last        time.Time  `json:"last"`             // nominal
	Count       int        `json:"count"`            // 0: too many to be counted
	Due         *time.Time `json:"due,omitempty"`    // of a single one: with its jitter
	Outcome     string     `json:"outcome"`          // ran, ran_late, overlapped, missed, paused or outside_window; of a deadline met, unmet or excused
	Reason      string     `json:"reason,omitempty"` // in words
	Run         string     `json:"run,omitempty"`    // TASK/NUMBER
	DecidedAt   time.Time  `json:"decided_at"`
	LateSeconds *float64   `json:"late_seconds,omitempty"` // of one that ran
	Timezone    string     `json:"timezone,omitempty"`     // of the schedule, while the task has it
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

// ExplainRequest asks what a spec means.
type ExplainRequest struct {
	Spec     string   `json:"spec"`               // a cron spec, "@daily", "every 15m", "after 1h" or "at 2026-12-24T18:00"
	Timezone string   `json:"timezone,omitempty"` // empty: the daemon's
	Count    int      `json:"count,omitempty"`    // of times, at most 100; left out: 5
	From     string   `json:"from,omitempty"`     // the time to begin with; empty: now
	Jitter   string   `json:"jitter,omitempty"`   // here and below as in a schedule
	Start    string   `json:"start,omitempty"`    // nothing is due before
	End      string   `json:"end,omitempty"`      // nothing is due after
	Exclude  []string `json:"exclude,omitempty"`  // days on which nothing is due
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
	Summary  string       `json:"summary"`            // in words
	Notes    []string     `json:"notes,omitempty"`    // what people stumble over
	Times    []Occurrence `json:"times"`              // the next ones
	Over     bool         `json:"over,omitempty"`     // nothing is due after these
	Pause    *Pause       `json:"paused,omitempty"`   // the task's schedules make no runs now
	Disabled bool         `json:"disabled,omitempty"` // the task is
}

// Explanations are those of a task's schedules, and of its expectation under the
// name "@expect": its times are the deadlines.
type Explanations struct {
	Task  string        `json:"task"` // its name
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
	Tasks []Valid `json:"tasks"` // in the order of the files
}

// Valid is what the task of one valid file would be.
type Valid struct {
	Task     string    `json:"task"`               // its name
	File     string    `json:"file"`               // as it was named
	Steps    int       `json:"steps"`              // how many
	Next     *Upcoming `json:"next,omitempty"`     // the run that its schedules would make first, if it was saved now
	Deadline *Deadline `json:"deadline,omitempty"` // when its expectation would be judged first
}
