package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newSecrets(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "secrets",
		Short: "List the names that settings may refer to as secrets",
		Long: `List the secrets: where each is taken from, which tasks refer to it, and why it cannot
be had where that is so. Their values are never shown: they go from the daemon to the
controller, at the start of a step.

A task refers to one as {secret: NAME}.`,
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: e.run(func(ctx context.Context, c *client.Client, _ []string) error {
			list, err := c.Secrets(ctx)
			if err != nil {
				return err
			}
			if e.json() {
				return e.printJSON(list)
			}
			for _, w := range list.Warnings {
				e.say("%s %s", e.painter(e.Stderr).paint(yellow, "warning:"), block(w))
			}
			if len(list.Secrets) == 0 {
				e.say("there are no secrets, and no task refers to one")
				return nil
			}
			var rows [][]cell
			for _, s := range list.Secrets {
				from, state := text(s.From), status("ready")
				if s.From == "" {
					from = text("-")
				}
				if s.Error != "" {
					state = cell{text: "unusable", color: red}
				}
				used := strings.Join(s.UsedBy, ", ")
				if used == "" {
					used = "-"
				}
				rows = append(rows, []cell{text(s.Name), state, text(used), from, text(s.Error)})
			}
			return e.table([]string{"SECRET", "STATE", "USED BY", "FROM", "WHY"}, rows)
		}),
	}
}
