package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"
)

// compareDatabases compares two SQLite databases: what kind of database they are,
// their schema, and the rows of each table in the order of its key, each value with
// its type.
func compareDatabases(ctx context.Context, a, b string, r *report) error {
	left, err := openDatabase(a)
	if err != nil {
		return err
	}
	defer left.Close()
	right, err := openDatabase(b)
	if err != nil {
		return err
	}
	defer right.Close()
	for _, pragma := range []string{"encoding", "user_version", "application_id"} {
		var x, y string
		if err := errors.Join(left.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(&x), right.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(&y)); err != nil {
			return fmt.Errorf("read %s: %w", pragma, err)
		}
		if x != y {
			r.differ("%s is %s and %s", pragma, x, y)
		}
	}
	schemaA, err := readSchema(ctx, left)
	if err != nil {
		return fmt.Errorf("read the schema of %s: %w", a, err)
	}
	schemaB, err := readSchema(ctx, right)
	if err != nil {
		return fmt.Errorf("read the schema of %s: %w", b, err)
	}
	for _, name := range sortedKeys(schemaB) {
		if _, there := schemaA[name]; !there {
			r.differ("%s is only in %s", name, b)
		}
	}
	for _, name := range sortedKeys(schemaA) {
		one, two := schemaA[name], schemaB[name]
		switch {
		case two.sql == "":
			r.differ("%s is only in %s", name, a)
		case one.sql != two.sql:
			r.differ("%s is made otherwise:\n    %s\n    %s", name, one.sql, two.sql)
		case one.kind == "table":
			if err := compareTable(ctx, left, right, one.name, r); err != nil {
				return fmt.Errorf("compare table %q: %w", one.name, err)
			}
		}
	}
	return nil
}

func openDatabase(path string) (*sql.DB, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path}).String()+"?mode=ro&_pragma=busy_timeout(5000)")
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

type object struct{ kind, name, sql string }

// readSchema is the schema by kind and name. What SQLite keeps for itself and the
// inner tables of full-text indexes, which may be laid out in many ways, are left
// out; what AUTOINCREMENT has counted to is not.
func readSchema(ctx context.Context, db *sql.DB) (map[string]object, error) {
	rows, err := db.QueryContext(ctx, `SELECT type, name, coalesce(sql, '') FROM sqlite_master
		WHERE (name NOT LIKE 'sqlite\_%' ESCAPE '\' OR name IN ('sqlite_sequence', 'sqlite_stat1'))
		AND name NOT IN (SELECT name FROM pragma_table_list WHERE type = 'shadow')`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	objects := map[string]object{}
	for rows.Next() {
		var o object
		if err := rows.Scan(&o.kind, &o.name, &o.sql); err != nil {
			return nil, err
		}
		objects[fmt.Sprintf("%s %q", o.kind, o.name)] = o
	}
	return objects, rows.Err()
}

// query reads all columns of a table in an order that depends on the content
// alone: by the primary key where there is one, and by all columns.
func query(ctx context.Context, db *sql.DB, table string) (string, []string, error) {
	rows, err := db.QueryContext(ctx, `SELECT name, pk FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY pk = 0, pk, cid`, table)
	if err != nil {
		return "", nil, err
	}
	defer rows.Close()
	var names, columns, order []string
	keyed := false
	for rows.Next() {
		var name string
		var key int
		if err := rows.Scan(&name, &key); err != nil {
			return "", nil, err
		}
		quoted := `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		// The plus takes away the declared type, upon which the driver would act.
		columns = append(columns, "+"+quoted)
		names = append(names, name)
		keyed = keyed || key > 0
		if key > 0 || !keyed {
			order = append(order, "+"+quoted+" COLLATE BINARY")
		}
	}
	from := ` FROM "` + strings.ReplaceAll(table, `"`, `""`) + `"`
	if table == "sqlite_stat1" {
		from += ` WHERE tbl NOT IN (SELECT name FROM pragma_table_list WHERE type = 'shadow')`
	}
	return "SELECT " + strings.Join(columns, ", ") + from + " ORDER BY " + strings.Join(order, ", "), names, rows.Err()
}

func compareTable(ctx context.Context, left, right *sql.DB, table string, r *report) error {
	text, names, err := query(ctx, left, table)
	if err != nil {
		return err
	}
	rowsA, err := left.QueryContext(ctx, text)
	if err != nil {
		return err
	}
	defer rowsA.Close()
	rowsB, err := right.QueryContext(ctx, text)
	if err != nil {
		return err
	}
	defer rowsB.Close()
	before := r.differences
	var n int64
	a, b := newRow(len(names)), newRow(len(names))
	for {
		moreA, moreB := rowsA.Next(), rowsB.Next()
		if !moreA || !moreB {
			if err := errors.Join(rowsA.Err(), rowsB.Err()); err != nil {
				return err
			}
			if moreA != moreB {
				r.differ("table %q: one has more than %d rows, the other has not", table, n)
			}
			break
		}
		if err := errors.Join(rowsA.Scan(a.into...), rowsB.Scan(b.into...)); err != nil {
			return err
		}
		n++
		for i := range names {
			if !sameValue(a.values[i], b.values[i]) {
				r.differ("table %q, row %d, column %q: %s and %s", table, n, names[i], show(a.values[i]), show(b.values[i]))
				break
			}
		}
		if r.differences > before+maxShown {
			break // a row that is missing makes all after it differ
		}
	}
	r.tables++
	r.rows += n
	state := "same"
	if r.differences > before {
		state = "DIFFERENT"
	}
	fmt.Fprintf(r.out, "table %-28q %8d rows  %s\n", table, n, state)
	return nil
}

type row struct{ values, into []any }

func newRow(n int) row {
	r := row{make([]any, n), make([]any, n)}
	for i := range r.values {
		r.into[i] = &r.values[i]
	}
	return r
}

// sameValue compares type and every bit.
func sameValue(a, b any) bool {
	switch a := a.(type) {
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b)
	case float64:
		b, ok := b.(float64)
		return ok && math.Float64bits(a) == math.Float64bits(b)
	}
	if _, isBytes := b.([]byte); isBytes {
		return false
	}
	return a == b
}

func show(v any) string {
	const most = 60
	text := fmt.Sprintf("%v", v)
	switch v := v.(type) {
	case nil:
		return "NULL"
	case string:
		text = fmt.Sprintf("%q", v)
	case []byte:
		text = fmt.Sprintf("X'%x'", v)
	}
	if len(text) > most {
		text = text[:most] + "..."
	}
	return text
}

func sortedKeys(m map[string]object) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
