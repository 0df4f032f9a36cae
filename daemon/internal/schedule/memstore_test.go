package schedule

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// memStore is a Store in memory whose transactions roll back, and which calls
// them twice now and then.
type memStore struct {
	mu      sync.Mutex
	tasks   map[string]task.Task
	cursors map[place]task.Cursor
	byTask  map[string][]string
	due     []task.Cursor // by due time, task and schedule
	slots   map[place][]task.Slot
	alive   map[string][]task.Run
	numbers map[string]uint64
	mark    time.Time

	full    atomic.Pointer[error] // asked for within transactions too
	twice   func() bool           // the next transaction is tried twice
	before  func() error
	after   func() error
	refuse  map[place]error // reading the task fails
	stuck   map[place]error // writing the cursor fails
	commits int
	submits []task.Run // of all committed transactions
	largest int        // writes of the largest transaction
}

func newMemStore() *memStore {
	return &memStore{
		tasks: map[string]task.Task{}, cursors: map[place]task.Cursor{}, byTask: map[string][]string{}, slots: map[place][]task.Slot{},
		alive: map[string][]task.Run{}, numbers: map[string]uint64{},
	}
}

// memTx changes the store in place and remembers how to take it back.
type memTx struct {
	*memStore
	undo   []func()
	made   []task.Run
	writes int
}

func (s *memStore) View(fn func(Reader) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fn(&memTx{memStore: s})
}

func (s *memStore) Room() error {
	if full := s.full.Load(); full != nil {
		return *full
	}
	return nil
}

