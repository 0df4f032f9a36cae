package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// RefusedError is a database that cannot be used as it is. Nothing was
// changed.
type RefusedError struct {
	Path  string
	Found string // what is wrong with it
	Check string // command that looks at it closely; empty: none
}

func (e *RefusedError) Error() string {
	s := fmt.Sprintf("the database %s cannot be used: %s; nothing was changed. Put back a copy of it, or move it away to start with an empty one",
		e.Path, e.Found)
	if e.Check != "" {
		s += "; to see all that is wrong with it: " + e.Check
	}
	return s
}

// bbolt's format of a meta page, as far as it is needed to tell whether
// looking at the file through a memory map is safe.
const (
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	pageHeader  = 16
	metaSum     = 56 // offset of the checksum in the meta
	metaSize    = metaSum + 8
)

type meta struct {
	pageSize int64
	pages    int64 // in use, from the start of the file
	txid     uint64
}

// inspect reads the file's header without mapping it, and says in words for
// people what is wrong, or "".
func inspect(path string) (found string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	switch {
	case !info.Mode().IsRegular():
		return "it is no regular file", nil
	case info.Size() == 0:
		return "it is empty (0 bytes), which a database never is", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	m, ok, err := readMetas(f)
	if err != nil {
		return "", err
	}
	if !ok {
		return fmt.Sprintf("its %d bytes do not begin like a database: it is damaged or something else", info.Size()), nil
	}
	if need := m.pages * m.pageSize; info.Size() < need {
		return fmt.Sprintf("it was cut short: it has %d bytes, but %d are in use", info.Size(), need), nil
	}
	return "", nil
}

// readMetas returns the newest meta page that is intact.
func readMetas(f *os.File) (newest meta, ok bool, err error) {
	first, ok, err := readMeta(f, 0)
	if err != nil {
		return first, false, err
	}
	sizes := []int64{first.pageSize}
	if !ok {
		sizes = sizes[:0]
		for size := int64(1024); size <= 64<<10; size *= 2 {
			sizes = append(sizes, size)
		}
	}
	newest = first
	for _, size := range sizes {
		m, good, err := readMeta(f, size)
		if err != nil {
			return first, false, err
		}
		if good && m.pageSize == size && (!ok || m.txid > newest.txid) {
			newest, ok = m, true
		}
	}
	return newest, ok, nil
}

func readMeta(f *os.File, at int64) (m meta, ok bool, err error) {
	var b [pageHeader + metaSize]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		if errors.Is(err, io.EOF) {
			return m, false, nil
		}
		return m, false, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	order, p := binary.NativeEndian, b[pageHeader:]
	h := fnv.New64a()
	h.Write(p[:metaSum])
	if order.Uint32(p) != metaMagic || order.Uint32(p[4:]) != metaVersion || order.Uint64(p[metaSum:]) != h.Sum64() {
		return m, false, nil
	}
	m = meta{pageSize: int64(order.Uint32(p[8:])), pages: int64(order.Uint64(p[40:])), txid: order.Uint64(p[48:])}
	return m, m.pageSize >= 512 && m.pages > 0 && m.pages < 1<<40, nil
}
