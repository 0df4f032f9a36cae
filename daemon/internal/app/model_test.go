package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/task"
)

// Random sequences of calls, outcomes, crashes and clock moves, against the
// model: after each, every task and every run is what the model says, and what
// is under way is what the model has under way. In the end every run ends.
func TestModelOfTheAPI(t *testing.T) {
	root := t.TempDir()
	world := 0
	for range modelRounds {
		rapid.Check(t, func(rt *rapid.T) { world++; oneWorld(t, rt, fmt.Sprintf("%s/%d", root, world)) })
	}
}

// oneWorld is one sequence.
func oneWorld(t *testing.T, rt *rapid.T, dir string) {
	inBubble(t, func() {
		m := newMachine(rt, dir)
		defer m.shut()
		rt.Repeat(map[string]func(*rapid.T){
			"":            m.same,
			"create":      m.create,
			"replace":     m.replace,
			"add step":    m.addStep,
			"drop step":   m.dropStep,
			"flip":        m.flip,
			"delete":      m.drop,
			"start":       m.begin,
			"batch":       m.batch,
			"finish":      m.finishOne,
			"finish too":  m.finishOne,
			"finish more": m.finishOne,
			"cancel":      m.cancelOne,
			"cancel step": m.cancelAStep,
			"continue":    m.continueOne,
			"restart":     m.restartOne,
			"time passes": m.pass,
			"clock set":   m.setClock,
			"crash":       func(*rapid.T) { m.lose(true); m.crash(); m.settled() },
			"reboot":      func(*rapid.T) { m.lose(false); m.shut(); m.open(); m.settled() },
		})
		m.drain(rt)
	})
}

// inBubble carries f out where time passes by itself. rapid's own time, by which
// it ends a search, does not; its failures are panics, which leave the bubble with
// f.
func inBubble(t *testing.T, f func()) {
	var failure any
	synctest.Test(t, func(*testing.T) {
		defer func() { failure = recover() }()
		f()
	})
	if failure != nil {
		panic(failure)
	}
}

// settled lets daemon and model come to rest.
func (m *machine) settled() {
	m.settle(m.clock.Now())
	synctest.Wait()
}

func (m *machine) answers(rt *rapid.T, what string, err error, want api.Code) bool {
	rt.Helper()
	var got api.Code
	if fault, ok := errors.AsType[*api.Error](err); ok {
		got = fault.Code
	} else if err != nil {
		rt.Fatalf("%s: %v", what, err)
	}
	if got != want {
		rt.Fatalf("%s: answered %q (%v), want %q", what, got, err, want)
	}
	m.settled()
	return want == ""
}

func (m *machine) who() api.Caller { return api.Caller{Name: "me", Role: api.RoleAdmin} }

func name(rt *rapid.T) string { return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "task") }

func drawStep(rt *rapid.T, name string, before []modelStep) modelStep {
	s := modelStep{
		name: name, once: rapid.Bool().Draw(rt, "once"), interrupt: rapid.Bool().Draw(rt, "interrupt"),
		attempts: rapid.IntRange(1, 3).Draw(rt, "attempts"),
	}
	if len(before) > 0 && rapid.IntRange(0, 2).Draw(rt, "conditional") == 0 {
		s.when = rapid.SampledFrom(before).Draw(rt, "of").name + " " + rapid.SampledFrom([]string{"completed", "failed", "skipped"}).Draw(rt, "is")
	}
	return s
}

func drawTask(rt *rapid.T) *modelTask {
	t := &modelTask{
		priority: rapid.IntRange(0, 2).Draw(rt, "priority"), maxRuns: rapid.IntRange(0, 2).Draw(rt, "max_runs"),
		locks: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y"}), 0, 2, rapid.ID).Draw(rt, "locks"),
	}
	for i := range rapid.IntRange(0, 4).Draw(rt, "steps") {
		t.steps = append(t.steps, drawStep(rt, fmt.Sprint("s", i+1), t.steps))
	}
	return t
}

func (m *machine) create(rt *rapid.T) {
	name, t := name(rt), drawTask(rt)
	var want api.Code
	if m.tasks[name] != nil {
		want = api.CodeExists
	}
	saved, err := m.backend.CreateTask(context.Background(), m.who(), api.SaveRequest{Task: json.RawMessage(t.document(name))})
	if want == "" && err == nil {
		t.version = saved.Task.Version
		m.tasks[name] = t
	}
	m.answers(rt, "create "+name, err, want)
}

