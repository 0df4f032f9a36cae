package cli

import (
	"context"
	"encoding/json"
	"errors"
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

type runOptions struct {
	followOptions
	at, in, step string
	set          []string
	priority     int
	due, all     bool
}

func newRun(e *env) *cobra.Command {
	var opts runOptions
	cmd := &cobra.Command{
		Use:   "run NAME...",
		Short: "Start runs of tasks, or show one (run show, run step)",
		Long: `Start a run of a task and print its name, TASK/NUMBER. Of several tasks all are
started or none; their runs are carried out one after another in that order, and one
that fails does not stop the others.

  --due      of each task whose schedules were due since its last completed run began
  --all      of each task, as far as it can be run
  --at       later: 18:00, 2026-12-24T18:00; it waits in the queue until then
  --in       the same as a length of time from now: 90m, 2d
  --step     of one step of the task alone: where there are others the run ends
             incomplete, and stepd continue does them
  --set      with another setting for once: of the task as mode=data_only, of a step
             as tables.mode=data_only. A value is JSON, or else a text: a text that
             would be JSON is written '"42"'
  --priority among runs that wait, the highest goes first: -100 to 100

With --follow, watch until all have ended; the exit code is then that of the first
that did not complete. Ctrl-C ends the watching, never the run: stepd cancel does.

A task that is itself called show or step is started with: stepd run -- show`,
		Example: `  stepd run backup --follow
  stepd run backup --set tables.mode=data_only --in 2h
  stepd run --due
  stepd run show backup/42`,
		Args:              opts.args,
		ValidArgsFunction: e.completeManyTasks,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.start(cmd, e.client(), args, opts)
		},
	}
	opts.flag(cmd)
	f := cmd.Flags()
	f.StringVar(&opts.at, "at", "", "start it at this `TIME`, by this machine's clock: 18:00 or 2026-12-24T18:00")
	f.StringVar(&opts.in, "in", "", "start it after this `LENGTH` of time, as 90m or 2d")
	f.StringVar(&opts.step, "step", "", "carry out this `STEP` alone")
	f.StringArrayVar(&opts.set, "set", nil, "another setting for once, `KEY=VALUE` or STEP.KEY=VALUE (may be repeated)")
	f.IntVar(&opts.priority, "priority", 0, "in the queue, -100 to 100, the highest first (default: the task's)")
	f.BoolVar(&opts.due, "due", false, "each task that was due since its last completed run began")
	f.BoolVar(&opts.all, "all", false, "each task that can be run")
	e.completeStepFlag(cmd, "step")
	cmd.AddCommand(newRunShow(e), newRunStep(e))
	return cmd
}

// args wants names of tasks, or a flag that stands for them.
func (o *runOptions) args(cmd *cobra.Command, args []string) error {
	switch {
	case o.due && o.all:
		return usageError("--due and --all are both given")
	case o.due || o.all:
		word := "--due"
		if o.all {
			word = "--all"
		}
		if len(args) > 0 {
			return usageHint(cmd, "%q and %s are both given: one of them says what is started", args[0], word)
		}
	default:
		if err := atLeastOne("NAME")(cmd, args); err != nil {
			return err
		}
	}
	for _, arg := range args {
		if name, _, found := strings.Cut(arg, "/"); found {
			return withHint(usageError("%s is a run, not a task", arg),
				fmt.Sprintf("to see it: stepd run show %s; to do it again: stepd restart %s; a new run: stepd run %s", arg, arg, name))
		}
	}
	if o.at != "" && o.in != "" {
		return usageError("--at and --in are both given, one of them says when it starts")
	}
	if len(args) != 1 {
		for _, flag := range []string{"at", "in", "step", "set", "priority"} {
			if cmd.Flags().Changed(flag) {
				return withHint(usageError("--%s goes with one task", flag), "start the runs one by one")
			}
		}
	}
	return nil
}

func (e *env) start(cmd *cobra.Command, c *client.Client, args []string, opts runOptions) error {
	ctx := cmd.Context()
	if len(args) != 1 {
		return e.startBatch(ctx, c, api.BatchRequest{Tasks: args, Due: opts.due, All: opts.all}, opts.followOptions)
	}
	request := api.RunRequest{Task: args[0], In: opts.in, Step: opts.step}
	if cmd.Flags().Changed("priority") {
		request.Priority = &opts.priority
	}
	if opts.at != "" {
		at, err := moment("at", opts.at, e.Now())
		if err != nil {
			return err
		}
		request.At = at.Format(time.RFC3339)
	}
	if len(opts.set) > 0 {
		var err error
		if _, request.Set, err = assignments("--set", opts.set); err != nil {
			return err
		}
	}
	r, err := c.Start(ctx, request)
	if err != nil && opts.step != "" {
		return e.unknownTaskStep(ctx, c, args[0], opts.step, ofWords(err))
	}
	if err != nil {
		return unknown(ctx, c, args[0], ofWords(err))
	}
	return e.started(ctx, c, r, opts.followOptions)
}

// startBatch starts several runs and says which tasks were left out, and why.
func (e *env) startBatch(ctx context.Context, c *client.Client, request api.BatchRequest, opts followOptions) error {
	result, err := c.StartBatch(ctx, request)
	if err != nil {
		return e.unknownOf(ctx, c, request.Tasks, err)
	}
	if e.json() && !opts.follow {
		return e.printJSON(result)
	}
	var refs, left []string
	for _, one := range result.Runs {
		if one.Run != nil {
			refs = append(refs, one.Run.Ref)
		} else {
			left = append(left, printable(one.Task)+": "+block(one.Reason))
		}
	}
	for _, line := range left {
		e.say("left out: %s", line)
	}
	if len(refs) == 0 {
		switch {
		case request.Due:
			e.say("nothing is due")
		default:
			e.say("nothing was started")
		}
		return nil
	}
	if !opts.follow {
		if err := e.print(strings.Join(refs, "\n") + "\n"); err != nil {
			return err
		}
		if len(refs) > 1 {
			e.say("they are carried out one after another; see them: stepd runs --batch %s", printable(result.Batch))
		}
		return nil
	}
	var first error
	for _, ref := range refs {
		err := e.follow(ctx, c, ref)
		if _, ended := errors.AsType[*runEnd](err); err != nil && !ended {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
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
	switch {
	case later(&r, e.Now()):
		e.say("it starts %s, %s", stamp(*r.NotBefore, ""), ahead(*r.NotBefore, e.Now()))
	case r.WaitsFor != "":
		e.say("it waits for %s", block(r.WaitsFor))
	case r.QueuePosition > 0:
		e.say("it waits for its turn, %s before it", count(r.QueuePosition-1, "run"))
	}
	e.say("watch it: stepd run show %s --follow", r.Ref)
	return nil
}

// setLine shows the settings that a run has for once.
func setLine(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return printable(string(raw))
	}
	var parts []string
	for _, key := range sortedKeys(m) {
		parts = append(parts, printable(key)+"="+brief(m[key]))
	}
	return strings.Join(parts, ", ")
}
