package api

import "net/http"

// Code is a word for what went wrong, the same over the socket, in JSON and as
// the exit status of the command line.
type Code string

const (
	CodeInvalid  Code = "invalid"   // the request, or a task file in it, is faulty
	CodeNotFound Code = "not_found" // there is no such thing
	CodeExists   Code = "exists"
	CodeConflict Code = "conflict" // changed meanwhile
	CodeState    Code = "state"    // not possible now, with the reason
	CodeConfirm  Code = "confirm"  // it would do something twice; say again: true to have it done
	CodeDenied   Code = "denied"
	CodeDiskFull Code = "disk_full"
	CodeStopping Code = "stopping" // the daemon is on its way out
	CodeTooLarge Code = "too_large"
	CodeBusy     Code = "busy"   // too many connections
	CodeMethod   Code = "method" // the route exists, this method of it does not
	CodeInternal Code = "internal"
)

// Codes lists all of them.
func Codes() []Code {
	return []Code{CodeInvalid, CodeNotFound, CodeExists, CodeConflict, CodeState, CodeConfirm, CodeDenied, CodeDiskFull,
		CodeStopping, CodeTooLarge, CodeBusy, CodeMethod, CodeInternal}
}

// HTTPStatus is the status that carries the code.
func (c Code) HTTPStatus() int {
	switch c {
	case CodeInvalid:
		return http.StatusUnprocessableEntity
	case CodeNotFound:
		return http.StatusNotFound
	case CodeExists, CodeConflict, CodeState, CodeConfirm:
		return http.StatusConflict
	case CodeDenied:
		return http.StatusForbidden
	case CodeDiskFull:
		return http.StatusInsufficientStorage
	case CodeStopping, CodeBusy:
		return http.StatusServiceUnavailable
	case CodeMethod:
		return http.StatusMethodNotAllowed
	case CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusInternalServerError
}

// Error is what went wrong, in an object of its own: {"schema":1,"error":{...}}.
type Error struct {
	Code     Code      `json:"code"`
	Message  string    `json:"message"`
	Hint     string    `json:"hint,omitempty"`     // what to do
	Problems []Problem `json:"problems,omitempty"` // of task files and definitions, all at once

	Version uint64    `json:"version,omitempty"` // of a conflict: the one that the task has now
	Changes []Change  `json:"changes,omitempty"` // of a conflict: what has changed since the version that the request was made for
	Tasks   []Applied `json:"tasks,omitempty"`   // of a conflict of apply: each task that stands against it
	Steps   []string  `json:"steps,omitempty"`   // of confirm: the steps that would be done again, the first 20
}

func (e *Error) Error() string {
	if e.Hint != "" {
		return e.Message + "\n" + e.Hint
	}
	return e.Message
}

// ErrorBody is the answer that is an error.
type ErrorBody struct {
	Schema int    `json:"schema"` // version of the JSON
	Error  *Error `json:"error"`
}
