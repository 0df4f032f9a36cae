package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newStatus(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "status",
		Short:             "How the daemon is",
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: e.run(func(ctx context.Context, c *client.Client, _ []string) error {
			s, err := c.Status(ctx)
			if err != nil {
				return err
			}
			if e.json() {
				return e.printJSON(s)
			}
			p := e.painter(e.Stdout)
			state := p.paint(green, "running")
			if len(s.Problems) > 0 {
				state = p.paint(yellow, "running, with problems")
			}
			list := [][2]string{
				{"version", printable(s.Version)},
				{"pid", fmt.Sprint(s.PID)},
				{"started", e.when(s.StartedAt)},
				{"data", printable(s.DataDir)},
				{"socket", printable(e.socketPath())},
				{"runs", fmt.Sprintf("%d running, %d queued, %d at once", s.Running, s.Queued, s.MaxRuns)},
			}
			for _, problem := range s.Problems {
				list = append(list, [2]string{"problem", p.paint(yellow, block(problem))})
			}
			return e.print("stepd is " + state + "\n" + e.pairs(list))
		}),
	}
}
