package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

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
