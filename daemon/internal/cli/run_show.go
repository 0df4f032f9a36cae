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
	if d.Stuck && d.Alive() {
		head += ", " + p.paint(red, "stuck")
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
		if d.From != "" {
			restart += ", from the step " + printable(d.From)
		}
	}
	list := [][2]string{
		{"reason", block(d.Reason)},
		{"hook", hookOf(&d.Run)},
		{"made by", trigger(&d)},
		{"starts", e.starts(&d.Run)},
		{"waits for", e.waitsFor(&d.Run)},
		{"progress", progress},
	}
	list = append(list, e.stuck(&d)...)
	list = append(list, [][2]string{
		{"started", e.whenPtr(d.StartedAt) + by(d.StartedBy)},
		{"ended", e.ended(&d.Run)},
		{"waited", waitedLong(&d.Run)},
		{"took", took(&d.Run, e.Now())},
		{"only", onlyStep(&d.Run)},
		{"set", setLine(d.Set)},
		{"priority", priority(d.Priority)},
		{"locks", printable(strings.Join(d.Locks, ", "))},
		{"batch", printable(d.Batch)},
		{"again", restart},
		{"hooks", hooks(&d.Run)},
		{"files", printable(d.WorkDir)},
	}...)
	out := head + "\n" + e.pairs(list) + "\n"
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

// starts says when a run that waits for its time begins.
func (e *env) starts(r *api.Run) string {
	if !later(r, e.Now()) {
		return ""
	}
	return stamp(*r.NotBefore, "") + ", " + ahead(*r.NotBefore, e.Now())
}

func (e *env) waitsFor(r *api.Run) string {
	if r.Status != "queued" || later(r, e.Now()) {
		return ""
	}
	return block(r.WaitsFor)
}

// waitedLong is how long a run was in the queue, where that is worth a line.
func waitedLong(r *api.Run) string {
	if r.WaitSeconds == nil || *r.WaitSeconds < 1 {
		return ""
	}
	return waited(r)
}

func onlyStep(r *api.Run) string {
	if r.Only == "" {
		return ""
	}
	return "the step " + printable(r.Only)
}

func priority(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// stuck names the steps that give no sign of progress.
func (e *env) stuck(d *api.RunDetail) (list [][2]string) {
	if !d.Alive() {
		return nil
	}
	seen := map[string]bool{}
	for _, s := range append(append([]api.Step{}, d.Active...), d.Steps...) {
		if s.Stuck && !seen[s.Position] {
			seen[s.Position] = true
			list = append(list, [2]string{"stuck", e.painter(e.Stdout).paint(red, printable(s.Name)+": "+e.silence(&s))})
		}
	}
	return list
}

// silence says since when a step gives no sign, and what it last said.
func (e *env) silence(s *api.Step) string {
	says := "no sign of progress"
	if s.IdleSince != nil {
		says += " for " + span(e.Now().Sub(*s.IdleSince))
	}
	if s.LastSaid != "" {
		says += "; last said"
		if s.LastSaidAt != nil {
			says += " " + ago(*s.LastSaidAt, e.Now())
		}
		says += ": " + block(s.LastSaid)
	}
	return says
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
		if s.Attempt > 1 {
			says = strings.TrimSuffix(fmt.Sprintf("attempt %d: %s", s.Attempt, says), ": ")
		}
		state := status(s.Status)
		switch {
		case s.Stuck:
			state = cell{text: s.Status + ", stuck", color: red}
		case s.CancelRequested && s.Status == "running":
			state.text += ", being cancelled"
		}
		rows = append(rows, []cell{text(indent + s.Name), state, amount(fmt.Sprintf("%.0f %%", s.Progress)), amount(stepTook(&s, e.Now())), text(says)})
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
