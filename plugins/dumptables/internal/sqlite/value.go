package sqlite

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxValue bounds a value so that its statement stays under SQLite's limit of
// 1,000,000,000 bytes when it is written as hexadecimal digits.
const maxValue = 450_000_000

// textDecoder turns the bytes of a TEXT, as the database stores them, into a Go
// string; ok is false where they are not valid.
type textDecoder func(stored []byte) (text string, ok bool)

func decodeUTF16(order binary.ByteOrder) textDecoder {
	return func(stored []byte) (string, bool) {
		if len(stored)%2 != 0 {
			return "", false
		}
		var b strings.Builder
		for i := 0; i < len(stored); i += 2 {
			r := rune(order.Uint16(stored[i:]))
			if utf16.IsSurrogate(r) {
				if i += 2; i >= len(stored) {
					return "", false
				}
				if r = utf16.DecodeRune(r, rune(order.Uint16(stored[i:]))); r == utf8.RuneError {
					return "", false
				}
			}
			b.WriteRune(r)
		}
		return b.String(), true
	}
}

// writeValue writes one value as SQL that evaluates to exactly it. Errors of w
// stick to it and show at its Flush.
func writeValue(w *bufio.Writer, value any) error {
	switch v := value.(type) {
	case nil:
		w.WriteString("NULL")
	case int64:
		w.Write(strconv.AppendInt(w.AvailableBuffer(), v, 10))
	case float64:
		w.WriteString(realSQL(v))
	case string:
		return writeText(w, v, v, true)
	case []byte:
		if len(v) > maxValue {
			return fmt.Errorf("a BLOB of %d bytes is too large for SQL text (at most %d)", len(v), maxValue)
		}
		writeHex(w, v)
	default:
		return fmt.Errorf("the driver gave a value of type %T", value)
	}
	return nil
}

// writeText writes a TEXT. stored is what the database has as its bytes, text the
// same in UTF-8 if it can be had (ok). A text with NUL, which ends a statement for
// most clients, or with invalid bytes goes as a cast of its bytes.
func writeText[B string | []byte](w *bufio.Writer, text string, stored B, ok bool) error {
	if len(stored) > maxValue {
		return fmt.Errorf("a TEXT of %d bytes is too large for SQL text (at most %d)", len(stored), maxValue)
	}
	if !ok || !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
		w.WriteString("CAST(")
		writeHex(w, stored)
		w.WriteString(" AS TEXT)")
		return nil
	}
	if strings.IndexByte(text, '\r') >= 0 {
		writeReturns(w, text)
		return nil
	}
	writeQuoted(w, text)
	return nil
}

// writeReturns writes a text with carriage returns: the sqlite3 client drops one
// at the end of a line, so they are put in by SQL.
func writeReturns(w *bufio.Writer, text string) {
	marker := `\r`
	for i := 1; strings.Contains(text, marker); i++ {
		marker = `\r` + strconv.Itoa(i)
	}
	w.WriteString("replace(")
	writeQuoted(w, strings.ReplaceAll(text, "\r", marker))
	w.WriteString(",'" + marker + "',char(13))")
}

func writeQuoted(w *bufio.Writer, text string) {
	w.WriteByte('\'')
	for {
		i := strings.IndexByte(text, '\'')
		if i < 0 {
			break
		}
		w.WriteString(text[:i+1])
		w.WriteByte('\'')
		text = text[i+1:]
	}
	w.WriteString(text)
	w.WriteByte('\'')
}

func writeHex[B string | []byte](w *bufio.Writer, data B) {
	const digits = "0123456789abcdef"
	w.WriteString("X'")
	for i := range len(data) {
		w.WriteByte(digits[data[i]>>4])
		w.WriteByte(digits[data[i]&15])
	}
	w.WriteByte('\'')
}

// realSQL writes a REAL. SQLite's reading of decimal digits is not correctly
// rounded in all versions and builds, so decimals are used only where any sane
// arithmetic must come to the same number; others are an exact product of an
// integer and powers of two.
func realSQL(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "9e999"
	case math.IsInf(v, -1):
		return "-9e999"
	case v == 0:
		if math.Signbit(v) {
			return "-0.0"
		}
		return "0.0"
	case math.IsNaN(v):
		return "NULL" // as SQLite stores it
	}
	if text, ok := safeDecimal(v); ok {
		return text
	}
	fraction, exponent := math.Frexp(math.Abs(v))
	mantissa := uint64(math.Ldexp(fraction, 53))
	exponent -= 53
	for mantissa&1 == 0 {
		mantissa >>= 1
		exponent++
	}
	var b strings.Builder
	if v < 0 {
		b.WriteByte('-')
	}
	fmt.Fprintf(&b, "CAST(%d AS REAL)", mantissa)
	sign := byte('*')
	if exponent < 0 {
		sign, exponent = '/', -exponent
	}
	for exponent > 0 {
		n := min(exponent, 62)
		b.WriteByte(sign)
		b.WriteString(strconv.FormatUint(1<<n, 10))
		exponent -= n
	}
	return b.String()
}

// safeDecimal is the shortest decimal of v where its digits and the power of ten
// are exact as double and the result is well away from the middle between two
// doubles, so that extended precision does not round twice.
func safeDecimal(v float64) (string, bool) {
	text := strconv.FormatFloat(math.Abs(v), 'e', -1, 64)
	digits, exponentText, _ := strings.Cut(text, "e")
	exponent, _ := strconv.Atoi(exponentText) // as FormatFloat wrote it
	whole, fraction, _ := strings.Cut(digits, ".")
	m, err := strconv.ParseUint(whole+fraction, 10, 64)
	exponent -= len(fraction)
	if err != nil || m >= 1<<53 || exponent < -22 || exponent > 22 {
		return "", false
	}
	scale := math.Pow10(max(exponent, -exponent))
	abs := math.Abs(v)
	half := min(math.Nextafter(abs, math.Inf(1))-abs, abs-math.Nextafter(abs, 0)) / 2
	var off float64 // how far the decimal is from v, exactly enough
	if exponent < 0 {
		off = math.Abs(math.FMA(-abs, scale, float64(m))) / scale
	} else {
		off = math.Abs(math.FMA(float64(m), scale, -abs))
	}
	if off > half*0.98 {
		return "", false
	}
	out := strconv.FormatFloat(v, 'f', -1, 64)
	if exponent >= 0 {
		if len(out) > 24 {
			out = strconv.FormatFloat(v, 'e', -1, 64)
			if !strings.Contains(out, ".") {
				out = strings.Replace(out, "e", ".0e", 1)
			}
			return out, true
		}
		out += ".0"
	}
	return out, true
}
