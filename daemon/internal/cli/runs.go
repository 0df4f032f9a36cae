package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

type runsOptions struct {
	query        api.RunQuery
	tasks        []string
	since, until string
	limit        int
	all          bool
}

func newRuns(e *env) *cobra.Command {
	var opts runsOptions
	statuses := api.RunFilters()
	cmd := &cobra.Command{
		Use:   "runs [TASK...]",
		Short: "List the runs of some tasks or of all, newest first",
		Long: `List the runs of some tasks or of all, newest first.

--since and --until take how long ago it was, as 90m or 2d, or a time of this
machine's clock, as 18:00, 2026-12-24 or 2026-12-24T18:00; they go by when a run was
made. What is asked for with several flags has to fit together.`,
		Example: `  stepd runs backup --status failed --since 7d
  stepd runs --status alive
  stepd runs --trigger schedule --since 00:00`,
		Args: func(cmd *cobra.Command, args []string) error {
			if slices.Contains(args, "") {
				return usageHint(cmd, "the name of a task is empty")
			}
			return nil
		},
		ValidArgsFunction: e.completeManyTasks,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			opts.tasks = append(args, opts.tasks...)
			if err := oneOf("status", opts.query.Status, statuses); err != nil {
				return err
			}
			return e.runs(ctx, c, opts)
		}),
	}
	f := cmd.Flags()
	f.StringArrayVar(&opts.tasks, "task", nil, "only runs of this `TASK` (may be repeated)")
	f.StringVar(&opts.query.Status, "status", "", "only those that are `WORD`: "+strings.Join(statuses, ", "))
	f.StringVar(&opts.query.Trigger, "trigger", "", "only those made by `WORD`: "+strings.Join(api.Triggers(), ", "))
	f.StringVar(&opts.query.StartedBy, "by", "", "only those that this `USER` started")
	f.StringVar(&opts.query.Schedule, "schedule", "", "only those that the schedule of this `NAME` made")
	f.StringVar(&opts.query.Batch, "batch", "", "only those that were started together under this `NAME`")
	f.StringVar(&opts.since, "since", "", "only those made at this `TIME` or later")
	f.StringVar(&opts.until, "until", "", "only those made before this `TIME`")
	f.IntVarP(&opts.limit, "limit", "n", 20, "how many")
	f.BoolVar(&opts.all, "all", false, "all of them")
	_ = cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(statuses, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("trigger", cobra.FixedCompletions(api.Triggers(), cobra.ShellCompDirectiveNoFileComp))
	e.completeTaskFlag(cmd, "task")
	return cmd
}

func (e *env) runs(ctx context.Context, c *client.Client, opts runsOptions) error {
	if err := e.atMostOneOf("limit", "all"); err != nil {
		return err
	}
	if opts.limit < 1 {
		return usageError("--limit is %d, it must be 1 or more", opts.limit)
	}
	q := opts.query
	if err := oneOf("trigger", q.Trigger, api.Triggers()); err != nil {
		return err
	}
	var err error
	if opts.since != "" {
		if q.Since, err = past("since", opts.since, e.Now()); err != nil {
			return err
		}
	}
	if opts.until != "" {
		if q.Until, err = past("until", opts.until, e.Now()); err != nil {
			return err
		}
	}
	if !q.Until.IsZero() && !q.Since.Before(q.Until) {
		return usageError("--since is %s and --until is %s: nothing lies between them", stamp(q.Since, ""), stamp(q.Until, ""))
	}
	limit := opts.limit
	if opts.all {
		limit = 0
	}
	tasks := opts.tasks
	if len(tasks) == 0 {
		tasks = []string{""}
	}
	runs := []api.Run{}
	next := ""
	for _, name := range slices.Compact(slices.Sorted(slices.Values(tasks))) {
		of := q
		of.Task = name
		some, _, more, err := gather(limit, func(after string, n int) (api.Page[api.Run], error) {
			of.After, of.Limit = after, n
			return c.Runs(ctx, of)
		})
		if err != nil {
			return unknown(ctx, c, name, err)
		}
		if len(some) == 0 && name != "" {
			if err := e.noTask(ctx, c, name); err != nil {
				return err
			}
		}
		runs = append(runs, some...)
		if more != "" {
			next = more
		}
	}
	if len(opts.tasks) > 1 {
		slices.SortStableFunc(runs, func(a, b api.Run) int { return b.CreatedAt.Compare(a.CreatedAt) })
		if limit > 0 && len(runs) > limit {
			runs, next = runs[:limit], "more"
		}
	}
	if e.json() {
		if len(opts.tasks) > 1 {
			next = "" // it belongs to one of several lists
		}
		return e.printJSON(api.Page[api.Run]{Items: runs, Next: next})
	}
	if len(runs) == 0 {
		e.noRuns(opts)
		return nil
	}
	if err := e.table(e.runTable(runs)); err != nil {
		return err
	}
	if next != "" {
		e.say("there are older ones: --limit %d shows more", opts.limit*5)
	}
	return nil
}

