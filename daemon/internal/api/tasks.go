package api

import "encoding/json"

// TaskQuery selects tasks. Empty fields select all.
type TaskQuery struct {
	Name      string // part of the name; with * or ? a pattern for the whole of it
	Status    string // draft, disabled, paused, scheduled, ready; or running, queued: it has such a run
	CreatedBy string
	Starter   string // a user or @group that is listed
	Schedule  string // name of a schedule, or "any", "none"
	Result    string // status of the newest run, or "never"
	Sort      string // name (default), created, updated, last_run, next; with a dash before it, descending
	After     string // Page.Next of the page before
	Limit     int    // 0 means PageSize, at most MaxPage
}

// SaveRequest makes or replaces a task. Task is a task file as JSON: the same
// keys, checked the same way; faults name their path in it. Without steps it is
// a draft.
type SaveRequest struct {
	Task json.RawMessage `json:"task"`
	Dir  string          `json:"dir,omitempty"` // absolute: where relative paths start; without one there must be none
	// Version is the one that is replaced; a PUT needs it.
	Version uint64 `json:"version,omitempty"`
}

// PatchRequest changes a task, or a step: Patch is a JSON merge patch (RFC 7396)
// of its definition, in which null removes a key. Version 0 changes whatever is
// there, as one atomic act; another one that is not the current is a conflict.
type PatchRequest struct {
	Patch   json.RawMessage `json:"patch"`
	Version uint64          `json:"version,omitempty"`
}

// StepRequest adds a step. Step is a step as in a task file. It is put before or
// behind the one named, else at the end.
type StepRequest struct {
	Step    json.RawMessage `json:"step"`
	Before  string          `json:"before,omitempty"`
	After   string          `json:"after,omitempty"`
	Version uint64          `json:"version,omitempty"`
}

// OrderRequest names all steps of the task in the order that they are to have.
// Steps that share an order number keep doing so where they stay neighbours.
type OrderRequest struct {
	Steps   []string `json:"steps"`
	Version uint64   `json:"version,omitempty"`
}

// Definition is a task as its file would say it.
type Definition struct {
	Name    string          `json:"name"`
	Version uint64          `json:"version"`
	Dir     string          `json:"dir,omitempty"`
	Source  string          `json:"source,omitempty"`
	Task    json.RawMessage `json:"task"`
	YAML    string          `json:"yaml"`
}

// Saved is the answer to a change of a task.
type Saved struct {
	Task    Task     `json:"task"`
	Changes []Change `json:"changes,omitempty"` // none: it was so already, and the version is the same
}
