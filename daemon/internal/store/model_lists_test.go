package store_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// summaries are those of all tasks, by name, with their newest runs.
func (m *model) summaries() (list []task.Summary) {
	for _, name := range slices.Sorted(maps.Keys(m.tasks)) {
		t := m.tasks[name]
		s := task.Summarise(&t)
		for _, id := range slices.Sorted(maps.Keys(m.runs)) {
			if run := m.runs[id]; run.Task == name && !run.Cause().Hook() {
				s.LastRun, s.LastNumber, s.LastStatus = run.ID, run.Number, run.Status
				s.LastAt = cmp.Or(run.EndedAt, run.StartedAt, run.CreatedAt)
			}
		}
		list = append(list, s)
	}
	return list
}

// compareLists reads all that lists go by.
func (m *model) compareLists(tx *store.Tx) error {
	var errs []error
	equal := func(what string, want, got any, err error) {
		if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
			errs = append(errs, fmt.Errorf("%s: %v %s", what, err, diff))
		}
	}
	want := m.summaries()
	got, err := list(tx.Summaries)
	equal("summaries", want, got, err)
	for _, s := range want {
		got, err := tx.Summary(s.Name)
		equal("summary", s, got, err)
	}
	ids := func(name string, match func(task.RunStatus) bool, before task.RunID) (ids []task.RunID) {
		for _, id := range slices.Backward(slices.Sorted(maps.Keys(m.runs))) {
			if run := m.runs[id]; (name == "" || run.Task == name) && match(run.Status) && (before == 0 || id < before) {
				ids = append(ids, id)
			}
		}
		return ids
	}
	var alive []string
	for _, name := range append([]string{"", "none"}, modelNames...) {
		for _, before := range []task.RunID{0, 1, m.last/2 + 1, m.last + 1} {
			for _, status := range task.RunStatuses {
				got, err := list(func(fn func(task.Run) bool) error { return tx.RunsByStatus(name, status, before, fn) })
				equal(fmt.Sprint("runs of ", name, " ", status), ids(name, func(s task.RunStatus) bool { return s == status }, before), idsOf(got), err)
			}
			got, err := list(func(fn func(task.Run) bool) error { return tx.AliveBefore(name, before, fn) })
			equal("alive runs of "+name, ids(name, task.RunStatus.Alive, before), idsOf(got), err)
		}
		if name != "" {
			for _, id := range slices.Backward(ids(name, task.RunStatus.Alive, 0)) {
				alive = append(alive, fmt.Sprint(name, " ", m.runs[id].Status))
			}
		}
	}
	var gotAlive []string
	err = tx.AliveTasks(func(name string, status task.RunStatus) bool {
		gotAlive = append(gotAlive, fmt.Sprint(name, " ", status))
		return true
	})
	slices.Sort(alive)
	slices.Sort(gotAlive)
	equal("tasks with runs that are alive", alive, gotAlive, err)

	var due, gotDue []string
	for c := range maps.Values(m.schedules.cursors) {
		if !c.Due.IsZero() && c.Schedule != task.ExpectName {
			due = append(due, c.Due.UTC().Format(time.RFC3339Nano)+" "+c.Task)
		}
	}
	var last time.Time
	err = tx.DueOrder(func(at time.Time, name string) bool {
		if at.Before(last) {
			errs = append(errs, fmt.Errorf("%s is due behind %s", at, last))
		}
		last = at
		gotDue = append(gotDue, at.Format(time.RFC3339Nano)+" "+name)
		return true
	})
	slices.Sort(due)
	slices.Sort(gotDue)
	equal("due times", due, gotDue, err)

	first, end, err := tx.RunsMade(noon, time.Time{})
	for id := range m.runs {
		if err != nil || id < first || id > end {
			errs = append(errs, fmt.Errorf("run id %d is not from %d to %d: %w", id, first, end, err))
		}
	}
	return errors.Join(errs...)
}

func idsOf(runs []task.Run) (ids []task.RunID) {
	for _, run := range runs {
		ids = append(ids, run.ID)
	}
	return ids
}
