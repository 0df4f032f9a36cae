package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// bucket is one of the top-level buckets; there are no nested ones.
type bucket uint8

const (
	bucketMeta bucket = iota
	bucketTasks
	bucketDefinitions
	bucketCounters
	bucketRuns
	bucketRunNumbers
	bucketTaskRuns
	bucketActive
	bucketPinned
	bucketSteps
	bucketCheckpoints
	bucketOutputs
	bucketTaskActive
	bucketCursors
	bucketDue
	bucketSlots
	bucketEnded
	bucketTaskEnded
	bucketSummaries
	bucketNewest
	bucketMade
	bucketCount
)

var bucketNames = [bucketCount]string{
	"meta", "tasks", "definitions", "counters", "runs", "run_numbers", "task_runs",
	"active", "pinned", "steps", "checkpoints", "outputs",
	"task_active", "cursors", "due", "slots",
	"ended", "task_ended", "summaries", "newest", "made",
}

func (b bucket) String() string { return bucketNames[b] }

// fill is how full bbolt leaves a page that it splits. Steps are written in
// the order of their keys and then change in that order, each growing as it
// starts and ends: some room in the page spares the second split.
func (b bucket) fill() float64 {
	switch b {
	case bucketSteps:
		return 0.7
	case bucketRuns, bucketActive, bucketCheckpoints, bucketOutputs, bucketEnded:
		return 0.9
	}
	return 0.5
}

const (
	keySchema    = "schema"
	keyRunID     = "run_id"
	keyClockMark = "clock_mark"
)

const (
	maxName   = 512 // bytes of a name; task.CheckName allows less
	positionN = 8 + 4 + 4
)

// checkName refuses what would break the order or the separation of keys.
func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: the %s has no name", task.ErrInvalid, what)
	case len(name) > maxName:
		return fmt.Errorf("%w: the name of the %s has %d bytes, at most %d are kept", task.ErrInvalid, what, len(name), maxName)
	case strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("%w: the name of the %s, %q, contains a zero byte", task.ErrInvalid, what, name)
	}
	return nil
}

// key builds a key in a buffer that lives on the caller's stack; bbolt copies
// keys when it stores them.
type key []byte

func (k key) name(name string) key  { return append(append(k, name...), 0) }
func (k key) u64(n uint64) key      { return binary.BigEndian.AppendUint64(k, n) }
func (k key) u32(n uint32) key      { return binary.BigEndian.AppendUint32(k, n) }
func (k key) run(id task.RunID) key { return k.u64(uint64(id)) }
func (k key) pos(id task.RunID, pos task.Position) key {
	return k.run(id).u32(pos.Top).u32(pos.Sub)
}

func (k key) time(t time.Time) key { return k.u64(timeNumber(t)) }

// timeNumber counts nanoseconds so that the order of numbers is that of times
// before 1970 too. What int64 cannot count is the first or the last number.
func timeNumber(t time.Time) uint64 {
	ns := t.UnixNano()
	switch {
	case !t.After(time.Unix(0, math.MinInt64)):
		ns = math.MinInt64
	case !t.Before(time.Unix(0, math.MaxInt64)):
		ns = math.MaxInt64
	}
	return uint64(ns) ^ 1<<63
}

// countable reports whether the time has a number of its own.
func countable(t time.Time) bool {
	n := timeNumber(t)
	return n != 0 && n != math.MaxUint64
}

// numberTime is the inverse of timeNumber, for people.
func numberTime(n uint64) time.Time { return time.Unix(0, int64(n^1<<63)).UTC() }

func definitionKey(name string, version uint64) key { return key(nil).name(name).u64(version) }
func runNumberKey(name string, number uint64) key   { return key(nil).name(name).u64(number) }
func taskRunKey(name string, id task.RunID) key     { return key(nil).name(name).run(id) }
func pinnedKey(name string, version uint64, id task.RunID) key {
	return key(nil).name(name).u64(version).run(id)
}

func cursorKey(name, schedule string) key { return append(namePrefix(name), schedule...) }
func dueKey(due time.Time, name, schedule string) key {
	return append(make(key, 0, 8+len(name)+1+len(schedule)).time(due).name(name), schedule...)
}
func slotPrefix(name, schedule string) key { return key(nil).name(name).name(schedule) }
func slotKey(name, schedule string, first time.Time) key {
	return slotPrefix(name, schedule).time(first)
}

// afterSlots is the first key behind all slots of the schedule.
func afterSlots(name, schedule string) key { return append(namePrefix(name), afterName(schedule)...) }

// endedPrefix is that of the ended runs of one status, of a task or of all ("").
func endedPrefix(name string, status task.RunStatus) (bucket, key) {
	if name == "" {
		return bucketEnded, key(nil).name(string(status))
	}
	return bucketTaskEnded, key(nil).name(name).name(string(status))
}

func endedKey(name string, status task.RunStatus, id task.RunID) (bucket, key) {
	b, k := endedPrefix(name, status)
	return b, k.run(id)
}