// runTable has a column for the time in the queue only where there was one.
func (e *env) runTable(runs []api.Run) (head []string, rows [][]cell) {
	head = []string{"RUN", "STATUS", "PROGRESS", "STEPS", "STARTED"}
	queued := slices.ContainsFunc(runs, func(r api.Run) bool { return r.WaitSeconds != nil && *r.WaitSeconds >= 1 })
	if queued {
		head = append(head, "WAITED")
	}
	for _, r := range runs {
		length := took(&r, e.Now())
		if length == "" {
			length = "-"
		}
		state := status(r.Status)
		if r.Stuck && r.Alive() {
			state = cell{text: r.Status + ", stuck", color: red}
		}
		row := []cell{text(r.Ref), state, amount(percent(r.Progress)), text(tally(&r)), text(e.whenPtr(r.StartedAt))}
		if queued {
			row = append(row, amount(waited(&r)))
		}
		rows = append(rows, append(row, amount(length), text(cause(&r)), text(e.why(&r))))
	}
	return append(head, "TOOK", "BY", "REASON"), rows
}

// why says why a run is as it is.
func (e *env) why(r *api.Run) string {
	switch {
	case r.Reason != "":
		return r.Reason
	case later(r, e.Now()):
		return "starts " + stamp(*r.NotBefore, "")
	case r.Status == "queued" && r.WaitsFor != "":
		return "waits for " + r.WaitsFor
	case r.Alive() && r.CancelRequested:
		return "being cancelled"
	}
	return ""
}

// later reports whether a run waits for its time.
func later(r *api.Run, now time.Time) bool {
	return r.Status == "queued" && r.NotBefore != nil && r.NotBefore.After(now)
}

// waited is how long a run was, or has been, in the queue.
func waited(r *api.Run) string {
	if r.WaitSeconds == nil {
		return "-"
	}
	return span(time.Duration(*r.WaitSeconds * float64(time.Second)))
}

// cause is who or what made a run.
func cause(r *api.Run) string {
	switch r.Trigger {
	case "schedule":
		if r.Schedule != "" {
			return "schedule " + r.Schedule
		}
		return r.Trigger
	case "on_missed", "on_success", "on_failure", "on_end":
		return r.Trigger
	}
	return r.StartedBy
}

// noTask is an error when there is no task of that name. One that was deleted
// may have left runs, so it is looked for only when there are none.
func (e *env) noTask(ctx context.Context, c *client.Client, name string) error {
	_, err := c.Task(ctx, name)
	return unknown(ctx, c, name, err)
}

// noRuns says why a list is empty and what to do.
func (e *env) noRuns(opts runsOptions) {
	filtered := opts.query != (api.RunQuery{}) || opts.since != "" || opts.until != ""
	switch {
	case opts.query == (api.RunQuery{Status: opts.query.Status}) && filtered && opts.since+opts.until == "":
		e.say("there are no runs that are %s", opts.query.Status)
	case filtered:
		e.say("there are no such runs")
	case len(opts.tasks) == 1:
		e.say("%s has not run yet: stepd run %s", opts.tasks[0], opts.tasks[0])
	case len(opts.tasks) > 1:
		e.say("they have not run yet")
	default:
		e.say("nothing has run yet: stepd run TASK starts a run, stepd tasks lists the tasks")
	}
}
