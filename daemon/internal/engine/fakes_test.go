package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// patience bounds every wait of these tests. It is long, because the machine
// may be busy; nothing waits for it to pass.
const patience = time.Minute

// bell wakes all who wait for a condition.
type bell struct {
	mu sync.Mutex
	ch chan struct{}
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

// await blocks until cond holds; cond is tried each time that the bell rings.
func (b *bell) await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		next := b.next()
		if cond() {
			return
		}
		select {
		case <-next:
		case <-limit.C:
			t.Fatalf("waited %s in vain for: %s", patience, what)
		}
	}
}

// clock is moved by hand, or, when it leaps, jumps to each timer as it is set.
type clock struct {
	bell   *bell
	mu     sync.Mutex
	now    time.Time
	leap   bool
	timers map[*timer]struct{}
}

type timer struct {
	at time.Time
	f  func()
}

func newClock(b *bell) *clock {
	return &clock{bell: b, now: time.Date(2026, 3, 8, 1, 59, 0, 0, time.UTC), timers: map[*timer]struct{}{}}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) AfterFunc(d time.Duration, f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.bell.ring()
	if d <= 0 || c.leap {
		c.now = c.now.Add(max(0, d))
		go f()
		return func() bool { return false }
	}
	one := &timer{c.now.Add(d), f}
	c.timers[one] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, pending := c.timers[one]
		delete(c.timers, one)
		return pending
	}
}

// advance moves time on and fires what is due, in order.
func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	end := c.now.Add(d)
	for {
		var first *timer
		for one := range c.timers {
			if !one.at.After(end) && (first == nil || one.at.Before(first.at)) {
				first = one
			}
		}
		if first == nil {
			break
		}
		delete(c.timers, first)
		c.now = first.at
		go first.f()
	}
	c.now = end
	c.mu.Unlock()
}

// awaitTimer waits until a timer is due in d.
func (c *clock) awaitTimer(t testing.TB, d time.Duration) {
	t.Helper()
	c.bell.await(t, fmt.Sprintf("a timer in %s", d), func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for one := range c.timers {
			if one.at.Equal(c.now.Add(d)) {
				return true
			}
		}
		return false
	})
}

// db is the real store with switches: it fails for good from a chosen commit
// on, as in a crash, or has no room for a while.
type db struct {
	*store.Store
	bell *bell

	mu      sync.Mutex
	left    int // updates until it fails; less than 0: never
	failed  bool
	full    bool
	updates int
	refused int // because of full
	hold    chan struct{}
	held    int

	unreadable int // views that fail

	reads atomic.Int64 // runs that were passed on the way through many

	spoiled error // of each update that makes a hook of a run's end
	late    bool  // and that only when all of it is written

	damaged   bool   // the oldest run is: whoever passes it is told in the end
	before    func() // is called once, ahead of the next update
	taskReads atomic.Int64
}

// spoiler is a transaction in which no hook of a run's end can be made.
type spoiler struct {
	engine.Tx
	err    error
	late   bool
	spoilt bool
}

func (s *spoiler) PutRun(run task.Run) error {
	if run.HookOf > 0 && run.Status == task.RunQueued {
		if s.spoilt = true; !s.late {
			return s.err
		}
	}
	return s.Tx.PutRun(run)
}

func (d *db) readable() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.unreadable == 0 }

func (d *db) waiting() int { d.mu.Lock(); defer d.mu.Unlock(); return d.held }

func (d *db) View(fn func(engine.Reader) error) error {
	d.mu.Lock()
	if d.unreadable > 0 {
		d.unreadable--
		d.mu.Unlock()
		return errBroken
	}
	d.mu.Unlock()
	return d.Store.View(func(tx *store.Tx) error { return fn(counting{tx, d}) })
}

// counting counts the runs that are read one after another.
type counting struct {
	engine.Reader
	d *db
}

func (c counting) count(fn func(task.Run) bool) func(task.Run) bool {
	return func(run task.Run) bool { c.d.reads.Add(1); return fn(run) }
}

func (c counting) Runs(name string, before task.RunID, fn func(task.Run) bool) error {
	return c.Reader.Runs(name, before, c.count(fn))
}

func (c counting) Tasks(after string, fn func(task.Task) bool) error {
	return c.Reader.Tasks(after, func(t task.Task) bool { c.d.taskReads.Add(1); return fn(t) })
}

func (c counting) RunsAfter(name string, after task.RunID, fn func(task.Run) bool) error {
	err := c.Reader.RunsAfter(name, after, c.count(fn))
	if damaged := c.d.damaged; err == nil && damaged && after == 0 {
		err = errBroken
	}
	return err
}

