package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/stepd/stepd/sdk"
)

// Numbers of server errors, as the manuals of MariaDB and MySQL have them.
const (
	erDBAccessDenied    = 1044
	erAccessDenied      = 1045
	erBadDB             = 1049
	erUnknownTable      = 1051
	erServerShutdown    = 1053
	erBadField          = 1054
	erRecordFileFull    = 1114
	erTableAccessDenied = 1142
	erColumnDenied      = 1143
	erNoSuchTable       = 1146
	erPacketTooLarge    = 1153
	erTooManyConns      = 1040
	erDiskFull          = 1021
	erTooManyUserConns  = 1203
	erLockWaitTimeout   = 1205
	erLockDeadlock      = 1213
	erNeedsPrivilege    = 1227
	erQueryInterrupted  = 1317
	erProcAccessDenied  = 1370
	erTableDefChanged   = 1412
	erAccountLocked     = 4151
	erConnectionKilled  = 1927
)

// busyPause is how long a step waits before it tries again what others hold up.
const busyPause = 10 * time.Second

// broken reports whether the connection is of no use any more.
func broken(err error) bool {
	if fault, ok := errors.AsType[*driver.MySQLError](err); ok {
		return fault.Number == erServerShutdown || fault.Number == erConnectionKilled
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, driver.ErrInvalidConn) || errors.Is(err, sqldriver.ErrBadConn) ||
		errors.Is(err, sql.ErrConnDone) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, driver.ErrMalformPkt)
}

// unreachable explains a fault of connecting.
func (s *server) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err = fmt.Errorf("connect to %s as %s: %w", s.place, s.config.User, err)
	fault, ok := errors.AsType[*driver.MySQLError](err)
	if !ok {
		return fmt.Errorf("%w: is the server running, and is the address right?", err)
	}
	switch fault.Number {
	case erAccessDenied:
		return sdk.Permanent(fmt.Errorf("%w: check the user of the dsn and its password (password_file or password)", err))
	case erBadDB:
		return sdk.Permanent(fmt.Errorf("%w: check the setting dsn", err))
	case erDBAccessDenied:
		return sdk.Permanent(fmt.Errorf("%w: the user has no rights in this database", err))
	case erAccountLocked:
		return sdk.Permanent(err)
	}
	return explain(ctx, err)
}

// explain says what a person can do about an error of the server, and whether
// another attempt may help. When ctx is done it is what the error is about.
func explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	fault, ok := errors.AsType[*driver.MySQLError](err)
	if !ok {
		return err
	}
	switch fault.Number {
	case erTooManyConns, erTooManyUserConns, erLockDeadlock:
		return sdk.RetryAfter(err, busyPause)
	case erLockWaitTimeout:
		return sdk.RetryAfter(fmt.Errorf("%w: another program holds a lock for too long; it will be tried again", err), busyPause)
	case erDBAccessDenied, erTableAccessDenied, erColumnDenied, erProcAccessDenied:
		return sdk.Permanent(fmt.Errorf("%w: the user lacks a right: GRANT it, or choose another user in the dsn", err))
	case erNeedsPrivilege:
		return sdk.Permanent(fmt.Errorf("%w: to make what has another DEFINER than the own user takes SET USER (MySQL: SET_ANY_DEFINER) or SUPER", err))
	case erNoSuchTable, erUnknownTable, erTableDefChanged, erBadField:
		return sdk.Permanent(err)
	case erRecordFileFull, erDiskFull:
		return fmt.Errorf("%w: make room on the server and continue the run", err)
	case erPacketTooLarge:
		return sdk.Permanent(fmt.Errorf("%w: raise max_allowed_packet of the server", err))
	}
	return err
}

// number is the server's number of an error, 0 where it is none of the server.
func number(err error) uint16 {
	if fault, ok := errors.AsType[*driver.MySQLError](err); ok {
		return fault.Number
	}
	return 0
}
