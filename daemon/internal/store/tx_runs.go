package store

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Run returns a run, or task.ErrNotFound.
func (tx *Tx) Run(id task.RunID) (task.Run, error) {
	var run task.Run
	found, err := tx.load(bucketRuns, runKey(id), &run)
	if err == nil && !found {
		err = notFound("run id %d", id)
	}
	return run, err
}

// RunByNumber finds a run by its task and number, or the newest of the task
// for number 0; else task.ErrNotFound.
func (tx *Tx) RunByNumber(name string, number uint64) (task.Run, error) {
	if checkName("task", name) != nil {
		return task.Run{}, notFound("run %s/%d", name, number)
	}
	var id uint64
	var found bool
	var err error
	if number != 0 {
		id, found, err = tx.number(bucketRunNumbers, runNumberKey(name, number))
	} else {
		err = tx.scanBack(bucketRunNumbers, namePrefix(name), afterName(name), func(k key, payload []byte) (bool, error) {
			id, err = readNumber(tx.path, bucketRunNumbers, k, payload)
			found = err == nil
			return false, err
		})
	}
	switch {
	case err != nil:
		return task.Run{}, err
	case !found && number == 0:
		return task.Run{}, notFound("a run of task %q", name)
	case !found:
		return task.Run{}, notFound("run %s/%d", name, number)
	}
	return tx.Run(task.RunID(id))
}

// Runs calls fn newest first, of one task or of all (name ""), from the first
// one older than before (0: from the newest), until it returns false. Damaged
// ones do not keep it from the others: it fails with the first of them
// (*CorruptError) when it is done.
func (tx *Tx) Runs(name string, before task.RunID, fn func(task.Run) bool) error {
	if name == "" {
		return tx.runsBack(bucketRuns, nil, lastKey(), before, fn)
	}
	if checkName("task", name) != nil {
		return nil
	}
	return tx.runsBack(bucketTaskRuns, namePrefix(name), afterName(name), before, fn)
}

// runsBack calls fn with the runs whose ids are at the end of an index's keys.
func (tx *Tx) runsBack(b bucket, prefix, end key, before task.RunID, fn func(task.Run) bool) error {
	if before != 0 {
		end = slices.Clone(prefix).run(before)
	}
	var passed error
	// An entry is nothing but its key: whether its own checksum holds makes no
	// difference.
	err := tx.walkBack(b, prefix, end, func(k key, payload []byte, damage error) (bool, error) {
		var run task.Run
		var err error
		switch {
		case b != bucketRuns && len(k) != len(prefix)+8:
			err = tx.corrupt(b, k, "its key names no run")
		case b != bucketRuns:
			run, err = tx.Run(task.RunID(binary.BigEndian.Uint64(k[len(prefix):])))
			if errors.Is(err, task.ErrNotFound) {
				err = tx.corrupt(b, k, "there is no such run")
			}
		case damage != nil:
			err = damage
		default:
			err = decode(tx.path, b, k, payload, &run)
		}
		if err != nil {
			passed = cmp.Or(passed, err)
			return true, nil
		}
		return fn(run), nil
	})
	return cmp.Or(err, passed)
}

// ActiveRuns calls fn for each queued and running run, oldest first, until it
// returns false.
func (tx *Tx) ActiveRuns(fn func(task.Run) bool) error {
	return tx.scan(bucketActive, nil, nil, func(k key, _ []byte) (bool, error) {
		run, err := tx.Run(task.RunID(binary.BigEndian.Uint64(k)))
		if err != nil {
			return false, err
		}
		return fn(run), nil
	})
}

// AliveRuns is ActiveRuns of one task, and reads no others.
func (tx *Tx) AliveRuns(name string, fn func(task.Run) bool) error {
	if checkName("task", name) != nil {
		return nil
	}
	prefix := namePrefix(name)
	return tx.scan(bucketTaskActive, prefix, prefix, func(k key, _ []byte) (bool, error) {
		run, err := tx.Run(task.RunID(binary.BigEndian.Uint64(k[len(prefix):])))
		if err != nil {
			return false, err
		}
		return fn(run), nil
	})
}

// NextRun takes the next id and the task's next number. Neither is ever given
// out again, not even after the task was deleted.
func (tx *Tx) NextRun(name string) (task.RunID, uint64, error) {
	if err := checkName("task", name); err != nil {
		return 0, 0, err
	}
	id, _, err := tx.number(bucketMeta, key(keyRunID))
	if err != nil {
		return 0, 0, err
	}
	number, _, err := tx.number(bucketCounters, key(name))
	if err != nil {
		return 0, 0, err
	}
	id, number = id+1, number+1
	if err := tx.putNumber(bucketMeta, key(keyRunID), id); err != nil {
		return 0, 0, err
	}
	if err := tx.putNumber(bucketCounters, key(name), number); err != nil {
		return 0, 0, err
	}
	return task.RunID(id), number, nil
}

