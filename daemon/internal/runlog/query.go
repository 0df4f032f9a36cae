package runlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Query selects lines. The zero value takes all that are there.
type Query struct {
	Follow bool
	Since  time.Time     // that time and later
	Tail   int           // the last so many of what else fits, before what is followed; 0: all
	Step   string        // that step, and the steps that it planned
	Level  task.LogLevel // that one and above; empty: all
}

func (q *Query) takes(e *task.LogEntry) bool {
	switch {
	case !q.Since.IsZero() && e.Time.Before(q.Since):
		return false
	case q.Step != "" && e.Step != q.Step && !(strings.HasPrefix(e.Step, q.Step) && strings.HasPrefix(e.Step[len(q.Step):], "/")):
		return false
	}
	return q.Level == "" || rank(e.Level) >= rank(q.Level)
}

func rank(level task.LogLevel) int {
	return slices.Index([]task.LogLevel{task.LogDebug, task.LogInfo, task.LogWarn, task.LogError}, level)
}

// place is where reading begins.
type place struct {
	segment int
	offset  int64
	told    bool // what is gone is older than what was asked for
}

// begin finds where the lines begin that were asked for, from the end.
func begin(path func(int) string, s span, q *Query) (place, error) {
	switch {
	case q.Tail > 0:
		return tail(path, s, q)
	case !q.Since.IsZero():
		return since(path, s, q.Since)
	}
	return place{segment: s.first}, nil
}

// since finds the newest segment that begins before the time.
func since(path func(int) string, s span, at time.Time) (place, error) {
	for n := s.last; n > s.first; n-- {
		first, err := firstTime(path(n))
		if err != nil {
			return place{}, err
		}
		if !first.IsZero() && first.Before(at) {
			return place{segment: n, told: true}, nil
		}
	}
	return place{segment: s.first, told: s.gone != nil && s.gone.Until.Before(at)}, nil
}

func firstTime(path string) (at time.Time, err error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return at, nil
	}
	if err != nil {
		return at, err
	}
	defer file.Close()
	var head struct {
		Time time.Time `json:"time"`
	}
	if err := json.NewDecoder(file).Decode(&head); err != nil {
		return time.Time{}, nil // not written yet, or unreadable: it does not say
	}
	return head.Time, nil
}

// tail counts lines from the end until there are enough.
func tail(path func(int) string, s span, q *Query) (place, error) {
	found := 0
	at := place{segment: s.first, told: true}
	for n := s.last; n >= s.first; n-- {
		enough, offset, err := tailOf(path(n), q, &found)
		if err != nil {
			return at, err
		}
		if found > 0 {
			at.segment, at.offset = n, offset
		}
		if enough {
			return at, nil
		}
	}
	if found == 0 { // begin where the log ends: what comes may fit
		at.segment = s.last
	} else {
		at.segment, at.offset, at.told = s.first, 0, !q.Since.IsZero()
	}
	return at, nil
}

func tailOf(path string, q *Query, found *int) (enough bool, offset int64, err error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, err
	}
	defer file.Close()
	b := backwards{file: file}
	for {
		line, at, err := b.line()
		if errors.Is(err, io.EOF) {
			return false, offset, nil
		}
		if err != nil {
			return false, 0, fmt.Errorf("read %s: %w", path, err)
		}
		if entry, ok := parse(line); !ok || !q.takes(&entry) {
			continue
		}
		offset = at
		if *found++; *found == q.Tail {
			return true, offset, nil
		}
	}
}

// parse reads a line; false for an empty one.
func parse(line []byte) (entry task.LogEntry, ok bool) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return entry, false
	}
	if json.Unmarshal(line, &entry) != nil {
		entry = task.LogEntry{Level: task.LogWarn, Message: "unreadable line: " + string(bytes.ToValidUTF8(line, nil))}
	}
	return entry, true
}

const blockSize = 32 << 10

// backwards reads the lines of a file from its end. It holds one block and the
// line that goes beyond it.
type backwards struct {
	file  *os.File
	ready bool
	at    int64  // of block in the file
	block []byte // that is not read yet
	rest  []byte // of a line whose begin is before block
}

// line is the line before, and where it begins; io.EOF at the file's begin.
// What follows the last line end is no line.
func (b *backwards) line() ([]byte, int64, error) {
	if !b.ready {
		info, err := b.file.Stat()
		if err != nil {
			return nil, 0, err
		}
		b.at, b.ready = info.Size(), true
		if _, _, err := b.take(); err != nil { // up to the last line end
			return nil, 0, err
		}
	}
	return b.take()
}

func (b *backwards) take() ([]byte, int64, error) {
	for {
		if i := bytes.LastIndexByte(b.block, '\n'); i >= 0 {
			line := slices.Concat(b.block[i+1:], b.rest)
			at := b.at + int64(i) + 1
			b.block, b.rest = b.block[:i], nil
			return line, at, nil
		}
		b.rest = slices.Concat(b.block, b.rest)
		b.block = nil
		if b.at == 0 {
			if len(b.rest) == 0 {
				return nil, 0, io.EOF
			}
			line := b.rest
			b.rest = nil
			return line, 0, nil
		}
		n := min(b.at, blockSize)
		b.at -= n
		b.block = make([]byte, n)
		if _, err := b.file.ReadAt(b.block, b.at); err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, err
		}
	}
}
