package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newTasks(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "tasks",
		Short:             "List the tasks",
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: e.run(func(ctx context.Context, c *client.Client, _ []string) error {
			tasks := []api.Task{}
			after := ""
			for {
				page, err := c.Tasks(ctx, api.TaskQuery{After: after, Limit: api.MaxPage})
				if err != nil {
					return err
				}
				tasks = append(tasks, page.Items...)
				if page.Next == "" {
					break
				}
				after = page.Next
			}
			if e.json() {
				return e.printJSON(api.Page[api.Task]{Items: tasks})
			}
			if len(tasks) == 0 {
				e.say("there are no tasks yet: stepd apply FILE saves one")
				return nil
			}
			return e.table(e.taskTable(tasks))
		}),
	}
}

// taskTable has a column for what comes next only where something does: most
// terminals have no room to spare.
func (e *env) taskTable(tasks []api.Task) (head []string, rows [][]cell) {
	head = []string{"TASK", "STATUS", "STEPS", "LAST RUN", "RESULT", "WHEN"}
	scheduled := slices.ContainsFunc(tasks, func(t api.Task) bool { return t.NextDue != nil })
	if scheduled {
		head = append(head, "NEXT")
	}
	for _, t := range tasks {
		last, result, when := text("-"), text("-"), text("-")
		if r := t.LastRun; r != nil {
			last, result, when = text(r.Ref), status(r.Status), text(e.when(runTime(r)))
		}
		row := []cell{text(t.Name), status(t.Status), amount(number(int64(t.StepCount))), last, result, when}
		if scheduled {
			row = append(row, text(e.whenPtr(t.NextDue)))
		}
		rows = append(rows, append(row, text(t.Description)))
	}
	return append(head, "DESCRIPTION"), rows
}
