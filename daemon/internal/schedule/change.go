package schedule

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/daemon/internal/task"
)

// settleChunks is how many chunks of due times a change of a task decides on,
// in its one transaction: a second's work. What is older is entered uncounted.
const settleChunks = 200

// Changed follows the change of a task within the transaction that writes it,
// just before: old is nil for a new task, now for one that is deleted. What is due by the old
// definition is decided on by that, with runs of that; then the cursors are made,
// kept or retired. A deleted task gets no run any more.
// After the commit, call Wake.
func (l *Ledger) Changed(tx Tx, old, now *task.Task) error {
	if now == nil {
		return l.forget(tx, old)
	}
	if old == nil && len(now.Schedules) == 0 && now.Expect == nil {
		return nil
	}
	at, err := l.instant(tx)
	if errors.Is(err, errSetBack) {
		at = l.clock.Now()
		err = l.rewindTask(tx, now.Name, at)
	}
	if err != nil {
		return err
	}
	made := false
	names := scheduleNames(old)
	for _, name := range names {
		if err := l.settle(tx, at, old, now, name); err != nil {
			return err
		}
		made = true
	}
	for _, name := range scheduleNames(now) {
		if slices.Contains(names, name) {
			continue
		}
		if err := l.begin(tx, at, now, name); err != nil {
			return err
		}
		made = true
	}
	if !made {
		return nil
	}
	if err := l.sweepRetired(tx, now); err != nil {
		return err
	}
	return l.mark(tx, at)
}

func scheduleNames(t *task.Task) (names []string) {
	if t == nil {
		return nil
	}
	for _, s := range t.Schedules {
		names = append(names, s.Name)
	}
	if t.Expect != nil {
		names = append(names, task.ExpectName)
	}
	return names
}

// timing is the Timing that the task's schedule of that name has, or "".
func timing(t *task.Task, name string) string {
	if name == task.ExpectName {
		if t.Expect == nil {
			return ""
		}
		return expectTiming(t.Expect)
	}
	for _, s := range t.Schedules {
		if s.Name == name {
			return s.Timing()
		}
	}
	return ""
}

// settle decides by the old definition on what is due, and sets the cursor by
// the new one.
func (l *Ledger) settle(tx Tx, at time.Time, old, now *task.Task, name string) error {
	cur, err := tx.Cursor(now.Name, name)
	if errors.Is(err, task.ErrNotFound) || cur.Timing == "" && err == nil {
		return l.begin(tx, at, now, name)
	}
	if err != nil {
		if ofStore(err) {
			return err
		}
		l.log.Error("where a schedule stood cannot be read: it starts anew", "task", now.Name, "schedule", name, "error", err)
		return l.begin(tx, at, now, name)
	}
	d := &decision{Ledger: l, tx: tx, at: at, cur: cur}
	if l.store.Room() != nil {
		d.noRuns = "there was no room on the disk for a run"
	}
	switch found, err := d.prepare(old); {
	case errors.Is(err, task.ErrInvalid):
		l.log.Error("what was due by the old definition of a schedule cannot be known", "task", now.Name, "schedule", name, "error", err)
	case err != nil:
		return err
	case found:
		if err := d.settleAll(); err != nil {
			return err
		}
		if err := d.settleJitter(timing(old, name), timing(now, name)); err != nil {
			return err
		}
	}
	switch timing(now, name) {
	case "":
		return d.retire()
	case timing(old, name):
		return d.goOn(now)
	}
	return d.anew(now)
}

// settleAll decides on all that is due.
func (d *decision) settleAll() error {
	for range settleChunks {
		d.budget = chunkSize
		if more, err := d.decide(); err != nil || !more {
			return err
		}
	}
	if err := d.leap(); err != nil {
		return err
	}
	d.budget = chunkSize
	_, err := d.decide()
	return err
}

