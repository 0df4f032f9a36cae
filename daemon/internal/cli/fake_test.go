package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
)

// backend plays the daemon's part by a script: tasks and runs that are made
// up, the events of a run one by one, and faults where a file has "fault" in it.
type backend struct {
	api.Backend // of what is not faked
	mu          sync.Mutex
	tasks       map[string]*api.Task
	defs        map[string]*definition
	runs        map[string]*api.Run
	empty       atomic.Bool
	// meanwhile, when set, is done once before a task is replaced: by somebody else.
	meanwhile func(*backend)
	locked    atomic.Bool // what show needs is held by another
	// hold, when set, keeps a watched run going until it is closed.
	hold chan struct{}

	watched chan string // refs, as watching them begins
}

// await waits until somebody watches the run.
func (b *backend) await(t *testing.T, ref string) {
	t.Helper()
	if got := <-b.watched; got != ref {
		t.Fatalf("%s is watched", got)
	}
}

var then = time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC)

func at(seconds int) *time.Time {
	t := then.Add(time.Duration(seconds) * time.Second)
	return &t
}

func newBackend() *backend {
	b := &backend{tasks: map[string]*api.Task{}, defs: map[string]*definition{}, runs: map[string]*api.Run{}, watched: make(chan string, 64)}
	for _, name := range []string{"backup", "import", "newsletter", "show"} {
		def := object{"name": name, "steps": []any{
			step("tables", "dumptables", object{"settings": object{"dsn": "sqlite:./shop.db"}, "interrupt_on_step_fault": true}),
			step("archive", "compress", object{"retry": object{"attempts": 3}, "max_execution_time": "10m0s"})}}
		if name == "backup" {
			def["description"] = "Nightly backup of the shop"
		}
		b.create(name, def, "/srv/shop", "", "ada")
	}
	b.tasks["newsletter"].CreatedBy = "grace"
	for name, one := range map[string]api.Schedule{"backup": nightly(), "import": hourly()} {
		t := b.tasks[name]
		t.Schedules, t.Status, t.NextDue = []api.Schedule{one}, "scheduled", one.NextDue
	}
	b.tasks["backup"].Expect = &api.Expect{By: "06:00", Days: "mon-fri", Timezone: "America/New_York", Next: hour(25, 11, 0, 0), LastRun: "backup/4"}
	b.tasks["newsletter"].Expect = &api.Expect{By: "06:00", Timezone: "UTC", Next: hour(25, 6, 0, 0), Excused: true}
	b.tasks["backup"].OnMissed = []api.TaskStep{{Name: "sendmail", Controller: "sendmail", Order: 1}}
	b.tasks["backup"].OnFailure = []api.TaskStep{{Name: "ring", Controller: "noop", Order: 1}}
	b.tasks["backup"].OnEnd = []api.TaskStep{{Name: "tidy", Controller: "noop", Order: 1}}
	for i, status := range []string{"completed", "failed", "incomplete", "cancelled", "running"} {
		r := &api.Run{Ref: fmt.Sprintf("backup/%d", i+1), Task: "backup", Number: uint64(i + 1), Status: status, Progress: 50,
			Total: 4, Completed: 2, StartedBy: "ada", CreatedAt: then, StartedAt: at(i)}
		if !r.Alive() {
			r.EndedAt = at(i + 90)
		}
		switch status {
		case "completed":
			r.Progress, r.Completed = 100, 4
		case "failed":
			r.Failed, r.Reason = 1, "the step files failed"
		case "incomplete":
			r.Reason = "the step mail was interrupted; a person has to decide"
		}
		b.runs[r.Ref] = r
	}
	for ref, cause := range map[string]api.Run{"backup/5": {Trigger: "schedule", Schedule: "nightly", ScheduledFor: hour(24, 7, 30, 0)},
		"backup/3": {Trigger: "on_failure", HookOf: 2},
		"backup/4": {Trigger: "on_missed", Schedule: api.ExpectSchedule, ScheduledFor: hour(24, 5, 0, 0)}} {
		r := b.runs[ref]
		r.Trigger, r.Schedule, r.ScheduledFor, r.StartedBy, r.HookOf = cause.Trigger, cause.Schedule, cause.ScheduledFor, "", cause.HookOf
	}
	b.runs["backup/2"].Hooks = []uint64{3, 6}
	b.tasks["backup"].LastRun = b.runs["backup/5"]
	return b
}

