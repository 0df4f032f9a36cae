package task

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Change is one difference between two definitions, in the words of a task file.
type Change struct {
	// Path names the place: "max_parallel", "steps.tables.settings.mode",
	// "schedule.nightly.cron". Steps and schedules go by their names.
	Path string
	Op   ChangeOp
	Old  json.RawMessage // nil: was not there
	New  json.RawMessage // nil: is not there
}

// ChangeOp is a word for what happened to the place.
type ChangeOp string

const (
	Added   ChangeOp = "added"
	Removed ChangeOp = "removed"
	Changed ChangeOp = "changed"
	Moved   ChangeOp = "moved" // of a step: Old and New are places from 1
)

// ConflictError says that a write was made for a version of the task that is
// not the current one, and what has changed since. It is an ErrConflict.
type ConflictError struct {
	Task    string
	Wanted  uint64 // the version that the write was made for
	Current uint64
	By      string // who made the current one
	Changes []Change
}

func (e *ConflictError) Error() string {
	by := ""
	if e.By != "" {
		by = ", changed by " + e.By
	}
	return fmt.Sprintf("task %s is at version %d%s, the change was made for version %d", e.Task, e.Current, by, e.Wanted)
}

func (e *ConflictError) Unwrap() error { return ErrConflict }

// ConfirmError lists the steps that would be done again although they must not
// be repeated by themselves. It is an ErrConfirm.
type ConfirmError struct {
	Run   string   // ref
	Steps []string // full names, at most 20
	More  int      // beyond them
}

func (e *ConfirmError) Error() string {
	return fmt.Sprintf("run %s: %d of its steps may have had their effect and would be done again", e.Run, len(e.Steps)+e.More)
}

func (e *ConfirmError) Unwrap() error { return ErrConfirm }

// StepNamed is the index of the step of that name, or -1.
func StepNamed(steps []Step, name string) int {
	return slices.IndexFunc(steps, func(s Step) bool { return s.Name == name })
}