// settleJitter decides on a time whose jitter is not over when the schedule's
// timing changes: by the new one nobody would ask for it again.
func (d *decision) settleJitter(old, now string) error {
	if old == now || d.plan == nil || d.plan.Jitter == 0 || d.plan.Delay > 0 {
		return nil
	}
	if now == "" && d.noRuns == "" {
		d.noRuns = "the schedule was taken out of the task before the jitter was over"
	}
	d.early = true
	defer func() { d.early = false }()
	return d.settleAll()
}

// leap enters all but the newest times that are due as slots without a count:
// to count them would hold up all others for too long.
func (d *decision) leap() error {
	d.budget = 1
	list, more := d.pending()
	if !more {
		return nil
	}
	tail := d.at
	for range heldBack {
		tail = d.rule.Before(tail)
	}
	end := d.rule.Before(tail)
	first := list[0]
	if !end.After(list[len(list)-1].nominal) {
		return nil
	}
	switch {
	case d.plan == nil:
		first.outcome, first.reason = task.SlotExcused, "too many deadlines had passed to judge them"
		return d.leapTo(first, end)
	case !d.def.Held(first.nominal):
		first.outcome, first.reason = task.SlotMissed, "too many times had passed to decide on each of them"
		return d.leapTo(first, end)
	}
	first.outcome, first.reason = task.SlotPaused, holder(d.def, first.nominal.Location())
	if d.def.Held(end) {
		return d.leapTo(first, end)
	}
	if err := d.leapTo(first, d.rule.Before(d.def.Pause.Until)); err != nil {
		return err
	}
	return d.leap() // over those behind the pause
}

// leapTo enters the times from first to last as one slot, and moves the cursor.
func (d *decision) leapTo(first occurrence, last time.Time) error {
	if err := d.record([]occurrence{first}); err != nil {
		return err
	}
	s := *d.tail
	s.Last, s.Count, s.Due = last.UTC(), 0, time.Time{}
	d.tail, d.cur.Last = &s, s.Last
	return d.tx.PutSlot(s)
}

// goOn arms the cursor by the new definition.
func (d *decision) goOn(now *task.Task) error {
	if _, err := d.prepare(now); errors.Is(err, task.ErrInvalid) {
		d.log.Error("a schedule cannot be followed; it is tried again in an hour", "task", now.Name, "schedule", d.cur.Schedule, "error", err)
		return d.putOff(err)
	} else if err != nil {
		return err
	}
	if err := d.arm(); err != nil {
		return err
	}
	return d.put()
}

// anew starts the schedule from now. Its account stays.
func (d *decision) anew(now *task.Task) error {
	since := d.at.UTC().Truncate(time.Second)
	d.cur.Since, d.cur.Last, d.cur.Timing = since, since, timing(now, d.cur.Schedule)
	return d.goOn(now)
}

// begin makes the cursor of a schedule that the task did not have.
func (l *Ledger) begin(tx Tx, at time.Time, now *task.Task, name string) error {
	cur, err := tx.Cursor(now.Name, name) // one that was retired has an account
	if err != nil {
		if ofStore(err) {
			return err
		}
		cur = task.Cursor{Task: now.Name, Schedule: name}
	}
	d := &decision{Ledger: l, tx: tx, at: at, cur: cur}
	if timing(now, name) == "" {
		return nil // taken out, and there was no cursor
	}
	return d.anew(now)
}

// sweepRetired forgets the schedules that were taken out of the task longest ago,
// if there are more of them than a task may have.
func (l *Ledger) sweepRetired(tx Tx, now *task.Task) error {
	var retired []task.Cursor
	err := tx.Cursors(now.Name, func(c task.Cursor) bool {
		if c.Timing == "" {
			retired = append(retired, c)
		}
		return true
	})
	if err != nil && ofStore(err) {
		return err
	}
	if len(retired) <= task.MaxSchedules {
		return nil
	}
	slices.SortFunc(retired, func(a, b task.Cursor) int {
		if c := a.Last.Compare(b.Last); c != 0 {
			return c
		}
		return strings.Compare(a.Schedule, b.Schedule)
	})
	for _, c := range retired[:len(retired)-task.MaxSchedules] {
		if err := l.forgetCursor(tx, c); err != nil {
			return err
		}
	}
	return nil
}

