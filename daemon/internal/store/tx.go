package store

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/stepd/stepd/daemon/internal/task"
	bolt "go.etcd.io/bbolt"
)

// Tx is one state of the store. It must not be used after the function that
// it was given to has returned, nor by two goroutines at once. In a View its
// writing methods return an error.
//
// Callbacks of the scanning methods may write; the scan goes on behind the key
// where it was.
type Tx struct {
	path    string
	btx     *bolt.Tx
	enc     *encoder // nil: reads only
	buckets [bucketCount]*bolt.Bucket

	writes int // puts and deletes
	bytes  int // of the puts, keys included
}

func (tx *Tx) bucket(b bucket) *bolt.Bucket {
	if tx.buckets[b] == nil {
		bb := tx.btx.Bucket([]byte(bucketNames[b]))
		bb.FillPercent = b.fill()
		tx.buckets[b] = bb
	}
	return tx.buckets[b]
}

// get returns the payload of a record, nil when it is not there. It is valid
// until the next write.
func (tx *Tx) get(b bucket, k key) ([]byte, error) {
	v := tx.bucket(b).Get(k)
	if v == nil {
		return nil, nil
	}
	return unseal(tx.path, b, k, v)
}

func (tx *Tx) has(b bucket, k key) bool { return tx.bucket(b).Get(k) != nil }

// load decodes a record into v and reports whether it is there.
func (tx *Tx) load(b bucket, k key, v any) (bool, error) {
	payload, err := tx.get(b, k)
	if payload == nil || err != nil {
		return false, err
	}
	return true, decode(tx.path, b, k, payload, v)
}

// number reads a record that holds one number.
func (tx *Tx) number(b bucket, k key) (n uint64, found bool, err error) {
	payload, err := tx.get(b, k)
	if payload == nil || err != nil {
		return 0, false, err
	}
	n, err = readNumber(tx.path, b, k, payload)
	return n, err == nil, err
}

func readNumber(path string, b bucket, k, payload []byte) (uint64, error) {
	if len(payload) != 8 {
		return 0, &CorruptError{Path: path, Bucket: b.String(), Key: bytes.Clone(k), Name: b.describe(k),
			Reason: fmt.Sprintf("it has %d bytes instead of 8", len(payload))}
	}
	return binary.BigEndian.Uint64(payload), nil
}

// put writes raw bytes, save encodes JSON.
func (tx *Tx) put(b bucket, k key, payload []byte) error {
	if err := tx.writable(); err != nil {
		return err
	}
	value, err := tx.enc.seal(b, k, payload)
	if err != nil {
		return err
	}
	return tx.store(b, k, value)
}

func (tx *Tx) save(b bucket, k key, v any) error {
	if err := tx.writable(); err != nil {
		return err
	}
	value, err := tx.enc.marshal(b, k, v)
	if err != nil {
		return err
	}
	return tx.store(b, k, value)
}

func (tx *Tx) store(b bucket, k key, value []byte) error {
	tx.writes++
	tx.bytes += len(k) + len(value)
	if err := tx.bucket(b).Put(k, value); err != nil {
		return fmt.Errorf("write %s of %s: %w", b.describe(k), b, err)
	}
	return nil
}

func (tx *Tx) putNumber(b bucket, k key, n uint64) error {
	return tx.put(b, k, binary.BigEndian.AppendUint64(make([]byte, 0, 8), n))
}

// remove deletes a key; one that is not there costs a look-up only.
func (tx *Tx) remove(b bucket, k key) error {
	if err := tx.writable(); err != nil {
		return err
	}
	if !tx.has(b, k) {
		return nil
	}
	tx.writes++
	if err := tx.bucket(b).Delete(k); err != nil {
		return fmt.Errorf("delete %s of %s: %w", b.describe(k), b, err)
	}
	return nil
}

func (tx *Tx) writable() error {
	if tx.enc == nil {
		return fmt.Errorf("%w: a write in a transaction that only reads", task.ErrState)
	}
	return nil
}

