package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

type runsOptions struct {
	status string
	limit  int
}

func runStatuses() []string {
	return []string{"queued", "running", "completed", "failed", "incomplete", "cancelled"}
}

func newRuns(e *env) *cobra.Command {
	var opts runsOptions
	cmd := &cobra.Command{
		Use:               "runs [TASK]",
		Short:             "List the runs of one task or of all, newest first",
		Args:              atMostOne,
		ValidArgsFunction: e.completeTasks,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			return e.runs(ctx, c, args, opts)
		}),
	}
	cmd.Flags().StringVar(&opts.status, "status", "", "only those that are "+strings.Join(runStatuses(), ", "))
	cmd.Flags().IntVarP(&opts.limit, "limit", "n", 20, "how many")
	_ = cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(runStatuses(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (e *env) runs(ctx context.Context, c *client.Client, args []string, opts runsOptions) error {
	if opts.limit < 1 {
		return usageError("--limit is %d, it must be 1 or more", opts.limit)
	}
	if opts.status != "" && !slices.Contains(runStatuses(), opts.status) {
		err := usageError("--status is %q", opts.status)
		if near := nearest(opts.status, runStatuses()); near != "" {
			return withHint(err, "did you mean "+near+"?")
		}
		return withHint(err, "it is one of "+strings.Join(runStatuses(), ", "))
	}
	q := api.RunQuery{Status: opts.status}
	if len(args) > 0 {
		q.Task = args[0]
	}
	runs := []api.Run{}
	next := ""
	for len(runs) < opts.limit {
		q.Limit = min(opts.limit-len(runs), api.MaxPage)
		page, err := c.Runs(ctx, q)
		if err != nil {
			return unknown(ctx, c, q.Task, err)
		}
		runs = append(runs, page.Items...)
		if q.After, next = page.Next, page.Next; next == "" {
			break
		}
	}
	if e.json() {
		return e.printJSON(api.Page[api.Run]{Items: runs, Next: next})
	}
	if len(runs) == 0 {
		return e.noRuns(ctx, c, q)
	}
	var rows [][]cell
	for _, r := range runs {
		length := took(&r, e.Now())
		if length == "" {
			length = "-"
		}
		rows = append(rows, []cell{text(r.Ref), status(r.Status), amount(percent(r.Progress)), text(tally(&r)),
			text(e.whenPtr(r.StartedAt)), amount(length), text(cause(&r)), text(r.Reason)})
	}
	if err := e.table([]string{"RUN", "STATUS", "PROGRESS", "STEPS", "STARTED", "TOOK", "BY", "REASON"}, rows); err != nil {
		return err
	}
	if next != "" {
		e.say("there are older ones: --limit %d shows more", opts.limit*5)
	}
	return nil
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

// noRuns says why a list is empty and what to do. A task that is not there is
// an error only when it left no runs either.
func (e *env) noRuns(ctx context.Context, c *client.Client, q api.RunQuery) error {
	switch {
	case q.Task != "":
		if _, err := c.Task(ctx, q.Task); err != nil {
			return unknown(ctx, c, q.Task, err)
		}
		if q.Status == "" {
			e.say("%s has not run yet: stepd run %s", q.Task, q.Task)
			return nil
		}
		fallthrough
	case q.Status != "":
		e.say("there are no runs that are %s", q.Status)
	default:
		e.say("nothing has run yet: stepd run TASK starts a run, stepd tasks lists the tasks")
	}
	return nil
}
