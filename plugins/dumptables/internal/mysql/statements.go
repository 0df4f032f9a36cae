package mysql

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// statements reads a file of a dump and returns one statement a time. It knows
// what this package writes: quotes, comments, and the client's DELIMITER with the
// delimiter in a line of its own.
type statements struct {
	r    *bufio.Reader
	read int64
	buf  []byte
}

func newStatements(r io.Reader) *statements {
	return &statements{r: bufio.NewReaderSize(r, 256<<10)}
}

// next returns the next statement without its end, and io.EOF after the last. The
// bytes are valid until the next call.
func (s *statements) next() ([]byte, error) {
	for {
		statement, err := s.plain()
		if err != nil || !bytes.HasPrefix(statement, []byte("DELIMITER ")) {
			return statement, err
		}
		mark := string(statement[len("DELIMITER "):])
		if mark == ";" {
			continue
		}
		return s.until(mark)
	}
}

// plain reads to a semicolon, or to the end of a line with DELIMITER.
func (s *statements) plain() ([]byte, error) {
	if cap(s.buf) > 4<<20 {
		s.buf = nil // of one statement that was large
	}
	s.buf = s.buf[:0]
	empty := true
	for {
		start := len(s.buf)
		kind, err := s.token()
		if errors.Is(err, io.EOF) {
			if empty {
				return nil, io.EOF
			}
			return nil, errors.New("the file ends inside a statement")
		}
		if err != nil {
			return nil, err
		}
		switch {
		case kind == tokenSpace && empty:
			s.buf = s.buf[:0]
		case kind == tokenSpace:
		case kind == tokenOther && s.buf[start] == ';' && empty:
			s.buf = s.buf[:0]
		case kind == tokenOther && s.buf[start] == ';':
			return s.buf[:start], nil
		case empty && kind == tokenWord && string(s.buf) == "DELIMITER":
			if err := s.takeUntil('\n'); err != nil {
				return nil, unfinished(err)
			}
			return bytes.TrimSpace(s.buf), nil
		default:
			empty = false
		}
	}
}

// until reads whole lines up to one that is the mark.
func (s *statements) until(mark string) ([]byte, error) {
	s.buf = s.buf[:0]
	for {
		start := len(s.buf)
		if err := s.takeUntil('\n'); err != nil {
			return nil, unfinished(err)
		}
		if string(s.buf[start:]) == mark+"\n" {
			return bytes.TrimSuffix(s.buf[:start], []byte("\n")), nil
		}
	}
}

type tokenKind int

const (
	tokenSpace  tokenKind = iota // white space and comments
	tokenWord                    // identifiers, keywords, numbers
	tokenQuoted                  // '...' "..." `...`
	tokenOther                   // one character, or a comment that servers carry out
)

// token appends the next token to buf. The error is io.EOF only at the end.
func (s *statements) token() (tokenKind, error) {
	c, err := s.take()
	if err != nil {
		return tokenSpace, err
	}
	switch {
	case isSpace(c):
		return tokenSpace, s.takeWhile(isSpace)
	case c == '#', c == '-' && s.ahead("- "), c == '-' && s.ahead("-\n"):
		return tokenSpace, ignoreEOF(s.takeUntil('\n'))
	case c == '/' && s.ahead("*"):
		kind := tokenSpace
		if s.ahead("*!") || s.ahead("*M!") {
			kind = tokenOther
		}
		return kind, s.takeComment()
	case c == '\'' || c == '"' || c == '`':
		return tokenQuoted, s.takeQuoted(c)
	case isWord(c):
		return tokenWord, s.takeWhile(isWord)
	}
	return tokenOther, nil
}

func (s *statements) takeComment() error {
	if _, err := s.take(); err != nil {
		return err
	}
	for {
		if err := s.takeUntil('*'); err != nil {
			return unfinished(err)
		}
		if s.ahead("/") {
			_, err := s.take()
			return err
		}
	}
}

// takeQuoted takes the rest of what is quoted. A quote that is doubled begins
// another one, which comes to the same.
func (s *statements) takeQuoted(quote byte) error {
	for {
		start := len(s.buf)
		if err := s.takeUntil(quote); err != nil {
			return unfinished(err)
		}
		if quote == '`' {
			return nil
		}
		escapes := 0
		for i := len(s.buf) - 2; i >= start && s.buf[i] == '\\'; i-- {
			escapes++
		}
		if escapes%2 == 0 {
			return nil
		}
	}
}

func (s *statements) take() (byte, error) {
	c, err := s.r.ReadByte()
	if err == nil {
		s.buf = append(s.buf, c)
		s.read++
	}
	return c, err
}

// ahead reports whether the text comes next.
func (s *statements) ahead(text string) bool {
	b, err := s.r.Peek(len(text))
	return err == nil && string(b) == text
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
		return fmt.Errorf("the file ends inside quotes, a comment or a program: %w", io.ErrUnexpectedEOF)
	}
	return err
}

func isSpace(c byte) bool { return strings.IndexByte(" \t\n\r\f", c) >= 0 }

func isWord(c byte) bool {
	return c == '_' || c == '$' || c == '@' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
