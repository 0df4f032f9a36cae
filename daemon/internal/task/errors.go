package task

import "errors"

// Errors that cross rooms. Wrap them with what was wrong, where, and what to
// do; the API maps each to one code and its client maps it back, so that
// errors.Is works over the socket.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists already")
	ErrConflict = errors.New("changed meanwhile")
	ErrInvalid  = errors.New("invalid")
	ErrDenied   = errors.New("denied")
	// ErrState: the thing is in a state that does not allow it.
	ErrState = errors.New("not possible now")
	// ErrConfirm: it would do something twice that must not be done twice, and
	// wants the word of whoever asks.
	ErrConfirm = errors.New("needs a confirmation")
	// ErrStale: the attempt that reports is not the newest one any more.
	ErrStale = errors.New("stale attempt")
	// ErrDiskFull: the state directory has no room; nothing was changed.
	ErrDiskFull = errors.New("no space left in the state directory")
	// ErrStoreFailed: a write's outcome is unknown and the store stopped.
	ErrStoreFailed = errors.New("the store failed")
	// ErrStopping: the daemon is on its way out.
	ErrStopping = errors.New("the daemon is stopping")
)
