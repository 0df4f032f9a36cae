package cli

import (
	"context"

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
				page, err := c.Tasks(ctx, after, api.MaxPage)
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
			return e.table([]string{"TASK", "STATUS", "STEPS", "LAST RUN", "RESULT", "WHEN", "DESCRIPTION"}, e.taskRows(tasks))
		}),
	}
}

func (e *env) taskRows(tasks []api.Task) [][]cell {
	var rows [][]cell
	for _, t := range tasks {
		last, result, when := text("-"), text("-"), text("-")
		if r := t.LastRun; r != nil {
			last, result, when = text(r.Ref), status(r.Status), text(e.when(runTime(r)))
		}
		rows = append(rows, []cell{text(t.Name), status(t.Status), amount(number(int64(t.StepCount))), last, result, when, text(t.Description)})
	}
	return rows
}
