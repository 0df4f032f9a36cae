package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

// count of the run's lines that have the words.
func (w *world) count(ref, words string) (n int) {
	for _, line := range w.log.of(ref) {
		if strings.Contains(line.Message, words) {
			n++
		}
	}
	return n
}

func TestAStepWithoutASignIsShownAsStuck(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.StuckAfter = 10 * time.Minute })
	w.start()
	w.apply(def("t", step("a", 0)))
	open, moved := make(chan struct{}), make(chan struct{})
	said := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome {
		x.Progress(task.Progress{Done: 1, Total: 4, Note: "table actor"})
		close(said)
		<-moved
		x.Log(task.LogInfo, "it goes on", nil)
		return x.gate(open)
	})
	id := w.submit("t")
	p, end := w.watch(id)
	<-said
	begun := w.clock.Now()
	w.clock.awaitTimer(t, 10*time.Minute)
	w.clock.advance(9 * time.Minute)
	if s := w.steps(id)["a"]; s.Stuck || !s.IdleSince.Equal(begun) || s.LastSaid != "table actor" || !s.LastSaidAt.Equal(begun) {
		t.Errorf("after 9 minutes it is %+v", s)
	}
	w.clock.advance(time.Minute)
	w.bell.await(t, "it to be stuck", func() bool { w.bell.ring(); return w.run(id).Stuck && w.count("t/1", "may be stuck") == 1 })
	s := w.steps(id)["a"]
	if !s.Stuck || !s.IdleSince.Equal(begun) {
		t.Errorf("it is %+v", s)
	}
	if !w.logged("t/1", "warn", "a", "no sign of progress for 10m0s; it last said: table actor") {
		t.Errorf("the log has %v", w.log.of("t/1"))
	}
	w.clock.advance(time.Hour) // it is told once
	close(moved)
	w.bell.await(t, "it to move", func() bool {
		w.bell.ring()
		return !w.run(id).Stuck && w.count("t/1", "it moves again, after 1h10m0s") == 1
	})
	if s := w.steps(id)["a"]; s.LastSaid != "it goes on" || !s.IdleSince.Equal(w.clock.Now()) {
		t.Errorf("it is %+v", s)
	}
	w.clock.awaitTimer(t, 10*time.Minute)
	w.clock.advance(11 * time.Minute) // and again
	w.bell.await(t, "it to be stuck again", func() bool { w.bell.ring(); return w.count("t/1", "may be stuck") == 2 })
	close(open)
	run := w.ends(id, task.RunCompleted)
	if run.Stuck || w.steps(id)["a"].Stuck {
		t.Error("what has ended is not stuck")
	}
	end()
	stuck, free := 0, 0
	for _, e := range p.events {
		if e.Kind == engine.EventStep && e.Step.Status == task.StepRunning {
			if e.Step.Stuck {
				stuck++
			} else {
				free++
			}
		}
	}
	if stuck != 2 || free < 1 {
		t.Errorf("events told of %d times stuck and %d times not", stuck, free)
	}
}

func TestAStepSaysHowLongItMayBeSilent(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.StuckAfter = time.Minute })
	w.start()
	w.apply(parallel(3, def("t", step("patient", 0, limits(task.Limits{StuckAfter: time.Hour})), step("usual", 0), step("p", 0))))
	open := make(chan struct{})
	for _, name := range []string{"patient", "usual", "p/c1"} {
		w.ctrl.on(name, func(x *exec) task.Outcome { return x.gate(open) })
	}
	w.ctrl.plansInto("p", into(1, nil))
	id := w.submit("t")
	for _, call := range []string{"patient#1", "usual#1", "p/c1#1"} {
		w.began(call)
	}
	w.clock.awaitTimer(t, time.Hour)
	w.clock.advance(2 * time.Minute)
	w.bell.await(t, "two to be stuck", func() bool { w.bell.ring(); return w.count("t/1", "may be stuck") == 2 })
	got := ""
	for _, name := range []string{"patient", "usual", "p", "p/c1"} {
		got += fmt.Sprintf("%s=%v ", name, w.steps(id)[name].Stuck)
	}
	if got != "patient=false usual=true p=false p/c1=true " {
		t.Error(got)
	}
	close(open)
	w.ends(id, task.RunCompleted)
}

// The attempt that follows a crash has its time again, and is told of by itself.
func TestStuckThroughACrash(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.StuckAfter = time.Minute })
	w.start()
	w.apply(def("t", step("a", 0)))
	open := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(open) })
	id := w.submit("t")
	w.began("a#1")
	w.clock.awaitTimer(t, time.Minute)
	w.clock.advance(time.Minute)
	w.bell.await(t, "it to be stuck", func() bool { w.bell.ring(); return w.run(id).Stuck })
	w.crash()
	if w.run(id).Stuck {
		t.Error("nobody carries it out, and it is stuck")
	}
	w.start()
	w.began("a#2")
	if s := w.steps(id)["a"]; s.Stuck || !s.IdleSince.Equal(w.clock.Now()) {
		t.Errorf("it is %+v", s)
	}
	w.clock.awaitTimer(t, time.Minute)
	w.clock.advance(time.Minute)
	w.bell.await(t, "it to be stuck", func() bool { w.bell.ring(); return w.run(id).Stuck })
	close(open)
	w.ends(id, task.RunCompleted)
}

