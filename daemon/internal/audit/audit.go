package audit

import (
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
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	defaultSize = 64 << 20
	files       = 8 // among which the size is shared
	suffix      = ".jsonl"
	// ahead is held for lines that are still to come: many connections may be
	// under way, and a line has some kilobytes at most.
	ahead = 1 << 20
)

// ErrDiskFull says that there is no room for further lines.
var ErrDiskFull = errors.New("the disk is full")

// Entry is one line.
type Entry struct {
	Time    time.Time `json:"time"`
	User    string    `json:"user"`
	UID     uint32    `json:"uid"`
	GID     uint32    `json:"gid"`
	PID     int32     `json:"pid"`
	ActFor  string    `json:"act_for,omitempty"`
	Role    string    `json:"role"`
	Action  string    `json:"action"`
	Target  string    `json:"target,omitempty"`
	Request string    `json:"request,omitempty"`
	Result  string    `json:"result"`
	Error   string    `json:"error,omitempty"`
	Made    string    `json:"made,omitempty"`
}

// Options of a Log. Zero values take the defaults.
type Options struct {
	Dir  string
	Size int64 // bytes that are kept, about; 64 MiB

	// allocate is fallocate outside of tests.
	allocate func(f *os.File, offset, size int64) error
}

// Log is the audit log. Its methods may be called from any goroutine.
type Log struct {
	dir      string
	size     int64
	allocate func(f *os.File, offset, size int64) error

	committing sync.Mutex // of who writes; taken before mu

	mu      sync.Mutex
	next    *batch   // what is to be written; nil: nothing
	numbers []uint64 // of all files, in order; the last is written to
	out     *os.File
	end     int64 // of out: all before it is synced
	held    int64 // of out: room is held up to there
	broken  error // out has half a line that could not be taken back, or may have
}

// batch is the lines that one write and one sync make durable.
type batch struct {
	lines []byte
	done  bool // guarded by committing
	err   error
}

// Open makes the directory, or goes on with what is there.
func Open(o Options) (*Log, error) {
	l := &Log{dir: o.Dir, size: o.Size, allocate: o.allocate}
	if l.size <= 0 {
		l.size = defaultSize
	}
	if l.allocate == nil {
		l.allocate = allocate
	}
	if err := l.open(); err != nil {
		if l.out != nil {
			_ = l.out.Close()
		}
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	_ = l.Ready() // while there is room; who asks again is told
	return l, nil
}

func (l *Log) open() error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name, ours := strings.CutSuffix(entry.Name(), suffix)
		if n, err := strconv.ParseUint(name, 10, 64); ours && err == nil && n > 0 && l.path(n) == filepath.Join(l.dir, entry.Name()) {
			l.numbers = append(l.numbers, n)
		}
	}
	slices.Sort(l.numbers)
	if len(l.numbers) == 0 {
		return l.begin(1)
	}
	if l.out, err = openFile(l.path(l.newest())); err != nil {
		return err
	}
	info, err := l.out.Stat()
	if err != nil {
		return err
	}
	l.end = info.Size()
	last := []byte{'\n'}
	if l.end > 0 {
		if _, err := l.out.ReadAt(last, l.end-1); err != nil {
			return err
		}
	}
	if last[0] != '\n' { // a crash has cut it off
		if _, err := l.out.WriteAt([]byte{'\n'}, l.end); err != nil {
			return err
		}
		l.end++
	}
	l.held = l.end
	return nil
}

func (l *Log) path(number uint64) string {
	return filepath.Join(l.dir, fmt.Sprintf("%06d%s", number, suffix))
}

func (l *Log) newest() uint64 { return l.numbers[len(l.numbers)-1] }

func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	// Whatever a copy of the directory has made of it.
	if err := f.Chmod(0o600); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// begin makes the file of that number the one that is written to. Nothing has
