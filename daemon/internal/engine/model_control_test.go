package engine_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// traffic drives runs of several tasks through all that people can ask for, while
// they share locks, limits and places, and through crashes and stops. It holds the
// rules of the queue against each committed state that a step is executed in.
type traffic struct {
	rt *rapid.T
	w  *world

	mu        sync.Mutex
	scripts   []string // what executions do, in turn; then they complete
	release   chan struct{}
	runs      []task.Run
	continued map[task.RunID]bool
	kept      map[string]bool // steps that were committed as completed, by "run step"
	gone      map[string]bool // steps whose cancel was acknowledged
	problems  []string
}

func (c *traffic) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

func trafficTasks(version int) []task.Task {
	dump := by("dump")
	t := def("t", step("t1", 0, dump), step("t2", 1))
	t.Locks = []string{"x"}
	u := parallel(2, def("u", step("u1", 0, interrupting, dump), step("u2", 0), step("u3", 1)))
	u.Locks, u.MaxRuns, u.Priority = []string{"x", "y"}, 1, 3
	v := def("v", step("v1", 0), step("planner", 1), step("v3", 2, attempts(1)))
	v.MaxRuns, v.Priority = 2, -3
	o := def("o", step("o1", 0), step("o2", 0, interrupting))
	all := []task.Task{t, u, v, o}
	for i := range all {
		all[i].Description = fmt.Sprint("the ", version, ". of them")
	}
	return all
}

func (c *traffic) execute(x *exec) task.Outcome {
	key := runStep(x.Attempt.Run, x.Step)
	c.mu.Lock()
	c.look(x)
	if c.kept[key] {
		c.problem("%s had completed and is executed again", key)
	}
	top, _, _ := strings.Cut(x.Step, "/")
	// One that was about to begin when it was cancelled is told so.
	if (c.gone[key] || c.gone[runStep(x.Attempt.Run, top)]) && x.ctx.Err() == nil {
		c.problem("%s is executed after its cancel was acknowledged", key)
	}
	do := "complete"
	if len(c.scripts) > 0 {
		do, c.scripts = c.scripts[0], c.scripts[1:]
	}
	release := c.release
	c.mu.Unlock()
	switch do {
	case "block":
		return x.gate(release)
	case "fail":
		return permanent
	case "retry":
		return faulty
	}
	return done
}

// look holds the rules against what is committed while the step is executed.
func (c *traffic) look(x *exec) {
	var running, waiting []task.Run
	err := c.w.db.Store.View(func(tx *store.Tx) error {
		running, waiting = nil, nil
		return tx.ActiveRuns(func(run task.Run) bool {
			if run.Status == task.RunRunning {
				running = append(running, run)
			} else {
				waiting = append(waiting, run)
			}
			return true
		})
	})
	if err != nil {
		c.problem("the runs cannot be read: %v", err)
		return
	}
	holders, of, batches := map[string]string{}, map[string]int{}, map[string]string{}
	for _, run := range running {
		of[run.Task]++
		for _, lock := range run.Locks {
			if other := holders[lock]; other != "" {
				c.problem("%s and %s have the lock %s", other, run.Ref(), lock)
			}
			holders[lock] = run.Ref()
		}
		if other := batches[run.Batch]; run.Batch != "" && other != "" {
			c.problem("%s and %s of one batch are carried out", other, run.Ref())
		}
		batches[run.Batch] = run.Ref()
		if run.ID == x.Attempt.Run && run.Only != "" && run.Only != x.Step && !strings.HasPrefix(x.Step, run.Only+"/") {
			c.problem("%s is about %s, and executes %s", run.Ref(), run.Only, x.Step)
		}
		if now := c.w.clock.Now(); run.NotBefore.After(now) {
			c.problem("%s is carried out at %s, not before %s", run.Ref(), now, run.NotBefore)
		}
		for _, other := range waiting {
			if run.Batch != "" && other.Batch == run.Batch && other.ID < run.ID && !c.continued[other.ID] && !c.continued[run.ID] {
				c.problem("%s is carried out and %s, which is before it, waits", run.Ref(), other.Ref())
			}
		}
	}
	for _, run := range running {
		if run.MaxRuns > 0 && of[run.Task] > run.MaxRuns {
			c.problem("%d runs of %s are carried out", of[run.Task], run.Task)
		}
	}
	if n := len(running); n > c.w.config.MaxRuns {
		c.problem("%d runs are carried out", n)
	}
}

// expected lets through what may well be answered.
func (c *traffic) expected(what string, err error) bool {
	for _, fine := range []error{task.ErrState, task.ErrStopping, task.ErrNotFound, task.ErrStoreFailed} {
		if errors.Is(err, fine) {
			return false
		}
	}
	if err != nil {
		c.rt.Fatalf("%s: %v", what, err)
	}
	return true
}

