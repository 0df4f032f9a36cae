package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

type followOptions struct{ follow bool }

func (o *followOptions) flag(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&o.follow, "follow", "f", false, "watch the run until it has ended; the exit code is the run's")
}

func newRun(e *env) *cobra.Command {
	var opts followOptions
	cmd := &cobra.Command{
		Use:   "run NAME",
		Short: "Start a run of a task, or show one (run show)",
		Long: `Start a run of a task and print its name, TASK/NUMBER.

With --follow, watch it until it has ended; the exit code is the run's then.
Ctrl-C ends the watching, never the run: stepd cancel does that.

A task that is itself called show is started with: stepd run -- show`,
		Example: `  stepd run backup --follow
  stepd run show backup/42`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := exactly("NAME")(cmd, args); err != nil {
				return err
			}
			if name, _, found := strings.Cut(args[0], "/"); found {
				return withHint(usageError("%s is a run, not a task", args[0]),
					fmt.Sprintf("to see it: stepd run show %s; to do it again: stepd restart %s; a new run: stepd run %s", args[0], args[0], name))
			}
			return nil
		},
		ValidArgsFunction: e.completeTasks,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.Start(ctx, api.RunRequest{Task: args[0]})
			if err != nil {
				return unknown(ctx, c, args[0], err)
			}
			return e.started(ctx, c, r, opts)
		}),
	}
	opts.flag(cmd)
	cmd.AddCommand(newRunShow(e))
	return cmd
}

// started shows a run that a command has just set going.
func (e *env) started(ctx context.Context, c *client.Client, r api.Run, opts followOptions) error {
	if opts.follow {
		return e.follow(ctx, c, r.Ref)
	}
	if e.json() {
		return e.printJSON(r)
	}
	if err := e.print(r.Ref + "\n"); err != nil {
		return err
	}
	if r.QueuePosition > 0 {
		e.say("it waits for its turn, %s before it", count(r.QueuePosition-1, "run"))
	}
	e.say("watch it: stepd run show %s --follow", r.Ref)
	return nil
}