// changed when it fails.
func (l *Log) begin(number uint64) error {
	f, err := openFile(l.path(number))
	if err != nil {
		return err
	}
	if err := syncDir(l.dir); err != nil {
		_ = f.Close()
		return err
	}
	if l.out != nil {
		_ = l.out.Truncate(l.end) // gives back what was held
		_ = l.out.Close()
	}
	l.out, l.end, l.held, l.numbers = f, 0, 0, append(l.numbers, number)
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// allocate takes room on the disk without a change of the file's size.
func allocate(f *os.File, offset, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, offset, size)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Ready is nil while lines of all acts that may be under way can be kept. Else
// it is ErrDiskFull with the reason, or says what else is wrong.
func (l *Log) Ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.out == nil:
		return errors.New("the audit log is closed")
	case l.broken != nil:
		// Nobody writes now: whoever comes is told of the fault before.
		if l.begin(l.newest()+1) != nil {
			return l.broken
		}
		l.broken = nil
	}
	switch {
	case l.held-l.end >= ahead/2:
		return nil
	}
	err := l.allocate(l.out, l.end, ahead)
	if errors.Is(err, unix.EOPNOTSUPP) { // no room can be held: then it must be there
		var st unix.Statfs_t
		if err = unix.Fstatfs(int(l.out.Fd()), &st); err == nil && int64(st.Bavail)*st.Bsize < ahead {
			err = unix.ENOSPC
		}
		if err == nil {
			return nil
		}
	}
	switch {
	case full(err):
		return fmt.Errorf("no room for the audit log: %w", ErrDiskFull)
	case err != nil:
		return fmt.Errorf("hold room for the audit log: %w", err)
	}
	l.held = l.end + ahead
	return nil
}

func full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// Keep writes a line. It is durable when the error is nil; those who come while
// another one's is on its way share the next write.
func (l *Log) Keep(e Entry) error {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return fmt.Errorf("encode a line of the audit log: %w", err)
	}
	l.mu.Lock()
	if l.next == nil {
		l.next = &batch{}
	}
	mine := l.next
	mine.lines = append(mine.lines, line.Bytes()...)
	l.mu.Unlock()

	l.committing.Lock()
	defer l.committing.Unlock()
	if !mine.done {
		l.mu.Lock()
		l.next = nil
		l.mu.Unlock()
		mine.err = l.commit(mine.lines)
		mine.done = true
	}
	return mine.err
}

// commit needs committing.
func (l *Log) commit(lines []byte) error {
	l.mu.Lock()
	out, end, broken := l.out, l.end, l.broken
	l.mu.Unlock()
	if out == nil {
		return errors.New("write the audit log: it is closed")
	}
	if broken != nil {
		return broken
	}
	_, err := out.WriteAt(lines, end)
	if err == nil {
		err = unix.Fdatasync(int(out.Fd()))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		// What of it is on the disk is not known after a failed sync, and the next
		// one would not tell: a new file is the way on.
		if undo := out.Truncate(end); undo != nil || !full(err) {
			l.broken = fmt.Errorf("write the audit log: %w", errors.Join(err, undo))
			if l.begin(l.newest()+1) == nil {
				l.broken = nil
			}
		} else {
			l.held = end // the truncation gave it back
		}
		if full(err) {
			return fmt.Errorf("write the audit log: %w", ErrDiskFull)
		}
		return fmt.Errorf("write the audit log: %w", err)
	}
	l.end += int64(len(lines))
	if l.end >= l.size/files {
		l.rotate()
	}
	return nil
}

// rotate begins a new file and removes the oldest. A disk without room for that
// is no reason to lose lines: then the file grows.
func (l *Log) rotate() {
	if l.begin(l.newest()+1) != nil {
		return
	}
	total, keep := int64(0), len(l.numbers)-1
	for keep > 0 {
		info, err := os.Stat(l.path(l.numbers[keep-1]))
		if err == nil {
			total += info.Size()
		}
		if total > l.size-l.size/files { // with the new one when it is full
			break
		}
		keep--
	}
	for keep = min(keep, len(l.numbers)-2); keep > 0; keep-- { // one full file stays
		if err := os.Remove(l.path(l.numbers[0])); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return
		}
		l.numbers = l.numbers[1:]
	}
}

// Close ends the log. What is kept by then is durable.
func (l *Log) Close() error {
	l.committing.Lock()
	defer l.committing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out == nil {
		return nil
	}
	_ = l.out.Truncate(l.end)
	err := l.out.Close()
	l.out = nil
	return err
}
