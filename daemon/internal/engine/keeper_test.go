package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

// left lists the runs that are there, of a task or of all, oldest first.
func (w *world) left(name string) (refs []string) {
	w.t.Helper()
	err := w.db.View(func(rd engine.Reader) error {
		refs = nil
		err := rd.RunsAfter(name, 0, func(run task.Run) bool {
			refs = append(refs, run.Ref())
			return true
		})
		if errors.Is(err, errBroken) {
			err = nil // one is damaged, and that is known
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return refs
}

func (w *world) leaves(name string, refs ...string) {
	w.t.Helper()
	w.bell.await(w.t, fmt.Sprint(refs, " alone to be left"), func() bool { return slices.Equal(w.left(name), refs) })
}

func kept(t task.Task, k task.Keep) task.Task { t.Keep = k; return t }

func TestATaskKeepsWhatItSays(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.KeepRuns = 1 })
	w.start()
	w.apply(kept(def("more", step("a", 0)), task.Keep{Runs: 3}), def("less", step("a", 0)))
	for range 5 {
		w.ends(w.submit("more"), task.RunCompleted)
		w.ends(w.submit("less"), task.RunCompleted)
	}
	w.leaves("more", "more/3", "more/4", "more/5")
	w.leaves("less", "less/5")
	// A change counts at once, also for what is there.
	w.apply(kept(def("more", step("a", 0)), task.Keep{Runs: 2}))
	w.leaves("more", "more/4", "more/5")
}

// Without a limit nobody counts, until a task has one.
func TestALimitThatComesLater(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.apply(def("t", step("a", 0)))
	for range 4 {
		w.ends(w.submit("t"), task.RunCompleted)
	}
	w.bell.await(t, "the last to be measured", func() bool { run, err := w.e.Find("t/4"); return err == nil && run.Bytes > 0 })
	w.apply(kept(def("t", step("a", 0)), task.Keep{Runs: 1}))
	w.leaves("t", "t/4")
}

// The fake log has 100 bytes a line.
func TestATaskIsKeptToItsBytes(t *testing.T) {
	w := newWorld(t)
	w.start()
	d := def("t", step("a", 0))
	w.apply(d)
	w.ends(w.submit("t"), task.RunCompleted)
	var each int64
	w.bell.await(t, "its size", func() bool { run, err := w.e.Find("t/1"); each = run.Bytes; return err == nil && each > 0 })
	if each%100 != 0 {
		t.Errorf("it has %d bytes", each)
	}
	w.apply(kept(d, task.Keep{Bytes: 2*each + each/2}))
	for range 3 {
		w.ends(w.submit("t"), task.RunCompleted)
	}
	w.leaves("t", "t/3", "t/4")
	// One that alone has more than that stays: it is the newest.
	w.apply(kept(d, task.Keep{Bytes: 1}))
	w.leaves("t", "t/4")
}

func TestAllTasksTogetherAreKeptToTheirBytes(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.apply(def("a", step("x", 0)), def("b", step("x", 0)), def("c", step("x", 0)))
	for _, name := range []string{"c", "a", "b", "a", "b", "a"} {
		w.ends(w.submit(name), task.RunCompleted)
	}
	var each int64
	w.bell.await(t, "its size", func() bool { run, err := w.e.Find("a/3"); each = run.Bytes; return err == nil && each > 0 })
	w.stop()
	w.config.KeepBytes = 4*each + each/2
	w.reopen()
	w.start() // what is already there
	w.leaves("", "c/1", "a/2", "b/2", "a/3")
	w.ends(w.submit("b"), task.RunCompleted)
	w.leaves("", "c/1", "b/2", "a/3", "b/3")
	w.stop()
	w.config.KeepBytes = 1
	w.reopen()
	w.start()
	w.leaves("", "c/1", "a/3", "b/3") // the newest of each
}

func TestOldRecordsAreMeasured(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.apply(def("t", step("a", 0)))
	for range 3 {
		w.ends(w.submit("t"), task.RunCompleted)
	}
	w.bell.await(t, "the last to be measured", func() bool { run, err := w.e.Find("t/3"); return err == nil && run.Bytes > 0 })
	w.stop()
	w.reopen()
	err := w.db.Update(t.Context(), func(tx engine.Tx) error { // as an older daemon left them
		for id := task.RunID(1); id <= 3; id++ {
			run, err := tx.Run(id)
			if err != nil {
				return err
			}
			run.Bytes = 0
			if err := tx.PutRun(run); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.stop()
	w.config.KeepRuns = 2
	w.reopen()
	w.start()
	w.leaves("t", "t/2", "t/3")
	w.bell.await(t, "sizes", func() bool {
		two, err := w.e.Find("t/2")
		three, err2 := w.e.Find("t/3")
		return err == nil && err2 == nil && two.Bytes > 0 && three.Bytes > 0
	})
}

func TestDaysPass(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.KeepDays = 1 })
	w.start()
	w.apply(def("t", step("a", 0)), kept(def("long", step("a", 0)), task.Keep{Days: 30}))
	for range 3 {
		w.ends(w.submit("t"), task.RunCompleted)
		w.ends(w.submit("long"), task.RunCompleted)
	}
	w.bell.await(t, "all to be measured", func() bool {
		for _, ref := range []string{"t/3", "long/3"} {
			if run, err := w.e.Find(ref); err != nil || run.Bytes == 0 {
				return false
			}
		}
		return true
	})
	w.clock.advance(25 * time.Hour)
	w.e.Retain() // nothing happens, and time has passed
	w.leaves("t", "t/3")
	w.leaves("long", "long/1", "long/2", "long/3")
}

// What a restart from a step gives on of another run stays while it is alive.
func TestARunIsKeptForItsRestart(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.KeepRuns = 1; c.MaxRuns = 8 })
	w.start()
	w.apply(def("t", step("a", 0), step("b", 1)))
	w.ctrl.on("a", outputs(map[string]string{"n": "1"}))
	first := w.submit("t")
	w.ends(first, task.RunCompleted)
	open := make(chan struct{})
	w.ctrl.on("b", func(x *exec) task.Outcome {
		if x.Work.RunNumber != 2 {
			return done
		}
		o := x.gate(open)
		if items, _, err := x.Inputs("a", "n", ""); err != nil || len(items) != 1 {
			t.Errorf("inputs are %v, %v", items, err)
		}
		return o
	})
	again, err := w.e.Restart(t.Context(), first, engine.Again{From: "b"})
	if err != nil {
		t.Fatal(err)
	}
	w.began("b#1")
	for range 3 {
		w.ends(w.submit("t"), task.RunCompleted)
	}
	w.leaves("t", "t/1", "t/2", "t/5")
	close(open)
	w.ends(again.ID, task.RunCompleted)
	w.leaves("t", "t/5")
}

