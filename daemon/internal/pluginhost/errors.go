package pluginhost

import (
	"errors"
	"fmt"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Kinds of refusal, for errors.Is. The text that people see is that of Error.
var (
	ErrNotFound      = errors.New("no such plugin")
	ErrNoController  = errors.New("no such controller")
	ErrName          = errors.New("unusable plugin name")
	ErrNotRegular    = errors.New("not a regular file")
	ErrNotExecutable = errors.New("not executable")
	ErrUnsafeOwner   = errors.New("unsafe owner")
	ErrWritable      = errors.New("writable by others")
	ErrUnsafeDir     = errors.New("unsafe directory")
	ErrChecksum      = errors.New("wrong checksum")
	ErrStart         = errors.New("did not start")
	ErrHandshake     = errors.New("broken handshake")
	ErrProtocol      = errors.New("wrong protocol version")
	ErrDescribe      = errors.New("broken description")
	ErrCircuitOpen   = errors.New("circuit open")
)

// Error says why a plugin is not used, and what to do about it. errors.Is
// finds its kind, and task.ErrNotFound or task.ErrStopping where those apply.
type Error struct {
	Plugin string
	Kind   error
	Text   string
	Cause  error
}

func (e *Error) Error() string { return fmt.Sprintf("plugin %s: %s", e.Plugin, e.Text) }

func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

func refuse(plugin string, kind error, format string, args ...any) *Error {
	e := &Error{Plugin: plugin, Kind: kind, Text: fmt.Sprintf(format, args...)}
	if kind == ErrNotFound || kind == ErrNoController {
		e.Cause = task.ErrNotFound
	}
	return e
}

func refuseStopping(plugin string) *Error {
	return &Error{Plugin: plugin, Kind: ErrStart, Text: "is not started: the daemon is stopping", Cause: task.ErrStopping}
}
