package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// queued is a run that waits for its turn, or that has it. It does not change.
type queued struct {
	id       task.RunID
	ref      string
	at       time.Time // Run.QueuedAt
	priority int

	notBefore time.Time // zero: at any time
	turn      string    // runs of the same turn are those that limit is about; "": it has no limit
	limit     int       // how many of its turn may be carried out, itself included; 0: any number
	serial    bool      // that is why limit is 1
	locks     []string
	batch     string
	replaces  bool
}

func placeOf(run task.Run) *queued {
	q := &queued{
		// By the wall clock alone, as Start reads it: both kinds are compared.
		id: run.ID, ref: run.Ref(), at: run.QueuedAt.Round(0), priority: run.Priority, notBefore: run.NotBefore,
		turn: run.Task, limit: run.MaxRuns, serial: run.Serial, locks: run.Locks, batch: run.Batch, replaces: run.Replaces,
	}
	if run.Cause().Hook() {
		q.turn = run.HookOfRef()
		q.serial = run.HookOf > 0 // on_end waits for what came before it
		q.limit, q.locks, q.batch = 0, nil, ""
	}
	if q.serial {
		q.limit = 1
	}
	if q.turn == "" {
		q.limit = 0
	}
	return q
}

// compare orders by priority, and those of one priority as they came.
func (q *queued) compare(other *queued) int {
	return cmp.Or(cmp.Compare(other.priority, q.priority), q.at.Compare(other.at), cmp.Compare(q.id, other.id))
}

// group names those of which only the first can be the next: runs of one batch,
// or runs that wait for just the same.
func (q *queued) group() string {
	if q.batch != "" {
		return "batch " + q.batch
	}
	return fmt.Sprintf("%s %d %s", q.turn, q.limit, strings.Join(q.locks, " "))
}

// queue decides which of the runs that wait may be carried out next, apart from
// how many the daemon carries out at all:
//
//   - one whose time has come,
//   - one whose wish to cancel those that it replaces is durable,
//   - of a batch the first, and that only when no other of it is carried out,
//   - where fewer of its turn are carried out than its limit,
//   - whose locks nobody has, and which is the first in order that wants them.
//
// Of those, the first in order. So one that may not start holds up nobody but
// those behind it that want one of its locks, and it waits only for what is
// carried out or comes before it: it gets its turn. What has to wait for its time
// or for its batch wants no lock meanwhile.
//
// Each call costs a search in what waits, not a walk through it, except for words
// and clock jumps.
type queue struct {
	all    map[task.RunID]*queued
	line   []*queued // whose time has come, in order
	later  []*queued // whose time has not, the earliest first
	groups map[string]*group
	turns  map[string]*turn
	locks  map[string]*lock
	free   []*queued // those that may start, in order
	held   map[task.RunID]bool
	clears map[task.RunID]bool // they wait until those that they replace are cancelled
}

// group is runs of which only the first contends for what it needs.
type group struct {
	members []*queued // in order; of a batch, as they were made
	carried *queued   // of a batch: the one that is carried out
	head    *queued   // contends
}

// turn is what limits are about.
type turn struct {
	carried []*queued
	heads   []*queued // contend, in order
}

// lock is a named lock.
type lock struct {
	holder *queued
	heads  []*queued // want it, in order
}

func newQueue() *queue {
	return &queue{all: map[task.RunID]*queued{}, groups: map[string]*group{}, turns: map[string]*turn{}, locks: map[string]*lock{}, held: map[task.RunID]bool{}, clears: map[task.RunID]bool{}}
}

func (u *queue) len() int { return len(u.all) }

// add gives the run its place. It reports false if it has one already.
func (u *queue) add(q *queued, now time.Time) bool {
	if u.all[q.id] != nil {
		return false
	}
	u.all[q.id] = q
	if q.notBefore.After(now) {
		u.later = insert(u.later, q, (*queued).compareTime)
		return true
	}
	u.join(q)
	return true
}

func (q *queued) compareTime(other *queued) int {
	return cmp.Or(q.notBefore.Compare(other.notBefore), cmp.Compare(q.id, other.id))
}

// remove takes the run out, or returns nil if it does not wait.
func (u *queue) remove(id task.RunID) *queued {
	q := u.all[id]
	if q == nil {
		return nil
	}
	delete(u.all, id)
	var was bool
	if u.later, was = without(u.later, q, (*queued).compareTime); !was {
		u.leave(q)
	}
	return q
}

func (u *queue) waits(id task.RunID) bool { return u.all[id] != nil }

