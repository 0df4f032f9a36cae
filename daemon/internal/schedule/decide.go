package schedule

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/daemon/internal/task"
)

// decision is the work on one cursor within a transaction.
type decision struct {
	*Ledger
	tx Tx
	at time.Time // now, by the ledger

	def    *task.Task     // the task by which is decided, and of which runs are made
	plan   *task.Schedule // nil for the expectation
	rule   *Rule
	cur    task.Cursor
	budget int    // how many times may be looked at
	done   int    // how many were decided on, and how many steps of runs were made
	noRuns string // why no run may be made: reason of what would have been one
	early  bool   // what waits for its jitter alone is due now: nobody will ask again

	taken []int64    // nominal times beyond cur.Last that have a slot, in order
	tail  *task.Slot // the newest slot up to cur.Last, or nil
	notes *[]note    // nil: nobody wants them
}

// prepare finds the cursor's schedule in the task and compiles it; found is
// false if the task does not have it. The error is a task.ErrInvalid, or of the store.
func (d *decision) prepare(def *task.Task) (found bool, err error) {
	d.def, d.plan, d.rule = def, nil, nil
	if d.cur.Schedule == task.ExpectName {
		if def.Expect == nil {
			return false, nil
		}
		if d.rule, err = d.zones.CompileExpect(*def.Expect); err != nil {
			return true, invalidRule(err)
		}
		d.cur.Timing = expectTiming(def.Expect)
	} else {
		i := slices.IndexFunc(def.Schedules, func(s task.Schedule) bool { return s.Name == d.cur.Schedule })
		if i < 0 {
			return false, nil
		}
		s := def.Schedules[i].WithDefaults()
		if d.rule, err = d.zones.Compile(s, d.cur.Since); err != nil {
			return true, invalidRule(err)
		}
		d.plan = &s
		d.cur.Timing = s.Timing()
	}
	return true, d.loadTaken()
}

func invalidRule(err error) error {
	if errors.Is(err, task.ErrInvalid) {
		return err
	}
	return fmt.Errorf("%w: %w", task.ErrInvalid, err)
}

// loadTaken reads the slots beyond cur.Last, as the clock leaves them when it is
// set back, and the newest one before.
func (d *decision) loadTaken() error {
	d.taken, d.tail = nil, nil
	err := d.tx.Slots(d.cur.Task, d.cur.Schedule, time.Time{}, func(s task.Slot) bool {
		if !s.First.After(d.cur.Last) {
			d.tail = &s
			return false
		}
		d.taken = append(d.taken, s.First.Unix())
		return true
	})
	slices.Reverse(d.taken)
	if err == nil || ofStore(err) {
		return err
	}
	// Where the cursor stands is known all the same.
	d.log.Error("part of the account of a schedule cannot be read", "task", d.cur.Task, "schedule", d.cur.Schedule, "error", err)
	return nil
}

func (d *decision) isTaken(nominal time.Time) bool {
	_, found := slices.BinarySearch(d.taken, nominal.Unix())
	return found
}

// takenBetween reports whether a time between the two has a slot. It may be one
// of an older timing, which is none of the rule's.
func (d *decision) takenBetween(after, before time.Time) bool {
	i, found := slices.BinarySearch(d.taken, after.Unix())
	if found {
		i++
	}
	return i < len(d.taken) && d.taken[i] < before.Unix()
}

// next is the first nominal time after the given one that is not decided on.
func (d *decision) next(after time.Time) time.Time {
	nominal := d.rule.Next(after)
	for !nominal.IsZero() && d.isTaken(nominal) {
		nominal = d.rule.Next(nominal)
	}
	return nominal
}

func (d *decision) due(nominal time.Time) time.Time {
	due := d.rule.Due(d.cur.Task, d.cur.Schedule, nominal)
	if d.early && due.After(d.at) && !nominal.After(d.at) {
		return d.at
	}
	return due
}

// occurrence is a time that is due and not decided on, and what becomes of it.
type occurrence struct {
	nominal, due time.Time
	apart        bool // a time that is decided on already lies before it

	outcome task.SlotOutcome
	reason  string
	run     bool   // a run is to be made, if the overlap policy has it
	number  uint64 // of the run that was made
}

