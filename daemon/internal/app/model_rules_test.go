package app

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
)

// model is what the daemon must be, as small as it can be said: no store, no
// goroutine, no plugin.
type model struct {
	tasks   map[string]*modelTask
	runs    []*modelRun // as they were made
	numbers map[string]int
}

type modelTask struct {
	version  uint64
	steps    []modelStep
	disabled bool
	priority int
	maxRuns  int
	locks    []string
}

type modelStep struct {
	name      string
	once      bool // must not be repeated
	interrupt bool
	attempts  int    // in all
	when      string // "", or "s1 completed": the status that an earlier step must have
}

type modelRun struct {
	ref, task string
	def       modelTask
	status    string
	steps     []modelState
	queuedAt  time.Time
	notBefore time.Time
	joined    bool // its time has come
	priority  int
	batch     string
	only      string
	halted    bool
	cancelled bool
	left      map[string]string // status that a step had in the run of which this one is a restart that begins behind it
	bare      bool              // it may have lost its files: a newer run has ended since, or its task was deleted
	progress  float64
}

type modelState struct {
	status                 string
	attempt, tries, losses int
}

func newModel() model { return model{tasks: map[string]*modelTask{}, numbers: map[string]int{}} }

func alive(status string) bool { return status == "queued" || status == "running" }

func ended(status string) bool {
	return status != "ready" && status != "running" && status != "waiting"
}

func (t *modelTask) clone() modelTask {
	c := *t
	c.steps, c.locks = slices.Clone(t.steps), slices.Clone(t.locks)
	return c
}

func (t *modelTask) at(step string) int {
	return slices.IndexFunc(t.steps, func(s modelStep) bool { return s.name == step })
}

// document is the task as it is saved over the socket.
func (t *modelTask) document(name string) string {
	var steps []string
	for _, s := range t.steps {
		steps = append(steps, s.document())
	}
	locks := ""
	if len(t.locks) > 0 {
		locks = `,"locks":["` + strings.Join(t.locks, `","`) + `"]`
	}
	limit := ""
	if t.maxRuns > 0 {
		limit = fmt.Sprintf(`,"max_runs":%d`, t.maxRuns)
	}
	return fmt.Sprintf(`{"name":%q,"priority":%d%s%s,"steps":[%s]}`, name, t.priority, limit, locks, strings.Join(steps, ","))
}

func (s *modelStep) document() string {
	controller, more := "idem", ""
	if s.once {
		controller = "once"
	} else {
		more = fmt.Sprintf(`,"retry":{"attempts":%d,"backoff":"1s"}`, s.attempts)
	}
	if name, status, ok := strings.Cut(s.when, " "); ok {
		more += fmt.Sprintf(`,"when":"steps.%s.status == \"%s\""`, name, status)
	}
	if s.interrupt {
		more += `,"interrupt_on_step_fault":true`
	}
	return fmt.Sprintf(`{"name":%q,"controller":%q%s}`, s.name, controller, more)
}

// own are the task's runs, newest first.
func (m *model) own(name string) (list []*modelRun) {
	for _, r := range slices.Backward(m.runs) {
		if r.task == name {
			list = append(list, r)
		}
	}
	return list
}

func (m *model) busy(name string) bool {
	return slices.ContainsFunc(m.own(name), func(r *modelRun) bool { return alive(r.status) })
}

// runnable is why there can be no run of the task.
func (m *model) runnable(name string) api.Code {
	switch t := m.tasks[name]; {
	case t == nil:
		return api.CodeNotFound
	case len(t.steps) == 0 || t.disabled:
		return api.CodeState
	}
	return ""
}

// mayDoOnly is why a step may not be carried out alone: what comes before it has
// failed and interrupts, in the newest run that dealt with it.
func (m *model) mayDoOnly(name, step string) api.Code {
	t := m.tasks[name]
	at := t.at(step)
	if at < 0 {
		return api.CodeNotFound
	}
	open := map[string]bool{}
	for _, s := range t.steps[:at] {
		open[s.name] = s.interrupt
	}
	for _, r := range m.own(name) {
		for i, s := range r.def.steps {
			if !open[s.name] {
				continue
			}
			switch r.steps[i].status {
			case "failed", "interrupted":
				return api.CodeState
			case "ready":
			default:
				open[s.name] = false
			}
		}
		if r.only == "" {
			break
		}
	}
	return ""
}

// make adds a queued run.
func (m *model) make(name string, def modelTask, now time.Time) *modelRun {
	m.numbers[name]++
	r := &modelRun{
		ref: fmt.Sprintf("%s/%d", name, m.numbers[name]), task: name, def: def, status: "queued",
		queuedAt: now, priority: def.priority,
	}
	for range def.steps {
		r.steps = append(r.steps, modelState{status: "ready"})
	}
	m.runs = append(m.runs, r)
	return r
}

