package engine_test

import (
	"fmt"
	"testing"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

// TestACrashAtEveryCommitOfDataFlow cuts the power after each commit of a run
// whose steps depend on each other's outputs and statuses. Every step must come to
// what it would have come to, given what it would have been given.
func TestACrashAtEveryCommitOfDataFlow(t *testing.T) {
	for k, crashed := 0, true; crashed; k++ {
		t.Run(fmt.Sprintf("commit %d", k), func(t *testing.T) { crashed = crashDataFlow(t, k) })
		if k > 200 {
			t.Fatal("the run does not end")
		}
	}
}

func crashDataFlow(t *testing.T, k int) (crashed bool) {
	w := newWorld(t, withExpressions)
	w.clock.leap = true
	d := parallel(2, def("t",
		step("a", 0), step("bad", 0, attempts(1)),
		step("no", 1, when(`steps.a.outputs.rows > 100`)),
		step("p", 1, when(`steps.bad.status == "failed"`), settings(`{"rows": "${{ steps.a.outputs.rows }}"}`)),
		step("again", 2, attempts(3), settings(`{"of": "${{ steps.no.status }}, ${{ steps.p.outputs.sum }}", "rows": "${{ steps.a.outputs.rows + 1 }}"}`)),
		step("skipped", 3, when(`steps.again.outputs.done == false`)),
		step("last", 4, when(`steps.skipped.outputs.x == nil and steps.again.outputs.done`), settings(`{"from": "${{ steps.again.outputs }}"}`)),
	))
	d.OnEnd = []task.Step{step("end", 0, when(`hook.steps.last.status == "completed"`), settings(`{"rows": "${{ hook.steps.a.outputs.rows }}"}`))}
	w.ctrl.on("a", outputs(map[string]string{"rows": "7"}))
	w.ctrl.on("bad", func(*exec) task.Outcome { return faulty })
	w.ctrl.plansInto("p", into(2, nil))
	w.ctrl.on("again", func(x *exec) task.Outcome {
		if x.n == 1 {
			return faulty
		}
		return outputs(map[string]string{"done": "true"})(x)
	})
	w.start()
	w.apply(d)
	w.db.set(func(d *db) { d.left = k + 1 }) // the submit is the first
	id := w.submit("t")
	w.until(id, "the end, or the crash", func(run engine.RunView) bool { return !run.Status.Alive() })
	if crashed = w.db.dead(); crashed {
		w.crash()
		w.start()
	}
	run := w.ends(id, task.RunFailed) // because of bad
	if run.Skipped != 2 || run.Failed != 1 {
		t.Errorf("skipped %d, failed %d", run.Skipped, run.Failed)
	}
	w.wantStatus(id, map[string]task.StepStatus{"a": "completed", "bad": "failed", "no": "skipped", "p": "completed",
		"again": "completed", "skipped": "skipped", "last": "completed"})
	w.bell.await(t, "the hook to end, or the crash", func() bool {
		hook, err := w.e.Find("t/2")
		return w.db.dead() || err == nil && !hook.Status.Alive()
	})
	if !w.db.dead() {
		for step, want := range map[string]string{
			"p": `{"rows":7}`, "again": `{"of":"skipped, ","rows":8}`, "last": `{"from":{"done":true}}`, "end": `{"rows":7}`,
		} {
			if got := w.given(step); got != want {
				t.Errorf("step %s was given %s, want %s", step, got, want)
			}
		}
	}
	return crashed || w.db.dead()
}
