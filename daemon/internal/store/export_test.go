package store

import (
	"runtime"
	"slices"
)

// VerifyRecord verifies one value as a read would.
func VerifyRecord(bucketName string, k, value []byte) error {
	b := bucket(slices.Index(bucketNames[:], bucketName))
	_, err := unseal("test", b, k, value)
	return err
}

// SealRecord makes the value of a record, as a write would.
func SealRecord(bucketName string, k, payload []byte) ([]byte, error) {
	return newEncoder().seal(bucket(slices.Index(bucketNames[:], bucketName)), k, payload)
}

// SealSchema makes the record of the newest schema's version.
func SealSchema() ([]byte, error) {
	return newEncoder().marshal(bucketMeta, key(keySchema), schemaRecord{Version: firstSchema + len(migrations())})
}

// OpenUnchecked opens a database that a check would refuse.
func OpenUnchecked(o Options) (*Store, error) {
	if err := markClean(o.Dir); err != nil {
		return nil, err
	}
	return Open(o)
}

// AwaitQueue returns once n updates wait for the commit under way.
func AwaitQueue(s *Store, n int) {
	await(s, func() bool { return len(s.queue) >= n })
}

// AwaitClosing returns once Close has begun.
func AwaitClosing(s *Store) {
	await(s, func() bool { return s.closed })
}

func await(s *Store, cond func() bool) {
	for {
		s.mu.Lock()
		ok := cond()
		s.mu.Unlock()
		if ok {
			return
		}
		runtime.Gosched()
	}
}
