package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/sdk"
)

const frozenName = "snapshot.db"

// Freeze copies the database with VACUUM INTO: one read transaction, after which
// the copy is a file of its own. The copy keeps rowids, encoding, page size,
// user_version and application_id, and a database in WAL mode needs nothing else.
//
// While it copies, a database in rollback-journal mode cannot be written.
func (Engine) Freeze(ctx context.Context, at dump.Location, dir string) (io.Closer, error) {
	return nil, freeze(ctx, at, dir)
}

func freeze(ctx context.Context, at dump.Location, dir string) error {
	path, err := pathOf(at)
	if err != nil {
		return err
	}
	if err := mustBeFile(path); err != nil {
		return err
	}
	// rw does not create; it is needed to roll back what a crashed writer left.
	db, conn, err := connect(ctx, path, "mode=rw")
	if err != nil {
		return err
	}
	defer db.Close()
	defer conn.Close()
	var journal string
	if err := conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&journal); err != nil {
		return explainAt(ctx, path, fmt.Errorf("read database %s: %w", path, err))
	}
	temp := filepath.Join(dir, frozenName+".tmp")
	if err := copyInto(ctx, conn, temp); err != nil {
		return snapshotFailed(ctx, path, dir, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "journal_mode"), []byte(journal), 0o600); err != nil {
		return snapshotFailed(ctx, path, dir, err)
	}
	if err := os.Rename(temp, filepath.Join(dir, frozenName)); err != nil {
		return snapshotFailed(ctx, path, dir, err)
	}
	return syncPath(dir)
}

// snapshotFailed names the place that is full: not the database's, as SQLite's
// own words would have it, but the one that the copy goes to.
func snapshotFailed(ctx context.Context, path, dir string, err error) error {
	fault, ok := errors.AsType[*sqlite.Error](err)
	full := ok && fault.Code()&0xff == sqlite3.SQLITE_FULL || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
	if full && ctx.Err() == nil {
		return fmt.Errorf("take a snapshot of %s: there is no room for it in the run's directory %s: make room there and continue the run (%w)", path, dir, err)
	}
	return explainAt(ctx, path, fmt.Errorf("take a snapshot of %s: %w", path, err))
}

// copyInto makes a durable copy that only the own user can read.
func copyInto(ctx context.Context, conn execer, path string) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, "VACUUM INTO "+literal(path)); err != nil {
		os.Remove(path)
		return err
	}
	return syncPath(path)
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Open implements dump.Engine.
func (Engine) Open(ctx context.Context, dir string, _ io.Closer) (dump.Source, error) {
	path := filepath.Join(dir, frozenName)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, sdk.Permanent(fmt.Errorf("the run's snapshot %s is gone: start the task again", path))
	}
	// Nobody writes the copy: no locks are needed.
	db, conn, err := connect(ctx, path, "mode=ro&immutable=1")
	if err != nil {
		return nil, err
	}
	return &source{path: path, db: db, conn: conn}, nil
}
