package cli

import (
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
		Short: "Show, make, change, delete, pause, enable or disable one task",
		Args:  cobra.ArbitraryArgs,
		RunE:  e.group,
	}
	cmd.AddCommand(newTaskShow(e), newTaskCreate(e), newTaskEdit(e), newTaskSet(e), newTaskStep(e), newTaskDelete(e), newTaskEnable(e, "enable", false), newTaskEnable(e, "disable", true),
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
		{"version", fmt.Sprintf("%d, %s", t.Version, e.when(t.UpdatedAt)) + changedBy(&t)},
		{"by", printable(t.CreatedBy)},
		{"starter", printable(strings.Join(t.Starter, ", "))},
		{"settable", printable(strings.Join(t.Settable, ", "))},
		{"file", taskSource(&t)},
		{"directory", printable(t.Dir)},
		{"parallel", parallel},
		{"time limit", t.MaxExecutionTime},
		{"priority", priority(t.Priority)},
		{"runs", atOnce(t.MaxRuns)},
		{"locks", printable(strings.Join(t.Locks, ", "))},
		{"log", printable(t.Log)},
		{"keeps", keeps(t.Keep)},
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
	if len(t.Steps) == 0 {
		e.say("it has no steps yet: stepd task step add %s STEP controller=CONTROLLER", printable(t.Name))
	} else if err := e.table(definitionHead("STEP"), definitionRows(t.Steps)); err != nil {
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
		if err := e.table(definitionHead(hook.name), definitionRows(hook.steps)); err != nil {
			return err
		}
	}
	return nil
}

// changedBy says who made the newest version, where that is not who made the task.
func changedBy(t *api.Task) string {
	if t.UpdatedBy == "" || t.UpdatedBy == t.CreatedBy {
		return ""
	}
	return by(t.UpdatedBy)
}

// taskSource is the file that a task came from.
func taskSource(t *api.Task) string {
	switch {
	case t.Source == "":
		return ""
	case t.Edited:
		return printable(t.Source) + ", edited since"
	}
	return printable(t.Source)
}

func atOnce(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d at once", n)
}

// keeps says which ended runs are kept.
func keeps(k *api.Keep) string {
	if k == nil {
		return ""
	}
	var parts []string
	if k.Runs > 0 {
		parts = append(parts, count(k.Runs, "run"))
	}
	if k.Days > 0 {
		parts = append(parts, count(k.Days, "day"))
	}
	if k.Bytes > 0 {
		parts = append(parts, size(k.Bytes))
	}
	return strings.Join(parts, ", ")
}

func definitionHead(what string) []string {
	return []string{"ORDER", what, "CONTROLLER", "LIMITS", "SETTINGS"}
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
	if s.When != "" {
		notes = append(notes, "when "+s.When)
	}
	if s.RetryAttempts > 0 {
		notes = append(notes, count(s.RetryAttempts, "attempt"))
	}
	for _, l := range [][2]string{{"at most ", s.MaxExecutionTime}, {"an attempt at most ", s.AttemptTimeout}, {"silent at most ", s.ProgressTimeout}, {"stuck after ", s.StuckAfter}} {
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

func newTaskEnable(e *env, verb string, disabled bool) *cobra.Command {
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
