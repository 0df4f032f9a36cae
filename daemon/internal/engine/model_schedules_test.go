package engine_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// crowd drives many runs of two tasks, made by people, schedules and hooks,
// through crashes, stops, cancels and continues. It holds that serial runs
// wait, that what is replaced is gone first, and that the schedules hear of
// each end exactly once.
type crowd struct {
	rt *rapid.T
	w  *world
	l  *ledger

	mu        sync.Mutex
	scripts   []string // what executions do, in turn; then they complete
	release   chan struct{}
	executing map[task.RunID]task.Run
	busy      map[task.RunID][]task.RunID // that were in execution when a serial run was queued
	alive     map[task.RunID][]task.RunID // that were alive when a replacing run was made
	asked     map[task.RunID]bool         // to be continued
	continued map[task.RunID]int
	made      map[task.RunID]task.Run
	problems  []string
}

func (c *crowd) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

func (c *crowd) execute(x *exec) task.Outcome {
	run, err := c.w.e.Run(x.Attempt.Run)
	c.mu.Lock()
	if err != nil {
		c.problem("run %d is executed and cannot be read: %v", x.Attempt.Run, err)
	}
	if x.Step == "h" != run.Cause().Hook() || !x.Work.ScheduledFor.Equal(run.ScheduledFor) {
		c.problem("step %s is executed for %s of %s", x.Step, run.Ref(), run.Cause())
	}
	for id, other := range c.executing {
		switch {
		case other.Task != run.Task || other.Cause().Hook() || run.Cause().Hook():
		case run.Serial && other.Serial:
			c.problem("%s and %s are executed at once", run.Ref(), other.Ref())
		case run.Serial && slices.Contains(c.busy[run.ID], id):
			c.problem("%s did not wait for %s", run.Ref(), other.Ref())
		}
	}
	for _, id := range c.alive[run.ID] {
		old, err := c.w.e.Run(id)
		if !c.asked[id] && !c.asked[run.ID] && (err != nil || old.Status.Alive()) {
			c.problem("%s is executed while %s, which it replaces, is %s (%v)", run.Ref(), old.Ref(), old.Status, err)
		}
	}
	c.executing[run.ID] = run.Run
	do := "complete"
	if len(c.scripts) > 0 {
		do, c.scripts = c.scripts[0], c.scripts[1:]
	}
	release := c.release
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.executing, run.ID)
		c.mu.Unlock()
	}()
	switch do {
	case "block":
		return x.gate(release)
	case "fail":
		return task.Outcome{Kind: task.OutcomePermanent, Message: "no luck"}
	}
	return done
}

// submit makes a run as a schedule or a person would.
func (c *crowd) submit(name, kind string) {
	wish := task.Run{Trigger: task.TriggerManual}
	switch kind {
	case "allow":
		wish = due()
	case "queue":
		wish = due(serial)
	case "replace":
		wish = due(replaces)
	case "hook":
		wish = due(hook)
	}
	var alive []task.RunID
	var run task.Run
	err := c.w.db.Update(c.w.t.Context(), func(tx engine.Tx) error {
		def, err := tx.Task(name)
		if err != nil {
			return err
		}
		alive = nil
		if err := tx.AliveRuns(name, func(r task.Run) bool {
			if !r.Cause().Hook() {
				alive = append(alive, r.ID)
			}
			return true
		}); err != nil {
			return err
		}
		run, err = c.w.e.SubmitIn(tx, def, wish)
		return err
	})
	if err != nil {
		if !c.w.db.dead() {
			c.rt.Fatalf("submit: %v", err)
		}
		return
	}
	c.mu.Lock()
	c.made[run.ID] = run
	c.noteBusy(run.ID)
	if run.Replaces {
		c.alive[run.ID] = alive
	}
	c.mu.Unlock()
	c.w.e.Adopt(run)
}

func (c *crowd) noteBusy(run task.RunID) {
	c.busy[run] = nil
	for id := range c.executing {
		c.busy[run] = append(c.busy[run], id)
	}
}