func (d *db) Update(ctx context.Context, fn func(engine.Tx) error) error {
	d.mu.Lock()
	if hold := d.hold; hold != nil {
		d.held++
		d.mu.Unlock()
		d.bell.ring()
		<-hold
		d.mu.Lock()
		d.held--
	}
	switch {
	case d.failed || d.left == 0:
		d.failed = true
		d.mu.Unlock()
		d.bell.ring()
		return fmt.Errorf("%w: the power went", task.ErrStoreFailed)
	case d.full:
		d.refused++
		d.mu.Unlock()
		d.bell.ring()
		return fmt.Errorf("%w: not even a byte", task.ErrDiskFull)
	}
	d.left--
	d.updates++
	if before := d.before; before != nil {
		d.before = nil
		d.mu.Unlock()
		before()
		d.mu.Lock()
	}
	spoiled, late := d.spoiled, d.late
	d.mu.Unlock()
	err := d.Store.Update(ctx, func(tx *store.Tx) error {
		if spoiled == nil {
			return fn(tx)
		}
		s := &spoiler{Tx: tx, err: spoiled, late: late}
		if err := fn(s); err != nil || !s.spoilt {
			return err
		}
		return spoiled
	})
	d.bell.ring()
	return err
}

func (d *db) Reserve() error { return d.Room() }

func (d *db) Room() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return fmt.Errorf("%w: not even a byte", task.ErrDiskFull)
	}
	return nil
}

func (d *db) set(change func(*db)) {
	d.mu.Lock()
	change(d)
	d.mu.Unlock()
	d.bell.ring()
}

func (d *db) dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// exec is one call of a controller.
type exec struct {
	task.Work
	task.Reporter
	ctx context.Context
	c   *controllers
	n   int // how often this step was executed in this test, from 1
}

// untilEnded blocks until the context ends or the daemon "crashes".
func (x *exec) untilEnded() task.Outcome {
	select {
	case <-x.ctx.Done():
		return task.Outcome{Kind: task.OutcomeCancelled, Message: context.Cause(x.ctx).Error()}
	case <-x.c.cutOff():
		return task.Outcome{Kind: task.OutcomeNoResult, Message: "cut off"}
	}
}

// gate blocks like untilEnded, or completes when the gate opens.
func (x *exec) gate(open <-chan struct{}) task.Outcome {
	select {
	case <-open:
		return done
	case <-x.ctx.Done():
		return task.Outcome{Kind: task.OutcomeCancelled, Message: context.Cause(x.ctx).Error()}
	case <-x.c.cutOff():
		return task.Outcome{Kind: task.OutcomeNoResult, Message: "cut off"}
	}
}

var (
	done   = task.Outcome{Kind: task.OutcomeCompleted}
	faulty = task.Outcome{Kind: task.OutcomeFailed, Message: "no luck"}
)

type (
	behaviour func(x *exec) task.Outcome
	planner   func(x *exec, add func([]task.PlannedStep) error) task.Outcome
)

// controllers does what is scripted by the step's name ("a", "a/child", or
// "a/*" for all planned steps of a). A step without a script completes.
// It outlives engines, as the world does.
type controllers struct {
	bell *bell

	mu       sync.Mutex
	do       map[string]behaviour
	plan     map[string]planner
	effects  map[string]task.Effect
	lookup   func(ctx context.Context, name string) error
	calls    []string // "a#1": step and attempt, as they began; "plan a#1"
	ended    []string
	count    map[string]int
	running  int
	most     int
	plans    int
	runs     map[string]int // how many are carried out now, by plugin
	mostOf   map[string]int // and at most
	endRuns  []task.RunID
	complete map[string]int // by "run step": completions that controllers reported
	cut      chan struct{}
	work     map[string]task.Work // the newest, by step
}

func newControllers(b *bell) *controllers {
	return &controllers{
		bell: b, do: map[string]behaviour{}, plan: map[string]planner{}, effects: map[string]task.Effect{},
		runs: map[string]int{}, mostOf: map[string]int{}, count: map[string]int{}, complete: map[string]int{}, cut: make(chan struct{}), work: map[string]task.Work{},
	}
}

func (c *controllers) on(step string, b behaviour)      { c.mu.Lock(); c.do[step] = b; c.mu.Unlock() }
func (c *controllers) plansInto(step string, p planner) { c.mu.Lock(); c.plan[step] = p; c.mu.Unlock() }

// onFail fails n times and then completes.
func (c *controllers) onFail(step string, n int, o task.Outcome) {
	c.on(step, func(x *exec) task.Outcome {
		if x.n <= n {
			return o
		}
		return done
	})
}

func (c *controllers) cutOff() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}

// crash ends all that blocks.
func (c *controllers) crash() { c.mu.Lock(); close(c.cut); c.mu.Unlock() }

// Lookup implements engine.Controllers: the controller of a step is named as
// the step is.
func (c *controllers) Lookup(ctx context.Context, name string) (task.ControllerInfo, error) {
	c.mu.Lock()
	lookup := c.lookup
	_, plans := c.plan[name]
	info := task.ControllerInfo{Name: name, Plugin: name, Effect: c.effects[name], Plans: plans}
	c.mu.Unlock()
	if info.Effect == "" {
		info.Effect = task.Idempotent
	}
	if lookup != nil {
		if err := lookup(ctx, name); err != nil {
			return task.ControllerInfo{}, err
		}
	}
	return info, nil
}

