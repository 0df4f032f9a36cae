package store

import (
	"cmp"
	"encoding/binary"

	"github.com/stepd/stepd/daemon/internal/task"
)

// RunsAfter calls fn oldest first, of one task or of all (name ""), from the
// first one newer than after (0: from the oldest), until it returns false. What
// is damaged is passed over; it fails with the first of that (*CorruptError) when
// it is done.
func (tx *Tx) RunsAfter(name string, after task.RunID, fn func(task.Run) bool) error {
	b, prefix := bucketRuns, key(nil)
	if name != "" {
		if checkName("task", name) != nil {
			return nil
		}
		b, prefix = bucketTaskRuns, namePrefix(name)
	}
	start := append(key(nil), prefix...).run(after + 1)
	var passed error
	err := tx.walk(b, prefix, start, func(k key, payload []byte, damage error) (bool, error) {
		var run task.Run
		var err error
		switch {
		case b != bucketRuns && len(k) != len(prefix)+8:
			err = tx.corrupt(b, k, "its key names no run")
		case b != bucketRuns:
			run, err = tx.Run(task.RunID(binary.BigEndian.Uint64(k[len(prefix):])))
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
