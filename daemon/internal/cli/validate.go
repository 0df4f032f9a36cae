package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newValidate(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE|DIR...",
		Short: "Check task files, and save nothing",
		Long: `Check task files as apply would, settings against the controllers' schemas
included, and save nothing. Every problem is shown in its place. "-" is the
standard input; of a directory it is all its *.yaml and *.yml files.`,
		Args:              atLeastOne("FILE"),
		ValidArgsFunction: completeTaskFiles,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			files, dirs, err := e.taskFiles(args)
			if err == nil {
				err = someFiles(files, dirs)
			}
			if err != nil {
				return err
			}
			result, err := c.Validate(ctx, files)
			if err != nil {
				return err
			}
			if e.json() {
				return e.printJSON(struct {
					Valid bool        `json:"valid"`
					Files int         `json:"files"`
					Tasks []api.Valid `json:"tasks"`
				}{true, len(files), result.Tasks})
			}
			for _, v := range result.Tasks {
				if v.Next != nil {
					e.say("%s would run next %s", printable(v.Task), stamp(v.Next.Due, v.Next.Timezone))
				} else if v.Deadline != nil {
					e.say("%s would be %s", printable(v.Task), judged(v.Deadline))
				}
			}
			e.say("%s, no problems", count(len(files), "file"))
			return nil
		}),
	}
}
