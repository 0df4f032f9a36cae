package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/stepd/stepd/daemon/internal/task"
	bolt "go.etcd.io/bbolt"
)

// Group commit. A commit waits for the disk twice, however much it carries.
// So one caller of Update, the leader, commits for all who wait, and hands
// leadership to the first of those who came meanwhile. Nobody waits for others
// to come, and a caller who is alone commits in its own goroutine.

const maxBatch = 512

type request struct {
	ctx context.Context
	fn  func(*Tx) error
	err error
	out bool // its outcome is settled and fn is not called any more

	wake     chan struct{} // one value: settled, or promoted to leader
	promoted bool
}

// Update calls fn with the state as it is now and commits what it wrote; it is
// durable when Update returns nil. It blocks until then.
//
// fn may be called more than once, each time on a clean state, and in another
// goroutine than the caller's. It must be short, must not call the store, and
// must only assign to what it captured. When it returns an error or panics,
// nothing of it is kept and the error is returned as it is (a panic as an
// error); others who share the commit are not touched by that.
//
// When ctx ends before fn was called, its error is returned and nothing
// happens; after that, Update waits for the outcome. Other errors are
// task.ErrDiskFull, with nothing changed, and task.ErrStoreFailed: nobody
// knows, and no write will succeed any more.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{ctx: ctx, fn: fn}
	s.mu.Lock()
	if err := s.refuse(); err != nil {
		s.mu.Unlock()
		return err
	}
	s.queue = append(s.queue, r)
	follow := s.leading
	if follow {
		r.wake = make(chan struct{}, 1)
	}
	s.leading = true
	s.mu.Unlock()

	if !follow || s.follow(r) {
		s.lead(r)
	}
	return r.err
}

func (s *Store) refuse() error {
	if s.closed {
		return errClosed
	}
	return s.failure
}

// follow waits until the request is settled, or returns true when it is the
// caller's turn to lead.
func (s *Store) follow(r *request) (lead bool) {
	select {
	case <-r.wake:
	case <-r.ctx.Done():
		s.mu.Lock()
		if i := slices.Index(s.queue, r); i >= 0 && !r.promoted {
			s.queue = slices.Delete(s.queue, i, i+1)
			s.mu.Unlock()
			r.err = r.ctx.Err()
			return false
		}
		s.mu.Unlock()
		<-r.wake
	}
	return r.promoted
}

// lead commits one batch, of which self is the first, and hands over.
func (s *Store) lead(self *request) {
	s.mu.Lock()
	n := min(len(s.queue), maxBatch)
	batch := slices.Clone(s.queue[:n])
	s.queue = slices.Delete(s.queue, 0, n)
	s.mu.Unlock()

	done := false
	defer func() {
		if !done { // fn ended the goroutine; the others must not wait for ever
			settle(batch, errAborted)
		}
		s.mu.Lock()
		var next *request
		if len(s.queue) > 0 {
			next = s.queue[0]
			next.promoted = true
		} else if s.leading = false; s.idle != nil {
			close(s.idle)
		}
		s.mu.Unlock()
		if next != nil {
			next.wake <- struct{}{}
		}
		for _, r := range batch {
			if r != self {
				r.wake <- struct{}{}
			}
		}
	}()
	s.commit(batch)
	done = true
}

var errAborted = errors.New("an update that shared the commit ended its goroutine; nothing was changed")

// settle gives all that have no outcome yet the same one. That includes those
// whose fn failed without having written: what they saw may not come to be.
func settle(batch []*request, err error) {
	for _, r := range batch {
		if !r.out {
			r.err, r.out = err, true
		}
	}
}

func (s *Store) commit(batch []*request) {
	for _, r := range batch {
		if r.err = r.ctx.Err(); r.err != nil {
			r.out = true
		}
	}
	for freed := false; s.try(batch, &freed); {
	}
}

// try runs the batch in one transaction. It returns true when it has to be
// run again: without a request that failed after it had written, or with the
// ballast freed.
func (s *Store) try(batch []*request, freed *bool) (again bool) {
	if err := s.Err(); err != nil { // by the batch before
		settle(batch, err)
		return false
	}
	s.listFree()
	btx, err := s.db.Begin(true)
	if err != nil {
		settle(batch, s.fail(err))
		return false
	}
	tx := &Tx{path: s.path, btx: btx, enc: s.enc}
	defer s.end(btx)

	ran := uint64(0)
	for _, r := range batch {
		if r.out {
			continue
		}
		writes := tx.writes
		if r.err = safely(func() error { return r.fn(tx) }); r.err == nil {
			ran++
		} else if tx.writes != writes {
			r.out = true
			return true
		}
	}
	if tx.writes == 0 {
		return false
	}
	err = s.reserve(btx, tx)
	if err != nil {
		settle(batch, err)
		return false
	}
	id := btx.ID()
	if err = safely(func() error { return s.o.WrapCommit(btx.Commit) }); err == nil {
		s.commits.Add(1)
		s.updates.Add(ran)
		s.records.Add(uint64(tx.writes))
		return false
	}
	s.end(btx)
	if noSpace(err) && s.unchanged(id) {
		if !*freed && s.freeBallast(err) {
			*freed = true
			return true
		}
		settle(batch, s.diskFull(err))
		return false
	}
	settle(batch, s.fail(err))
	return false
}

// end rolls back what was not committed and gives the records' memory back.
func (s *Store) end(btx *bolt.Tx) {
	if s.broken {
		return
	}
	err := safely(btx.Rollback)
	if panicked, ok := errors.AsType[*PanicError](err); ok {
		s.broken = true
		s.fail(panicked)
		return
	}
	s.enc.reset()
}

// unchanged reports whether the transaction with that id, whose commit
// returned an error, left no trace: then the id is still to be had. Else its
// meta page was written, and nobody knows whether it is durable.
func (s *Store) unchanged(id int) bool {
	if s.broken {
		return false
	}
	btx, err := s.db.Begin(true)
	if err != nil {
		return false
	}
	same := btx.ID() == id
	return btx.Rollback() == nil && same
}

// PanicError is a panic in a function that was given to Update.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("an update panicked: %v\n%s", e.Value, e.Stack)
}

func safely(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return fn()
}

func (s *Store) diskFull(cause error) error {
	return fmt.Errorf("%w: %s could not grow (%w); free some space there, nothing was changed", task.ErrDiskFull, s.path, cause)
}
