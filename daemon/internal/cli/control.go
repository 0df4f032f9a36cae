package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newContinue(e *env) *cobra.Command {
	return control(e, "continue", "Carry out what is left of a run",
		`Carry out what is left of a run that ended without completing: completed steps
stay as they are, the others are done, each from its last checkpoint.`, (*client.Client).Continue)
}

func newRestart(e *env) *cobra.Command {
	return control(e, "restart", "Do all of a run again, as a new run",
		`Do all of a run again, as a new run with its own number. To do only what is left:
stepd continue`, (*client.Client).Restart)
}

func control(e *env, verb, short, long string, act func(*client.Client, context.Context, string, api.AgainRequest) (api.Run, error)) *cobra.Command {
	var opts followOptions
	cmd := &cobra.Command{
		Use:   verb + " REF",
		Short: short,
		Long: long + `

REF is TASK/NUMBER, or TASK for its newest run. The exit code with --follow is the
run's.`,
		Args:              exactly("REF"),
		ValidArgsFunction: e.completeRuns,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			r, err := act(c, ctx, args[0], api.AgainRequest{})
			if err != nil {
				return unknown(ctx, c, args[0], err)
			}
			return e.started(ctx, c, r, opts)
		}),
	}
	opts.flag(cmd)
	return cmd
}
