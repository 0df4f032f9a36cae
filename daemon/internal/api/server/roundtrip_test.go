package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

type method struct {
	name string
	do   func(context.Context, *client.Client) (any, error)
	call call // as the backend sees it
	want any
	acts bool // the backend is told who
}

func methods() []method {
	file := api.TaskFile{Name: "b.yaml", Dir: "/d", Path: "/d/b.yaml", Data: "name: backup"}
	apply := api.ApplyRequest{Files: []api.TaskFile{file}, Replace: true, Delete: []api.TaskVersion{{Task: "old", Version: 2}}}
	dry := api.ApplyRequest{Files: []api.TaskFile{file}, DryRun: true, Prune: []string{"/d"}}
	save := api.SaveRequest{Task: json.RawMessage(`{"name":"backup","steps":[]}`), Dir: "/d"}
	replace := save
	replace.Version = 3
	patch := api.PatchRequest{Patch: json.RawMessage(`{"description":null}`), Version: 3}
	add := api.StepRequest{Step: json.RawMessage(`{"name":"tables"}`), Before: "archive", Version: 3}
	order := api.OrderRequest{Steps: []string{"b", "a"}, Version: 3}
	run := api.RunRequest{Task: "backup", In: "2h", Step: "tables", Set: map[string]json.RawMessage{"tables.mode": json.RawMessage(`"data_only"`)}, Priority: &priority}
	again := api.AgainRequest{From: "archive", Latest: true, Again: true}
	explain := api.ExplainRequest{Spec: "30 2 * * *", Timezone: "Europe/Berlin", Count: 9, From: "2026-12-01", Jitter: "10m", Start: "s", End: "e", Exclude: []string{"12-25", "12-26"}}
	tasks := api.TaskQuery{Name: "*&b", Status: "running", CreatedBy: "ada", Starter: "@shop", Schedule: "any", Result: "never", Sort: "-last_run", After: "a&b", Limit: 7}
	runs := api.RunQuery{Task: "backup", Status: "stuck", Trigger: "schedule", StartedBy: "ada", Schedule: "nightly", Batch: "due/x", Since: when, Until: when.Add(1500 * time.Millisecond), After: "9", Limit: 3}
	logs := api.LogQuery{Follow: true, Since: when, Tail: 20, Step: "tables/actor", Level: "warn"}
	audit := api.AuditQuery{User: "ada", Action: "run", Target: "backup/42", Since: when, After: "x", Limit: 9}
	items := []api.Upcoming{aNext}
	meanings := api.Explanations{Task: "backup", Items: []api.Explanation{aMeaning}}
	is := func(method string, args ...any) call { return call{method, args} }
	type ctx = context.Context
	type cl = *client.Client
	return []method{
		{"status", func(ctx ctx, c cl) (any, error) { return c.Status(ctx) }, is("Status"), aStatus, false},
		{"whoami", func(ctx ctx, c cl) (any, error) { return c.WhoAmI(ctx) }, is("WhoAmI"), aWho, true},
		{"plugins", func(ctx ctx, c cl) (any, error) { return c.Plugins(ctx) }, is("Plugins"), aPlugins, false},
		{"secrets", func(ctx ctx, c cl) (any, error) { return c.Secrets(ctx) }, is("Secrets"), someSecrets, false},
		{"audit", func(ctx ctx, c cl) (any, error) { return c.Audit(ctx, audit) }, is("Audit", audit), api.Page[api.AuditEntry]{Items: []api.AuditEntry{anEntry}, Next: "n"}, false},

		{"validate", func(ctx ctx, c cl) (any, error) { return c.Validate(ctx, []api.TaskFile{file}) }, is("Validate", []api.TaskFile{file}), aValid, false},
		{"apply", func(ctx ctx, c cl) (any, error) { return c.Apply(ctx, apply) }, is("Apply", apply), anApply, true},
		{"apply dry", func(ctx ctx, c cl) (any, error) { return c.Apply(ctx, dry) }, is("Apply", dry), anApply, true},
		{"tasks", func(ctx ctx, c cl) (any, error) { return c.Tasks(ctx, tasks) }, is("Tasks", tasks), somePage, false},
		{"tasks of no limit", func(ctx ctx, c cl) (any, error) { return c.Tasks(ctx, api.TaskQuery{}) }, is("Tasks", api.TaskQuery{Limit: 50}), somePage, false},
		{"task", func(ctx ctx, c cl) (any, error) { return c.Task(ctx, "bäckup") }, is("Task", "bäckup"), aTask, false},
		{"task with a slash", func(ctx ctx, c cl) (any, error) { return c.Task(ctx, "a/b c?") }, is("Task", "a/b c?"), aTask, false},
		{"definition", func(ctx ctx, c cl) (any, error) { return c.Definition(ctx, "backup") }, is("Definition", "backup"), aDefinition, false},
		{"export", func(ctx ctx, c cl) (any, error) { return c.Export(ctx, "a", 7) }, is("Export", "a", 7), api.Page[api.Definition]{Items: []api.Definition{aDefinition}}, false},
		{"create", func(ctx ctx, c cl) (any, error) { return c.CreateTask(ctx, save) }, is("CreateTask", save), aSaved, true},
		{"replace", func(ctx ctx, c cl) (any, error) { return c.ReplaceTask(ctx, "backup", replace) }, is("ReplaceTask", "backup", replace), aSaved, true},
		{"patch", func(ctx ctx, c cl) (any, error) { return c.PatchTask(ctx, "backup", patch) }, is("PatchTask", "backup", patch), aSaved, true},
		{"delete", func(ctx ctx, c cl) (any, error) { return nil, c.DeleteTask(ctx, "backup", 0) }, is("DeleteTask", "backup", uint64(0)), nil, true},
		{"delete a version", func(ctx ctx, c cl) (any, error) { return nil, c.DeleteTask(ctx, "backup", 3) }, is("DeleteTask", "backup", uint64(3)), nil, true},
		{"enable", func(ctx ctx, c cl) (any, error) { return c.SetDisabled(ctx, "backup", false) }, is("SetDisabled", "backup", false), aTask, true},
		{"disable", func(ctx ctx, c cl) (any, error) { return c.SetDisabled(ctx, "backup", true) }, is("SetDisabled", "backup", true), aTask, true},
		{"task steps", func(ctx ctx, c cl) (any, error) { return c.TaskSteps(ctx, "backup") }, is("TaskSteps", "backup"), api.Page[api.TaskStep]{Items: aTask.Steps}, false},
		{"task step", func(ctx ctx, c cl) (any, error) { return c.TaskStep(ctx, "backup", "a/b") }, is("TaskStep", "backup", "a/b"), aTask.Steps[0], false},
		{"add step", func(ctx ctx, c cl) (any, error) { return c.AddStep(ctx, "backup", add) }, is("AddStep", "backup", add), aSaved, true},
		{"patch step", func(ctx ctx, c cl) (any, error) { return c.PatchStep(ctx, "backup", "tables", patch) }, is("PatchStep", "backup", "tables", patch), aSaved, true},
		{"order steps", func(ctx ctx, c cl) (any, error) { return c.OrderSteps(ctx, "backup", order) }, is("OrderSteps", "backup", order), aSaved, true},
		{"delete step", func(ctx ctx, c cl) (any, error) { return c.DeleteStep(ctx, "backup", "tables", 3) }, is("DeleteStep", "backup", "tables", uint64(3)), aSaved, true},

		{"pause until", func(ctx ctx, c cl) (any, error) {
			return c.Pause(ctx, "backup", api.PauseRequest{Until: &when, Reason: "moving house"})
		}, is("Pause", "backup", api.PauseRequest{Until: &when, Reason: "moving house"}), aPause, true},
		{"pause for", func(ctx ctx, c cl) (any, error) { return c.Pause(ctx, "backup", api.PauseRequest{For: "2d"}) }, is("Pause", "backup", api.PauseRequest{For: "2d"}), aPause, true},
		{"pause", func(ctx ctx, c cl) (any, error) { return c.Pause(ctx, "a/b", api.PauseRequest{}) }, is("Pause", "a/b", api.PauseRequest{}), aPause, true},
		{"resume", func(ctx ctx, c cl) (any, error) { return c.Resume(ctx, "backup") }, is("Resume", "backup"), aTask, true},
		{"next", func(ctx ctx, c cl) (any, error) { return c.Next(ctx, "1/a/b", 7) }, is("Next", "1/a/b", 7), api.Page[api.Upcoming]{Items: items, Next: "n"}, false},
		{"history", func(ctx ctx, c cl) (any, error) {
			return c.History(ctx, api.HistoryQuery{Task: "backup", Schedule: "nightly", After: "1/nightly", Limit: 3})
		}, is("History", api.HistoryQuery{Task: "backup", Schedule: "nightly", After: "1/nightly", Limit: 3}), api.Page[api.Slot]{Items: []api.Slot{aSlot}, Next: "n"}, false},
		{"history of all", func(ctx ctx, c cl) (any, error) { return c.History(ctx, api.HistoryQuery{Task: "backup"}) }, is("History", api.HistoryQuery{Task: "backup", Limit: 50}), api.Page[api.Slot]{Items: []api.Slot{aSlot}, Next: "n"}, false},
		{"explain", func(ctx ctx, c cl) (any, error) { return c.Explain(ctx, explain) }, is("Explain", explain), aMeaning, false},
		{"explain a task", func(ctx ctx, c cl) (any, error) {
			return c.ExplainTask(ctx, api.ExplainQuery{Task: "backup", Schedule: "nightly", Count: 9, From: "2026-12-01"})
		}, is("ExplainTask", api.ExplainQuery{Task: "backup", Schedule: "nightly", Count: 9, From: "2026-12-01"}), meanings, false},
		{"explain as many as usual", func(ctx ctx, c cl) (any, error) { return c.ExplainTask(ctx, api.ExplainQuery{Task: "backup"}) }, is("ExplainTask", api.ExplainQuery{Task: "backup", Count: 5}), meanings, false},

		{"start", func(ctx ctx, c cl) (any, error) { return c.Start(ctx, run) }, is("Start", run), aRun, true},
		{"start at", func(ctx ctx, c cl) (any, error) { return c.Start(ctx, api.RunRequest{Task: "backup", At: "18:00"}) }, is("Start", api.RunRequest{Task: "backup", At: "18:00"}), aRun, true},
		{"batch", func(ctx ctx, c cl) (any, error) {
			return c.StartBatch(ctx, api.BatchRequest{Tasks: []string{"backup", "mail"}})
		}, is("StartBatch", api.BatchRequest{Tasks: []string{"backup", "mail"}}), aBatch, true},
		{"batch of what is due", func(ctx ctx, c cl) (any, error) { return c.StartBatch(ctx, api.BatchRequest{Due: true}) }, is("StartBatch", api.BatchRequest{Due: true}), aBatch, true},
		{"cancel", func(ctx ctx, c cl) (any, error) { return c.Cancel(ctx, "backup/42", api.CancelRequest{}) }, is("Cancel", "backup/42", api.CancelRequest{}), aRun, true},
		{"cancel a step of the newest", func(ctx ctx, c cl) (any, error) {
			return c.Cancel(ctx, "backup", api.CancelRequest{Step: "tables/actor"})
		}, is("Cancel", "backup", api.CancelRequest{Step: "tables/actor"}), aRun, true},
		{"continue", func(ctx ctx, c cl) (any, error) { return c.Continue(ctx, "backup/42", again) }, is("Continue", "backup/42", again), aRun, true},
		{"restart", func(ctx ctx, c cl) (any, error) { return c.Restart(ctx, "backup/42", again) }, is("Restart", "backup/42", again), aRestart, true},
		{"runs", func(ctx ctx, c cl) (any, error) { return c.Runs(ctx, runs) }, is("Runs", runs), api.Page[api.Run]{Items: []api.Run{aRun}}, false},
		{"run", func(ctx ctx, c cl) (any, error) { return c.Run(ctx, "backup/42") }, is("Run", "backup/42"), aDetail, false},
		{"steps", func(ctx ctx, c cl) (any, error) {
			return c.Steps(ctx, "backup/42", api.StepQuery{Status: "failed", After: "0.1", Limit: 9})
		}, is("Steps", "backup/42", api.StepQuery{Status: "failed", After: "0.1", Limit: 9}), api.Page[api.Step]{Items: []api.Step{}}, false},
		{"step", func(ctx ctx, c cl) (any, error) { return c.Step(ctx, "backup/42", "tables/a b?") }, is("Step", "backup/42", "tables/a b?"), aStepDetail, false},
		{"watch", func(ctx ctx, c cl) (any, error) {
			var got []api.Event
			err := c.Watch(ctx, "backup/42", func(e api.Event) error { got = append(got, e); return nil })
			return got, err
		}, is("Watch", "backup/42"), []api.Event{anEvent}, false},
		{"watch all", func(ctx ctx, c cl) (any, error) {
			var got []api.Event
			err := c.Watch(ctx, "", func(e api.Event) error { got = append(got, e); return nil })
			return got, err
		}, is("Watch", ""), []api.Event{anEvent}, false},
		{"logs", func(ctx ctx, c cl) (any, error) {
			var got []api.LogLine
			err := c.Logs(ctx, "backup", logs, func(l api.LogLine) error { got = append(got, l); return nil })
			return got, err
		}, is("Logs", "backup", logs), []api.LogLine{aLine}, false},
	}
}

