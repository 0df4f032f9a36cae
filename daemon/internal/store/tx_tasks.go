package store

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Task returns the task's current definition, or task.ErrNotFound.
func (tx *Tx) Task(name string) (task.Task, error) {
	var t task.Task
	found, err := tx.load(bucketTasks, key(name), &t)
	if err == nil && !found {
		err = notFound("task %q", name)
	}
	return t, err
}

// Tasks calls fn in the order of names, from the first after the given one,
// until it returns false.
func (tx *Tx) Tasks(after string, fn func(task.Task) bool) error {
	start := key(after)
	if after != "" {
		start = append(start, 0)
	}
	return tx.scan(bucketTasks, nil, start, func(k key, payload []byte) (bool, error) {
		var t task.Task
		if err := decode(tx.path, bucketTasks, k, payload, &t); err != nil {
			return false, err
		}
		return fn(t), nil
	})
}

// Definition returns the task as it was at that version, or task.ErrNotFound
// when neither the task nor a run needs it any more.
func (tx *Tx) Definition(name string, version uint64) (task.Task, error) {
	var t task.Task
	if checkName("task", name) != nil {
		return t, notFound("task %q, version %d", name, version)
	}
	found, err := tx.load(bucketDefinitions, definitionKey(name, version), &t)
	if err == nil && !found {
		err = notFound("task %q, version %d", name, version)
	}
	return t, err
}

// PutDefinition writes a definition that belongs to runs alone, under a version
// of task.PrivateVersion; another one is task.ErrInvalid. It goes with the last
// run that is pinned to it, so that run must be put in the same transaction.
func (tx *Tx) PutDefinition(version uint64, t task.Task) error {
	if err := checkName("task", t.Name); err != nil {
		return err
	}
	if !private(version) {
		return fmt.Errorf("%w: version %d of task %q is no run's own", task.ErrInvalid, version, t.Name)
	}
	return tx.save(bucketDefinitions, definitionKey(t.Name, version), &t)
}

func private(version uint64) bool { run := task.Run{DefinitionVersion: version}; return run.Private() }

// recent is how many versions of a task are kept, the current one among them:
// whoever makes a change for one of them can be told what has changed since.
const recent = 10

func isRecent(version uint64, t *task.Task) bool {
	return version <= t.Version && t.Version-version < recent
}

// PutTask writes the task and, under its Version, the definition that runs
// pin. Definitions of versions that are not recent go, unless a run is pinned to
// them.
func (tx *Tx) PutTask(t task.Task) error {
	if err := checkName("task", t.Name); err != nil {
		return err
	}
	if err := tx.save(bucketTasks, key(t.Name), &t); err != nil {
		return err
	}
	if err := tx.save(bucketDefinitions, definitionKey(t.Name, t.Version), &t); err != nil {
		return err
	}
	if err := tx.putSummary(&t); err != nil {
		return err
	}
	return tx.sweepDefinitions(t.Name, func(version uint64) bool { return isRecent(version, &t) })
}

// DeleteTask removes the task, the definitions that no run is pinned to and
// the slots of all its schedules, also of those that it had once. Its runs, its
// run counter and its cursors stay: DeleteCursor is for those.
// task.ErrNotFound when there is none.
func (tx *Tx) DeleteTask(name string) error {
	if !tx.hasTask(name) {
		return notFound("task %q", name)
	}
	for _, b := range []bucket{bucketTasks, bucketSummaries} {
		if err := tx.remove(b, key(name)); err != nil {
			return err
		}
	}
	prefix := namePrefix(name)
	if _, err := tx.removeRange(bucketSlots, prefix, prefix, math.MaxInt); err != nil {
		return err
	}
	return tx.sweepDefinitions(name, func(uint64) bool { return false })
}

func (tx *Tx) hasTask(name string) bool {
	return checkName("task", name) == nil && tx.has(bucketTasks, key(name))
}

// sweepDefinitions deletes the definitions that are neither to be kept nor
// pinned. A task has its recent ones and those of its runs, so they are few; it
// reads their keys only.
func (tx *Tx) sweepDefinitions(name string, keep func(version uint64) bool) error {
	prefix := namePrefix(name)
	for _, k := range tx.keys(bucketDefinitions, prefix, prefix, math.MaxInt) {
		version := binary.BigEndian.Uint64(k[len(prefix):])
		if keep(version) || tx.pinned(name, version) {
			continue
		}
		if err := tx.remove(bucketDefinitions, k); err != nil {
			return err
		}
	}
	return nil
}

// sweepDefinition deletes one definition when nobody needs it any more.
func (tx *Tx) sweepDefinition(name string, version uint64) error {
	if tx.pinned(name, version) {
		return nil
	}
	t, err := tx.Task(name)
	if err == nil && isRecent(version, &t) {
		return nil
	}
	if err != nil && tx.hasTask(name) && !private(version) {
		return nil // damaged: nobody knows its version, so keep what it may need
	}
	return tx.remove(bucketDefinitions, definitionKey(name, version))
}

func (tx *Tx) pinned(name string, version uint64) bool {
	prefix := key(nil).name(name).u64(version)
	return len(tx.keys(bucketPinned, prefix, prefix, 1)) > 0
}
