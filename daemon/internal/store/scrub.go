package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// scrubSlice is how many records one transaction looks at: a longer one would
// keep the writer from using freed pages again.
const scrubSlice = 2000

// ScrubReport counts what Scrub has looked at.
type ScrubReport struct {
	Records int
	Bytes   int64 // of keys and values
	Faults  int
}

// Scrub verifies every record and that indexes and records agree, and calls fn
// for each fault (a *CorruptError) until it returns false. It can take long
// and does not keep others from writing; what they change meanwhile may or may
// not be looked at. It fails only when ctx ends or the file cannot be read.
func (s *Store) Scrub(ctx context.Context, fn func(error) bool) (ScrubReport, error) {
	var report ScrubReport
	for b := range bucketCount {
		for next, more := []byte(nil), true; more; {
			if err := ctx.Err(); err != nil {
				return report, err
			}
			err := s.View(func(tx *Tx) error {
				c := tx.bucket(b).Cursor()
				k, v := c.Seek(next)
				for n := 0; k != nil && n < scrubSlice; k, v = c.Next() {
					n++
					report.Records++
					report.Bytes += int64(len(k) + len(v))
					if err := tx.scrub(b, k, v); err != nil {
						report.Faults++
						if !fn(err) {
							k = nil
							break
						}
					}
				}
				if more = k != nil; more && bytes.Compare(k, next) <= 0 {
					return fmt.Errorf("the keys of %s are out of order at %s: %w", b, b.describe(k), errDamaged)
				}
				next = bytes.Clone(k)
				return nil
			})
			if err != nil {
				return report, fmt.Errorf("scrub %s: %w", s.path, err)
			}
		}
	}
	return report, nil
}

var errDamaged = errors.New("the file is damaged; stop the daemon and put back a backup")

// scrub checks one record and what belongs to it.
func (tx *Tx) scrub(b bucket, k, v []byte) error {
	payload, err := unseal(tx.path, b, k, v)
	if err != nil {
		return err
	}
	fault := func(format string, args ...any) error { return tx.corrupt(b, k, format, args...) }
	switch b {
	case bucketTasks, bucketDefinitions:
		var t task.Task
		if err := decode(tx.path, b, k, payload, &t); err != nil {
			return err
		}
		if want := key(t.Name); b == bucketTasks && !bytes.Equal(k, want) {
			return fault("it holds the task %q", t.Name)
		}
		if b == bucketTasks && !tx.has(bucketDefinitions, definitionKey(t.Name, t.Version)) {
			return fault("its definition, version %d, is missing", t.Version)
		}
		if b == bucketTasks && !tx.has(bucketSummaries, k) {
			return fault("it is missing in summaries")
		}
		if b == bucketDefinitions {
			return tx.scrubDefinition(k, &t)
		}
	case bucketRuns:
		var run task.Run
		if err := decode(tx.path, b, k, payload, &run); err != nil {
			return err
		}
		if !bytes.Equal(k, runKey(run.ID)) {
			return fault("it holds the run id %d", run.ID)
		}
		switch {
		case !tx.has(bucketRunNumbers, runNumberKey(run.Task, run.Number)):
			return fault("the run %s is missing in run_numbers", run.Ref())
		case !tx.has(bucketTaskRuns, taskRunKey(run.Task, run.ID)):
			return fault("the run %s is missing in task_runs", run.Ref())
		case !tx.has(bucketPinned, pinnedKey(run.Task, run.DefinitionVersion, run.ID)):
			return fault("the run %s is missing in pinned", run.Ref())
		case run.Status.Alive() != tx.has(bucketActive, k):
			return fault("the run %s is %s, but active says otherwise", run.Ref(), run.Status)
		case run.Status.Alive() != tx.has(bucketTaskActive, taskRunKey(run.Task, run.ID)):
			return fault("the run %s is %s, but task_active says otherwise", run.Ref(), run.Status)
		}
		return tx.scrubEnded(&run)
	case bucketSteps:
		if _, err := readStep(tx.path, k, payload); err != nil {
			return err
		}
		id, _, rest, ok := splitPosition(k)
		if !ok || rest != "" {
			return fault("its key is no place of a step")
		}
		if !tx.has(bucketRuns, runKey(id)) {
			return fault("there is no such run")
		}
	case bucketActive, bucketTaskActive, bucketEnded, bucketTaskEnded, bucketSummaries, bucketNewest, bucketMade:
		return tx.scrubLists(b, k, payload)
	case bucketCursors, bucketDue, bucketSlots:
		return tx.scrubSchedules(b, k, payload)
	case bucketPinned, bucketTaskRuns:
		if len(k) < 8 || !tx.has(bucketRuns, k[len(k)-8:]) {
			return fault("there is no such run")
		}
		_, err = readNumber(tx.path, b, k, payload)
		return err
	case bucketRunNumbers:
		id, err := readNumber(tx.path, b, k, payload)
		if err == nil && !tx.has(bucketRuns, binary.BigEndian.AppendUint64(nil, id)) {
			err = fault("there is no run id %d", id)
		}
		return err
	case bucketCounters:
		_, err = readNumber(tx.path, b, k, payload)
		return err
	case bucketMeta:
		switch {
		case string(k) == keyRunID:
			_, err = readNumber(tx.path, b, k, payload)
		case string(k) == keyClockMark:
			err = decode(tx.path, b, k, payload, new(time.Time))
		case !json.Valid(payload):
			err = fault("it is no JSON")
		}
		return err
	}
	return nil
}