// A crash at each commit of the keeper loses nothing that is to be kept, and what
// is to go goes in the end.
func TestACrashWhileOldRunsGo(t *testing.T) {
	for k := range 12 {
		w := newWorld(t)
		w.start()
		w.apply(def("t", step("a", 0), step("b", 1)))
		for range 5 {
			w.ends(w.submit("t"), task.RunCompleted)
		}
		w.stop()
		w.config.KeepRuns = 2
		w.reopen()
		w.db.set(func(d *db) { d.left = k })
		w.start()
		w.bell.await(t, "a crash, or the end", func() bool { return w.db.dead() || len(w.left("t")) == 2 })
		w.crash()
		if got := w.left("t"); !slices.Contains(got, "t/4") || !slices.Contains(got, "t/5") {
			t.Fatalf("commit %d: left are %v", k, got)
		}
		w.start()
		w.leaves("t", "t/4", "t/5")
	}
}

// The work at a run's end does not grow with history.
func TestTheEndOfARunReadsLittle(t *testing.T) {
	read := func(history int) int {
		w := newWorld(t, func(c *engine.Config) { c.KeepDays = 3650; c.KeepBytes = 1 << 50 })
		w.start()
		w.apply(def("t", step("a", 0)))
		err := w.db.Update(t.Context(), func(tx engine.Tx) error {
			for range history {
				id, number, err := tx.NextRun("t")
				if err != nil {
					return err
				}
				at := w.clock.Now()
				run := task.Run{ID: id, Task: "t", Number: number, Status: task.RunCompleted, DefinitionVersion: 1, Key: itoa(uint64(id)), CreatedAt: at, QueuedAt: at, EndedAt: at, Bytes: 100}
				if err := tx.PutRun(run); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		w.ends(w.submit("t"), task.RunCompleted)
		last := func() bool { run, err := w.e.Find("t"); return err == nil && run.Bytes > 0 }
		w.bell.await(t, "it to be measured", last)
		before := int(w.db.reads.Load())
		w.ends(w.submit("t"), task.RunCompleted)
		w.bell.await(t, "it to be measured", last)
		w.stop()
		return int(w.db.reads.Load()) - before
	}
	few, many := read(100), read(5000)
	if many > 2*few+500 {
		t.Errorf("with 100 runs %d records are read, with 5000 %d", few, many)
	}
}
