package store

import (
	"github.com/stepd/stepd/daemon/internal/task"
	"time"
)

// Summaries calls fn for each task in the order of names, until it returns false.
func (tx *Tx) Summaries(fn func(task.Summary) bool) error {
	var inner error
	err := tx.Tasks("", func(t task.Task) bool {
		s := task.Summarise(&t)
		inner = tx.Runs(t.Name, 0, func(run task.Run) bool {
			if run.Cause().Hook() {
				return true
			}
			s.LastRun, s.LastNumber, s.LastStatus, s.LastAt = run.ID, run.Number, run.Status, run.QueuedAt
			return false
		})
		return inner == nil && fn(s)
	})
	if err == nil {
		err = inner
	}
	return err
}

// RunsByStatus is Runs of those that have that status now.
func (tx *Tx) RunsByStatus(name string, status task.RunStatus, before task.RunID, fn func(task.Run) bool) error {
	return tx.Runs(name, before, func(run task.Run) bool {
		return run.Status != status || fn(run)
	})
}

// DueOrder calls fn for each task that has a schedule with a due time, by its
// earliest one, until it returns false.
func (tx *Tx) DueOrder(fn func(due time.Time, name string) bool) error {
	seen := map[string]bool{}
	return tx.DueCursors(nil, func(c task.Cursor) bool {
		if seen[c.Task] {
			return true
		}
		seen[c.Task] = true
		return fn(c.Due, c.Task)
	})
}

// PutDefinition writes a definition that belongs to runs alone, under a version
// of task.PrivateVersion. It goes with the last run that is pinned to it, so that
// run must be put in the same transaction.
func (tx *Tx) PutDefinition(version uint64, t task.Task) error {
	if err := checkName("task", t.Name); err != nil {
		return err
	}
	return tx.save(bucketDefinitions, definitionKey(t.Name, version), &t)
}
