package engine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

func withHook(d task.Task) task.Task {
	d.OnMissed = []task.Step{step("h", 0), step("mail", 1)}
	d.Expect = &task.Expect{By: "03:30", Timezone: "Asia/Tokyo"}
	return d
}

// A hook's run carries out the hook's steps, wherever its definition is read.
func TestAHookRunsItsOwnSteps(t *testing.T) {
	w, _ := withLedger(t, withHook(def("t", step("a", 0), step("b", 1), step("c", 2))))
	w.ctrl.on("h", func(x *exec) task.Outcome { _ = x.Output("made", raw(`"h"`)); return done })
	w.ctrl.on("mail", func(x *exec) task.Outcome {
		if items, _, err := x.Inputs("h", "made", ""); err != nil || len(items) != 1 {
			t.Errorf("the output of h is %v, %v", items, err)
		}
		if _, _, err := x.Inputs("a", "made", ""); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("the task's own steps are seen: %v", err)
		}
		if x.n == 1 {
			return task.Outcome{Kind: task.OutcomePermanent, Message: "no"}
		}
		return done
	})
	id := w.fires("t", due(hook))
	w.ends(id, task.RunFailed)
	w.wantCalls("h#1", "mail#1")
	if line := w.log.of("t/1")[0].Message; line != "the run starts, because no run had completed by 2026-03-08 11:30 (on_missed)" {
		t.Errorf("the log begins with %q", line)
	}
	w.goOn(id)
	run := w.ends(id, task.RunCompleted)
	if run.Total != 2 || run.Completed != 2 {
		t.Errorf("the run is %+v", run.Run)
	}
	tops, _, err := w.e.TopSteps(run, 10)
	if err != nil || len(tops) != 2 || tops[0].Top != "h" || tops[1].Controller != "mail" {
		t.Errorf("its steps are %v, %v", tops, err)
	}
	outputs := ""
	if err := w.e.Outputs(run.Run, func(step, name string, _ json.RawMessage) { outputs += step + "." + name }); err != nil || outputs != "h.made" {
		t.Errorf("its outputs are %q, %v", outputs, err)
	}
	w.apply(withHook(def("t", step("z", 0))))
	again, err := w.e.Restart(t.Context(), id, engine.Again{By: "ann"})
	if err != nil || again.Trigger != task.TriggerOnMissed || again.RestartOf != 1 {
		t.Fatalf("restarted it is %+v, %v", again, err)
	}
	if run := w.ends(again.ID, task.RunFailed); run.Total != 2 {
		t.Errorf("restarted it is %+v", run.Run)
	}
	w.wantCalls("h#1", "mail#1", "mail#2", "h#1", "mail#1")
	w.apply(def("u", step("a", 0)))
	if _, err := w.submitIn("u", due(hook)); !errors.Is(err, task.ErrInvalid) {
		t.Errorf("a hook without steps: %v", err)
	}
}

// Who asks how the task fares is not told of its hooks.
func TestTheNewestRunIsNotAHooks(t *testing.T) {
	w, _ := withLedger(t, withHook(def("t", step("a", 0))))
	newest := func() string {
		t.Helper()
		run, err := w.e.Find("t")
		if err != nil {
			t.Fatal(err)
		}
		page, err := w.e.ListTasks(engine.TaskQuery{Limit: 10})
		switch last := page.Items[0].Last; {
		case err != nil:
			t.Error(err)
		case last == nil && !run.Cause().Hook(), last != nil && last.Ref() != run.Ref():
			t.Errorf("the task's last run is %v, found was %s", last, run.Ref())
		}
		return run.Ref()
	}
	w.ends(w.fires("t", due(hook)), task.RunCompleted)
	w.ends(w.fires("t", due(hook)), task.RunCompleted)
	if ref := newest(); ref != "t/2" {
		t.Errorf("with hooks only it is %s", ref)
	}
	w.ends(w.submit("t"), task.RunCompleted)
	w.ends(w.fires("t", due(hook)), task.RunCompleted)
	w.ends(w.fires("t", due(hook)), task.RunCompleted)
	if ref := newest(); ref != "t/3" {
		t.Errorf("it is %s", ref)
	}
	if run, err := w.e.Find("t/5"); err != nil || !run.Cause().Hook() {
		t.Errorf("by its number: %+v, %v", run.Run, err)
	}
}

// Hooks run beside serial runs, and neither waits for the other.
func TestHooksCountForNoPolicy(t *testing.T) {
	w, _ := withLedger(t, withHook(def("t", step("a", 0))))
	w.ctrl.on("h", (*exec).untilEnded)
	id := w.fires("t", due(hook))
	w.began("h#1")
	w.ends(w.fires("t", due(serial)), task.RunCompleted)
	w.ends(w.fires("t", due(replaces)), task.RunCompleted)
	if run := w.run(id); run.Status != task.RunRunning || run.Cancel != nil {
		t.Errorf("the hook is %+v", run.Run)
	}
}

// Hooks neither take the files of the run that failed, nor its place among
// those that are kept.
func TestHooksDoNotPushOutRuns(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.KeepRuns = 2 })
	w.start()
	w.apply(withHook(def("t", step("a", 0))))
	w.ctrl.on("a", func(*exec) task.Outcome { return task.Outcome{Kind: task.OutcomePermanent, Message: "no"} })
	gone := func(refs ...string) {
		t.Helper()
		w.bell.await(t, fmt.Sprint(refs, " to be forgotten"), func() bool {
			for _, ref := range refs {
				if _, err := w.e.Find(ref); !errors.Is(err, task.ErrNotFound) {
					return false
				}
			}
			return true
		})
	}
	failed := w.submit("t") // t/1
	w.ends(failed, task.RunFailed)
	w.ends(w.fires("t", due(hook)), task.RunCompleted) // t/2
	for range 3 {                                      // to t/5
		w.ends(w.fires("t", due(hook)), task.RunCompleted)
	}
	gone("t/2", "t/3")
	if run := w.run(failed); run.Stripped || w.spaces.gone()["t/1"] {
		t.Errorf("a hook took the files of %s", run.Ref())
	}
	w.goOn(failed)
	w.ends(failed, task.RunFailed)
	w.ends(w.submit("t"), task.RunFailed) // t/6, behind whose hooks t/1 lies
	w.bell.await(t, "the older one's files to go", func() bool { return w.spaces.gone()["t/1"] })
	w.ends(w.submit("t"), task.RunFailed) // t/7
	gone("t/1")
	for _, ref := range []string{"t/4", "t/5", "t/6", "t/7"} {
		if _, err := w.e.Find(ref); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

// TestHookThatWasOvertakenLeavesNoDirectory holds that a hook which fails after a
// newer run has completed leaves nothing that nobody would remove.
func TestHookThatWasOvertakenLeavesNoDirectory(t *testing.T) {
	w, _ := withLedger(t, withHook(def("t", step("a", 0))))
	open := make(chan struct{})
	w.ctrl.on("h", func(x *exec) task.Outcome {
		<-open
		return task.Outcome{Kind: task.OutcomePermanent, Message: "no"}
	})
	h := w.fires("t", due(hook))
	w.began("h#1")
	w.ends(w.submit("t"), task.RunCompleted)
	close(open)
	w.ends(h, task.RunFailed)
	w.bell.await(t, "its directory to go", func() bool { return w.spaces.gone()["t/1"] })
}
