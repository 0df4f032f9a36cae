package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

const (
	// A check reads the structure to its end, and records for what is left of
	// this, so that a large database does not keep the daemon from starting: some
	// millions are read in a second. Reading one of the others finds out, too.
	preflightTime = time.Second
	// A damaged page can send a check round in circles. An intact database is
	// read at many times this rate.
	preflightTimeout = time.Minute
	preflightRate    = 10 << 20 // bytes a second
	preflightMemory  = 1 << 30  // bytes, and a quarter of the file
	maxFaults        = 20       // named; the others are counted
)

// PreflightReport says what a check has looked at.
type PreflightReport struct {
	Bytes   int64
	Records int  // whose checksums were verified
	All     bool // they are all that there are
}

func (r PreflightReport) String() string {
	which := "all"
	if !r.All {
		which = "the first"
	}
	return fmt.Sprintf("%d bytes, structure sound, %s %d records sound", r.Bytes, which, r.Records)
}

// Preflight checks a database without changing it: the pages and their order,
// the schema, and the checksums of records until budget has passed, or for a
// quarter of it where the pages took so long (0: of all).
// It fails with a *RefusedError that names what is wrong, or a *LockedError.
//
// A database that is damaged badly enough ends the whole process with a
// signal or lets it run out of stack: call it in a process of its own, which
// is what RunPreflight is for.
func Preflight(path string, budget time.Duration) (report PreflightReport, err error) {
	found, err := inspect(path)
	if err != nil {
		return report, fmt.Errorf("check %s: %w", path, err)
	}
	if found != "" {
		return report, &RefusedError{Path: path, Found: found}
	}
	defer func() {
		if p := recover(); p != nil {
			err = &RefusedError{Path: path, Found: fmt.Sprintf("it is damaged (%v)", p)}
		}
	}()
	db, err := bolt.Open(path, 0, &bolt.Options{ReadOnly: true, Timeout: lockPoll, FreelistType: bolt.FreelistMapType, OpenFile: openExisting})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return report, &LockedError{Path: path}
	case err != nil:
		return report, fmt.Errorf("check %s: %w", path, err)
	}
	defer db.Close()
	err = db.View(func(btx *bolt.Tx) error {
		report, err = check(btx, path, budget)
		return err
	})
	return report, err
}

func check(btx *bolt.Tx, path string, budget time.Duration) (report PreflightReport, err error) {
	var faults faults
	deadline := time.Now().Add(budget)
	report.Bytes = btx.Size()
	for err := range btx.Check() {
		faults.add(err)
	}
	if faults.n > 0 {
		return report, faults.refuse(path) // walking it might never end
	}
	if _, err := readSchema(btx, path); err != nil {
		return report, err
	}
	if least := time.Now().Add(budget / 4); least.After(deadline) {
		deadline = least
	}
	report.All = true
	for b := range bucketCount {
		bb := btx.Bucket([]byte(bucketNames[b]))
		if bb == nil {
			continue // a migration may bring it; Open looks again after those
		}
		c := bb.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if budget > 0 && report.Records%1024 == 0 && time.Now().After(deadline) {
				report.All = false
				return report, faults.refuse(path)
			}
			report.Records++
			if _, err := unseal(path, b, k, v); err != nil {
				faults.add(err)
			}
		}
	}
	return report, faults.refuse(path)
}

// faults keeps the first few of perhaps millions.
type faults struct {
	n     int
	named []string
}

func (f *faults) add(err error) {
	if f.n++; len(f.named) < maxFaults {
		if c, ok := errors.AsType[*CorruptError](err); ok {
			f.named = append(f.named, fmt.Sprintf("%s of %s: %s", c.Name, c.Bucket, c.Reason))
			return
		}
		f.named = append(f.named, err.Error())
	}
}

func (f *faults) refuse(path string) error {
	if f.n == 0 {
		return nil
	}
	s := "it is damaged: " + strings.Join(f.named, "; ")
	if more := f.n - len(f.named); more > 0 {
		s += fmt.Sprintf("; and %d faults more", more)
	}
	return &RefusedError{Path: path, Found: s}
}

// Exit codes of RunPreflight.
const (
	exitSound  = 0
	exitFault  = 1
	exitLocked = 3
)

// RunPreflight is what the process that Options.PreflightCommand starts has to
// call with the path: it checks, writes one line of result and returns the
// exit code. It bounds the stack and the memory of the whole process, which
// pages that refer to themselves or claim to be huge would fill otherwise.
func RunPreflight(path string, out io.Writer) int {
	debug.SetMaxStack(64 << 20)
	if info, err := os.Stat(path); err == nil {
		limit := uint64(preflightMemory + info.Size()/4)
		_ = unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: limit, Max: limit})
	}
	report, err := Preflight(path, preflightTime)
	if _, locked := errors.AsType[*LockedError](err); locked {
		fmt.Fprintln(out, err)
		return exitLocked
	}
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		fmt.Fprintln(out, refused.Found)
		return exitFault
	}
	if err != nil {
		fmt.Fprintln(out, err)
		return exitFault
	}
	fmt.Fprintln(out, report)
	return exitSound
}

// preflight runs the check in a child and turns whatever happens to that into
// an error.
func (o *Options) preflight(path string) error {
	if o.PreflightCommand == nil {
		_, err := Preflight(path, preflightTime)
		return err
	}
	cmd := o.PreflightCommand(path)
	check := hint(cmd)
	var out head
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("check %s in a process of its own: %w", path, err)
	}
	timeout := o.PreflightTimeout
	if info, err := os.Stat(path); timeout == 0 && err == nil {
		timeout = preflightTimeout + time.Duration(info.Size()/preflightRate)*time.Second
	}
	timer := time.AfterFunc(timeout, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	inTime := timer.Stop()
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		o.Logger.Debug("checked the database", "path", path, "result", out.String())
		return nil
	case !inTime:
		return &RefusedError{Path: path, Check: check, Found: fmt.Sprintf("its check did not end within %s, so it is damaged, or the disk is very slow", timeout)}
	case !exited:
		return fmt.Errorf("check %s in a process of its own: %w", path, err)
	case exit.ExitCode() == exitLocked:
		return &LockedError{Path: path}
	case exit.ExitCode() == exitFault:
		return &RefusedError{Path: path, Check: check, Found: out.String()}
	}
	// The rest of what the child said is the stack of its crash.
	o.Logger.Debug("the check of the database crashed", "path", path, "said", out.String())
	said, _, _ := strings.Cut(out.String(), "\n")
	return &RefusedError{Path: path, Check: check, Found: fmt.Sprintf("it is damaged so badly that its check crashed (%s): %s", exit, said)}
}

// head keeps the beginning of what a child says; a crash says most there.
type head struct {
	mu   sync.Mutex
	text []byte
}

const maxOutput = 2 << 10

func (t *head) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p[:min(len(p), maxOutput-len(t.text))]...)
	return len(p), nil
}

func (t *head) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}

// openExisting keeps bbolt from making a file.
func openExisting(path string, flag int, mode os.FileMode) (*os.File, error) {
	return os.OpenFile(path, flag&^os.O_CREATE, mode)
}
