package runlog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Read sends the lines of a run that fit, oldest first. With Follow it goes on
// until the run's log is closed; a run whose log is not open has ended. It ends
// with send's error or ctx's. A run without a log has no lines.
//
// Where lines are gone because the log got too large, one line says so in their
// place.
func (l *Log) Read(ctx context.Context, run task.Run, q Query, send func(task.LogEntry) error) error {
	path := l.paths(run)
	_, _, err := l.look(run) // writes out what is in memory
	if err == nil {
		err = l.read(ctx, run, path, &q, send)
	}
	if err != nil && ctx.Err() == nil {
		if sendErr, ok := errors.AsType[*sendError](err); ok {
			return sendErr.error
		}
		return fmt.Errorf("read the log of run %s: %w", run.Ref(), err)
	}
	if sendErr, ok := errors.AsType[*sendError](err); ok {
		return sendErr.error
	}
	return err
}

// sendError is of who reads, and is handed back as it is.
type sendError struct{ error }

func (e *sendError) Unwrap() error { return e.error }

func (l *Log) read(ctx context.Context, run task.Run, path func(int) string, q *Query, send func(task.LogEntry) error) error {
	segments, err := find(path)
	if err != nil {
		return err
	}
	r := reader{q: q, send: send, path: path, limit: l.SegmentBytes * int64(l.Segments)}
	defer r.close()
	if segments.last > 0 {
		if r.place, err = begin(path, segments, q); err != nil {
			return err
		}
		if segments.gone != nil && !r.told {
			if err := r.tell(segments.gone); err != nil {
				return err
			}
		}
	} else {
		r.segment = 1
	}
	for {
		// The order matters: what is flushed after this look wakes grown.
		grown, newest, err := l.look(run)
		if err != nil {
			return err
		}
		for {
			if err := r.drain(ctx); err != nil {
				return err
			}
			if r.segment >= newest {
				break
			}
			if err := r.next(); err != nil {
				return err
			}
		}
		if !q.Follow || grown == nil {
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
func (l *Log) look(run task.Run) (grown <-chan struct{}, newest int, err error) {
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
			return f.grown, f.segment, nil
		}
	}
	segments, err := find(l.paths(run))
	return nil, segments.last, err
}

// reader reads whole lines from segments that may still grow, or go.
type reader struct {
	place
	q     *Query
	send  func(task.LogEntry) error
	path  func(int) string
	limit int64

	file *os.File
	in   *bufio.Reader
	rest []byte // of a line that is not whole yet
}

// open is a no-op on an open reader; a file that is not there has no lines.
func (r *reader) open() error {
	if r.file != nil {
		return nil
	}
	file, err := os.Open(r.path(r.segment))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if r.offset > 0 {
		if _, err := file.Seek(r.offset, io.SeekStart); err != nil {
			file.Close()
			return err
		}
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

// next goes on to the segment after this one, or, where that has gone meanwhile,
// to the oldest that is left.
func (r *reader) next() error {
	r.close()
	r.segment++
	r.offset = 0
	if _, err := os.Stat(r.path(r.segment)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	segments, err := find(r.path)
	if err != nil || segments.first <= r.segment || segments.gone == nil {
		return err
	}
	r.segment = segments.first
	return r.tell(segments.gone)
}

func (r *reader) tell(g *gone) error {
	line := g.line(r.limit)
	if g.Lines == 0 { // of a log from before that was counted
		line.Message = "older lines are gone: the log had grown too large"
	}
	return r.pass(line)
}

func (r *reader) pass(entry task.LogEntry) error {
	if err := r.send(entry); err != nil {
		return &sendError{err}
	}
	return nil
}

func (r *reader) drain(ctx context.Context) error {
	if err := r.open(); err != nil || r.file == nil {
		return err
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
		if ctx.Err() != nil {
			return ctx.Err()
		}
		line := r.rest
		r.rest = nil
		if r.segment == 1 && goneOf(line) != nil {
			continue // is told where reading begins
		}
		if entry, ok := parse(line); ok && r.q.takes(&entry) {
			if err := r.pass(entry); err != nil {
				return err
			}
		}
	}
}