func (m *machine) replace(rt *rapid.T) {
	name, t := name(rt), drawTask(rt)
	old := m.tasks[name]
	if old == nil {
		return
	}
	request := api.SaveRequest{Task: json.RawMessage(t.document(name)), Version: old.version}
	var want api.Code
	if rapid.IntRange(0, 3).Draw(rt, "stale") == 0 {
		request.Version, want = old.version+1, api.CodeConflict
	}
	saved, err := m.backend.ReplaceTask(context.Background(), m.who(), name, request)
	if want == "" && err == nil {
		if saved.Task.Version < old.version || (len(saved.Changes) > 0) != (saved.Task.Version > old.version) {
			rt.Fatalf("version %d became %d with changes %v", old.version, saved.Task.Version, saved.Changes)
		}
		t.version = saved.Task.Version // the document does not say that it is disabled
		m.tasks[name] = t
	}
	m.answers(rt, "replace "+name, err, want)
}

func (m *machine) addStep(rt *rapid.T) {
	name := name(rt)
	t := m.tasks[name]
	if t == nil || len(t.steps) > 5 {
		return
	}
	used := fmt.Sprint("s", rapid.IntRange(1, 9).Draw(rt, "number"))
	step := drawStep(rt, used, t.steps)
	var want api.Code
	if t.at(used) >= 0 {
		want = api.CodeInvalid
	}
	saved, err := m.backend.AddStep(context.Background(), m.who(), name, api.StepRequest{Step: json.RawMessage(step.document())})
	if want == "" && err == nil {
		t.steps, t.version = append(slices.Clone(t.steps), step), saved.Task.Version
	}
	m.answers(rt, "add step "+used+" to "+name, err, want)
}

func (m *machine) dropStep(rt *rapid.T) {
	name := name(rt)
	t := m.tasks[name]
	if t == nil || len(t.steps) == 0 {
		return
	}
	i := rapid.IntRange(0, len(t.steps)-1).Draw(rt, "index")
	gone := t.steps[i].name
	var want api.Code
	for _, s := range t.steps {
		if strings.HasPrefix(s.when, gone+" ") {
			want = api.CodeInvalid // it asks for the status of a step that is not there
		}
	}
	saved, err := m.backend.DeleteStep(context.Background(), m.who(), name, gone, 0)
	if want == "" && err == nil {
		t.steps, t.version = slices.Delete(slices.Clone(t.steps), i, i+1), saved.Task.Version
	}
	m.answers(rt, "delete step "+gone+" of "+name, err, want)
}

func (m *machine) flip(rt *rapid.T) {
	name := name(rt)
	t, disable := m.tasks[name], rapid.Bool().Draw(rt, "disable")
	var want api.Code
	if t == nil {
		want = api.CodeNotFound
	}
	now, err := m.backend.SetDisabled(context.Background(), m.who(), name, disable)
	if want == "" && err == nil {
		t.disabled, t.version = disable, now.Version
	}
	m.answers(rt, "disable or enable "+name, err, want)
}

func (m *machine) drop(rt *rapid.T) {
	name := name(rt)
	var want api.Code
	switch {
	case m.tasks[name] == nil:
		want = api.CodeNotFound
	case m.busy(name):
		want = api.CodeState
	default:
		delete(m.tasks, name)
		for _, r := range m.own(name) {
			r.bare = true
		}
	}
	m.answers(rt, "delete "+name, m.backend.DeleteTask(context.Background(), m.who(), name, 0), want)
}

func (m *machine) begin(rt *rapid.T) {
	name := name(rt)
	request := api.RunRequest{Task: name}
	if rapid.IntRange(0, 2).Draw(rt, "later") == 0 {
		request.In = fmt.Sprintf("%dm", rapid.IntRange(1, 30).Draw(rt, "minutes"))
	}
	if rapid.IntRange(0, 2).Draw(rt, "urgent") == 0 {
		priority := rapid.IntRange(-1, 3).Draw(rt, "priority")
		request.Priority = &priority
	}
	if rapid.IntRange(0, 3).Draw(rt, "one step") == 0 {
		request.Step = fmt.Sprint("s", rapid.IntRange(1, 5).Draw(rt, "step"))
	}
	want := m.runnable(name)
	if want == "" && request.Step != "" {
		want = m.mayDoOnly(name, request.Step)
	}
	now := m.clock.Now()
	run, err := m.backend.Start(context.Background(), m.who(), request)
	if want == "" && err == nil {
		r := m.make(name, m.tasks[name].clone(), now)
		if run.Ref != r.ref {
			rt.Fatalf("the run is %s, want %s", run.Ref, r.ref)
		}
		r.only = request.Step
		if request.In != "" {
			d, _ := time.ParseDuration(request.In)
			r.notBefore = now.Add(d)
		}
		if request.Priority != nil {
			r.priority = *request.Priority
		}
	}
	m.answers(rt, fmt.Sprintf("start %+v", request), err, want)
}

