package retain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepd/stepd/sdk"
)

// What compress writes beside an archive, by what follows the archive's name.
const (
	manifestSuffix = ".manifest.json"
	reportSuffix   = ".report.txt"
)

// An archive that is being deleted is called ".NAME.deleting": nobody takes it
// for an archive, and the next attempt ends what this one began.
const goingPrefix, goingSuffix = ".", ".deleting"

// archive is one archive of the task.
type archive struct {
	name string
	at   time.Time // when its run was asked for
	run  uint64
	info fs.FileInfo

	sha256 string // as the manifest has it
	fault  string // why it is not good; "" when it is
	// foreign: the manifest speaks of another task. Not ours, whatever the name.
	foreign bool
	future  bool     // its time is yet to come
	reasons []string // why it stays
}

// listing is what a directory has of one task.
type listing struct {
	archives []*archive // newest first
	going    []string   // archives, by their own names, whose deletion was begun
	odd      []string   // named like archives, but no files
}

// archiveName tells the archives of one task by their names. Times and numbers
// have no dash, so that the name of one task is never taken for that of another
// that it begins with.
type archiveName struct {
	task string
	rest *regexp.Regexp
}

func newArchiveName(task string) archiveName {
	return archiveName{task, regexp.MustCompile(`^-([0-9]{8}T[0-9]{6}Z)-([1-9][0-9]*)\.tar\.(?:zst|gz)(?:\.age)?$`)}
}

func (n archiveName) parse(name string) (at time.Time, run uint64, ok bool) {
	rest, ok := strings.CutPrefix(name, n.task)
	if !ok {
		return time.Time{}, 0, false
	}
	parts := n.rest.FindStringSubmatch(rest)
	if parts == nil {
		return time.Time{}, 0, false
	}
	at, err := time.Parse("20060102T150405Z", parts[1])
	if err != nil {
		return time.Time{}, 0, false
	}
	run, err = strconv.ParseUint(parts[2], 10, 64)
	return at, run, err == nil
}

// openDir opens the directory of the archives and refuses what only looks like
// one.
func openDir(path string) (*os.Root, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, sdk.Permanent(fmt.Errorf("backup_dir: there is no directory %s", path))
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOTDIR):
		return nil, sdk.Permanent(fmt.Errorf("backup_dir: %w", err))
	case err != nil:
		return nil, fmt.Errorf("backup_dir: %w", err)
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, sdk.Permanent(fmt.Errorf("backup_dir: %s is a symbolic link, and may lead elsewhere tomorrow: give the directory itself", path))
	case !info.IsDir():
		return nil, sdk.Permanent(fmt.Errorf("backup_dir: %s is not a directory", path))
	case info.Mode().Perm()&0o002 != 0:
		return nil, sdk.Permanent(fmt.Errorf("backup_dir: everybody may write to %s, so that anybody could put newer archives there and have yours deleted: chmod o-w %s", path, path))
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil, sdk.Permanent(fmt.Errorf("backup_dir: no permission to read %s", path))
		}
		return nil, fmt.Errorf("backup_dir: %w", err)
	}
	opened, err := root.Stat(".")
	if err == nil && !os.SameFile(opened, info) {
		err = fmt.Errorf("%s was replaced while it was opened", path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("backup_dir: %w", err), root.Close())
	}
	return root, nil
}

// list looks for what the directory has of the task. Nothing is opened yet.
func list(root *os.Root, names archiveName, now time.Time) (listing, error) {
	var found listing
	dir, err := root.Open(".")
	if err != nil {
		return found, readError(err)
	}
	defer dir.Close()
	entries, err := dir.Readdirnames(-1)
	if err != nil {
		return found, readError(err)
	}
	slices.Sort(entries)
	for _, name := range entries {
		if inner, ok := strings.CutPrefix(name, goingPrefix); ok {
			inner, ok = strings.CutSuffix(inner, goingSuffix)
			if _, _, ours := names.parse(inner); ok && ours {
				found.going = append(found.going, inner)
			}
			continue
		}
		at, run, ours := names.parse(name)
		if !ours {
			continue
		}
		info, err := root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return found, readError(err)
		}
		if !info.Mode().IsRegular() {
			found.odd = append(found.odd, name)
			continue
		}
		found.archives = append(found.archives, &archive{name: name, at: at, run: run, info: info, future: at.After(now.Add(clockSlack))})
	}
	slices.SortFunc(found.archives, func(a, b *archive) int {
		return cmp.Or(b.at.Compare(a.at), cmp.Compare(b.run, a.run), strings.Compare(b.name, a.name))
	})
	return found, nil
}

// clockSlack is by how much the clock of another machine may be ahead.
const clockSlack = time.Hour

func readError(err error) error {
	err = fmt.Errorf("read backup_dir: %w", err)
	if errors.Is(err, fs.ErrPermission) {
		return sdk.Permanent(err)
	}
	return err
}

// inspect compares an archive with the manifest beside it, but for the hash.
// An error is a fault of the machine.
func (a *archive) inspect(ctx context.Context, root *os.Root, task string) error {
	m, fault, err := readManifest(ctx, root, a.name+manifestSuffix)
	switch {
	case err != nil:
		return err
	case fault != "":
		a.fault = fault
	case m.Task != task:
		a.fault, a.foreign = fmt.Sprintf("its manifest is of task %q", m.Task), true
	case m.Run != a.run:
		a.fault = fmt.Sprintf("its manifest is of run %d", m.Run)
	case m.Archive.Bytes != a.info.Size():
		a.fault = fmt.Sprintf("it has %d bytes, not %d as its manifest says", a.info.Size(), m.Archive.Bytes)
	default:
		a.sha256 = m.Archive.SHA256
		f, fault, err := openFile(root, a.name, a.info)
		if err != nil {
			return err
		}
		if a.fault = fault; fault == "" {
			return f.Close()
		}
	}
	return nil
}

// openFile opens a regular file for reading; want, when not nil, is the file
// that it must be. A fault is of this file alone.
func openFile(root *os.Root, name string, want fs.FileInfo) (_ *os.File, fault string, err error) {
	info, err := root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "is not there", nil
	case err != nil:
		return nil, "", err
	case !info.Mode().IsRegular():
		return nil, "is no file", nil
	}
	// Nonblocking, should a named pipe have taken its place.
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil, "may not be read", nil
	}
	if err != nil {
		return nil, "", err
	}
	if want == nil {
		want = info
	}
	opened, err := f.Stat()
	if err != nil {
		return nil, "", errors.Join(err, f.Close())
	}
	if !os.SameFile(opened, want) || opened.Size() != want.Size() || !opened.ModTime().Equal(want.ModTime()) {
		return nil, "was replaced while it was looked at", f.Close()
	}
	return f, "", nil
}
