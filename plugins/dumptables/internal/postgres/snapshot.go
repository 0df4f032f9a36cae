package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

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
func (Engine) Name() string { return "postgresql" }

// oldest is the first version whose catalogue this package reads.
const oldest = 12

// aliveTimeout is how long the server may take to answer a question about
// nothing, before the snapshot counts as lost.
const aliveTimeout = time.Minute

// snapshot is one state of the database: a transaction that does nothing but
// live, so that others can join its snapshot.
type snapshot struct {
	server *server
	dump   program
	at     time.Time
	id     string
	free   chan struct{} // one for each pg_dump that may run

	holding sync.Mutex
	holder  *pgx.Conn

	mu        sync.Mutex
	known     bool // whether what follows was read
	objects   []dump.Object
	relations map[string]relation
	stages    []string // nil: not asked for yet
}

// Freeze implements dump.Engine. The state lives in a connection.
func (Engine) Freeze(ctx context.Context, at dump.Location, _ string) (io.Closer, error) {
	server, err := parse(at)
	if err != nil {
		return nil, err
	}
	holder, err := server.connect(ctx, server.database)
	if err != nil {
		return nil, err
	}
	s := &snapshot{server: server, holder: holder, free: make(chan struct{}, at.Connections)}
	if err := s.begin(ctx); err != nil {
		s.Close()
		return nil, err
	}
	for range at.Connections {
		s.free <- struct{}{}
	}
	return s, nil
}

func (s *snapshot) begin(ctx context.Context) error {
	version, err := versionOf(ctx, s.holder)
	if err != nil {
		return explain(ctx, err)
	}
	if version < oldest {
		return sdk.Permanent(fmt.Errorf("the server of %s is of version %d: PostgreSQL %d is the oldest that can be dumped", s.server.place, version, oldest))
	}
	if s.dump, err = s.server.find(ctx, pgDump, version); err != nil {
		return err
	}
	_, err = s.holder.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
	if err == nil {
		err = s.holder.QueryRow(ctx, "SELECT pg_export_snapshot(), clock_timestamp()").Scan(&s.id, &s.at)
	}
	s.at = s.at.UTC()
	return explain(ctx, wrap("take a snapshot of "+s.server.place, err))
}

// versionOf is the server's major version.
func versionOf(ctx context.Context, c *pgx.Conn) (int, error) {
	var text string
	if err := c.QueryRow(ctx, "SELECT current_setting('server_version_num')").Scan(&text); err != nil {
		return 0, fmt.Errorf("read the server's version: %w", err)
	}
	number, err := strconv.Atoi(text)
	return number / 10000, err
}

// Close ends the transaction.
func (s *snapshot) Close() error {
	s.holding.Lock()
	defer s.holding.Unlock()
	discard(s.holder)
	return nil
}

// alive reports whether the snapshot is still held. Its id alone does not tell: a
// server that has started again gives the same ones to others.
func (s *snapshot) alive() bool {
	s.holding.Lock()
	defer s.holding.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), aliveTimeout)
	defer cancel()
	_, err := s.holder.Exec(ctx, "SELECT 1")
	return err == nil
}

// Open implements dump.Engine: it waits until one of the connections that the
// settings allow is free, and joins the snapshot over it.
func (Engine) Open(ctx context.Context, dir string, held io.Closer) (dump.Source, error) {
	s, ok := held.(*snapshot)
	if !ok {
		return nil, sdk.Permanent(errors.New("the step has no snapshot: it was not planned"))
	}
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-s.free:
	}
	source := &source{snapshot: s, dir: dir}
	if err := source.join(ctx); err != nil {
		source.Close()
		return nil, source.explain(ctx, err)
	}
	return source, nil
}

// source implements dump.Source over a transaction with the snapshot.
type source struct {
	snapshot *snapshot
	dir      string // where things are kept until a later step
	conn     *pgx.Conn
}

func (s *source) join(ctx context.Context) error {
	conn, err := s.snapshot.server.connect(ctx, s.snapshot.server.database)
	if err != nil {
		return err
	}
	s.conn = conn
	_, err = conn.PgConn().Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET TRANSACTION SNAPSHOT "+literal(s.snapshot.id)).ReadAll()
	if err != nil {
		return fmt.Errorf("join the snapshot of %s: %w", s.snapshot.server.place, err)
	}
	return s.held()
}

// held is an error where the snapshot is lost. What was read before is right only
// when it is not.
func (s *source) held() error {
	if s.snapshot.alive() {
		return nil
	}
	return s.lost(errors.New("the connection that held it has ended"))
}

func (s *source) lost(err error) error {
	return sdk.SessionLost(fmt.Errorf("the snapshot of %s is lost: %w", s.snapshot.server.place, err))
}

// Close gives the connection up, and its place to the next step.
func (s *source) Close() error {
	if s.conn != nil {
		discard(s.conn)
	}
	s.snapshot.free <- struct{}{}
	return nil
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
	if !s.snapshot.alive() { // whatever the error says, it comes of that
		return s.lost(err)
	}
	return explain(ctx, err)
}
