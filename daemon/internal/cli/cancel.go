package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newCancel(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "cancel REF",
		Short: "End a run",
		Long: `End a run: its steps are told to stop, and ended by force when they do not.
What is completed stays; stepd continue takes up the rest.

REF is TASK/NUMBER, or TASK for its newest run. It does not wait for the end:
stepd run show REF --follow does.`,
		Args:              exactly("REF"),
		ValidArgsFunction: e.completeAliveRuns,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.Cancel(ctx, args[0], api.CancelRequest{})
			if err != nil {
				return unknown(ctx, c, args[0], err)
			}
			if e.json() {
				return e.printJSON(r)
			}
			if r.Alive() {
				e.say("%s is being cancelled", r.Ref)
			} else {
				e.say("%s is %s", r.Ref, e.painter(e.Stderr).status(r.Status))
			}
			return nil
		}),
	}
}
