package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

// sweep is a world whose power is cut once, at some commit, and which goes on
// from there as a person would: what was not acknowledged is asked for again.
type sweep struct {
	*world
	crashed bool
}

// cut goes on after the cut, if it has come.
func (s *sweep) cut() bool {
	if !s.db.dead() {
		return false
	}
	s.crashed = true
	s.crash()
	s.start()
	return true
}

func (s *sweep) do(what string, f func() error) {
	s.t.Helper()
	for {
		err := f()
		switch {
		case err == nil:
			return
		case s.cut(), errors.Is(err, task.ErrStopping): // between two lives
		default:
			s.t.Fatalf("%s: %v", what, err)
		}
	}
}

func (s *sweep) submit(wish engine.Wish) (id task.RunID) {
	s.t.Helper()
	s.do("submit", func() error {
		run, err := s.e.Submit(s.t.Context(), wish)
		id = run.ID
		return err
	})
	return id
}

func (s *sweep) until(what string, cond func() bool) {
	s.t.Helper()
	for {
		s.bell.await(s.t, what, func() bool { return s.db.dead() || cond() })
		if !s.cut() {
			return
		}
	}
}

func (s *sweep) over(id task.RunID) engine.RunView {
	s.t.Helper()
	s.until("the run to end", func() bool { return !s.stored(id).Status.Alive() })
	return s.run(id)
}

func (s *sweep) want(id task.RunID, status task.RunStatus, reason string, steps string) {
	s.t.Helper()
	run := s.over(id)
	list, _, err := s.e.Steps(run, nil, 50)
	if err != nil {
		s.t.Fatal(err)
	}
	var got []string
	for _, one := range list {
		got = append(got, one.FullName()+" "+string(one.Status))
	}
	if run.Status != status || run.Reason != reason || strings.Join(got, ", ") != steps {
		s.t.Errorf("%s is %s (%s): %s\nwant %s (%s): %s", run.Ref(), run.Status, run.Reason, strings.Join(got, ", "), status, reason, steps)
	}
	if problem := recount(run, s.world.steps(id)); problem != nil {
		s.t.Errorf("%s: %v", run.Ref(), problem)
	}
}

// runs is how many runs of the task there are.
func (s *sweep) runs(name string) int {
	s.t.Helper()
	list, _, err := s.e.ListRuns(engine.RunQuery{Task: name, Limit: 100})
	if err != nil {
		s.t.Fatal(err)
	}
	return len(list)
}

// heldUntilCancelled ends when it is told to; what is cut off has no result.
func heldUntilCancelled(x *exec) task.Outcome { return x.untilEnded() }

