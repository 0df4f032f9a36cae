package app

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// listed is a backend with three tasks, of which b has two runs that failed.
func listed(t *testing.T) *backend {
	t.Helper()
	clock := newHandClock(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
	a := bareApp(t, t.TempDir(), clock)
	a.options.clock = clock
	t.Cleanup(func() { a.close(t) })
	for i, name := range []string{"b", "a", "c"} {
		def := task.Task{Name: name, Steps: []task.Step{{Name: "s", Controller: "s"}},
			Schedules: []task.Schedule{task.Schedule{Name: "nightly", Rate: time.Duration(i+1) * time.Hour, Timezone: "UTC"}.WithDefaults()}}
		if _, err := a.engine.Apply(t.Context(), engine.ApplyWish{Tasks: []task.Task{def}, By: "ann"}); err != nil {
			t.Fatal(err)
		}
	}
	err := a.store.Update(t.Context(), func(tx *store.Tx) error {
		for id := task.RunID(1); id <= 2; id++ {
			run := task.Run{ID: id, Task: "b", Number: uint64(id), Status: task.RunFailed, DefinitionVersion: 1, StartedBy: "ann",
				CreatedAt: clock.Now().Add(time.Duration(id) * time.Minute)}
			if err := tx.PutRun(run); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return &backend{a}
}

func TestListsOverThePort(t *testing.T) {
	b := listed(t)
	names := func(q api.TaskQuery) (all string, total int) {
		t.Helper()
		for {
			page, err := b.Tasks(t.Context(), q)
			if err != nil || page.Total == nil {
				t.Fatalf("%+v: %+v, %v", q, page, err)
			}
			for _, item := range page.Items {
				all += item.Name
				if item.NextDue == nil || (item.LastRun != nil) != (item.Name == "b") {
					t.Errorf("%s is due at %v and has %v", item.Name, item.NextDue, item.LastRun)
				}
			}
			if total, q.After = *page.Total, page.Next; q.After == "" {
				return all, total
			}
		}
	}
	for want, q := range map[string]api.TaskQuery{
		"abc": {Limit: 1}, "bac": {Sort: "next", Limit: 2}, "cab": {Sort: "-next", Limit: 1}, "b": {Result: "failed"}, "ac": {Name: "?", Result: "never", Sort: "name"},
		"": {Name: "[ac]*"}, // a bracket is a letter
	} {
		if got, total := names(q); got != want || total != len(want) {
			t.Errorf("%+v: %s of %d, want %s", q, got, total, want)
		}
	}
	page, err := b.Runs(t.Context(), api.RunQuery{Task: "b", StartedBy: "ann", Limit: 1})
	if err != nil || len(page.Items) != 1 || page.Items[0].Ref != "b/2" || page.Next != "2" {
		t.Errorf("%+v, %v", page, err)
	}
	page, err = b.Runs(t.Context(), api.RunQuery{Status: "ended", After: page.Next})
	if err != nil || len(page.Items) != 1 || page.Items[0].Ref != "b/1" || page.Next != "" {
		t.Errorf("%+v, %v", page, err)
	}
}

// Who mistypes is told what there is.
func TestListsNameTheWordsThatTheyKnow(t *testing.T) {
	b := listed(t)
	check := func(err error, says string) {
		t.Helper()
		if e, ok := errors.AsType[*api.Error](err); !ok || e.Code != api.CodeInvalid || !strings.Contains(e.Message, says) {
			t.Errorf("want %q, got %v", says, err)
		}
	}
	for says, q := range map[string]api.TaskQuery{
		`status "runing" is not known; it is one of: draft, disabled, paused, scheduled, ready, queued, running`:   {Status: "runing"},
		`sort "date" is not known; it is one of: name, created, updated, last_run, next`:                           {Sort: "date"},
		`result "ok" is not known; it is one of: queued, running, completed, failed, incomplete, cancelled, never`: {Result: "ok"},
		`"x" is no place to go on from`: {After: "x"},
	} {
		_, err := b.Tasks(t.Context(), q)
		check(err, says)
	}
	for says, q := range map[string]api.RunQuery{
		`status "done" is not known; it is one of: queued, running, completed, failed, incomplete, cancelled, alive, ended, stuck`: {Status: "done"},
		`trigger "cron" is not known; it is one of: manual, restart, schedule, on_missed, on_success, on_failure, on_end`:          {Trigger: "cron"},
		`"0" is no place to go on from`: {After: "0"},
	} {
		_, err := b.Runs(t.Context(), q)
		check(err, says)
	}
}
