package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

type explainOptions struct {
	task, schedule string
	spec           api.ExplainRequest
	count          int
}

func newExplain(e *env) *cobra.Command {
	var opts explainOptions
	cmd := &cobra.Command{
		Use:   "explain SPEC",
		Short: "Say what a schedule means and when it is due",
		Long: `Say in words what a schedule means, and list the times at which it is due, each
with the reason where it is not what the clock would have it be: a time that does
not exist because clocks are set ahead, one that comes twice, jitter, an excluded
day.

SPEC is a cron spec of five fields, or six with seconds first; a word such as
@daily; every 15m; after 1h (an hour after the end of the last run); or
at 2026-12-24T18:00. Put it in quotes: the shell has plans of its own for a *.

With --task in place of SPEC, the schedules of a saved task are explained, and its
expectation with the deadlines that come next. All keys of a schedule: stepd help
schedules.`,
		Example: `  stepd schedule explain "30 2 * * *" --timezone America/New_York
  stepd schedule explain "0 9 * * mon-fri" --exclude 12-25 --from 2026-12-20 -n 10
  stepd schedule explain --task backup`,
		Args:              opts.args,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if opts.count < 1 || opts.count > api.MaxExplain {
				return usageError("--count is %d, it must be a number from 1 to %d", opts.count, api.MaxExplain)
			}
			if opts.task != "" {
				return e.explainTask(cmd.Context(), e.client(), opts)
			}
			opts.spec.Spec = strings.Join(args, " ")
			return e.explain(cmd.Context(), e.client(), opts)
		},
	}
	f := cmd.Flags()
	f.StringVar(&opts.task, "task", "", "explain the schedules of this task")
	f.StringVar(&opts.schedule, "schedule", "", "with --task: only this one of them; "+api.ExpectSchedule+" is its expectation")
	f.StringVar(&opts.spec.Timezone, "timezone", "", "time zone, as Europe/Berlin (default: the daemon's)")
	f.IntVarP(&opts.count, "count", "n", api.ExplainCount, "how many times to list")
	f.StringVar(&opts.spec.From, "from", "", "list times from this one on, itself among them, as 2026-12-24 or 2026-12-24T18:00 (default: now)")
	f.StringVar(&opts.spec.Jitter, "jitter", "", "delay each time by up to that much, as 10m")
	f.StringVar(&opts.spec.Start, "start", "", "nothing is due before this time")
	f.StringVar(&opts.spec.End, "end", "", "nothing is due from this time on")
	f.StringArrayVar(&opts.spec.Exclude, "exclude", nil, "nothing is due on this day: 2026-12-25, 2026-12-24..2027-01-02, or 12-25 for each year (may be repeated)")
	e.completeTaskFlag(cmd, "task")
	e.completeScheduleFlag(cmd, func([]string) string { return opts.task })
	completeTimezone(cmd)
	return cmd
}

// args wants either a spec or a task.
func (o *explainOptions) args(cmd *cobra.Command, args []string) error {
	if o.task != "" {
		if len(args) > 0 {
			return usageHint(cmd, "%q and --task are both given: one of them is explained", args[0])
		}
		for _, name := range []string{"timezone", "jitter", "start", "end", "exclude"} {
			if cmd.Flags().Changed(name) {
				return withHint(usageError("--%s goes with a SPEC; a task has its own", name), "what it has: stepd task show "+o.task)
			}
		}
		return nil
	}
	switch {
	case len(args) == 0 || strings.TrimSpace(args[0]) == "":
		return withHint(usageError("SPEC is missing: what is to be explained?"),
			`a spec: stepd schedule explain "30 2 * * *"; the schedules of a task: stepd schedule explain --task NAME`)
	case o.schedule != "":
		return usageHint(cmd, "--schedule goes with --task")
	case len(args) > 1 && !slices.Contains([]string{"at", "after", "every"}, args[0]):
		return withHint(usageError("the spec is %d words: it must be one, in quotes", len(args)), `as in: stepd schedule explain "30 2 * * *"`)
	}
	return nil
}

func (e *env) explain(ctx context.Context, c *client.Client, opts explainOptions) error {
	opts.spec.Count = opts.count
	x, err := c.Explain(ctx, opts.spec)
	if err != nil {
		return ofSpec(err)
	}
	if e.json() {
		return e.printJSON(x)
	}
	return e.explained(x)
}