func TestEveryMethodGoesThereAndBack(t *testing.T) {
	b := &backend{}
	c := start(t, b)
	for _, m := range methods() {
		t.Run(m.name, func(t *testing.T) {
			got, err := m.do(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(m.want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			calls, who := b.take()
			if diff := cmp.Diff([]call{m.call}, calls, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if m.acts {
				self(t, who)
			}
		})
	}
}

// self checks that the caller is this process.
func self(t *testing.T, who api.Caller) {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	gids, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(gids, os.Getgid()) {
		gids = append(gids, os.Getgid())
	}
	var groups []string
	for _, gid := range gids {
		id := strconv.Itoa(gid)
		if g, err := user.LookupGroupId(id); err == nil {
			id = g.Name
		}
		groups = append(groups, id)
	}
	want := api.Caller{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), PID: int32(os.Getpid()), Name: me.Username, Groups: groups, Role: api.RoleAdmin}
	sorted := cmpopts.SortSlices(func(a, b string) bool { return a < b })
	if diff := cmp.Diff(want, who, sorted, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("caller (-want +got):\n%s", diff)
	}
}

func TestErrorsComeBackAsTheyWere(t *testing.T) {
	want := &api.Error{Code: api.CodeInvalid, Message: "two faults", Hint: "look", Problems: []api.Problem{
		{File: "b.yaml", Line: 3, Column: 2, Path: "steps[0]", Message: "no <such> key", Hint: "did you mean", Excerpt: "\tsteps:"}}}
	b := &backend{err: want}
	c := start(t, b)
	for _, m := range methods() {
		t.Run(m.name, func(t *testing.T) {
			_, err := m.do(t.Context(), c)
			got, ok := errors.AsType[*api.Error](err)
			if !ok {
				t.Fatalf("%T: %v, want an *api.Error", err, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEveryCodeHasItsStatus(t *testing.T) {
	b := &backend{}
	_, path := serve(t, optionsFor(b))
	for code, status := range map[api.Code]int{
		api.CodeInvalid: 422, api.CodeNotFound: 404, api.CodeExists: 409, api.CodeConflict: 409, api.CodeState: 409,
		api.CodeDenied: 403, api.CodeDiskFull: 507, api.CodeStopping: 503, api.CodeTooLarge: 413, api.CodeBusy: 503, api.CodeInternal: 500,
	} {
		b.err = &api.Error{Code: code, Message: "because"}
		resp := get(t, path, http.MethodGet, "/v1/status", "")
		if resp.status != status || !strings.Contains(resp.body, `"code":"`+string(code)+`"`) {
			t.Errorf("%s: %d %s, want status %d", code, resp.status, resp.body, status)
		}
	}
	b.err = errors.New("a plain error")
	if resp := get(t, path, http.MethodGet, "/v1/status", ""); resp.status != 500 || !strings.HasPrefix(resp.body, `{"schema":1,"error":{"code":"internal"`) {
		t.Errorf("plain error: %d %s", resp.status, resp.body)
	}
}
