package expression

import (
	"strings"
)

const (
	opening = "${{"
	closing = "}}"
	escaped = "$" + opening
)

// piece is part of a text: words as they are, or an expression.
type piece struct {
	text       string // the words, or what is between the braces
	expression bool
	at         int // of text in the whole, in bytes
}

// split takes a text apart. open is where an expression begins that has no end,
// or -1; the pieces end before it.
func split(text string) (pieces []piece, open int) {
	words, from := &strings.Builder{}, 0
	flush := func(at int) {
		if words.Len() > 0 {
			pieces = append(pieces, piece{text: words.String(), at: from})
			words.Reset()
		}
		from = at
	}
	for i := 0; i < len(text); {
		rest := text[i:]
		next := strings.IndexByte(rest, '$')
		switch {
		case next < 0:
			words.WriteString(rest)
			i = len(text)
		case next > 0:
			words.WriteString(rest[:next])
			i += next
		case strings.HasPrefix(rest, escaped):
			words.WriteString(opening)
			i += len(escaped)
		case strings.HasPrefix(rest, opening):
			flush(i)
			start := i + len(opening)
			size := expressionEnd(text[start:])
			if size < 0 {
				return pieces, i
			}
			pieces = append(pieces, piece{text: text[start : start+size], expression: true, at: start})
			i = start + size + len(closing)
			from = i
		default:
			words.WriteByte('$')
			i++
		}
	}
	flush(len(text))
	return pieces, -1
}

// expressionEnd is where the braces close that end the expression, or -1. Braces
// within texts and of maps are the expression's own.
func expressionEnd(text string) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"', '\'', '`':
			end := quoteEnd(text[i+1:], c)
			if end < 0 {
				return -1
			}
			i += 1 + end
		case '{':
			depth++
		case '}':
			if depth == 0 {
				if strings.HasPrefix(text[i:], closing) {
					return i
				}
				return -1 // a brace that nobody opened
			}
			depth--
		}
	}
	return -1
}

func quoteEnd(text string, quote byte) int {
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote != '`':
			i++
		case text[i] == quote:
			return i
		}
	}
	return -1
}
