package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Query selects lines, newest first. Empty fields select all.
type Query struct {
	User   string    // who asked, or for whom
	Action string    // or its part before the dot
	Target string    // one of several will do, and of a run its task
	Since  time.Time // that time and later
	After  string    // the place that the page before has given
	Limit  int       // at least 1
}

// ErrPlace is the error of a Query.After that no page has given.
var ErrPlace = errors.New("no place in the audit log")

// chunk is how much is read at once, backwards. A longer line is read whole.
const chunk = 64 << 10

// Read returns at most Limit lines and, when there are more, the place to go
// on from, which stays good while lines are added and files go. It reads no
// more of the log than it must.
func (l *Log) Read(ctx context.Context, q Query) (entries []Entry, next string, err error) {
	l.mu.Lock()
	numbers, end := append([]uint64(nil), l.numbers...), l.end
	l.mu.Unlock()
	newest := numbers[len(numbers)-1]
	at, before, last := newest, end, ""
	if q.After != "" {
		if at, before, err = place(q.After); err != nil {
			return nil, "", err
		}
	}
	for i := len(numbers) - 1; i >= 0; i-- {
		number := numbers[i]
		if number > at {
			continue
		}
		to := int64(-1) // all of it
		switch {
		case number == at && number == newest:
			to = min(before, end)
		case number == at:
			to = before
		}
		stopped, err := l.readFile(ctx, number, to, &q, func(offset int64, e Entry) bool {
			if len(entries) == q.Limit { // there is more
				next = last
				return false
			}
			entries, last = append(entries, e), fmt.Sprintf("%d.%d", number, offset)
			return true
		})
		if err != nil {
			return nil, "", fmt.Errorf("read the audit log: %w", err)
		}
		if stopped {
			break
		}
	}
	return entries, next, nil
}

func place(text string) (number uint64, offset int64, err error) {
	head, tail, _ := strings.Cut(text, ".")
	number, err = strconv.ParseUint(head, 10, 64)
	if err == nil {
		offset, err = strconv.ParseInt(tail, 10, 64)
	}
	if err != nil || offset < 0 {
		return 0, 0, fmt.Errorf("%q: %w", text, ErrPlace)
	}
	return number, offset, nil
}

// readFile passes on the lines of one file that match, from the last one before
// to, until fn returns false.
func (l *Log) readFile(ctx context.Context, number uint64, to int64, q *Query, fn func(offset int64, e Entry) bool) (stopped bool, err error) {
	f, err := os.Open(l.path(number))
	if errors.Is(err, fs.ErrNotExist) { // it went meanwhile
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if info.ModTime().Before(q.Since.Add(-time.Minute)) { // its lines are older still
		return false, nil
	}
	if to < 0 || to > info.Size() {
		to = info.Size()
	}
	var rest []byte // of a line that begins further up
	for to > 0 {
		if err := ctx.Err(); err != nil {
			return false, context.Cause(ctx)
		}
		n := min(to, chunk)
		block := make([]byte, n, n+int64(len(rest)))
		if _, err := f.ReadAt(block, to-n); err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		to -= n
		block = append(block, rest...)
		for {
			// A line is what stands between two ends, the last of which block may have.
			body := bytes.TrimSuffix(block, []byte{'\n'})
			i := bytes.LastIndexByte(body, '\n')
			if i < 0 && to > 0 {
				rest = block
				break
			}
			line := body[i+1:]
			if e, ok := q.match(line); ok && !fn(to+int64(i+1), e) {
				return true, nil
			}
			if i < 0 {
				break
			}
			block = block[:i+1]
		}
	}
	return false, nil
}

func (q *Query) match(line []byte) (e Entry, ok bool) {
	// Most lines do not match, and to decode one costs more than to look.
	for _, want := range []string{q.User, q.Action, q.Target} {
		if want != "" && plain(want) && !bytes.Contains(line, []byte(want)) {
			return e, false
		}
	}
	if json.Unmarshal(line, &e) != nil || e.Time.IsZero() {
		return e, false // cut off, or damaged
	}
	return e, (q.User == "" || e.User == q.User || e.ActFor == q.User) &&
		(q.Action == "" || e.Action == q.Action || strings.HasPrefix(e.Action, q.Action+".")) &&
		(q.Target == "" || q.about(e.Target)) && !e.Time.Before(q.Since)
}

// about reports whether the target is the one, or of several one is.
func (q *Query) about(target string) bool {
	return slices.ContainsFunc(strings.Fields(target), func(one string) bool {
		return one == q.Target || strings.HasPrefix(one, q.Target+"/")
	})
}

// plain reports whether JSON writes the text as it is.
func plain(text string) bool {
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
