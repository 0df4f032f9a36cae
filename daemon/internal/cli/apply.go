package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

type applyOptions struct{ dryRun bool }

func newApply(e *env) *cobra.Command {
	var opts applyOptions
	cmd := &cobra.Command{
		Use:   "apply FILE...",
		Short: "Save the tasks of files: all of them, or none",
		Long: `Save the tasks of files: all of them, or none when one has a problem.

A task that exists already is changed; runs that are under way keep the
definition that they began with. Relative paths in a file start where the file
is. "-" is the standard input.`,
		Example: `  stepd apply backup.yaml
  stepd apply --dry-run tasks.d/*.yaml`,
		Args:              atLeastOne("FILE"),
		ValidArgsFunction: completeTaskFiles,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			return e.apply(ctx, c, args, opts)
		}),
	}
	cmd.Flags().BoolVar(&opts.dryRun, "dry-run", false, "say what would be done, and save nothing")
	return cmd
}

func (e *env) apply(ctx context.Context, c *client.Client, args []string, opts applyOptions) error {
	files, err := e.taskFiles(args)
	if err != nil {
		return err
	}
	result, err := c.Apply(ctx, api.ApplyRequest{Files: files, DryRun: opts.dryRun})
	if err != nil {
		return err
	}
	if e.json() {
		return e.printJSON(struct {
			api.ApplyResult
			DryRun bool `json:"dry_run"`
		}{result, opts.dryRun})
	}
	for _, a := range result.Tasks {
		action := a.Action
		if opts.dryRun && action != "unchanged" {
			action = "would be " + action
		}
		next := ""
		if a.Next != nil {
			next = ", next run " + stamp(a.Next.Due, a.Next.Timezone)
		} else if a.Deadline != nil {
			next = ", " + judged(a.Deadline)
		}
		if err := e.print(fmt.Sprintf("%s %s (version %d, %s)%s\n", printable(a.Task), action, a.Version, count(a.Steps, "step"), next)); err != nil {
			return err
		}
	}
	switch {
	case opts.dryRun:
		e.say("nothing was saved")
	case len(result.Tasks) == 1:
		e.say("run it: stepd run %s", result.Tasks[0].Task)
	}
	return nil
}

// judged says when an expectation is looked at next.
func judged(d *api.Deadline) string {
	s := "judged next " + stamp(d.At, d.Timezone)
	if d.Excused {
		s += " (" + excusedDeadline + ")"
	}
	return s
}