func (c *traffic) add(runs ...task.Run) {
	c.mu.Lock()
	c.runs = append(c.runs, runs...)
	c.mu.Unlock()
}

func (c *traffic) any(rt *rapid.T) (run task.Run, ok bool) {
	if len(c.runs) == 0 {
		return run, false
	}
	return c.runs[rapid.IntRange(0, len(c.runs)-1).Draw(rt, "run")], true
}

func (c *traffic) stepIn(rt *rapid.T, name string) string {
	for _, d := range trafficTasks(0) {
		if d.Name == name {
			return rapid.SampledFrom(d.Steps).Draw(rt, "step").Name
		}
	}
	return ""
}

func (c *traffic) act(rt *rapid.T, action string) {
	w := c.w
	switch action {
	case "submit":
		wish := engine.Wish{Task: rapid.SampledFrom([]string{"t", "u", "v", "o"}).Draw(rt, "task")}
		if rapid.Bool().Draw(rt, "urgent") {
			priority := rapid.IntRange(-5, 5).Draw(rt, "priority")
			wish.Priority = &priority
		}
		switch rapid.IntRange(0, 4).Draw(rt, "kind") {
		case 0:
			wish.At = w.clock.Now().Add(time.Duration(rapid.IntRange(1, 100).Draw(rt, "in")) * time.Second)
		case 1:
			wish.Only = c.stepIn(rt, wish.Task)
		}
		if run, err := w.e.Submit(w.t.Context(), wish); c.expected("submit", err) {
			c.add(run)
		}
	case "batch":
		wish := engine.BatchWish{Kind: task.BatchAll}
		if rapid.Bool().Draw(rt, "named") {
			wish = engine.BatchWish{Kind: task.BatchRun, Tasks: rapid.SliceOfN(rapid.SampledFrom([]string{"t", "u", "v", "o"}), 1, 4).Draw(rt, "tasks")}
		}
		_, list, err := w.e.SubmitBatch(w.t.Context(), wish)
		c.expected("batch", err)
		for _, one := range list {
			if one.Run != nil {
				c.add(*one.Run)
			}
		}
	case "cancel":
		if run, ok := c.any(rt); ok {
			_, err := w.e.Cancel(w.t.Context(), run.ID, "x")
			c.expected("cancel", err)
		}
	case "cancel step":
		if run, ok := c.any(rt); ok {
			name := c.stepIn(rt, run.Task)
			if name == "planner" && rapid.Bool().Draw(rt, "planned") {
				name = "planner/c2"
			}
			// A continue may follow as soon as it is acknowledged; nobody else asks for one.
			if _, err := w.e.CancelStep(w.t.Context(), run.ID, name, "x"); c.expected("cancel step", err) {
				c.mu.Lock()
				c.gone[runStep(run.ID, name)] = true
				c.mu.Unlock()
			}
		}
	case "continue":
		if run, ok := c.any(rt); ok {
			c.proceed(rt, run)
		}
	case "restart":
		if run, ok := c.any(rt); ok {
			a := engine.Again{Confirmed: true, Latest: rapid.Bool().Draw(rt, "latest")}
			if rapid.Bool().Draw(rt, "from") {
				a.From = c.stepIn(rt, run.Task)
			}
			if run, err := w.e.Restart(w.t.Context(), run.ID, a); c.expected("restart", err) {
				c.add(run)
			}
		}
	case "change":
		err := w.saves(trafficTasks(rapid.IntRange(2, 1000).Draw(rt, "version"))...)
		c.expected("change", err)
	case "crash":
		left := rapid.IntRange(0, 5).Draw(rt, "commits")
		w.db.set(func(d *db) { d.left = left })
		c.act(rt, rapid.SampledFrom([]string{"submit", "batch", "cancel", "cancel step", "continue", "restart", "change"}).Draw(rt, "last"))
		w.crash()
		w.start()
	case "stop":
		w.stop()
		w.reopen()
		w.start()
	case "release":
		c.mu.Lock()
		close(c.release)
		c.release = make(chan struct{})
		c.mu.Unlock()
	}
}

