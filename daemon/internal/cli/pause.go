package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

type pauseOptions struct {
	until, span, reason string
}

func newTaskPause(e *env) *cobra.Command {
	var opts pauseOptions
	cmd := &cobra.Command{
		Use:   "pause NAME",
		Short: "Keep a task's schedules from running it, until a time or until it is resumed",
		Long: `Keep a task's schedules from running it. The times at which it was due meanwhile
are recorded as paused and not made up for. They are entered when the pause ends or
the task is resumed, and stepd schedule history shows them from then on. A run that
is under way goes on, and people can still start one.

Without --until and --for it is paused until somebody resumes it.`,
		Example: `  stepd task pause backup --for 2d --reason "moving to the new server"
  stepd task pause backup --until 18:00
  stepd task pause backup --until 2026-12-24T18:00`,
		Args:              exactly("NAME"),
		ValidArgsFunction: e.completeTasks,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			return e.pause(ctx, c, args[0], opts)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&opts.until, "until", "", "when it ends, by this machine's clock: 18:00, 2026-12-24 or 2026-12-24T18:00")
	f.StringVar(&opts.span, "for", "", "how long, as 90m, 4h or 2d")
	f.StringVar(&opts.reason, "reason", "", "why, for those who find it paused")
	return cmd
}

func (e *env) pause(ctx context.Context, c *client.Client, name string, opts pauseOptions) error {
	if opts.until != "" && opts.span != "" {
		return usageError("--until and --for are both given, one of them says when the pause ends")
	}
	request := api.PauseRequest{For: opts.span, Reason: opts.reason}
	if opts.until != "" {
		t, err := moment("until", opts.until, e.Now())
		if err != nil {
			return err
		}
		request.Until = &t
	}
	before, err := c.Task(ctx, name)
	if err != nil {
		return unknown(ctx, c, name, err)
	}
	t, err := c.Pause(ctx, name, request)
	if err != nil {
		return unknown(ctx, c, name, err)
	}
	if e.json() {
		return e.printJSON(t)
	}
	if t.Pause == nil { // it is over by now
		return e.resumed(t, "is not paused")
	}
	e.say("%s is paused %s", printable(t.Name), e.paused(t.Pause))
	if before.Pause != nil {
		e.say("that replaces the pause %s", e.paused(before.Pause))
	}
	if t.Pause.Until == nil {
		e.say("resume it: stepd task resume %s", printable(t.Name))
	}
	if len(t.Schedules) == 0 {
		e.say("it has no schedule; to keep people from running it too: stepd task disable %s", printable(t.Name))
	}
	return nil
}

func newTaskResume(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "resume NAME",
		Short:             "Let a paused task's schedules run it again",
		Args:              exactly("NAME"),
		ValidArgsFunction: e.completeTasks,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			before, err := c.Task(ctx, args[0])
			if err != nil {
				return unknown(ctx, c, args[0], err)
			}
			t, err := c.Resume(ctx, args[0])
			if err != nil {
				return unknown(ctx, c, args[0], err)
			}
			if e.json() {
				return e.printJSON(t)
			}
			if before.Pause == nil {
				return e.resumed(t, "was not paused")
			}
			return e.resumed(t, "is resumed")
		}),
	}
}

func (e *env) resumed(t api.Task, how string) error {
	next := "nothing is due"
	switch {
	case t.Status == "disabled":
		next = "but disabled: stepd task enable " + printable(t.Name)
	case t.NextDue != nil:
		next = "next run " + stamp(*t.NextDue, "")
	}
	e.say("%s %s, %s", printable(t.Name), how, next)
	return nil
}
