package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
)

// maxParts bounds the steps of one table: more of them help nobody.
const maxParts = 1000

// condition is the WHERE of a part of a table; its bounds are numbers.
func condition(part dump.Range) string {
	if part.Whole() {
		return ""
	}
	var parts []string
	if part.From != "" {
		parts = append(parts, quoted(part.Column)+" >= "+number10(part.From))
	}
	if part.To != "" {
		parts = append(parts, quoted(part.Column)+" < "+number10(part.To))
	}
	if len(parts) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(parts, " AND ")
}

// number10 lets nothing through that is no whole number: manifests are files.
func number10(text string) string {
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return "NULL"
	}
	return n.String()
}

// Split implements dump.Splitter. The key's values are halved where the server
// expects more rows than wanted, which costs a look into the index each time and
// no reading of the table; then small neighbours are put together.
func (s *source) Split(ctx context.Context, table string, rows int64) ([]dump.Range, string, error) {
	entry := s.entry(table)
	if entry.rows <= rows || entry.kind == typeSequence {
		return nil, "", nil
	}
	column, why, err := s.splitColumn(ctx, entry)
	if err != nil || why != "" {
		return nil, why, s.explain(ctx, err)
	}
	var low, high sql.NullString
	name := quoted(column)
	if err := s.conn.one(ctx, []any{&low, &high}, "SELECT MIN("+name+"), MAX("+name+") FROM "+quoted(table)); err != nil {
		return nil, "", s.explain(ctx, s.altered(table, err))
	}
	from, ok1 := new(big.Int).SetString(low.String, 10)
	to, ok2 := new(big.Int).SetString(high.String, 10)
	if !ok1 || !ok2 {
		return nil, "", nil // it has become empty
	}
	d := divider{source: s, table: table, column: column, wanted: max(rows, entry.rows/maxParts)}
	if err := d.divide(ctx, from, to.Add(to, big.NewInt(1))); err != nil {
		return nil, "", s.explain(ctx, s.altered(table, err))
	}
	return d.joined(), "", nil
}

// splitColumn is the one column of the primary key, if it is a whole number.
func (s *source) splitColumn(ctx context.Context, e entry) (column, why string, err error) {
	transactional, err := s.conn.transactional(ctx)
	if err != nil {
		return "", "", err
	}
	switch {
	case !transactional[strings.ToLower(e.engine)]:
		return "", "its engine " + e.engine + " has no transactions: parts would be of several moments", nil
	case e.kind == typeVersioned:
		return "", "it keeps the history of its rows", nil
	}
	var types []string
	err = s.conn.each(ctx, func(rows *sql.Rows) error {
		var kind string
		err := rows.Scan(&column, &kind)
		types = append(types, strings.ToLower(kind))
		return err
	}, "SELECT c.COLUMN_NAME, c.DATA_TYPE FROM information_schema.STATISTICS k JOIN information_schema.COLUMNS c USING (TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME)"+
		" WHERE"+strings.ReplaceAll(here, "TABLE_SCHEMA", "k.TABLE_SCHEMA")+" AND k.INDEX_NAME = 'PRIMARY'"+
		" AND k.TABLE_NAME = ? AND CAST(k.TABLE_NAME AS BINARY) = CAST(? AS BINARY)", e.name, e.name)
	switch {
	case err != nil:
		return "", "", fmt.Errorf("look at the key of table %q: %w", e.name, err)
	case len(types) == 0:
		return "", "it has no primary key", nil
	case len(types) > 1:
		return "", "its primary key has several columns", nil
	case !slices.Contains([]string{"tinyint", "smallint", "mediumint", "int", "bigint"}, types[0]):
		return "", "its primary key is no whole number", nil
	}
	return column, "", nil
}

// divider finds the bounds of the parts of a table.
type divider struct {
	source        *source
	table, column string
	wanted        int64
	leaves        []leaf
}

// leaf is the keys from one up to the next leaf's.
type leaf struct {
	from *big.Int
	rows int64
}

func (d *divider) divide(ctx context.Context, from, to *big.Int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	rows, err := d.expected(ctx, from, to)
	if err != nil {
		return err
	}
	size := new(big.Int).Sub(to, from)
	if rows <= d.wanted || size.Cmp(big.NewInt(d.wanted)) <= 0 || len(d.leaves) >= 4*maxParts {
		if size.IsInt64() {
			rows = min(rows, size.Int64())
		}
		d.leaves = append(d.leaves, leaf{from, rows})
		return nil
	}
	middle := new(big.Int).Add(from, size.Rsh(size, 1))
	if err := d.divide(ctx, from, middle); err != nil {
		return err
	}
	return d.divide(ctx, middle, to)
}

// expected is how many rows the server expects in a range of keys.
func (d *divider) expected(ctx context.Context, from, to *big.Int) (rows int64, err error) {
	part := dump.Range{Column: d.column, From: from.String(), To: to.String()}
	err = d.source.conn.each(ctx, func(result *sql.Rows) error {
		columns, err := result.Columns()
		if err != nil {
			return err
		}
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := result.Scan(into...); err != nil {
			return err
		}
		if i := slices.Index(columns, "rows"); i >= 0 {
			rows, _ = strconv.ParseInt(values[i].String, 10, 64) // NULL: it knows that there are none
		}
		return nil
	}, "EXPLAIN SELECT 1 FROM "+quoted(d.table)+" FORCE INDEX (PRIMARY)"+condition(part))
	return rows, err
}

// joined puts small neighbours together. The first part has no beginning and the
// last one no end, so that no row can lie outside.
func (d *divider) joined() []dump.Range {
	var parts []dump.Range
	for _, leaf := range d.leaves {
		n := len(parts) - 1
		if n >= 0 && parts[n].Rows+leaf.rows <= d.wanted {
			parts[n].Rows += leaf.rows
			continue
		}
		part := dump.Range{Column: d.column, From: leaf.from.String(), Rows: leaf.rows}
		if n < 0 {
			part.From = ""
		} else {
			parts[n].To = part.From
		}
		parts = append(parts, part)
	}
	return parts
}
