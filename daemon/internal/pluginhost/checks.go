package pluginhost

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// identity tells one version of a file from the next.
type identity struct {
	path        string // with symbolic links resolved
	dev, ino    uint64
	size, mtime int64
}

func identify(path string, info fs.FileInfo) identity {
	st := info.Sys().(*syscall.Stat_t)
	return identity{path: path, dev: uint64(st.Dev), ino: st.Ino, size: st.Size,
		mtime: st.Mtim.Nano()}
}

// currentIdentity is the file's as it lies there now, unchecked.
func currentIdentity(path string) (identity, error) {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return identity{}, err
	}
	info, err := os.Stat(resolved)
	if err != nil {
		return identity{}, err
	}
	return identify(resolved, info), nil
}

// executable is a file that passed the checks, held open so that what was
// checked is what runs.
type executable struct {
	file *os.File
	id   identity
	// exec is what to hand to the kernel.
	exec string
}

func (e *executable) close() { _ = e.file.Close() }

// unchanged reports whether the file is still what was checked, to be asked
// after it was started.
func (e *executable) unchanged() bool {
	info, err := e.file.Stat()
	return err == nil && identify(e.id.path, info) == e.id
}

// checkExecutable opens the plugin's file and refuses what is unsafe to run.
// sum is the pinned SHA-256, or empty. The caller closes the result.
func checkExecutable(plugin, path, sum string) (*executable, error) {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, refuse(plugin, ErrNotFound, "%s does not exist any more: install it again", path)
		}
		return nil, refuse(plugin, ErrNotExecutable, "%s cannot be reached: %v", path, err)
	}
	// The link's directory decides what runs as much as the target's does.
	dirs := []string{filepath.Dir(path)}
	if dir := filepath.Dir(resolved); dir != dirs[0] {
		dirs = append(dirs, dir)
	}
	for _, dir := range dirs {
		if err := checkDir(plugin, dir); err != nil {
			return nil, err
		}
	}
	// O_NONBLOCK: opening a fifo must not hang.
	f, err := os.OpenFile(resolved, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		if errors.Is(err, unix.ENXIO) {
			return nil, refuse(plugin, ErrNotRegular, "%s is not a regular file: put the program itself there", resolved)
		}
		return nil, refuse(plugin, ErrNotExecutable, "%s cannot be opened: %v; the daemon's user must be able to read and execute it", resolved, err)
	}
	e := &executable{file: f, exec: resolved}
	if err := e.check(plugin, resolved, sum); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *executable) check(plugin, path, sum string) error {
	info, err := e.file.Stat()
	if err != nil {
		return refuse(plugin, ErrNotExecutable, "%s: %v", path, err)
	}
	mode := info.Mode()
	switch {
	case !mode.IsRegular():
		return refuse(plugin, ErrNotRegular, "%s is not a regular file: put the program itself there", path)
	case !trustedOwner(info):
		return refuse(plugin, ErrUnsafeOwner, "%s belongs to user %d, who could change it: run chown root on it", path, ownerOf(info))
	case mode.Perm()&0o022 != 0:
		return refuse(plugin, ErrWritable, "%s can be changed by others (mode %04o): run chmod go-w on it", path, mode.Perm())
	case mode.Perm()&0o111 == 0 || unix.Access(path, unix.X_OK) != nil:
		return refuse(plugin, ErrNotExecutable, "%s is not executable (mode %04o): run chmod +x on it", path, mode.Perm())
	}
	e.id = identify(path, info)
	if sum == "" {
		return nil
	}
	want, err := hex.DecodeString(strings.TrimSpace(sum))
	if err != nil || len(want) != sha256.Size {
		return refuse(plugin, ErrChecksum, "the pinned checksum %q is no SHA-256 in hexadecimal: correct the configuration", sum)
	}
	var head [2]byte
	n, err := e.file.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		return refuse(plugin, ErrNotExecutable, "read %s: %v", path, err)
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, e.file); err != nil {
		return refuse(plugin, ErrNotExecutable, "read %s: %v", path, err)
	}
	if got := hash.Sum(nil); subtle.ConstantTimeCompare(got, want) != 1 {
		return refuse(plugin, ErrChecksum, "%s has the SHA-256 %x, but %s is pinned: find out who replaced it, then install the right file or pin the new checksum", path, got, sum)
	}
	// The open file is what was hashed, so it is what must run. An interpreter
	// cannot open it by that name: scripts go by their path and are compared
	// after the start.
	if n < 2 || string(head[:]) != "#!" {
		e.exec = fmt.Sprintf("/proc/self/fd/%d", e.file.Fd())
	}
	return nil
}

func checkDir(plugin, dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return refuse(plugin, ErrUnsafeDir, "its directory cannot be examined: %v", err)
	case !trustedOwner(info):
		return refuse(plugin, ErrUnsafeDir, "its directory %s belongs to user %d, who could replace it: run chown root on the directory", dir, ownerOf(info))
	case info.Mode().Perm()&0o022 != 0:
		return refuse(plugin, ErrUnsafeDir, "others can write to its directory %s (mode %04o): run chmod go-w on the directory", dir, info.Mode().Perm())
	}
	return nil
}

func ownerOf(info fs.FileInfo) uint32 { return info.Sys().(*syscall.Stat_t).Uid }

func trustedOwner(info fs.FileInfo) bool {
	uid := ownerOf(info)
	return uid == 0 || uid == uint32(os.Geteuid())
}