// splitEnded takes apart a key of ended, or of task_ended.
func splitEnded(b bucket, k []byte) (name string, status task.RunStatus, id task.RunID, ok bool) {
	if ok = true; b == bucketTaskEnded {
		name, k, ok = splitName(k)
	}
	if !ok || len(k) < 9 || k[len(k)-9] != 0 || bytes.IndexByte(k, 0) != len(k)-9 {
		return "", "", 0, false
	}
	return name, task.RunStatus(k[:len(k)-9]), task.RunID(binary.BigEndian.Uint64(k[len(k)-8:])), true
}

// splitDue takes apart a key of the index of due times.
func splitDue(k []byte) (due uint64, name, schedule string, ok bool) {
	if len(k) < 8 {
		return 0, "", "", false
	}
	name, rest, ok := splitName(k[8:])
	return binary.BigEndian.Uint64(k), name, string(rest), ok
}

// namePrefix ends with the separator: keys of "backup" are no prefix of those
// of "backup-weekly".
func namePrefix(name string) key { return key(nil).name(name) }

// afterName is the first key behind all keys of the name.
func afterName(name string) key { return append(append(key(nil), name...), 1) }

// lastKey is behind all keys: names are UTF-8 and ids stay far below.
func lastKey() key { return bytes.Repeat([]byte{0xff}, positionN+1) }

func runKey(id task.RunID) key                         { return make(key, 0, 8).run(id) }
func positionKey(id task.RunID, pos task.Position) key { return make(key, 0, positionN).pos(id, pos) }
func outputKey(id task.RunID, p task.Position, n string) key {
	return append(make(key, 0, positionN+len(n)).pos(id, p), n...)
}
func topPrefix(id task.RunID, top uint32) key { return make(key, 0, 12).run(id).u32(top) }

// splitPosition takes apart a key of steps, checkpoints or outputs.
func splitPosition(k []byte) (id task.RunID, pos task.Position, rest string, ok bool) {
	if len(k) < positionN {
		return 0, pos, "", false
	}
	id = task.RunID(binary.BigEndian.Uint64(k))
	pos = task.Position{Top: binary.BigEndian.Uint32(k[8:]), Sub: binary.BigEndian.Uint32(k[12:])}
	return id, pos, string(k[positionN:]), true
}

// splitName takes a name off the front of a key.
func splitName(k []byte) (name string, rest []byte, ok bool) {
	n, _, found := strings.Cut(string(k), "\x00")
	if !found {
		return "", nil, false
	}
	return n, k[len(n)+1:], true
}

// describe names a key for people.
func (b bucket) describe(k []byte) string {
	switch b {
	case bucketMeta, bucketTasks, bucketCounters, bucketSummaries, bucketNewest:
		return fmt.Sprintf("%q", k)
	case bucketRuns, bucketActive:
		if len(k) == 8 {
			return fmt.Sprintf("run id %d", binary.BigEndian.Uint64(k))
		}
	case bucketDefinitions, bucketRunNumbers, bucketTaskRuns, bucketTaskActive:
		if name, rest, ok := splitName(k); ok && len(rest) == 8 {
			return fmt.Sprintf("%q %d", name, binary.BigEndian.Uint64(rest))
		}
	case bucketPinned:
		if name, rest, ok := splitName(k); ok && len(rest) == 16 {
			return fmt.Sprintf("%q version %d run id %d", name, binary.BigEndian.Uint64(rest), binary.BigEndian.Uint64(rest[8:]))
		}
	case bucketMade:
		if len(k) == 8 {
			block := binary.BigEndian.Uint64(k)
			return fmt.Sprintf("run ids %d to %d", block*madeBlock, (block+1)*madeBlock-1)
		}
	case bucketEnded, bucketTaskEnded:
		if name, status, id, ok := splitEnded(b, k); ok && name == "" {
			return fmt.Sprintf("run id %d, %s", id, status)
		} else if ok {
			return fmt.Sprintf("%q run id %d, %s", name, id, status)
		}
	case bucketCursors:
		if name, schedule, ok := splitName(k); ok {
			return fmt.Sprintf("%q schedule %q", name, schedule)
		}
	case bucketDue:
		if due, name, schedule, ok := splitDue(k); ok {
			return fmt.Sprintf("%q schedule %q due %s", name, schedule, numberTime(due).Format(time.RFC3339Nano))
		}
	case bucketSlots:
		if name, rest, ok := splitName(k); ok {
			if schedule, rest, ok := splitName(rest); ok && len(rest) == 8 {
				first := numberTime(binary.BigEndian.Uint64(rest))
				return fmt.Sprintf("%q schedule %q of %s", name, schedule, first.Format(time.RFC3339Nano))
			}
		}
	case bucketSteps, bucketCheckpoints, bucketOutputs:
		if id, pos, name, ok := splitPosition(k); ok {
			s := fmt.Sprintf("run id %d step %s", id, pos)
			if name != "" {
				s += fmt.Sprintf(" %q", name)
			}
			return s
		}
	}
	return fmt.Sprintf("key %x", k)
}