func notFound(format string, args ...any) error {
	return &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf(format, args...)}
}

func (b *backend) Status(context.Context) (api.Status, error) {
	s := api.Status{Version: "1.0.0", PID: 812, StartedAt: then, DataDir: "/var/lib/stepd", Running: 1, MaxRuns: 4}
	if b.empty.Load() {
		s.Problems = []string{"no plugins in /usr/lib/stepd/plugins"}
	}
	return s, nil
}

func (b *backend) Plugins(context.Context) (api.PluginList, error) {
	list := api.PluginList{Dirs: []string{"/usr/lib/stepd/plugins"}}
	if b.empty.Load() {
		return list, nil
	}
	list.Warnings = []string{"/opt/plugins cannot be read: permission denied"}
	list.Plugins = []api.Plugin{
		{Name: "compress", Path: "/usr/lib/stepd/plugins/compress", State: "running", Version: "1.2.0", PID: 99,
			Controllers: []api.Controller{{Name: "compress", Summary: "Pack files.", Effect: "idempotent"}, {Name: "compress/verify", Summary: "Check an archive.", Effect: "idempotent"}}},
		{Name: "evil", Path: "/usr/lib/stepd/plugins/evil", State: "refused", Error: "it is writable by others: chmod o-w it"},
	}
	return list, nil
}

func (b *backend) check(files []api.TaskFile) error {
	var problems []api.Problem
	for _, f := range files {
		for i, line := range strings.Split(f.Data, "\n") {
			if col := strings.Index(line, "fault"); col >= 0 && !strings.Contains(line, "_fault") {
				problems = append(problems, api.Problem{File: f.Name, Line: i + 1, Column: len([]rune(line[:col])) + 1,
					Message: `there is no key "fault"`, Hint: `did you mean "default"?`, Excerpt: line})
			}
		}
	}
	if problems == nil {
		return nil
	}
	return &api.Error{Code: api.CodeInvalid, Message: "the task files have problems", Problems: problems}
}

func (b *backend) Validate(_ context.Context, files []api.TaskFile) (api.ValidateResult, error) {
	result := api.ValidateResult{Tasks: []api.Valid{}}
	for _, f := range files {
		v := api.Valid{Task: nameIn(f), File: f.Name, Steps: strings.Count(f.Data, "controller:")}
		if strings.Contains(f.Data, "schedule:") {
			v.Next = &upcoming()[1]
		}
		result.Tasks = append(result.Tasks, v)
	}
	return result, b.check(files)
}

func nameIn(f api.TaskFile) string {
	first, _, _ := strings.Cut(f.Data, "\n")
	return strings.TrimSpace(strings.TrimPrefix(first, "name:"))
}

func (b *backend) Task(_ context.Context, name string) (api.Task, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.tasks[name]
	if t == nil || b.empty.Load() {
		return api.Task{}, notFound("there is no task %q", name)
	}
	return *t, nil
}