// pending are the times that are due, oldest first, at most the budget; more: there
// are others behind them.
func (d *decision) pending() (list []occurrence, more bool) {
	nominal := d.cur.Last
	for {
		next := d.next(nominal)
		if next.IsZero() {
			return list, false
		}
		due := d.due(next)
		if due.After(d.at) {
			return list, false
		}
		if len(list) >= max(d.budget, 2*heldBack) {
			return list, true
		}
		list = append(list, occurrence{nominal: next, due: due, apart: d.takenBetween(nominal, next)})
		nominal = next
	}
}

// heldBack is how many of the newest times of a series that is not at its end a
// policy may still want.
const heldBack = task.MaxMissedLimit + 1

// decide decides on what is due, up to the budget, and reports whether more
// is. It moves the cursor along, but not to its next due time.
func (d *decision) decide() (more bool, err error) {
	switch {
	case d.plan == nil:
		return d.decideExpect()
	case d.plan.Delay > 0:
		return false, d.decideDelay()
	}
	list, more := d.pending()
	if more {
		list = list[:len(list)-heldBack]
	}
	if len(list) == 0 {
		return false, nil
	}
	d.judge(list, more)
	if err := d.makeRuns(list); err != nil {
		return false, err
	}
	return more, d.enter(list)
}

// enter writes the account of the times and moves the cursor behind them.
func (d *decision) enter(list []occurrence) error {
	if err := d.record(list); err != nil {
		return err
	}
	d.cur.Last = list[len(list)-1].nominal.UTC()
	d.done += len(list)
	d.budget -= len(list)
	return nil
}

// arm sets when the cursor is due next.
func (d *decision) arm() error {
	d.cur.Next, d.cur.Due = time.Time{}, time.Time{}
	if d.def.HeldForGood() {
		return nil
	}
	if d.plan != nil && d.plan.Delay > 0 {
		return d.armDelay()
	}
	next := d.next(d.cur.Last)
	if next.IsZero() {
		return nil
	}
	due := d.due(next)
	if d.pausedBeyond(due) {
		return d.armAfterPause()
	}
	d.setNext(next, due)
	return nil
}

func (d *decision) setNext(next, due time.Time) { d.cur.Next, d.cur.Due = next.UTC(), due.UTC() }

// pausedBeyond reports whether that time is held by a pause that is not over.
func (d *decision) pausedBeyond(due time.Time) bool {
	p := d.def.Pause
	return p != nil && p.Until.After(d.at) && due.Before(p.Until)
}

// armAfterPause makes the cursor due with the first time that the pause does not
// hold: those that it does are recorded then. If there is none, it is due at
// the end of the pause, with no time to come.
func (d *decision) armAfterPause() error {
	until := d.def.Pause.Until
	after := until.Add(-time.Second)
	if d.plan != nil {
		after = after.Add(-d.plan.Jitter)
	}
	if after.Before(d.cur.Last) {
		after = d.cur.Last
	}
	for next := d.next(after); !next.IsZero(); next = d.next(next) {
		if due := d.due(next); !due.Before(until) {
			d.setNext(next, due)
			return nil
		}
	}
	d.cur.Due = until.UTC()
	return nil
}

// put writes the cursor.
func (d *decision) put() error { return d.tx.PutCursor(d.cur) }

// putOff moves a schedule out of the way that cannot be decided on.
func (d *decision) putOff(cause error) error {
	d.cur.Next, d.cur.Due = time.Time{}, d.at.Add(putOffFor).UTC()
	d.note(hclog.Error, "a schedule cannot be followed; it is tried again in an hour, or when the task is changed", "error", cause)
	return d.put()
}

// retire keeps the cursor of a schedule that the task has no more, for the
// account that it leads to.
func (d *decision) retire() error {
	d.cur.Timing, d.cur.Next, d.cur.Due = "", time.Time{}, time.Time{}
	return d.put()
}

func (d *decision) note(level hclog.Level, text string, args ...any) {
	if d.notes != nil {
		*d.notes = append(*d.notes, note{level, text, append([]any{"task", d.cur.Task, "schedule", d.cur.Schedule}, args...)})
	}
}
