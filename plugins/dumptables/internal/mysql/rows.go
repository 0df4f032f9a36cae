package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
)

const (
	// insertBytes and insertRows end an INSERT, whatever comes first.
	insertBytes = 512 << 10
	insertRows  = 5000
	// plainRow is how large a row may be to go into an INSERT as it is: written in
	// hexadecimal it has to fit into the packets of an old server (4 MiB).
	plainRow = 1 << 20
	// heldRow is how large a row may be to be held in memory.
	heldRow = 4 << 20
	// reportRows is how often WriteRows calls seen.
	reportRows = 1000
)

// WriteRows implements dump.Source.
func (s *source) WriteRows(ctx context.Context, w io.Writer, table string, within dump.Range, seen func(int64)) (dump.Rows, error) {
	if _, err := s.unchanged(ctx, table); err != nil {
		return dump.Rows{}, err
	}
	shape, err := s.conn.shape(ctx, table, s.entry(table).kind == typeVersioned)
	if err != nil {
		return dump.Rows{}, s.explain(ctx, s.altered(table, err))
	}
	shape.within = within
	out := newScript(w)
	mode := strictMode
	if shape.loose {
		mode = looseMode
	}
	out.begin("rows of table "+table, mode)
	if shape.history {
		out.text("SET SYSTEM_VERSIONING_INSERT_HISTORY=1;\n")
	}
	out.text("START TRANSACTION;\n")
	r := &rowWriter{conn: s.conn, shape: shape, out: out, sum: dump.NewChecksum(), seen: seen}
	if err := r.all(ctx); err != nil {
		return dump.Rows{}, s.explain(ctx, s.altered(table, err))
	}
	out.text("COMMIT;\n")
	if shape.history {
		out.text("SET SYSTEM_VERSIONING_INSERT_HISTORY=0;\n")
	}
	return r.rows(), out.end()
}

// rowWriter reads all rows of a table, writes them and sums them up.
type rowWriter struct {
	conn  *conn
	shape shape
	out   *script // nil: they are summed up only
	sum   *dump.Checksum
	seen  func(int64)

	n     int64
	buf   []byte
	inRow int // rows of the INSERT that is open, and its bytes
	size  int
	later []string // where rows are that were too large to be held
}

func (r *rowWriter) rows() dump.Rows {
	return dump.Rows{Rows: r.n, Checksum: r.sum.String()}
}

func (r *rowWriter) all(ctx context.Context) error {
	// Values come as they are stored, in whatever character set that is.
	if err := r.conn.exec(ctx, "SET character_set_results=NULL"); err != nil {
		return err
	}
	var values []sql.RawBytes
	var into []any
	var order int64
	err := r.conn.each(ctx, func(rows *sql.Rows) error {
		if values == nil {
			columns, err := rows.Columns()
			if err != nil {
				return err
			}
			values, into = make([]sql.RawBytes, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		order++
		return r.row(ctx, values, order-1)
	}, r.shape.query())
	if err != nil {
		return fmt.Errorf("read row %d: %w", r.n+1, err)
	}
	r.closeInsert()
	for _, where := range r.later {
		if err := r.large(ctx, where); err != nil {
			return fmt.Errorf("read a large row: %w", err)
		}
	}
	return r.conn.exec(ctx, "SET character_set_results=utf8mb4")
}

func (r *rowWriter) row(ctx context.Context, values []sql.RawBytes, order int64) error {
	size, err := strconv.ParseInt(string(values[len(values)-1]), 10, 64)
	if err != nil {
		return errors.New("the server did not tell the size of the row")
	}
	if size > heldRow {
		r.later = append(r.later, r.where(values, order))
		return nil
	}
	at := 0
	for i := range r.shape.columns {
		r.sum.Value(values[at])
		at += r.shape.columns[i].fields()
	}
	r.sum.Row()
	if err := r.count(ctx); err != nil || r.out == nil {
		return err
	}
	if size > plainRow {
		r.closeInsert()
		r.held(values)
		return nil
	}
	r.buf = r.buf[:0]
	if r.inRow == 0 {
		r.out.text(r.shape.insert())
	} else {
		r.buf = append(r.buf, ",\n"...)
	}
	at = 0
	for i := range r.shape.columns {
		c := &r.shape.columns[i]
		r.buf = append(r.buf, "(,"[min(i, 1)])
		r.buf = c.appendValue(r.buf, values[at], values[min(at+1, len(values)-1)])
		at += c.fields()
	}
	r.buf = append(r.buf, ')')
	r.out.w.Write(r.buf)
	r.inRow++
	if r.size += len(r.buf); r.size >= insertBytes || r.inRow >= insertRows {
		r.closeInsert()
	}
	return nil
}

func (r *rowWriter) count(ctx context.Context) error {
	if r.n++; r.n%reportRows == 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.seen(r.n)
	}
	return nil
}

func (r *rowWriter) closeInsert() {
	if r.inRow > 0 {
		r.out.text(";\n")
	}
	r.inRow, r.size = 0, 0
}
