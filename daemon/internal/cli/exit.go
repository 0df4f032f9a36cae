package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

// Exit codes. They are promised: scripts and units look at them.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitIncomplete  = 3
	exitDenied      = 4
	exitDown        = 5
	exitRunFailed   = 6
	exitCancelled   = 7
	exitInterrupted = 130
)

func newExitCodes() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: `Exit codes

    0  it worked; with --follow: the run completed
    1  it did not work: what was asked for is faulty, unknown or not possible now
    2  the command line is faulty; nothing was tried
    3  the run that was followed ended incomplete: work is left, none of it failed
    4  denied: no permission, on the socket or for what was asked
    5  the daemon is not running, or cannot be reached
    6  the run that was followed failed
    7  the run that was followed was cancelled
  130  interrupted from the keyboard; a run that was followed goes on`,
	}
}

// exitCode is the one map from an error to an exit code.
func exitCode(err error) int {
	var end *runEnd
	var usage *usage
	var down *client.DownError
	var fault *api.Error
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.As(err, &end):
		return end.exitCode()
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &down):
		if down.Why == client.NotPermitted {
			return exitDenied
		}
		return exitDown
	case errors.As(err, &fault):
		switch fault.Code {
		case api.CodeDenied:
			return exitDenied
		case api.CodeStopping:
			return exitDown
		}
	}
	return exitError
}

// errInterrupted is a Ctrl-C: nobody has to be told of it.
var errInterrupted = fmt.Errorf("interrupted: %w", context.Canceled)

// usage is a faulty command line.
type usage struct{ text string }

func usageError(format string, args ...any) error { return &usage{fmt.Sprintf(format, args...)} }

func (u *usage) Error() string { return u.text }

// runEnd is the end of a run that was followed, other than completed. It has
// been shown already.
type runEnd struct{ status string }

func (r *runEnd) Error() string { return "the run is " + r.status }

func (r *runEnd) exitCode() int {
	switch r.status {
	case "failed":
		return exitRunFailed
	case "cancelled":
		return exitCancelled
	case "incomplete":
		return exitIncomplete
	}
	return exitError
}

// hinted is an error with a word on what to do.
type hinted struct {
	error
	hint string
}

func withHint(err error, hint string) error { return &hinted{err, hint} }

func (h *hinted) Unwrap() error { return h.error }

// parts are an error's text and its hint, whoever made it.
func parts(err error) (text, hint string) {
	if h, ok := errors.AsType[*hinted](err); ok {
		text, inner := parts(h.error)
		if inner != "" {
			return text, inner
		}
		return text, h.hint
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e.Message, e.Hint
	}
	if d, ok := errors.AsType[*client.DownError](err); ok {
		return d.Message(), d.Hint()
	}
	return err.Error(), ""
}
