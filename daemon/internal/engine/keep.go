package engine

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// taskDue looks at one task that may have too much.
func (k *keeper) taskDue() {
	for name := range k.due {
		more := false
		ok := k.attempt("forget old runs of task "+name, func() (err error) {
			more, err = k.retainTask(name)
			return err
		})
		if !ok || !more {
			delete(k.due, name)
		}
		return
	}
}

// limits are what is kept of the task: its own, where it says so, and the
// daemon's.
func (k *keeper) limits(rd Reader, name string) (task.Keep, error) {
	t, err := rd.Task(name)
	if err != nil && !errors.Is(err, task.ErrNotFound) {
		return task.Keep{}, err
	}
	return task.Keep{
		Runs: cmp.Or(t.Keep.Runs, k.e.KeepRuns), Days: cmp.Or(t.Keep.Days, k.e.KeepDays), Bytes: t.Keep.Bytes,
	}, nil
}

// retainTask forgets runs of the task that are over what is kept, a bounded
// number, oldest first, and reports whether there may be more.
func (k *keeper) retainTask(name string) (more bool, err error) {
	var old []task.Run
	restarts := k.e.restarts.Load()
	err = k.e.Store.View(func(rd Reader) error {
		old, more = nil, false
		limit, err := k.limits(rd, name)
		if err != nil {
			return err
		}
		stay, err := k.staying(rd, name)
		if err != nil {
			return err
		}
		a := *k.account(name)
		now, misses := k.e.Clock.Now(), 0
		// What is damaged stays, and keeps no other.
		return k.e.legible(rd.RunsAfter(name, 0, func(run task.Run) bool {
			kind := kindOf(&run)
			switch {
			case !k.counts(&run) || stay.numbers[run.Number]:
				return true
			case stay.free(&a, kind) <= 1 || !exceeds(limit, &a, stay, &run, now):
				misses++
				return misses < keepMisses
			case k.stuck[run.ID]:
			case len(old) == forgetBatch:
				more = true
				return false
			default:
				old = append(old, run)
			}
			a.runs[kind]--
			a.bytes -= run.Bytes
			return true
		}))
	})
	if err != nil {
		return false, err
	}
	return more, k.forgetAll(old, restarts)
}

// exceeds reports whether the oldest run that may go is over one of the bounds.
func exceeds(limit task.Keep, a *account, stay staying, run *task.Run, now time.Time) bool {
	days := time.Duration(limit.Days) * 24 * time.Hour
	return limit.Runs > 0 && stay.free(a, kindOf(run)) > limit.Runs ||
		limit.Bytes > 0 && a.bytes > limit.Bytes ||
		days > 0 && run.EndedAt.Before(now.Add(-days))
}

// counts reports whether the run has ended and is in the accounts.
func (k *keeper) counts(run *task.Run) bool { return run.Bytes > 0 && !run.Status.Alive() }

// staying are the runs of a task that are not to be forgotten now.
type staying struct {
	numbers map[uint64]bool
	held    kinds // how many of those that are in the accounts
}

// free is how many ended runs of that kind may go.
func (s staying) free(a *account, kind int) int { return a.runs[kind] - s.held[kind] }

// staying finds the runs of the task that are alive, and those that they read:
// the one that a hook follows, and those that a restart has skipped steps of.
func (k *keeper) staying(rd Reader, name string) (staying, error) {
	stay := staying{numbers: map[uint64]bool{}}
	var wanted []uint64
	want := func(run *task.Run) {
		if run.HookOf > 0 {
			wanted = append(wanted, run.HookOf)
		}
		if run.RestartOf > 0 {
			wanted = append(wanted, run.RestartOf)
		}
	}
	err := rd.AliveRuns(name, func(run task.Run) bool {
		stay.numbers[run.Number] = true
		if run.Bytes > 0 { // it had ended before
			stay.held[kindOf(&run)]++
		}
		want(&run)
		return true
	})
	for err == nil && len(wanted) > 0 {
		number := wanted[0]
		wanted = wanted[1:]
		if stay.numbers[number] {
			continue
		}
		stay.numbers[number] = true
		run, readErr := rd.RunByNumber(name, number)
		if errors.Is(readErr, task.ErrNotFound) {
			continue
		}
		if err = readErr; err != nil {
			break
		}
		if run.Bytes > 0 {
			stay.held[kindOf(&run)]++
		}
		if run.From != "" || run.HookOf > 0 { // it may have what it gives from another one
			want(&run)
		}
	}
	return stay, err
}

// forgetAll deletes the runs, which nobody read as of so many restarts, and takes
// them out of the accounts. One that cannot be deleted keeps no other.
func (k *keeper) forgetAll(runs []task.Run, restarts int64) (fault error) {
	for i := range runs {
		run := &runs[i]
		gone, err := k.forget(*run, restarts)
		switch {
		case errors.Is(err, task.ErrStopping), errors.Is(err, task.ErrStoreFailed):
			return err
		case err != nil:
			fault = cmp.Or(fault, fmt.Errorf("run %s: %w", run.Ref(), err))
			k.stuck[run.ID] = true
			k.stuckBytes += run.Bytes
		case gone:
			k.book(run, -1, -run.Bytes)
		}
	}
	return fault
}

// retainTotal forgets some of the oldest runs of all tasks, while all together
// have too much.
func (k *keeper) retainTotal() error {
	var found []task.Run
	last, more := k.from, false
	free := map[string]*account{} // what may go of each task
	restarts := k.e.restarts.Load()
	err := k.e.Store.View(func(rd Reader) (err error) {
		found, last, more = nil, k.from, false
		clear(free)
		stays := map[string]staying{}
		looked := 0
		scanErr := rd.RunsAfter("", k.from, func(run task.Run) bool {
			if looked == keepScan {
				more = true
				return false
			}
			looked++
			last = run.ID
			if !k.counts(&run) {
				return true
			}
			stay, ok := stays[run.Task]
			if !ok {
				a := *k.account(run.Task)
				stay, err = k.staying(rd, run.Task)
				if damaged := err != nil; damaged {
					if err = k.e.legible(err); err != nil {
						return false
					}
					a = account{} // nobody knows what of it may go
				}
				stays[run.Task] = stay
				for kind := range a.runs {
					a.runs[kind] = stay.free(&a, kind)
				}
				free[run.Task] = &a
			}
			if !stay.numbers[run.Number] {
				found = append(found, run)
			}
			return true
		})
		return errors.Join(k.e.legible(scanErr), err)
	})
	if err != nil {
		return err
	}
	// Those were found in the order in which they were made.
	slices.SortStableFunc(found, func(a, b task.Run) int { return a.EndedAt.Compare(b.EndedAt) })
	var old []task.Run
	left := k.total - k.stuckBytes
	for _, run := range found {
		a, kind := free[run.Task], kindOf(&run)
		if left <= k.e.KeepBytes || len(old) == forgetBatch {
			more = true
			break
		}
		switch {
		case a.runs[kind] <= 1:
		case k.stuck[run.ID]:
			a.runs[kind]--
		default:
			a.runs[kind]--
			left -= run.Bytes
			old = append(old, run)
		}
	}
	switch {
	case len(old) > 0: // what stays is looked at again
	case more:
		k.from = last
	default:
		k.over, k.from = false, 0 // nothing is left that may go
	}
	return k.forgetAll(old, restarts)
}
