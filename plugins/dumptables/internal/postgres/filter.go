package postgres

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"regexp"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
)

// reportRows is how often seen is called.
const reportRows = 1000

// filter passes on what pg_dump writes, without the commands of psql that only
// its own version knows. Of a dump of rows it counts and sums up these: a line of
// COPY is a row. No line is held as a whole.
type filter struct {
	w    io.Writer
	sum  *dump.Checksum // nil: there are no rows
	seen func(rows int64)
	rows int64

	state  lexState
	start  []byte // of the statement, as long as it may be of interest
	end    []byte // the last bytes of the statement
	inCopy bool
}

type lexState int

const (
	inCode lexState = iota
	inName
	inText
	inComment
)

// setting is the one statement beside COPY that carries data.
var setting = regexp.MustCompile(`(?s)^SELECT pg_catalog\.setval\(.*, (-?[0-9]+), (true|false)\)$`)

func (f *filter) pass(ctx context.Context, from io.Reader) error {
	r := bufio.NewReaderSize(from, 64<<10)
	lineStart, restricted := true, []byte(nil)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		chunk, err := r.ReadSlice('\n')
		whole := err == nil
		if len(chunk) > 0 {
			if lineStart && whole && !f.inCopy && f.state == inCode && f.command(chunk, &restricted) {
				continue
			}
			if f.sum != nil {
				f.look(chunk, lineStart, whole)
			}
			if _, err := f.w.Write(chunk); err != nil {
				return err
			}
			lineStart = whole
		}
		switch {
		case err == nil, errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil
		default:
			return err
		}
	}
}

// command reports whether a line is one that has to go: \restrict with a key that
// nobody can guess, and \unrestrict with the same.
func (f *filter) command(line []byte, key *[]byte) bool {
	if rest, ok := bytes.CutPrefix(line, []byte(`\restrict `)); ok && *key == nil {
		*key = bytes.Clone(rest)
		return true
	}
	rest, ok := bytes.CutPrefix(line, []byte(`\unrestrict `))
	return ok && *key != nil && bytes.Equal(rest, *key)
}

// look reads one line, or a piece of one, of a dump of rows.
func (f *filter) look(chunk []byte, lineStart, whole bool) {
	if !f.inCopy {
		f.statement(chunk)
		return
	}
	if lineStart && string(chunk) == "\\.\n" {
		f.inCopy = false
		return
	}
	f.sum.Bytes(bytes.TrimSuffix(chunk, []byte("\n")))
	if whole {
		f.sum.Row()
		if f.rows++; f.rows%reportRows == 0 {
			f.seen(f.rows)
		}
	}
}

func (f *filter) statement(chunk []byte) {
	for i, c := range chunk {
		switch f.state {
		case inComment:
			if c == '\n' {
				f.state = inCode
			}
			continue
		case inName:
			if c == '"' {
				f.state = inCode
			}
		case inText:
			if c == '\'' {
				f.state = inCode
			}
		case inCode:
			switch {
			case c == '"':
				f.state = inName
			case c == '\'':
				f.state = inText
			case c == '-' && i+1 < len(chunk) && chunk[i+1] == '-' && len(f.start) == 0:
				f.state = inComment
				continue
			case c == ';':
				f.ended()
				continue
			case c == '\n' && len(f.start) == 0:
				continue
			}
		}
		if len(f.start) < 4<<10 {
			f.start = append(f.start, c)
		}
		if f.end = append(f.end, c); len(f.end) > 64 {
			f.end = append(f.end[:0], f.end[32:]...)
		}
	}
}

func (f *filter) ended() {
	if bytes.HasPrefix(f.start, []byte("COPY ")) && bytes.HasSuffix(f.end, []byte(" FROM stdin")) {
		f.inCopy = true
	} else if m := setting.FindSubmatch(f.start); m != nil {
		addSequence(f.sum, m[1], string(m[2]) == "true")
	}
	f.start, f.end = f.start[:0], f.end[:0]
}

// addSequence counts the state of a sequence in, which belongs to a table as its
// rows do.
func addSequence(sum *dump.Checksum, last []byte, called bool) {
	sum.Value([]byte("sequence"))
	sum.Value(last)
	if called {
		sum.Value([]byte("called"))
	}
	sum.Row()
}
