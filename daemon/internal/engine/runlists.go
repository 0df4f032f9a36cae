package engine

import (
	"cmp"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// RunQuery selects runs, newest first. Empty fields select all.
type RunQuery struct {
	Task      string
	Status    string // a task.RunStatus; or alive, ended, stuck
	Trigger   string
	StartedBy string
	Schedule  string
	Batch     string
	Since     time.Time  // made then or later
	Until     time.Time  // made before
	Before    task.RunID // what ListRuns returned as next; 0: from the newest
	Limit     int        // at least 1
}

// Words for RunQuery.Status beside those of runs.
const (
	statusAlive = "alive"
	statusEnded = "ended"
	statusStuck = "stuck"
)

// maxRunsRead bounds what one page reads, so that its transaction is short.
const maxRunsRead = 2000

// ListRuns answers a page, of one state of the store. It looks at 2,000 runs at
// most, so a page may have fewer than Limit, or none, and yet be followed by
// others: next is 0 behind the last one. A run that is damaged is left out. A
// word that is not known is task.ErrInvalid.
func (e *Engine) ListRuns(q RunQuery) (list []RunView, next task.RunID, err error) {
	err = cmp.Or(
		oneOf("status", q.Status, append(words(task.RunStatuses[:]), statusAlive, statusEnded, statusStuck)),
		oneOf("trigger", q.Trigger, words(task.Triggers[:])))
	if err != nil {
		return nil, 0, err
	}
	var runs []task.Run
	err = e.Store.View(func(rd Reader) (err error) {
		runs, next, err = e.selectRuns(rd, q)
		return err
	})
	for _, run := range runs {
		view := e.live(run)
		if q.Status != statusStuck || view.Stuck {
			list = append(list, view)
		}
	}
	return list, next, err
}

func (e *Engine) selectRuns(rd Reader, q RunQuery) (runs []task.Run, next task.RunID, err error) {
	first, before := task.RunID(0), q.Before
	if !q.Since.IsZero() || !q.Until.IsZero() {
		var last task.RunID
		if first, last, err = rd.RunsMade(q.Since, q.Until); err != nil {
			return nil, 0, err
		}
		if last == 0 {
			return nil, 0, nil
		}
		if before == 0 || before > last+1 {
			before = last + 1
		}
	}
	read, seen := 0, task.RunID(0)
	scan := func(run task.Run) bool {
		switch {
		case run.ID < first:
			return false
		case len(runs) == q.Limit || read == maxRunsRead:
			next = seen
			return false
		}
		read, seen = read+1, run.ID
		if q.selects(&run) {
			runs = append(runs, run)
		}
		return true
	}
	switch q.Status {
	case "", statusEnded:
		err = rd.Runs(q.Task, before, scan)
	case statusAlive:
		err = rd.AliveBefore(q.Task, before, scan)
	case statusStuck:
		err = rd.RunsByStatus(q.Task, task.RunRunning, before, scan)
	default:
		err = rd.RunsByStatus(q.Task, task.RunStatus(q.Status), before, scan)
	}
	return runs, next, e.legible(err)
}

func (q *RunQuery) selects(run *task.Run) bool {
	return !(q.Status == statusEnded && run.Status.Alive() ||
		q.Trigger != "" && q.Trigger != string(run.Cause()) ||
		q.StartedBy != "" && q.StartedBy != run.StartedBy ||
		q.Schedule != "" && q.Schedule != run.Schedule ||
		q.Batch != "" && q.Batch != run.Batch ||
		!q.Since.IsZero() && run.CreatedAt.Before(q.Since) ||
		!q.Until.IsZero() && !run.CreatedAt.Before(q.Until))
}
