package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// A run that goes on by today's definition with its settings laid over leaves that
// of its restarts alone.
func TestARunsOwnDefinitionIsNotTakenFromItsRestart(t *testing.T) {
	w := started(t, def("t", step("a", 0, attempts(1), interrupting), step("b", 1)))
	w.ctrl.on("a", func(x *exec) task.Outcome { return task.Outcome{Kind: task.OutcomePermanent, Message: "no"} })
	own := w.defined("t")
	own.Steps[1].Settings = raw(`{"mode":"first"}`)
	first := w.wish(engine.Wish{Task: "t", Own: &own, Set: raw(`{"b.mode":"first"}`)}).ID
	w.ends(first, task.RunFailed)
	begun := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome {
		switch {
		case x.Work.RunNumber == 1:
			return task.Outcome{Kind: task.OutcomePermanent, Message: "no"}
		case x.Attempt.Number == 1:
			close(begun)
			return x.gate(nil)
		}
		return done
	})
	again := w.restart(first, engine.Again{}).ID
	<-begun

	w.apply(def("t", step("a", 0, attempts(1), interrupting), step("new", 1)))
	today := w.defined("t")
	w.again(first, engine.Again{Latest: true, Own: &today})
	w.ends(first, task.RunFailed)
	w.crash()
	w.start()
	w.ends(again, task.RunCompleted)
	if got, err := w.e.Definition(w.stored(first)); err != nil || got.Steps[1].Name != "new" {
		t.Errorf("the run has %+v, %v", got.Steps, err)
	}
	if got, err := w.e.Definition(w.stored(again)); err != nil || got.Steps[1].Name != "b" || string(got.Steps[1].Settings) != `{"mode":"first"}` {
		t.Errorf("its restart has %+v, %v", got.Steps, err)
	}
}

// What cannot be removed is not tried over and over, and neither keeps others nor
// lets others go in its place.
func TestAnOldRunThatCannotBeRemoved(t *testing.T) {
	for name, keep := range map[string]task.Keep{"of all": {}, "of the task": {Runs: 3}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.spaces.stays = func(ref string) error {
				if ref == "t/1" || ref == "t/2" {
					return errBroken
				}
				return nil
			}
			w.start()
			w.apply(def("t", step("a", 0)))
			for range 6 {
				w.ends(w.submit("t"), task.RunCompleted)
			}
			var each int64
			w.bell.await(t, "the last to be measured", func() bool { run, err := w.e.Find("t/6"); each = run.Bytes; return err == nil && each > 0 })
			w.stop()
			if keep.Runs == 0 {
				w.config.KeepBytes = 3*each + each/2
			} else {
				w.config.KeepRuns = keep.Runs
			}
			w.reopen()
			w.spaces.mu.Lock()
			w.spaces.tries = 0
			w.spaces.mu.Unlock()
			w.start()
			w.leaves("t", "t/1", "t/2", "t/4", "t/5", "t/6")
			w.ends(w.submit("t"), task.RunCompleted)
			w.leaves("t", "t/1", "t/2", "t/5", "t/6", "t/7")
			w.stop()
			if w.spaces.tries > 10 {
				t.Errorf("removing was tried %d times", w.spaces.tries)
			}
		})
	}
}

// A damaged run stays, and keeps no other.
func TestADamagedRunKeepsNoOther(t *testing.T) {
	for name, change := range map[string]func(c *engine.Config, each int64){
		"of all":      func(c *engine.Config, each int64) { c.KeepBytes = 2*each + each/2 },
		"of the task": func(c *engine.Config, _ int64) { c.KeepRuns = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, def("t", step("a", 0)))
			for range 4 {
				w.ends(w.submit("t"), task.RunCompleted)
			}
			var each int64
			w.bell.await(t, "the last to be measured", func() bool { run, err := w.e.Find("t/4"); each = run.Bytes; return err == nil && each > 0 })
			w.stop()
			change(&w.config, each)
			w.reopen()
			w.db.damaged = true
			w.start()
			w.leaves("t", "t/3", "t/4")
		})
	}
}

// A restart that is made while old runs go keeps what it reads.
func TestARestartWhileOldRunsGo(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("b", 1)))
	w.ctrl.on("a", outputs(map[string]string{"n": "1"}))
	for range 3 {
		w.ends(w.submit("t"), task.RunCompleted)
	}
	w.bell.await(t, "the last to be measured", func() bool { run, err := w.e.Find("t/3"); return err == nil && run.Bytes > 0 })
	begun, open := make(chan struct{}), make(chan struct{})
	w.spaces.stays = func(ref string) error {
		if ref == "t/1" {
			close(begun)
			<-open
		}
		return nil
	}
	w.apply(kept(def("t", step("a", 0), step("b", 1)), task.Keep{Runs: 1}))
	<-begun // the first of those that are to go
	second, err := w.e.Find("t/2")
	if err != nil {
		t.Fatal(err)
	}
	finish := make(chan struct{})
	w.ctrl.on("b", func(x *exec) task.Outcome { return x.gate(finish) })
	again := w.restart(second.ID, engine.Again{From: "b"})
	close(open)
	w.leaves("t", "t/2", "t/3", "t/4")
	w.stop() // the keeper has looked at all
	w.reopen()
	if left := w.left("t"); !slices.Equal(left, []string{"t/2", "t/3", "t/4"}) {
		t.Errorf("left are %v", left)
	}
	w.start()
	close(finish)
	w.ends(again.ID, task.RunCompleted)
}

