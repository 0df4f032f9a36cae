package schedule

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// The model: worlds of ten tasks each in which a daemon runs, dies and comes
// back, the clock jumps, and people change things, for 10,000 days. After each
// step the runs that were made, and every now and then the whole account, are
// those that the rules say. The rules are computed by accounts of their own
// (model_rules_test.go), which share the nominal times with the ledger and
// nothing else.
const (
	modelWorlds = 5
	modelTasks  = 10 // of each world
)

// The name has it run without the race detector too, in full.
func TestModelOfDueTimes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(modelWorlds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seed)
			w.live(modelDays * 24 * time.Hour)
			t.Logf("%d looks, %d crashes, %d jumps back, %d times decided, %d runs, %d changes",
				w.looks, w.crashes, w.setBacks, w.decided, len(w.store.submits), w.changes)
		})
	}
}

// world is a daemon and its surroundings. Time in it is real time since its
// begin; the wall clock may be off.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	store *memStore
	clock *handClock

	ledger *Ledger
	real   time.Duration
	off    time.Duration // of the wall clock
	upAt   time.Duration // the daemon is down until then
	chaos  time.Duration // the next thing that happens

	tasks []*actor
	seen  int          // runs of the store that are known here
	runs  []*modelRun  // alive
	die   func() error // at the commit, or nil
	after bool         // after the commit

	looks, crashes, setBacks, decided, changes int
}

type modelRun struct {
	run task.Run
	end time.Duration
}

// actor is a task and what should have become of its schedules.
type actor struct {
	name     string
	def      task.Task
	accounts map[string]*reckoning
	busy     bool // one schedule with many times
}

var errCrash = errors.New("the daemon dies")

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 77)), store: newMemStore(), clock: &handClock{}}
	w.store.twice = func() bool { return w.rng.IntN(20) == 0 }
	w.store.before = func() error {
		if w.die != nil && !w.after {
			return w.die()
		}
		return nil
	}
	w.store.after = func() error {
		if w.die != nil && w.after {
			return w.die()
		}
		return nil
	}
	w.boot()
	w.setClock()
	for i := range modelTasks {
		a := &actor{name: fmt.Sprintf("t%02d", i), accounts: map[string]*reckoning{}, busy: i%2 == 0}
		w.tasks = append(w.tasks, a)
		w.redefine(a)
	}
	return w
}

func (w *world) boot() {
	w.ledger = NewLedger(Config{Store: w.store, Clock: w.clock, Zones: &Zones{}, KeepSlots: -1})
}

func (w *world) wall() time.Time {
	return time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC).Add(w.real + w.off)
}

func (w *world) setClock() { w.clock.set(w.wall()) }

func (w *world) fatal(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("day %d, %v: %s", w.real/(24*time.Hour), w.wall(), fmt.Sprintf(format, args...))
}

// draw is a duration up to d, small ones as likely as large ones.
func (w *world) draw(d time.Duration) time.Duration {
	for n := w.rng.IntN(10); n > 0 && d > 2*time.Second; n-- {
		d /= 2
	}
	return time.Duration(w.rng.Int64N(int64(d)) + 1).Truncate(time.Millisecond)
}

func (w *world) live(until time.Duration) {
	verified := w.real
	for w.real < until {
		w.step()
		if w.real-verified > 40*24*time.Hour {
			verified = w.real
			w.verify()
		}
	}
	w.verify()
}

// step goes to the next thing that happens, and lets it.
func (w *world) step() {
	if w.chaos <= w.real {
		w.chaos = w.real + w.draw(10*24*time.Hour)
	}
	next := w.chaos
	look := false
	if w.real < w.upAt { // comes back, with a clock that may have been set
		w.real = w.upAt
		w.setClock()
		if w.rng.IntN(4) == 0 { // something is asked of it before it has looked
			w.disturb()
		}
		w.look()
		return
	}
	if due := w.firstDue(); due < next {
		next, look = due, true
	}
	ends := -1
	for i, r := range w.runs {
		if r.end < next {
			next, look, ends = r.end, false, i
		}
	}
	w.real = max(w.real, next)
	w.setClock()
	switch {
	case ends >= 0:
		w.endRun(w.runs[ends])
	case look:
		w.real += time.Duration(w.rng.IntN(1500)) * time.Millisecond
		w.setClock()
		w.look()
	default:
		w.disturb()
	}
}

// firstDue is when the daemon looks: when something is due, but it may be kept
// from it for a while now and then.
func (w *world) firstDue() time.Duration {
	if len(w.store.due) == 0 {
		return 1 << 62
	}
	return max(w.real, w.real+w.store.due[0].Due.Sub(w.wall()))
}

