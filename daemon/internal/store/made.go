package store

import (
	"bytes"
	"encoding/binary"
	"math"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Ids grow as runs are made, and so do the times, except where a clock was set
// back. So for each block of ids it is known between which times its runs were
// made: a list of a span of time need not look at the others, and is right
// whatever the clock did.
const madeBlock = 1 << 10

func madeKey(id task.RunID) key { return make(key, 0, 8).u64(uint64(id) / madeBlock) }

// span is from the first time to the last, as numbers of times.
type span struct{ first, last uint64 }

func (s span) has(t time.Time) bool { return s.first <= timeNumber(t) && timeNumber(t) <= s.last }

func (tx *Tx) readSpan(k, payload []byte) (span, error) {
	if len(payload) != 16 {
		return span{}, tx.corrupt(bucketMade, k, "it has %d bytes instead of 16", len(payload))
	}
	return span{binary.BigEndian.Uint64(payload), binary.BigEndian.Uint64(payload[8:])}, nil
}

func (tx *Tx) madeSpan(k key) (s span, found bool, err error) {
	payload, err := tx.get(bucketMade, k)
	if payload == nil || err != nil {
		return s, false, err
	}
	s, err = tx.readSpan(k, payload)
	return s, err == nil, err
}

// indexMade widens the span of the run's block. Where that is damaged it becomes
// that of all times, which is right, if not of much use.
func (tx *Tx) indexMade(run *task.Run) error {
	k, at := madeKey(run.ID), timeNumber(run.CreatedAt)
	s, found, err := tx.madeSpan(k)
	switch {
	case err != nil:
		s = span{0, math.MaxUint64}
	case !found:
		s = span{at, at}
	case s.has(run.CreatedAt):
		return nil
	default:
		s = span{min(s.first, at), max(s.last, at)}
	}
	return tx.put(bucketMade, k, key(nil).u64(s.first).u64(s.last))
}

// leaveMade removes the block's span with the last of its runs.
func (tx *Tx) leaveMade(id task.RunID) error {
	if k := madeKey(id); !tx.blockHasRuns(k) {
		return tx.remove(bucketMade, k)
	}
	return nil
}

func (tx *Tx) blockHasRuns(k []byte) bool {
	first := binary.BigEndian.Uint64(k) * madeBlock
	found, _ := tx.bucket(bucketRuns).Cursor().Seek(key(nil).u64(first))
	return found != nil && bytes.Compare(found, key(nil).u64(first+madeBlock)) < 0
}

// RunsMade bounds the ids of the runs that were made at since or later, and
// before until (zero: no bound): there are none outside of first to last, which
// are 0 where there are none at all. It reads a record for a thousand runs.
func (tx *Tx) RunsMade(since, until time.Time) (first, last task.RunID, err error) {
	from, to := uint64(0), uint64(math.MaxUint64)
	if !since.IsZero() {
		from = timeNumber(since)
	}
	if !until.IsZero() {
		to = timeNumber(until)
	}
	err = tx.walk(bucketMade, nil, nil, func(k key, payload []byte, damage error) (bool, error) {
		if len(k) != 8 {
			return true, nil
		}
		if s, err := tx.readSpan(k, payload); damage == nil && err == nil && (s.last < from || s.first >= to && !until.IsZero()) {
			return true, nil
		}
		block := task.RunID(binary.BigEndian.Uint64(k))
		if last == 0 {
			first = max(1, block*madeBlock)
		}
		last = (block+1)*madeBlock - 1
		return true, nil
	})
	return first, last, err
}
