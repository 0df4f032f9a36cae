package cli

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newVersion(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "version",
		Short:             "The versions of this program and of the daemon",
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: e.run(func(ctx context.Context, c *client.Client, _ []string) error {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // it must work where no daemon does
			defer cancel()
			s, err := c.Status(ctx)
			if e.json() {
				return e.printJSON(struct {
					Version string `json:"version"`
					Go      string `json:"go"`
					Daemon  string `json:"daemon,omitempty"`
				}{e.Version, runtime.Version(), s.Version})
			}
			daemon := "not reached"
			if err == nil {
				daemon = printable(s.Version)
			}
			return e.print(fmt.Sprintf("stepd %s (%s, %s/%s)\ndaemon %s\n", e.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH, daemon))
		}),
	}
}
