package schedule

import (
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/daemon/internal/task"
)

// judge says what becomes of each time, apart from what other runs of the task
// have to do with it. more: newer times are due as well, so many that no policy
// wants these.
func (d *decision) judge(list []occurrence, more bool) {
	free := list
	for len(free) > 0 && d.def.Held(free[0].due) {
		free[0].outcome, free[0].reason = task.SlotPaused, holder(d.def, free[0].nominal.Location())
		free = free[1:]
	}
	if len(free) == 0 {
		return
	}
	missed := free
	newest := &free[len(free)-1]
	onTime := !more && d.at.Sub(newest.due) <= OnTime
	if onTime {
		newest.outcome, newest.run = task.SlotRan, true
		missed = free[:len(free)-1]
	}
	if len(missed) == 0 {
		return
	}

	limit := 0
	reason := "it was found late, and missed times are skipped"
	switch d.plan.Missed {
	case task.MissedOnce:
		limit = 1
		if onTime {
			limit = 0
		}
		reason = "a newer time stands for it"
		if !more {
			reason = "the time at " + clockTime(newest.nominal) + " stands for it"
		}
	case task.MissedAll:
		limit = d.plan.MissedLimit
		reason = fmt.Sprintf("more than %d were missed", limit)
	}
	if more {
		limit = 0
	}
	madeUp := d.judgeMissed(missed, limit, reason)
	d.note(hclog.Info, "due times were missed", "count", len(missed), "made_up_for", madeUp, "policy", d.plan.Missed,
		"first", clockTime(missed[0].nominal), "last", clockTime(missed[len(missed)-1].nominal))
}

// judgeMissed makes up for the newest times within the window, up to the limit,
// and returns for how many. The reason is that of the others.
func (d *decision) judgeMissed(missed []occurrence, limit int, reason string) (madeUp int) {
	for i := len(missed) - 1; i >= 0; i-- {
		m := &missed[i]
		late := d.at.Sub(m.due)
		switch {
		case d.outside(late):
			m.outcome, m.reason = task.SlotOutsideWindow, d.window()
		case madeUp < limit:
			m.outcome, m.run = task.SlotRanLate, true
			m.reason = foundLate(late)
			madeUp++
		default:
			m.outcome, m.reason = task.SlotMissed, reason
		}
	}
	return madeUp
}

// outside reports whether a time that was found so late is too old to be made up
// for. Where nothing is, there is no window.
func (d *decision) outside(late time.Duration) bool {
	return d.plan.Missed != task.MissedSkip && late > d.plan.MissedWindow
}

// makeRuns makes the runs that the overlap policy has, and says of the others
// what stood against them.
func (d *decision) makeRuns(list []occurrence) error {
	wanted, late := false, false
	for _, o := range list {
		wanted = wanted || o.run
		late = late || o.run && o.outcome == task.SlotRanLate
	}
	if !wanted {
		return nil
	}
	if d.noRuns != "" {
		for i := range list {
			if list[i].run {
				list[i].outcome, list[i].reason, list[i].run = task.SlotMissed, d.noRuns, false
			}
		}
		return nil
	}
	alive, err := d.alive()
	if err != nil {
		return err
	}
	// Under all, the runs of one look are a series: they wait for one another, and do
	// not replace one another.
	series := late && d.plan.Missed == task.MissedAll
	policy, count := d.plan.Overlap, alive.count
	first := true
	for i := range list {
		o := &list[i]
		if !o.run {
			continue
		}
		switch {
		case count >= MaxQueued:
			o.outcome, o.reason, o.run = task.SlotOverlapped, fmt.Sprintf("%d runs are alive already", count), false
			continue
		case count > 0 && policy == task.OverlapSkip && !series:
			o.outcome, o.reason, o.run = task.SlotOverlapped, alive.oldest, false
			continue
		}
		run, err := d.tx.Submit(*d.def, task.Run{
			Trigger: task.TriggerSchedule, Schedule: d.plan.Name, ScheduledFor: o.nominal.UTC(),
			Serial:   policy != task.OverlapAllow || series,
			Replaces: policy == task.OverlapReplace && alive.count > 0 && first,
		})
		if err != nil {
			return fmt.Errorf("make a run for %s: %w", clockTime(o.nominal), err)
		}
		first = false
		count++
		d.done += len(d.def.Steps)
		o.number, d.cur.LastRun = run.Number, run.Number
		d.note(hclog.Debug, "due", "run", run.Number, "scheduled_for", clockTime(o.nominal))
	}
	return nil
}

// company is what else of the task is alive, apart from hooks, and from what
// somebody wants to have done later: that may be next week.
type company struct {
	count  int
	oldest string // "backup/41 was running"
}

func (d *decision) alive() (c company, err error) {
	err = d.tx.AliveRuns(d.cur.Task, func(run task.Run) bool {
		if run.Cause().Hook() || run.Status == task.RunQueued && run.NotBefore.After(d.at) {
			return true
		}
		if c.count == 0 {
			c.oldest = run.Ref() + " was " + string(run.Status)
		}
		c.count++
		return c.count < MaxQueued
	})
	return c, err
}
