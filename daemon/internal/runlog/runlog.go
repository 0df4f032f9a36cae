package runlog

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/daemon/internal/task"
)

const (
	// FlushInterval is how long a line may wait in memory.
	FlushInterval = 100 * time.Millisecond

	defaultSegment  = 8 << 20 // bytes
	defaultSegments = 8
	bufferSize      = 16 << 10
	suffix          = ".jsonl"
)

// Options of a Log. Zero values take the defaults.
type Options struct {
	Dir          string
	Logger       hclog.Logger
	SegmentBytes int64 // a new segment is begun above that
	Segments     int   // so many times SegmentBytes is what the log of a run may have; at least 2
}

// Log writes and reads the logs of runs. Its methods may be called from any
// goroutine.
type Log struct {
	Options

	mu    sync.Mutex
	files map[task.RunID]*file
	done  chan struct{}
	ended sync.WaitGroup
}

// file is the log of a run that is written to.
type file struct {
	mu      sync.Mutex
	path    func(segment int) string
	first   int // oldest segment that is left
	segment int // newest
	gone    *gone
	before  int64 // bytes of the segments before the newest
	out     *os.File
	buffer  *bufio.Writer
	size    int64
	failed  bool          // told once; lines are dropped until the run ends
	grown   chan struct{} // closed and replaced when there is more to read
	closed  bool
}

// New makes the directory and begins to flush; Stop ends that.
func New(o Options) (*Log, error) {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = defaultSegment
	}
	if o.Segments == 0 {
		o.Segments = defaultSegments
	}
	o.Segments = max(2, o.Segments)
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of run logs: %w", err)
	}
	l := &Log{Options: o, files: map[task.RunID]*file{}, done: make(chan struct{})}
	l.ended.Add(1)
	go l.flush()
	return l, nil
}

// Stop writes out and closes all logs.
func (l *Log) Stop() {
	close(l.done)
	l.ended.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, f := range l.files {
		f.close()
		delete(l.files, id)
	}
}

func (l *Log) flush() {
	defer l.ended.Done()
	tick := time.NewTicker(FlushInterval)
	defer tick.Stop()
	for {
		select {
		case <-l.done:
			return
		case <-tick.C:
		}
		l.mu.Lock()
		open := make([]*file, 0, len(l.files))
		for _, f := range l.files {
			open = append(open, f)
		}
		l.mu.Unlock()
		for _, f := range open {
			f.mu.Lock()
			if f.buffer != nil && f.buffer.Buffered() > 0 {
				l.report(f, f.buffer.Flush())
				f.announce()
			}
			f.mu.Unlock()
		}
	}
}

// report tells once that lines are lost. The caller holds f.mu.
func (l *Log) report(f *file, err error) {
	if err == nil || f.failed {
		return
	}
	f.failed = true
	l.Logger.Warn("lines of a run's log are lost", "file", f.path(f.segment), "error", err)
}

// Append writes one line. It never fails: what cannot be written is dropped,
// and the daemon's own log says so.
func (l *Log) Append(run task.Run, entry task.LogEntry) {
	line, err := json.Marshal(entry)
	if err != nil { // fields that are no JSON
		entry.Fields = nil
		if line, err = json.Marshal(entry); err != nil {
			return
		}
	}
	f := l.file(run)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	if f.out == nil || f.size > 0 && f.size+int64(len(line)) >= l.SegmentBytes {
		if err := l.roll(f, isFresh(run, f)); err != nil {
			l.report(f, err)
			return
		}
	}
	n, err := f.buffer.Write(append(line, '\n'))
	f.size += int64(n)
	l.report(f, err)
}

// isFresh reports whether the run has no log yet: it was never continued, and
// there is nothing under its first name. Logs of others are looked for.
func isFresh(run task.Run, f *file) bool {
	if f.out != nil || !run.QueuedAt.Equal(run.CreatedAt) {
		return false
	}
	_, err := os.Stat(f.path(1))
	return errors.Is(err, fs.ErrNotExist)
}

func (l *Log) file(run task.Run) *file {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.files[run.ID]
	if f == nil {
		f = &file{path: l.paths(run), grown: make(chan struct{})}
		l.files[run.ID] = f
	}
	return f
}

