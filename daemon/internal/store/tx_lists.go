package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// RunsByStatus is Runs of those that have that status now. It reads no others.
func (tx *Tx) RunsByStatus(name string, status task.RunStatus, before task.RunID, fn func(task.Run) bool) error {
	if name != "" && checkName("task", name) != nil {
		return nil
	}
	if status.Alive() {
		return tx.aliveByStatus(name, status, before, fn)
	}
	b, prefix := endedPrefix(name, status)
	end := append(slices.Clone(prefix[:len(prefix)-1]), 1)
	return tx.runsBack(b, prefix, end, before, fn)
}

// AliveBefore is Runs of those that are queued or running. It reads no others.
func (tx *Tx) AliveBefore(name string, before task.RunID, fn func(task.Run) bool) error {
	if name != "" && checkName("task", name) != nil {
		return nil
	}
	return tx.aliveByStatus(name, "", before, fn)
}

// AliveTasks calls fn with the task and the status of each queued and running
// run, in the order of names, until it returns false. It reads no run.
func (tx *Tx) AliveTasks(fn func(name string, status task.RunStatus) bool) error {
	return tx.walk(bucketTaskActive, nil, nil, func(k key, payload []byte, damage error) (bool, error) {
		name, id, ok := splitName(k)
		if !ok || len(id) != 8 {
			return true, nil
		}
		status := runStatusWord(payload)
		if damage != nil {
			run, err := tx.Run(task.RunID(binary.BigEndian.Uint64(id)))
			if err != nil {
				return true, nil
			}
			status = run.Status
		}
		return fn(name, status), nil
	})
}

// aliveByStatus goes by the index of those that are alive, which says of each
// what its status is: of many that wait it reads none to find those that run.
func (tx *Tx) aliveByStatus(name string, status task.RunStatus, before task.RunID, fn func(task.Run) bool) error {
	b, prefix, end := bucketActive, key(nil), lastKey()
	if name != "" {
		b, prefix, end = bucketTaskActive, namePrefix(name), afterName(name)
	}
	if before != 0 {
		end = slices.Clone(prefix).run(before)
	}
	var passed error
	err := tx.walkBack(b, prefix, end, func(k key, payload []byte, damage error) (bool, error) {
		if damage == nil && status != "" && string(payload) != string(status) {
			return true, nil
		}
		if len(k) != len(prefix)+8 {
			passed = cmp.Or(passed, tx.corrupt(b, k, "its key names no run"))
			return true, nil
		}
		run, err := tx.Run(task.RunID(binary.BigEndian.Uint64(k[len(prefix):])))
		if errors.Is(err, task.ErrNotFound) {
			err = tx.corrupt(b, k, "there is no such run")
		}
		if err != nil {
			passed = cmp.Or(passed, err)
			return true, nil
		}
		return status != "" && run.Status != status || fn(run), nil
	})
	return cmp.Or(err, passed)
}

// indexStatus moves the run to its status in the indexes of those that are alive
// and of those that have ended.
func (tx *Tx) indexStatus(run *task.Run) error {
	k := runKey(run.ID)
	was, damage := tx.get(bucketActive, k)
	wasAlive := was != nil || damage != nil
	if run.Status.Alive() {
		if wasAlive && damage == nil && string(was) == string(run.Status) {
			return nil
		}
		if !wasAlive {
			if err := tx.leaveOldStatus(run); err != nil {
				return err
			}
		}
		if err := tx.put(bucketActive, k, []byte(run.Status)); err != nil {
			return err
		}
		return tx.put(bucketTaskActive, taskRunKey(run.Task, run.ID), []byte(run.Status))
	}
	all, k := endedKey("", run.Status, run.ID)
	if !wasAlive && tx.has(all, k) {
		return nil
	}
	if wasAlive {
		if err := tx.remove(bucketActive, runKey(run.ID)); err != nil {
			return err
		}
		if err := tx.remove(bucketTaskActive, taskRunKey(run.Task, run.ID)); err != nil {
			return err
		}
	} else if err := tx.leaveOldStatus(run); err != nil {
		return err
	}
	if err := tx.put(all, k, nil); err != nil {
		return err
	}
	one, k := endedKey(run.Task, run.Status, run.ID)
	return tx.put(one, k, nil)
}

// leaveOldStatus takes a run that is not alive out of the index of those that
// have ended.
func (tx *Tx) leaveOldStatus(run *task.Run) error {
	old, err := tx.Run(run.ID)
	switch _, damaged := errors.AsType[*CorruptError](err); {
	case damaged:
		for _, status := range task.RunStatuses {
			if err := tx.leaveEnded(run.Task, status, run.ID); err != nil {
				return err
			}
		}
		return nil
	case errors.Is(err, task.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return tx.leaveEnded(old.Task, old.Status, old.ID)
}

func (tx *Tx) leaveEnded(name string, status task.RunStatus, id task.RunID) error {
	for _, of := range []string{"", name} {
		b, k := endedKey(of, status, id)
		if err := tx.remove(b, k); err != nil {
			return err
		}
	}
	return nil
}

// DueOrder calls fn with each due time of a schedule and the schedule's task,
// the earliest first, until it returns false. Expectations are no schedules. It
// reads keys alone, so one whose cursor is damaged is among them.
func (tx *Tx) DueOrder(fn func(due time.Time, name string) bool) error {
	c := tx.bucket(bucketDue).Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if len(k) < 8 {
			continue
		}
		name, schedule, ok := bytes.Cut(k[8:], []byte{0})
		if !ok || string(schedule) == task.ExpectName {
			continue
		}
		if !fn(numberTime(binary.BigEndian.Uint64(k)), string(name)) {
			return nil
		}
	}
	return nil
}
