package schedule

import (
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/daemon/internal/task"
)

// A fixed delay has no series of times. Its cursor's Last is what its delay is
// counted from: when it was saved, when a run ended, or a decision that made none.

// nextDelayed is its nominal time, or zero.
func (d *decision) nextDelayed() time.Time {
	next := d.rule.Admit(d.cur.Last.Add(d.plan.Delay))
	for !next.IsZero() && d.isTaken(next) {
		next = d.rule.Admit(next.Add(time.Second))
	}
	return next
}

// armDelay sets its due time, if no run is alive.
func (d *decision) armDelay() error {
	d.cur.Next, d.cur.Due = time.Time{}, time.Time{}
	alive, err := d.alive()
	if err != nil || alive.count > 0 {
		return err
	}
	next := d.nextDelayed()
	if next.IsZero() {
		return nil
	}
	if due := d.due(next); d.pausedBeyond(due) {
		d.cur.Due = d.def.Pause.Until.UTC() // what comes then is counted from then
	} else {
		d.setNext(next, due)
	}
	return nil
}

func (d *decision) decideDelay() error {
	nominal := d.nextDelayed()
	if nominal.IsZero() {
		return nil
	}
	o := occurrence{nominal: nominal, due: d.due(nominal)}
	if o.due.After(d.at) {
		return nil
	}
	// A run that somebody asked for: the delay is counted from its end.
	if alive, err := d.alive(); err != nil || alive.count > 0 {
		return err
	}
	late := d.at.Sub(o.due)
	switch {
	case d.def.Held(o.due):
		o.outcome, o.reason = task.SlotPaused, holder(d.def, nominal.Location())
	case late <= OnTime:
		o.outcome, o.run = task.SlotRan, true
	case d.plan.Missed == task.MissedSkip:
		o.outcome, o.reason = task.SlotMissed, foundLate(late)+", and missed times are skipped"
	case d.outside(late):
		o.outcome, o.reason = task.SlotOutsideWindow, d.window()
	default:
		o.outcome, o.reason, o.run = task.SlotRanLate, foundLate(late), true
	}
	if o.run && d.noRuns != "" {
		o.outcome, o.reason, o.run = task.SlotMissed, d.noRuns, false
	}
	if o.run {
		run, err := d.tx.Submit(*d.def, task.Run{
			Trigger: task.TriggerSchedule, Schedule: d.plan.Name, ScheduledFor: nominal.UTC(),
			Serial: d.plan.Overlap != task.OverlapAllow,
		})
		if err != nil {
			return fmt.Errorf("make a run for %s: %w", clockTime(nominal), err)
		}
		o.number, d.cur.LastRun = run.Number, run.Number
	}
	if late > OnTime && o.outcome != task.SlotPaused {
		d.note(hclog.Info, "a due time was missed", "time", clockTime(nominal), "outcome", o.outcome, "policy", d.plan.Missed)
	}
	if err := d.enter([]occurrence{o}); err != nil {
		return err
	}
	if !o.run {
		d.cur.Last = wholeSecondAfter(d.at)
	}
	return nil
}

// wholeSecondAfter rounds up: a delay is never shorter than said.
func wholeSecondAfter(t time.Time) time.Time {
	return t.Add(time.Second - 1).UTC().Truncate(time.Second)
}
