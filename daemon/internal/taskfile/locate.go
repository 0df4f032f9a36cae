package taskfile

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// within reports a fault at a byte of a scalar's text, or at the scalar where
// that place cannot be found: behind an alias.
func (p *parser) within(n *yaml.Node, offset int, path, message, hint string) {
	if line, column, found := p.locate(n, offset); found {
		p.at(line, column, path, message, hint)
		return
	}
	p.fault(n, path, message, hint)
}

// locate finds the character of the file that a byte of a scalar's text was read
// from. Nodes know their start only, so the scalar is read again, along its
// text; where the two part ways nothing is found.
func (p *parser) locate(n *yaml.Node, offset int) (line, column int, found bool) {
	if n == nil || n.Kind != yaml.ScalarNode || n.Line < 1 || n.Line > len(p.lines) || offset < 0 || offset > len(n.Value) {
		return 0, 0, false
	}
	w := &scalarWalk{lines: p.lines, line: n.Line - 1, value: n.Value}
	w.enter(n.Line-1, n.Column-1)
	w.skipProperties()
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		found = w.take('"') && w.flow(offset, w.doubleQuoted)
	case n.Style&yaml.SingleQuotedStyle != 0:
		found = w.take('\'') && w.flow(offset, w.singleQuoted)
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		found = w.block(offset)
	default:
		found = w.flow(offset, w.plain)
	}
	return w.line + 1, w.at + 1, found
}

// scalarWalk reads the source of a scalar and its text side by side.
type scalarWalk struct {
	lines []string
	line  int    // from 0
	row   []rune // of that line
	at    int    // in row

	value string
	read  int // bytes of value
}

func (w *scalarWalk) enter(line, at int) {
	w.line, w.row = line, []rune(strings.ToValidUTF8(w.lines[line], "\ufffd"))
	w.at = min(max(at, 0), len(w.row))
}

// skipProperties passes over anchors and tags.
func (w *scalarWalk) skipProperties() {
	for w.at < len(w.row) && (w.row[w.at] == '&' || w.row[w.at] == '!') {
		for w.at < len(w.row) && w.row[w.at] != ' ' && w.row[w.at] != '\t' {
			w.at++
		}
		w.skipBlanks()
	}
}

func (w *scalarWalk) skipBlanks() {
	for w.at < len(w.row) && (w.row[w.at] == ' ' || w.row[w.at] == '\t') {
		w.at++
	}
}

func (w *scalarWalk) take(r rune) bool {
	if w.at < len(w.row) && w.row[w.at] == r {
		w.at++
		return true
	}
	return false
}

// next is the rune of the text that is to be read.
func (w *scalarWalk) next() (rune, int) { return utf8.DecodeRuneInString(w.value[w.read:]) }

// flow reads a scalar without a block until the byte at offset is the next one;
// one reads a sign of the row, which is length runes long; joined says that the
// line goes on in the next one with nothing between.
func (w *scalarWalk) flow(offset int, one func() (r rune, length int, joined bool)) bool {
	for {
		if w.at >= w.end() && w.read < len(w.value) {
			if w.read >= offset {
				return w.read == offset
			}
			if !w.fold() {
				return false
			}
			continue
		}
		r, length, joined := one()
		if joined {
			if w.line+1 >= len(w.lines) {
				return false
			}
			w.enter(w.line+1, 0)
			w.skipBlanks()
			continue
		}
		if w.read >= offset {
			return w.read == offset
		}
		want, size := w.next()
		if length == 0 || r != want {
			return false
		}
		w.at += length
		w.read += size
	}
}

// end is where the row ends, blanks at its end left out. What stands within
// quotes and is escaped is none.
func (w *scalarWalk) end() int {
	end := len(w.row)
	for end > w.at && (w.row[end-1] == ' ' || w.row[end-1] == '\t') {
		end--
	}
	if end > w.at && end < len(w.row) && w.row[end-1] == '\\' {
		end++
	}
	return end
}

