package schedule

import (
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// record writes the slots of times that are decided on: one for each run, and
// one for each series of others that went the same way, which may go on from
// the newest slot that is there.
func (d *decision) record(list []occurrence) error {
	var open *task.Slot
	isNew := true
	if d.tail != nil && d.tail.Last.Equal(d.cur.Last) && d.tail.First.After(d.cur.Since) { // else of an older timing
		open, isNew = d.tail, false
	}
	changed := false
	flush := func() error {
		if open == nil || !changed {
			return nil
		}
		if isNew {
			d.cur.Slots++
		}
		d.tail = open
		return d.tx.PutSlot(*open)
	}
	for _, o := range list {
		if open != nil && !o.apart && joins(*open, o) {
			open.Last, open.Due, open.At = o.nominal.UTC(), time.Time{}, d.at.UTC()
			if open.Count > 0 {
				open.Count++
			}
			changed = true
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		open = &task.Slot{
			Task: d.cur.Task, Schedule: d.cur.Schedule, First: o.nominal.UTC(), Last: o.nominal.UTC(), Count: 1,
			Due: o.due.UTC(), Outcome: o.outcome, Reason: o.reason, Run: o.number, At: d.at.UTC(),
		}
		isNew, changed = true, true
	}
	if err := flush(); err != nil {
		return err
	}
	return d.prune()
}

// joins reports whether the time went the same way as the slot before it.
func joins(s task.Slot, o occurrence) bool {
	return s.Run == 0 && o.number == 0 && s.Outcome == o.outcome && s.Reason == o.reason
}

// prune keeps the newest slots.
func (d *decision) prune() error {
	excess := d.cur.Slots - d.keep
	if d.keep < 0 || excess <= 0 {
		return nil
	}
	gone, err := d.tx.DeleteOldestSlots(d.cur.Task, d.cur.Schedule, excess)
	d.cur.Slots -= gone
	if err == nil && gone < excess {
		d.cur.Slots = 0 // there are none, whatever was counted
	}
	return err
}