// What an attempt said last is there after the end, and after a restart of the
// daemon; so are the attempts before it.
func TestWhatAStepSaidIsKept(t *testing.T) {
	w := started(t, def("t", step("a", 0, attempts(2)), step("p", 1), step("b", 2, attempts(1))))
	w.clock.leap = true
	w.ctrl.on("a", func(x *exec) task.Outcome {
		x.Progress(task.Progress{Done: float64(x.n), Total: 8, Note: fmt.Sprint("try ", x.n), Counters: map[string]int64{"rows": int64(x.n)}})
		if x.n == 1 {
			return task.Outcome{Kind: task.OutcomeFailed, Message: strings.Repeat("x", 2000)}
		}
		return done
	})
	w.ctrl.plansInto("p", into(1, nil))
	w.ctrl.on("p/c1", func(x *exec) task.Outcome { x.Progress(task.Progress{Note: "child"}); return done })
	w.ctrl.on("b", func(x *exec) task.Outcome { x.Progress(task.Progress{Done: 1, Total: 4}); return faulty })
	id := w.submit("t")
	w.ends(id, task.RunFailed)
	look := func() {
		t.Helper()
		all := w.steps(id)
		a, b := all["a"], all["b"]
		if a.Note != "try 2" || a.Counters["rows"] != 2 || a.Fraction != 1 || len(a.Tried) != 1 {
			t.Errorf("a is %+v", a)
		}
		if one := a.Tried[0]; one.Number != 1 || one.Reason != task.ReasonError || len(one.Error) != task.MaxTriedError || one.EndedAt.Before(one.At) {
			t.Errorf("its first attempt is %+v", one)
		}
		if b.Fraction != 0.25 || all["p/c1"].Note != "child" {
			t.Errorf("b is %+v, p/c1 %+v", b, all["p/c1"])
		}
	}
	look()
	w.crash()
	look()
	w.start()
	w.ctrl.on("b", nil)
	w.goOn(id)
	w.ends(id, task.RunCompleted)
	if b := w.steps(id)["b"]; len(b.Tried) != 1 || b.Tried[0].Error != "no luck" || b.Note != "" || b.Fraction != 1 {
		t.Errorf("b is %+v", b)
	}
}

func TestOnlySoManyAttemptsAreKept(t *testing.T) {
	w := started(t, def("t", step("a", 0, attempts(30))))
	w.clock.leap = true
	w.ctrl.onFail("a", 29, faulty)
	id := w.submit("t")
	w.ends(id, task.RunCompleted)
	if s := w.steps(id)["a"]; len(s.Tried) != task.MaxTried || s.Tried[0].Number != 10 || s.Tried[19].Number != 29 {
		t.Errorf("%d attempts are kept: %+v", len(s.Tried), s.Tried)
	}
}

func TestDetailedAndSimpleLogs(t *testing.T) {
	for _, detail := range []task.Detail{task.Simple, task.Detailed} {
		for _, where := range []string{"daemon", "task"} {
			w := newWorld(t, func(c *engine.Config) {
				if where == "daemon" {
					c.Detail = detail
				} else {
					c.Detail = map[task.Detail]task.Detail{task.Simple: task.Detailed, task.Detailed: task.Simple}[detail]
				}
			})
			w.start()
			d := def("t", step("a", 0, settings(`{"dsn":{"secret":"pw"}}`)), step("p", 1))
			if where == "task" {
				d.Log = detail
			}
			w.apply(d)
			w.ctrl.on("a", func(x *exec) task.Outcome {
				x.Log(task.LogDebug, "for the author", nil)
				x.Log(task.LogInfo, "for all", nil)
				for range 3 {
					x.Progress(task.Progress{Note: "table actor"})
				}
				if err := x.Reporter.Checkpoint([]byte("12345")); err != nil {
					t.Error(err)
				}
				return outputs(map[string]string{"rows": "12"})(x)
			})
			w.ctrl.plansInto("p", into(1, nil))
			w.ends(w.submit("t"), task.RunCompleted)
			for _, c := range []struct {
				n     int
				words string
			}{
				{1, "for the author"}, {1, "table actor"}, {1, "a checkpoint of 5 bytes is saved"}, {1, "output rows, 2 bytes"},
				{2, "attempt 1 begins"}, {1, "attempt 1 begins to plan"},
			} {
				want := c.n
				if strings.HasSuffix(c.words, "begins") {
					want = 3 // of a, of the plan and of the planned step
				}
				if detail == task.Simple {
					want = 0
				}
				if got := w.count("t/1", c.words); got != want {
					t.Errorf("%s of the %s: %q stands there %d times, want %d", detail, where, c.words, got, want)
				}
			}
			if w.count("t/1", "for all") != 1 {
				t.Errorf("%s of the %s: a line is missing", detail, where)
			}
			if given := w.logged("t/1", "attempt 1 begins", `{"settings":{"dsn":{"secret":"pw"}}}`); given != (detail == task.Detailed) {
				t.Errorf("%s: the settings are told: %v", detail, given)
			}
		}
	}
}
