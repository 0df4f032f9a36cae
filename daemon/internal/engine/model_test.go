package engine_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

// model drives one run of a random task through random outcomes, crashes,
// stops, cancels and continues, and holds what must be true whatever comes.
type model struct {
	rt *rapid.T
	w  *world
	id task.RunID

	mu       sync.Mutex
	scripts  map[string][]string // what the executions of a step do, in turn; then it completes
	effects  map[string]task.Effect
	hooks    map[task.Trigger]string // their steps
	last     map[string]string       // how the newest execution of a step ended, in this life of the run
	kept     map[string]bool         // steps that were committed as completed
	loose    map[string]bool         // planners that lost a session: their steps may be done again
	attempt  map[string]int
	ends     int // of the run, when it has ended
	blocked  int
	release  chan struct{}
	problems []string
}

func (m *model) problem(format string, args ...any) {
	m.problems = append(m.problems, fmt.Sprintf(format, args...))
}

func (m *model) script(rt *rapid.T, name string, planned bool) {
	kinds := []string{"fail", "fail", "permanent", "no_result", "lost", "refused", "block", "checkpoint", "complete"}
	if planned {
		kinds = append(kinds, "session_lost")
	}
	m.scripts[name] = rapid.SliceOfN(rapid.SampledFrom(kinds), 0, 3).Draw(rt, name)
}

func (m *model) execute(x *exec) task.Outcome {
	top, _, _ := strings.Cut(x.Step, "/")
	m.mu.Lock()
	if m.kept[x.Step] && !m.loose[top] {
		m.problem("%s had completed and is executed again", x.Step)
	}
	if m.effects[top] == task.AtMostOnce && m.last[x.Step] != "" && m.last[x.Step] != "fail" && m.last[x.Step] != "refused" {
		m.problem("%s must not be repeated, and is after it ended with %s", x.Step, m.last[x.Step])
	}
	if n := m.attempt[x.Step]; x.Attempt.Number <= n && !m.loose[top] {
		m.problem("%s: attempt %d after %d", x.Step, x.Attempt.Number, n)
	}
	m.attempt[x.Step] = x.Attempt.Number
	do := "complete"
	if s := m.scripts[x.Step]; len(s) > 0 {
		do, m.scripts[x.Step] = s[0], s[1:]
	}
	m.last[x.Step] = do
	if do == "session_lost" {
		m.loose[top] = true
	}
	if do == "block" {
		m.blocked++
	}
	release := m.release
	m.mu.Unlock()
	switch do {
	case "complete":
		_ = x.Output("o", raw("1"))
		return done
	case "checkpoint":
		if err := x.Reporter.Checkpoint([]byte("x")); err != nil {
			return task.Outcome{Kind: task.OutcomeNoResult, Message: err.Error()}
		}
		return done
	case "block":
		m.w.bell.ring()
		o := x.gate(release)
		m.mu.Lock()
		m.blocked--
		m.mu.Unlock()
		return o
	case "fail":
		return faulty
	}
	return task.Outcome{Kind: task.OutcomeKind(do), Message: do}
}

func drawTask(rt *rapid.T, m *model) task.Task {
	d := def("t")
	d.MaxParallel = rapid.IntRange(1, 3).Draw(rt, "parallel")
	order := 0
	for i := range rapid.IntRange(1, 4).Draw(rt, "steps") {
		name := fmt.Sprintf("s%d", i)
		order += rapid.IntRange(0, 1).Draw(rt, "order")
		s := step(name, order, attempts(rapid.IntRange(0, 3).Draw(rt, "attempts")))
		s.InterruptOnStepFault = rapid.Bool().Draw(rt, "interrupt")
		m.effects[name] = rapid.SampledFrom([]task.Effect{task.Idempotent, task.Resumable, task.AtMostOnce}).Draw(rt, "effect")
		m.w.ctrl.effects[name] = m.effects[name]
		if rapid.Bool().Draw(rt, "plans") {
			n := rapid.IntRange(0, 5).Draw(rt, "planned")
			split := rapid.IntRange(1, 5).Draw(rt, "split")
			m.w.ctrl.plansInto(name, func(x *exec, add func([]task.PlannedStep) error) task.Outcome {
				o := into(n, func(i int, s *task.PlannedStep) { s.Order = i / split })(x, add)
				o.Session = fmt.Sprint("session ", x.n)
				return o
			})
			for j := range n {
				m.script(rt, fmt.Sprintf("%s/c%d", name, j+1), m.effects[name] != task.AtMostOnce)
			}
			m.w.ctrl.on(name+"/*", m.execute)
		} else {
			m.script(rt, name, false)
			m.w.ctrl.on(name, m.execute)
		}
		d.Steps = append(d.Steps, s)
	}
	return d
}

