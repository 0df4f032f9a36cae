package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

type againOptions struct {
	followOptions
	request api.AgainRequest
}

func newContinue(e *env) *cobra.Command {
	return control(e, "continue", "Carry out what is left of a run",
		`Carry out what is left of a run that ended without completing: completed steps stay
as they are with what they left, the others are done, each from its last checkpoint.

  --from    the step, and all that come after it, are done again even if they had
            completed
  --latest  by the task as it is today; without it the run keeps the definition that
            it began with. Refused when a step that has begun is another one today`, "do this `STEP`, and all that come after it, again", (*client.Client).Continue)
}

func newRestart(e *env) *cobra.Command {
	return control(e, "restart", "Do all of a run again, as a new run",
		`Do all of a run again, as a new run with its own number. To do only what is left:
stepd continue

  --from    the new run begins with this step; those before it are skipped, and what
            they left is taken from the run that is done again
  --latest  by the task as it is today; without it the new run has the definition of
            the one that is done again`, "begin with this `STEP`", (*client.Client).Restart)
}

func control(e *env, verb, short, long, from string, act func(*client.Client, context.Context, string, api.AgainRequest) (api.Run, error)) *cobra.Command {
	var opts againOptions
	cmd := &cobra.Command{
		Use:   verb + " REF",
		Short: short,
		Long: long + `

Steps that must not be done twice by themselves, as mails that may have been sent, are
listed and asked about before they are; --yes answers that.

REF is TASK/NUMBER, or TASK for its newest run. The exit code with --follow is the
run's.`,
		Args:              exactly("REF"),
		ValidArgsFunction: e.completeRuns,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			r, err := act(c, ctx, args[0], opts.request)
			if fault, ok := errors.AsType[*api.Error](err); ok && fault.Code == api.CodeConfirm {
				if err := e.again(ctx, fault); err != nil {
					return err
				}
				opts.request.Again = true
				r, err = act(c, ctx, args[0], opts.request)
			}
			if err != nil && opts.request.From != "" {
				return e.unknownStep(ctx, c, args[0], opts.request.From, err)
			}
			if err != nil {
				return unknown(ctx, c, args[0], err)
			}
			return e.started(ctx, c, r, opts.followOptions)
		}),
	}
	opts.flag(cmd)
	cmd.Flags().StringVar(&opts.request.From, "from", "", from)
	cmd.Flags().BoolVar(&opts.request.Latest, "latest", false, "by the task as it is today")
	e.completeStepFlag(cmd, "from")
	return cmd
}

// again lists the steps that would be done twice and asks about them. It is the
// error when there is nobody to ask.
func (e *env) again(ctx context.Context, fault *api.Error) error {
	if !e.mayAsk() {
		return withHint(fault, "add --yes when you are sure")
	}
	if !e.json() && !(e.quiet && e.yes) {
		fmt.Fprintf(e.Stderr, "%s:\n", block(fault.Message))
		e.against(fault)
	}
	ok, err := e.confirm(ctx, "Do "+them(len(fault.Steps), "it", "them")+" again?")
	if err == nil && !ok {
		err = errDeclined
	}
	return err
}
