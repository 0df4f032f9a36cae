package cli

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newTask(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "task",
		Short: "Show, delete, pause, enable or disable one task",
		Args:  cobra.ArbitraryArgs,
		RunE:  e.group,
	}
	cmd.AddCommand(newTaskShow(e), newTaskDelete(e), newTaskSet(e, "enable", false), newTaskSet(e, "disable", true),
		newTaskPause(e), newTaskResume(e))
	return cmd
}

func newTaskShow(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "show NAME",
		Short:             "Show a task and its steps",
		Args:              exactly("NAME"),
		ValidArgsFunction: e.completeTasks,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			t, err := c.Task(ctx, args[0])
			if err != nil {
				return unknown(ctx, c, args[0], err)
			}
			if e.json() {
				return e.printJSON(t)
			}
			return e.showTask(t)
		}),
	}
}

func (e *env) showTask(t api.Task) error {
	p := e.painter(e.Stdout)
	head := p.paint(bold, printable(t.Name)) + "  " + p.status(t.Status)
	if t.Description != "" {
		head += "  " + printable(t.Description)
	}
	last := ""
	if r := t.LastRun; r != nil {
		last = fmt.Sprintf("%s  %s  %s", r.Ref, p.status(r.Status), e.when(runTime(r)))
	}
	paused := ""
	if t.Pause != nil {
		paused = e.paused(t.Pause)
	}
	parallel := ""
	if t.MaxParallel > 1 {
		parallel = fmt.Sprintf("%d steps at once", t.MaxParallel)
	}
	err := e.print(head + "\n" + e.pairs([][2]string{
		{"version", fmt.Sprintf("%d, %s", t.Version, e.when(t.UpdatedAt))},
		{"by", printable(t.CreatedBy)},
		{"directory", printable(t.Dir)},
		{"parallel", parallel},
		{"time limit", t.MaxExecutionTime},
		{"settings", printable(string(t.Settings))},
		{"paused", paused},
		{"expects", e.expectation(t.Expect)},
		{"last run", last},
	}) + "\n")
	if err != nil {
		return err
	}
	if len(t.Schedules) > 0 {
		if err := e.prose([]string{"SCHEDULE", "NEXT", "LAST RUN", "MEANS"}, scheduleRows(t.Schedules)); err != nil {
			return err
		}
		if err := e.print("\n"); err != nil {
			return err
		}
	}
	if err := e.table([]string{"ORDER", "STEP", "CONTROLLER", "LIMITS", "SETTINGS"}, definitionRows(t.Steps)); err != nil {
		return err
	}
	for _, hook := range []struct {
		name  string
		steps []api.TaskStep
	}{{"ON MISSED", t.OnMissed}, {"ON SUCCESS", t.OnSuccess}, {"ON FAILURE", t.OnFailure}, {"ON END", t.OnEnd}} {
		if len(hook.steps) == 0 {
			continue
		}
		if err := e.print("\n"); err != nil {
			return err
		}
		if err := e.table([]string{"ORDER", hook.name, "CONTROLLER", "LIMITS", "SETTINGS"}, definitionRows(hook.steps)); err != nil {
			return err
		}
	}
	return nil
}

func definitionRows(steps []api.TaskStep) (rows [][]cell) {
	for i, s := range steps {
		order := fmt.Sprint(s.Order)
		if i > 0 && steps[i-1].Order == s.Order {
			order = ""
		}
		rows = append(rows, []cell{amount(order), text(s.Name), text(s.Controller), text(stepNotes(s)), text(string(s.Settings))})
	}
	return rows
}

func scheduleRows(list []api.Schedule) (rows [][]cell) {
	for _, s := range list {
		next, last := "-", "-"
		if s.NextDue != nil {
			next = stamp(*s.NextDue, s.Timezone)
		}
		if s.LastRun != "" {
			last = s.LastRun
		}
		rows = append(rows, []cell{text(s.Name), text(next), text(last), text(scheduleNotes(s))})
	}
	return rows
}

