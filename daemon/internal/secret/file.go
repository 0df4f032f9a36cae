package secret

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// place is a file that holds a value.
type place struct {
	dir, name  string
	from       string
	credential bool // systemd put it there
}

func (p place) path() string { return filepath.Join(p.dir, p.name) }

// exists does not follow a link, so that one is refused and not passed over.
// What cannot be looked at exists too: read says why.
func (p place) exists() bool {
	_, err := os.Lstat(p.path())
	return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR)
}

// read checks what it has opened, not what a name says: nobody can put
// something else there in between.
func (p place) read() (string, error) {
	dir, err := unix.Open(p.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open the directory %s: %w", p.dir, err)
	}
	defer unix.Close(dir)
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return "", fmt.Errorf("look at the directory %s: %w", p.dir, err)
	}
	switch {
	case !trusted(st.Uid):
		return "", fmt.Errorf("the directory %s belongs to uid %d, who could put another value there: it must belong to root or to uid %d", p.dir, st.Uid, os.Geteuid())
	case st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0:
		return "", fmt.Errorf("others can write to the directory %s (mode %04o): run chmod go-w on it", p.dir, st.Mode&0o7777)
	}
	// O_NONBLOCK: opening a fifo must not hang.
	fd, err := unix.Openat(dir, p.name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ELOOP):
		return "", fmt.Errorf("%s is a symbolic link: put the file itself there, or name it under secrets in the configuration", p.path())
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("there is no file %s: put its value there, mode 0600", p.path())
	case err != nil:
		return "", fmt.Errorf("open %s: %w", p.path(), err)
	}
	file := os.NewFile(uintptr(fd), p.path())
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	if err := p.check(info); err != nil {
		return "", err
	}
	raw, err := io.ReadAll(io.LimitReader(file, MaxValue+3))
	if err != nil {
		return "", err // names the path alone
	}
	return p.value(raw)
}

// check looks at the owner and the rights of the opened file. For credentials
// of a unit with a user of its own systemd uses an access control list, which
// shows as rights of the group.
func (p place) check(info fs.FileInfo) error {
	forbidden := fs.FileMode(0o077)
	if p.credential {
		forbidden = 0o037
	}
	uid := info.Sys().(*syscall.Stat_t).Uid
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return fmt.Errorf("%s is no regular file", p.path())
	case !trusted(uid):
		return fmt.Errorf("%s belongs to uid %d, who knows and could change it: it must belong to root or to uid %d", p.path(), uid, os.Geteuid())
	case mode.Perm()&forbidden != 0:
		return fmt.Errorf("others can read or write %s (mode %04o): run chmod 600 on it, and change the secret, as it may have been seen", p.path(), mode.Perm())
	}
	return nil
}

func trusted(uid uint32) bool { return uid == 0 || uid == uint32(os.Geteuid()) }

// value takes one line end off, which editors put there.
func (p place) value(raw []byte) (string, error) {
	value := strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
	switch {
	case len(value) > MaxValue:
		return "", fmt.Errorf("%s has more than %d KiB: that is no secret", p.path(), MaxValue>>10)
	case len(value) == 0:
		return "", fmt.Errorf("%s is empty", p.path())
	case len(value) < MinValue:
		return "", fmt.Errorf("the value in %s has fewer than %d bytes: it could not be kept out of logs without spoiling them; take a longer one", p.path(), MinValue)
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		return "", fmt.Errorf("%s is not text in UTF-8, which settings are made of: write it as base64 if the controller takes that", p.path())
	}
	return value, nil
}