// update is a transaction of the engine. It may be the daemon's last.
func (w *world) update(fn func(tx *memTx) error) (committed bool) {
	commits := w.store.commits
	err := w.store.Update(context.Background(), func(tx Tx) error { return fn(tx.(*memTx)) })
	if err != nil && !errors.Is(err, errCrash) {
		w.fatal("%v", err)
	}
	committed = w.store.commits > commits
	if err != nil {
		w.crashed()
	}
	return committed
}

func (w *world) crashed() {
	w.crashes++
	w.die = nil
	w.boot()
	w.upAt = w.real + w.draw(20*24*time.Hour)
}

// look lets the ledger look, and compares what it did with what it should have.
func (w *world) look() {
	w.looks++
	now := w.wall()
	if w.store.mark.Sub(now) > setBackBy {
		w.setBacks++
		ahead := w.ahead(now)
		err := w.ledger.followSetBack(context.Background())
		for key := range ahead {
			if !isAhead(w.store.cursors[key], now) {
				w.account(key).rewind(now)
			}
		}
		if errors.Is(err, errCrash) {
			w.crashed()
			return
		}
	} else if now.Before(w.store.mark) {
		now = w.store.mark
	}
	before := map[place]task.Cursor{}
	if w.die != nil { // it may not come to all
		maps.Copy(before, w.store.cursors)
	}
	var verdicts []verdict
	for _, a := range w.tasks {
		verdicts = append(verdicts, a.decide(now, w.aliveRuns(a.name), a.byDue(w.store, now))...)
	}
	_, err := w.ledger.look(context.Background())
	switch {
	case errors.Is(err, errCrash):
		w.crashed()
	case err != nil:
		w.fatal("look: %v", err)
	}
	w.settle(verdicts, before, err == nil)
	if err != nil {
		return
	}
	a := w.tasks[w.rng.IntN(len(w.tasks))] // nothing is left, if nothing holds it
	if a.held(now) {
		return
	}
	for _, r := range a.accounts {
		if left := r.pending(now, w.aliveRuns(a.name)); len(left) > 0 && !a.held(left[len(left)-1].due) {
			w.fatal("%s/%s left %v undecided", r.task, r.name, left[0].nominal)
		}
	}
}

func (w *world) ahead(now time.Time) map[place]bool {
	found := map[place]bool{}
	for key, c := range w.store.cursors {
		if isAhead(c, now) {
			found[key] = true
		}
	}
	return found
}

func (w *world) account(key place) *reckoning {
	i := slices.IndexFunc(w.tasks, func(a *actor) bool { return a.name == key.task })
	return w.tasks[i].accounts[key.schedule]
}

// settle takes those of the verdicts into the accounts that the ledger has
// committed, which are all if nothing stopped it, and compares the runs.
func (w *world) settle(verdicts []verdict, before map[place]task.Cursor, all bool) {
	var want []string
	for _, v := range verdicts {
		key := place{v.of.task, v.of.name}
		cur := w.store.cursors[key]
		switch {
		case all:
		case v.of.delay() && cur == before[key]:
			continue
		case !v.of.delay() && v.nominal.After(cur.Last):
			continue
		}
		w.decided++
		v.of.enter(v)
		if v.run {
			want = append(want, fmt.Sprintf("%s/%s for %v serial %v replaces %v", v.of.task, v.of.name, v.nominal.UTC(), v.serial, v.replaces))
		}
	}
	var got []string
	for _, run := range w.store.submits[w.seen:] {
		if run.Trigger != "" { // not somebody's
			got = append(got, fmt.Sprintf("%s/%s for %v serial %v replaces %v", run.Task, run.Schedule, run.ScheduledFor, run.Serial, run.Replaces))
		}
		w.adopt(run)
	}
	w.seen = len(w.store.submits)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.fatal("the runs are\n%v\nand should be\n%v\naccount: %s", got, want, w.describe(verdicts))
	}
}

func (w *world) describe(verdicts []verdict) (text string) {
	for _, v := range verdicts {
		text += fmt.Sprintf("\n%s/%s %v: %s", v.of.task, v.of.name, v.nominal.UTC(), v.outcome)
	}
	return text
}

func (w *world) aliveRuns(name string) (n int) {
	for _, r := range w.runs {
		if r.run.Task == name && !r.run.Cause().Hook() {
			n++
		}
	}
	return n
}

// adopt carries out a run as the engine would: how long, is drawn.
func (w *world) adopt(run task.Run) {
	begin := w.real
	for _, other := range w.runs {
		if other.run.Task != run.Task || other.run.Cause().Hook() {
			continue
		}
		if run.Replaces {
			other.end = min(other.end, w.real+5*time.Second)
		}
		if run.Serial {
			begin = max(begin, other.end)
		}
	}
	w.runs = append(w.runs, &modelRun{run, begin + w.draw(12*time.Hour)})
}

