package store

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/stepd/stepd/daemon/internal/task"
)

// scrubLists checks that the indexes that lists go by agree with what they are of.
func (tx *Tx) scrubLists(b bucket, k, payload []byte) error {
	fault := func(format string, args ...any) error { return tx.corrupt(b, k, format, args...) }
	switch b {
	case bucketActive, bucketTaskActive:
		if len(k) < 8 || !tx.has(bucketRuns, k[len(k)-8:]) {
			return fault("there is no such run")
		}
		if b == bucketTaskActive && (!tx.has(bucketTaskRuns, k) || !tx.has(bucketActive, k[len(k)-8:])) {
			return fault("there is no such run, or it has ended")
		}
		run, err := tx.Run(task.RunID(binary.BigEndian.Uint64(k[len(k)-8:])))
		if err == nil && string(payload) != string(run.Status) {
			return fault("it says %q, but the run %s is %s", payload, run.Ref(), run.Status)
		}
	case bucketEnded, bucketTaskEnded:
		name, status, id, ok := splitEnded(b, k)
		if !ok {
			return fault("its key names no run")
		}
		run, err := tx.Run(id)
		switch {
		case errors.Is(err, task.ErrNotFound):
			return fault("there is no such run")
		case err != nil:
			return nil // told where it lies
		case run.Status != status || b == bucketTaskEnded && run.Task != name:
			return fault("it is of run %s, which is %s", run.Ref(), run.Status)
		}
	case bucketMade:
		if _, err := tx.readSpan(k, payload); err != nil {
			return err
		}
		if len(k) != 8 || !tx.blockHasRuns(k) {
			return fault("there are no such runs")
		}
	case bucketSummaries:
		s, err := parseSummary(string(k), payload, repeated{})
		if err != nil {
			return fault("%v", err)
		}
		t, err := tx.Task(string(k))
		switch {
		case errors.Is(err, task.ErrNotFound):
			return fault("there is no such task")
		case err != nil:
			return nil
		}
		want := task.Summarise(&t)
		if !bytes.Equal(appendSummary(nil, &s), appendSummary(nil, &want)) {
			return fault("the task says otherwise")
		}
	case bucketNewest:
		n, err := parseNewest(payload)
		if err != nil {
			return fault("%v", err)
		}
		want, err := tx.findNewest(string(k))
		if err == nil && !bytes.Equal(appendNewest(nil, n), appendNewest(nil, want)) {
			return fault("it is run id %d, %s, but should be %d, %s", n.run, n.status, want.run, want.status)
		}
	}
	return nil
}