// PutRun writes the run and its indexes. A run keeps its task and number
// (task.ErrConflict), and no two runs of a task have the same number
// (task.ErrExists).
func (tx *Tx) PutRun(run task.Run) error {
	pin := pinnedKey(run.Task, run.DefinitionVersion, run.ID)
	number, known, err := tx.number(bucketPinned, pin)
	if err != nil {
		return err
	}
	// The pin stands for all that is the same in every write of a run but the
	// first: where it is right, only the record and its liveness can be new.
	if !known || number != run.Number {
		if err := tx.indexRun(run); err != nil {
			return err
		}
	}
	if err := tx.indexStatus(&run); err != nil {
		return err
	}
	if err := tx.indexNewest(&run); err != nil {
		return err
	}
	return tx.save(bucketRuns, runKey(run.ID), &run)
}

// indexRun makes the entries of a new run, or moves the pin of one that was
// pinned to another version.
func (tx *Tx) indexRun(run task.Run) error {
	if err := checkName("task", run.Task); err != nil {
		return err
	}
	if run.ID == 0 || run.Number == 0 {
		return fmt.Errorf("%w: run %s with id %d: ids and numbers start from 1", task.ErrInvalid, run.Ref(), run.ID)
	}
	var old task.Run
	found, err := tx.load(bucketRuns, runKey(run.ID), &old)
	switch {
	case err != nil:
		return err
	case found && (old.Task != run.Task || old.Number != run.Number):
		return fmt.Errorf("%w: run id %d is %s and cannot become %s", task.ErrConflict, run.ID, old.Ref(), run.Ref())
	case found:
		if err := tx.remove(bucketPinned, pinnedKey(old.Task, old.DefinitionVersion, old.ID)); err != nil {
			return err
		}
		if err := tx.sweepDefinition(old.Task, old.DefinitionVersion); err != nil {
			return err
		}
	default:
		if id, taken, err := tx.number(bucketRunNumbers, runNumberKey(run.Task, run.Number)); err != nil {
			return err
		} else if taken {
			return fmt.Errorf("%w: run %s, with id %d", task.ErrExists, run.Ref(), id)
		}
		if err := tx.putNumber(bucketRunNumbers, runNumberKey(run.Task, run.Number), uint64(run.ID)); err != nil {
			return err
		}
		if err := tx.putNumber(bucketTaskRuns, taskRunKey(run.Task, run.ID), run.Number); err != nil {
			return err
		}
	}
	if err := tx.indexMade(&run); err != nil {
		return err
	}
	return tx.putNumber(bucketPinned, pinnedKey(run.Task, run.DefinitionVersion, run.ID), run.Number)
}

// DeleteRun removes up to limit records of an ended run and reports whether it
// is all gone; call it again in a new transaction until then. The run itself
// goes last. task.ErrState when it is alive, task.ErrNotFound (and done) when
// there is none.
func (tx *Tx) DeleteRun(id task.RunID, limit int) (done bool, err error) {
	if err := checkLimit(limit); err != nil {
		return false, err
	}
	run, err := tx.Run(id)
	if err != nil {
		return !tx.has(bucketRuns, runKey(id)), err
	}
	if run.Status.Alive() || tx.has(bucketActive, runKey(id)) {
		return false, fmt.Errorf("delete run %s: %w: it is %s; cancel it first", run.Ref(), task.ErrState, run.Status)
	}
	prefix := runKey(id)
	for _, b := range []bucket{bucketOutputs, bucketCheckpoints, bucketSteps} {
		n, err := tx.removeRange(b, prefix, prefix, limit)
		if err != nil {
			return false, err
		}
		if limit -= n; limit <= 0 {
			return false, nil
		}
	}
	for _, entry := range []struct {
		bucket bucket
		key    key
	}{
		{bucketRuns, prefix},
		{bucketRunNumbers, runNumberKey(run.Task, run.Number)},
		{bucketTaskRuns, taskRunKey(run.Task, id)},
		{bucketPinned, pinnedKey(run.Task, run.DefinitionVersion, id)},
	} {
		if err := tx.remove(entry.bucket, entry.key); err != nil {
			return false, err
		}
	}
	if err := tx.leaveEnded(run.Task, run.Status, id); err != nil {
		return false, err
	}
	if err := tx.leaveNewest(run.Task, id); err != nil {
		return false, err
	}
	if err := tx.leaveMade(id); err != nil {
		return false, err
	}
	return true, tx.sweepDefinition(run.Task, run.DefinitionVersion)
}

func checkLimit(limit int) error {
	if limit < 1 {
		return fmt.Errorf("%w: a limit of %d records would never come to an end", task.ErrInvalid, limit)
	}
	return nil
}
