package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

func limited(t *testing.T, limits map[string]int, tasks ...task.Task) *world {
	w := newWorld(t, func(c *engine.Config) { c.ControllerLimits, c.MaxRuns = limits, 20 })
	w.start()
	w.apply(tasks...)
	return w
}

func by(controller string) func(*task.Step) { return func(s *task.Step) { s.Controller = controller } }

// running waits until so many steps are carried out and says so if it becomes more.
func (w *world) running(n int) {
	w.t.Helper()
	w.bell.await(w.t, fmt.Sprint(n, " steps to run"), func() bool { running, _ := w.ctrl.snapshot(); return running == n })
}

// A limit holds over all runs; who waits is ready, says for what, and gets its
// place in the order in which it came.
func TestALimitOfAController(t *testing.T) {
	w := limited(t, map[string]int{"dump": 2}, def("t", step("a", 0, by("dump"))), def("free", step("f", 0)))
	open := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(open) })
	var ids []task.RunID
	for i := range 4 {
		ids = append(ids, w.submit("t"))
		if i < 2 {
			w.running(i + 1)
		} else {
			w.bell.await(t, "it to stand in line", func() bool { w.bell.ring(); return w.steps(ids[i])["a"].Note != "" })
		}
	}
	if s := w.steps(ids[3])["a"]; s.Status != task.StepReady || s.Note != "waits for a place: 2 of dump are carried out (controller_limits)" {
		t.Errorf("the last one is %s: %q", s.Status, s.Note)
	}
	w.ends(w.submit("free"), task.RunCompleted)
	w.cancel(ids[2], "eve")
	w.ends(ids[2], task.RunCancelled)
	open <- struct{}{}
	w.began("a#1")
	close(open)
	for _, id := range []task.RunID{ids[0], ids[1], ids[3]} {
		w.ends(id, task.RunCompleted)
	}
	if _, most := w.ctrl.snapshot(); most > 3 { // free's too
		t.Errorf("%d ran at once", most)
	}
}

// Plans count, and so does each planned step; a run whose other steps can go on
// does not wait for the one that stands in line.
func TestALimitOfAPlugin(t *testing.T) {
	w := limited(t, map[string]int{"x/*": 1, "x/b": 5},
		parallel(4, def("t", step("p", 0, by("x/a")), step("b", 0, by("x/b")), step("c", 0))))
	w.ctrl.plansInto("x/a", nil) // controllers are looked up by their own names here
	w.ctrl.plansInto("p", into(5, nil))
	open := make(chan struct{})
	w.ctrl.on("b", func(x *exec) task.Outcome { return x.gate(open) })
	first := w.submit("t")
	w.step(first, "c", task.StepCompleted)
	second := w.submit("t")
	w.step(second, "c", task.StepCompleted)
	close(open)
	w.ends(first, task.RunCompleted)
	w.ends(second, task.RunCompleted)
	if running, most := w.ctrl.snapshot(); running != 0 || most > 3 {
		t.Errorf("%d ran at once", most)
	}
	w.ctrl.mu.Lock()
	defer w.ctrl.mu.Unlock()
	if w.ctrl.mostOf["x"] != 1 {
		t.Errorf("%d of the plugin ran at once", w.ctrl.mostOf["x"])
	}
}

// A place is free again however the attempt ended: it failed and waits, was
// cancelled, alone or with its run, or the daemon stopped or died.
func TestAPlaceIsFreeAgain(t *testing.T) {
	for name, end := range map[string]func(w *world, id task.RunID){
		"a pause": func(w *world, id task.RunID) { w.step(id, "a", task.StepWaiting) },
		"a cancel": func(w *world, id task.RunID) {
			w.began("a#1")
			w.cancel(id, "")
		},
		"a step's cancel": func(w *world, id task.RunID) {
			w.began("a#1")
			w.cancelStep(id, "a")
		},
		"a stop": func(w *world, id task.RunID) {
			w.began("a#1")
			w.stop()
			w.ctrl.on("a", nil)
			w.reopen()
			w.start()
		},
		"a crash": func(w *world, id task.RunID) {
			w.began("a#1")
			w.ctrl.on("a", nil)
			w.crash()
			w.start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := limited(t, map[string]int{"dump": 1}, def("t", step("a", 0, by("dump"))), def("u", step("b", 0, by("dump"))))
			w.ctrl.on("a", func(x *exec) task.Outcome {
				if name == "a pause" {
					return task.Outcome{Kind: task.OutcomeFailed, Message: "later", RetryAfter: time.Hour}
				}
				return x.untilEnded()
			})
			id := w.submit("t")
			if name != "a pause" {
				w.began("a#1")
			}
			other := w.submit("u")
			end(w, id)
			w.ends(other, task.RunCompleted)
		})
	}
}

// Whoever waits holds nothing back from its own run's other steps.
func TestALimitAndMaxParallel(t *testing.T) {
	w := limited(t, map[string]int{"dump": 1}, def("t", step("a", 0, by("dump")), step("b", 0)), def("u", step("u", 0, by("dump"))))
	open, b := make(chan struct{}), make(chan struct{})
	w.ctrl.on("u", func(x *exec) task.Outcome { return x.gate(open) })
	w.ctrl.on("b", func(x *exec) task.Outcome { return x.gate(b) })
	first := w.submit("u")
	w.began("u#1")
	id := w.submit("t")
	w.began("b#1") // in the place of a, of which there is one
	third := w.submit("u")
	close(open)
	w.ends(first, task.RunCompleted)
	w.ends(third, task.RunCompleted) // a cannot take what it stood in line for
	close(b)
	w.ends(id, task.RunCompleted)
	if calls := strings.Join(w.ctrl.list(), " "); calls != "u#1 b#1 u#1 a#1" {
		t.Errorf("calls were %s", calls)
	}
}