// check looks at what is committed.
func (m *model) check(when string) engine.RunView {
	// Read the steps between two equal reads of the run, so that they belong
	// together.
	var run engine.RunView
	var steps map[string]engine.StepView
	for {
		run = m.w.run(m.id)
		steps = m.w.steps(m.id)
		again := m.w.run(m.id)
		if again.Completed == run.Completed && again.Failed == run.Failed && again.Total == run.Total && again.Status == run.Status {
			break
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !run.Status.Alive() {
		if err := recount(run, steps); err != nil {
			m.problem("%s: %v: %s", when, err, m.w.statuses(m.id))
		}
	}
	for name, s := range steps {
		top, _, planned := strings.Cut(name, "/")
		if m.kept[name] && s.Status != task.StepCompleted && !(planned && m.loose[top]) && !m.loose[name] {
			m.problem("%s: %s was completed and is %s", when, name, s.Status)
		}
		if s.Status == task.StepCompleted && (s.Position.Sub > 0 || !s.PlanDone) {
			m.kept[name] = true
		}
	}
	if len(m.problems) > 0 {
		var lines []string
		for _, l := range m.w.log.of("t/1") {
			lines = append(lines, fmt.Sprintf("%s %d: %s", l.Step, l.Attempt, l.Message))
		}
		m.rt.Fatalf("%s\ncalls %v\nsteps %s\nrun %+v\nlog:\n%s", strings.Join(m.problems, "\n"), m.w.ctrl.list(), m.w.statuses(m.id), run.Run,
			strings.Join(lines, "\n"))
	}
	return run
}

// quiet waits until the run has ended, a step blocks or the store is dead.
func (m *model) quiet() {
	m.w.bell.await(m.w.t, "the run to end or to block", func() bool {
		m.mu.Lock()
		blocked := m.blocked
		m.mu.Unlock()
		return blocked > 0 || m.w.db.dead() || !m.w.run(m.id).Status.Alive()
	})
}

func (m *model) act(rt *rapid.T, action string) {
	w := m.w
	switch action {
	case "crash":
		k := rapid.IntRange(0, 6).Draw(rt, "commits")
		w.db.set(func(d *db) { d.left = k })
		m.quiet()
		w.crash()
		m.check("after a crash")
		w.start()
	case "stop":
		m.quiet()
		w.stop()
		m.check("after a stop")
		w.reopen()
		w.start()
	case "cancel":
		if _, err := w.e.Cancel(w.t.Context(), m.id, "x"); err != nil && !errors.Is(err, task.ErrState) {
			rt.Fatalf("cancel: %v", err)
		}
	case "continue":
		m.proceed()
	case "release":
		m.unblock()
	}
}

func (m *model) unblock() {
	m.mu.Lock()
	close(m.release)
	m.release = make(chan struct{})
	m.mu.Unlock()
}

// proceed continues the run if it has ended with something left.
func (m *model) proceed() {
	run := m.check("before continue")
	if run.Status.Alive() || run.Status == task.RunCompleted {
		return
	}
	m.mu.Lock()
	clear(m.last)
	m.mu.Unlock()
	if _, err := m.w.e.Continue(m.w.t.Context(), m.id, engine.Again{Confirmed: true}); err != nil {
		m.rt.Fatalf("continue: %v", err)
	}
	m.ends++
}

// checkHooks holds that each end of the run has had its hooks, once.
func (m *model) checkHooks() {
	m.w.bell.await(m.w.t, "the hooks to end", m.w.allEnded)
	text, all := m.w.hooksOf(m.id)
	if n := strings.Count(text, "on_end"); n != m.ends || !all || !strings.HasSuffix(text, "on_success after completed, on_end after completed") {
		m.rt.Fatalf("the run ended %d times and has the hooks %s (%v)", m.ends, text, m.w.run(m.id).Hooks)
	}
	list, _, err := m.w.e.ListRuns(engine.RunQuery{Task: "t", Limit: 1000})
	if err != nil {
		m.rt.Fatal(err)
	}
	for _, run := range list {
		if run.HookOf > 0 && (run.Status != task.RunCompleted || m.w.ctrl.complete[runStep(run.ID, m.hooks[run.Cause()])] == 0) {
			m.rt.Fatalf("%s (%s) is %s (%s)", run.Ref(), run.Cause(), run.Status, run.Reason)
		}
	}
}

func TestWhateverComes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		m := &model{
			rt: rt, w: makeWorld(t, dir), scripts: map[string][]string{}, effects: map[string]task.Effect{}, last: map[string]string{},
			kept: map[string]bool{}, loose: map[string]bool{}, attempt: map[string]int{}, release: make(chan struct{}),
			hooks: map[task.Trigger]string{task.TriggerOnSuccess: "good", task.TriggerOnFailure: "bad", task.TriggerOnEnd: "over"},
		}
		defer func() { m.w.end() }()
		m.w.clock.leap = true
		d := withEndHooks(drawTask(rt, m))
		m.w.start()
		m.w.apply(d)
		m.id, m.ends = m.w.submit("t"), 1
		actions := rapid.SliceOfN(rapid.SampledFrom([]string{"crash", "crash", "stop", "cancel", "continue", "release"}), 0, 6).Draw(rt, "actions")
		for _, action := range actions {
			m.act(rt, action)
			m.check("after " + action)
		}
		// In the end all of it can be done: the scripts run out.
		for range 100 {
			for m.w.run(m.id).Status.Alive() {
				m.quiet()
				m.unblock()
			}
			if m.check("at the end").Status == task.RunCompleted {
				break
			}
			m.proceed()
		}
		run := m.check("at the end")
		if run.Status != task.RunCompleted || run.Progress != 100 {
			rt.Fatalf("the run is %s (%s): %s", run.Status, run.Reason, m.w.statuses(m.id))
		}
		m.checkHooks()
		for name, s := range m.w.steps(m.id) {
			if s.Position.Sub > 0 || !s.PlanDone {
				if m.w.ctrl.complete[runStep(m.id, name)] == 0 {
					rt.Fatalf("%s completed without its effect", name)
				}
			}
		}
	})
}
