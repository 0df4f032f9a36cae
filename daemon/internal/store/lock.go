package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const lockPoll = 50 * time.Millisecond

// LockedError means that another process has the database open.
type LockedError struct {
	PID  int // 0: not known
	Path string
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is in use by another process; two daemons cannot share one state directory: stop the other one, or give this one its own", e.Path)
	}
	return fmt.Sprintf("%s is in use by process %d; two daemons cannot share one state directory: stop that one, or give this one its own", e.Path, e.PID)
}

// takeLock takes an exclusive flock on the file, making it when it is not
// there, and writes the own pid into it. The lock ends with the file's
// descriptor, so with the process at the latest.
func takeLock(path string, timeout time.Duration) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := waitFlock(f, timeout); err != nil {
		f.Close()
		return nil, err
	}
	// A lock without its pid still locks; /proc/locks knows the holder too.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt(strconv.AppendInt(nil, int64(os.Getpid()), 10), 0)
	}
	return f, nil
}

// waitFlock returns a *LockedError when others hold the lock until the timeout.
func waitFlock(f *os.File, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case !errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		case time.Now().After(deadline):
			return &LockedError{PID: holder(f), Path: f.Name()}
		}
		time.Sleep(lockPoll)
	}
}

// checkUnlocked refuses a database that somebody has open without our lock
// file, a tool for bbolt files perhaps.
func checkUnlocked(path string, timeout time.Duration) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // releases
	return waitFlock(f, timeout)
}

// holder finds who has the file flocked: the kernel knows, except where it
// hides other namespaces; then the pid in the file is believed when such a
// process is alive.
func holder(f *os.File) int {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0
	}
	if locks, err := os.ReadFile("/proc/locks"); err == nil {
		if pid := flockHolder(locks, &st); pid > 0 {
			return pid
		}
	}
	text := make([]byte, 32)
	n, _ := f.ReadAt(text, 0)
	pid, err := strconv.Atoi(string(bytes.TrimSpace(text[:n])))
	if err != nil || pid <= 0 || errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
		return 0
	}
	return pid
}

// flockHolder looks through lines like
//
//	12: FLOCK  ADVISORY  WRITE 4242 fe:01:131090 0 EOF
//
// Those with "->" behind the number wait for a lock. Some file systems show
// another device there than stat does, so the inode alone is the second best.
func flockHolder(locks []byte, st *unix.Stat_t) int {
	inode := strconv.FormatUint(st.Ino, 10)
	device := fmt.Sprintf("%02x:%02x:", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))
	likely := 0
	for line := range strings.Lines(string(locks)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || !strings.HasSuffix(fields[5], ":"+inode) {
			continue
		}
		pid, err := strconv.Atoi(fields[4])
		if err != nil || pid <= 0 {
			continue
		}
		if fields[5] == device+inode {
			return pid
		}
		likely = pid
	}
	return likely
}
