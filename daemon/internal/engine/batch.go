package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// BatchWish is several runs that are to be carried out one after another.
type BatchWish struct {
	Kind string // task.BatchRun, BatchDue or BatchAll
	By   string
	May  func(t *task.Task) error // see Wish

	Tasks []string // with BatchRun, in that order; a task may be there twice
}

// Batched is one task of a batch: the run that was made, or why none was.
type Batched struct {
	Task   string
	Run    *task.Run
	Reason string
	Denied bool // the reason is that who asked may not start it
}

// SubmitBatch makes runs that are carried out one after another, whatever becomes
// of each, and puts them in the queue, in one transaction:
//
//   - with BatchRun, of the tasks that are named; an error about one of them and
//     none is made.
//   - with BatchDue, of each task with schedules for which a time of theirs has
//     passed since its newest completed run began, and of which no run is alive.
//   - with BatchAll, of each task of which no run is alive.
//
// What is left out of the latter two is listed with the reason. The name of the
// batch is empty when no run was made.
func (e *Engine) SubmitBatch(ctx context.Context, w BatchWish) (name string, list []Batched, err error) {
	if err := e.mayBegin(); err != nil {
		return "", nil, err
	}
	name = w.Kind + "/" + rand.Text()
	tasks, left := w.Tasks, []Batched(nil)
	switch w.Kind {
	case task.BatchRun:
		if len(tasks) == 0 {
			return "", nil, fmt.Errorf("no task is named: %w", task.ErrInvalid)
		}
	case task.BatchDue, task.BatchAll:
		// Thousands of tasks are not read in the transaction, but those that seem
		// fit, once more.
		if tasks, left, err = e.candidates(w); err != nil {
			return "", nil, err
		}
	default:
		return "", nil, fmt.Errorf("%q is no kind of batch: %w", w.Kind, task.ErrInvalid)
	}
	err = e.Store.Update(ctx, func(tx Tx) error {
		list = append([]Batched(nil), left...)
		now := e.Clock.Now()
		for _, one := range tasks {
			made := Batched{Task: one}
			if w.Kind != task.BatchRun {
				t, err := tx.Task(one)
				if errors.Is(err, task.ErrNotFound) {
					continue // deleted meanwhile
				}
				if err == nil {
					made.Reason, err = e.leftOut(tx, &t, w, now)
					made.Denied = made.Reason == notYours
				}
				if err != nil {
					return fmt.Errorf("task %s: %w", one, err)
				}
			}
			if made.Reason == "" {
				run, err := e.submit(tx, now, Wish{Task: one, By: w.By, May: w.May}, name)
				if err != nil {
					return err
				}
				made.Run = &run
			}
			list = append(list, made)
		}
		return nil
	})
	if err != nil {
		return "", nil, err
	}
	var runs []task.Run
	for _, one := range list {
		if one.Run != nil {
			runs = append(runs, *one.Run)
		}
	}
	if len(runs) == 0 {
		return "", list, nil
	}
	e.Adopt(runs...)
	return name, list, nil
}

// candidates looks through all tasks for those of which there may be a run now.
func (e *Engine) candidates(w BatchWish) (fit []string, left []Batched, err error) {
	now := e.Clock.Now()
	err = e.Store.View(func(rd Reader) error {
		var fault error
		err := rd.Tasks("", func(t task.Task) bool {
			if w.Kind == task.BatchDue && len(t.Schedules) == 0 {
				return true
			}
			reason, err := e.leftOut(rd, &t, w, now)
			switch {
			case err != nil:
				fault = fmt.Errorf("task %s: %w", t.Name, err)
			case reason != "":
				left = append(left, Batched{Task: t.Name, Reason: reason, Denied: reason == notYours})
			default:
				fit = append(fit, t.Name)
			}
			return fault == nil
		})
		return errors.Join(fault, err)
	})
	return fit, left, err
}

const notYours = "you may not start it"

// leftOut is why a batch of all that is due, or of all, has no run of the task;
// empty: it has one.
func (e *Engine) leftOut(rd Reader, t *task.Task, w BatchWish, now time.Time) (string, error) {
	if w.May != nil { // first: whoever may not start it need not learn how it is
		if err := w.May(t); errors.Is(err, task.ErrDenied) {
			return notYours, nil
		} else if err != nil {
			return "", err
		}
	}
	due := w.Kind == task.BatchDue
	switch {
	case t.Draft():
		return "it has no steps yet", nil
	case t.Disabled:
		return "it is disabled", nil
	case due && t.Held(now):
		return "it is paused", nil
	}
	reason := ""
	err := rd.AliveRuns(t.Name, func(run task.Run) bool {
		if !run.Cause().Hook() {
			reason = fmt.Sprintf("run %s is %s", run.Ref(), run.Status)
		}
		return reason == ""
	})
	if reason != "" || err != nil || !due {
		return reason, err
	}
	return e.notDue(rd, t, now)
}

// notDue is why nothing of the task is due.
func (e *Engine) notDue(rd Reader, t *task.Task, now time.Time) (string, error) {
	if e.Schedules == nil || len(t.Schedules) == 0 {
		return "it has no schedules", nil
	}
	last, err := lastCompleted(rd, t.Name)
	if err != nil {
		return "", err
	}
	due, err := e.Schedules.Due(rd, t, last.StartedAt, now)
	switch {
	case err != nil || due:
		return "", err
	case last.Number == 0:
		return "no time of its schedules has passed yet", nil
	}
	return fmt.Sprintf("no time of its schedules has passed since run %s began", last.Ref()), nil
}

// lastCompleted is the newest run of the task itself that has completed, or none.
func lastCompleted(rd Reader, name string) (found task.Run, err error) {
	err = rd.RunsByStatus(name, task.RunCompleted, 0, func(run task.Run) bool {
		if run.Cause().Hook() {
			return true
		}
		found = run
		return false
	})
	return found, err
}
