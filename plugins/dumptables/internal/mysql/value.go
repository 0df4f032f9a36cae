package mysql

import (
	"encoding/hex"
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
