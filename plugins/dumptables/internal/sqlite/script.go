package sqlite

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// statements reads a script and returns one statement a time, however long the
// script. It understands quotes, comments and the bodies of triggers, as
// sqlite3_complete does.
type statements struct {
	r    *bufio.Reader
	read int64
	buf  []byte
}

func newStatements(r io.Reader) *statements {
	return &statements{r: bufio.NewReaderSize(r, 256<<10)}
}

// next returns the next statement without comments around it, and io.EOF after
// the last. The bytes are valid until the next call.
func (s *statements) next() ([]byte, error) {
	s.buf = s.buf[:0]
	var trigger triggerState
	empty := true
	for {
		start := len(s.buf)
		kind, err := s.token()
		if errors.Is(err, io.EOF) {
			if empty {
				return nil, io.EOF
			}
			return nil, errors.New("the script ends inside a statement")
		}
		if err != nil {
			return nil, err
		}
		if kind == tokenSpace {
			if empty {
				s.buf = s.buf[:0]
			}
			continue
		}
		text := s.buf[start:]
		if kind == tokenOther && text[0] == ';' {
			if trigger.semicolon() {
				continue
			}
			if empty {
				s.buf = s.buf[:0]
				continue
			}
			return s.buf, nil
		}
		empty = false
		if kind == tokenWord && len(text) <= 12 {
			trigger.word(strings.ToLower(string(text)))
		} else {
			trigger.word("")
		}
	}
}

// triggerState tells the semicolons of a trigger's body from the last one.
type triggerState struct {
	seen    int // words of CREATE [TEMP|TEMPORARY] TRIGGER
	trigger bool
	ending  bool // END directly after a semicolon
	after   bool // the last token was a semicolon
}

func (t *triggerState) word(word string) {
	switch {
	case t.trigger:
		t.ending = t.after && word == "end"
	case t.seen == 0 && word == "create", t.seen == 1 && (word == "temp" || word == "temporary"):
		t.seen = 1
	case t.seen == 1 && word == "trigger":
		t.trigger = true
	default:
		t.seen = -1
	}
	t.after = false
}

// semicolon reports whether the statement goes on after it.
func (t *triggerState) semicolon() bool {
	t.after = true
	return t.trigger && !t.ending
}

type tokenKind int

const (
	tokenSpace  tokenKind = iota // white space and comments
	tokenWord                    // identifiers, keywords, numbers
	tokenQuoted                  // '...' "..." `...` [...]
	tokenOther                   // one character
)

type token struct {
	kind tokenKind
	text string
}

func (t token) is(word string) bool { return t.kind == tokenWord && strings.EqualFold(t.text, word) }

// tokens splits a text; an unfinished quote or comment ends with the text.
func tokens(text string) []token {
	s := newStatements(strings.NewReader(text))
	var out []token
	for {
		s.buf = s.buf[:0]
		kind, err := s.token()
		if err != nil {
			if len(s.buf) > 0 {
				out = append(out, token{kind, string(s.buf)})
			}
			return out
		}
		out = append(out, token{kind, string(s.buf)})
	}
}

// token appends the next token to buf. The error is io.EOF only at the end.
func (s *statements) token() (tokenKind, error) {
	c, err := s.take()
	if err != nil {
		return tokenSpace, err
	}
	switch {
	case isSpace(c):
		return tokenSpace, s.takeWhile(isSpace)
	case c == '-' && s.peek() == '-':
		return tokenSpace, ignoreEOF(s.takeUntil('\n'))
	case c == '/' && s.peek() == '*':
		if _, err := s.take(); err != nil {
			return tokenSpace, err
		}
		for {
			if err := s.takeUntil('*'); err != nil {
				return tokenSpace, ignoreEOF(err)
			}
			if s.peek() == '/' {
				_, err := s.take()
				return tokenSpace, err
			}
		}
	case c == '\'' || c == '"' || c == '`':
		for {
			if err := s.takeUntil(c); err != nil {
				return tokenQuoted, unfinished(err)
			}
			if s.peek() != int(c) {
				return tokenQuoted, nil
			}
			if _, err := s.take(); err != nil {
				return tokenQuoted, err
			}
		}
	case c == '[':
		return tokenQuoted, unfinished(s.takeUntil(']'))
	case isWord(c):
		return tokenWord, s.takeWhile(isWord)
	}
	return tokenOther, nil
}

func (s *statements) take() (byte, error) {
	c, err := s.r.ReadByte()
	if err == nil {
		s.buf = append(s.buf, c)
		s.read++
	}
	return c, err
}

// peek is the next byte, or -1.
func (s *statements) peek() int {
	b, err := s.r.Peek(1)
	if err != nil {
		return -1
	}
	return int(b[0])
}

func (s *statements) takeWhile(in func(byte) bool) error {
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return ignoreEOF(err)
		}
		if !in(c) {
			return s.r.UnreadByte()
		}
		s.buf = append(s.buf, c)
		s.read++
	}
}

func (s *statements) takeUntil(end byte) error {
	for {
		part, err := s.r.ReadSlice(end)
		s.buf = append(s.buf, part...)
		s.read += int64(len(part))
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func unfinished(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the script ends inside quotes: %w", io.ErrUnexpectedEOF)
	}
	return err
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' }

func isWord(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// terminated is a statement of the schema with its semicolon: the text that
// SQLite keeps may end in a comment, or in one that was never closed.
func terminated(create string) string {
	last := tokens(create)
	if len(last) == 0 {
		return create + ";\n"
	}
	text := last[len(last)-1].text
	switch {
	case strings.HasPrefix(text, "--"):
		return create + "\n;\n"
	case strings.HasPrefix(text, "/*") && (len(text) < 4 || !strings.HasSuffix(text, "*/")):
		return create + "*/;\n"
	}
	return create + ";\n"
}
