package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/stepd/stepd/daemon/internal/task"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// A full disk. Before each commit the store reserves what the commit may need
// behind the end of the used pages, so that running out of space shows while
// nothing is written yet. bbolt alone would grow the file with a hole; a write
// into that fails too, and is rolled back, but a reserved page cannot fail.
// When the reserve fails, the ballast is given up: enough room to bring what
// runs to an end that is on record. Nothing new is begun until Reclaim could
// make it again.

const (
	growMin  = 1 << 20
	growMax  = 16 << 20
	growFull = 64 << 10 // while the disk is full
	// A commit's branch pages, buckets and free list, whatever it writes.
	pagesFixed = 32
	// More distinct pages than that are written by large batches only, whose
	// size counts by itself.
	pagesRandom = 512
	// Room is wanted for that much when there is no ballast.
	minRoom = 1 << 20
)

type space struct {
	mu      sync.Mutex
	ballast int64 // size of the one that is held
	full    bool  // a commit found no room; the ballast was given away
	low     bool  // Look found too little
	free    int64 // what Look found
	told    bool  // what OnRoom was told last

	making sync.Mutex // the ballast
}

func (s *space) held() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ballast
}

func noSpace(err error) bool {
	// EFBIG: the process may not make files of that size.
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG)
}

func fallocate(f *os.File, offset, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, offset, size)
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fallocate", err)
		}
	}
}

// reserve makes sure that the file has room for the commit, and fails with
// task.ErrDiskFull.
func (s *Store) reserve(btx *bolt.Tx, tx *Tx) error {
	page := int64(s.db.Info().PageSize)
	free := int64(s.db.Stats().FreePageN)
	pages := pagesFixed + min(int64(tx.writes), pagesRandom) + 2*int64(tx.bytes)/page + free*8/page
	need := btx.Size() + pages*page
	if need <= s.reserved {
		return nil
	}
	err := s.grow(need)
	if noSpace(err) && s.freeBallast(err) {
		err = s.grow(need)
	}
	if noSpace(err) && free > pages {
		return nil // pages of the past will do, so that deleting stays possible
	}
	switch {
	case noSpace(err):
		s.setFull(true)
		return s.diskFull(err)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		s.reserved = 1 << 62 // this file system has no such thing: bbolt grows the file
		return nil
	case err != nil:
		return s.fail(err)
	}
	return nil
}

// grow reserves up to need, and some more for the commits to come where there
// is plenty.
func (s *Store) grow(need int64) error {
	extra := min(max(need, growMin), growMax)
	if s.isFull() {
		extra = growFull
	}
	size := need + extra
	err := s.o.Allocate(s.file, s.reserved, size-s.reserved)
	if noSpace(err) {
		size = need
		err = s.o.Allocate(s.file, s.reserved, size-s.reserved)
	}
	if err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	s.reserved = size
	return nil
}

func (s *Store) ballastPath() string { return filepath.Join(s.o.Dir, fileBallast) }

// freeBallast reports whether there was one to free.
func (s *Store) freeBallast(cause error) bool {
	s.space.mu.Lock()
	held := s.space.ballast
	s.space.ballast = 0
	s.space.mu.Unlock()
	s.setFull(true)
	if held == 0 {
		return false
	}
	s.o.Logger.Error("no space left in the state directory, using the reserve", "dir", s.o.Dir, "bytes", held, "error", cause)
	// Some file systems give the blocks away only once the removal is durable.
	if err := removeDurably(s.ballastPath()); err != nil {
		s.o.Logger.Error("cannot free the reserve", "path", s.ballastPath(), "error", err)
		return false
	}
	return true
}

func (s *Store) isFull() bool {
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	return s.space.full
}

func (s *Store) setFull(full bool) {
	s.space.mu.Lock()
	s.space.full = full
	s.space.mu.Unlock()
	s.tellRoom()
}

// tellRoom calls OnRoom when the answer of Room is another one than before.
func (s *Store) tellRoom() {
	s.space.mu.Lock()
	none := s.space.full || s.space.low
	changed := s.space.told != none
	s.space.told = none
	s.space.mu.Unlock()
	if changed && s.o.OnRoom != nil {
		s.o.OnRoom(s.Room())
	}
}

