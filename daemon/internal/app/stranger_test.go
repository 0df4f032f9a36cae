package app

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

// Whoever has no role learns nothing of tasks that do not list them: neither
// their names, nor whether there is one, nor who may start it.
func TestAStrangerLearnsNothingFromWhatIsRefused(t *testing.T) {
	a := bareApp(t, t.TempDir(), newHandClock(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)))
	t.Cleanup(func() { a.close(t) })
	b := &backend{a}
	mine := task.Task{Name: "mine", Starter: []string{"www-data"}, Steps: []task.Step{{Name: "s", Controller: "s"}}}
	theirs := task.Task{Name: "theirs", Starter: []string{"anna"}, Steps: mine.Steps}
	open := task.Task{Name: "b", Steps: mine.Steps, Schedules: []task.Schedule{task.Schedule{Name: "hourly", Rate: time.Hour, Timezone: "UTC"}.WithDefaults()}}
	off := task.Task{Name: "off", Disabled: true, Steps: mine.Steps}
	if _, err := b.engine.Apply(t.Context(), engine.ApplyWish{Tasks: []task.Task{mine, theirs, open, off, {Name: "draft"}}, By: "ann"}); err != nil {
		t.Fatal(err)
	}
	stranger, starter := api.Caller{Name: "mallory", Role: api.RoleNone}, api.Caller{Name: "www-data", Role: api.RoleNone}
	told := map[string]bool{}
	for _, name := range []string{"b", "b/1", "b/9", "theirs", "theirs/1", "off", "draft", "none", "none/1", "", "a/b/c"} {
		for what, ask := range map[string]func(context.Context) error{
			"start": func(ctx context.Context) error {
				_, err := b.Start(ctx, stranger, api.RunRequest{Task: name, At: "never", Step: "x"})
				return err
			},
			"batch": func(ctx context.Context) error {
				_, err := b.StartBatch(ctx, stranger, api.BatchRequest{Tasks: []string{name}})
				return err
			},
			"mixed batch": func(ctx context.Context) error {
				_, err := b.StartBatch(ctx, starter, api.BatchRequest{Tasks: []string{"mine", name}})
				return err
			},
			"cancel": func(ctx context.Context) error {
				_, err := b.Cancel(ctx, stranger, name, api.CancelRequest{})
				return err
			},
			"continue": func(ctx context.Context) error {
				_, err := b.Continue(ctx, stranger, name, api.AgainRequest{})
				return err
			},
			"restart": func(ctx context.Context) error {
				_, err := b.Restart(ctx, stranger, name, api.AgainRequest{})
				return err
			},
		} {
			fault := wantCode(t, ask(t.Context()), api.CodeDenied)
			if fault.Code != api.CodeDenied {
				t.Errorf("%s %q", what, name)
			}
			told[strings.ReplaceAll(fault.Error(), "www-data", "mallory")] = true
		}
	}
	if len(told) != 1 {
		t.Errorf("what is told depends on what there is: %v", told)
	}
	for who, want := range map[*api.Caller]int{&stranger: 0, &starter: 1} {
		result, err := b.StartBatch(t.Context(), *who, api.BatchRequest{All: true})
		if err != nil || len(result.Runs) != want || want == 1 && (result.Runs[0].Task != "mine" || result.Runs[0].Run == nil) {
			t.Errorf("all of %s: %+v, %v", who.Name, result, err)
		}
		if result, err = b.StartBatch(t.Context(), *who, api.BatchRequest{Due: true}); err != nil || len(result.Runs) != 0 {
			t.Errorf("what is due of %s: %+v, %v", who.Name, result, err)
		}
	}
	// Its own it is told about.
	_, err := b.Start(t.Context(), starter, api.RunRequest{Task: "mine", Step: "x"})
	wantCode(t, err, api.CodeNotFound)
	_, err = b.Cancel(t.Context(), starter, "mine/99", api.CancelRequest{})
	wantCode(t, err, api.CodeNotFound)
	// Whoever reads is told whom to ask.
	_, err = b.Start(t.Context(), api.Caller{Name: "bert", Role: api.RoleReader}, api.RunRequest{Task: "theirs"})
	if fault := wantCode(t, err, api.CodeDenied); !strings.Contains(fault.Message, "anna") {
		t.Errorf("%+v", fault)
	}
}
