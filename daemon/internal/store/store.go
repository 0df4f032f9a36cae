package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/stepd/stepd/daemon/internal/task"
	bolt "go.etcd.io/bbolt"
)

// Store is an open database. All methods may be called at the same time,
// Close included.
type Store struct {
	o    Options
	path string
	db   *bolt.DB
	file *os.File // bbolt's own descriptor, to reserve space through
	lock *os.File

	mu      sync.Mutex // guards what follows
	queue   []*request // not taken by a leader yet
	leading bool
	closed  bool
	idle    chan struct{} // Close waits for it; the last leader closes it
	failure error
	failed  chan struct{}

	// The leader's own.
	enc      *encoder
	reserved int64 // offset up to which space is reserved
	broken   bool  // bbolt's locks are in an unknown state

	space space

	commits, updates, records atomic.Uint64
}

// View calls fn with one consistent state. It must be short, since it pins
// pages of the file, and must not call Update.
func (s *Store) View(fn func(*Tx) error) error {
	err := s.db.View(func(btx *bolt.Tx) error {
		return fn(&Tx{path: s.path, btx: btx})
	})
	return err
}

// Failed is closed when a write's outcome is unknown. The daemon has to end
// and to look at what is there when it starts again.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Err says why the store failed, nil while it has not.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

func (s *Store) fail(cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil {
		s.failure = fmt.Errorf("%w: the outcome of a write to %s is not known: %w; nothing is written any more, restart the daemon to check what is there",
			task.ErrStoreFailed, s.path, cause)
		close(s.failed)
	}
	return s.failure
}

var errClosed = errors.New("the store is closed")

// Close waits for the updates that are under way and for readers, and closes
// the database. After a failure it leaves no mark of a clean end.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	if s.leading {
		s.idle = make(chan struct{})
		s.mu.Unlock()
		<-s.idle
		s.mu.Lock()
	}
	failed := s.failure != nil
	s.mu.Unlock()

	if s.broken {
		return s.lock.Close() // closing bbolt could wait for ever
	}
	if !failed {
		s.keepFreelist()
	}
	err := s.db.Close()
	if err == nil && !failed {
		// Without the mark the next start checks the database, no more.
		if err := markClean(s.o.Dir); err != nil {
			s.o.Logger.Warn("cannot mark the database as closed", "dir", s.o.Dir, "error", err)
			_ = os.Remove(filepath.Join(s.o.Dir, fileClean))
		}
	}
	if err = errors.Join(err, s.lock.Close()); err != nil {
		return fmt.Errorf("close the store: %w", err)
	}
	return nil
}

// maxListed is how many free pages a commit lists: 16 KiB of them.
const maxListed = 2048

// listFree lets the commits that follow write the list of free pages while that
// is short. It is as long as what was ever deleted and not used again: after a
// large deletion it would make each commit slow. Close writes it whole; after
// another end bbolt makes it anew, from all pages. Only the leader may call it.
func (s *Store) listFree() { s.db.NoFreelistSync = s.db.Stats().FreePageN > maxListed }

// keepFreelist spares the next start the search for free pages.
func (s *Store) keepFreelist() {
	s.db.NoFreelistSync = false
	if err := s.db.Update(func(*bolt.Tx) error { return nil }); err != nil {
		s.o.Logger.Debug("the list of free pages was not written; the next start makes it anew", "error", err)
	}
}

// Stats are numbers for metrics and measurements.
type Stats struct {
	FileBytes    int64 // of the database file
	UsedBytes    int64 // up to the last page in use
	FreePages    int   // below that, to be used again
	PendingPages int   // free once all readers of today are done
	PageSize     int
	Commits      uint64 // since Open
	Updates      uint64 // that those carried
	Records      uint64 // puts and deletes that those carried
	BallastBytes int64  // 0 while it is given away
}

// Stats returns numbers of now.
func (s *Store) Stats() (Stats, error) {
	b := s.db.Stats()
	stats := Stats{
		FreePages: b.FreePageN, PendingPages: b.PendingPageN, PageSize: s.db.Info().PageSize,
		Commits: s.commits.Load(), Updates: s.updates.Load(), Records: s.records.Load(),
		BallastBytes: s.space.held(),
	}
	err := s.db.View(func(btx *bolt.Tx) error {
		stats.UsedBytes = btx.Size()
		return nil
	})
	if err != nil {
		return stats, err
	}
	info, err := os.Stat(filepath.Join(s.o.Dir, fileDatabase))
	if err == nil {
		stats.FileBytes = info.Size()
	}
	return stats, err
}
