package store

import (
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// addSchedules makes the buckets of schema 2, which adds schedules, and fills
// task_active, which active has only for all tasks together.
func addSchedules(btx *bolt.Tx) error {
	for _, name := range []string{"task_active", "cursors", "due", "slots"} {
		if _, err := btx.CreateBucket([]byte(name)); err != nil {
			return fmt.Errorf("make the bucket %q: %w", name, err)
		}
	}
	active, runs, byTask := btx.Bucket([]byte("active")), btx.Bucket([]byte("runs")), btx.Bucket([]byte("task_active"))
	if active == nil || runs == nil {
		return fmt.Errorf("its bucket %q or %q is missing", "active", "runs")
	}
	path := btx.DB().Path()
	enc := newEncoder()
	return active.ForEach(func(id, _ []byte) error {
		var run struct {
			Task string `json:"task"`
		}
		if len(id) != 8 {
			return fmt.Errorf("the key %x of active is no run id", id)
		}
		payload, err := unseal(path, bucketRuns, id, runs.Get(id))
		if err == nil {
			err = decode(path, bucketRuns, id, payload, &run)
		}
		if err != nil {
			return err
		}
		k := append(append(make([]byte, 0, len(run.Task)+1+8), run.Task...), 0)
		k = binary.BigEndian.AppendUint64(k, binary.BigEndian.Uint64(id))
		value, err := enc.seal(bucketTaskActive, k, nil)
		if err != nil {
			return err
		}
		return byTask.Put(k, value)
	})
}