// scan calls fn with each record from start on whose key has the prefix, until
// it returns false or an error.
func (tx *Tx) scan(b bucket, prefix, start key, fn func(k key, payload []byte) (bool, error)) error {
	return tx.walk(b, prefix, start, func(k key, payload []byte, damage error) (bool, error) {
		if damage != nil {
			return false, damage
		}
		return fn(k, payload)
	})
}

// walk is scan that leaves it to fn what to do about a damaged record. Where
// fn writes, the cursor would lose its place, so it looks it up again.
func (tx *Tx) walk(b bucket, prefix, start key, fn func(k key, payload []byte, damage error) (bool, error)) error {
	c := tx.bucket(b).Cursor()
	var at []byte
	for k, v := c.Seek(start); k != nil && bytes.HasPrefix(k, prefix); {
		payload, damage := unseal(tx.path, b, k, v)
		at = append(at[:0], k...)
		writes := tx.writes
		more, err := fn(key(at), payload, damage)
		if err != nil || !more {
			return err
		}
		if tx.writes == writes {
			k, v = c.Next()
			continue
		}
		c = tx.bucket(b).Cursor()
		if k, v = c.Seek(at); bytes.Equal(k, at) {
			k, v = c.Next()
		}
	}
	return nil
}

// scanBack is scan from the last key before end towards the first with the
// prefix.
func (tx *Tx) scanBack(b bucket, prefix, end key, fn func(k key, payload []byte) (bool, error)) error {
	return tx.walkBack(b, prefix, end, func(k key, payload []byte, damage error) (bool, error) {
		if damage != nil {
			return false, damage
		}
		return fn(k, payload)
	})
}

// walkBack is scanBack that leaves it to fn what to do about a damaged record.
func (tx *Tx) walkBack(b bucket, prefix, end key, fn func(k key, payload []byte, damage error) (bool, error)) error {
	c := tx.bucket(b).Cursor()
	at := bytes.Clone(end)
	for k, v := before(c, at); k != nil && bytes.HasPrefix(k, prefix); {
		payload, damage := unseal(tx.path, b, k, v)
		at = append(at[:0], k...)
		writes := tx.writes
		more, err := fn(key(at), payload, damage)
		if err != nil || !more {
			return err
		}
		if tx.writes == writes {
			k, v = previous(c, at)
			continue
		}
		c = tx.bucket(b).Cursor()
		k, v = before(c, at)
	}
	return nil
}

// before moves to the last key that is less than end; no end is the very end.
func before(c *bolt.Cursor, end []byte) (k, v []byte) {
	if len(end) == 0 {
		end = lastKey()
	}
	// Not Last: it never returns from a bucket of several pages which this
	// transaction has emptied.
	c.Seek(end)
	return previous(c, end)
}

// previous moves one key back from at. Prev alone also says that there is
// nothing more when it comes to a page that this transaction has emptied.
func previous(c *bolt.Cursor, at []byte) (k, v []byte) {
	for {
		if k, v = c.Prev(); k != nil {
			return k, v
		}
		if first, _ := c.Bucket().Cursor().First(); first == nil || bytes.Compare(first, at) >= 0 {
			return nil, nil
		}
	}
}

// keys collects up to limit keys with the prefix from start on. It does not
// look at the values, so that damaged records can be deleted.
func (tx *Tx) keys(b bucket, prefix, start key, limit int) []key {
	var found []key
	c := tx.bucket(b).Cursor()
	for k, _ := c.Seek(start); k != nil && bytes.HasPrefix(k, prefix) && len(found) < limit; k, _ = c.Next() {
		found = append(found, bytes.Clone(k))
	}
	return found
}

// removeRange deletes up to limit keys with the prefix from start on and
// returns how many it found.
func (tx *Tx) removeRange(b bucket, prefix, start key, limit int) (int, error) {
	found := tx.keys(b, prefix, start, limit)
	for _, k := range found {
		if err := tx.remove(b, k); err != nil {
			return 0, err
		}
	}
	return len(found), nil
}

func (tx *Tx) corrupt(b bucket, k []byte, format string, args ...any) error {
	return &CorruptError{Path: tx.path, Bucket: b.String(), Key: bytes.Clone(k), Name: b.describe(k), Reason: fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), task.ErrNotFound)
}
