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
	exitConflict    = 8
	exitInterrupted = 130
)

func newExitCodes() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: `Exit codes

    0  it worked; with --follow: the run completed, of several runs all of them
    1  it did not work: what was asked for is faulty, unknown or not possible now,
       or somebody answered no; of diff: there are differences
    2  the command line is faulty, or lacks the --yes that nobody is there to give:
       nothing was done; of diff: whether there are differences could not be told
    3  the run that was followed ended incomplete: work is left, none of it failed
    4  denied: no permission, on the socket or for what was asked
    5  the daemon is not running, or cannot be reached
    6  the run that was followed failed
    7  the run that was followed was cancelled
    8  a conflict: the task has changed meanwhile, or did not come from this file;
       nothing was saved
  130  interrupted from the keyboard; a run that was followed goes on

Of several runs that were followed it is the code of the first that did not
complete; of several that were to be cancelled, of the first that could not be.`,
	}
}

// exitCode is the one map from an error to an exit code.
func exitCode(err error) int {
	var end *runEnd
	var fixed *coded
	var usage *usage
	var down *client.DownError
	var fault *api.Error
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.As(err, &fixed):
		return fixed.code
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
		case api.CodeConflict:
			return exitConflict
		case api.CodeConfirm:
			return exitUsage
		}
	}
	return exitError
}

// errInterrupted is a Ctrl-C: nobody has to be told of it.
var errInterrupted = fmt.Errorf("interrupted: %w", context.Canceled)

// errDeclined and errDifferent have been told already: somebody said no, and
// the differences are there to see.
var (
	errDeclined  = errors.New("nothing was done")
	errDifferent = errors.New("there are differences")
)

// coded is an error whose exit code is another one than its kind has.
type coded struct {
	error
	code int
}

func (c *coded) Unwrap() error { return c.error }

// reported is a fault that has been told to the person already, one of several.
type reported struct{ error }

func (r *reported) Unwrap() error { return r.error }

// faults collects what goes wrong with some of several things that were named.
// Each is told at once; err stands for all of them.
type faults struct{ err error }

// add tells a fault of one of so many things, unless it is the only one, which
// is told as any other. It is false when the others need not be tried: the daemon
// is gone.
func (f *faults) add(e *env, err error, of int) bool {
	gone := exitCode(err) == exitDown || errors.Is(err, context.Canceled)
	if of > 1 && !gone && !told(err) {
		e.report(e.cmd, err)
		err = &reported{err}
	}
	if f.err == nil || gone {
		f.err = err
	}
	return !gone
}

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
	if c, ok := err.(*coded); ok {
		return parts(c.error)
	}
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
