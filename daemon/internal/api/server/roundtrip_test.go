package server_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/user"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

type method struct {
	name string
	do   func(context.Context, *client.Client) (any, error)
	call string // as the backend sees it
	want any
	acts bool // the backend is told who
}

func methods() []method {
	file := api.TaskFile{Name: "b.yaml", Dir: "/d", Data: "name: backup"}
	type ctx = context.Context
	type cl = *client.Client
	return []method{
		{"status", func(ctx ctx, c cl) (any, error) { return c.Status(ctx) }, `status`, aStatus, false},
		{"plugins", func(ctx ctx, c cl) (any, error) { return c.Plugins(ctx) }, `plugins`, aPlugins, false},
		{"validate", func(ctx ctx, c cl) (any, error) { return c.Validate(ctx, []api.TaskFile{file}) }, `validate [{b.yaml /d name: backup}]`, aValid, false},
		{"apply", func(ctx ctx, c cl) (any, error) {
			return c.Apply(ctx, api.ApplyRequest{Files: []api.TaskFile{file}, DryRun: true})
		}, `apply {[{b.yaml /d name: backup}] true}`, anApply, true},
		{"tasks", func(ctx ctx, c cl) (any, error) { return c.Tasks(ctx, api.TaskQuery{After: "a&b", Limit: 7}) }, `tasks "a&b" 7`, api.Page[api.Task]{Items: []api.Task{aTask}, Next: "backup"}, false},
		{"tasks of no limit", func(ctx ctx, c cl) (any, error) { return c.Tasks(ctx, api.TaskQuery{}) }, `tasks "" 50`, api.Page[api.Task]{Items: []api.Task{aTask}, Next: "backup"}, false},
		{"task", func(ctx ctx, c cl) (any, error) { return c.Task(ctx, "bäckup") }, `task "bäckup"`, aTask, false},
		{"task with a slash", func(ctx ctx, c cl) (any, error) { return c.Task(ctx, "a/b c?") }, `task "a/b c?"`, aTask, false},
		{"delete", func(ctx ctx, c cl) (any, error) { return nil, c.DeleteTask(ctx, "backup", 0) }, `delete "backup"`, nil, true},
		{"enable", func(ctx ctx, c cl) (any, error) { return c.SetDisabled(ctx, "backup", false) }, `disable "backup" false`, aTask, true},
		{"disable", func(ctx ctx, c cl) (any, error) { return c.SetDisabled(ctx, "backup", true) }, `disable "backup" true`, aTask, true},
		{"pause until", func(ctx ctx, c cl) (any, error) {
			return c.Pause(ctx, "backup", api.PauseRequest{Until: &when, Reason: "moving house"})
		}, `pause "backup" 2026-11-24 06:00:00 +0000 UTC "" "moving house"`, aPause, true},
		{"pause for", func(ctx ctx, c cl) (any, error) { return c.Pause(ctx, "backup", api.PauseRequest{For: "2d"}) }, `pause "backup" <nil> "2d" ""`, aPause, true},
		{"pause", func(ctx ctx, c cl) (any, error) { return c.Pause(ctx, "a/b", api.PauseRequest{}) }, `pause "a/b" <nil> "" ""`, aPause, true},
		{"resume", func(ctx ctx, c cl) (any, error) { return c.Resume(ctx, "backup") }, `resume "backup"`, aTask, true},
		{"next", func(ctx ctx, c cl) (any, error) { return c.Next(ctx, "1/a/b", 7) }, `next "1/a/b" 7`, api.Page[api.Upcoming]{Items: []api.Upcoming{aNext}, Next: "n"}, false},
		{"history", func(ctx ctx, c cl) (any, error) {
			return c.History(ctx, api.HistoryQuery{Task: "backup", Schedule: "nightly", After: "1/nightly", Limit: 3})
		}, `history {backup nightly 1/nightly 3}`, api.Page[api.Slot]{Items: []api.Slot{aSlot}, Next: "n"}, false},
		{"history of all", func(ctx ctx, c cl) (any, error) { return c.History(ctx, api.HistoryQuery{Task: "backup"}) }, `history {backup   50}`, api.Page[api.Slot]{Items: []api.Slot{aSlot}, Next: "n"}, false},
		{"explain", func(ctx ctx, c cl) (any, error) {
			return c.Explain(ctx, api.ExplainRequest{Spec: "30 2 * * *", Timezone: "Europe/Berlin", Count: 9, From: "2026-12-01", Jitter: "10m", Start: "s", End: "e", Exclude: []string{"12-25", "12-26"}})
		}, `explain {30 2 * * * Europe/Berlin 9 2026-12-01 10m s e [12-25 12-26]}`, aMeaning, false},
		{"explain a task", func(ctx ctx, c cl) (any, error) {
			return c.ExplainTask(ctx, api.ExplainQuery{Task: "backup", Schedule: "nightly", Count: 9, From: "2026-12-01"})
		}, `explain task {backup nightly 9 2026-12-01}`, api.Explanations{Task: "backup", Items: []api.Explanation{aMeaning}}, false},
		{"explain as many as usual", func(ctx ctx, c cl) (any, error) { return c.ExplainTask(ctx, api.ExplainQuery{Task: "backup"}) }, `explain task {backup  5 }`, api.Explanations{Task: "backup", Items: []api.Explanation{aMeaning}}, false},
		{"start", func(ctx ctx, c cl) (any, error) { return c.Start(ctx, api.RunRequest{Task: "backup"}) }, `start {backup}`, aRun, true},
		{"cancel", func(ctx ctx, c cl) (any, error) { return c.Cancel(ctx, "backup/42", api.CancelRequest{}) }, `cancel "backup/42"`, aRun, true},
		{"cancel the newest", func(ctx ctx, c cl) (any, error) { return c.Cancel(ctx, "backup", api.CancelRequest{}) }, `cancel "backup"`, aRun, true},
		{"continue", func(ctx ctx, c cl) (any, error) { return c.Continue(ctx, "backup/42", api.AgainRequest{}) }, `continue "backup/42"`, aRun, true},
		{"restart", func(ctx ctx, c cl) (any, error) { return c.Restart(ctx, "backup/42", api.AgainRequest{}) }, `restart "backup/42"`, aRun, true},
		{"runs", func(ctx ctx, c cl) (any, error) {
			return c.Runs(ctx, api.RunQuery{Task: "backup", Status: "failed", After: "9", Limit: 3})
		}, `runs {backup failed 9 3}`, api.Page[api.Run]{Items: []api.Run{aRun}}, false},
		{"run", func(ctx ctx, c cl) (any, error) { return c.Run(ctx, "backup/42") }, `run "backup/42"`, aDetail, false},
		{"steps", func(ctx ctx, c cl) (any, error) {
			return c.Steps(ctx, "backup/42", api.StepQuery{After: "0.1", Limit: 9})
		}, `steps "backup/42" "0.1" 9`, api.Page[api.Step]{Items: []api.Step{}}, false},
		{"watch", func(ctx ctx, c cl) (any, error) {
			var got []api.Event
			err := c.Watch(ctx, "backup/42", func(e api.Event) error { got = append(got, e); return nil })
			return got, err
		}, `watch "backup/42"`, []api.Event{anEvent}, false},
		{"watch all", func(ctx ctx, c cl) (any, error) {
			var got []api.Event
			err := c.Watch(ctx, "", func(e api.Event) error { got = append(got, e); return nil })
			return got, err
		}, `watch ""`, []api.Event{anEvent}, false},
		{"logs", func(ctx ctx, c cl) (any, error) {
			var got []api.LogLine
			err := c.Logs(ctx, "backup", api.LogQuery{Follow: true}, func(l api.LogLine) error { got = append(got, l); return nil })
			return got, err
		}, `logs "backup" true`, []api.LogLine{aLine}, false},
	}
}

func TestEveryMethodGoesThereAndBack(t *testing.T) {
	b := &backend{}
	c := start(t, b)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
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
			if diff := cmp.Diff([]string{m.call}, calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if !m.acts {
				return
			}
			want := api.Caller{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), PID: int32(os.Getpid()), Name: me.Username}
			if !reflect.DeepEqual(who, want) {
				t.Errorf("caller %+v, want %+v", who, want)
			}
		})
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