// settle lets everything happen that may happen now.
func (m *model) settle(now time.Time) {
	for _, r := range m.runs {
		if r.status == "running" {
			m.advance(r)
		}
	}
	for {
		for _, r := range m.runs {
			if r.status == "queued" && !r.notBefore.After(now) {
				r.joined = true
			}
		}
		next := m.next()
		if next == nil {
			return
		}
		next.status, next.halted = "running", false
		m.advance(next)
	}
}

// next is the queued run that may start.
func (m *model) next() *modelRun {
	var running, line []*modelRun
	for _, r := range m.runs {
		switch r.status {
		case "running":
			running = append(running, r)
		case "queued":
			line = append(line, r)
		}
	}
	if len(running) >= modelMaxRuns {
		return nil
	}
	place := func(r *modelRun) int { return slices.Index(m.runs, r) }
	// Of a batch the first alone, and none while one of it runs.
	line = slices.DeleteFunc(line, func(r *modelRun) bool {
		if !r.joined {
			return true
		}
		same := func(other *modelRun) bool { return r.batch != "" && other.batch == r.batch }
		return slices.ContainsFunc(running, same) || slices.ContainsFunc(m.runs[:place(r)], func(other *modelRun) bool {
			return other.status == "queued" && same(other)
		})
	})
	slices.SortStableFunc(line, func(a, b *modelRun) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), a.queuedAt.Compare(b.queuedAt), cmp.Compare(place(a), place(b)))
	})
	wanted := map[string]bool{}
	for _, r := range running {
		for _, lock := range r.def.locks {
			wanted[lock] = true
		}
	}
	for _, r := range line {
		carried := 0
		for _, other := range running {
			if other.task == r.task {
				carried++
			}
		}
		free := r.def.maxRuns == 0 || carried < r.def.maxRuns
		for _, lock := range r.def.locks {
			free = free && !wanted[lock]
		}
		if free {
			return r
		}
		for _, lock := range r.def.locks {
			wanted[lock] = true
		}
	}
	return nil
}

// advance starts the run's next step, or ends the run.
func (m *model) advance(r *modelRun) {
	for i := range r.steps {
		s, st := &r.def.steps[i], &r.steps[i]
		switch {
		case r.halted:
		case st.status == "running" || st.status == "waiting":
			return
		case r.only != "" && s.name != r.only:
		case ended(st.status):
			r.halted = st.status == "cancelled" && s.interrupt
		case !r.holds(s.when):
			st.status = "skipped"
		default:
			st.status = "running"
			st.attempt++
			st.tries++
			return
		}
	}
	m.end(r)
}

func (r *modelRun) holds(when string) bool {
	name, status, ok := strings.Cut(when, " ")
	return !ok || r.seen(name) == status
}

// seen is the status of a step as conditions see it.
func (r *modelRun) seen(name string) string {
	if was, ok := r.left[name]; ok {
		return was
	}
	return r.steps[r.def.at(name)].status
}

func (m *model) end(r *modelRun) {
	count := map[string]int{}
	for i := range r.steps {
		st := &r.steps[i]
		if st.status == "waiting" {
			if st.status = "ready"; r.cancelled {
				st.status = "cancelled"
			}
		}
		count[st.status]++
	}
	switch {
	case r.cancelled:
		r.status = "cancelled"
	case count["failed"] > 0:
		r.status = "failed"
	case count["completed"]+count["skipped"] == len(r.steps):
		r.status = "completed"
	default:
		r.status = "incomplete"
	}
	m.strip(r)
}

// strip notes what the end of a run may cost older ones, and what newer ones have
// cost it.
func (m *model) strip(r *modelRun) {
	for _, other := range m.own(r.task) {
		switch newer := slices.Index(m.runs, other) > slices.Index(m.runs, r); {
		case newer && !alive(other.status):
			r.bare = true
		case other != r && !newer:
			other.bare = true
		}
	}
}

// finish is how an attempt ended.
func (m *model) finish(r *modelRun, i int, kind string) {
	s, st := &r.def.steps[i], &r.steps[i]
	switch {
	case kind == "completed":
		st.status = "completed"
	case kind == "no_result" && s.once:
		st.status, r.halted = "interrupted", true
	case kind != "permanent" && !s.once && st.tries < s.attempts:
		st.status = "waiting"
	default:
		st.status = "failed"
		r.halted = r.halted || s.interrupt
	}
}

// wake ends all pauses before a retry: the time has passed.
func (m *model) wake() {
	for _, r := range m.runs {
		for i := range r.steps {
			if r.status == "running" && r.steps[i].status == "waiting" {
				r.steps[i].status = "running"
				r.steps[i].attempt++
				r.steps[i].tries++
			}
		}
	}
}

