package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/stepd/stepd/sdk"
)

// lockedPause is how long a step waits before it tries a locked database again,
// after SQLite itself has waited busyTimeout.
const lockedPause = 10 * time.Second

// explain says what a person can do about an error of SQLite, and whether another
// attempt may help. When ctx is done it is what the error is about.
func explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	fault, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch fault.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return sdk.RetryAfter(fmt.Errorf("%w: another program holds its lock; it will be tried again", err), lockedPause)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: make room and continue the run", err)
	case sqlite3.SQLITE_NOTADB:
		return sdk.Permanent(fmt.Errorf("%w: check the setting dsn; an encrypted database cannot be read", err))
	case sqlite3.SQLITE_CORRUPT:
		return sdk.Permanent(fmt.Errorf("%w: the database is damaged; the sqlite3 client's .recover may save what is left", err))
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return fmt.Errorf("%w: the daemon's user needs to read and write the file and its directory", err)
	}
	return err
}

// explainAt is explain for a fault of opening the database at path or of reading
// it first: what its user may not do another attempt may not either.
func explainAt(ctx context.Context, path string, err error) error {
	fault, ok := errors.AsType[*sqlite.Error](err)
	if !ok || ctx.Err() != nil {
		return explain(ctx, err)
	}
	switch fault.Code() & 0xff {
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		if why := denied(path); why != "" {
			return sdk.Permanent(fmt.Errorf("%w: %s", err, why))
		}
	}
	return explain(ctx, err)
}

// denied says what the own user lacks to open a database, "" where nothing. It
// asks the kernel and opens nothing: closing a database's file would drop the
// locks that this process has on it.
func denied(path string) string {
	dir := filepath.Dir(path)
	lacks := func(name string, mode uint32) bool {
		err := unix.Faccessat(unix.AT_FDCWD, name, mode, unix.AT_EACCESS)
		return errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EROFS)
	}
	switch {
	case lacks(dir, unix.X_OK):
		return fmt.Sprintf("the daemon's user may not enter the directory %s", dir)
	case lacks(path, unix.R_OK):
		return "the daemon's user may not read it"
	case lacks(dir, unix.W_OK):
		return fmt.Sprintf("the daemon's user may not write in the directory %s, where SQLite keeps files beside the database while it is read (in WAL mode, or after a crash)", dir)
	case lacks(path, unix.W_OK):
		return "the daemon's user may not write it, as SQLite has to in WAL mode or after a crash"
	}
	return ""
}
