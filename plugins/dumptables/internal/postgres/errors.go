package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stepd/stepd/sdk"
)

// SQLSTATE codes, as the manual's appendix A has them.
const (
	codeInvalidPassword   = "28P01"
	codeInvalidAuth       = "28000"
	codeNoDatabase        = "3D000"
	codeNoPrivilege       = "42501"
	codeNoTable           = "42P01"
	codeNoColumn          = "42703"
	codeNoObject          = "42704"
	codeNoSchema          = "3F000"
	codeDuplicateDatabase = "42P04"
	codeDependent         = "2BP01"
	codeFeature           = "0A000"
	codeLockTimeout       = "55P03"
	codeDeadlock          = "40P01"
	codeTooMany           = "53300"
	codeDiskFull          = "53100"
	codeStarting          = "57P03"
)

// busyPause is how long a step waits before it tries again what others hold up.
const busyPause = 10 * time.Second

// code is the server's SQLSTATE, "" where the error is none of the server.
func code(err error) string {
	if fault, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fault.Code
	}
	if fault, ok := errors.AsType[*clientError](err); ok {
		return fault.code
	}
	return ""
}

// broken reports whether the connection is of no use any more.
func broken(err error) bool {
	if c := code(err); c != "" {
		return strings.HasPrefix(c, "08") || c == "57P01" || c == "57P02" || c == "57P05" || c == "25P03"
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err)
}

// bytesAlone is the encoding of databases that do not know what their bytes mean.
const bytesAlone = "SQL_ASCII"

// connect opens a connection to a database of the server. No limit of the
// server's may end a session that waits for its next step or for a slow disk.
func (s *server) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	config, err := s.config(database)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, s.unreachable(ctx, err)
	}
	settings := "SET statement_timeout=0; SET lock_timeout='60s'; SET idle_in_transaction_session_timeout=0; SET search_path='';" +
		" SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN ('idle_session_timeout', 'transaction_timeout')"
	if conn.PgConn().ParameterStatus("server_encoding") == bytesAlone {
		// Bytes of no known encoding; the server would refuse those that are not UTF-8.
		settings += "; SET client_encoding=SQL_ASCII"
	}
	if _, err := conn.PgConn().Exec(ctx, settings).ReadAll(); err != nil {
		discard(conn)
		return nil, s.unreachable(ctx, err)
	}
	return conn, nil
}

// discard closes a connection, whatever state it is in.
func discard(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn.Close(ctx) //nolint:errcheck // it is gone either way
}

// unreachable explains a fault of connecting.
func (s *server) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err = fmt.Errorf("connect to %s as %s: %w", s.place, s.user, flat(err))
	switch code(err) {
	case codeInvalidPassword, codeInvalidAuth:
		return sdk.Permanent(fmt.Errorf("%w: check the user of the dsn and its password (password_file or password), and the server's pg_hba.conf", err))
	case codeNoDatabase:
		return sdk.Permanent(fmt.Errorf("%w: check the setting dsn", err))
	case codeNoPrivilege:
		return sdk.Permanent(fmt.Errorf("%w: the user has no rights in this database", err))
	case "":
		if strings.Contains(err.Error(), "password") { // none was given, and one is asked for
			return sdk.Permanent(fmt.Errorf("%w: check the user of the dsn and its password (password_file or password)", err))
		}
		return fmt.Errorf("%w: is the server running, and is the address right?", err)
	}
	return explain(ctx, err)
}

// flat takes the driver's list of all addresses that were tried out of an error:
// the server's answer says what was wrong.
func flat(err error) error {
	if fault, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fault
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		text := err.Error()
		if i := strings.LastIndex(text, "): "); i >= 0 {
			text = text[i+3:]
		}
		return &connectError{text: strings.TrimSpace(text), cause: err}
	}
	return err
}

type connectError struct {
	text  string
	cause error
}

func (e *connectError) Error() string { return e.text }
func (e *connectError) Unwrap() error { return e.cause }

// explain says what a person can do about an error of the server, and whether
// another attempt may help. When ctx is done it is what the error is about.
func explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch c := code(err); {
	case c == codeTooMany, c == codeDeadlock, c == codeStarting:
		return sdk.RetryAfter(err, busyPause)
	case c == codeLockTimeout:
		return sdk.RetryAfter(fmt.Errorf("%w: another program holds a lock for too long; it will be tried again", err), busyPause)
	case c == codeNoPrivilege:
		return sdk.Permanent(fmt.Errorf("%w: the user lacks a right: GRANT it, or choose another user in the dsn", err))
	case c == codeDiskFull:
		return fmt.Errorf("%w: make room on the server and continue the run", err)
	case c == codeNoObject && strings.Contains(err.Error(), "role "):
		return sdk.Permanent(fmt.Errorf("%w: roles are no part of a dump: CREATE ROLE first", err))
	case c == codeNoTable, c == codeNoColumn, c == codeNoObject, c == codeNoSchema, c == codeFeature,
		strings.HasPrefix(c, "42"), strings.HasPrefix(c, "22"), strings.HasPrefix(c, "23"), strings.HasPrefix(c, "2B"):
		return sdk.Permanent(err)
	}
	return err
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// quoted is a name as SQL has it.
func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// literal is a text as SQL has it.
func literal(text string) string {
	text = strings.ReplaceAll(text, `'`, `''`)
	if strings.Contains(text, `\`) {
		return ` E'` + strings.ReplaceAll(text, `\`, `\\`) + `'`
	}
	return `'` + text + `'`
}