var controls = map[string]func(s *sweep){
	"a batch under a lock": func(s *sweep) {
		a, b := def("a", step("a", 0)), def("b", step("b", 0))
		a.Locks, b.Locks, b.Priority = []string{"l"}, []string{"l"}, 9
		s.do("apply", func() error { return s.saves(a, b) })
		var name string
		s.do("batch", func() (err error) {
			name, _, err = s.e.SubmitBatch(s.t.Context(), engine.BatchWish{Kind: task.BatchRun, Tasks: []string{"a", "b", "a"}})
			return err
		})
		s.until("all to end", s.allEnded)
		list, _, err := s.e.ListRuns(engine.RunQuery{Batch: name, Limit: 100})
		if err != nil || len(list) != 3 {
			s.t.Fatalf("the batch has %d runs, %v", len(list), err)
		}
		for i, run := range list { // the newest first
			if run.Status != task.RunCompleted || i > 0 && list[i-1].StartedAt.Before(run.EndedAt) {
				s.t.Errorf("%s is %s, began at %s and ended at %s", run.Ref(), run.Status, run.StartedAt, run.EndedAt)
			}
		}
	},
	"a run for later": func(s *sweep) {
		at := s.clock.Now().Add(45 * time.Second)
		id := s.submit(engine.Wish{Task: "t", At: at})
		s.want(id, task.RunCompleted, "", "a completed, p completed, p/c1 completed, p/c2 completed, p/c3 completed, z completed")
		if run := s.run(id); run.StartedAt.Before(at) || s.runs("t") != 1 {
			s.t.Errorf("it began at %s, there are %d", run.StartedAt, s.runs("t"))
		}
	},
	"a step cancelled": func(s *sweep) {
		s.ctrl.on("a", heldUntilCancelled)
		id := s.submit(engine.Wish{Task: "t"})
		s.until("a to begin", func() bool { return s.world.steps(id)["a"].Status == task.StepRunning })
		s.cancelled(id, "a")
		s.want(id, task.RunIncomplete, "step a was cancelled by eve",
			"a cancelled, p completed, p/c1 completed, p/c2 completed, p/c3 completed, z completed")
	},
	"a step cancelled before its turn": func(s *sweep) {
		open := make(chan struct{})
		s.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(open) })
		id := s.submit(engine.Wish{Task: "t"})
		s.until("a to begin", func() bool { return s.world.steps(id)["a"].Status == task.StepRunning })
		s.cancelled(id, "z")
		close(open)
		s.want(id, task.RunIncomplete, "step z was cancelled by eve",
			"a completed, p completed, p/c1 completed, p/c2 completed, p/c3 completed, z cancelled")
	},
	"a planner cancelled": func(s *sweep) {
		s.ctrl.on("p/*", heldUntilCancelled)
		id := s.submit(engine.Wish{Task: "t"})
		s.until("p/c1 to begin", func() bool { return s.world.steps(id)["p/c1"].Status == task.StepRunning })
		s.cancelled(id, "p")
		s.want(id, task.RunIncomplete, "step p was cancelled by eve",
			"a completed, p cancelled, p/c1 cancelled, p/c2 ready, p/c3 ready, z completed")
	},
	"one step, and then the others": func(s *sweep) {
		id := s.submit(engine.Wish{Task: "t", Only: "z"})
		s.want(id, task.RunIncomplete, "only step z was asked for", "a ready, p ready, z completed")
		s.continued(id, engine.Again{})
		s.want(id, task.RunCompleted, "", "a completed, p completed, p/c1 completed, p/c2 completed, p/c3 completed, z completed")
	},
	"a continue from a step by today's definition": func(s *sweep) {
		s.ctrl.on("z", func(*exec) task.Outcome { return permanent })
		id := s.submit(engine.Wish{Task: "t"})
		s.want(id, task.RunFailed, "step z failed: no", "a completed, p completed, p/c1 completed, p/c2 completed, p/c3 completed, z failed")
		s.do("apply", func() error { return s.saves(def("t", step("a", 0), step("x", 1))) })
		s.continued(id, engine.Again{Latest: true, From: "x"})
		s.want(id, task.RunCompleted, "", "a completed, x completed")
		if n := s.ctrl.complete[runStep(id, "a")]; n > 1 && !s.crashed {
			s.t.Errorf("a completed %d times", n)
		}
	},
	"a restart from a step of a run with other settings": func(s *sweep) {
		own, err := s.e.Task("t")
		if err != nil {
			s.t.Fatal(err)
		}
		own.Steps = slices.Clone(own.Steps)
		own.Steps[2].Settings = raw(`{"own":1}`)
		s.leavesWord("a")
		var read string
		s.ctrl.on("z", func(x *exec) task.Outcome { read = s.reads(x, "a") + string(x.Work.Settings); return done })
		first := s.submit(engine.Wish{Task: "t", Own: &own, Set: raw(`{"z.own":1}`)})
		s.over(first)
		var second task.RunID
		s.do("restart", func() error {
			run, err := s.e.Restart(s.t.Context(), first, engine.Again{From: "z"})
			second = run.ID
			return err
		})
		s.want(second, task.RunCompleted, "", "a skipped, p skipped, z completed")
		if !strings.HasPrefix(read, `"a 1/`) || !strings.HasSuffix(read, `{"own":1}`) || s.runs("t") != 2 {
			s.t.Errorf("z had %s, there are %d runs", read, s.runs("t"))
		}
	},
}

// cancelled asks for a step to be cancelled until that is acknowledged, or it was
// so before the power went.
func (s *sweep) cancelled(id task.RunID, step string) {
	s.t.Helper()
	s.do("cancel "+step, func() error {
		_, err := s.e.CancelStep(s.t.Context(), id, step, "eve")
		if errors.Is(err, task.ErrState) && s.crashed && s.world.steps(id)[step].Status == task.StepCancelled {
			return nil
		}
		return err
	})
}

func (s *sweep) continued(id task.RunID, a engine.Again) {
	s.t.Helper()
	s.do("continue", func() error { _, err := s.e.Continue(s.t.Context(), id, a); return err })
}

// TestACrashAtEveryCommitOfControl cuts the power at each commit of everything
// that people can ask for.
func TestACrashAtEveryCommitOfControl(t *testing.T) {
	for name, scenario := range controls {
		t.Run(name, func(t *testing.T) {
			for k, crashed := 0, true; crashed; k++ {
				t.Run(fmt.Sprint("commit ", k), func(t *testing.T) {
					s := &sweep{world: newWorld(t, func(c *engine.Config) { c.ControllerLimits = map[string]int{"p": 1} })}
					s.clock.leap = true
					s.ctrl.plansInto("p", into(3, nil))
					s.start()
					s.apply(parallel(2, def("t", step("a", 0), step("p", 1), step("z", 2, attempts(1)))))
					s.db.set(func(d *db) { d.left = k })
					scenario(s)
					crashed = s.crashed
				})
				if k > 100 {
					t.Fatal("it does not end")
				}
			}
		})
	}
}