// scheduleNotes is what a schedule means, and of its policies what is not as
// usual.
func scheduleNotes(s api.Schedule) string {
	notes := []string{s.Summary}
	if s.Jitter != "" {
		notes = append(notes, "up to "+length(s.Jitter)+" of jitter")
	}
	if s.Start != "" {
		notes = append(notes, "from "+s.Start)
	}
	if s.End != "" {
		notes = append(notes, "until "+s.End)
	}
	if len(s.Exclude) > 0 {
		notes = append(notes, "not on "+strings.Join(s.Exclude, ", "))
	}
	switch s.Missed {
	case "skip":
		notes = append(notes, "missed times are not made up for")
	case "all":
		notes = append(notes, fmt.Sprintf("missed times are made up for, %d of %s at most", s.MissedLimit, length(s.MissedWindow)))
	}
	if s.Overlap != "skip" {
		notes = append(notes, "overlap: "+s.Overlap)
	}
	return strings.Join(notes, "; ")
}

// excusedDeadline says of a deadline why it is not held against the task.
const excusedDeadline = "excused: its period began before it was saved"

func (e *env) expectation(x *api.Expect) string {
	if x == nil {
		return ""
	}
	s := "a completed run by " + printable(x.By)
	if x.Days != "" {
		s += " on " + printable(x.Days)
	}
	s += " (" + zoneName(x.Timezone) + ")"
	if x.Next != nil {
		s += ", next " + stamp(*x.Next, x.Timezone)
		if x.Excused {
			s += " (" + excusedDeadline + ")"
		}
	}
	if x.LastRun != "" {
		s += "; last unmet: " + x.LastRun
	}
	return s
}

// stepNotes is what a definition says about retries, limits and faults.
func stepNotes(s api.TaskStep) string {
	var notes []string
	if s.RetryAttempts > 0 {
		notes = append(notes, count(s.RetryAttempts, "attempt"))
	}
	for _, l := range [][2]string{{"at most ", s.MaxExecutionTime}, {"an attempt at most ", s.AttemptTimeout}, {"silent at most ", s.ProgressTimeout}} {
		if l[1] != "" {
			notes = append(notes, l[0]+l[1])
		}
	}
	if s.InterruptOnStepFault {
		notes = append(notes, "a fault ends the run")
	}
	if len(notes) == 0 {
		return "-"
	}
	return strings.Join(notes, ", ")
}

func newTaskDelete(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "delete NAME",
		Short:             "Delete a task; its runs stay",
		Args:              exactly("NAME"),
		ValidArgsFunction: e.completeTasks,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			name := args[0]
			if !e.yes {
				// What is not there needs no confirmation.
				if _, err := c.Task(ctx, name); err != nil {
					return unknown(ctx, c, name, err)
				}
			}
			ok, err := e.confirm(ctx, fmt.Sprintf("Delete the task %s? Its runs stay.", printable(name)))
			if err != nil {
				return err
			}
			if !ok {
				e.say("nothing was deleted")
				return nil
			}
			if err := c.DeleteTask(ctx, name, 0); err != nil {
				return unknown(ctx, c, name, err)
			}
			if e.json() {
				return e.printJSON(struct {
					Deleted string `json:"deleted"`
				}{name})
			}
			e.say("%s is deleted", printable(name))
			return nil
		}),
	}
}

func newTaskSet(e *env, verb string, disabled bool) *cobra.Command {
	short := "Let a task run again"
	if disabled {
		short = "Keep a task from running; a run under way goes on"
	}
	return &cobra.Command{
		Use:               verb + " NAME",
		Short:             short,
		Args:              exactly("NAME"),
		ValidArgsFunction: e.completeTasks,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			t, err := c.SetDisabled(ctx, args[0], disabled)
			if err != nil {
				return unknown(ctx, c, args[0], err)
			}
			if e.json() {
				return e.printJSON(t)
			}
			e.say("%s is %s", printable(t.Name), e.painter(e.Stderr).status(t.Status))
			return nil
		}),
	}
}

// confirm asks on a terminal; elsewhere it takes --yes to go on.
func (e *env) confirm(ctx context.Context, question string) (bool, error) {
	if e.yes {
		return true, nil
	}
	if e.json() || !isTerminal(e.Stdin) || !isTerminal(e.Stderr) {
		return false, withHint(usageError("this needs a confirmation, and there is nobody to ask"), "add --yes when you are sure")
	}
	fmt.Fprintf(e.Stderr, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() { // ends with the process when nobody answers
		line, _ := bufio.NewReader(e.Stdin).ReadString('\n')
		answer <- line
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(e.Stderr)
		return false, ctx.Err()
	case line := <-answer:
		line = strings.ToLower(strings.TrimSpace(line))
		return line == "y" || line == "yes", nil
	}
}