func (w *world) endRun(r *modelRun) {
	run := r.run
	run.Status, run.EndedAt = task.RunCompleted, w.wall()
	if w.rng.IntN(4) == 0 {
		run.Status = task.RunFailed
	}
	committed := w.update(func(tx *memTx) error {
		tx.endRun(run)
		return w.ledger.Ended(tx, run)
	})
	if !committed {
		r.end = max(r.end, w.upAt)
		return
	}
	w.runs = slices.DeleteFunc(w.runs, func(other *modelRun) bool { return other == r })
	a := w.tasks[slices.IndexFunc(w.tasks, func(a *actor) bool { return a.name == run.Task })]
	a.ended(run)
}

// disturb lets something happen.
func (w *world) disturb() {
	a := w.tasks[w.rng.IntN(len(w.tasks))]
	switch w.rng.IntN(14) {
	case 0, 1: // the daemon is down
		w.upAt = w.real + w.draw(20*24*time.Hour)
	case 2, 3, 4: // it dies at one of the next commits
		left := w.rng.IntN(20)
		w.after = w.rng.IntN(2) == 0
		w.die = func() error {
			if left--; left < 0 {
				return errCrash
			}
			return nil
		}
	case 5: // the clock is set ahead: it was wrong, or the machine slept
		w.jump(w.draw(10 * 24 * time.Hour))
	case 6, 7: // or back
		w.jump(-10*time.Second - w.draw(6*24*time.Hour))
	case 8: // somebody's run
		w.update(func(tx *memTx) error {
			tx.newRun(task.Run{Task: a.name, CreatedAt: w.wall(), Status: task.RunRunning})
			return nil
		})
		w.settle(nil, nil, true)
	case 9, 10: // held, or held no more
		def := a.def
		if hold := w.rng.IntN(3); def.Held(w.wall()) || def.Pause != nil {
			def.Pause, def.Disabled = nil, false
		} else if hold == 0 {
			def.Disabled = true
		} else {
			def.Pause = &task.Pause{By: "anna", At: w.wall()}
			if hold == 1 {
				def.Pause.Until = w.wall().Add(w.draw(10 * 24 * time.Hour))
			}
		}
		w.change(a, def)
	case 11: // other policies
		def := a.def
		def.Schedules = slices.Clone(def.Schedules)
		for i := range def.Schedules {
			w.drawPolicies(&def.Schedules[i])
		}
		w.change(a, def)
	case 12, 13:
		if w.rng.IntN(3) == 0 {
			w.redefine(a)
		}
	}
}

func (w *world) jump(by time.Duration) {
	w.off += by
	w.real += w.draw(MaxSleep)
	w.setClock()
	if w.rng.IntN(4) == 0 { // a change comes before the ledger has noticed
		a := w.tasks[w.rng.IntN(len(w.tasks))]
		def := a.def
		def.Disabled = !def.Disabled
		w.change(a, def)
	}
	if w.real >= w.upAt {
		w.look()
	}
}

// change saves a task, and compares what was decided before.
func (w *world) change(a *actor, def task.Task) {
	w.changes++
	def.Version++
	now := w.wall()
	saved := a.accounts
	if w.store.mark.Sub(now) > setBackBy {
		a.accounts = map[string]*reckoning{}
		for name, r := range saved {
			a.accounts[name] = r.clone()
			if isAhead(w.store.cursors[place{a.name, name}], now) {
				a.accounts[name].rewind(now)
			}
		}
	} else if now.Before(w.store.mark) {
		now = w.store.mark
	}
	verdicts := a.decide(now, w.aliveRuns(a.name), a.byName())
	if !w.update(func(tx *memTx) error { return changeIn(w.ledger, tx, a.name, &def) }) {
		a.accounts = saved
		return
	}
	w.settle(verdicts, nil, true)
	a.change(def, now)
}