func (c *controllers) begin(w task.Work, prefix string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.bell.ring()
	c.calls = append(c.calls, fmt.Sprintf("%s%s#%d", prefix, w.Step, w.Attempt.Number))
	c.running++
	c.most = max(c.most, c.running)
	plugin, _, _ := strings.Cut(w.Controller, "/")
	c.runs[plugin]++
	c.mostOf[plugin] = max(c.mostOf[plugin], c.runs[plugin])
	if w.Attempt.Position.Sub > 0 {
		w.Settings = nil
	}
	c.work[w.Step] = w
	key := fmt.Sprintf("%d %s%s", w.Attempt.Run, prefix, w.Step)
	c.count[key]++
	return c.count[key]
}

func (c *controllers) end(w task.Work, prefix string, o task.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.bell.ring()
	c.running--
	plugin, _, _ := strings.Cut(w.Controller, "/")
	c.runs[plugin]--
	c.ended = append(c.ended, fmt.Sprintf("%s%s#%d", prefix, w.Step, w.Attempt.Number))
	if o.Kind == task.OutcomeCompleted && prefix == "" {
		c.complete[fmt.Sprintf("%d %s", w.Attempt.Run, w.Step)]++
	}
}

// Execute implements engine.Controllers.
func (c *controllers) Execute(ctx context.Context, w task.Work, r task.Reporter) task.Outcome {
	n := c.begin(w, "")
	c.mu.Lock()
	b := c.do[w.Step]
	if b == nil && w.Attempt.Position.Sub > 0 {
		b = c.do[w.Controller+"/*"]
	}
	c.mu.Unlock()
	o := done
	if b != nil {
		o = b(&exec{w, r, ctx, c, n})
	}
	c.end(w, "", o)
	return o
}

// Plan implements engine.Controllers.
func (c *controllers) Plan(ctx context.Context, w task.Work, r task.Reporter, add func([]task.PlannedStep) error) task.Outcome {
	n := c.begin(w, "plan ")
	c.mu.Lock()
	p := c.plan[w.Step]
	c.plans++
	c.mu.Unlock()
	o := p(&exec{w, r, ctx, c, n}, add)
	c.end(w, "plan ", o)
	return o
}

// EndRun implements engine.Controllers.
func (c *controllers) EndRun(id task.RunID) {
	c.mu.Lock()
	c.endRuns = append(c.endRuns, id)
	c.mu.Unlock()
	c.bell.ring()
}

// into plans n steps c1..cn.
func into(n int, each func(i int, s *task.PlannedStep)) planner {
	return func(x *exec, add func([]task.PlannedStep) error) task.Outcome {
		var batch []task.PlannedStep
		for i := range n {
			s := task.PlannedStep{Name: fmt.Sprintf("c%d", i+1)}
			if each != nil {
				each(i+1, &s)
			}
			if batch = append(batch, s); len(batch) == 100 || i == n-1 {
				if err := add(batch); err != nil {
					return task.Outcome{Kind: task.OutcomeFailed, Message: err.Error()}
				}
				batch = nil
			}
		}
		return done
	}
}

func (c *controllers) began(call string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.calls, call)
}

func (c *controllers) list() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

func (c *controllers) snapshot() (running, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running, c.most
}

// runLog keeps the lines of runs in memory.
type runLog struct {
	bell    *bell
	mu      sync.Mutex
	open    map[string]bool
	lines   map[string][]task.LogEntry
	closed  map[string]int
	removed map[string]bool
}

func (l *runLog) Append(run task.Run, e task.LogEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines[run.Ref()] = append(l.lines[run.Ref()], e)
	l.open[run.Ref()] = true
}

func (l *runLog) Close(run task.Run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed[run.Ref()]++
	l.open[run.Ref()] = false
	l.bell.ring()
}

func (l *runLog) isOpen(ref string) bool { l.mu.Lock(); defer l.mu.Unlock(); return l.open[ref] }

func (l *runLog) Remove(run task.Run) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.removed[run.Ref()] = true
	return nil
}

func (l *runLog) of(ref string) []task.LogEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines[ref])
}

func (l *runLog) Size(run task.Run) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(100 * len(l.lines[run.Ref()])), nil
}

// workspaces keeps names only.
type workspaces struct {
	bell    *bell
	mu      sync.Mutex
	made    map[string]bool
	removed map[string]bool
	fault   error
	stays   func(ref string) error // nil: all can be removed
	tries   int                    // to remove
}

func (w *workspaces) Make(run task.Run) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault != nil {
		return "", w.fault
	}
	w.made[run.Ref()] = true
	return "/work/" + run.Ref(), nil
}

func (w *workspaces) Remove(run task.Run) error {
	w.mu.Lock()
	defer w.bell.ring()
	defer w.mu.Unlock()
	w.tries++
	if w.stays != nil {
		if err := w.stays(run.Ref()); err != nil {
			return err
		}
	}
	w.removed[run.Ref()] = true
	return nil
}

func (w *workspaces) Size(task.Run) (int64, error) { return 0, nil }

func (w *workspaces) gone() map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.removed)
}

var errBroken = errors.New("broken on purpose")

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }

func raw(s string) json.RawMessage { return json.RawMessage(s) }
