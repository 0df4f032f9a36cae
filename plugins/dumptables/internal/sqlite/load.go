package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/sdk"
)

// Load works on a file beside the database and renames it at the end: the
// database is what it was or all of the dump. A dump of the whole database
// replaces it; a partial one and rows alone go into a copy of it, so that other
// tables stay. Until the rename the database is locked against writers; those
// that wait then fail or write into the file that is going away, so nobody should
// write while a database is restored over.
func (Engine) Load(ctx context.Context, l dump.Loading) error {
	path, err := pathOf(l.To)
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return sdk.Permanent(fmt.Errorf("the directory %s of the database to load into is not there: make it first", filepath.Dir(path)))
	}
	old, err := openExisting(ctx, path)
	if err != nil {
		return err
	}
	defer old.close()
	if l.Manifest.Mode == dump.DataOnly && old == nil {
		return sdk.Permanent(fmt.Errorf("there is no database %s: a dump of the mode data_only holds rows alone and needs one with tables", path))
	}
	if l.Manifest.Mode == dump.Recreate && old.holdsObjects() && !l.Overwrite {
		return sdk.Permanent(fmt.Errorf("the database %s is not empty: load into another, or set overwrite: true", path))
	}
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".restoring")
	removeDatabase(temp)
	defer removeDatabase(temp) // after the rename there is nothing left to remove
	fresh := l.Manifest.Mode == dump.Recreate && (l.Manifest.Whole || !old.holdsObjects())
	journal := l.Manifest.Properties["journal_mode"]
	if fresh {
		if err := os.WriteFile(temp, nil, 0o600); err != nil {
			return fmt.Errorf("make a database beside %s: %w", path, err)
		}
	} else {
		if err := old.copy(ctx, temp); err != nil {
			return err
		}
		journal = old.journal
	}
	if err := fill(ctx, temp, journal, l); err != nil {
		return err
	}
	if err := syncPath(temp); err != nil {
		return fmt.Errorf("make the loaded database durable: %w", err)
	}
	if err := old.retire(ctx, temp); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("put the loaded database in place: %w", err)
	}
	return syncPath(filepath.Dir(path))
}

// removeDatabase removes a database's file and what SQLite keeps beside it.
func removeDatabase(path string) {
	for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
		os.Remove(path + suffix)
	}
}

// existing is the database that is loaded into, locked against writers. A nil
// one is a database that is not there.
type existing struct {
	path    string
	db      *sql.DB
	conn    *sql.Conn
	journal string
	objects int
}

func openExisting(ctx context.Context, path string) (*existing, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		return nil, nil
	}
	if err := mustBeFile(path); err != nil {
		return nil, err
	}
	db, conn, err := connect(ctx, path, "mode=rw")
	if err != nil {
		return nil, err
	}
	e := &existing{path: path, db: db, conn: conn}
	read := func() error {
		if err := conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&e.journal); err != nil {
			return err
		}
		if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
			return err
		}
		return conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master").Scan(&e.objects)
	}
	if err := read(); err != nil {
		e.close()
		return nil, explainAt(ctx, path, fmt.Errorf("open database %s to load into it: %w", path, err))
	}
	return e, nil
}

func (e *existing) holdsObjects() bool { return e != nil && e.objects > 0 }

func (e *existing) close() {
	if e != nil && e.db != nil {
		e.conn.Close()
		e.db.Close()
		e.db = nil
	}
}

func (e *existing) copy(ctx context.Context, to string) error {
	if e == nil {
		return os.WriteFile(to, nil, 0o600)
	}
	db, conn, err := connect(ctx, e.path, "mode=ro") // VACUUM does not work within the transaction of the lock
	if err != nil {
		return err
	}
	defer db.Close()
	defer conn.Close()
	if err := copyInto(ctx, conn, to); err != nil {
		return explain(ctx, fmt.Errorf("copy %s: %w", e.path, err))
	}
	return nil
}

