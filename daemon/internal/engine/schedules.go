package engine

import (
	"fmt"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// definition is the task as the run is pinned to it, with the steps that the
// run carries out. All who read a run's definition come this way.
func definition(rd Reader, run task.Run) (task.Task, error) {
	def, err := rd.Definition(run.Task, run.DefinitionVersion)
	return carriedOut(def, run), err
}

// carriedOut puts the steps of a hook in the place of the task's own where the
// run is one of that hook. Nothing else has to tell them apart.
func carriedOut(def task.Task, run task.Run) task.Task {
	def.Steps = def.StepsOf(run.Cause())
	return def
}

// newest is the newest run of the task itself: what a hook did is no answer to
// how the task fares. Only where there is none but of hooks, the newest of
// those. It looks behind maxHooks of them at most, so it costs one read as a
// rule and never many.
func newest(rd Reader, name string) (task.Run, error) {
	found, err := rd.RunByNumber(name, 0)
	if err != nil || !found.Cause().Hook() {
		return found, err
	}
	hooks := 1
	err = rd.Runs(name, found.ID, func(run task.Run) bool {
		if !run.Cause().Hook() {
			found = run
			return false
		}
		hooks++
		return hooks < maxHooks
	})
	return found, err
}

const maxHooks = 100

// ended tells the schedules of a run that ends with this transaction.
func (e *Engine) ended(tx Tx, run task.Run) error {
	if e.Schedules == nil {
		return nil
	}
	return e.Schedules.Ended(tx, run)
}

// changed tells the schedules of a task that this transaction is about to write
// or to delete.
func (e *Engine) changed(tx Tx, old, now *task.Task) ([]task.Run, error) {
	if e.Schedules == nil {
		return nil, nil
	}
	return e.Schedules.Changed(tx, old, now)
}

// toldSchedules says that what ended or changed told them is durable.
func (e *Engine) toldSchedules() {
	if e.Schedules != nil {
		e.Schedules.Committed()
	}
}

// startText is the first line of a run's log: it says what the run was made for.
func startText(def task.Task, run task.Run) string {
	if run.HookOf > 0 {
		return fmt.Sprintf("the run starts, because %s is %s (%s)", run.HookOfRef(), run.HookStatus, run.Cause())
	}
	if run.ScheduledFor.IsZero() {
		return "the run starts"
	}
	at := run.ScheduledFor.In(zoneOf(def, run))
	layout := "2006-01-02 15:04"
	if at.Second() != 0 {
		layout = time.DateTime
	}
	if run.Cause().Hook() {
		return fmt.Sprintf("the run starts, because no run had completed by %s (%s)", at.Format(layout), run.Cause())
	}
	return fmt.Sprintf("the run starts, scheduled for %s (%s)", at.Format(layout), run.Schedule)
}

// zoneOf is the time zone in which the schedule's author thinks, or the one that
// the time came with.
func zoneOf(def task.Task, run task.Run) *time.Location {
	name := ""
	if def.Expect != nil && run.Schedule == task.ExpectName {
		name = def.Expect.Timezone
	}
	for _, s := range def.Schedules {
		if s.Name == run.Schedule {
			name = s.Timezone
		}
	}
	if name != "" {
		if zone, err := time.LoadLocation(name); err == nil {
			return zone
		}
	}
	return run.ScheduledFor.Location()
}
