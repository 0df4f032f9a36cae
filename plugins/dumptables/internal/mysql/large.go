package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Rows that are too large for one statement are put together by the server that
// loads them, in variables: SET @stepd0=x'...', then SET @stepd0=CONCAT(@stepd0,
// x'...') and so on. A server whose max_allowed_packet is less than the value
// would make NULL of it without an error, so the INSERT compares the length and
// fails by a subquery with two rows.

const (
	smallPiece = 1 << 20 // of a value in one statement, on servers with packets under 16 MiB
	piece      = 2 << 20
	// readPiece is what is read at a time: the server handles the whole value for
	// each.
	readPiece = 4 * piece
	// pieceOf is how large a long value has to be to go through a variable.
	pieceOf = 64 << 10
)

func (c *conn) piece() int64 {
	if c.packet < 16<<20 {
		return smallPiece
	}
	return piece
}

// variable is what the INSERT has in place of a value that went through one.
func (c *column) variable(i int, size int64) string {
	name := "@stepd" + strconv.Itoa(i)
	value := name
	if c.json {
		value = "CONVERT(" + name + " USING utf8mb4)"
	}
	return fmt.Sprintf("IF(LENGTH(%s)=%d,%s,(SELECT 1 UNION SELECT 2))", name, size, value)
}

func (r *rowWriter) setVariable(i int, part []byte, first bool) {
	name := "@stepd" + strconv.Itoa(i)
	r.buf = append(r.buf[:0], "SET "+name+"="...)
	if !first {
		r.buf = append(r.buf, "CONCAT("+name+","...)
	}
	r.buf = appendHex(r.buf, part)
	if !first {
		r.buf = append(r.buf, ')')
	}
	r.buf = append(r.buf, ";\n"...)
	r.out.w.Write(r.buf)
	if cap(r.buf) > insertBytes*4 {
		r.buf = nil
	}
}

// held writes a row that is in memory.
func (r *rowWriter) held(values []sql.RawBytes) {
	literals := make([]string, len(r.shape.columns))
	at := 0
	for i := range r.shape.columns {
		c := &r.shape.columns[i]
		if value := values[at]; c.long && len(value) > pieceOf {
			size := int64(len(value))
			for first := true; len(value) > 0; first = false {
				part := value[:min(r.conn.piece(), int64(len(value)))]
				r.setVariable(i, part, first)
				value = value[len(part):]
			}
			literals[i] = c.variable(i, size)
		} else {
			literals[i] = string(c.appendValue(nil, value, values[min(at+1, len(values)-1)]))
		}
		at += c.fields()
	}
	r.insertLarge(literals)
}

func (r *rowWriter) insertLarge(literals []string) {
	r.out.text(r.shape.insert(), "(", strings.Join(literals, ","), ");\n")
	for i, text := range literals {
		if strings.HasPrefix(text, "IF(LENGTH(@stepd") {
			r.out.text("SET @stepd", strconv.Itoa(i), "=NULL;\n")
		}
	}
}

// where finds a row again: by its key, or by its place in the order in which the
// snapshot is read.
func (r *rowWriter) where(values []sql.RawBytes, order int64) string {
	if len(r.shape.key) == 0 {
		return " LIMIT " + strconv.FormatInt(order, 10) + ",1"
	}
	starts := make([]int, len(r.shape.columns))
	at := 0
	for i := range r.shape.columns {
		starts[i] = at
		at += r.shape.columns[i].fields()
	}
	var b []byte
	for n, i := range r.shape.key {
		c := &r.shape.columns[i]
		b = append(b, []string{" WHERE ", " AND "}[min(n, 1)]...)
		b = append(b, quoted(c.name)...)
		b = append(b, '=')
		b = c.appendKey(b, values[starts[i]])
	}
	return string(b)
}

// large reads a row that is too large to be held, each of its long values in
// pieces, and writes it. The server holds the value in a variable meanwhile.
func (r *rowWriter) large(ctx context.Context, where string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	literals := make([]string, len(r.shape.columns))
	for i := range r.shape.columns {
		c := &r.shape.columns[i]
		var err error
		if c.long {
			literals[i], err = r.longValue(ctx, i, where)
		} else {
			literals[i], err = r.shortValue(ctx, c, where)
		}
		if errors.Is(err, sql.ErrNoRows) {
			return errors.New("it is not there any more")
		}
		if err != nil {
			return err
		}
	}
	r.sum.Row()
	if r.out != nil {
		r.insertLarge(literals)
	}
	return r.count(ctx)
}

func (r *rowWriter) shortValue(ctx context.Context, c *column, where string) (string, error) {
	var value, number []byte
	into := []any{&value, &number}[:c.fields()]
	if err := r.conn.one(ctx, into, "SELECT "+c.expression()+" FROM "+r.shape.from()+where); err != nil {
		return "", err
	}
	r.sum.Value(value)
	return string(c.appendValue(nil, value, number)), nil
}

func (r *rowWriter) longValue(ctx context.Context, i int, where string) (string, error) {
	c := &r.shape.columns[i]
	value := quoted(c.name)
	if c.kind == kindText {
		value = "CAST(" + value + " AS BINARY)" // else pieces would be of characters
	}
	var size sql.NullInt64
	if err := r.conn.one(ctx, []any{&size}, "SELECT LENGTH("+quoted(c.name)+") FROM "+r.shape.from()+where); err != nil {
		return "", err
	}
	r.sum.Begin(size.Int64, !size.Valid)
	if !size.Valid {
		return "NULL", nil
	}
	if size.Int64 == 0 {
		return "''", nil
	}
	if err := r.conn.run(ctx, "SELECT "+value+" INTO @stepd_read FROM "+r.shape.from()+where); err != nil {
		return "", err
	}
	step := int64(readPiece)
	if r.conn.piece() == smallPiece {
		step = smallPiece
	}
	for at := int64(0); at < size.Int64; at += step {
		err := r.conn.each(ctx, func(rows *sql.Rows) error {
			var part sql.RawBytes
			if err := rows.Scan(&part); err != nil {
				return err
			}
			if int64(len(part)) != min(step, size.Int64-at) {
				return fmt.Errorf("column %q has %d bytes, and the server did not give those from %d on", c.name, size.Int64, at)
			}
			r.sum.Bytes(part)
			for begin := int64(0); r.out != nil && begin < int64(len(part)); begin += r.conn.piece() {
				r.setVariable(i, part[begin:min(begin+r.conn.piece(), int64(len(part)))], at+begin == 0)
			}
			return nil
		}, fmt.Sprintf("SELECT SUBSTRING(@stepd_read, %d, %d)", at+1, step))
		if err != nil {
			return "", err
		}
	}
	return c.variable(i, size.Int64), r.conn.run(ctx, "SET @stepd_read=NULL")
}