// lose is what the end of a life of the daemon does to what was under way.
func (m *model) lose(crash bool) {
	for _, r := range m.runs {
		if r.status == "queued" {
			r.joined = false
		}
		for i := range r.steps {
			s, st := &r.def.steps[i], &r.steps[i]
			if r.status != "running" || st.status != "running" {
				continue
			}
			if crash {
				st.losses++
			}
			switch {
			case st.losses >= 3:
				st.status = "failed"
				r.halted = r.halted || s.interrupt
			case s.once:
				st.status, r.halted = "interrupted", true
			default:
				st.status = "ready"
				st.tries = max(0, st.tries-1)
			}
		}
	}
}

func (m *model) cancel(r *modelRun) api.Code {
	if !alive(r.status) {
		return api.CodeState
	}
	r.cancelled = true
	if r.status == "queued" {
		r.status = "cancelled"
		m.strip(r)
		return ""
	}
	for i := range r.steps {
		if r.steps[i].status == "running" {
			r.steps[i].status = "cancelled"
		}
	}
	m.end(r)
	return ""
}

// again lists the steps that must not be repeated and would be.
func (r *modelRun) again(redone func(i int) bool) bool {
	for i := range r.steps {
		if r.def.steps[i].once && r.steps[i].attempt > 0 && redone(i) {
			return true
		}
	}
	return false
}

func (m *model) continues(r *modelRun, from string, confirmed bool, now time.Time) api.Code {
	at := len(r.steps)
	if from != "" {
		at = r.def.at(from)
	}
	conditional := func(i int) bool { return r.steps[i].status == "skipped" && r.def.steps[i].when != "" }
	redone := func(i int) bool {
		return i >= at || r.steps[i].status != "completed" && (r.steps[i].status != "skipped" || conditional(i))
	}
	switch {
	case alive(r.status) || r.status == "completed":
		return api.CodeState
	case at < 0:
		return api.CodeNotFound
	case !confirmed && r.again(redone):
		return api.CodeConfirm
	}
	for i := range r.steps {
		if redone(i) {
			delete(r.left, r.def.steps[i].name)
			r.steps[i] = modelState{status: "ready", attempt: r.steps[i].attempt}
		}
	}
	r.status, r.queuedAt, r.cancelled, r.halted, r.only, r.notBefore, r.joined, r.progress = "queued", now, false, false, "", time.Time{}, false, 0
	return ""
}

func (m *model) restarts(r *modelRun, from string, latest, confirmed bool, now time.Time) (*modelRun, api.Code) {
	t := m.tasks[r.task]
	def := r.def
	switch {
	case alive(r.status):
		return nil, api.CodeState
	case t != nil && t.disabled, latest && (t == nil || len(t.steps) == 0):
		return nil, api.CodeState
	case latest:
		def = t.clone()
	}
	at := 0
	if from != "" {
		if at = def.at(from); at < 0 {
			return nil, api.CodeNotFound
		}
	}
	only := ""
	if from == "" {
		only = r.only
	}
	if only != "" && def.at(only) < 0 {
		return nil, api.CodeNotFound
	}
	carried := func(i int) bool {
		now := def.at(r.def.steps[i].name)
		return now >= at && (only == "" || r.def.steps[i].name == only)
	}
	if !confirmed && r.again(carried) {
		return nil, api.CodeConfirm
	}
	next := m.make(r.task, def, now)
	next.only = only
	next.left = map[string]string{}
	for i := range at {
		next.steps[i].status = "skipped"
		if name := def.steps[i].name; r.def.at(name) >= 0 {
			next.left[name] = r.seen(name)
		}
	}
	return next, ""
}

// cancelStep ends one step; the run goes on.
func (m *model) cancelStep(r *modelRun, step string) api.Code {
	i := r.def.at(step)
	switch {
	case !alive(r.status):
		return api.CodeState
	case i < 0:
		return api.CodeNotFound
	case ended(r.steps[i].status):
		return api.CodeState
	}
	r.steps[i].status = "cancelled"
	return ""
}

// describe lists the runs that are alive.
func (m *model) describe() string {
	var lines []string
	for _, r := range m.runs {
		if alive(r.status) {
			lines = append(lines, fmt.Sprintf("%s %s: priority %d, max_runs %d, locks %v, batch %q, queued %s, not before %s", r.ref, r.status, r.priority, r.def.maxRuns, r.def.locks,
				r.batch, r.queuedAt.Format(time.TimeOnly), r.notBefore.Format(time.TimeOnly)))
		}
	}
	return strings.Join(lines, "\n")
}