func (s *memStore) Update(ctx context.Context, fn func(Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.before != nil {
		if err := s.before(); err != nil {
			return err
		}
	}
	if s.twice != nil && s.twice() {
		tx := &memTx{memStore: s}
		_ = fn(tx)
		tx.rollback()
	}
	tx := &memTx{memStore: s}
	if err := fn(tx); err != nil {
		tx.rollback()
		return err
	}
	s.commits++
	s.largest = max(s.largest, tx.writes)
	s.submits = append(s.submits, tx.made...)
	if s.after != nil {
		return s.after()
	}
	return nil
}

func (tx *memTx) rollback() {
	for _, undo := range slices.Backward(tx.undo) {
		undo()
	}
	tx.undo, tx.made = nil, nil
}

func (tx *memTx) wrote(undo func()) {
	tx.writes++
	tx.undo = append(tx.undo, undo)
}

func (tx *memTx) Task(name string) (task.Task, error) {
	for at, err := range tx.refuse {
		if at.task == name {
			return task.Task{}, err
		}
	}
	t, ok := tx.tasks[name]
	if !ok {
		return task.Task{}, fmt.Errorf("task %q: %w", name, task.ErrNotFound)
	}
	return t, nil
}

func (tx *memTx) Cursor(name, schedule string) (task.Cursor, error) {
	c, ok := tx.cursors[place{name, schedule}]
	if !ok {
		return task.Cursor{}, fmt.Errorf("schedule %s of task %s: %w", schedule, name, task.ErrNotFound)
	}
	return c, nil
}

func (tx *memTx) Cursors(name string, fn func(task.Cursor) bool) error {
	var list []task.Cursor
	if name == "" {
		for _, c := range tx.cursors {
			list = append(list, c)
		}
	} else {
		for _, schedule := range tx.byTask[name] {
			list = append(list, tx.cursors[place{name, schedule}])
		}
	}
	slices.SortFunc(list, func(a, b task.Cursor) int {
		return cmp.Or(strings.Compare(a.Task, b.Task), strings.Compare(a.Schedule, b.Schedule))
	})
	for _, c := range list {
		if !fn(c) {
			break
		}
	}
	return nil
}

func compareDue(a, b task.Cursor) int {
	return cmp.Or(a.Due.Compare(b.Due), strings.Compare(a.Task, b.Task), strings.Compare(a.Schedule, b.Schedule))
}

func (tx *memTx) DueCursors(after *task.Cursor, fn func(task.Cursor) bool) error {
	i := 0
	if after != nil {
		var found bool
		if i, found = slices.BinarySearchFunc(tx.due, *after, compareDue); found {
			i++
		}
	}
	for _, c := range tx.due[i:] {
		if !fn(c) {
			break
		}
	}
	return nil
}

func (tx *memTx) Slots(name, schedule string, before time.Time, fn func(task.Slot) bool) error {
	list := tx.slots[place{name, schedule}]
	n := len(list)
	if !before.IsZero() {
		n = sort.Search(n, func(i int) bool { return !list[i].First.Before(before) })
	}
	for i := n - 1; i >= 0; i-- {
		if !fn(list[i]) {
			break
		}
	}
	return nil
}

func (tx *memTx) ClockMark() (time.Time, error) { return tx.mark, nil }

func (tx *memTx) AliveRuns(name string, fn func(task.Run) bool) error {
	for _, run := range tx.alive[name] {
		if !fn(run) {
			break
		}
	}
	return nil
}

func (tx *memTx) PutCursor(c task.Cursor) error {
	for _, at := range []time.Time{c.Since, c.Last, c.Next, c.Due, c.Completed} {
		mustBeStored(at)
	}
	if err := tx.stuck[keyOf(c)]; err != nil {
		return err
	}
	old, had := tx.cursors[keyOf(c)]
	tx.setCursor(old, had, c, true)
	tx.wrote(func() { tx.setCursor(c, true, old, had) })
	return nil
}

// mustBeStored: a record is read back in UTC and without a monotonic reading.
func mustBeStored(at time.Time) {
	if at.Location() != time.UTC || at != at.Round(0) {
		panic(fmt.Sprintf("%v would be read back as another value", at))
	}
}

func (s *memStore) setCursor(old task.Cursor, had bool, now task.Cursor, has bool) {
	if had && !old.Due.IsZero() {
		i, found := slices.BinarySearchFunc(s.due, old, compareDue)
		if !found {
			panic("the index of due times lost " + old.Task)
		}
		s.due = slices.Delete(s.due, i, i+1)
	}
	if !has {
		delete(s.cursors, keyOf(old))
		s.byTask[old.Task] = slices.DeleteFunc(slices.Clone(s.byTask[old.Task]), func(name string) bool { return name == old.Schedule })
		return
	}
	if !had {
		s.byTask[now.Task] = append(slices.Clone(s.byTask[now.Task]), now.Schedule)
	}
	s.cursors[keyOf(now)] = now
	if !now.Due.IsZero() {
		i, _ := slices.BinarySearchFunc(s.due, now, compareDue)
		s.due = slices.Insert(s.due, i, now)
	}
}

func (tx *memTx) DeleteCursor(name, schedule string) error {
	old, had := tx.cursors[place{name, schedule}]
	if had {
		tx.setCursor(old, true, task.Cursor{}, false)
		tx.wrote(func() { tx.setCursor(task.Cursor{}, false, old, true) })
	}
	return nil
}

func (tx *memTx) PutSlot(s task.Slot) error {
	for _, at := range []time.Time{s.First, s.Last, s.Due, s.At} {
		mustBeStored(at)
	}
	key := place{s.Task, s.Schedule}
	list := tx.slots[key]
	i := sort.Search(len(list), func(i int) bool { return !list[i].First.Before(s.First) })
	if i < len(list) && list[i].First.Equal(s.First) {
		old := list[i]
		list[i] = s
		tx.wrote(func() { tx.slots[key][i] = old })
		return nil
	}
	tx.slots[key] = slices.Insert(list, i, s)
	tx.wrote(func() { tx.slots[key] = slices.Delete(tx.slots[key], i, i+1) })
	return nil
}

func (tx *memTx) DeleteSlot(name, schedule string, first time.Time) error {
	key := place{name, schedule}
	list := tx.slots[key]
	i := slices.IndexFunc(list, func(s task.Slot) bool { return s.First.Equal(first) })
	if i < 0 {
		return nil
	}
	old := list[i]
	tx.slots[key] = slices.Delete(list, i, i+1)
	tx.wrote(func() { tx.slots[key] = slices.Insert(tx.slots[key], i, old) })
	return nil
}

func (tx *memTx) DeleteOldestSlots(name, schedule string, limit int) (int, error) {
	key := place{name, schedule}
	old := tx.slots[key]
	n := min(limit, len(old))
	tx.slots[key] = slices.Clone(old[n:])
	tx.wrote(func() { tx.slots[key] = old })
	return n, nil
}

func (tx *memTx) PutClockMark(at time.Time) error {
	mustBeStored(at)
	old := tx.mark
	tx.mark = at
	tx.wrote(func() { tx.mark = old })
	return nil
}

func (tx *memTx) Submit(def task.Task, run task.Run) (task.Run, error) {
	mustBeStored(run.ScheduledFor)
	steps := def.Steps
	if run.Trigger.Hook() {
		steps = def.OnMissed
	}
	if len(steps) == 0 || steps[0].Name == "" {
		return task.Run{}, fmt.Errorf("no steps: %w", task.ErrInvalid)
	}
	run.Task, run.Status, run.DefinitionVersion = def.Name, task.RunQueued, def.Version
	return tx.newRun(run), nil
}

func (tx *memTx) newRun(run task.Run) task.Run {
	name := run.Task
	tx.numbers[name]++
	run.Number = tx.numbers[name]
	old := tx.alive[name]
	tx.alive[name] = append(slices.Clip(old), run)
	tx.made = append(tx.made, run)
	tx.wrote(func() {
		tx.numbers[name]--
		tx.alive[name] = old
	})
	return run
}

func (tx *memTx) endRun(run task.Run) {
	old := tx.alive[run.Task]
	list := slices.Clone(old)
	tx.alive[run.Task] = slices.DeleteFunc(list, func(r task.Run) bool { return r.Number == run.Number })
	tx.wrote(func() { tx.alive[run.Task] = old })
}

func (tx *memTx) putTask(t *task.Task) {
	old, had := tx.tasks[t.Name]
	tx.tasks[t.Name] = *t
	tx.wrote(func() {
		if delete(tx.tasks, t.Name); had {
			tx.tasks[t.Name] = old
		}
	})
}

func (tx *memTx) deleteTask(name string) {
	old := tx.tasks[name]
	delete(tx.tasks, name)
	tx.wrote(func() { tx.tasks[name] = old })
}

// dump is the whole state as text, to compare.
func (s *memStore) dump() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	write := func(v any) {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		b.Write(text)
		b.WriteByte('\n')
	}
	tx := &memTx{memStore: s}
	_ = tx.Cursors("", func(c task.Cursor) bool {
		write(c)
		write(s.slots[keyOf(c)])
		return true
	})
	write(s.due)
	write(s.mark)
	return b.String()
}
