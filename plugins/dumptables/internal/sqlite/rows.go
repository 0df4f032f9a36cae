package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/sdk"
)

// One INSERT takes so many rows or bytes, whatever comes first: large enough that
// loading is fast, small enough to be read and held.
const (
	insertRows  = 200
	insertBytes = 128 << 10
)

// reportRows is how often WriteRows calls seen.
const reportRows = 500

// CountRows implements dump.Source.
func (s *source) CountRows(ctx context.Context, table string) (int64, error) {
	if _, err := s.shape(ctx, table); err != nil {
		return 0, err
	}
	var n int64
	if err := s.conn.QueryRowContext(ctx, "SELECT count(*) FROM "+quoted(table)).Scan(&n); err != nil {
		return 0, explain(ctx, fmt.Errorf("count the rows of table %q: %w", table, err))
	}
	return n, nil
}

// WriteRows implements dump.Source.
func (s *source) WriteRows(ctx context.Context, w io.Writer, table string, _ dump.Range, seen func(int64)) (dump.Rows, error) {
	shape, err := s.shape(ctx, table)
	if err != nil {
		return dump.Rows{}, err
	}
	out := newScript(w)
	out.begin("rows of table " + table)
	var rows int64
	if !shape.external { // else its rows are another table's, and the index is rebuilt at the end
		if rows, err = s.writeRows(ctx, out, table, shape, seen); err != nil {
			return dump.Rows{}, err
		}
	}
	return dump.Rows{Rows: rows}, out.end()
}

func (s *source) writeRows(ctx context.Context, out *script, table string, shape shape, seen func(int64)) (int64, error) {
	decode, err := s.decoder(ctx)
	if err != nil {
		return 0, err
	}
	rows, err := s.conn.QueryContext(ctx, selectRows(table, shape, decode != nil))
	if err != nil {
		return 0, explain(ctx, fmt.Errorf("read table %q: %w", table, err))
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	values := make([]any, len(names))
	into := make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	insert := insertInto(table, shape)
	var n, inStatement, started int64
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return n, fmt.Errorf("read row %d: %w", n+1, err)
		}
		if inStatement == 0 || inStatement >= insertRows || out.written-started >= insertBytes {
			if n > 0 {
				out.text(";\n")
			}
			out.text(insert)
			inStatement, started = 0, out.written
		} else {
			out.text(",\n")
		}
		if err := writeRow(out.w, values, shape.rowid != "", decode); err != nil {
			return n, sdk.Permanent(fmt.Errorf("row %d: %w", n+1, err))
		}
		inStatement++
		if n++; n%reportRows == 0 {
			if ctx.Err() != nil {
				return n, context.Cause(ctx)
			}
			seen(n)
		}
	}
	if err := rows.Err(); err != nil {
		return n, explain(ctx, fmt.Errorf("read row %d: %w", n+1, err))
	}
	if n > 0 {
		out.text(";\n")
	}
	return n, nil
}

// selectRows reads in the order of the rowid or the key. A unary plus takes the
// declared type from a column, which the driver would act upon (DATE), and no
// more. In a UTF-16 database texts come as the bytes that are stored, each column
// with its type before it: what is not valid would be changed on the way.
func selectRows(table string, shape shape, utf16 bool) string {
	var b strings.Builder
	b.WriteString("SELECT ")
	if shape.rowid != "" {
		b.WriteString("+" + shape.rowid + ", ")
	}
	for i, column := range shape.columns {
		if i > 0 {
			b.WriteString(", ")
		}
		c := quoted(column)
		if utf16 {
			fmt.Fprintf(&b, "typeof(%s), CASE typeof(%s) WHEN 'text' THEN CAST(%s AS BLOB) ELSE %s END", c, c, c, c)
		} else {
			b.WriteString("+" + c)
		}
	}
	b.WriteString(" FROM " + quoted(table))
	if !shape.virtual {
		b.WriteString(" NOT INDEXED") // a covering index would give another order
	}
	return b.String()
}

func insertInto(table string, shape shape) string {
	names := make([]string, 0, len(shape.columns)+1)
	if shape.rowid != "" {
		names = append(names, shape.rowid)
	}
	for _, column := range shape.columns {
		names = append(names, quoted(column))
	}
	return "INSERT INTO " + quoted(table) + "(" + strings.Join(names, ",") + ") VALUES\n"
}

func writeRow(w *bufio.Writer, values []any, rowid bool, decode textDecoder) error {
	w.WriteByte('(')
	for i := 0; i < len(values); i++ {
		if i > 0 {
			w.WriteByte(',')
		}
		if decode == nil || rowid && i == 0 {
			if err := writeValue(w, values[i]); err != nil {
				return err
			}
			continue
		}
		kind := values[i]
		i++
		if stored, isBytes := values[i].([]byte); isBytes && kind == "text" {
			text, ok := decode(stored)
			if err := writeText(w, text, stored, ok); err != nil {
				return err
			}
		} else if err := writeValue(w, values[i]); err != nil {
			return err
		}
	}
	w.WriteByte(')')
	return nil
}
