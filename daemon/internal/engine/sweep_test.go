package engine_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

// TestACrashAtEveryCommit lets the first k commits of a run through and cuts
// the power then, for each k that there is. Afterwards the run must come to its
// end as if nothing had happened.
func TestACrashAtEveryCommit(t *testing.T) {
	for _, limit := range []int{1, 3} {
		for k, crashed := 0, true; crashed; k++ {
			t.Run(fmt.Sprintf("parallel %d, commit %d", limit, k), func(t *testing.T) { crashed = crashAt(t, limit, k) })
			if k > 200 {
				t.Fatal("the run does not end")
			}
		}
	}
}

func sweepTask(limit int) task.Task {
	return parallel(limit, def("t",
		step("a", 0), step("r", 0), step("p", 0), step("c", 1), step("q", 2), step("z", 3),
	))
}

func crashAt(t *testing.T, limit, k int) (crashed bool) {
	w := newWorld(t)
	w.clock.leap = true
	w.ctrl.onFail("r", 2, faulty)
	w.ctrl.plansInto("p", func(x *exec, add func([]task.PlannedStep) error) task.Outcome {
		for i := range 4 {
			s := task.PlannedStep{Name: fmt.Sprintf("c%d", i+1), Order: i / 2, Weight: float64(i + 1), Settings: raw(`{"i":1}`)}
			if err := add([]task.PlannedStep{s}); err != nil {
				return task.Outcome{Kind: task.OutcomeFailed, Message: err.Error()}
			}
		}
		return done
	})
	w.ctrl.onFail("p/c2", 1, faulty)
	w.ctrl.plansInto("q", into(0, nil))
	var mu sync.Mutex
	acknowledged := 0
	w.ctrl.effects["c"] = task.Resumable
	w.ctrl.on("c", func(x *exec) task.Outcome {
		mu.Lock()
		defer mu.Unlock()
		from := len(x.Work.Checkpoint)
		if from < acknowledged {
			t.Errorf("attempt %d goes on from %d, %d was acknowledged", x.Attempt.Number, from, acknowledged)
		}
		for i := from; i < 3; i++ {
			if err := x.Reporter.Checkpoint([]byte(strings.Repeat("x", i+1))); err != nil {
				return task.Outcome{Kind: task.OutcomeNoResult, Message: err.Error()}
			}
			acknowledged = i + 1
		}
		if err := x.Output("o", raw("3")); err != nil {
			return faulty
		}
		return done
	})
	w.start()
	w.apply(sweepTask(limit))
	w.db.set(func(d *db) { d.left = k + 1 }) // the submit is the first
	id := w.submit("t")
	w.until(id, "the end, or the crash", func(run engine.RunView) bool { return !run.Status.Alive() })
	if crashed = w.db.dead(); crashed {
		w.crash()
		before, committed, calls := w.run(id), w.steps(id), len(w.ctrl.list())
		p := &tape{}
		watched := make(chan error, 1)
		w.start()
		go func() { watched <- w.e.Watch(t.Context(), id, p.add) }()
		w.wait(id)
		if err := <-watched; err != nil {
			t.Error(err)
		}
		p.check(t, id)
		if p.events[0].Run.Progress < before.Progress {
			t.Errorf("progress fell from %v to %v over the crash", before.Progress, p.events[0].Run.Progress)
		}
		after := w.ctrl.list()[calls:]
		for name, s := range committed {
			for _, call := range after {
				if s.Status == task.StepCompleted && strings.HasPrefix(strings.TrimPrefix(call, "plan "), name+"#") {
					t.Errorf("%s had completed before the crash and was called again: %v", name, after)
				}
			}
		}
	}
	run := w.ends(id, task.RunCompleted)
	if run.Total != 9 || run.Completed != 9 {
		t.Errorf("the run is %+v", run.Run)
	}
	seen := map[string]bool{}
	for _, call := range w.ctrl.list() {
		if seen[call] && !strings.HasPrefix(call, "p/") {
			t.Errorf("%s was called twice: attempts must grow", call)
		}
		seen[call] = true
	}
	steps := w.steps(id)
	for name, s := range steps {
		if s.Position.Sub == 0 && s.PlanDone {
			continue
		}
		if n := w.ctrl.complete[runStep(id, name)]; n < 1 || n > 2 || n > 1 && !crashed {
			t.Errorf("%s completed %d times", name, n)
		}
	}
	if len(steps) != 10 {
		t.Errorf("there are %d steps: %s", len(steps), w.statuses(id))
	}
	return crashed
}
