package runlog

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Read sends the lines of a run, oldest first. With follow it goes on until
// the run's log is closed; a run whose log is not open has ended. It ends with
// send's error or ctx's. A run without a log has no lines.
func (l *Log) Read(ctx context.Context, run task.Run, follow bool, send func(task.LogEntry) error) error {
	path := l.paths(run)
	segments, err := listSegments(path)
	if err != nil {
		return fmt.Errorf("read the log of run %s: %w", run.Ref(), err)
	}
	segment := 1
	if len(segments) > 0 {
		segment = segments[0]
	}
	if segment > 1 {
		if err := send(task.LogEntry{Level: task.LogWarn, Message: "older lines were dropped: the log had grown too large"}); err != nil {
			return err
		}
	}
	r := reader{send: send}
	defer r.close()
	for {
		// The order matters: what is flushed after this look wakes grown.
		grown, newest := l.look(run)
		if !follow {
			grown = nil
		}
		for {
			if err := r.open(path(segment)); err != nil {
				return fmt.Errorf("read the log of run %s: %w", run.Ref(), err)
			}
			if err := r.drain(); err != nil {
				return err
			}
			if segment >= newest {
				break
			}
			r.close()
			segment++
		}
		if grown == nil {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// look returns what is closed when there is more (nil when nothing will come),
// and the newest segment. What was appended before is in the file.
func (l *Log) look(run task.Run) (grown <-chan struct{}, newest int) {
	l.mu.Lock()
	f := l.files[run.ID]
	l.mu.Unlock()
	if f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if !f.closed {
			if f.buffer != nil {
				l.report(f, f.buffer.Flush())
			}
			return f.grown, f.segment
		}
	}
	if segments, err := listSegments(l.paths(run)); err == nil && len(segments) > 0 {
		newest = segments[len(segments)-1]
	}
	return nil, newest
}

// reader reads whole lines from a file that may still grow.
type reader struct {
	send func(task.LogEntry) error
	file *os.File
	in   *bufio.Reader
	rest []byte // of a line that is not whole yet
}

// open is a no-op on an open reader; a file that is not there has no lines.
func (r *reader) open(path string) error {
	if r.file != nil {
		return nil
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r.file, r.in, r.rest = file, bufio.NewReader(file), nil
	return nil
}

func (r *reader) close() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

func (r *reader) drain() error {
	if r.file == nil {
		return nil
	}
	for {
		part, err := r.in.ReadBytes('\n')
		r.rest = append(r.rest, part...)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", r.file.Name(), err)
		}
		line := bytes.TrimSpace(r.rest)
		r.rest = nil
		if len(line) == 0 {
			continue
		}
		var entry task.LogEntry
		if json.Unmarshal(line, &entry) != nil {
			entry = task.LogEntry{Level: task.LogWarn, Message: "unreadable line: " + string(bytes.ToValidUTF8(line, nil))}
		}
		if err := r.send(entry); err != nil {
			return err
		}
	}
}
