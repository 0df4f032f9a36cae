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

// SaveRequest makes or replaces a task.
type SaveRequest struct {
	Task    json.RawMessage `json:"task"`              // the keys of a task file, checked the same way; without steps it is a draft
	Dir     string          `json:"dir,omitempty"`     // absolute: where relative paths start; without one there must be none
	Version uint64          `json:"version,omitempty"` // the one that is replaced; a PUT needs it
}

// PatchRequest changes a task, or a step.
type PatchRequest struct {
	Patch   json.RawMessage `json:"patch"`             // a JSON merge patch (RFC 7396) of the definition, in which null removes a key
	Version uint64          `json:"version,omitempty"` // that the task must have; left out: what is there is changed, as one atomic act
}

// StepRequest adds a step: before or behind the one that is named, else at the
// end.
type StepRequest struct {
	Step    json.RawMessage `json:"step"`              // the keys of a step in a task file
	Before  string          `json:"before,omitempty"`  // name of a step
	After   string          `json:"after,omitempty"`   // name of a step
	Version uint64          `json:"version,omitempty"` // that the task must have; left out: any
}

// OrderRequest puts the steps of a task into another order. Steps that share an
// order number keep doing so where they stay neighbours.
type OrderRequest struct {
	Steps   []string `json:"steps"`             // names of all steps of the task
	Version uint64   `json:"version,omitempty"` // that the task must have; left out: any
}

// Definition is a task as its file would say it.
type Definition struct {
	Name    string          `json:"name"`
	Version uint64          `json:"version"`
	Dir     string          `json:"dir,omitempty"`    // where relative paths start
	Source  string          `json:"source,omitempty"` // file that it was applied from
	Task    json.RawMessage `json:"task"`             // as JSON
	YAML    string          `json:"yaml"`             // the same as YAML
}

// Saved is the answer to a change of a task.
type Saved struct {
	Task    Task     `json:"task"`              // as it is now
	Changes []Change `json:"changes,omitempty"` // none: it was so already, and the version is the same
}

// Done is the answer to what has none of its own: it is done.
type Done struct{}