// batch starts all that can be run.
func (m *machine) batch(rt *rapid.T) {
	now := m.clock.Now()
	result, err := m.backend.StartBatch(context.Background(), m.who(), api.BatchRequest{All: true})
	var want []string
	for _, name := range slices.Sorted(maps.Keys(m.tasks)) {
		if m.runnable(name) == "" && !m.busy(name) {
			r := m.make(name, m.tasks[name].clone(), now)
			r.batch = "batch of " + m.runs[len(m.runs)-1].ref
			want = append(want, r.ref)
		}
	}
	for i := range want { // all of one name
		m.runs[len(m.runs)-1-i].batch = "batch of " + want[0]
	}
	var got []string
	for _, one := range result.Runs {
		if one.Run != nil {
			got = append(got, one.Run.Ref)
		} else if one.Reason == "" {
			rt.Fatalf("%s is left out without a reason", one.Task)
		}
	}
	if !slices.Equal(got, want) {
		rt.Fatalf("the batch is %v, want %v (%v)", got, want, err)
	}
	m.answers(rt, "batch", err, "")
}

func (m *machine) finishOne(rt *rapid.T) {
	under := m.stage.under()
	if len(under) == 0 {
		return
	}
	key, _, _ := strings.Cut(rapid.SampledFrom(under).Draw(rt, "attempt"), " #")
	kind := rapid.SampledFrom([]string{"completed", "completed", "completed", "failed", "permanent", "no_result"}).Draw(rt, "outcome")
	m.end1(key, kind)
}

func (m *machine) end1(key, kind string) {
	ref, step, _ := strings.Cut(key, " ")
	r := m.runs[slices.IndexFunc(m.runs, func(r *modelRun) bool { return r.ref == ref })]
	m.finish(r, r.def.at(step), kind)
	m.stage.finish(key, task.Outcome{Kind: task.OutcomeKind(kind), Message: "it " + kind})
	m.settled()
}

// some draws a run, mostly a young one.
func (m *machine) some(rt *rapid.T) *modelRun {
	if len(m.runs) == 0 {
		return nil
	}
	return m.runs[len(m.runs)-1-rapid.IntRange(0, min(5, len(m.runs)-1)).Draw(rt, "age")]
}

func (m *machine) cancelOne(rt *rapid.T) {
	r := m.some(rt)
	if r == nil {
		return
	}
	want := m.cancel(r)
	_, err := m.backend.Cancel(context.Background(), m.who(), r.ref, api.CancelRequest{})
	m.answers(rt, "cancel "+r.ref, err, want)
}

func (m *machine) cancelAStep(rt *rapid.T) {
	r := m.some(rt)
	if r == nil {
		return
	}
	step := fmt.Sprint("s", rapid.IntRange(1, 5).Draw(rt, "step"))
	want := m.cancelStep(r, step)
	_, err := m.backend.Cancel(context.Background(), m.who(), r.ref, api.CancelRequest{Step: step})
	m.answers(rt, "cancel "+step+" of "+r.ref, err, want)
}

func (m *machine) continueOne(rt *rapid.T) {
	r := m.some(rt)
	if r == nil || r.bare {
		return
	}
	request := api.AgainRequest{Again: rapid.Bool().Draw(rt, "confirmed")}
	if rapid.IntRange(0, 2).Draw(rt, "with from") == 0 {
		request.From = fmt.Sprint("s", rapid.IntRange(1, 5).Draw(rt, "from"))
	}
	want := m.continues(r, request.From, request.Again, m.clock.Now())
	_, err := m.backend.Continue(context.Background(), m.who(), r.ref, request)
	m.answers(rt, fmt.Sprintf("continue %s %+v", r.ref, request), err, want)
}