// fold goes on to the next line that is not empty: empty ones are line ends of
// the text, and a blank where there are none.
func (w *scalarWalk) fold() bool {
	empty := 0
	for line := w.line + 1; line < len(w.lines); line++ {
		if strings.Trim(w.lines[line], " \t") == "" {
			empty++
			continue
		}
		stands := " "
		if empty > 0 {
			stands = strings.Repeat("\n", empty)
		}
		if !strings.HasPrefix(w.value[w.read:], stands) {
			return false
		}
		w.read += len(stands)
		w.enter(line, 0)
		w.skipBlanks()
		return true
	}
	return false
}

func (w *scalarWalk) plain() (rune, int, bool) {
	if w.at >= len(w.row) {
		return 0, 0, false
	}
	return w.row[w.at], 1, false
}

func (w *scalarWalk) singleQuoted() (rune, int, bool) {
	r, length, _ := w.plain()
	if r == '\'' {
		if w.at+1 < len(w.row) && w.row[w.at+1] == '\'' {
			return r, 2, false
		}
		return 0, 0, false
	}
	return r, length, false
}

func (w *scalarWalk) doubleQuoted() (rune, int, bool) {
	r, length, _ := w.plain()
	if r == '"' {
		return 0, 0, false
	}
	if r != '\\' {
		return r, length, false
	}
	if w.at+1 >= len(w.row) {
		return 0, 0, true
	}
	digits := 0
	switch escape := w.row[w.at+1]; escape {
	case '0':
		return 0, 2, false
	case 'a':
		return '\a', 2, false
	case 'b':
		return '\b', 2, false
	case 't', '\t':
		return '\t', 2, false
	case 'n':
		return '\n', 2, false
	case 'v':
		return '\v', 2, false
	case 'f':
		return '\f', 2, false
	case 'r':
		return '\r', 2, false
	case 'e':
		return '\x1b', 2, false
	case ' ', '"', '/', '\\', '\'':
		return escape, 2, false
	case 'N':
		return '\u0085', 2, false
	case '_':
		return '\u00a0', 2, false
	case 'L':
		return '\u2028', 2, false
	case 'P':
		return '\u2029', 2, false
	case 'x':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	}
	if digits == 0 || w.at+2+digits > len(w.row) {
		return 0, 0, false
	}
	code, err := strconv.ParseUint(string(w.row[w.at+2:w.at+2+digits]), 16, 32)
	if err != nil {
		return 0, 0, false
	}
	return rune(code), 2 + digits, false
}

// block reads a literal or folded scalar. Its indentation is that of its first
// line, unless its head has a number: that counts from the mapping that it is in,
// so what fits is looked for.
func (w *scalarWalk) block(offset int) bool {
	head, first := w.line, w.line+1
	for first < len(w.lines) && strings.Trim(w.lines[first], " ") == "" {
		first++
	}
	if first == len(w.lines) {
		return false
	}
	lead := len(w.lines[first]) - len(strings.TrimLeft(w.lines[first], " "))
	mark, _, _ := strings.Cut(string(w.row[w.at:]), "#")
	for least := lead; lead >= 0; lead-- {
		if lead < least && !strings.ContainsAny(mark, "123456789") {
			return false
		}
		w.line, w.read = head, 0
		if w.blockAt(lead, offset) {
			return true
		}
	}
	return false
}

// blockAt reads the lines of a block that are indented so far. How many line ends
// stand between two of them, or whether a blank does, the text says.
func (w *scalarWalk) blockAt(lead, offset int) (found bool) {
	var line, at int // where the byte is
	see := func() {
		if w.read <= offset {
			line, at, found = w.line, w.at, w.read == offset
		}
	}
	begun := false
	for next := w.line + 1; next < len(w.lines) && strings.Trim(w.value[w.read:], "\n") != ""; next++ {
		if len(w.lines[next]) <= lead {
			continue
		}
		see()
		switch {
		case w.value[w.read] == '\n':
			for w.read < len(w.value) && w.value[w.read] == '\n' {
				see()
				w.read++
			}
		case begun && w.value[w.read] == ' ':
			w.read++
		case begun:
			return false
		}
		begun = true
		for w.enter(next, lead); w.at < len(w.row); w.at++ {
			see()
			if want, size := w.next(); size > 0 && want == w.row[w.at] {
				w.read += size
				continue
			}
			return false
		}
	}
	for see(); !found && w.read < len(w.value); see() {
		w.read++
	}
	w.line, w.row, w.at = line, nil, at
	return found
}
