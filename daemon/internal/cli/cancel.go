package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newCancel(e *env) *cobra.Command {
	var request api.CancelRequest
	cmd := &cobra.Command{
		Use:   "cancel REF...",
		Short: "End runs, or one step of a run",
		Long: `End runs: their steps are told to stop, and ended by force when they do not. What is
completed stays; stepd continue takes up the rest.

With --step only that step ends, as in tables, or a planned one, as in tables/actor;
the run goes on with the others.

REF is TASK/NUMBER, or TASK for its newest run. It does not wait for the end:
stepd run show REF --follow does.`,
		Example: `  stepd cancel backup
  stepd cancel backup/42 --step tables/actor`,
		Args:              atLeastOne("REF"),
		ValidArgsFunction: e.completeAliveRuns,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			if request.Step != "" && len(args) > 1 {
				return withHint(usageError("--step goes with one run"), "cancel the steps one by one")
			}
			return e.cancel(ctx, c, args, request)
		}),
	}
	cmd.Flags().StringVar(&request.Step, "step", "", "end this `STEP` alone")
	_ = cmd.RegisterFlagCompletionFunc("step", func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return e.stepsOfRun(cmd, args)
	})
	return cmd
}

func (e *env) cancel(ctx context.Context, c *client.Client, refs []string, request api.CancelRequest) error {
	var faults faults
	for _, ref := range refs {
		r, err := c.Cancel(ctx, ref, request)
		if err != nil {
			if request.Step != "" {
				err = e.unknownStep(ctx, c, ref, request.Step, err)
			} else {
				err = unknown(ctx, c, ref, err)
			}
			if !faults.add(e, err, len(refs)) {
				break
			}
			continue
		}
		switch {
		case e.json():
			if err := e.printJSON(r); err != nil {
				return err
			}
		case request.Step != "":
			e.say("%s of %s is being cancelled", printable(request.Step), printable(r.Ref))
		case r.Alive():
			e.say("%s is being cancelled", printable(r.Ref))
		default:
			e.say("%s is %s", printable(r.Ref), e.painter(e.Stderr).status(r.Status))
		}
	}
	return faults.err
}
