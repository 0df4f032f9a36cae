package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

type auditOptions struct {
	query   api.AuditQuery
	since   string
	limit   int
	request bool
}

func newAudit(e *env) *cobra.Command {
	var opts auditOptions
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Who changed and started what, newest first",
		Long: `Who changed and started what, newest first, what was refused too. With --request
what was asked for is shown below each line. Administrators alone may read it.

--since takes how long ago it was, as 10m or 2d, or a time of this machine's clock, as
18:00 or 2026-12-24T18:00.`,
		Example: `  stepd audit --user ada --since 7d
  stepd audit --action task --target backup --request`,
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: e.run(func(ctx context.Context, c *client.Client, _ []string) error {
			return e.audit(ctx, c, opts)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&opts.query.User, "user", "", "only what this `USER` did, or had done for them")
	f.StringVar(&opts.query.Action, "action", "", "only this `ACTION`, as run.start, or its part before the dot")
	f.StringVar(&opts.query.Target, "target", "", "only what was done to this `TASK` or run")
	f.StringVar(&opts.since, "since", "", "only since this `TIME`")
	f.IntVarP(&opts.limit, "limit", "n", 20, "how many")
	f.BoolVar(&opts.request, "request", false, "show what was asked for")
	e.completeTaskFlag(cmd, "target")
	return cmd
}

func (e *env) audit(ctx context.Context, c *client.Client, opts auditOptions) error {
	if opts.limit < 1 {
		return usageError("--limit is %d, it must be 1 or more", opts.limit)
	}
	q := opts.query
	if opts.since != "" {
		var err error
		if q.Since, err = past("since", opts.since, e.Now()); err != nil {
			return err
		}
	}
	list, _, next, err := gather(opts.limit, func(after string, limit int) (api.Page[api.AuditEntry], error) {
		q.After, q.Limit = after, limit
		return c.Audit(ctx, q)
	})
	if err != nil {
		return err
	}
	if e.json() {
		return e.printJSON(api.Page[api.AuditEntry]{Items: list, Next: next})
	}
	if len(list) == 0 {
		e.say("there is nothing of that in the audit log")
		return nil
	}
	var rows [][]cell
	for _, a := range list {
		result := text(a.Result)
		if a.Result != "ok" {
			result.color = red
		}
		who := a.User
		if a.ActFor != "" {
			who += " for " + a.ActFor
		}
		rows = append(rows, []cell{text(e.when(a.Time)), text(who), text(a.Action), text(a.Target), result, text(auditNote(a))})
	}
	head := []string{"TIME", "WHO", "ACTION", "TARGET", "RESULT", "NOTE"}
	if !opts.request {
		err = e.table(head, rows)
	} else {
		err = e.print(withRequests(layTable(e.painter(e.Stdout), e.room(), head, rows), list))
	}
	if err == nil && next != "" {
		e.say("there are older ones: --limit %d shows more", opts.limit*5)
	}
	return err
}

// auditNote says what came of an act, and from which process it came.
func auditNote(a api.AuditEntry) string {
	var notes []string
	if a.Made != "" {
		notes = append(notes, "made "+a.Made)
	}
	if a.Error != "" {
		message, _, _ := strings.Cut(a.Error, "\n") // what to do about it was for whoever asked
		notes = append(notes, message)
	}
	return strings.Join(append(notes, fmt.Sprintf("uid %d, gid %d, pid %d", a.UID, a.GID, a.PID)), "; ")
}

// withRequests puts what was asked for below the lines of a table.
func withRequests(table string, list []api.AuditEntry) string {
	var b strings.Builder
	for i, line := range strings.SplitAfter(table, "\n") {
		b.WriteString(line)
		if i > 0 && i <= len(list) && list[i-1].Request != "" { // the first line is the head
			b.WriteString("    " + printable(list[i-1].Request) + "\n")
		}
	}
	return b.String()
}