func (m *machine) restartOne(rt *rapid.T) {
	r := m.some(rt)
	if r == nil {
		return
	}
	request := api.AgainRequest{Again: rapid.Bool().Draw(rt, "confirmed"), Latest: rapid.Bool().Draw(rt, "latest")}
	if rapid.IntRange(0, 2).Draw(rt, "with from") == 0 {
		request.From = fmt.Sprint("s", rapid.IntRange(1, 5).Draw(rt, "from"))
	}
	_, want := m.restarts(r, request.From, request.Latest, request.Again, m.clock.Now())
	_, err := m.backend.Restart(context.Background(), m.who(), r.ref, request)
	m.answers(rt, fmt.Sprintf("restart %s %+v", r.ref, request), err, want)
}

// pass lets ten minutes pass: longer than any pause before a retry. What is to
// start at a time is to start at a full minute; a clock that was set is noticed
// within half a minute.
func (m *machine) pass(*rapid.T) {
	time.Sleep(30 * time.Second)
	m.wake()
	m.settled()
	time.Sleep(30 * time.Second)
	m.settled()
	for range 9 {
		time.Sleep(time.Minute)
		m.settled()
	}
}

// setClock sets the clock forward, or a little back, and lets it be noticed.
func (m *machine) setClock(rt *rapid.T) {
	m.clock.set(time.Duration(rapid.IntRange(-1, 60).Draw(rt, "minutes")) * time.Minute)
	m.pass(rt)
}

// same holds that the daemon is what the model is.
func (m *machine) same(rt *rapid.T) {
	page, err := m.backend.Tasks(context.Background(), api.TaskQuery{})
	if err != nil {
		rt.Fatal(err)
	}
	var got, want []string
	for _, t := range page.Items {
		got = append(got, fmt.Sprintf("%s %d steps, version %d, disabled %t", t.Name, t.StepCount, t.Version, t.Status == "disabled"))
	}
	for _, name := range slices.Sorted(maps.Keys(m.tasks)) {
		t := m.tasks[name]
		want = append(want, fmt.Sprintf("%s %d steps, version %d, disabled %t", name, len(t.steps), t.version, t.disabled && len(t.steps) > 0))
	}
	if !slices.Equal(got, want) {
		rt.Fatalf("the tasks are\n%s, want\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	var under []string
	for _, r := range m.runs {
		text := r.ref + " " + r.status
		for i, st := range r.steps {
			text += fmt.Sprintf(", %s %s #%d", r.def.steps[i].name, st.status, st.attempt)
			if st.status == "running" {
				under = append(under, fmt.Sprintf("%s %s #%d", r.ref, r.def.steps[i].name, st.attempt))
			}
		}
		detail, err := m.backend.Run(context.Background(), r.ref)
		if err != nil {
			rt.Fatal(err)
		}
		is := detail.Ref + " " + detail.Status
		for _, s := range detail.Steps {
			is += fmt.Sprintf(", %s %s #%d", s.Name, s.Status, s.Attempt)
		}
		if is != text {
			rt.Fatalf("a run is\n%s (%s), want\n%s\nof\n%s", is, detail.Reason, text, m.describe())
		}
		if detail.Progress < r.progress || (detail.Progress == 100) != (detail.Status == "completed") {
			rt.Fatalf("%s: progress %g after %g", is, detail.Progress, r.progress)
		}
		if r.progress = detail.Progress; !alive(r.status) {
			if (detail.Reason == "") != (r.status == "completed") {
				rt.Fatalf("%s: the reason is %q", is, detail.Reason)
			}
		}
	}
	slices.Sort(under)
	if got := m.stage.under(); !slices.Equal(got, under) {
		rt.Fatalf("under way are\n%v, want\n%v", got, under)
	}
}

// drain lets everything end that is alive.
func (m *machine) drain(rt *rapid.T) {
	for range 1000 {
		if !slices.ContainsFunc(m.runs, func(r *modelRun) bool { return alive(r.status) }) {
			return
		}
		for under := m.stage.under(); len(under) > 0; under = m.stage.under() {
			key, _, _ := strings.Cut(under[0], " #")
			m.end1(key, "completed")
		}
		m.pass(rt)
		m.same(rt)
	}
	rt.Fatalf("some runs never end")
}
