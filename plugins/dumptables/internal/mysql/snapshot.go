package mysql

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/sdk"
)

// Engine implements dump.Engine. The address of a database is
// //USER@HOST:PORT/DATABASE.
type Engine struct{}

var (
	_ dump.Engine     = Engine{}
	_ dump.StepLoader = Engine{}
)

// Name implements dump.Engine.
func (Engine) Name() string { return "mysql" }

// lockTimeout bounds how long the server may hold up writers for the lock under
// which several connections begin.
const lockTimeout = 10 * time.Second

// snapshot is one state of the database, in connections that each have a
// transaction which began when the state was the current one.
type snapshot struct {
	server *server
	at     time.Time
	free   chan *conn
	all    []*conn

	mu      sync.Mutex
	known   bool // whether what follows was read
	entries []entry
	objects []dump.Object
	tables  map[string]definition
	stages  []string // nil: not asked for yet
}

// definition is a hash of how a table is defined.
type definition [sha256.Size]byte

// Freeze implements dump.Engine. The state lives in connections.
func (Engine) Freeze(ctx context.Context, at dump.Location, _ string) (io.Closer, error) {
	server, err := parse(at)
	if err != nil {
		return nil, err
	}
	s := &snapshot{server: server, free: make(chan *conn, at.Connections)}
	for range at.Connections {
		c, err := connect(ctx, server, server.database)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.all = append(s.all, c)
	}
	if err := s.begin(ctx); err != nil {
		s.Close()
		return nil, err
	}
	for _, c := range s.all {
		s.free <- c
	}
	return s, nil
}

// begin begins all transactions. Several begin under a lock that holds up all
// commits, as each would see another state otherwise.
func (s *snapshot) begin(ctx context.Context) error {
	if len(s.all) > 1 {
		unlock, err := s.lock(ctx)
		if err != nil {
			return err
		}
		defer unlock()
	}
	for _, c := range s.all {
		err := c.exec(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
			"START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
		if err != nil {
			return explain(ctx, fmt.Errorf("take a snapshot of %s: %w", s.server.place, err))
		}
	}
	s.at = time.Now().UTC()
	return nil
}

// lock takes the lock and returns what gives it back. The lock goes with its
// connection, so that nothing can leave it behind.
func (s *snapshot) lock(ctx context.Context) (func(), error) {
	short, cancel := context.WithTimeout(ctx, lockTimeout+killTimeout)
	defer cancel()
	c, err := connect(short, s.server, "")
	if err != nil {
		return nil, err
	}
	err = c.exec(short, fmt.Sprintf("SET SESSION lock_wait_timeout=%d", int(lockTimeout.Seconds())), "FLUSH TABLES WITH READ LOCK")
	if err == nil {
		return c.close, nil
	}
	c.close()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case number(err) == erNeedsPrivilege || number(err) == erDBAccessDenied || number(err) == erAccessDenied:
		return nil, sdk.Permanent(fmt.Errorf("setting connections: %d connections see the same state only when they begin under FLUSH TABLES WITH READ LOCK: GRANT RELOAD ON *.* to the user %s, or set connections: 1 (%w)",
			len(s.all), s.server.config.User, err))
	case short.Err() != nil:
		err = fmt.Errorf("%w after %s", err, lockTimeout)
	}
	return nil, sdk.RetryAfter(fmt.Errorf("lock %s for a moment (setting connections: %d): long statements of others were in the way: %w", s.server.place, len(s.all), err), busyPause)
}

// Close ends all transactions. Nobody uses a connection any more, or what uses
// it fails.
func (s *snapshot) Close() error {
	for _, c := range s.all {
		c.close()
	}
	return nil
}

// Open implements dump.Engine: it waits for a connection of the snapshot that no
// other step has.
func (Engine) Open(ctx context.Context, _ string, held io.Closer) (dump.Source, error) {
	s, ok := held.(*snapshot)
	if !ok {
		return nil, sdk.Permanent(errors.New("the step has no snapshot: it was not planned"))
	}
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case c := <-s.free:
		source := &source{snapshot: s, conn: c}
		// What one step reads is locked against changes of its definition until
		// the step is done, and not for the whole of the dump.
		if err := c.exec(ctx, "SET NAMES utf8mb4", "SAVEPOINT stepd"); err != nil {
			err = source.explain(ctx, err)
			s.free <- c
			return nil, err
		}
		return source, nil
	}
}

// source implements dump.Source over one connection of a snapshot.
type source struct {
	snapshot *snapshot
	conn     *conn
}

// Close gives the connection back.
func (s *source) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	err := s.conn.exec(ctx, "ROLLBACK TO SAVEPOINT stepd")
	s.snapshot.free <- s.conn
	return err
}

// explain tells a lost snapshot from other faults. It is lost as a whole: what
// was dumped from it is of no use without the rest.
func (s *source) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if broken(err) {
		return sdk.SessionLost(fmt.Errorf("the snapshot of %s is lost with its connection: %w", s.snapshot.server.place, err))
	}
	return explain(ctx, err)
}
