package mysql

import (
	"encoding/hex"
	"hash/crc32"
	"strings"
	"unicode/utf8"
)

// valueKind is how a value is written.
type valueKind int

const (
	kindQuoted valueKind = iota // ASCII text of the server's making: dates, addresses
	kindNumber
	kindFloat
	kindText
	kindEnum
	kindSet
	kindBytes
)

// appendValue appends one value as SQL that makes the same bytes in a column of
// the same type. number is the value's number where an ENUM or SET has one.
func (c *column) appendValue(b, value, number []byte) []byte {
	switch {
	case value == nil:
		return append(b, "NULL"...)
	case c.kind == kindNumber || c.kind == kindFloat:
		return append(b, value...)
	case c.kind == kindBytes:
		return appendHex(b, value)
	case c.kind == kindQuoted:
		return appendQuoted(b, value)
	// The number 0 of an ENUM is a value that was refused when it was stored; it
	// looks like ''.
	case c.byNumber, c.kind == kindEnum && len(value) == 0:
		return append(b, number...)
	}
	if readable(value, c.charset) {
		return appendQuoted(b, value)
	}
	// Bytes without a character set go into the column as they are.
	return appendHex(b, value)
}

// appendKey appends a value as a literal that a column is compared with: in the
// column's character set, so that its index is used.
func (c *column) appendKey(b, value []byte) []byte {
	if c.kind == kindText && !readable(value, c.charset) {
		b = append(b, '_')
		b = append(b, c.charset...)
		b = append(b, ' ')
	}
	return c.appendValue(b, value, nil)
}

// readable reports whether stored bytes mean the same in UTF-8.
func readable(value []byte, charset string) bool {
	switch charset {
	case "utf8mb4", "utf8mb3", "utf8":
		return utf8.Valid(value)
	case "ucs2", "utf16", "utf16le", "utf32", "swe7", "filename":
		return len(value) == 0
	}
	for _, c := range value {
		// Some character sets have other signs in place of \ and ~.
		if c < ' ' || c >= '~' || c == '\\' {
			return false
		}
	}
	return true
}

func appendHex(b, value []byte) []byte {
	if len(value) == 0 {
		return append(b, "''"...)
	}
	b = append(b, "x'"...)
	return append(hex.AppendEncode(b, value), '\'')
}

// appendQuoted appends a text. Line ends and NUL are escaped too: clients change
// or refuse them.
func appendQuoted(b, value []byte) []byte {
	b = append(b, '\'')
	start := 0
	for i, c := range value {
		var escape byte
		switch c {
		case 0:
			escape = '0'
		case '\n':
			escape = 'n'
		case '\r':
			escape = 'r'
		case 0x1a:
			escape = 'Z'
		case '\'', '\\':
			escape = c
		default:
			continue
		}
		b = append(b, value[start:i]...)
		b = append(b, '\\', escape)
		start = i + 1
	}
	b = append(b, value[start:]...)
	return append(b, '\'')
}

// literal is a text as SQL has it.
func literal(text string) string { return string(appendQuoted(nil, []byte(text))) }

// delimiter finds one that ends no statement too early: the text does not have
// it.
func delimiter(text string) string {
	for mark := ";;"; ; mark += ";" {
		if !strings.Contains(text, mark) && !strings.HasSuffix(text, ";") {
			return mark
		}
		if other := strings.Repeat("$", len(mark)); !strings.Contains(text, other) && !strings.HasSuffix(text, "$") {
			return other
		}
	}
}

// checksum is one of rows, whatever their order: the sum of a number for each
// row, made of all its bytes. It finds damage, not deceit.
type checksum struct {
	sum    uint64
	a, b   uint32
	tables [2]*crc32.Table
}

func newChecksum() *checksum {
	return &checksum{tables: [2]*crc32.Table{crc32.IEEETable, crc32.MakeTable(crc32.Castagnoli)}}
}

// begin begins a value of the row: nil is none.
func (c *checksum) begin(size int64, null bool) {
	head := [9]byte{0: 1}
	if null {
		head[0], size = 0, 0
	}
	for i := range 8 {
		head[i+1] = byte(size >> (8 * i))
	}
	c.bytes(head[:])
}

func (c *checksum) bytes(b []byte) {
	c.a, c.b = crc32.Update(c.a, c.tables[0], b), crc32.Update(c.b, c.tables[1], b)
}

func (c *checksum) value(b []byte) {
	c.begin(int64(len(b)), b == nil)
	c.bytes(b)
}

// row ends a row. What two rows have exchanged must show, so the number is mixed
// before it is added.
func (c *checksum) row() {
	x := uint64(c.a)<<32 | uint64(c.b)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	c.sum += x ^ x>>31
	c.a, c.b = 0, 0
}
