package client

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// Why a daemon cannot be reached.
type Why string

const (
	NoSocket      Why = "no socket"         // there is nothing at the path
	NobodyListens Why = "nobody listens"    // a socket is left, its daemon is gone
	NotPermitted  Why = "permission denied" // the socket is there, for others
	Unreachable   Why = "unreachable"       // anything else
)

// DownError says that the daemon cannot be reached, and what to do.
type DownError struct {
	Socket string
	Why    Why
	Err    error
}

func down(socket string, err error) *DownError {
	d := &DownError{Socket: socket, Why: Unreachable, Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		d.Why = NoSocket
	case errors.Is(err, syscall.ECONNREFUSED):
		d.Why = NobodyListens
	case errors.Is(err, fs.ErrPermission):
		d.Why = NotPermitted
	}
	return d
}

// Message is what is wrong, without what to do.
func (e *DownError) Message() string {
	switch e.Why {
	case NoSocket:
		return fmt.Sprintf("the daemon is not running: there is no socket at %s", e.Socket)
	case NobodyListens:
		return fmt.Sprintf("the daemon is not running: nobody listens on %s", e.Socket)
	case NotPermitted:
		return fmt.Sprintf("no permission to talk to the daemon at %s", e.Socket)
	}
	err := e.Err
	if s, ok := errors.AsType[syscall.Errno](err); ok {
		err = s
	}
	return fmt.Sprintf("the daemon cannot be reached at %s: %v", e.Socket, err)
}

// Hint is what to do about it.
func (e *DownError) Hint() string {
	switch e.Why {
	case NoSocket, NobodyListens:
		return "start it with: systemctl start stepd, or: stepd serve; another socket is named with --socket or STEPD_SOCKET"
	case NotPermitted:
		return "ask for membership in the group of the socket and its directory, or use sudo"
	}
	return "see how it is with: systemctl status stepd"
}

func (e *DownError) Error() string { return e.Message() + "\n" + e.Hint() }

func (e *DownError) Unwrap() error { return e.Err }

// BrokenError says that the daemon was reached and did not answer as it should:
// it went away in the middle, or is no stepd. Whether the request had its effect
// is not known.
type BrokenError struct {
	Socket string
	Err    error
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("the daemon at %s broke off: %v", e.Socket, e.Err)
}

func (e *BrokenError) Unwrap() error { return e.Err }
