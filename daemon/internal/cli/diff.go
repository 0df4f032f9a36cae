package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newDiff(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "diff FILE|DIR...",
		Short: "Show how task files differ from the tasks that the daemon has",
		Long: `Show what apply would change: + comes, - goes, ~ becomes another. Nothing is saved.
Of a directory also the tasks are listed that came from files in it which are gone.

Exit codes are those of diff: 0 when nothing differs, 1 when something does, and 2
when that could not be told, as for faulty files. 4 and 5 are as everywhere.`,
		Example: `  stepd diff backup.yaml
  stepd diff tasks.d/ || echo "apply has something to do"`,
		Args:              atLeastOne("FILE"),
		ValidArgsFunction: completeTaskFiles,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			err := e.diff(ctx, c, args)
			if exitCode(err) == exitError && err != errDifferent {
				return &coded{err, exitUsage}
			}
			return err
		}),
	}
}

func (e *env) diff(ctx context.Context, c *client.Client, args []string) error {
	files, dirs, err := e.taskFiles(args)
	if err != nil {
		return err
	}
	result, err := c.Apply(ctx, api.ApplyRequest{Files: files, DryRun: true, Prune: dirs})
	if err != nil {
		return err
	}
	differ := false
	p := e.painter(e.Stdout)
	out := ""
	for _, a := range result.Tasks {
		if a.Action == "unchanged" {
			continue
		}
		differ = true
		name := p.paint(bold, printable(a.Task))
		switch a.Action {
		case "created":
			out += p.paint(green, "+") + " " + name + ": the daemon does not have it\n"
		case "deleted":
			out += p.paint(red, "-") + " " + name + ": its file is gone\n"
		default:
			out += fmt.Sprintf("%s %s\n", p.paint(yellow, "~"), name)
			if a.Reason != "" {
				out += "  " + p.paint(yellow, "conflict:") + " " + printable(a.Reason) + "\n"
			}
		}
		if a.Action != "created" {
			out += changeLines(p, a.Changes, "  ")
		}
	}
	if e.json() {
		err = e.printJSON(result)
	} else {
		err = e.print(out)
	}
	if err == nil && differ {
		return errDifferent
	}
	return err
}
