package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newNext(e *env) *cobra.Command {
	limit := 20
	cmd := &cobra.Command{
		Use:   "next",
		Short: "What will run next, and when, across all tasks",
		Long: `What will run next, and when: the next time of each schedule of each task, the
earliest first. Of a task that is paused until a time it is the first one after
that. One that is disabled, or paused until somebody resumes it, is not listed, and
neither are deadlines of expectations, which are no runs: stepd schedule explain
--task NAME --schedule @expect lists them.`,
		Args:              exactly(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: e.run(func(ctx context.Context, c *client.Client, _ []string) error {
			return e.next(ctx, c, limit)
		}),
	}
	cmd.Flags().IntVarP(&limit, "limit", "n", limit, "how many")
	return cmd
}

func (e *env) next(ctx context.Context, c *client.Client, limit int) error {
	if limit < 1 {
		return usageError("--limit is %d, it must be 1 or more", limit)
	}
	list := []api.Upcoming{}
	after := ""
	for len(list) < limit {
		page, err := c.Next(ctx, after, min(limit-len(list), api.MaxPage))
		if err != nil {
			return err
		}
		list = append(list, page.Items...)
		if after = page.Next; after == "" {
			break
		}
	}
	if e.json() {
		return e.printJSON(api.Page[api.Upcoming]{Items: list, Next: after})
	}
	if len(list) == 0 {
		e.say("nothing is scheduled; a task file says when it is due, as in schedule: \"30 2 * * *\"")
		return nil
	}
	var rows [][]cell
	for _, u := range list {
		rows = append(rows, []cell{text(wall(u.Due.Local())), text(ahead(u.Due, e.Now())), text(u.Task), text(u.Schedule), text(upcomingNote(u))})
	}
	if err := e.prose([]string{"WHEN", "IN", "TASK", "SCHEDULE", "NOTE"}, rows); err != nil {
		return err
	}
	if after != "" {
		e.say("there are more: --limit %d shows them", limit*5)
	}
	return nil
}

// upcomingNote says what the clock shows where the schedule is at home, and what
// jitter has to do with it.
func upcomingNote(u api.Upcoming) string {
	var notes []string
	if elsewhere(u.ScheduledFor, u.Timezone) {
		notes = append(notes, clock(in(u.ScheduledFor, u.Timezone))+" in "+zoneName(u.Timezone))
	}
	if !u.Due.Equal(u.ScheduledFor) {
		note := span(u.Due.Sub(u.ScheduledFor)) + " after " + clock(u.ScheduledFor.Local())
		if u.Jitter != "" {
			note += ", of at most " + length(u.Jitter)
		}
		notes = append(notes, "jitter: "+note)
	}
	return strings.Join(notes, "; ")
}
