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

// Error is every error that the server answers: {"schema":1,"error":{...}}.
type Error struct {
	Code     Code      `json:"code"`
	Message  string    `json:"message"`
	Hint     string    `json:"hint,omitempty"`     // what to do
	Problems []Problem `json:"problems,omitempty"` // of task files

	// Of a conflict: the version that the task has now, and what has changed since
	// the one that the request was made for; of apply, each task that stands
	// against it.
	Version uint64    `json:"version,omitempty"`
	Changes []Change  `json:"changes,omitempty"`
	Tasks   []Applied `json:"tasks,omitempty"`
	// Of confirm: the steps that would be done again, the first 20.
	Steps []string `json:"steps,omitempty"`
}

func (e *Error) Error() string {
	if e.Hint != "" {
		return e.Message + "\n" + e.Hint
	}
	return e.Message
}

// ErrorBody is the JSON around an Error.
type ErrorBody struct {
	Schema int    `json:"schema"`
	Error  *Error `json:"error"`
}
