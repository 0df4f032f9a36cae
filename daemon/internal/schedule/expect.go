package schedule

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/daemon/internal/task"
)

// expectTiming is for an expectation what Schedule.Timing is for a schedule.
func expectTiming(e *task.Expect) string {
	text, err := json.Marshal(e)
	if err != nil {
		panic("schedule: " + err.Error()) // texts only
	}
	return string(text)
}

func (d *decision) decideExpect() (more bool, err error) {
	list, more := d.pending()
	if more {
		list = list[:len(list)-1]
	}
	if len(list) == 0 {
		return false, nil
	}
	unmet := -1
	var since time.Time
	for i := range list {
		o := &list[i]
		if i == 0 || o.apart {
			since = d.rule.Before(o.nominal)
		}
		switch {
		case d.completedIn(since, o.nominal):
			o.outcome = task.SlotMet
		case d.def.Held(o.nominal):
			o.outcome, o.reason = task.SlotExcused, holder(d.def, o.nominal.Location())
		case d.cur.Since.After(since):
			o.outcome, o.reason = task.SlotExcused, "the rule was made less than a period before"
		default:
			o.outcome, o.reason = task.SlotUnmet, "no run completed since "+clockTime(since)
			unmet = i
		}
		since = o.nominal
	}
	if unmet >= 0 && !more {
		if err := d.tellUnmet(&list[unmet]); err != nil {
			return false, err
		}
	}
	return more, d.enter(list)
}

func (d *decision) completedIn(since, deadline time.Time) bool {
	done := d.cur.Completed
	return !done.IsZero() && done.After(since) && !done.After(deadline)
}

// tellUnmet makes the run of the task's hook.
func (d *decision) tellUnmet(o *occurrence) error {
	d.note(hclog.Warn, "a task has not completed by its deadline", "deadline", clockTime(o.nominal))
	if len(d.def.OnMissed) == 0 {
		return nil
	}
	if d.noRuns != "" {
		o.reason += "; " + d.noRuns
		return nil
	}
	run, err := d.tx.Submit(*d.def, task.Run{
		Trigger: task.TriggerOnMissed, Schedule: task.ExpectName, ScheduledFor: o.nominal.UTC(),
	})
	if err != nil {
		return fmt.Errorf("make a run of on_missed for %s: %w", clockTime(o.nominal), err)
	}
	o.number, d.cur.LastRun = run.Number, run.Number
	return nil
}

// complete notes that a run completed. The cursor knows of one only, so a
// deadline that has passed undecided and was met by the one before is entered
// at once, ahead of the cursor.
func (d *decision) complete(ended time.Time) error {
	if before := d.cur.Completed; !before.IsZero() {
		met := d.rule.Next(before.Add(-time.Nanosecond)) // the deadline of the period that it completed in
		if !met.IsZero() && met.After(d.cur.Last) && met.Before(ended) && !d.isTaken(met) {
			err := d.tx.PutSlot(task.Slot{
				Task: d.cur.Task, Schedule: d.cur.Schedule, First: met.UTC(), Last: met.UTC(), Count: 1,
				Due: met.UTC(), Outcome: task.SlotMet, At: d.at.UTC(),
			})
			if err != nil {
				return err
			}
			d.cur.Slots++
		}
	}
	d.cur.Completed = ended.UTC()
	return nil
}
