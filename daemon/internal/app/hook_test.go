package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stepd/stepd/daemon/internal/api"
)

// The hooks of a run that fails are carried out by a real daemon and a real
// plugin: they are told of the run, read what it has left, and are seen.
func TestHooksOfARunThatFails(t *testing.T) {
	s := openScheduled(t, `name: backup
settings: {read: dump}
on_success: [{name: cheer, controller: told}]
on_failure: [{name: dump, controller: told}, {name: fails, controller: told, settings: {fail: true, read: ""}}]
on_end: [{controller: told}]
steps:
- {name: dump, controller: told, settings: {say: 42 tables, read: ""}}
- {name: ship, controller: told, settings: {fail: true, read: ""}}`)
	failed := begin(t, s.Client, "backup")
	run := s.ends(failed, "failed")
	if fmt.Sprint(run.Hooks) != "[2 3]" || run.HookOf != 0 {
		t.Fatalf("the run is %+v", run)
	}
	for ref, want := range map[string]string{"backup/2": "failed on_failure", "backup/3": "completed on_end"} {
		status, trigger, _ := strings.Cut(want, " ")
		hook := s.ends(ref, status)
		if hook.HookOf != 1 || hook.Trigger != trigger || len(hook.Hooks) > 0 {
			t.Errorf("%s is %+v", ref, hook)
		}
		detail, err := s.Run(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		left := map[string]string{}
		for _, o := range detail.Outputs {
			left[o.Name] = string(o.Value)
		}
		if left["hook_of"] != fmt.Sprintf("%q", "backup/1 (1) failed: "+run.Reason) || left["read"] != `"42 tables"` || run.Reason == "" {
			t.Errorf("the steps of %s left %v", ref, left)
		}
	}
	task, err := s.Task(t.Context(), "backup")
	if err != nil || len(task.OnSuccess) != 1 || len(task.OnFailure) != 2 || task.OnEnd[0].Name != "told" || task.LastRun == nil || task.LastRun.Ref != failed {
		t.Errorf("the task is %+v, %v", task, err)
	}
	var said []string
	err = s.Logs(t.Context(), failed, api.LogQuery{}, func(l api.LogLine) error {
		said = append(said, l.Message)
		return nil
	})
	if text := strings.Join(said, "\n"); err != nil || !strings.HasSuffix(text, "on_failure follows: backup/2\non_end follows: backup/3") {
		t.Errorf("the run's log is %s, %v", text, err)
	}
	if again, err := s.Run(t.Context(), failed); err != nil || again.Status != "failed" || again.Reason != run.Reason {
		t.Errorf("the run is %+v, %v", again.Run, err)
	}
}
