package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/stepd/stepd/daemon/internal/task"
)

// listSlice is how many entries one transaction of the migration makes: bbolt
// holds them in memory until it commits.
const listSlice = 20_000

// runOfLists is what the indexes of schema 3 need of a run.
type runOfLists struct {
	ID        task.RunID     `json:"id"`
	Task      string         `json:"task"`
	Number    uint64         `json:"number"`
	Status    task.RunStatus `json:"status"`
	Trigger   task.Trigger   `json:"trigger"`
	CreatedAt time.Time      `json:"created_at"`
	StartedAt time.Time      `json:"started_at"`
	EndedAt   time.Time      `json:"ended_at"`
}

// buildLists fills the buckets of schema 3, which adds what lists go by. A run
// that cannot be read is in no list by its status, as it can be in none at all.
// Of the runs it holds the ids in memory, and some bytes for each task.
func buildLists(db *bolt.DB, o *Options) error {
	names := []string{"ended", "task_ended", "summaries", "newest", "made"}
	err := db.Update(func(btx *bolt.Tx) error {
		for _, name := range names {
			if err := btx.DeleteBucket([]byte(name)); err != nil && !errors.Is(err, berrors.ErrBucketNotFound) {
				return fmt.Errorf("remove what was begun of the bucket %q: %w", name, err)
			}
			if _, err := btx.CreateBucket([]byte(name)); err != nil {
				return fmt.Errorf("make the bucket %q: %w", name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	all := map[task.RunStatus][]task.RunID{}
	byTask := map[string]map[task.RunStatus][]task.RunID{}
	last := map[string]newest{}
	made := map[uint64]span{}
	err = db.View(func(btx *bolt.Tx) error {
		runs := btx.Bucket([]byte("runs"))
		if runs == nil {
			return fmt.Errorf("its bucket %q is missing", "runs")
		}
		return runs.ForEach(func(k, v []byte) error {
			run, err := readRunOfLists(db.Path(), k, v)
			if err != nil {
				o.Logger.Warn("a run is damaged and will not be listed by its status", "error", err)
				return nil
			}
			block, at := uint64(run.ID)/madeBlock, timeNumber(run.CreatedAt)
			if s, seen := made[block]; seen {
				made[block] = span{min(s.first, at), max(s.last, at)}
			} else {
				made[block] = span{at, at}
			}
			if !run.Status.Alive() {
				of := byTask[run.Task]
				if of == nil {
					of = map[task.RunStatus][]task.RunID{}
					byTask[run.Task] = of
				}
				all[run.Status] = append(all[run.Status], run.ID)
				of[run.Status] = append(of[run.Status], run.ID)
			}
			if !run.Trigger.Hook() {
				last[run.Task] = newestOf(&task.Run{ID: run.ID, Number: run.Number, Status: run.Status,
					CreatedAt: run.CreatedAt, StartedAt: run.StartedAt, EndedAt: run.EndedAt})
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	w := &listWriter{db: db, enc: newEncoder()}
	for _, status := range slices.Sorted(maps.Keys(all)) {
		for _, id := range all[status] {
			b, k := endedKey("", status, id)
			w.put(b, k, nil)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byTask)) {
		for _, status := range slices.Sorted(maps.Keys(byTask[name])) {
			for _, id := range byTask[name][status] {
				b, k := endedKey(name, status, id)
				w.put(b, k, nil)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(last)) {
		w.put(bucketNewest, key(name), appendNewest(nil, last[name]))
	}
	for _, block := range slices.Sorted(maps.Keys(made)) {
		w.put(bucketMade, key(nil).u64(block), key(nil).u64(made[block].first).u64(made[block].last))
	}
	w.flush()
	return errors.Join(w.err, summarise(w))
}

// summarise makes the summaries. Of a task that cannot be read it makes one of
// the name alone, so that there is one to be found.
func summarise(w *listWriter) error {
	for next, more := []byte(nil), true; more && w.err == nil; {
		err := w.db.View(func(btx *bolt.Tx) error {
			tasks := btx.Bucket([]byte("tasks"))
			if tasks == nil {
				return fmt.Errorf("its bucket %q is missing", "tasks")
			}
			c := tasks.Cursor()
			k, v := c.Seek(next)
			for n := 0; k != nil && n < listSlice; k, v = c.Next() {
				n++
				var t task.Task
				payload, err := unseal(w.db.Path(), bucketTasks, k, v)
				if err == nil {
					err = decode(w.db.Path(), bucketTasks, k, payload, &t)
				}
				if err != nil {
					t = task.Task{Name: string(k)}
				}
				s := task.Summarise(&t)
				w.add(bucketSummaries, bytes.Clone(k), appendSummary(nil, &s))
			}
			more, next = k != nil, bytes.Clone(k)
			return nil
		})
		if err != nil {
			return err
		}
		w.flush()
	}
	return w.err
}

// addLists lets active and task_active say what the status of each run is.
func addLists(btx *bolt.Tx) error {
	active, runs, byTask := btx.Bucket([]byte("active")), btx.Bucket([]byte("runs")), btx.Bucket([]byte("task_active"))
	if active == nil || runs == nil || byTask == nil {
		return fmt.Errorf("its bucket %q, %q or %q is missing", "active", "runs", "task_active")
	}
	var alive []runOfLists
	err := active.ForEach(func(k, _ []byte) error {
		run, err := readRunOfLists(btx.DB().Path(), k, runs.Get(k))
		alive = append(alive, run)
		return err
	})
	if err != nil {
		return err
	}
	enc := newEncoder()
	for _, run := range alive {
		for _, place := range []struct {
			b   bucket
			in  *bolt.Bucket
			key key
		}{{bucketActive, active, runKey(run.ID)}, {bucketTaskActive, byTask, taskRunKey(run.Task, run.ID)}} {
			value, err := enc.seal(place.b, place.key, []byte(run.Status))
			if err != nil {
				return err
			}
			if err := place.in.Put(place.key, value); err != nil {
				return err
			}
		}
	}
	return nil
}

func readRunOfLists(path string, k, v []byte) (run runOfLists, err error) {
	payload, err := unseal(path, bucketRuns, k, v)
	if err == nil {
		err = decode(path, bucketRuns, k, payload, &run)
	}
	if err == nil && (len(k) != 8 || run.ID != task.RunID(binary.BigEndian.Uint64(k))) {
		err = &CorruptError{Path: path, Bucket: "runs", Key: bytes.Clone(k), Name: bucketRuns.describe(k), Reason: fmt.Sprintf("it holds the run id %d", run.ID)}
	}
	return run, err
}

// listWriter writes entries in the order of keys, a transaction for each slice.
type listWriter struct {
	db      *bolt.DB
	enc     *encoder
	pending []listEntry
	err     error
}

type listEntry struct {
	b       bucket
	k       key
	payload []byte
}

func (w *listWriter) put(b bucket, k key, payload []byte) {
	if w.add(b, k, payload); len(w.pending) == listSlice {
		w.flush()
	}
}

func (w *listWriter) add(b bucket, k key, payload []byte) {
	w.pending = append(w.pending, listEntry{b, k, payload})
}

func (w *listWriter) flush() {
	if w.err != nil {
		w.pending = w.pending[:0]
		return
	}
	w.err = w.db.Update(func(btx *bolt.Tx) error {
		for _, e := range w.pending {
			bb := btx.Bucket([]byte(bucketNames[e.b]))
			bb.FillPercent = 0.9 // they come in order
			value, err := w.enc.seal(e.b, e.k, e.payload)
			if err != nil {
				return err
			}
			if err := bb.Put(e.k, value); err != nil {
				return err
			}
		}
		return nil
	})
	w.enc.reset()
	w.pending = w.pending[:0]
}