func (b *backend) SetDisabled(ctx context.Context, _ api.Caller, name string, disabled bool) (api.Task, error) {
	t, err := b.Task(ctx, name)
	if err != nil {
		return t, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tasks[name].Status = map[bool]string{true: "disabled", false: "ready"}[disabled]
	return *b.tasks[name], nil
}

func (b *backend) Run(_ context.Context, ref string) (api.RunDetail, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := b.find(ref)
	if err != nil {
		return api.RunDetail{}, err
	}
	d := api.RunDetail{Run: *r, Timezone: map[bool]string{true: "America/New_York"}[r.Schedule != ""], WorkDir: "/var/lib/stepd/work/7", Steps: []api.Step{
		{Name: "tables", Position: "0", Status: "completed", Planned: 2, Progress: 100, Message: "2 tables, 1,234 rows", StartedAt: at(0), EndedAt: at(3)},
		{Name: "archive", Position: "1", Status: "completed", Progress: 100, Message: "./backups/shop.tar.zst, 1.2 MB", StartedAt: at(3), EndedAt: at(4)},
	}, Outputs: []api.Output{{Step: "archive", Name: "path", Value: json.RawMessage(`"./backups/shop.tar.zst"`)}}}
	if r.Status == "running" && r.Number == 5 {
		d.Steps[1] = api.Step{Name: "archive", Position: "1", Status: "ready"}
		d.Steps[0] = api.Step{Name: "tables", Position: "0", Status: "running", Planned: 2, Progress: 50, StartedAt: at(0)}
		d.Active = []api.Step{{Name: "tables/film", Position: "0.1", Status: "running", Attempt: 3, Progress: 50, Note: "film", Counters: map[string]int64{"rows": 500},
			StartedAt: at(0), Stuck: r.Stuck, IdleSince: at(-60 * 20), LastSaid: "waiting for the lock", LastSaidAt: at(-60 * 21)}}
	}
	if r.Status == "failed" {
		d.Steps[1] = api.Step{Name: "archive", Position: "1", Status: "failed", Error: "no space left on device\nwrote 3 MB", Reason: "error", StartedAt: at(3), EndedAt: at(4)}
		d.Faults = []api.Step{{Name: "tables/actor", Position: "0.2", Status: "failed", Error: "the table vanished"}}
	}
	return d, nil
}

func (b *backend) Steps(context.Context, string, api.StepQuery) (api.Page[api.Step], error) {
	return api.Page[api.Step]{}, nil
}

func (b *backend) Watch(ctx context.Context, ref string, send func(api.Event) error) error {
	b.mu.Lock()
	run, err := b.find(ref)
	if err != nil {
		b.mu.Unlock()
		return err
	}
	r, hold := *run, b.hold
	b.mu.Unlock()
	b.watched <- ref
	eta := 12.0
	step := func(name, pos, status, message, fault string) *api.Step {
		return &api.Step{Name: name, Position: pos, Status: status, Message: message, Error: fault, Attempt: 1, StartedAt: at(0), EndedAt: at(2)}
	}
	r.ETASeconds = &eta
	events := []api.Event{{Type: "snapshot", Run: r}}
	for i, e := range []api.Event{
		{Type: "step", Step: step("tables/actor", "0.1", "completed", "200 rows", "")},
		{Type: "progress", Active: []api.Step{{Name: "tables/film", Position: "0.2", Status: "running", Progress: 50, Counters: map[string]int64{"rows": 500, "bytes": 1500}}}},
		{Type: "step", Step: &api.Step{Name: "tables/film", Position: "0.2", Status: "waiting", Attempt: 1, Error: "locked", RetryAt: at(0)}},
	} {
		r.Progress, r.Completed = float64(20+i*20), i
		e.Run = r
		events = append(events, e)
	}
	for _, e := range events {
		if err := send(e); err != nil {
			return err
		}
	}
	if hold != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-hold:
		}
	}
	r.Status = map[string]string{"import": "failed", "newsletter": "incomplete", "show": "cancelled"}[r.Task]
	if r.Status == "" {
		r.Status, r.Progress, r.Completed = "completed", 100, r.Total
	}
	r.EndedAt, r.ETASeconds = at(5), nil
	if r.Status == "failed" {
		r.Reason, r.Failed, r.Hooks = "the step archive failed", 1, []uint64{43, 44}
	}
	b.mu.Lock()
	*run = r
	b.mu.Unlock()
	return send(api.Event{Type: "run", Run: r})
}
