package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/sdk"
)

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// source implements dump.Source over a frozen copy.
type source struct {
	path string
	db   *sql.DB
	conn *sql.Conn
}

func (s *source) Close() error { return errors.Join(s.conn.Close(), s.db.Close()) }

// each calls fn for each row of a query; fn scans.
func (s *source) each(ctx context.Context, fn func(*sql.Rows) error, query string, args ...any) error {
	rows, err := s.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return explain(ctx, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return explain(ctx, rows.Err())
}

// entry is a row of the schema.
type entry struct {
	kind, name, table, sql string
}

// schema reads the entries of some kinds in the order of their creation.
func (s *source) schema(ctx context.Context, kinds ...string) ([]entry, error) {
	var entries []entry
	err := s.each(ctx, func(rows *sql.Rows) error {
		var e entry
		if err := rows.Scan(&e.kind, &e.name, &e.table, &e.sql); err != nil {
			return err
		}
		if slices.Contains(kinds, e.kind) {
			entries = append(entries, e)
		}
		return nil
	}, `SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid`)
	if err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	return entries, nil
}

// Objects implements dump.Source. Shadow tables belong to their virtual table and
// are not named.
func (s *source) Objects(ctx context.Context) ([]dump.Object, error) {
	kinds := map[string]string{}
	err := s.each(ctx, func(rows *sql.Rows) error {
		var name, kind string
		if err := rows.Scan(&name, &kind); err != nil {
			return err
		}
		kinds[name] = kind
		return nil
	}, `SELECT name, type FROM pragma_table_list WHERE schema = 'main'`)
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	sizes := map[string]int64{}
	err = s.each(ctx, func(rows *sql.Rows) error {
		var name string
		var bytes int64
		if err := rows.Scan(&name, &bytes); err != nil {
			return err
		}
		sizes[name] += bytes
		return nil
	}, `SELECT name, pgsize FROM dbstat WHERE aggregate = 1`)
	if err != nil {
		return nil, fmt.Errorf("measure the tables: %w", err)
	}
	entries, err := s.schema(ctx, "table", "view")
	if err != nil {
		return nil, err
	}
	var objects []dump.Object
	for _, e := range entries {
		if own(e.name) || kinds[e.name] == "shadow" {
			continue
		}
		object := dump.Object{Name: e.name, View: e.kind == "view", Bytes: sizes[e.name]}
		if v, ok := parseVirtual(e.sql); ok {
			object.Refused = v.refused()
			for name, kind := range kinds {
				if kind == "shadow" && strings.HasPrefix(name, e.name+"_") {
					object.Bytes += sizes[name]
				}
			}
		}
		objects = append(objects, object)
	}
	return objects, nil
}

// own reports whether the table is SQLite's own: such names are reserved.
func own(name string) bool { return len(name) >= 7 && strings.EqualFold(name[:7], "sqlite_") }

// shape is what has to be known of a table to read and write its rows.
type shape struct {
	columns []string // without generated and hidden ones
	rowid   string   // the name that reaches an implicit rowid, or ""
	virtual bool
	// external: a full-text index over the rows of another table.
	external bool
}

func (s *source) shape(ctx context.Context, table string) (shape, error) {
	var out shape
	var withoutRowid, keyed, keyIndex bool
	var create string
	err := s.conn.QueryRowContext(ctx, `SELECT l.wr, m.sql FROM pragma_table_list AS l
		JOIN sqlite_master AS m ON m.type = 'table' AND m.name = l.name
		WHERE l.schema = 'main' AND l.name = ?`, table).Scan(&withoutRowid, &create)
	if errors.Is(err, sql.ErrNoRows) {
		return out, sdk.Permanent(fmt.Errorf("there is no table %q", table))
	}
	if err != nil {
		return out, explain(ctx, fmt.Errorf("look at table %q: %w", table, err))
	}
	taken := map[string]bool{}
	err = s.each(ctx, func(rows *sql.Rows) error {
		var name string
		var key, hidden int
		if err := rows.Scan(&name, &key, &hidden); err != nil {
			return err
		}
		if hidden == 0 {
			out.columns = append(out.columns, name)
		}
		keyed = keyed || key > 0
		taken[strings.ToLower(name)] = true
		return nil
	}, `SELECT name, pk, hidden FROM pragma_table_xinfo(?)`, table)
	if err != nil {
		return out, fmt.Errorf("look at the columns of table %q: %w", table, err)
	}
	if len(out.columns) == 0 {
		return out, sdk.Permanent(fmt.Errorf("table %q has no columns that can be dumped", table))
	}
	if v, ok := parseVirtual(create); ok {
		out.virtual, out.external = true, v.external()
		if v.module == "fts5" {
			out.rowid = "rowid"
		}
		return out, nil
	}
	if withoutRowid {
		return out, nil
	}
	if keyed {
		// A primary key without an index of its own is an alias of the rowid.
		err := s.conn.QueryRowContext(ctx, `SELECT count(*) > 0 FROM pragma_index_list(?) WHERE origin = 'pk'`, table).Scan(&keyIndex)
		if err != nil {
			return out, explain(ctx, fmt.Errorf("look at the key of table %q: %w", table, err))
		}
		if !keyIndex {
			return out, nil
		}
	}
	for _, name := range []string{"rowid", "_rowid_", "oid"} {
		if !taken[name] {
			out.rowid = name
			break
		}
	}
	return out, nil
}

// pragma reads a pragma of one value as text.
func (s *source) pragma(ctx context.Context, name string) (string, error) {
	var value string
	if err := s.conn.QueryRowContext(ctx, "PRAGMA "+name).Scan(&value); err != nil {
		return "", explain(ctx, fmt.Errorf("read %s of the database: %w", name, err))
	}
	return value, nil
}

// decoder is nil for a database in UTF-8, whose texts need none.
func (s *source) decoder(ctx context.Context) (textDecoder, error) {
	encoding, err := s.pragma(ctx, "encoding")
	switch {
	case err != nil:
		return nil, err
	case strings.EqualFold(encoding, "UTF-16le"):
		return decodeUTF16(binary.LittleEndian), nil
	case strings.EqualFold(encoding, "UTF-16be"):
		return decodeUTF16(binary.BigEndian), nil
	}
	return nil, nil
}

// Facts implements dump.Source.
func (s *source) Facts(ctx context.Context) (dump.Facts, error) {
	facts := dump.Facts{Properties: map[string]string{}}
	for _, name := range []string{"encoding", "page_size", "auto_vacuum", "user_version", "application_id"} {
		value, err := s.pragma(ctx, name)
		if err != nil {
			return facts, err
		}
		facts.Properties[name] = value
	}
	// The copy itself is never in WAL mode.
	journal, err := os.ReadFile(filepath.Join(filepath.Dir(s.path), "journal_mode"))
	if err != nil {
		return facts, fmt.Errorf("read the notes of the snapshot: %w", err)
	}
	facts.Properties["journal_mode"] = string(journal)
	info, err := os.Stat(s.path)
	if err != nil {
		return facts, fmt.Errorf("look at the snapshot: %w", err)
	}
	facts.FrozenAt = info.ModTime().UTC()
	return facts, nil
}

// BrokenReferences implements dump.Source.
func (s *source) BrokenReferences(ctx context.Context, tables []string) (int64, error) {
	return brokenReferences(ctx, s.conn, tables)
}

func brokenReferences(ctx context.Context, conn *sql.Conn, tables []string) (int64, error) {
	var broken int64
	for _, table := range tables {
		var n int64
		err := conn.QueryRowContext(ctx, `SELECT count(*) FROM pragma_foreign_key_check(?)`, table).Scan(&n)
		if err != nil {
			return 0, explain(ctx, fmt.Errorf("check the foreign keys of table %q: %w", table, err))
		}
		broken += n
	}
	return broken, nil
}