// proceed continues the run, in one way or another. What it does again is noted
// before it is asked: it may begin before the answer comes.
func (c *traffic) proceed(rt *rapid.T, run task.Run) {
	if c.w.run(run.ID).Status.Alive() {
		return
	}
	a := engine.Again{Confirmed: true, Latest: rapid.Bool().Draw(rt, "latest")}
	if rapid.IntRange(0, 3).Draw(rt, "from") == 0 {
		a.From = c.stepIn(rt, run.Task)
	}
	c.mu.Lock()
	c.continued[run.ID] = true
	prefix := runStep(run.ID, "")
	for key := range c.gone {
		if strings.HasPrefix(key, prefix) {
			delete(c.gone, key)
		}
	}
	if a.From != "" {
		for key := range c.kept {
			if strings.HasPrefix(key, prefix) {
				delete(c.kept, key)
			}
		}
	}
	c.mu.Unlock()
	_, err := c.w.e.Continue(c.w.t.Context(), run.ID, a)
	c.expected("continue", err)
}

// check notes what is done, which stays so.
func (c *traffic) check(when string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, run := range c.runs {
		stored := c.w.stored(run.ID)
		if stored.Status.Alive() {
			continue
		}
		steps := c.w.steps(run.ID)
		if now := c.w.run(run.ID); !now.Status.Alive() {
			if err := recount(now, steps); err != nil {
				c.problem("%s: %v: %s", now.Ref(), err, c.w.statuses(run.ID))
			}
		}
		for name, s := range steps {
			if s.Status == task.StepCompleted && (s.Position.Sub > 0 || !s.PlanDone) {
				c.kept[runStep(run.ID, name)] = true
			}
		}
	}
	if len(c.problems) > 0 {
		c.rt.Fatalf("%s:\n%s\ncalls %v", when, strings.Join(c.problems, "\n"), c.w.ctrl.list())
	}
}

// finish lets everything complete, with what people would do for that.
func (c *traffic) finish() {
	c.mu.Lock()
	c.scripts = nil
	close(c.release)
	c.mu.Unlock()
	for range 5 {
		c.w.bell.await(c.w.t, "all runs to end", c.w.allEnded)
		c.check("at the end")
		left := 0
		for _, run := range c.runs {
			if now := c.w.stored(run.ID); now.Status != task.RunCompleted && !now.Stripped {
				left++
				c.mu.Lock()
				for _, d := range trafficTasks(0) {
					for _, s := range d.Steps {
						delete(c.gone, runStep(run.ID, s.Name))
					}
				}
				delete(c.gone, runStep(run.ID, "planner/c2"))
				c.continued[run.ID] = true
				c.mu.Unlock()
				_, err := c.w.e.Continue(c.w.t.Context(), run.ID, engine.Again{Confirmed: true})
				c.expected("continue", err)
			}
		}
		if left == 0 {
			break
		}
	}
	for _, run := range c.runs {
		if now := c.w.stored(run.ID); now.Status != task.RunCompleted && !now.Stripped {
			c.rt.Fatalf("%s is %s (%s): %s", now.Ref(), now.Status, now.Reason, c.w.statuses(run.ID))
		}
	}
	c.w.bell.await(c.w.t, "the queue to be empty", func() bool {
		c.w.bell.ring()
		running, queued := c.w.e.Load()
		return running+queued == 0
	})
	c.w.ctrl.mu.Lock()
	defer c.w.ctrl.mu.Unlock()
	if most := c.w.ctrl.mostOf["dump"]; most > 1 {
		c.rt.Fatalf("%d attempts of dump were carried out at once", most)
	}
}

func TestControlWhateverComes(t *testing.T) {
	actions := []string{"submit", "submit", "submit", "batch", "cancel", "cancel step", "cancel step", "continue", "continue", "restart",
		"change", "crash", "stop", "release", "release"}
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		c := &traffic{
			rt: rt, release: make(chan struct{}), continued: map[task.RunID]bool{}, kept: map[string]bool{}, gone: map[string]bool{},
			scripts: rapid.SliceOfN(rapid.SampledFrom([]string{"block", "block", "fail", "retry", "complete"}), 0, 20).Draw(rt, "scripts"),
		}
		slots := rapid.IntRange(1, 5).Draw(rt, "max_runs")
		c.w = makeWorld(t, dir, func(config *engine.Config) {
			config.MaxRuns, config.ControllerLimits = slots, map[string]int{"dump": 1}
		})
		defer c.w.end()
		c.w.clock.leap = true
		c.w.ctrl.effects["v3"] = task.AtMostOnce
		c.w.ctrl.plansInto("planner", into(3, nil))
		for _, name := range []string{"t1", "t2", "u1", "u2", "u3", "v1", "v3", "o1", "o2", "planner/*"} {
			c.w.ctrl.on(name, c.execute)
		}
		c.w.start()
		c.w.apply(trafficTasks(1)...)
		for _, action := range rapid.SliceOfN(rapid.SampledFrom(actions), 1, 20).Draw(rt, "actions") {
			c.act(rt, action)
			c.check("after " + action)
		}
		c.finish()
	})
}
