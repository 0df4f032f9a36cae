// Killat kills a process with SIGKILL between two of its system calls.
//
//	killat PID FROM N
//
// counts the calls of all threads of PID together, in the order in which they
// are begun, from the first one at or after the time FROM (Unix nanoseconds),
// and kills the process when it is about to begin call N, which then does not
// happen. It prints the names of calls 1 to N. With N = 0 it kills nobody: it
// prints all calls until its standard input ends, and then lets go.
//
// A tracer that counts each thread and each kind of call by itself, as strace
// does when it injects signals, cannot be told to stop at such a point.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "killat:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: killat PID FROM N")
	}
	var numbers [3]int64
	for i, arg := range args {
		n, err := strconv.ParseInt(arg, 10, 64)
		if err != nil {
			return err
		}
		numbers[i] = n
	}
	runtime.LockOSThread() // the kernel knows the tracer as a thread
	t := &tracer{pid: int(numbers[0]), from: time.Unix(0, numbers[1]), n: int(numbers[2]), calls: &strings.Builder{}}
	if err := t.attach(); err != nil {
		return err
	}
	if t.n == 0 {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			t.over.Store(true)
		}()
	}
	fmt.Println("attached")
	err := t.follow()
	fmt.Print(t.calls)
	return err
}

type tracer struct {
	pid   int
	from  time.Time
	n     int
	count int
	calls *strings.Builder
	over  atomic.Bool
}

const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE

// attach takes hold of all threads, also of those that begin meanwhile.
func (t *tracer) attach() error {
	held := map[int]bool{}
	for fresh := true; fresh; {
		fresh = false
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", t.pid))
		if err != nil {
			return err
		}
		for _, path := range tasks {
			tid, err := strconv.Atoi(filepath.Base(path))
			if err != nil || held[tid] {
				continue
			}
			held[tid], fresh = true, true
			// With its options at once: from here on, threads that it makes are
			// held from their beginning.
			err = ptrace(unix.PTRACE_SEIZE, tid, 0, options)
			if errors.Is(err, unix.EPERM) && len(held) > 1 {
				err = nil // its maker was held already, and so is it
			}
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("seize thread %d: %w", tid, err)
			}
			if err := ptrace(unix.PTRACE_INTERRUPT, tid, 0, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("interrupt thread %d: %w", tid, err)
			}
		}
	}
	return nil
}

// follow lets the threads go on from call to call.
func (t *tracer) follow() error {
	for {
		var status unix.WaitStatus
		tid, err := unix.Wait4(-1, &status, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			return nil // all are gone
		case err != nil:
			return err
		case !status.Stopped():
			continue
		}
		signal := 0
		switch stop := status.StopSignal(); {
		case stop == unix.SIGTRAP|0x80:
			if t.entering(tid) && t.begins(tid) {
				return nil
			}
		case int(status)>>16 == 0:
			signal = int(stop) // meant for the process
		}
		if t.over.Load() {
			return nil // what is held is let go with the tracer's end
		}
		if err := ptrace(unix.PTRACE_SYSCALL, tid, 0, uintptr(signal)); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("let thread %d go on: %w", tid, err)
		}
	}
}

// begins counts a call that is about to be begun, and reports whether it was
// the last one.
func (t *tracer) begins(tid int) bool {
	if time.Now().Before(t.from) {
		return false
	}
	t.count++
	fmt.Fprintln(t.calls, name(t.info(tid).Nr))
	if t.count != t.n {
		return false
	}
	_ = unix.Kill(t.pid, unix.SIGKILL)
	return true
}

// info is struct ptrace_syscall_info.
type info struct {
	Op   uint8
	_    [3]uint8
	Arch uint32
	IP   uint64
	SP   uint64
	Nr   uint64
	_    [64]byte
}

const (
	getSyscallInfo = 0x420e // PTRACE_GET_SYSCALL_INFO
	infoEntry      = 1
)

func (t *tracer) info(tid int) (i info) {
	_, _, _ = unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(tid), unsafe.Sizeof(i), uintptr(unsafe.Pointer(&i)), 0, 0)
	return i
}

func (t *tracer) entering(tid int) bool { return t.info(tid).Op == infoEntry }

func ptrace(request, pid int, addr, data uintptr) error {
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(pid), addr, data, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// name is for people, so only the usual calls of a daemon have one.
func name(nr uint64) string {
	for known, text := range map[uint64]string{
		unix.SYS_READ: "read", unix.SYS_WRITE: "write", unix.SYS_PREAD64: "pread64", unix.SYS_PWRITE64: "pwrite64",
		unix.SYS_FDATASYNC: "fdatasync", unix.SYS_FSYNC: "fsync", unix.SYS_FUTEX: "futex", unix.SYS_OPENAT: "openat",
		unix.SYS_CLOSE: "close", unix.SYS_MKDIRAT: "mkdirat", unix.SYS_UNLINKAT: "unlinkat", unix.SYS_FSTAT: "fstat",
		unix.SYS_NANOSLEEP: "nanosleep", unix.SYS_EPOLL_PWAIT: "epoll_pwait", unix.SYS_EPOLL_CTL: "epoll_ctl",
		unix.SYS_CLONE: "clone", unix.SYS_CLONE3: "clone3", unix.SYS_MMAP: "mmap", unix.SYS_MADVISE: "madvise",
		unix.SYS_SENDMSG: "sendmsg", unix.SYS_RECVMSG: "recvmsg", unix.SYS_SENDTO: "sendto", unix.SYS_GETPID: "getpid",
		unix.SYS_TGKILL: "tgkill", unix.SYS_RT_SIGPROCMASK: "rt_sigprocmask", unix.SYS_RT_SIGRETURN: "rt_sigreturn",
		unix.SYS_FCNTL: "fcntl", unix.SYS_NEWFSTATAT: "newfstatat", unix.SYS_GETDENTS64: "getdents64", unix.SYS_STATFS: "statfs",
		unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FALLOCATE: "fallocate", unix.SYS_SCHED_YIELD: "sched_yield",
	} {
		if known == nr {
			return text
		}
	}
	return "call " + strconv.FormatUint(nr, 10)
}