// forget removes all that the ledger has of a task.
func (l *Ledger) forget(tx Tx, t *task.Task) error {
	cursors := []task.Cursor{}
	err := tx.Cursors(t.Name, func(c task.Cursor) bool {
		cursors = append(cursors, c)
		return true
	})
	if err != nil && ofStore(err) {
		return err
	}
	for _, name := range scheduleNames(t) { // also those that cannot be read
		if !slices.ContainsFunc(cursors, func(c task.Cursor) bool { return c.Schedule == name }) {
			cursors = append(cursors, task.Cursor{Task: t.Name, Schedule: name})
		}
	}
	for _, c := range cursors {
		if err := l.forgetCursor(tx, c); err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) forgetCursor(tx Tx, c task.Cursor) error {
	const many = 1000
	for {
		gone, err := tx.DeleteOldestSlots(c.Task, c.Schedule, many)
		if err != nil {
			return err
		}
		if gone < many {
			return tx.DeleteCursor(c.Task, c.Schedule)
		}
	}
}

// Ended follows the end of a run within the transaction that writes it: fixed
// delays are counted from it, and an expectation knows that it completed. What is
// damaged or invalid of a schedule is logged: it is no reason for a run not to
// end. After the commit, call Wake.
func (l *Ledger) Ended(tx Tx, run task.Run) error {
	if run.Cause().Hook() {
		return nil
	}
	var cursors []task.Cursor
	err := tx.Cursors(run.Task, func(c task.Cursor) bool {
		if c.Timing != "" {
			cursors = append(cursors, c)
		}
		return true
	})
	if err != nil && ofStore(err) {
		return err
	}
	if len(cursors) == 0 {
		return nil
	}
	t, err := tx.Task(run.Task)
	switch {
	case errors.Is(err, task.ErrNotFound):
		return nil
	case err != nil && ofStore(err):
		return err
	case err != nil:
		l.log.Error("the schedules of a task do not learn of the end of a run", "run", run.Ref(), "error", err)
		return nil
	}
	moved := false
	for _, c := range cursors {
		d := &decision{Ledger: l, tx: tx, at: run.EndedAt, cur: c}
		did, err := d.ended(&t, run)
		if err != nil && ofStore(err) {
			return fmt.Errorf("schedule %s: %w", c.Schedule, err)
		}
		if err != nil { // damage is no reason for a run not to end
			l.log.Error("a schedule does not learn of the end of a run", "task", c.Task, "schedule", c.Schedule, "error", err)
		}
		moved = moved || did
	}
	if !moved {
		return nil
	}
	return l.mark(tx, run.EndedAt)
}

// ended moves the cursor if it is one that the end of a run moves.
func (d *decision) ended(t *task.Task, run task.Run) (moved bool, err error) {
	expect := d.cur.Schedule == task.ExpectName && t.Expect != nil && run.Status == task.RunCompleted
	delay := slices.ContainsFunc(t.Schedules, func(s task.Schedule) bool { return s.Name == d.cur.Schedule && s.Delay > 0 })
	if !expect && !delay {
		return false, nil
	}
	switch found, err := d.prepare(t); {
	case errors.Is(err, task.ErrInvalid) && expect:
		d.cur.Completed = run.EndedAt.UTC()
		return true, d.put()
	case errors.Is(err, task.ErrInvalid): // nothing else would make it due again
		d.cur.Last = wholeSecondAfter(run.EndedAt)
		return true, d.putOff(err)
	case err != nil || !found:
		return false, err
	}
	if expect {
		if err := d.complete(run.EndedAt); err != nil {
			return false, err
		}
		return true, d.put()
	}
	d.cur.Last = wholeSecondAfter(run.EndedAt)
	if err := d.arm(); err != nil {
		return false, err
	}
	d.note(hclog.Trace, "counted from the end of a run")
	return true, d.put()
}