// scrubDefinition checks that a definition is under its key, and a run's own one
// under that of a run.
func (tx *Tx) scrubDefinition(k []byte, t *task.Task) error {
	name, rest, ok := splitName(k)
	if !ok || len(rest) != 8 || name != t.Name {
		return tx.corrupt(bucketDefinitions, k, "it holds version %d of the task %q", t.Version, t.Name)
	}
	switch version := binary.BigEndian.Uint64(rest); {
	case !private(version) && version != t.Version:
		return tx.corrupt(bucketDefinitions, k, "it holds version %d of the task %q", t.Version, t.Name)
	case private(version) && !tx.pinned(name, version):
		return tx.corrupt(bucketDefinitions, k, "it is a run's own, but no run is pinned to it")
	}
	return nil
}

// scrubEnded checks that the run is where lists look for it.
func (tx *Tx) scrubEnded(run *task.Run) error {
	for _, of := range []string{"", run.Task} {
		if b, k := endedKey(of, run.Status, run.ID); run.Status.Alive() == tx.has(b, k) {
			return tx.corrupt(bucketRuns, runKey(run.ID), "the run %s is %s, but %s says otherwise", run.Ref(), run.Status, b)
		}
	}
	if !run.Cause().Hook() && !tx.has(bucketNewest, key(run.Task)) {
		return tx.corrupt(bucketRuns, runKey(run.ID), "there is nothing of the task %q in newest", run.Task)
	}
	if span, found, err := tx.madeSpan(madeKey(run.ID)); err == nil && (!found || !span.has(run.CreatedAt)) {
		return tx.corrupt(bucketRuns, runKey(run.ID), "the run %s was made at %s, but made says otherwise", run.Ref(), run.CreatedAt)
	}
	return nil
}

// scrubSchedules checks that cursors and the index of due times agree, and
// that each record is under its key.
func (tx *Tx) scrubSchedules(b bucket, k, payload []byte) error {
	switch b {
	case bucketCursors:
		var c task.Cursor
		if err := decode(tx.path, b, k, payload, &c); err != nil {
			return err
		}
		if !bytes.Equal(k, cursorKey(c.Task, c.Schedule)) {
			return tx.corrupt(b, k, "it holds that of %q schedule %q", c.Task, c.Schedule)
		}
		if !c.Due.IsZero() && !tx.has(bucketDue, dueKey(c.Due, c.Task, c.Schedule)) {
			return tx.corrupt(b, k, "it is due at %s, but due says otherwise", c.Due)
		}
	case bucketDue:
		_, name, schedule, ok := splitDue(k)
		if !ok || !tx.has(bucketCursors, cursorKey(name, schedule)) {
			return tx.corrupt(b, k, "there is no such cursor")
		}
		c, err := tx.Cursor(name, schedule)
		if err != nil {
			return nil // told where it lies
		}
		if !isDue(k, &c) {
			return tx.corrupt(b, k, "its cursor is due at another time: %s", c.Due)
		}
	case bucketSlots:
		var s task.Slot
		if err := decode(tx.path, b, k, payload, &s); err != nil {
			return err
		}
		if !bytes.Equal(k, slotKey(s.Task, s.Schedule, s.First)) {
			return tx.corrupt(b, k, "it holds the slot of %q schedule %q of %s", s.Task, s.Schedule, s.First)
		}
	}
	return nil
}
