package sdk

import (
	"context"
	"errors"
	"time"
)

// Causes of a step's context (context.Cause) when the daemon ended it.
var (
	// ErrCancelled: somebody wanted the run to end. Clean up and return.
	ErrCancelled = errors.New("cancelled")
	// ErrStopping: the daemon stops. Save a checkpoint; the step will be
	// resumed by another attempt.
	ErrStopping = errors.New("the daemon is stopping")
	// ErrDeadline: a time limit of the task passed.
	ErrDeadline = errors.New("a time limit passed")
)

// ErrNoInput: the step that was asked for has no such output.
var ErrNoInput = errors.New("no such output")

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Permanent marks an error that another attempt would only repeat: the step
// fails at once. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type retryAfterError struct {
	err   error
	after time.Duration
}

func (e *retryAfterError) Error() string { return e.err.Error() }
func (e *retryAfterError) Unwrap() error { return e.err }

// RetryAfter marks an error whose next attempt, if the task allows one, should
// not start before d has passed. RetryAfter(nil, d) is nil.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &retryAfterError{err, d}
}

type sessionLostError struct{ err error }

func (e *sessionLostError) Error() string { return e.err.Error() }
func (e *sessionLostError) Unwrap() error { return e.err }

// SessionLost marks an error that says that what the plan keeps open (Plan.Keep)
// is of no use any more, although this process lives: the server that held it
// went away. The whole plan starts again, its completed steps too. The daemon
// gives up when that happens over and over. SessionLost(nil) is nil.
func SessionLost(err error) error {
	if err == nil {
		return nil
	}
	return &sessionLostError{err}
}

// isCancelled reports whether err only says that ctx ended.
func isCancelled(ctx context.Context, err error) bool {
	if ctx.Err() == nil {
		return false
	}
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Cause(ctx))
}