func (l *Log) paths(run task.Run) func(int) string {
	base := filepath.Join(l.Dir, run.Task, strconv.FormatUint(run.Number, 10))
	return func(segment int) string { return fmt.Sprintf("%s.%04d%s", base, segment, suffix) }
}

// roll opens the newest segment, or begins the next one. The caller holds f.mu.
func (l *Log) roll(f *file, fresh bool) error {
	if f.out != nil {
		if err := errors.Join(f.buffer.Flush(), f.out.Close()); err != nil {
			return err
		}
		f.out = nil
		f.before += f.size
		if err := l.dropOldest(f); err != nil {
			return err
		}
		f.segment++
	} else {
		if err := os.MkdirAll(filepath.Dir(f.path(0)), 0o700); err != nil {
			return err
		}
		f.first, f.segment = 1, 1
		if !fresh {
			segments, err := find(f.path)
			if err != nil {
				return err
			}
			if segments.last > 0 {
				f.first, f.segment, f.gone = segments.first, segments.last, segments.gone
			}
			if f.before, err = total(f.path, f.first, f.segment-1); err != nil {
				return err
			}
		}
	}
	out, err := os.OpenFile(f.path(f.segment), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if f.size, err = mend(out); err != nil {
		out.Close()
		return err
	}
	f.out, f.buffer = out, bufio.NewWriterSize(out, bufferSize)
	f.announce()
	return nil
}

// mend ends a line that a crash cut short, and returns the file's size.
func mend(out *os.File) (int64, error) {
	info, err := out.Stat()
	if err != nil || info.Size() == 0 {
		return 0, err
	}
	last := make([]byte, 1)
	if _, err := out.ReadAt(last, info.Size()-1); err != nil {
		return 0, err
	}
	if last[0] == '\n' {
		return info.Size(), nil
	}
	_, err = out.Write([]byte("\n"))
	return info.Size() + 1, err
}

// announce wakes those who follow. The caller holds f.mu.
func (f *file) announce() {
	close(f.grown)
	f.grown = make(chan struct{})
}

func (f *file) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	var err error
	if f.out != nil {
		err = errors.Join(f.buffer.Flush(), f.out.Close())
	}
	f.announce()
	return err
}

// Close writes out the log of a run that has ended; who follows it reads to
// the end. A later Append begins anew where it ended.
func (l *Log) Close(run task.Run) {
	l.mu.Lock()
	f := l.files[run.ID]
	delete(l.files, run.ID)
	l.mu.Unlock()
	if f == nil {
		return
	}
	if err := f.close(); err != nil {
		f.mu.Lock()
		l.report(f, err)
		f.mu.Unlock()
	}
}

// Remove deletes the log of a run.
func (l *Log) Remove(run task.Run) error {
	l.Close(run)
	path := l.paths(run)
	segments, err := find(path)
	if err != nil {
		return fmt.Errorf("remove the log of run %s: %w", run.Ref(), err)
	}
	// The first one goes last: who comes back after a crash finds the others by it.
	for n := segments.last; n > 0; n-- {
		if n < segments.first-1 && n > 1 {
			n = 1 // those between have gone before
		}
		if err := os.Remove(path(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the log of run %s: %w", run.Ref(), err)
		}
	}
	return nil
}

// Size is how many bytes the log of a run takes, 0 when there is none.
func (l *Log) Size(run task.Run) (int64, error) {
	path := l.paths(run)
	segments, err := find(path)
	if err != nil {
		return 0, fmt.Errorf("measure the log of run %s: %w", run.Ref(), err)
	}
	size, err := total(path, segments.first, segments.last)
	if err != nil {
		return 0, fmt.Errorf("measure the log of run %s: %w", run.Ref(), err)
	}
	return size, nil
}

// total is how many bytes those segments have that are there.
func total(path func(int) string, first, last int) (bytes int64, err error) {
	for n := first; n <= last; n++ {
		info, err := os.Stat(path(n))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		bytes += info.Size()
	}
	return bytes, nil
}
