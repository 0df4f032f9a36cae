package store

import (
	"bytes"
	"encoding/json"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Step returns a step of a run, or task.ErrNotFound.
func (tx *Tx) Step(id task.RunID, pos task.Position) (task.RunStep, error) {
	k := positionKey(id, pos)
	payload, err := tx.get(bucketSteps, k)
	switch {
	case err != nil:
		return task.RunStep{}, err
	case payload == nil:
		return task.RunStep{}, notFound("step %s of run id %d", pos, id)
	}
	return readStep(tx.path, k, payload)
}

// Steps calls fn in the order of positions, from the given one on, until it
// returns false.
func (tx *Tx) Steps(id task.RunID, from task.Position, fn func(task.RunStep) bool) error {
	return tx.scan(bucketSteps, runKey(id), positionKey(id, from), func(k key, payload []byte) (bool, error) {
		step, err := readStep(tx.path, k, payload)
		return err == nil && fn(step), err
	})
}

// PutStep writes a step of a run, new or known.
func (tx *Tx) PutStep(id task.RunID, step task.RunStep) error {
	if err := tx.writable(); err != nil {
		return err
	}
	k := positionKey(id, step.Position)
	value, err := tx.enc.step(k, &step)
	if err != nil {
		return err
	}
	return tx.store(bucketSteps, k, value)
}

// DeleteStep removes a step of the definition with its checkpoint and outputs.
// What it planned is deleted before, by DeletePlanned.
func (tx *Tx) DeleteStep(id task.RunID, top uint32) error {
	pos := task.Position{Top: top}
	if err := tx.DeleteOutputs(id, pos); err != nil {
		return err
	}
	if err := tx.DeleteCheckpoint(id, pos); err != nil {
		return err
	}
	return tx.remove(bucketSteps, positionKey(id, pos))
}

// DeletePlanned removes up to limit steps that the step at top planned, with
// their checkpoints and outputs, and reports whether all are gone; call it
// again in a new transaction until then.
func (tx *Tx) DeletePlanned(id task.RunID, top uint32, limit int) (done bool, err error) {
	if err := checkLimit(limit); err != nil {
		return false, err
	}
	prefix, first := topPrefix(id, top), positionKey(id, task.Position{Top: top, Sub: 1})
	planned := tx.keys(bucketSteps, prefix, first, limit)
	for _, k := range planned {
		if _, err := tx.removeRange(bucketOutputs, k, k, limit); err != nil {
			return false, err
		}
		if err := tx.remove(bucketCheckpoints, k); err != nil {
			return false, err
		}
		if err := tx.remove(bucketSteps, k); err != nil {
			return false, err
		}
	}
	limit -= len(planned)
	// What has no step, or more outputs than the limit, is left for the end.
	for _, b := range []bucket{bucketOutputs, bucketCheckpoints} {
		if limit <= 0 {
			return false, nil
		}
		n, err := tx.removeRange(b, prefix, first, limit)
		if err != nil {
			return false, err
		}
		limit -= n
	}
	return limit > 0, nil
}

// Checkpoint returns what was saved, nil where there is none.
func (tx *Tx) Checkpoint(id task.RunID, pos task.Position) ([]byte, error) {
	payload, err := tx.get(bucketCheckpoints, positionKey(id, pos))
	return bytes.Clone(payload), err
}

// PutCheckpoint keeps data in the place of the step's former checkpoint.
func (tx *Tx) PutCheckpoint(id task.RunID, pos task.Position, data []byte) error {
	return tx.put(bucketCheckpoints, positionKey(id, pos), data)
}

// DeleteCheckpoint removes the step's checkpoint, if there is one.
func (tx *Tx) DeleteCheckpoint(id task.RunID, pos task.Position) error {
	return tx.remove(bucketCheckpoints, positionKey(id, pos))
}

// Output returns one output of one step, or task.ErrNotFound.
func (tx *Tx) Output(id task.RunID, pos task.Position, name string) (json.RawMessage, error) {
	payload, err := tx.get(bucketOutputs, outputKey(id, pos, name))
	if err != nil {
		return nil, err
	}
	if payload == nil || name == "" {
		return nil, notFound("output %q of step %s of run id %d", name, pos, id)
	}
	return bytes.Clone(payload), nil
}

// Outputs calls fn for each output of the run in the order of positions and
// names, from the given position on, until it returns false.
func (tx *Tx) Outputs(id task.RunID, from task.Position, fn func(pos task.Position, name string, value json.RawMessage) bool) error {
	return tx.scan(bucketOutputs, runKey(id), positionKey(id, from), func(k key, payload []byte) (bool, error) {
		_, pos, name, _ := splitPosition(k)
		return fn(pos, name, bytes.Clone(payload)), nil
	})
}

// PutOutput keeps a value under a name of the step.
func (tx *Tx) PutOutput(id task.RunID, pos task.Position, name string, value json.RawMessage) error {
	if err := checkName("output", name); err != nil {
		return err
	}
	return tx.put(bucketOutputs, outputKey(id, pos, name), value)
}

// DeleteOutputs removes all outputs of the step.
func (tx *Tx) DeleteOutputs(id task.RunID, pos task.Position) error {
	prefix := positionKey(id, pos)
	for {
		n, err := tx.removeRange(bucketOutputs, prefix, prefix, 1000)
		if err != nil || n < 1000 {
			return err
		}
	}
}
