package api

import (
	"encoding/json"
	"time"
)

// RunRequest starts a run.
type RunRequest struct {
	Task string `json:"task"` // its name
	// When it is to start: an instant, or a wall-clock time of the daemon's zone, as
	// 2026-12-24T18:00 or 18:00. Until then it is queued.
	At   string `json:"at,omitempty"`
	In   string `json:"in,omitempty"`   // the same as a duration from now, as 2h
	Step string `json:"step,omitempty"` // the one step that is to be carried out; such a run has no hooks
	// Other settings for once: of the task ("mode") or of a step ("tables.mode").
	// They are checked as in a task file.
	Set      map[string]json.RawMessage `json:"set,omitempty"`
	Priority *int                       `json:"priority,omitempty"` // -100 to 100, in place of the task's
}

// BatchRequest starts several runs, which are carried out one after another. One
// of the three is given.
type BatchRequest struct {
	Tasks []string `json:"tasks,omitempty"` // their names, in that order; none is started unless all can be
	Due   bool     `json:"due,omitempty"`   // each task whose schedules were due since its last completed run began
	All   bool     `json:"all,omitempty"`   // each task that can be run
}

// BatchResult says what became of each task.
type BatchResult struct {
	Batch string    `json:"batch,omitempty"` // name that the runs share; left out: none was started
	Runs  []Batched `json:"runs"`
}

// Batched is one task of a batch: the run that was started, or why none was.
type Batched struct {
	Task   string `json:"task"` // its name
	Run    *Run   `json:"run,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// AgainRequest continues or restarts a run.
type AgainRequest struct {
	From   string `json:"from,omitempty"`   // name of a step; continue: it and what follows is done again; restart: it begins there
	Latest bool   `json:"latest,omitempty"` // by the task as it is today, not as the run is pinned to it
	Again  bool   `json:"again,omitempty"`  // yes, steps that must not be repeated by themselves too
}

// CancelRequest cancels a run, or one step of it.
type CancelRequest struct {
	Step string `json:"step,omitempty"` // "tables", or "tables/actor" for a planned one
}

// RunQuery selects runs, newest first. Empty fields select all.
type RunQuery struct {
	Task      string
	Status    string // of a run; or alive, ended, stuck
	Trigger   string
	StartedBy string
	Schedule  string
	Batch     string
	Since     time.Time // made then or later
	Until     time.Time // made before
	After     string    // Page.Next of the page before
	Limit     int       // 0 means PageSize, at most MaxPage
}

// StepQuery selects steps of a run in their order, planned ones too.
type StepQuery struct {
	Status string
	After  string
	Limit  int
}

// LogQuery selects lines of a run's log.
type LogQuery struct {
	Follow bool
	Since  time.Time // that time and later
	Tail   int       // the last so many of what else fits; 0: all
	Step   string    // that step, or the steps that it planned
	Level  string    // that one and above: debug, info, warn, error; empty: all
}