// The size that is noted while a run is made ready to go on is not lost: it would be
// counted twice.
func TestARunIsMeasuredWhileItIsContinued(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.KeepRuns = 2 })
	w.start()
	w.apply(def("t", step("a", 0, attempts(1))))
	w.ctrl.onFail("a", 1, task.Outcome{Kind: task.OutcomePermanent, Message: "no"})
	id := w.submit("t")
	w.ends(id, task.RunFailed)
	w.bell.await(t, "it to be measured", func() bool { return w.stored(id).Bytes > 0 })
	size := w.stored(id).Bytes
	measure := func(bytes int64) {
		err := w.db.Store.Update(t.Context(), func(tx *store.Tx) error {
			run, err := tx.Run(id)
			if err != nil {
				return err
			}
			run.Bytes = bytes
			return tx.PutRun(run)
		})
		if err != nil {
			t.Error(err)
		}
	}
	measure(0)
	w.db.set(func(d *db) {
		d.before = func() { // the reset of its step
			d.set(func(d *db) { d.before = func() { measure(size) } })
		}
	})
	w.again(id, engine.Again{})
	if got := w.stored(id).Bytes; got != size {
		t.Errorf("its size is %d, it was %d", got, size)
	}
	w.ends(id, task.RunCompleted)
}

// Where nothing limits what is kept, a change of tasks does not read all others.
func TestAChangeLooksAtItsTaskAlone(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.ctrl.on("a", func(*exec) task.Outcome { return done })
	var all []task.Task
	for i := range 300 {
		all = append(all, def(fmt.Sprintf("t%03d", i), step("a", 0)))
	}
	w.apply(all...)
	w.ends(w.submit("t000"), task.RunCompleted) // the keeper has looked at the changes before
	w.bell.await(t, "it to be measured", func() bool { run, err := w.e.Find("t000/1"); return err == nil && run.Bytes > 0 })
	w.stop()
	if n := w.db.taskReads.Load(); n > 1000 {
		t.Errorf("%d tasks were read", n)
	}
}

// A run that waits to go on is cancelled after a newer one has completed: nobody
// wants its files any more.
func TestTheFilesOfARunThatIsCancelledWhileItWaitsToGoOn(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.MaxRuns = 1 })
	w.start()
	w.apply(def("t", step("a", 0, attempts(1))), def("u", step("x", 0)))
	open, begun := make(chan struct{}), make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome {
		if x.Work.RunNumber == 1 {
			return task.Outcome{Kind: task.OutcomePermanent, Message: "no"}
		}
		if x.Work.RunNumber == 2 {
			close(begun)
			return x.gate(open)
		}
		return done
	})
	first := w.submit("t")
	w.ends(first, task.RunFailed)
	second := w.submit("t")
	<-begun
	busy := make(chan struct{})
	w.ctrl.on("x", func(x *exec) task.Outcome { return x.gate(busy) })
	other := w.submit("u")
	w.clock.advance(time.Second) // it comes before what goes on then
	w.again(first, engine.Again{})
	close(open)
	w.ends(second, task.RunCompleted)
	w.began("x#1")
	if _, err := w.e.Cancel(t.Context(), first, "ann"); err != nil {
		t.Fatal(err)
	}
	w.bell.await(t, "its files to go", func() bool { return w.spaces.gone()["t/1"] })
	close(busy)
	w.ends(other, task.RunCompleted)
}

// Those who come too late to cancel a run that waits are told so, and hold up nobody.
func TestManyCancelARunThatWaits(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.MaxRuns = 1 })
	w.start()
	w.apply(def("t", step("a", 0)))
	open := make(chan struct{})
	w.ctrl.on("a", func(x *exec) task.Outcome { return x.gate(open) })
	first := w.submit("t")
	w.began("a#1")
	waits := w.submit("t")
	held := make(chan struct{})
	w.db.set(func(d *db) { d.hold = held })
	faults := make(chan error)
	for range 50 {
		go func() {
			_, err := w.e.Cancel(t.Context(), waits, "ann")
			faults <- err
		}()
	}
	w.bell.await(t, "one to be written", func() bool { return w.db.waiting() > 0 })
	w.db.set(func(d *db) { d.hold = nil })
	close(held)
	done := 0
	for range 50 {
		switch err := <-faults; {
		case err == nil:
			done++
		case !errors.Is(err, task.ErrState):
			t.Error(err)
		}
	}
	if done != 1 {
		t.Errorf("%d have cancelled it", done)
	}
	close(open)
	w.ends(first, task.RunCompleted)
}

func (w *world) defined(name string) (def task.Task) {
	w.t.Helper()
	err := w.db.View(func(rd engine.Reader) (err error) {
		def, err = rd.Task(name)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return def
}
