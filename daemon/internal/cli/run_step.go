package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

func newRunStep(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "step REF STEP",
		Short: "Show one step of a run: its attempts, settings and outputs",
		Long: `Show one step of a run: how it stands, its attempts, its settings as they are
defined, and its outputs.

REF is TASK/NUMBER, or TASK for its newest run. STEP is the name of a step, as in
tables, or of a planned one, as in tables/actor.`,
		Example: `  stepd run step backup tables
  stepd run step backup/42 tables/actor`,
		Args:              exactly("REF", "STEP"),
		ValidArgsFunction: e.completeRunSteps,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			s, err := c.Step(ctx, args[0], args[1])
			if err != nil {
				return e.unknownStep(ctx, c, args[0], args[1], err)
			}
			if e.json() {
				return e.printJSON(s)
			}
			return e.showStep(s)
		}),
	}
}

func (e *env) showStep(d api.StepDetail) error {
	p := e.painter(e.Stdout)
	s := &d.Step
	head := p.paint(bold, printable(s.Name)) + " of " + printable(d.Run) + "  " + p.status(s.Status)
	if s.CancelRequested && (s.Status == "running" || s.Status == "waiting" || s.Status == "ready") {
		head += ", being cancelled"
	}
	silence := ""
	if s.Status == "running" && (s.Stuck || s.IdleSince != nil) {
		silence = e.silence(s)
		if s.Stuck {
			silence = p.paint(red, silence)
		}
	}
	attempt := ""
	if s.Attempt > 0 {
		attempt = fmt.Sprint(s.Attempt)
	}
	progress := percent(s.Progress)
	for _, more := range []string{counters(s.Counters), printable(s.Note)} {
		if more != "" {
			progress += ", " + more
		}
	}
	if s.ETASeconds != nil {
		progress += ", " + left(*s.ETASeconds)
	}
	planned := ""
	if s.Planned > 0 {
		planned = count(s.Planned, "step")
	}
	fault := block(s.Error)
	if fault != "" && s.Reason != "" && s.Reason != "error" {
		fault += " (" + strings.ReplaceAll(printable(s.Reason), "_", " ") + ")"
	}
	again, started, ended := "", "", ""
	if s.RetryAt != nil && s.Status == "waiting" {
		again = e.when(*s.RetryAt)
	}
	if s.StartedAt != nil {
		started = e.when(*s.StartedAt)
	}
	if s.EndedAt != nil {
		ended = e.when(*s.EndedAt)
	}
	took := stepTook(s, e.Now())
	if took == "-" {
		took = ""
	}
	if err := e.print(head + "\n" + e.pairs([][2]string{
		{"controller", printable(s.Controller)},
		{"when", printable(d.When)},
		{"planned", planned},
		{"progress", progress},
		{"attempt", attempt},
		{"again", again},
		{"silent", silence},
		{"started", started},
		{"ended", ended},
		{"took", took},
		{"message", block(s.Message)},
		{"error", p.paint(red, fault)},
	})); err != nil {
		return err
	}
	if len(d.Settings) > 0 && string(d.Settings) != "{}" {
		out := "\n" + p.paint(dim, "SETTINGS") + "\n"
		for _, line := range yamlOf(d.Settings) {
			out += "  " + printable(line) + "\n"
		}
		if err := e.print(out); err != nil {
			return err
		}
	}
	if len(s.Attempts) > 0 {
		var rows [][]cell
		for _, a := range s.Attempts {
			says := a.Error
			if says == "" {
				says = strings.ReplaceAll(a.Reason, "_", " ")
			}
			rows = append(rows, []cell{amount(fmt.Sprint(a.Number)), text(e.when(a.StartedAt)), amount(span(a.EndedAt.Sub(a.StartedAt))), text(says)})
		}
		if err := e.section([]string{"ATTEMPT", "STARTED", "TOOK", "FAILED WITH"}, rows); err != nil {
			return err
		}
	}
	if len(d.Outputs) > 0 {
		var rows [][]cell
		for _, o := range d.Outputs {
			rows = append(rows, []cell{text(o.Name), text(string(o.Value))})
		}
		if err := e.section([]string{"OUTPUT", "VALUE"}, rows); err != nil {
			return err
		}
	}
	e.say("what it says: stepd logs %s --step %s", printable(d.Run), printable(s.Name))
	return nil
}

// section is a table below something else.
func (e *env) section(head []string, rows [][]cell) error {
	if err := e.print("\n"); err != nil {
		return err
	}
	return e.table(head, rows)
}

// unknownStep adds to an error about a step of a run which may have been meant.
func (e *env) unknownStep(ctx context.Context, c *client.Client, ref, step string, err error) error {
	d, e2 := c.Run(ctx, ref)
	if e2 != nil {
		return unknown(ctx, c, ref, e2)
	}
	if !isNotFound(err) {
		return err
	}
	var known []string
	for _, s := range append(append(d.Steps, d.Active...), d.Faults...) {
		known = append(known, s.Name)
	}
	return suggestStep(err, step, known)
}

// suggestStep says which of the known steps was meant, or lists them.
func suggestStep(err error, step string, known []string) error {
	if near := nearest(step, known); near != "" {
		return withHint(err, fmt.Sprintf("did you mean %q?", near))
	}
	if len(known) == 0 {
		return withHint(err, "it has no steps")
	}
	const most = 10
	more := ""
	if len(known) > most {
		known, more = known[:most], " ..."
	}
	return withHint(err, "its steps: "+printable(strings.Join(known, ", "))+more)
}