// lowRoom is how much has to be free beside the ballast; twice that, once there
// was less.
func (s *Store) lowRoom() int64 { return s.o.BallastSize / 2 }

// Look looks how much is free, so that Room knows of a disk that others fill
// before a commit finds out. Call it from time to time.
func (s *Store) Look() {
	free, err := s.o.Free(s.o.Dir)
	if err != nil {
		s.o.Logger.Warn("cannot see how much room there is", "dir", s.o.Dir, "error", err)
		return
	}
	s.space.mu.Lock()
	limit := s.lowRoom()
	if s.space.low {
		limit *= 2
	}
	s.space.free, s.space.low = free, free < limit
	s.space.mu.Unlock()
	s.tellRoom()
}

// Reserve is Room, but for a disk that Look found to be low while the ballast
// is still held: what is under way may go on then, and free room as it ends.
func (s *Store) Reserve() error {
	if !s.isFull() {
		return nil
	}
	return s.Room()
}

// Room returns nil while there is room to begin something new, else an error
// for people that wraps task.ErrDiskFull. It does not touch the disk.
func (s *Store) Room() error {
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	if !s.space.full && s.space.low {
		return fmt.Errorf("%w: %s has %d MiB free, and %d MiB are needed before anything new is begun; what is there is safe",
			task.ErrDiskFull, s.o.Dir, s.space.free>>20, 2*s.lowRoom()>>20)
	}
	if !s.space.full {
		return nil
	}
	return fmt.Errorf("%w: %s needs %d MiB free before anything new is begun; what is there is safe", task.ErrDiskFull, s.o.Dir, s.wanted()>>20)
}

// wanted is how much has to be free to make the ballast again: twice its size,
// so that the disk is not full again at once.
func (s *Store) wanted() int64 { return 2 * max(s.o.BallastSize, minRoom) }

// Reclaim makes the ballast again where there is room enough, and returns what
// Room returns then. It does nothing while there is room; call it from time to
// time.
func (s *Store) Reclaim() error {
	s.space.making.Lock()
	defer s.space.making.Unlock()
	if !s.isFull() {
		return nil
	}
	if err := s.tryBallast(); err != nil {
		s.o.Logger.Debug("cannot make the reserve yet", "error", err)
		return s.Room()
	}
	s.o.Logger.Info("there is room again in the state directory", "dir", s.o.Dir)
	s.setFull(false)
	return nil
}

// openBallast finds the ballast of the last time, or makes it.
func (s *Store) openBallast() {
	info, err := os.Lstat(s.ballastPath())
	if err == nil && info.Mode().IsRegular() && info.Size() == s.o.BallastSize && s.o.BallastSize > 0 {
		s.space.ballast = s.o.BallastSize
		return
	}
	if err == nil {
		_ = os.Remove(s.ballastPath()) // of another size, or no longer wanted
	}
	if s.o.BallastSize == 0 {
		return
	}
	if err := s.tryBallast(); err != nil {
		s.o.Logger.Error("cannot make the reserve for a full disk", "path", s.ballastPath(), "error", err)
		s.space.full, s.space.told = true, true
	}
}

// tryBallast makes the ballast when twice its size is free.
func (s *Store) tryBallast() error {
	free, err := s.o.Free(s.o.Dir)
	if err != nil {
		return err
	}
	if free < s.wanted() {
		return fmt.Errorf("%d bytes are free, %d are wanted", free, s.wanted())
	}
	return s.makeBallast()
}

func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("look for space in %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

func (s *Store) makeBallast() error {
	size := s.o.BallastSize
	if size == 0 {
		return nil
	}
	temp := filepath.Join(s.o.Dir, fileNewBall)
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err = s.o.Allocate(f, 0, size); errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		err = writeZeros(f, size)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(temp, s.ballastPath())
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	s.space.mu.Lock()
	s.space.ballast = size
	s.space.mu.Unlock()
	return nil
}

func writeZeros(f *os.File, size int64) error {
	zeros := make([]byte, 64<<10)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
	}
	return nil
}
