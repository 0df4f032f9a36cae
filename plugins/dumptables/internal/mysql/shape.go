package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/sdk"
)

// column is one that a dump writes: generated ones are not.
type column struct {
	name    string
	kind    valueKind
	charset string // of text
	long    bool   // may be larger than a row otherwise can
	json    bool   // MySQL's own type, which takes no bytes without a character set
	// byNumber: a SET with an empty member, whose text does not tell all values.
	byNumber bool
	key      bool // its values can be compared with literals
}

// shape is what has to be known of a table to read and write its rows.
type shape struct {
	table   string
	columns []column
	key     []int // columns of the primary key, if rows can be found by it
	// history: old versions of rows are dumped too.
	history bool
	// within is the part of the table that is read.
	within dump.Range
	// loose: what the table holds may be refused in strict mode.
	loose bool
}

// Names of the columns that a table with system versioning has when it does not
// name its own.
const rowStart, rowEnd = "row_start", "row_end"

func (c *conn) shape(ctx context.Context, table string, versioned bool) (shape, error) {
	out := shape{table: table}
	var start, end string
	versionedBy := ""
	err := c.each(ctx, func(rows *sql.Rows) error {
		var name, dataType, charset, columnType, extra, expression string
		if err := rows.Scan(&name, &dataType, &charset, &columnType, &extra, &expression); err != nil {
			return err
		}
		extra = strings.ToUpper(extra)
		switch {
		case expression == "ROW START":
			start, versionedBy = name, dataType
		case expression == "ROW END":
			end = name
		case strings.Contains(extra, "VIRTUAL GENERATED"), strings.Contains(extra, "STORED GENERATED"), strings.Contains(extra, "PERSISTENT"):
			out.loose = true
		default:
			one := columnOf(name, strings.ToLower(dataType), charset, columnType)
			// The largest FLOAT(10,3) is out of its own range.
			out.loose = out.loose || one.kind == kindEnum || one.kind == kindSet ||
				one.kind == kindFloat && strings.Contains(columnType, ",")
			out.columns = append(out.columns, one)
		}
		return nil
	}, "SELECT COLUMN_NAME, DATA_TYPE, IFNULL(CHARACTER_SET_NAME, ''), COLUMN_TYPE, IFNULL(EXTRA, ''), IFNULL(GENERATION_EXPRESSION, '')"+
		" FROM information_schema.COLUMNS WHERE"+here+" AND TABLE_NAME = ? AND CAST(TABLE_NAME AS BINARY) = CAST(? AS BINARY)"+
		" ORDER BY ORDINAL_POSITION", table, table)
	if err != nil {
		return out, fmt.Errorf("look at the columns of table %q: %w", table, err)
	}
	if len(out.columns) == 0 {
		return out, sdk.Permanent(fmt.Errorf("table %q has no columns that the user may read", table))
	}
	// Versions that go by transactions cannot be written, and neither can any on
	// older servers: the rows of now are dumped.
	if versioned && versionedBy != "bigint" && c.atLeast(10, 11) {
		if start == "" {
			start, end = rowStart, rowEnd
		}
		out.history = true
		for _, name := range []string{start, end} {
			out.columns = append(out.columns, column{name: name, kind: kindQuoted, key: true})
		}
	}
	return out, c.findKey(ctx, &out)
}

// findKey notes the primary key where a literal of each of its columns finds the
// row.
func (c *conn) findKey(ctx context.Context, s *shape) error {
	var names []string
	err := c.each(ctx, func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		names = append(names, name)
		return err
	}, "SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE"+here+" AND INDEX_NAME = 'PRIMARY'"+
		" AND TABLE_NAME = ? AND CAST(TABLE_NAME AS BINARY) = CAST(? AS BINARY) ORDER BY SEQ_IN_INDEX", s.table, s.table)
	if err != nil {
		return fmt.Errorf("look at the key of table %q: %w", s.table, err)
	}
	if s.history && len(names) > 0 {
		if end := s.columns[len(s.columns)-1].name; !slices.Contains(names, end) {
			names = append(names, end)
		}
	}
	for _, name := range names {
		i := slices.IndexFunc(s.columns, func(c column) bool { return c.name == name })
		if i < 0 || !s.columns[i].key {
			s.key = nil
			return nil
		}
		s.key = append(s.key, i)
	}
	return nil
}