func (c *crowd) act(rt *rapid.T, action string) {
	w := c.w
	any := func() (task.RunID, bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.made) == 0 {
			return 0, false
		}
		return task.RunID(rapid.IntRange(1, len(c.made)).Draw(rt, "run")), true
	}
	switch action {
	case "crash":
		// It dies by itself, or is cut off in the middle of what it does.
		left := rapid.IntRange(0, 4).Draw(rt, "commits")
		w.db.set(func(d *db) { d.left = left })
		c.submit("t", rapid.SampledFrom(kinds).Draw(rt, "last"))
		w.crash()
		w.start()
	case "stop":
		w.stop()
		w.reopen()
		w.start()
	case "cancel":
		if id, ok := any(); ok {
			if _, err := w.e.Cancel(w.t.Context(), id, "x"); err != nil && !errors.Is(err, task.ErrState) && !errors.Is(err, task.ErrStopping) {
				rt.Fatalf("cancel: %v", err)
			}
		}
	case "continue":
		if id, ok := any(); ok {
			// Noted before it is asked: it may begin before the answer comes.
			c.mu.Lock()
			before := c.busy[id]
			c.asked[id] = true
			c.noteBusy(id)
			c.mu.Unlock()
			_, err := w.e.Continue(w.t.Context(), id, engine.Again{})
			c.mu.Lock()
			switch {
			case err == nil:
				c.continued[id]++
			case errors.Is(err, task.ErrState):
				c.busy[id] = before
			default:
				rt.Fatalf("continue: %v", err)
			}
			c.mu.Unlock()
		}
	case "release":
		c.mu.Lock()
		close(c.release)
		c.release = make(chan struct{})
		c.mu.Unlock()
	default:
		name, kind, _ := strings.Cut(action, " ")
		c.submit(name, kind)
	}
}

var kinds = []string{"manual", "allow", "queue", "replace", "hook"}

func (c *crowd) check(when string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.problems) > 0 {
		c.rt.Fatalf("%s: %s\ncalls %v", when, strings.Join(c.problems, "\n"), c.w.ctrl.list())
	}
}

// finish lets everything complete and looks at all that there is.
func (c *crowd) finish() {
	c.mu.Lock()
	c.scripts = nil
	close(c.release)
	c.mu.Unlock()
	var alive []string
	c.w.bell.await(c.w.t, "all runs to end", func() bool {
		alive = nil
		_ = c.w.db.View(func(rd engine.Reader) error {
			return rd.ActiveRuns(func(run task.Run) bool {
				alive = append(alive, run.Ref())
				return true
			})
		})
		return len(alive) == 0
	})
	c.check("at the end")
	for id, made := range c.made {
		run, err := c.w.e.Run(id)
		if err != nil {
			c.rt.Fatalf("%s is gone: %v", made.Ref(), err)
		}
		if run.Trigger != made.Trigger || !run.ScheduledFor.Equal(made.ScheduledFor) || run.Serial != made.Serial {
			c.rt.Errorf("%s was %+v and is %+v", run.Ref(), made, run.Run)
		}
		told := 0
		_ = c.w.db.Store.View(func(tx *store.Tx) error { told = endsOf(tx, run.Run); return nil })
		if want := 1 + c.continued[id]; told != want {
			c.rt.Errorf("the schedules were told %d times of the end of %s, which was continued %d times", told, run.Ref(), want-1)
		}
		if run.Cancel != nil && run.Cancel.By != "x" && run.Cancel.By != "schedule nightly" {
			c.rt.Errorf("%s was cancelled by %q", run.Ref(), run.Cancel.By)
		}
	}
	list, _, err := c.w.e.ListRuns(engine.RunQuery{Limit: len(c.made) + 1})
	if err != nil || len(list) != len(c.made) {
		c.rt.Errorf("there are %d runs of %d: %v", len(list), len(c.made), err)
	}
	running, queued := c.w.e.Load()
	if queued > 0 {
		c.rt.Errorf("%d runners, %d in the queue", running, queued)
	}
}

func TestSchedulesWhateverComes(t *testing.T) {
	actions := []string{"crash", "stop", "cancel", "continue", "release", "release"}
	for _, name := range []string{"t", "u"} {
		for _, kind := range kinds {
			actions = append(actions, name+" "+kind)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		c := &crowd{
			rt: rt, l: &ledger{}, release: make(chan struct{}), executing: map[task.RunID]task.Run{}, busy: map[task.RunID][]task.RunID{},
			alive: map[task.RunID][]task.RunID{}, asked: map[task.RunID]bool{}, continued: map[task.RunID]int{}, made: map[task.RunID]task.Run{},
			scripts: rapid.SliceOfN(rapid.SampledFrom([]string{"block", "block", "fail", "complete"}), 0, 12).Draw(rt, "scripts"),
		}
		slots := rapid.IntRange(1, 4).Draw(rt, "max_runs")
		c.w = makeWorld(t, dir, func(config *engine.Config) { config.MaxRuns, config.Schedules = slots, c.l })
		defer c.w.end()
		c.w.clock.leap = true
		for _, step := range []string{"a", "h", "mail"} {
			c.w.ctrl.on(step, c.execute)
		}
		c.w.start()
		for _, name := range []string{"t", "u"} {
			d := def(name, step("a", 0))
			d.OnMissed = []task.Step{step("h", 0)}
			c.w.apply(d)
		}
		for _, action := range rapid.SliceOfN(rapid.SampledFrom(actions), 1, 16).Draw(rt, "actions") {
			c.act(rt, action)
			c.check("after " + action)
		}
		c.finish()
	})
}