// hold keeps a run that waits from being started, in its place, and reports
// whether it waits.
func (u *queue) hold(id task.RunID) bool {
	q := u.all[id]
	if q == nil {
		return false
	}
	u.held[id] = true
	u.free, _ = without(u.free, q, (*queued).compare)
	return true
}

// letGo takes that back.
func (u *queue) letGo(id task.RunID) {
	delete(u.held, id)
	u.rejudge(id)
}

// clear keeps a run that waits from being started until cleared takes that back.
// Unlike hold it says so in words.
func (u *queue) clear(id task.RunID) {
	if q := u.all[id]; q != nil {
		u.clears[id] = true
		u.free, _ = without(u.free, q, (*queued).compare)
	}
}

func (u *queue) cleared(id task.RunID) {
	delete(u.clears, id)
	u.rejudge(id)
}

// rejudge looks again at a run of which nothing has changed but what keeps it.
func (u *queue) rejudge(id task.RunID) {
	if q := u.all[id]; q != nil && u.groups[q.group()] != nil && u.groups[q.group()].head == q {
		u.judge(q)
	}
}

// tick lets those join whose time has come. When the clock was set back, those
// that have joined stay.
func (u *queue) tick(now time.Time) {
	for len(u.later) > 0 && !u.later[0].notBefore.After(now) {
		q := u.later[0]
		u.later = u.later[1:]
		u.join(q)
	}
}

// next is when tick will have something to do; zero: nothing waits for its time.
func (u *queue) next() time.Time {
	if len(u.later) == 0 {
		return time.Time{}
	}
	return u.later[0].notBefore
}

// first is the run that may start now, or nil.
func (u *queue) first() *queued {
	if len(u.free) == 0 {
		return nil
	}
	return u.free[0]
}

// carry notes that the run is carried out. It does not wait any more.
func (u *queue) carry(q *queued) {
	u.remove(q.id)
	if q.turn != "" {
		t := u.turn(q.turn)
		t.carried = append(t.carried, q)
	}
	for _, name := range q.locks {
		u.lock(name).holder = q
	}
	if q.batch != "" {
		u.group(q).carried = q
	}
	u.reconsider(q)
}

// land notes that it is carried out no more.
func (u *queue) land(q *queued) {
	if t := u.turns[q.turn]; t != nil {
		t.carried = slices.DeleteFunc(t.carried, func(one *queued) bool { return one.id == q.id })
	}
	for _, name := range q.locks {
		if l := u.lock(name); l.holder != nil && l.holder.id == q.id {
			l.holder = nil
		}
	}
	if q.batch != "" {
		if g := u.group(q); g.carried != nil && g.carried.id == q.id {
			g.carried = nil
		}
	}
	u.reconsider(q)
}

// reconsider looks again at those who wait for what q has taken or given.
func (u *queue) reconsider(q *queued) {
	if q.batch != "" {
		u.lead(u.group(q))
	}
	if t := u.turns[q.turn]; t != nil {
		for _, head := range t.heads {
			u.judge(head)
		}
	}
	for _, name := range q.locks {
		if l := u.locks[name]; l != nil && len(l.heads) > 0 {
			u.judge(l.heads[0])
		}
	}
	u.tidy(q)
}

func (u *queue) join(q *queued) {
	u.line = insert(u.line, q, (*queued).compare)
	g := u.group(q)
	g.members = insert(g.members, q, g.order(q))
	u.lead(g)
}

func (u *queue) leave(q *queued) {
	u.line, _ = without(u.line, q, (*queued).compare)
	g := u.group(q)
	g.members, _ = without(g.members, q, g.order(q))
	u.lead(g)
	u.tidy(q)
}

func (g *group) order(q *queued) func(a, b *queued) int {
	if q.batch != "" {
		return func(a, b *queued) int { return cmp.Compare(a.id, b.id) }
	}
	return (*queued).compare
}

// lead lets the group's first one contend.
func (u *queue) lead(g *group) {
	var head *queued
	if len(g.members) > 0 && g.carried == nil {
		head = g.members[0]
	}
	if head == g.head {
		return
	}
	old := g.head
	g.head = head
	if old != nil {
		u.withdraw(old)
	}
	if head != nil {
		u.contend(head)
	}
}

func (u *queue) contend(q *queued) {
	if q.turn != "" {
		t := u.turn(q.turn)
		t.heads = insert(t.heads, q, (*queued).compare)
	}
	for _, name := range q.locks {
		l := u.lock(name)
		l.heads = insert(l.heads, q, (*queued).compare)
		if len(l.heads) > 1 && l.heads[0] == q {
			u.judge(l.heads[1]) // it was the first
		}
	}
	u.judge(q)
}

