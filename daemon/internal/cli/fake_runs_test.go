package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
)

// Start makes a run whose end is in its task's name: import fails, newsletter
// is left incomplete, show is cancelled, all others complete.
func (b *backend) Start(ctx context.Context, who api.Caller, r api.RunRequest) (api.Run, error) {
	t, err := b.Task(ctx, r.Task)
	if err != nil {
		return api.Run{}, err
	}
	if reason := refused(t); reason != "" {
		return api.Run{}, &api.Error{Code: api.CodeState, Message: t.Name + " " + reason, Hint: map[bool]string{true: "enable it: stepd task enable " + t.Name}[t.Status == "disabled"]}
	}
	run := api.Run{Ref: r.Task + "/42", Task: r.Task, Number: 42, Status: "running", Total: 3, StartedBy: who.By(), CreatedAt: then, StartedAt: at(0)}
	if r.Step != "" {
		i := slices.IndexFunc(t.Steps, func(s api.TaskStep) bool { return s.Name == r.Step })
		if i < 0 {
			return api.Run{}, noStep(t.Name, r.Step)
		}
		if i > 0 && t.LastRun != nil && t.LastRun.Status == "failed" {
			return api.Run{}, &api.Error{Code: api.CodeState, Message: fmt.Sprintf("step %s comes after %s, which failed in %s and interrupts", r.Step, t.Steps[0].Name, t.LastRun.Ref)}
		}
		run.Only = r.Step
	}
	var problems []api.Problem
	for key := range r.Set {
		if !slices.Contains([]string{"mode", "tables.mode", "tables.tables", "keep", "note"}, key) {
			problems = append(problems, api.Problem{Path: key, Message: fmt.Sprintf("there is no setting %q", key), Hint: `did you mean "mode"?`})
		}
	}
	if len(problems) > 0 {
		return api.Run{}, &api.Error{Code: api.CodeInvalid, Message: problems[0].Message, Problems: problems}
	}
	if len(r.Set) > 0 {
		run.Set = raw(r.Set)
	}
	if r.Priority != nil {
		run.Priority = *r.Priority
	}
	when := time.Time{}
	if r.At != "" {
		if when, err = time.Parse(time.RFC3339, r.At); err != nil {
			return api.Run{}, &api.Error{Code: api.CodeInvalid, Message: "at is no time"}
		}
	}
	if r.In != "" {
		d, err := time.ParseDuration(r.In)
		if err != nil {
			return api.Run{}, &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf("in must be a duration such as 30s, 10m, 1h30m or 2d, found %q", r.In)}
		}
		when = then.Add(10*time.Second + d)
	}
	if !when.IsZero() {
		run.Status, run.StartedAt, run.NotBefore, run.WaitsFor, run.QueuePosition = "queued", nil, &when, "its time, "+when.Format("15:04"), 1
	}
	if t.Name == "show" && b.locked.Load() {
		run.Status, run.StartedAt, run.Locks, run.WaitsFor, run.QueuePosition = "queued", nil, []string{"shop-db"}, "the lock shop-db, held by backup/5", 2
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs[run.Ref] = &run
	return run, nil
}

func refused(t api.Task) string {
	switch t.Status {
	case "disabled":
		return "is disabled"
	case "draft":
		return "has no steps yet"
	}
	return ""
}

func (b *backend) StartBatch(ctx context.Context, who api.Caller, r api.BatchRequest) (api.BatchResult, error) {
	result := api.BatchResult{Batch: "due/7f3a"}
	names := r.Tasks
	if len(names) == 0 {
		b.mu.Lock()
		names = sorted(b.tasks)
		b.mu.Unlock()
	}
	for _, name := range names {
		t, err := b.Task(ctx, name)
		reason := ""
		switch {
		case err != nil:
			return api.BatchResult{}, err
		case refused(t) != "":
			reason = "it " + refused(t)
		case len(r.Tasks) > 0:
		case t.LastRun != nil && t.LastRun.Alive():
			reason = t.LastRun.Ref + " is alive"
		case r.Due && len(t.Schedules) == 0:
			continue
		}
		if reason != "" {
			if len(r.Tasks) > 0 {
				return api.BatchResult{}, &api.Error{Code: api.CodeState, Message: fmt.Sprintf("nothing was started: %s: %s", name, reason)}
			}
			result.Runs = append(result.Runs, api.Batched{Task: name, Reason: reason})
			continue
		}
		run, err := b.Start(ctx, who, api.RunRequest{Task: name})
		if err != nil {
			return api.BatchResult{}, err
		}
		run.Batch = result.Batch
		b.mu.Lock()
		b.runs[run.Ref] = &run
		b.mu.Unlock()
		result.Runs = append(result.Runs, api.Batched{Task: name, Run: &run})
	}
	return result, nil
}

