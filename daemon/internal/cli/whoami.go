package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newWhoAmI(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "How the daemon sees you, and what you may do",
		Long: `How the daemon sees you, by the user and the groups of the process that asks, and what
you may do:

  none           see, start and control runs of tasks that list you as a starter
  reader         see all tasks, runs and logs
  runner         start, cancel, continue and restart runs too
  administrator  change tasks too, act for others with --as, see the secrets' names and
                 the audit log`,
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: e.run(func(ctx context.Context, c *client.Client, _ []string) error {
			who, err := c.WhoAmI(ctx)
			if err != nil {
				return err
			}
			if e.json() {
				return e.printJSON(who)
			}
			p := e.painter(e.Stdout)
			return e.print(p.paint(bold, printable(who.User)) + "  " + printable(string(who.Role)) + "\n" + e.pairs([][2]string{
				{"uid", fmt.Sprint(who.UID)},
				{"gid", fmt.Sprint(who.GID)},
				{"groups", printable(strings.Join(who.Groups, ", "))},
				{"acts for", printable(who.ActFor)},
				{"may", mayDo(who.Role)},
			}))
		}),
	}
}

func mayDo(role api.Role) string {
	switch role {
	case api.RoleAdmin:
		return "change tasks, start runs, act for others, see secrets' names and the audit log"
	case api.RoleRunner:
		return "see all tasks, runs and logs, start and control runs"
	case api.RoleReader:
		return "see all tasks, runs and logs"
	}
	return "see, start and control runs of tasks that list you as a starter"
}
