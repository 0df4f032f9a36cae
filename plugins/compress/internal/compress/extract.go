package compress

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sys/unix"

	"github.com/stepd/stepd/sdk"
)

// restorer puts the entries of an archive into a directory of its own, from
// which they go to the target once the whole archive was verified.
type restorer struct {
	include []string
	matched []bool // of include: an entry of the archive matches it
	links   string
	owner   bool
	skipped func(path, to string)

	root         *os.Root
	dirs         []restoredDir // the open ones, outermost first
	files, bytes int64
}

type restoredDir struct {
	path   string
	header *tar.Header
	made   bool
}

func (r *restorer) wants(p string) bool {
	for ; p != "."; p = path.Dir(p) {
		if slices.ContainsFunc(r.include, func(pattern string) bool { return doublestar.MatchUnvalidated(pattern, p) }) {
			return true
		}
	}
	return len(r.include) == 0 || slices.Contains(r.include, "**")
}

// note remembers which patterns an entry matches. Entries that come with their
// directory count too.
func (r *restorer) note(p string) {
	if r.matched == nil {
		r.matched = make([]bool, len(r.include))
	}
	for i, pattern := range r.include {
		// A pattern of stars alone holds no name that could be mistyped.
		r.matched[i] = r.matched[i] || strings.Trim(pattern, "*/") == "" || p != "." && doublestar.MatchUnvalidated(pattern, p)
	}
}

// unmatched are the patterns, as they were given, that nothing has matched.
func (r *restorer) unmatched(given []string) []string {
	var missing []string
	for i, pattern := range given {
		if i >= len(r.matched) || !r.matched[i] {
			missing = append(missing, pattern)
		}
	}
	return missing
}

func (r *restorer) anyMatched(given []string, archive string) error {
	if missing := r.unmatched(given); len(given) > 0 && len(missing) == len(given) {
		return sdk.Permanent(fmt.Errorf("nothing in %s matches include: %s; check the patterns, which are relative to the archive's top",
			archive, strings.Join(missing, ", ")))
	}
	return nil
}

// leaves reports whether a link at p leads out of the target by its text.
func leaves(p, to string) bool {
	if path.IsAbs(to) || to == "" {
		return true
	}
	// Step by step: "a/../../x" leaves even where it comes back.
	at := path.Dir(p)
	depth := 0
	if at != "." {
		depth = strings.Count(at, "/") + 1
	}
	for _, part := range strings.Split(to, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

// extract is the visitor that restores.
func (r *restorer) extract(e Entry, header *tar.Header, body io.Reader) error {
	r.note(e.Path)
	if err := r.enter(e.Path); err != nil {
		return &visitError{err}
	}
	if e.Type == typeDir {
		r.dirs = append(r.dirs, restoredDir{path: e.Path, header: header, made: e.Path == "."})
		if e.Path != "." && r.wants(e.Path) {
			return asVisitError(r.makeDirs())
		}
		return nil
	}
	if !r.wants(e.Path) {
		return nil
	}
	if e.Type == typeLink && leaves(e.Path, e.Link) {
		switch r.links {
		case "skip":
			r.skipped(e.Path, e.Link)
			return nil
		case "keep":
		default:
			return damaged("%q is a symbolic link to %q, which leads out of the target: refused (unsafe_links: skip leaves it out, keep restores it)", e.Path, e.Link)
		}
	}
	if err := r.makeDirs(); err != nil {
		return &visitError{err}
	}
	if e.Type == typeLink {
		return asVisitError(r.link(e, header))
	}
	return r.file(e, header, body)
}

func asVisitError(err error) error {
	if err == nil {
		return nil
	}
	return &visitError{fmt.Errorf("restore: %w", err)}
}

// enter finishes the directories that the entry is not in.
func (r *restorer) enter(p string) error {
	parent := path.Dir(p)
	keep := len(r.dirs)
	for keep > 0 && r.dirs[keep-1].path != parent {
		keep--
	}
	if p == "." {
		keep = 0
	}
	return r.closeDirs(keep)
}

func (r *restorer) makeDirs() error {
	for i := range r.dirs {
		if !r.dirs[i].made {
			if err := r.root.Mkdir(r.dirs[i].path, 0o700); err != nil {
				return err
			}
			r.dirs[i].made = true
		}
	}
	return nil
}

// closeDirs sets mode and times of directories that are complete.
func (r *restorer) closeDirs(keep int) error {
	for _, dir := range slices.Backward(r.dirs[keep:]) {
		if !dir.made {
			continue
		}
		f, err := r.root.Open(dir.path)
		if err != nil {
			return err
		}
		err = r.attributes(f, dir.header)
		if err == nil {
			err = setTime(int(f.Fd()), ".", dir.header.ModTime)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("restore %s: %w", dir.path, err)
		}
	}
	r.dirs = r.dirs[:keep]
	return nil
}

func (r *restorer) attributes(f *os.File, header *tar.Header) error {
	if r.owner {
		if err := r.tolerate(f.Chown(header.Uid, header.Gid)); err != nil {
			return err
		}
	}
	mode := fs.FileMode(header.Mode & 0o777)
	if header.Typeflag == tar.TypeDir && header.Mode&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	return f.Chmod(mode)
}

// tolerate: the superuser of a restricted unit may not set owners.
func (r *restorer) tolerate(err error) error {
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) {
		r.owner = false
		return nil
	}
	return err
}

func setTime(dir int, name string, t time.Time) error {
	mtime, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	return unix.UtimesNanoAt(dir, name, []unix.Timespec{{Nsec: unix.UTIME_OMIT}, mtime}, unix.AT_SYMLINK_NOFOLLOW)
}

func (r *restorer) link(e Entry, header *tar.Header) error {
	if err := r.root.Symlink(e.Link, e.Path); err != nil {
		return err
	}
	if r.owner {
		if err := r.tolerate(r.root.Lchown(e.Path, header.Uid, header.Gid)); err != nil {
			return err
		}
	}
	dir, err := r.root.Open(path.Dir(e.Path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return setTime(int(dir.Fd()), path.Base(e.Path), header.ModTime)
}

func (r *restorer) file(e Entry, header *tar.Header, body io.Reader) error {
	f, err := r.root.OpenFile(e.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return asVisitError(err)
	}
	defer f.Close()
	out := &failing{w: f}
	n, err := io.Copy(out, body)
	if out.err != nil {
		return asVisitError(fmt.Errorf("write %s: %w", e.Path, out.err))
	}
	if err != nil {
		return err // of the archive
	}
	r.files, r.bytes = r.files+1, r.bytes+n
	err = r.attributes(f, header)
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = r.root.Chtimes(e.Path, time.Time{}, header.ModTime)
	}
	return asVisitError(err)
}

// failing remembers that it was the writing that failed.
type failing struct {
	w   io.Writer
	err error
}

func (f *failing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err != nil {
		f.err = err
	}
	return n, err
}