func (b *backend) find(ref string) (*api.Run, error) {
	if !strings.Contains(ref, "/") {
		for _, n := range []string{"/42", "/5"} {
			if r := b.runs[ref+n]; r != nil {
				return r, nil
			}
		}
		return nil, notFound("%s has no runs", ref)
	}
	if r := b.runs[ref]; r != nil {
		return r, nil
	}
	return nil, notFound("there is no run %s", ref)
}

func (b *backend) Cancel(ctx context.Context, _ api.Caller, ref string, r api.CancelRequest) (api.Run, error) {
	if r.Step != "" {
		if s, err := b.Step(ctx, ref, r.Step); err != nil {
			return api.Run{}, err
		} else if s.Status != "running" {
			return api.Run{}, &api.Error{Code: api.CodeState, Message: fmt.Sprintf("step %s of %s is %s already", s.Name, s.Run, s.Status)}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	run, err := b.find(ref)
	if err != nil {
		return api.Run{}, err
	}
	if !run.Alive() {
		return api.Run{}, &api.Error{Code: api.CodeState, Message: ref + " is " + run.Status + " already"}
	}
	switch {
	case r.Step != "":
	case run.Status == "queued":
		run.Status = "cancelled"
	default:
		run.CancelRequested = true
	}
	return *run, nil
}

// mayDoAgain wants a word for backup/3, whose mail may have been sent.
func mayDoAgain(r *api.Run, q api.AgainRequest, steps ...string) error {
	switch {
	case r.Alive():
		return &api.Error{Code: api.CodeState, Message: r.Ref + " is " + r.Status + ": it is not done again while it is alive", Hint: "end it: stepd cancel " + r.Ref}
	case q.From != "" && !slices.Contains([]string{"tables", "archive"}, q.From):
		return notFound("%s has no step %q", r.Ref, q.From)
	case q.Latest && r.Number == 4:
		return &api.Error{Code: api.CodeState, Message: "step tables of backup/4 is another one in the task today: its controller is copyfiles", Hint: "do all again by the task as it is: stepd restart backup/4 --latest"}
	case r.Number == 3 && !q.Again:
		return &api.Error{Code: api.CodeConfirm, Message: fmt.Sprintf("%d steps of %s may have had their effect and would be done again", len(steps), r.Ref), Steps: steps}
	}
	return nil
}

func (b *backend) Continue(_ context.Context, _ api.Caller, ref string, q api.AgainRequest) (api.Run, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := b.find(ref)
	if err != nil {
		return api.Run{}, err
	}
	if r.Status == "completed" && q.From == "" {
		return api.Run{}, &api.Error{Code: api.CodeState, Message: r.Ref + " is completed, nothing is left of it", Hint: "do it again: stepd restart " + r.Ref}
	}
	if err := mayDoAgain(r, q, "mail"); err != nil {
		return api.Run{}, err
	}
	r.Status, r.Reason, r.EndedAt, r.From = "running", "", nil, ""
	return *r, nil
}

func (b *backend) Restart(ctx context.Context, who api.Caller, ref string, q api.AgainRequest) (api.Run, error) {
	b.mu.Lock()
	old, err := b.find(ref)
	if err == nil {
		err = mayDoAgain(old, q, "mail", "sms")
	}
	b.mu.Unlock()
	if err != nil {
		return api.Run{}, err
	}
	run, err := b.Start(ctx, who, api.RunRequest{Task: old.Task})
	if err != nil {
		return run, err
	}
	run.RestartOf, run.From, run.Trigger = old.Number, q.From, "restart"
	b.mu.Lock()
	defer b.mu.Unlock()
	*b.runs[run.Ref] = run
	return run, nil
}

func (b *backend) Runs(_ context.Context, q api.RunQuery) (api.Page[api.Run], error) {
	var page api.Page[api.Run]
	b.mu.Lock()
	defer b.mu.Unlock()
	refs := sorted(b.runs)
	slices.SortFunc(refs, func(x, y string) int { return int(b.runs[y].Number) - int(b.runs[x].Number) })
	passed := q.After == ""
	for _, ref := range refs {
		r := b.runs[ref]
		before := passed
		passed = passed || ref == q.After
		byStatus := q.Status == "" || q.Status == r.Status || q.Status == "alive" && r.Alive() || q.Status == "ended" && !r.Alive() || q.Status == "stuck" && r.Stuck
		if b.empty.Load() || !before || !byStatus || q.Task != "" && q.Task != r.Task || q.Trigger != "" && q.Trigger != r.Trigger || q.StartedBy != "" && q.StartedBy != r.StartedBy ||
			q.Schedule != "" && q.Schedule != r.Schedule || q.Batch != "" && q.Batch != r.Batch ||
			!q.Since.IsZero() && r.CreatedAt.Before(q.Since) || !q.Until.IsZero() && !r.CreatedAt.Before(q.Until) {
			continue
		}
		if len(page.Items) == q.Limit {
			page.Next = page.Items[len(page.Items)-1].Ref
			break
		}
		page.Items = append(page.Items, *r)
	}
	return page, nil
}

// Step knows the steps of a run, and tables/film, which was planned.
func (b *backend) Step(ctx context.Context, ref, step string) (api.StepDetail, error) {
	d, err := b.Run(ctx, ref)
	if err != nil {
		return api.StepDetail{}, err
	}
	for _, s := range slices.Concat(d.Steps, d.Active, d.Faults) {
		if s.Name != step {
			continue
		}
		s.Controller = "dumptables"
		detail := api.StepDetail{Step: s, Run: d.Ref, Settings: json.RawMessage(`{"dsn":{"secret":"shop"},"tables":["film"],"query":"select *\nfrom film"}`)}
		if s.Name == "archive" {
			detail.When = "steps.tables.outputs.rows > 0"
			detail.Outputs = d.Outputs
		}
		if s.Attempt > 1 {
			detail.Attempts = []api.Attempt{
				{Number: 1, StartedAt: then, EndedAt: then.Add(2 * time.Second), Reason: "error", Error: "locked by another\nwaited 2 s"},
				{Number: 2, StartedAt: then.Add(3 * time.Second), EndedAt: then.Add(4 * time.Second), Reason: "timed_out"},
			}
		}
		return detail, nil
	}
	return api.StepDetail{}, notFound("%s has no step %q", d.Ref, step)
}

func (b *backend) Logs(_ context.Context, ref string, q api.LogQuery, send func(api.LogLine) error) error {
	var lines []api.LogLine
	for i, l := range []api.LogLine{
		{Level: "info", Message: "the run begins"},
		{Level: "warn", Step: "tables", Message: "a \x1b[31mred\x1b[0m row", Fields: json.RawMessage(`{"table":"film","n":3,"why":"two words"}`)},
		{Level: "error", Step: "tables/film", Message: "locked\nby another"},
	} {
		l.Time = then.Add(time.Duration(i) * time.Second)
		fits := !l.Time.Before(q.Since) && (q.Step == "" || q.Step == l.Step || strings.HasPrefix(l.Step, q.Step+"/")) &&
			(q.Level == "" || slices.Index(api.LogLevels(), l.Level) >= slices.Index(api.LogLevels(), q.Level))
		if fits {
			lines = append(lines, l)
		}
	}
	if q.Tail > 0 {
		lines = lines[max(0, len(lines)-q.Tail):]
	}
	for _, l := range lines {
		if err := send(l); err != nil {
			return err
		}
	}
	return nil
}

func (b *backend) WhoAmI(_ context.Context, who api.Caller) (api.Who, error) {
	return api.Who{User: "ada", UID: 1000, GID: 1000, Groups: []string{"ada", "shop"}, Role: who.Role, ActFor: who.ActFor}, nil
}

func (b *backend) Secrets(context.Context) (api.SecretList, error) {
	if b.empty.Load() {
		return api.SecretList{}, nil
	}
	return api.SecretList{Warnings: []string{"/etc/stepd/secrets/old.pw may be read by others: chmod 600 it"}, Secrets: []api.Secret{
		{Name: "mail.password", From: "credential", UsedBy: []string{}},
		{Name: "shop", From: "file /etc/stepd/shop.pw", UsedBy: []string{"backup", "import"}},
		{Name: "sms", UsedBy: []string{"newsletter"}, Error: "there is no file sms in /etc/stepd/secrets"},
	}}, nil
}

func (b *backend) Audit(_ context.Context, q api.AuditQuery) (api.Page[api.AuditEntry], error) {
	var page api.Page[api.AuditEntry]
	for i, a := range []api.AuditEntry{
		{User: "grace", ActFor: "ada", Action: "run.start", Target: "backup", Request: `{"task":"backup"}`, Result: "ok", Made: "backup/5", UID: 0, PID: 70},
		{User: "bob", Action: "task.change", Target: "backup", Request: `{"patch":{"settings":null}}`, Result: "denied", Error: "bob is a runner, this takes an administrator\nask one", UID: 1001, GID: 100, PID: 71},
		{User: "grace", Action: "task.delete", Target: "old", Result: "ok", PID: 72},
	} {
		a.Time = then.Add(-time.Duration(i) * time.Hour)
		if q.User != "" && q.User != a.User && q.User != a.ActFor || q.Action != "" && q.Action != a.Action && !strings.HasPrefix(a.Action, q.Action+".") ||
			q.Target != "" && q.Target != a.Target || a.Time.Before(q.Since) {
			continue
		}
		if len(page.Items) == q.Limit {
			page.Next = "more"
			break
		}
		page.Items = append(page.Items, a)
	}
	return page, nil
}
