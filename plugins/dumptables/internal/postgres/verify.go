package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/sdk"
)

// target is a table or sequence that is loaded into.
type target struct {
	relation
	member    bool     // of an extension, whose own rows stay
	condition string   // of those that are not the extension's
	columns   []string // quoted, without generated ones
}

var errNoTable = errors.New("it is not there any more")

// lookUp finds a table by its title.
func lookUp(ctx context.Context, conn *pgx.Conn, table string) (target, error) {
	rows, err := conn.Query(ctx, `SELECT c.oid, n.nspname, c.relname, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r','S') AND position(replace(c.relname, '"', '') IN replace($1::text, '"', '')) > 0`, table)
	if err != nil {
		return target{}, wrap("look for the table", err)
	}
	var t target
	found := false
	var r relation
	_, err = pgx.ForEachRow(rows, []any{&r.oid, &r.schema, &r.name, &r.kind}, func() error {
		if title(r.schema, r.name) == table {
			t.relation, found = r, true
		}
		return nil
	})
	switch {
	case err != nil:
		return t, wrap("look for the table", err)
	case !found:
		return t, sdk.Permanent(errNoTable)
	}
	var condition *string
	err = conn.QueryRow(ctx, `SELECT e.extconfig IS NOT NULL, e.extcondition[array_position(e.extconfig, c.oid)],
		ARRAY(SELECT quote_ident(attname) FROM pg_attribute a WHERE a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum)
		FROM pg_class c LEFT JOIN pg_extension e ON c.oid = ANY(e.extconfig) WHERE c.oid = $1`, t.oid).Scan(&t.member, &condition, &t.columns)
	if err != nil {
		return t, wrap("look at the table", err)
	}
	if condition != nil {
		t.condition = *condition
	}
	return t, nil
}

// verify reads the table as pg_dump does and compares. In a database that had the
// table already, other columns may be there too: then rows are counted.
func verify(ctx context.Context, conn *pgx.Conn, l dump.Loading, table dump.Table, t target) error {
	var rows int64
	sum := ""
	switch {
	case t.kind == kindSequence && l.Manifest.Mode == dump.DataOnly:
		return nil
	case l.Manifest.Mode == dump.DataOnly:
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM ONLY "+t.sql()+" "+t.condition).Scan(&rows); err != nil {
			return wrap("count the rows", err)
		}
	default:
		s := &summer{sum: dump.NewChecksum()}
		if err := s.read(ctx, conn, t); err != nil {
			return wrap("read it again", err)
		}
		rows, sum = s.rows, s.sum.String()
	}
	if rows != table.Rows {
		return sdk.Permanent(fmt.Errorf("it has %d rows after loading, the manifest says %d", rows, table.Rows))
	}
	if sum != "" && table.Checksum != "" && sum != table.Checksum {
		return sdk.Permanent(fmt.Errorf("its %d rows have the checksum %s after loading, the manifest says %s: they are not the same", rows, sum, table.Checksum))
	}
	return nil
}

// asDumped are the settings of a session that decide how values look, as pg_dump
// and this package set them for a dump.
const asDumped = "SET datestyle=ISO; SET intervalstyle=postgres; SET extra_float_digits=3; SET timezone=UTC; SET bytea_output=hex; SET lc_monetary='C'; SET search_path=''; SET row_security=off"

// summer counts and sums up lines of COPY, as filter does.
type summer struct {
	sum  *dump.Checksum
	rows int64
}

func (s *summer) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			s.sum.Bytes(p)
			break
		}
		s.sum.Bytes(p[:i])
		s.sum.Row()
		s.rows++
		p = p[i+1:]
	}
	return n, nil
}

func (s *summer) read(ctx context.Context, conn *pgx.Conn, t target) error {
	if _, err := conn.PgConn().Exec(ctx, asDumped).ReadAll(); err != nil {
		return err
	}
	sequences := []string{t.sql()}
	if t.kind != kindSequence {
		columns := strings.Join(t.columns, ", ")
		what := t.sql()
		switch {
		case t.condition != "":
			what = "(SELECT " + columns + " FROM ONLY " + t.sql() + " " + t.condition + ")"
		case columns != "": // else its rows are empty
			what += " (" + columns + ")"
		}
		if _, err := conn.PgConn().CopyTo(ctx, s, "COPY "+what+" TO STDOUT"); err != nil {
			return err
		}
		rows, err := conn.Query(ctx, `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_depend d JOIN pg_class c ON c.oid = d.objid JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 AND d.refobjsubid > 0 AND d.deptype IN ('a','i') AND c.relkind = 'S'`, t.oid)
		if err != nil {
			return err
		}
		if sequences, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return err
		}
	}
	for _, sequence := range sequences {
		var last int64
		var called bool
		if err := conn.QueryRow(ctx, "SELECT last_value, is_called FROM "+sequence).Scan(&last, &called); err != nil {
			return err
		}
		addSequence(s.sum, strconv.AppendInt(nil, last, 10), called)
	}
	return nil
}
