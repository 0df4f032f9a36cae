package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	driver "github.com/go-sql-driver/mysql"
)

// killTimeout bounds the second connection that ends a query. Where it cannot be
// had, the query's own connection is cut.
const killTimeout = 5 * time.Second

// conn is one connection; what a session has is in it. It is not safe for
// concurrent use.
type conn struct {
	server  *server
	db      *sql.DB
	sql     *sql.Conn
	id      int64
	mariadb bool
	version []int // 10, 11, 19
	packet  int64 // max_allowed_packet
}

// connect opens one connection to the server's database, or to none.
func connect(ctx context.Context, s *server, database string) (*conn, error) {
	config := s.config.Clone()
	config.DBName = database
	connector, err := driver.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", s.place, err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	one, err := db.Conn(ctx)
	if err != nil {
		db.Close()
		return nil, s.unreachable(ctx, err)
	}
	c := &conn{server: s, db: db, sql: one}
	if err := c.prepare(ctx); err != nil {
		c.close()
		return nil, s.unreachable(ctx, err)
	}
	return c, nil
}

// prepare sets what reading and loading both rely on. No limit of the server's
// may end a session that waits for its next step or for a slow disk.
func (c *conn) prepare(ctx context.Context) error {
	var version string
	err := c.sql.QueryRowContext(ctx, "SELECT VERSION(), CONNECTION_ID(), @@max_allowed_packet").Scan(&version, &c.id, &c.packet)
	if err != nil {
		return err
	}
	c.mariadb = strings.Contains(strings.ToLower(version), "mariadb")
	c.version = parseVersion(version)
	statements := []string{
		"SET NAMES utf8mb4",
		"SET SESSION sql_mode='', time_zone='+00:00', sql_quote_show_create=1, lock_wait_timeout=60," +
			" wait_timeout=31536000, net_write_timeout=86400, net_read_timeout=86400",
	}
	if c.mariadb {
		statements = append(statements, "SET SESSION max_statement_time=0")
		if c.atLeast(10, 3) {
			statements = append(statements, "SET SESSION idle_transaction_timeout=0, idle_readonly_transaction_timeout=0, idle_write_transaction_timeout=0")
		}
	} else {
		statements = append(statements, "SET SESSION max_execution_time=0")
		if c.atLeast(8) {
			statements = append(statements, "SET SESSION information_schema_stats_expiry=0")
		}
	}
	return c.exec(ctx, statements...)
}

// parseVersion reads "10.11.19-MariaDB-0+deb12u1", also with the prefix that old
// replication clients need.
func parseVersion(text string) []int {
	text = strings.TrimPrefix(text, "5.5.5-")
	var version []int
	for part := range strings.SplitSeq(text, ".") {
		n, digits := 0, 0
		for digits < len(part) && part[digits] >= '0' && part[digits] <= '9' {
			n = n*10 + int(part[digits]-'0')
			digits++
		}
		version = append(version, n)
		if digits < len(part) {
			break
		}
	}
	return version
}

func (c *conn) atLeast(want ...int) bool {
	for i, n := range want {
		switch {
		case i >= len(c.version) || c.version[i] < n:
			return false
		case c.version[i] > n:
			return true
		}
	}
	return true
}

func (c *conn) close() {
	c.sql.Close()
	c.db.Close()
}

// exec carries out statements that take no time worth ending.
func (c *conn) exec(ctx context.Context, statements ...string) error {
	for _, statement := range statements {
		if err := c.run(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// run carries out one statement, however long it takes. When ctx ends the
// statement does, and the connection stays.
func (c *conn) run(ctx context.Context, statement string) error {
	return c.guarded(ctx, func(ctx context.Context, _ func()) error {
		_, err := c.sql.ExecContext(ctx, statement)
		return err
	})
}

// one reads one row; the error is sql.ErrNoRows where there is none.
func (c *conn) one(ctx context.Context, into []any, query string, args ...any) error {
	return c.guarded(ctx, func(ctx context.Context, _ func()) error {
		return c.sql.QueryRowContext(ctx, query, args...).Scan(into...)
	})
}

// each calls fn for each row; fn scans. When ctx ends or fn fails, the query is
// ended on the server: to read what is left of it may take hours.
func (c *conn) each(ctx context.Context, fn func(*sql.Rows) error, query string, args ...any) error {
	return c.guarded(ctx, func(ctx context.Context, end func()) error {
		rows, err := c.sql.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := fn(rows); err != nil {
				end()
				return err
			}
		}
		return rows.Err()
	})
}

// guarded calls do with a context that outlives ctx, as the driver closes the
// connection when its context ends. When ctx ends, or do calls end, the query
// alone is ended in its place.
func (c *conn) guarded(ctx context.Context, do func(ctx context.Context, end func()) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	own, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	finished, killed := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(killed)
		for range 3 { // a kill that comes before its query is not heard
			if !c.kill() {
				break
			}
			select {
			case <-finished:
				return
			case <-time.After(time.Second):
			}
		}
		cut() // no way but to lose the connection
	})
	ended := false
	err := do(own, func() {
		if ended = true; !c.kill() {
			cut()
		}
	})
	close(finished)
	if !stop() {
		<-killed // it must not hit the next query
		ended = true
	}
	if ended {
		c.settle()
	}
	return err
}

// kill ends what the connection carries out and reports whether that could be
// asked for.
func (c *conn) kill() bool {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	config := c.server.config.Clone()
	config.DBName = ""
	connector, err := driver.NewConnector(config)
	if err != nil {
		return false
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	_, err = db.ExecContext(ctx, fmt.Sprintf("KILL QUERY %d", c.id))
	return err == nil
}

// settle takes a kill that came late: it would end the next statement.
func (c *conn) settle() {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	for range 2 {
		_, err := c.sql.ExecContext(ctx, "DO 0")
		if fault, ok := errors.AsType[*driver.MySQLError](err); !ok || fault.Number != erQueryInterrupted {
			return
		}
	}
}

// quoted is a name as SQL has it.
func quoted(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