func (u *queue) withdraw(q *queued) {
	u.free, _ = without(u.free, q, (*queued).compare)
	if t := u.turns[q.turn]; t != nil {
		t.heads, _ = without(t.heads, q, (*queued).compare)
	}
	for _, name := range q.locks {
		l := u.lock(name)
		if l.heads, _ = without(l.heads, q, (*queued).compare); len(l.heads) > 0 {
			u.judge(l.heads[0])
		}
	}
	u.tidy(q)
}

// judge notes whether the one that contends may start.
func (u *queue) judge(q *queued) {
	at, found := slices.BinarySearchFunc(u.free, q, (*queued).compare)
	switch may := u.mayStart(q); {
	case may && !found:
		u.free = slices.Insert(u.free, at, q)
	case !may && found:
		u.free = slices.Delete(u.free, at, at+1)
	}
}

func (u *queue) mayStart(q *queued) bool {
	if u.held[q.id] || u.clears[q.id] {
		return false
	}
	if t := u.turns[q.turn]; t != nil && q.limit > 0 && len(t.carried) >= q.limit {
		return false
	}
	for _, name := range q.locks {
		if l := u.locks[name]; l != nil && (l.holder != nil || l.heads[0] != q) {
			return false
		}
	}
	return true
}

func (u *queue) group(q *queued) *group {
	name := q.group()
	if u.groups[name] == nil {
		u.groups[name] = &group{}
	}
	return u.groups[name]
}

func (u *queue) turn(name string) *turn {
	if u.turns[name] == nil {
		u.turns[name] = &turn{}
	}
	return u.turns[name]
}

func (u *queue) lock(name string) *lock {
	if u.locks[name] == nil {
		u.locks[name] = &lock{}
	}
	return u.locks[name]
}

// tidy forgets what nobody of q's kind needs any more.
func (u *queue) tidy(q *queued) {
	name := q.group()
	if g := u.groups[name]; g != nil && len(g.members) == 0 && g.carried == nil && g.head == nil {
		delete(u.groups, name)
	}
	if t := u.turns[q.turn]; t != nil && len(t.carried)+len(t.heads) == 0 {
		delete(u.turns, q.turn)
	}
	for _, name := range q.locks {
		if l := u.locks[name]; l != nil && l.holder == nil && len(l.heads) == 0 {
			delete(u.locks, name)
		}
	}
}

// position is the place in the line from 1; 0: it does not wait, or for its time.
func (u *queue) position(id task.RunID) int {
	if q := u.all[id]; q != nil {
		if at, found := slices.BinarySearchFunc(u.line, q, (*queued).compare); found {
			return at + 1
		}
	}
	return 0
}

// waitsFor says in words what the run waits for; "": for nothing but a place
// among those that the daemon carries out, or it does not wait.
func (u *queue) waitsFor(id task.RunID) string {
	q := u.all[id]
	if q == nil {
		return ""
	}
	if _, found := slices.BinarySearchFunc(u.later, q, (*queued).compareTime); found {
		return "its time, " + q.notBefore.Format(time.RFC3339)
	}
	if u.clears[id] {
		return "the runs that it replaces to be cancelled"
	}
	if q.batch != "" {
		g := u.group(q)
		switch {
		case g.carried != nil:
			return g.carried.ref + " to end, which comes before it"
		case g.members[0] != q:
			return g.members[0].ref + ", which comes before it"
		}
	}
	if t := u.turns[q.turn]; t != nil && q.limit > 0 && len(t.carried) >= q.limit {
		if q.limit == 1 {
			return t.carried[0].ref + " to end"
		}
		return fmt.Sprintf("one of the %d runs of %s to end (max_runs of the task)", len(t.carried), q.turn)
	}
	for _, name := range q.locks {
		switch l := u.locks[name]; {
		case l == nil:
		case l.holder != nil:
			return fmt.Sprintf("the lock %s, held by %s", name, l.holder.ref)
		case len(l.heads) > 0 && l.heads[0].compare(q) < 0:
			return fmt.Sprintf("the lock %s, which %s gets first", name, l.heads[0].ref)
		}
	}
	return ""
}

func insert(list []*queued, q *queued, compare func(a, b *queued) int) []*queued {
	at, _ := slices.BinarySearchFunc(list, q, compare)
	return slices.Insert(list, at, q)
}

// without takes one out: mostly the first, which must not cost more the longer
// the list is.
func without(list []*queued, q *queued, compare func(a, b *queued) int) (rest []*queued, was bool) {
	at, found := slices.BinarySearchFunc(list, q, compare)
	switch {
	case !found:
		return list, false
	case at == 0:
		list[0] = nil
		return list[1:], true
	}
	return slices.Delete(list, at, at+1), true
}
