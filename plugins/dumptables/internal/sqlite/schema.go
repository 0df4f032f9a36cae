package sqlite

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
)

// script writes one file of a dump: one transaction, within which foreign keys
// and checks do not hold up rows that the source has too.
type script struct {
	w       *bufio.Writer
	written int64 // about: what has left the buffer
}

func newScript(w io.Writer) *script {
	s := &script{}
	s.w = bufio.NewWriterSize(countTo{w, &s.written}, 32<<10)
	return s
}

// text writes; errors stick to the buffer and show at end.
func (s *script) text(text string) { s.w.WriteString(text) }

func (s *script) begin(title string, before ...string) {
	oneLine := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, title)
	s.text("-- " + oneLine + "\n")
	for _, statement := range before {
		s.text(statement + ";\n")
	}
	s.text("PRAGMA foreign_keys=OFF;\nPRAGMA ignore_check_constraints=ON;\nBEGIN;\n")
}

func (s *script) end() error {
	s.text("COMMIT;\nPRAGMA ignore_check_constraints=OFF;\n")
	return s.w.Flush()
}

type countTo struct {
	w io.Writer
	n *int64
}

func (c countTo) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	*c.n += int64(n)
	return n, err
}

// WriteSchema implements dump.Source.
func (s *source) WriteSchema(ctx context.Context, w io.Writer, selection dump.Selection) error {
	var before []string
	// These hold for a new database and are ignored by one that exists.
	for _, name := range []string{"encoding", "page_size", "auto_vacuum"} {
		value, err := s.pragma(ctx, name)
		if err != nil {
			return err
		}
		before = append(before, fmt.Sprintf("PRAGMA %s=%s", name, literal(value)))
	}
	entries, err := s.schema(ctx, "table")
	if err != nil {
		return err
	}
	out := newScript(w)
	out.begin("tables, without rows", before...)
	for _, e := range entries {
		if slices.Contains(selection.Tables, e.name) {
			out.text("DROP TABLE IF EXISTS " + quoted(e.name) + ";\n")
			out.text(terminated(e.sql))
		}
	}
	return out.end()
}

// WriteRest implements dump.Source. Indexes, views and triggers come in the order
// of the snapshot's schema. SQLite resolves what a view or a trigger refers to
// when it is used, except that an INSTEAD OF trigger needs its view, which the
// schema always has before it.
func (s *source) WriteRest(ctx context.Context, w io.Writer, selection dump.Selection) error {
	out := newScript(w)
	out.begin("what comes after the rows")
	if err := s.writeSequences(ctx, out, selection); err != nil {
		return err
	}
	entries, err := s.schema(ctx, "table", "index", "view", "trigger")
	if err != nil {
		return err
	}
	for _, e := range entries {
		v, isVirtual := parseVirtual(e.sql)
		if isVirtual && v.module == "fts5" && slices.Contains(selection.Tables, e.name) {
			if err := s.writeFullText(ctx, out, e.name, v); err != nil {
				return err
			}
		}
	}
	if selection.Mode == dump.Recreate {
		for _, e := range entries {
			switch {
			case e.kind == "table":
			case e.kind == "view" && slices.Contains(selection.Views, e.name):
				out.text("DROP VIEW IF EXISTS " + quoted(e.name) + ";\n" + terminated(e.sql))
			case e.kind != "view" && (slices.Contains(selection.Tables, e.table) || slices.Contains(selection.Views, e.table)):
				out.text(terminated(e.sql))
			}
		}
		if err := s.writeStatistics(ctx, out, selection); err != nil {
			return err
		}
		if selection.Whole {
			for _, name := range []string{"user_version", "application_id"} {
				value, err := s.pragma(ctx, name)
				if err != nil {
					return err
				}
				out.text("PRAGMA " + name + "=" + value + ";\n")
			}
		}
	}
	return out.end()
}

// writeSequences sets what AUTOINCREMENT has counted to.
func (s *source) writeSequences(ctx context.Context, out *script, selection dump.Selection) error {
	return s.copyOwn(ctx, out, "sqlite_sequence", "name", []string{"name", "seq"}, selection)
}

// writeStatistics copies what ANALYZE has found, so that the planner chooses as
// before. ANALYZE of the schema alone makes the table.
func (s *source) writeStatistics(ctx context.Context, out *script, selection dump.Selection) error {
	var there bool
	err := s.conn.QueryRowContext(ctx, `SELECT count(*) > 0 FROM sqlite_master WHERE name = 'sqlite_stat1'`).Scan(&there)
	if err != nil {
		return explain(ctx, err)
	}
	if !there {
		return nil
	}
	out.text("ANALYZE sqlite_master;\n")
	return s.copyOwn(ctx, out, "sqlite_stat1", "tbl", []string{"tbl", "idx", "stat"}, selection)
}

// copyOwn writes the rows of one of SQLite's own tables that are about selected
// tables.
func (s *source) copyOwn(ctx context.Context, out *script, table, key string, columns []string, selection dump.Selection) error {
	var there bool
	err := s.conn.QueryRowContext(ctx, `SELECT count(*) > 0 FROM sqlite_master WHERE name = ?`, table).Scan(&there)
	if err != nil || !there {
		return explain(ctx, err)
	}
	for _, name := range selection.Tables {
		if table != "sqlite_sequence" || s.counts(ctx, name) {
			out.text(fmt.Sprintf("DELETE FROM %s WHERE %s=%s;\n", table, key, literal(name)))
		}
	}
	values := make([]any, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	return s.each(ctx, func(rows *sql.Rows) error {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if name, ok := values[0].(string); !ok || !slices.Contains(selection.Tables, name) {
			return nil
		}
		out.text("INSERT INTO " + table + "(" + strings.Join(columns, ",") + ") VALUES")
		if err := writeRow(out.w, values, false, nil); err != nil {
			return err
		}
		out.text(";\n")
		return nil
	}, "SELECT +"+strings.Join(columns, ", +")+" FROM "+table+" ORDER BY rowid")
}

// counts reports whether the table has a row in sqlite_sequence.
func (s *source) counts(ctx context.Context, table string) bool {
	var there bool
	err := s.conn.QueryRowContext(ctx, `SELECT count(*) > 0 FROM sqlite_sequence WHERE name = ?`, table).Scan(&there)
	return err == nil && there
}

// writeFullText rebuilds an index over another table's rows and sets the options
// that were given to it later.
func (s *source) writeFullText(ctx context.Context, out *script, table string, v virtual) error {
	q := quoted(table)
	if v.external() {
		out.text(fmt.Sprintf("INSERT INTO %s(%s) VALUES('rebuild');\n", q, q))
	}
	return s.each(ctx, func(rows *sql.Rows) error {
		var key string
		var value any
		if err := rows.Scan(&key, &value); err != nil {
			return err
		}
		out.text(fmt.Sprintf("INSERT INTO %s(%s, rank) VALUES(%s,", q, q, literal(key)))
		if err := writeValue(out.w, value); err != nil {
			return err
		}
		out.text(");\n")
		return nil
	}, "SELECT k, +v FROM "+quoted(table+"_config")+" WHERE k <> 'version'")
}