func columnOf(name, dataType, charset, columnType string) column {
	c := column{name: name, charset: strings.ToLower(charset), kind: kindQuoted}
	switch dataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year":
		c.kind, c.key = kindNumber, true
	case "float", "double":
		c.kind = kindFloat
	case "date", "datetime", "timestamp", "time", "uuid", "inet4", "inet6":
		c.key = true
	case "binary", "varbinary":
		c.kind, c.key = kindBytes, true
	case "bit":
		c.kind = kindBytes
	case "tinyblob", "blob", "mediumblob", "longblob", "vector",
		"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection":
		c.kind, c.long = kindBytes, true
	case "enum":
		c.kind = kindEnum
	case "set":
		c.kind, c.byNumber = kindSet, strings.Contains(columnType, "('',") || strings.Contains(columnType, ",'',") ||
			strings.HasSuffix(columnType, ",'')") || strings.HasSuffix(columnType, "('')")
	case "char", "varchar":
		c.kind, c.key = kindText, true
	case "tinytext", "text", "mediumtext", "longtext":
		c.kind, c.long = kindText, true
	case "json":
		c.kind, c.long, c.json, c.charset = kindText, true, true, "utf8mb4"
	}
	return c
}

// longs are the columns that make a row large.
func (s *shape) longs() []int {
	var list []int
	for i, c := range s.columns {
		if c.long {
			list = append(list, i)
		}
	}
	return list
}

// from is the table as a FROM clause reads it: in the order of the primary key,
// or in the order in which it is stored.
func (s *shape) from() string {
	text := quoted(s.table)
	if s.history {
		text += " FOR SYSTEM_TIME ALL"
	}
	if len(s.key) == 0 {
		return text + " USE INDEX ()"
	}
	return text + " FORCE INDEX (PRIMARY)"
}

// query selects all rows: for each column an expression, another one with the
// number of ENUM and SET values, and the size of all long values at the end. Long
// values are left out of rows that are read later.
func (s *shape) query() string {
	size := s.size()
	var b strings.Builder
	b.WriteString("SELECT ")
	for i, c := range s.columns {
		if i > 0 {
			b.WriteString(", ")
		}
		if c.long {
			b.WriteString("IF(" + size + " > " + strconv.Itoa(heldRow) + ", NULL, " + quoted(c.name) + ")")
		} else {
			b.WriteString(c.expression())
		}
	}
	return b.String() + ", " + size + " FROM " + s.from() + condition(s.within)
}

func (c *column) expression() string {
	name := quoted(c.name)
	switch {
	case c.kind == kindFloat:
		// A FLOAT is shown with six digits, which are not all that it has.
		return "CAST(" + name + " AS DOUBLE)"
	case c.kind == kindEnum || c.byNumber:
		return name + ", " + name + "+0"
	}
	return name
}

// fields is how many fields of a result the column takes.
func (c *column) fields() int {
	if c.kind == kindEnum || c.byNumber {
		return 2
	}
	return 1
}

func (s *shape) size() string {
	var parts []string
	for _, i := range s.longs() {
		parts = append(parts, "IFNULL(LENGTH("+quoted(s.columns[i].name)+"), 0)")
	}
	if len(parts) == 0 {
		return "0"
	}
	return "(" + strings.Join(parts, "+") + ")"
}

// insert is the head of an INSERT.
func (s *shape) insert() string {
	names := make([]string, len(s.columns))
	for i, c := range s.columns {
		names[i] = quoted(c.name)
	}
	return "INSERT INTO " + quoted(s.table) + "(" + strings.Join(names, ",") + ") VALUES\n"
}
