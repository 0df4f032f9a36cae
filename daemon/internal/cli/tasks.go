package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

type tasksOptions struct {
	query   api.TaskQuery
	reverse bool
	limit   int
}

func taskSorts() []string {
	return slices.DeleteFunc(api.TaskSorts(), func(key string) bool { return strings.HasPrefix(key, "-") })
}

func newTasks(e *env) *cobra.Command {
	var opts tasksOptions
	cmd := &cobra.Command{
		Use:   "tasks",
		Short: "List the tasks",
		Long: `List the tasks, all of them or those that fit what is asked for. What is asked for
with several flags has to fit together.`,
		Example: `  stepd tasks --status paused
  stepd tasks --name 'shop-*' --sort last_run --reverse
  stepd tasks --result failed`,
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: e.run(func(ctx context.Context, c *client.Client, _ []string) error {
			return e.tasks(ctx, c, opts)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&opts.query.Name, "name", "", "`PART` of the name; with * or ? the whole of it")
	f.StringVar(&opts.query.Status, "status", "", "only those that are `WORD`: "+strings.Join(api.TaskFilters(), ", "))
	f.StringVar(&opts.query.CreatedBy, "created-by", "", "only those that this `USER` made")
	f.StringVar(&opts.query.Starter, "starter", "", "only those that this `USER` or @group is listed to start")
	f.StringVar(&opts.query.Schedule, "schedule", "", "only those with a schedule of this `NAME`, with any, or with none")
	f.StringVar(&opts.query.Result, "result", "", "only those whose newest run is `WORD`: "+strings.Join(api.TaskResults(), ", "))
	f.StringVar(&opts.query.Sort, "sort", "", "by this `KEY`: "+strings.Join(taskSorts(), ", ")+" (default name)")
	f.BoolVar(&opts.reverse, "reverse", false, "the other way round")
	f.IntVarP(&opts.limit, "limit", "n", 0, "how many (default all)")
	for flag, words := range map[string][]string{"status": api.TaskFilters(), "result": api.TaskResults(), "sort": taskSorts(), "schedule": {"any", "none"}} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	return cmd
}

func (e *env) tasks(ctx context.Context, c *client.Client, opts tasksOptions) error {
	q := opts.query
	for _, check := range []struct {
		flag, value string
		known       []string
	}{{"status", q.Status, api.TaskFilters()}, {"result", q.Result, api.TaskResults()}, {"sort", q.Sort, taskSorts()}} {
		if err := oneOf(check.flag, check.value, check.known); err != nil {
			return err
		}
	}
	if opts.limit < 0 {
		return usageError("--limit is %d, it must be 1 or more", opts.limit)
	}
	filtered := q != (api.TaskQuery{Sort: q.Sort})
	if opts.reverse {
		q.Sort = "-" + cmp.Or(q.Sort, "name")
	}
	tasks, total, next, err := gather(opts.limit, func(after string, limit int) (api.Page[api.Task], error) {
		q.After, q.Limit = after, limit
		return c.Tasks(ctx, q)
	})
	if err != nil {
		return err
	}
	if e.json() {
		return e.printJSON(api.Page[api.Task]{Items: tasks, Next: next, Total: total})
	}
	if len(tasks) == 0 {
		if filtered {
			e.say("there is no such task; all there are: stepd tasks")
		} else {
			e.say("there are no tasks yet: stepd apply FILE saves one")
		}
		return nil
	}
	if err := e.table(e.taskTable(tasks)); err != nil {
		return err
	}
	switch {
	case total == nil:
		if next != "" {
			e.say("there are more: --limit %d shows them", opts.limit*5)
		}
	case next != "" && filtered:
		e.say("%d of %s that fit; --limit %d shows more", len(tasks), count(*total, "task"), opts.limit*5)
	case next != "":
		e.say("%d of %s; --limit %d shows more", len(tasks), count(*total, "task"), opts.limit*5)
	case filtered:
		if all, err := c.Tasks(ctx, api.TaskQuery{Limit: 1}); err == nil && all.Total != nil {
			e.say("%d of %s", len(tasks), count(*all.Total, "task"))
		}
	}
	return nil
}

// gather asks for pages until there are limit items, or all with limit 0. total
// is what the first page counts.
func gather[T any](limit int, page func(after string, limit int) (api.Page[T], error)) (items []T, total *int, next string, err error) {
	items = []T{}
	for {
		most := api.MaxPage
		if limit > 0 {
			most = min(limit-len(items), api.MaxPage)
		}
		p, err := page(next, most)
		if err != nil {
			return nil, nil, "", err
		}
		if total == nil {
			total = p.Total
		}
		items = append(items, p.Items...)
		if next = p.Next; next == "" || limit > 0 && len(items) >= limit {
			return items, total, next, nil
		}
	}
}

// oneOf refuses a flag's value that is none of the known words, and says which
// comes close.
func oneOf(flag, value string, known []string) error {
	if value == "" || slices.Contains(known, value) {
		return nil
	}
	err := usageError("--%s is %q", flag, value)
	if near := nearest(value, known); near != "" {
		return withHint(err, "did you mean "+near+"?")
	}
	return withHint(err, "it is one of "+strings.Join(known, ", "))
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