// retire gives up the lock and leaves nothing beside the old file that SQLite
// would take for a part of the new one: a WAL that is left would be played into it.
// The new file gets the old one's owner and mode.
func (e *existing) retire(ctx context.Context, successor string) error {
	if e == nil {
		return nil
	}
	if _, err := e.conn.ExecContext(ctx, "ROLLBACK"); err != nil {
		return explain(ctx, fmt.Errorf("unlock %s: %w", e.path, err))
	}
	if e.journal == "wal" {
		var now string
		if err := e.conn.QueryRowContext(ctx, "PRAGMA journal_mode=DELETE").Scan(&now); err != nil {
			return explain(ctx, fmt.Errorf("replace %s, which another program has open: %w", e.path, err))
		}
	}
	e.close()
	info, err := os.Stat(e.path)
	if err != nil {
		return fmt.Errorf("look at the database that is replaced: %w", err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && (int(stat.Uid) != os.Getuid() || int(stat.Gid) != os.Getgid()) {
		if err := os.Chown(successor, int(stat.Uid), int(stat.Gid)); err != nil {
			return fmt.Errorf("give the loaded database the owner of the old one: %w", err)
		}
	}
	return os.Chmod(successor, info.Mode().Perm())
}

// fill loads the dump's files into the database at path, which nobody else uses,
// and checks what came of it.
func fill(ctx context.Context, path, journal string, l dump.Loading) error {
	db, conn, err := connect(ctx, path, "mode=rw")
	if err != nil {
		return err
	}
	defer db.Close()
	defer conn.Close()
	s := &source{path: path, db: db, conn: conn}
	// A crash throws the file away.
	for _, pragma := range []string{"journal_mode=OFF", "synchronous=OFF"} {
		if _, err := conn.ExecContext(ctx, "PRAGMA "+pragma); err != nil {
			return explain(ctx, fmt.Errorf("prepare the database: %w", err))
		}
	}
	var triggers []entry
	if l.Manifest.Mode == dump.DataOnly {
		if triggers, err = s.makeReady(ctx, l); err != nil {
			return err
		}
	}
	var before int64
	for _, file := range l.Manifest.Files() {
		if err := loadFile(ctx, conn, l, file.File, before); err != nil {
			return err
		}
		before += file.Bytes
	}
	for _, t := range triggers {
		if _, err := conn.ExecContext(ctx, t.sql); err != nil {
			return explain(ctx, fmt.Errorf("make trigger %q again: %w", t.name, err))
		}
	}
	if err := s.verify(ctx, l); err != nil {
		return err
	}
	if journal != "wal" {
		journal = "delete"
	}
	if _, err := conn.ExecContext(ctx, "PRAGMA journal_mode="+journal); err != nil {
		return explain(ctx, fmt.Errorf("set the journal mode: %w", err))
	}
	if err := s.Close(); err != nil {
		return explain(ctx, fmt.Errorf("close the loaded database: %w", err))
	}
	return nil
}

// What a dump consists of; anything else was not written by this plugin.
var dumpVerbs = []string{"pragma", "begin", "commit", "drop", "create", "insert", "delete", "analyze"}

func loadFile(ctx context.Context, conn *sql.Conn, l dump.Loading, name string, before int64) error {
	f, err := dump.OpenFile(l.Dir, name)
	if err != nil {
		return fmt.Errorf("load the dump: %w", err)
	}
	defer f.Close()
	script := newStatements(f)
	for n := 1; ; n++ {
		statement, err := script.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return sdk.Permanent(fmt.Errorf("load %s, statement %d: %w", name, n, err))
		}
		text := string(statement)
		verb := strings.ToLower(text[:max(0, strings.IndexFunc(text, func(r rune) bool { return r > 0x7f || !isWord(byte(r)) }))])
		if !slices.Contains(dumpVerbs, verb) {
			return sdk.Permanent(fmt.Errorf("load %s, statement %d: %q is no statement of a dump", name, n, verb))
		}
		if _, err := conn.ExecContext(ctx, text); err != nil {
			return explain(ctx, fmt.Errorf("load %s, statement %d: %w", name, n, err))
		}
		l.Progress(before+f.Done(), name)
	}
}

// makeReady empties the tables, or refuses those that hold rows, and takes away
// the triggers, which must not fire while rows are loaded. It returns them.
func (s *source) makeReady(ctx context.Context, l dump.Loading) ([]entry, error) {
	encoding, err := s.pragma(ctx, "encoding")
	if err != nil {
		return nil, err
	}
	if want := l.Manifest.Properties["encoding"]; want != encoding {
		return nil, sdk.Permanent(fmt.Errorf("the database is in %s, the dump in %s: rows alone cannot be loaded", encoding, want))
	}
	names := map[string]bool{}
	for _, table := range l.Manifest.Tables {
		names[strings.ToLower(table.Table)] = true
		shape, err := s.shape(ctx, table.Table)
		if err != nil {
			return nil, fmt.Errorf("the database does not fit the dump: %w", err)
		}
		rows, err := s.CountRows(ctx, table.Table)
		switch {
		case err != nil:
			return nil, err
		case rows == 0 || shape.external:
			continue
		case !l.Overwrite:
			return nil, sdk.Permanent(fmt.Errorf("table %q is not empty: empty it, or set overwrite: true", table.Table))
		}
	}
	triggers, err := s.schema(ctx, "trigger")
	if err != nil {
		return nil, err
	}
	triggers = slices.DeleteFunc(triggers, func(t entry) bool { return !names[strings.ToLower(t.table)] })
	for _, t := range triggers {
		if _, err := s.conn.ExecContext(ctx, "DROP TRIGGER "+quoted(t.name)); err != nil {
			return nil, explain(ctx, fmt.Errorf("take trigger %q away: %w", t.name, err))
		}
	}
	if _, err := s.conn.ExecContext(ctx, "PRAGMA foreign_keys=OFF"); err != nil {
		return nil, explain(ctx, err)
	}
	for _, table := range l.Manifest.Tables {
		shape, err := s.shape(ctx, table.Table)
		if err != nil {
			return nil, err
		}
		if shape.external {
			continue
		}
		if _, err := s.conn.ExecContext(ctx, "DELETE FROM "+quoted(table.Table)); err != nil {
			return nil, explain(ctx, fmt.Errorf("empty table %q: %w", table.Table, err))
		}
	}
	return triggers, nil
}

// verify counts what is there and checks the foreign keys.
func (s *source) verify(ctx context.Context, l dump.Loading) error {
	names := make([]string, 0, len(l.Manifest.Tables))
	for _, table := range l.Manifest.Tables {
		names = append(names, table.Table)
		shape, err := s.shape(ctx, table.Table)
		if err != nil {
			return err
		}
		if shape.external {
			continue
		}
		rows, err := s.CountRows(ctx, table.Table)
		if err != nil {
			return err
		}
		if rows != table.Rows {
			return sdk.Permanent(fmt.Errorf("table %q has %d rows after loading, the manifest says %d", table.Table, rows, table.Rows))
		}
	}
	if l.Manifest.BrokenReferences == nil {
		return nil
	}
	broken, err := brokenReferences(ctx, s.conn, names)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case l.Manifest.Whole && (err != nil || broken != *l.Manifest.BrokenReferences):
		if err == nil {
			err = errors.New(strconv.FormatInt(broken, 10) + " rows have a foreign key that points nowhere, in the source it was " +
				strconv.FormatInt(*l.Manifest.BrokenReferences, 10))
		}
		return sdk.Permanent(fmt.Errorf("check the loaded database: %w", err))
	case err != nil:
		l.Warn("the foreign keys could not be checked: " + err.Error())
	case broken > 0:
		l.Warn(fmt.Sprintf("%d rows have a foreign key that points nowhere", broken))
	}
	return nil
}