// redefine gives a task other schedules.
func (w *world) redefine(a *actor) {
	def := task.Task{Name: a.name, Version: a.def.Version, Disabled: a.def.Disabled, Pause: a.def.Pause, Steps: []task.Step{{Name: "work"}}}
	count := 1
	if !a.busy {
		count = 1 + w.rng.IntN(3)
	}
	for i := range count {
		s := task.Schedule{Name: string(rune('a'+w.rng.IntN(3))) + fmt.Sprint(i), Timezone: pick(w.rng, "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")}
		w.drawTiming(&s, a.busy)
		w.drawPolicies(&s)
		def.Schedules = append(def.Schedules, s)
	}
	if w.rng.IntN(2) == 0 {
		def.Expect = &task.Expect{By: pick(w.rng, "06:00", "02:30", "23:59:30"), Days: pick(w.rng, "", "mon-fri", "sun"), Timezone: "Europe/Berlin"}
		if w.rng.IntN(3) > 0 {
			def.OnMissed = []task.Step{{Name: "tell"}}
		}
	}
	w.change(a, def)
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

func (w *world) drawTiming(s *task.Schedule, busy bool) {
	switch n := w.rng.IntN(10); {
	case busy && n == 0 && w.rng.IntN(16) == 0:
		s.Cron = pick(w.rng, "*/5 * * * *", "* */3 * * *") // so many that they are worked off in chunks
	case busy && n == 0:
		s.Cron = pick(w.rng, "30 * * * *", "0 */2 * * *", "15 1-5 * * mon-fri")
	case n < 6:
		s.Cron = pick(w.rng, "30 2 * * *", "0 0 * * *", "0 */12 * * *", "15 1 * * mon-fri", "0 3 1,15 * *", "59 59 23 * * *")
	case n < 8:
		s.Rate = pick(w.rng, 24*time.Hour, 7*time.Hour, 36*time.Hour+time.Second, 12*time.Hour)
		if w.rng.IntN(2) == 0 {
			s.Anchor = "2024-02-29T12:00"
		}
	default:
		s.Delay = pick(w.rng, 6*time.Hour, 20*time.Hour, 48*time.Hour)
	}
	if w.rng.IntN(4) == 0 {
		s.Jitter = pick(w.rng, 90*time.Second, 4*time.Minute)
	}
	if w.rng.IntN(8) == 0 {
		s.Exclude = []string{"2027-12-24..2028-01-06", "07-04"}
	}
	if w.rng.IntN(8) == 0 {
		s.End = w.wall().Add(w.draw(200 * 24 * time.Hour)).Format("2006-01-02T15:04:05")
	}
	if _, err := (&Zones{}).Compile(*s, w.wall()); err != nil {
		w.fatal("%v", err)
	}
}

func (w *world) drawPolicies(s *task.Schedule) {
	s.Missed = pick(w.rng, task.MissedOnce, task.MissedSkip, task.MissedAll)
	s.Overlap = pick(w.rng, task.OverlapSkip, task.OverlapQueue, task.OverlapReplace, task.OverlapAllow)
	s.MissedWindow = pick(w.rng, 7*24*time.Hour, 24*time.Hour, time.Hour, 30*time.Second)
	s.MissedLimit = pick(w.rng, 1, 3, 10, 100)
}

// verify compares the accounts with the store's.
func (w *world) verify() {
	w.t.Helper()
	for _, a := range w.tasks {
		for _, name := range a.names() {
			r := a.accounts[name]
			if fault := r.compare(w.store.slots[place{a.name, name}]); fault != "" {
				w.fatal("%s/%s: %s", a.name, name, fault)
			}
			if c := w.store.cursors[place{a.name, name}]; c.Slots != len(w.store.slots[place{a.name, name}]) {
				w.fatal("%s/%s counts %d slots and has %d", a.name, name, c.Slots, len(w.store.slots[place{a.name, name}]))
			}
			w.forget(r)
		}
	}
}

// forget drops what is older than the clock is ever set back, so that the days
// do not add up.
func (w *world) forget(r *reckoning) {
	key := place{r.task, r.name}
	slots := w.store.slots[key]
	border := w.wall().AddDate(0, 0, -60)
	if r.from.Before(border) { // met deadlines may be entered ahead of what is decided on
		border = r.from
	}
	n := 0
	for n < len(slots)-1 && slots[n].Last.Before(border) {
		n++
	}
	if n == 0 {
		return
	}
	r.forget(slots[n-1].Last)
	w.store.slots[key] = slices.Clone(slots[n:])
	c := w.store.cursors[key]
	c.Slots -= n
	(&memTx{memStore: w.store}).PutCursor(c)
}

func (a *actor) names() []string {
	names := make([]string, 0, len(a.accounts))
	for name := range a.accounts {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// byDue is the order in which a look comes to the schedules: those that are due
// since a minute at most are first.
func (a *actor) byDue(s *memStore, now time.Time) (list []*reckoning) {
	for _, late := range []bool{false, true} {
		for _, c := range s.due {
			if c.Task == a.name && !c.Due.After(now) && c.Due.Before(now.Add(-OnTime)) == late {
				list = append(list, a.accounts[c.Schedule])
			}
		}
	}
	return list
}

// byName is that in which a change does.
func (a *actor) byName() (list []*reckoning) {
	for _, name := range scheduleNames(&a.def) {
		list = append(list, a.accounts[name])
	}
	return list
}