func (e *env) explainTask(ctx context.Context, c *client.Client, opts explainOptions) error {
	all, err := c.ExplainTask(ctx, api.ExplainQuery{Task: opts.task, Schedule: opts.schedule, Count: opts.count, From: opts.spec.From})
	if err != nil {
		return unknown(ctx, c, opts.task, ofSpec(err))
	}
	if e.json() {
		return e.printJSON(all)
	}
	if len(all.Items) == 0 {
		e.say("%s has no schedule: it runs when somebody starts it", printable(all.Task))
		return nil
	}
	for i, x := range all.Items {
		if i > 0 {
			if err := e.print("\n"); err != nil {
				return err
			}
		}
		if err := e.explained(x); err != nil {
			return err
		}
	}
	return nil
}

// explained shows one explanation: what it means, what is odd about it, and
// when it is due.
func (e *env) explained(x api.Explanation) error {
	p := e.painter(e.Stdout)
	head := p.paint(bold, printable(x.Summary))
	if x.Schedule != "" {
		head = p.paint(bold, printable(x.Schedule)) + "  " + printable(x.Summary)
	}
	list := [][2]string{{"spec", printable(x.Spec)}}
	switch {
	case x.Disabled:
		list = append(list, [2]string{"disabled", p.paint(yellow, "the task is disabled: nothing of this runs")})
	case x.Pause != nil:
		list = append(list, [2]string{"paused", p.paint(yellow, e.paused(x.Pause))})
	}
	indent := len("  spec  ")
	if len(list) > 1 {
		indent = len("  " + list[1][0] + "  ")
	}
	for _, note := range x.Notes {
		list = append(list, [2]string{"note", e.hanging(note, indent)})
	}
	if err := e.print(head + "\n" + e.pairs(list)); err != nil {
		return err
	}
	if len(x.Times) > 0 {
		var rows [][]cell
		for _, o := range x.Times {
			away := text(ahead(o.Due, e.Now()))
			if o.Due.Before(e.Now()) {
				away = text("-")
			}
			switch held := e.heldWord(x, o.Due); {
			case o.Excluded:
				away = cell{text: "excluded", color: yellow}
			case held != "":
				away = cell{text: held, color: yellow}
			}
			at := in(o.At, x.Timezone)
			rows = append(rows, []cell{text(wall(at) + at.Format(" -07:00")), away, text(strings.Join(o.Notes, "; "))})
		}
		if err := e.print("\n"); err != nil {
			return err
		}
		if err := e.prose([]string{"TIME", "IN", "WHY"}, rows); err != nil {
			return err
		}
	}
	if x.Over {
		if len(x.Times) == 0 {
			e.say("it is over: nothing is due any more")
		} else {
			e.say("nothing is due after that")
		}
	}
	return nil
}

// heldWord is what keeps the task from running at that time, or nothing.
func (e *env) heldWord(x api.Explanation, due time.Time) string {
	word := ""
	switch {
	case x.Disabled:
		word = "disabled"
	case x.Pause != nil && (x.Pause.Until == nil || due.Before(*x.Pause.Until)):
		word = "paused"
	}
	if word != "" && x.Schedule == api.ExpectSchedule {
		return "excused"
	}
	return word
}

// specFaults are the faults of what was to be explained.
type specFaults struct{ fault *api.Error }

func (s *specFaults) Error() string { return s.fault.Error() }

func (s *specFaults) Unwrap() error { return s.fault }

func ofSpec(err error) error {
	if fault, ok := errors.AsType[*api.Error](err); ok && len(fault.Problems) > 0 {
		return &specFaults{fault}
	}
	return err
}

// specFaults shows each fault under what was typed.
func (e *env) specFaults(what string, s *specFaults) {
	p := e.painter(e.Stderr)
	for _, pr := range s.fault.Problems {
		message := pr.Message
		if pr.Path != "spec" {
			message = "--" + message
		}
		fmt.Fprintf(e.Stderr, "%s: %s\n", what, p.paint(red, block(message)))
		if pr.Excerpt != "" {
			line, lead := excerpt(pr.Excerpt, max(1, pr.Column))
			fmt.Fprintf(e.Stderr, "  %s\n  %s%s\n", line, lead, p.paint(green, "^"))
		}
		if pr.Hint != "" {
			fmt.Fprintf(e.Stderr, "  %s\n", block(pr.Hint))
		}
	}
}

// paused says by whom, until when and why.
func (e *env) paused(p *api.Pause) string {
	s := "until somebody resumes it"
	if p.Until != nil {
		s = "until " + stamp(*p.Until, "")
	}
	if p.By != "" {
		s = "by " + printable(p.By) + ", " + s
	}
	if p.Reason != "" {
		s += ": " + block(p.Reason)
	}
	return s
}
