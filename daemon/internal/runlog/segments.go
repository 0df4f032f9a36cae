package runlog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// span is which segments of a run's log there are. last is 0 where there is none.
type span struct {
	first, last int
	gone        *gone // nil: nothing
}

// gone says what was taken out of a log because it got too large. It stands in
// the first segment's place.
type gone struct {
	First int       `json:"first_segment"` // that is left
	Lines int64     `json:"lines"`
	Bytes int64     `json:"bytes"`
	Until time.Time `json:"until"` // of the last line
}

// line is what people read of it.
func (g *gone) line(limit int64) task.LogEntry {
	fields, err := json.Marshal(map[string]*gone{"gone": g})
	if err != nil {
		fields = nil
	}
	return task.LogEntry{Time: g.Until, Level: task.LogWarn, Fields: fields, Message: fmt.Sprintf(
		"%d older lines (%s) are gone: the log of a run is kept to %s", g.Lines, size(g.Bytes), size(limit))}
}

func size(bytes int64) string {
	switch {
	case bytes >= 10<<20:
		return fmt.Sprintf("%d MiB", bytes>>20)
	case bytes >= 10<<10:
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d bytes", bytes)
}

// goneOf reads it from a line, or gives nil.
func goneOf(line []byte) *gone {
	if !bytes.Contains(line, []byte(`"first_segment"`)) {
		return nil
	}
	var entry struct {
		Fields struct {
			Gone *gone `json:"gone"`
		} `json:"fields"`
	}
	if json.Unmarshal(line, &entry) != nil || entry.Fields.Gone == nil || entry.Fields.Gone.First < 2 {
		return nil
	}
	return entry.Fields.Gone
}

// find looks for the segments of a log without listing the directory.
func find(path func(int) string) (span, error) {
	s := span{first: 1}
	file, err := os.Open(path(1))
	if errors.Is(err, fs.ErrNotExist) {
		return list(path)
	}
	if err != nil {
		return s, err
	}
	defer file.Close()
	line, err := bufio.NewReader(file).ReadSlice('\n')
	if err == nil {
		if s.gone = goneOf(line); s.gone != nil {
			s.first = s.gone.First
		}
	}
	for s.last = s.first; ; s.last++ {
		if _, err := os.Stat(path(s.last + 1)); errors.Is(err, fs.ErrNotExist) {
			return s, nil
		} else if err != nil {
			return s, err
		}
	}
}

// list does so for a log from before the first segment stayed.
func list(path func(int) string) (span, error) {
	dir, base := filepath.Split(path(0))
	prefix := strings.TrimSuffix(base, "0000"+suffix)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return span{}, nil
	}
	if err != nil {
		return span{}, err
	}
	var segments []int
	for _, entry := range entries {
		middle, ok := strings.CutPrefix(entry.Name(), prefix)
		if !ok {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSuffix(middle, suffix)); err == nil && n > 0 {
			segments = append(segments, n)
		}
	}
	if len(segments) == 0 {
		return span{}, nil
	}
	s := span{first: slices.Min(segments), last: slices.Max(segments)}
	if s.first > 1 {
		s.gone = &gone{First: s.first}
	}
	return s, nil
}

// dropOldest takes the oldest segments out until there is room for another one.
// The caller holds f.mu; the newest segment is not open.
func (l *Log) dropOldest(f *file) error {
	for f.before > l.SegmentBytes*int64(l.Segments-1) && f.first <= f.segment {
		bytes, err := total(f.path, f.first, f.first)
		if err != nil {
			return err
		}
		if err := l.drop(f, bytes); err != nil {
			return err
		}
		f.before -= bytes
	}
	return nil
}

// drop takes the oldest segment out. What is gone is written down before
// anything goes.
func (l *Log) drop(f *file, bytes int64) error {
	now := gone{}
	if f.gone != nil {
		now = *f.gone
	}
	lines, until, err := measure(f.path(f.first))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	now.First, now.Lines, now.Bytes = f.first+1, now.Lines+lines, now.Bytes+bytes
	if !until.IsZero() {
		now.Until = until
	}
	line, err := json.Marshal(now.line(l.SegmentBytes * int64(l.Segments)))
	if err != nil {
		return err
	}
	part := f.path(1) + ".part"
	if err := os.WriteFile(part, append(line, '\n'), 0o600); err != nil {
		return err
	}
	if err := os.Rename(part, f.path(1)); err != nil {
		return err
	}
	dropped := f.first
	f.first, f.gone = now.First, &now
	if dropped == 1 { // its place is taken
		return nil
	}
	if err := os.Remove(f.path(dropped)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// measure counts the lines of a file and finds the time of the last one.
func measure(path string) (lines int64, until time.Time, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, until, err
	}
	defer file.Close()
	var head struct {
		Time time.Time `json:"time"`
	}
	b := backwards{file: file}
	if last, _, err := b.line(); err == nil && json.Unmarshal(last, &head) == nil {
		until = head.Time
	}
	buffer := make([]byte, 64<<10)
	for at := int64(0); ; {
		n, err := file.ReadAt(buffer, at)
		lines += int64(bytes.Count(buffer[:n], []byte("\n")))
		at += int64(n)
		if err != nil || n == 0 {
			return lines, until, nil
		}
	}
}