func newRunShow(e *env) *cobra.Command {
	var opts followOptions
	cmd := &cobra.Command{
		Use:   "show REF",
		Short: "Show a run: how far it is, its steps, what went wrong, what it left",
		Long: `Show a run: how far it is, its steps, what went wrong and what it left.

REF is TASK/NUMBER, or TASK for its newest run. With --follow, watch it until it
has ended.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return withHint(usageError("REF is missing: which run is to be shown?"),
					"the newest run of a task: stepd run show TASK; to start the task called show: stepd run -- show")
			}
			return exactly("REF")(cmd, args)
		},
		ValidArgsFunction: e.completeRuns,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.Run(ctx, args[0])
			if err != nil {
				return unknown(ctx, c, args[0], err)
			}
			if opts.follow {
				return e.follow(ctx, c, r.Ref)
			}
			if e.json() {
				return e.printJSON(r)
			}
			return e.showRun(r)
		}),
	}
	opts.flag(cmd)
	return cmd
}

func (e *env) showRun(d api.RunDetail) error {
	p := e.painter(e.Stdout)
	head := p.paint(bold, printable(d.Ref)) + "  " + p.status(d.Status)
	if d.CancelRequested && d.Alive() {
		head += ", being cancelled"
	}
	progress := ""
	if d.Alive() {
		progress = fmt.Sprintf("%.0f %%, %s", d.Progress, tally(&d.Run))
		if d.ETASeconds != nil {
			progress += ", " + left(*d.ETASeconds)
		}
		if d.QueuePosition > 0 {
			progress = fmt.Sprintf("number %d in the queue", d.QueuePosition)
		}
	} else {
		progress = tally(&d.Run)
	}
	restart := ""
	if d.RestartOf > 0 {
		restart = refOf(&d.Run, d.RestartOf)
	}
	out := head + "\n" + e.pairs([][2]string{
		{"reason", block(d.Reason)},
		{"hook", hookOf(&d.Run)},
		{"made by", trigger(&d)},
		{"progress", progress},
		{"started", e.whenPtr(d.StartedAt) + by(d.StartedBy)},
		{"ended", e.ended(&d.Run)},
		{"took", took(&d.Run, e.Now())},
		{"again", restart},
		{"hooks", hooks(&d.Run)},
		{"files", printable(d.WorkDir)},
	}) + "\n"
	if err := e.print(out); err != nil {
		return err
	}
	if err := e.table([]string{"STEP", "STATUS", "PROGRESS", "TOOK", "SAYS"}, e.stepRows(d)); err != nil {
		return err
	}
	if len(d.Outputs) > 0 {
		var rows [][]cell
		for _, o := range d.Outputs {
			rows = append(rows, []cell{text(o.Step), text(o.Name), text(string(o.Value))})
		}
		if err := e.print("\n"); err != nil {
			return err
		}
		if err := e.table([]string{"OUTPUT OF", "NAME", "VALUE"}, rows); err != nil {
			return err
		}
	}
	e.whatNext(&d.Run)
	return nil
}

// trigger says what made a run, when that was nobody.
func trigger(d *api.RunDetail) string {
	at := ""
	if d.ScheduledFor != nil {
		at = stamp(*d.ScheduledFor, d.Timezone)
	}
	switch {
	case d.Trigger == "schedule" && at != "":
		return "the schedule " + printable(d.Schedule) + ", for " + at
	case d.Trigger == "schedule":
		return "the schedule " + printable(d.Schedule)
	case d.Trigger == "on_missed" && at != "":
		return "on_missed, because no run had completed by " + at + "; its steps are those of on_missed"
	case d.Trigger == "on_missed":
		return "on_missed, because no run had completed in time; its steps are those of on_missed"
	}
	return ""
}

// hookOf says whose hook a run is.
func hookOf(r *api.Run) string {
	if r.HookOf == 0 {
		return ""
	}
	return printable(r.Trigger) + " of " + refOf(r, r.HookOf)
}

// hooks names the runs that the ends of a run made.
func hooks(r *api.Run) string {
	var refs []string
	for _, number := range r.Hooks {
		refs = append(refs, refOf(r, number))
	}
	return strings.Join(refs, ", ")
}

// refOf names another run of the same task.
func refOf(r *api.Run, number uint64) string { return printable(fmt.Sprintf("%s/%d", r.Task, number)) }

// stepRows shows the steps of the definition, each with those of its planned
// steps below it that run or failed.
func (e *env) stepRows(d api.RunDetail) [][]cell {
	var rows [][]cell
	seen := map[string]bool{}
	row := func(s api.Step, indent string) {
		if seen[s.Position] {
			return
		}
		seen[s.Position] = true
		says := s.Message
		switch {
		case s.Error != "":
			says = s.Error
		case says == "" && s.Note != "":
			says = s.Note
		case says == "":
			says = counters(s.Counters)
		}
		if s.RetryAt != nil && s.Status == "waiting" {
			says = "again " + e.when(*s.RetryAt) + ": " + says
		}
		if says == "" && s.Planned > 0 {
			says = count(s.Planned, "planned step")
		}
		rows = append(rows, []cell{text(indent + s.Name), status(s.Status), amount(fmt.Sprintf("%.0f %%", s.Progress)), amount(stepTook(&s, e.Now())), text(says)})
	}
	for _, s := range d.Steps {
		row(s, "")
		for _, list := range [][]api.Step{d.Active, d.Faults} {
			for _, sub := range list {
				if strings.HasPrefix(sub.Position, s.Position+".") {
					row(sub, "  ")
				}
			}
		}
	}
	return rows
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return " by " + printable(who)
}

func (e *env) ended(r *api.Run) string {
	if r.EndedAt == nil || r.Alive() {
		return ""
	}
	return e.when(*r.EndedAt)
}

func took(r *api.Run, now time.Time) string {
	if r.StartedAt == nil {
		return ""
	}
	if r.EndedAt != nil && !r.Alive() {
		return span(r.EndedAt.Sub(*r.StartedAt))
	}
	return span(now.Sub(*r.StartedAt))
}

func stepTook(s *api.Step, now time.Time) string {
	switch {
	case s.StartedAt == nil:
		return "-"
	case s.EndedAt != nil:
		return span(s.EndedAt.Sub(*s.StartedAt))
	}
	return span(now.Sub(*s.StartedAt))
}

// runTime is when a run was last heard of.
func runTime(r *api.Run) time.Time {
	for _, t := range []*time.Time{r.EndedAt, r.StartedAt} {
		if t != nil {
			return *t
		}
	}
	return r.CreatedAt
}

// tally counts a run's steps: "6 of 14 steps, 1 failed".
func tally(r *api.Run) string {
	s := fmt.Sprintf("%s of %s", number(int64(r.Completed)), count(r.Total, "step"))
	if r.Completed == r.Total && r.Total > 0 {
		s = count(r.Total, "step")
	}
	if r.Failed > 0 {
		s += fmt.Sprintf(", %s failed", number(int64(r.Failed)))
	}
	if r.Skipped > 0 {
		s += fmt.Sprintf(", %s skipped", number(int64(r.Skipped)))
	}
	return s
}
