package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

type historyOptions struct {
	schedule string
	limit    int
}

func newHistory(e *env) *cobra.Command {
	var opts historyOptions
	cmd := &cobra.Command{
		Use:   "history NAME",
		Short: "What became of each time at which a task was due, newest first",
		Long: `What became of each time at which a task was due, newest first.

  ran             a run was made when it was due
  ran late        a run was made to make up for it
  overlapped      not run: another run of the task was alive
  missed          not run: nobody was there, and the schedule says so
  paused          not run: the task was paused or disabled
  outside window  not run: nobody was there for too long
  met             of an expectation: a run had completed
  unmet           of an expectation: none had
  excused         of an expectation: not judged

Several times in a row that went the same way are one line.`,
		Example: `  stepd schedule history backup
  stepd schedule history backup --schedule nightly -n 100`,
		Args:              exactly("NAME"),
		ValidArgsFunction: e.completeTasks,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			return e.history(ctx, c, args[0], opts)
		}),
	}
	cmd.Flags().StringVar(&opts.schedule, "schedule", "", "only this one of its schedules; "+api.ExpectSchedule+" is its expectation")
	cmd.Flags().IntVarP(&opts.limit, "limit", "n", 20, "how many lines")
	e.completeScheduleFlag(cmd, func(args []string) string { return strings.Join(args, "") })
	return cmd
}

func (e *env) history(ctx context.Context, c *client.Client, name string, opts historyOptions) error {
	if opts.limit < 1 {
		return usageError("--limit is %d, it must be 1 or more", opts.limit)
	}
	q := api.HistoryQuery{Task: name, Schedule: opts.schedule}
	slots := []api.Slot{}
	next := ""
	for len(slots) < opts.limit {
		q.Limit = min(opts.limit-len(slots), api.MaxPage)
		page, err := c.History(ctx, q)
		if err != nil {
			return unknown(ctx, c, name, err)
		}
		slots = append(slots, page.Items...)
		if q.After, next = page.Next, page.Next; next == "" {
			break
		}
	}
	if e.json() {
		return e.printJSON(api.Page[api.Slot]{Items: slots, Next: next})
	}
	if len(slots) == 0 {
		if opts.schedule == api.ExpectSchedule {
			return e.noDeadlines(ctx, c, name)
		}
		e.say("nothing was due yet; when it will be: stepd schedule explain --task %s", printable(name))
		return nil
	}
	if err := e.prose(slotRows(slots, opts.schedule == "")); err != nil {
		return err
	}
	if next != "" {
		e.say("there are older ones: --limit %d shows more", opts.limit*5)
	}
	return nil
}

// noDeadlines says when there will be something to tell of an expectation.
func (e *env) noDeadlines(ctx context.Context, c *client.Client, name string) error {
	t, err := c.Task(ctx, name)
	if err != nil {
		return unknown(ctx, c, name, err)
	}
	if t.Expect == nil || t.Expect.Next == nil {
		e.say("nothing was judged yet")
		return nil
	}
	note := ""
	if t.Expect.Excused {
		note = "; if no run completes by then it is excused, because its period began before it was saved"
	}
	e.say("nothing was judged yet: the first deadline is %s%s", stamp(*t.Expect.Next, t.Expect.Timezone), note)
	return nil
}

func slotRows(slots []api.Slot, schedules bool) (head []string, rows [][]cell) {
	same := true
	var times []time.Time
	for _, s := range slots {
		same = same && s.Timezone == slots[0].Timezone
		times = append(times, s.Last)
	}
	head = []string{"TIME"}
	if same {
		head[0] = timeHead(head[0], slots[0].Timezone, times...)
	}
	show := func(t time.Time, name string) string {
		if same {
			return wall(in(t, name))
		}
		t = in(t, name)
		return wall(t) + t.Format(" MST")
	}
	if schedules {
		head = append(head, "SCHEDULE")
	}
	head = append(head, "OUTCOME", "RUN", "WHY")
	for _, s := range slots {
		row := []cell{text(show(s.Last, s.Timezone))}
		if schedules {
			row = append(row, text(s.Schedule))
		}
		run := s.Run
		if run == "" {
			run = "-"
		}
		outcome := status(s.Outcome)
		outcome.text = strings.ReplaceAll(outcome.text, "_", " ")
		rows = append(rows, append(row, outcome, text(run), text(slotNote(s, show(s.First, s.Timezone)))))
	}
	return head, rows
}

// slotNote says how often, how late and why.
func slotNote(s api.Slot, first string) string {
	var notes []string
	switch {
	case s.Count > 1:
		notes = append(notes, count(s.Count, "time")+" since "+first)
	case s.Count == 0: // too many for the daemon to count
		notes = append(notes, "many times since "+first)
	}
	if s.LateSeconds != nil && *s.LateSeconds >= 1 {
		notes = append(notes, span(time.Duration(*s.LateSeconds*float64(time.Second)))+" late")
	}
	if s.Reason != "" {
		notes = append(notes, s.Reason)
	}
	return strings.Join(notes, ": ")
}
