package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	dirMode    = 0o750
	socketMode = 0o660
	// maxSocketPath is what sun_path of sockaddr_un holds, less its end.
	maxSocketPath = 107
	probeTimeout  = time.Second
	lockTimeout   = 2 * time.Second
)

// Listen makes the socket at path, mode 0660, in a directory that it makes
// when it is not there (mode 0750). With a group name both belong to that
// group. A socket that nobody listens on is replaced; one that is live is
// refused, and what is no socket is never removed. Closing the listener removes
// the socket, unless another one took its place.
func Listen(path, group string) (net.Listener, error) {
	l, err := listen(path, group)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

func listen(path, group string) (net.Listener, error) {
	if !filepath.IsAbs(path) {
		return nil, errors.New("the path of the socket must be absolute")
	}
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path is %d bytes long, a socket's may have %d: choose a shorter one", len(path), maxSocketPath)
	}
	gid := -1
	if group != "" {
		var err error
		if gid, err = lookupGroup(group); err != nil {
			return nil, err
		}
	}
	dir := filepath.Dir(path)
	if err := makeDir(dir, gid); err != nil {
		return nil, err
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	return bind(path, gid)
}

func lookupGroup(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("find the group %q of the socket: %w", name, err)
	}
	return strconv.Atoi(g.Gid)
}

// makeDir leaves a directory behind in which nobody but root and this user can
// replace the socket.
func makeDir(dir string, gid int) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return err
		}
		// The umask may have taken bits away; only what is new is changed.
		if err := os.Mkdir(dir, dirMode); err == nil {
			if err := os.Chmod(dir, dirMode); err != nil {
				return err
			}
			if gid >= 0 {
				if err := os.Lchown(dir, -1, gid); err != nil {
					return err
				}
			}
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
		info, err = os.Stat(dir)
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no directory", dir)
	}
	owner, self := info.Sys().(*syscall.Stat_t).Uid, uint32(os.Geteuid())
	if owner != 0 && owner != self {
		return fmt.Errorf("%s belongs to uid %d, who could replace the socket: it must belong to root or to uid %d", dir, owner, self)
	}
	if info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("%s is writable by everybody, who could replace the socket: chmod 0750 %s", dir, dir)
	}
	return nil
}

// lockDir keeps two daemons that start at once from taking each other's
// socket for a stale one. The lock lies on the directory, so nothing stays
// behind.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(lockTimeout)
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) || time.Now().After(deadline) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("there is something that is no socket: it is not removed; move it away, or choose another path")
	}
	conn, err := net.DialTimeout("unix", path, probeTimeout)
	if err == nil {
		_ = conn.Close()
		return errors.New("another daemon answers there: stop it first, or choose another path")
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("there is a socket that may be in use: %w", err)
	}
	return os.Remove(path)
}

// bind never leaves a moment in which the socket has a wider mode than it has
// in the end: on Linux the mode of the unbound socket is that of its file.
func bind(path string, gid int) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
			return e
		}
		return err
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	ul := l.(*net.UnixListener)
	ul.SetUnlinkOnClose(false) // see socketListener.Close
	s := &socketListener{UnixListener: ul, path: path}
	s.info, err = os.Lstat(path)
	if err == nil && gid >= 0 {
		err = os.Lchown(path, -1, gid)
	}
	if err == nil {
		err = os.Chmod(path, socketMode)
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// socketListener removes its own socket at its end, never a successor's.
type socketListener struct {
	*net.UnixListener
	path string
	info fs.FileInfo
	once sync.Once
}

func (s *socketListener) Close() error {
	s.once.Do(func() {
		if now, err := os.Lstat(s.path); err == nil && s.info != nil && os.SameFile(now, s.info) {
			_ = os.Remove(s.path)
		}
	})
	return s.UnixListener.Close()
}
