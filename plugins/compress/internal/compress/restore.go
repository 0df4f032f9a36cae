package compress

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sys/unix"

	"github.com/stepd/stepd/sdk"
)

// RestoreSettings are the settings of the controller compress/restore.
type RestoreSettings struct {
	Archive     string   `json:"archive,omitempty" jsonschema_description:"Archive, or a directory whose newest archive is meant. Default: backup_dir."`
	BackupDir   string   `json:"backup_dir,omitempty" jsonschema_description:"Directory of the archives, where archive is not given."`
	Pattern     string   `json:"pattern,omitempty" jsonschema_description:"Glob of file names among which the newest archive is chosen."`
	Target      string   `json:"target" jsonschema:"required,minLength=1" jsonschema_description:"Directory to restore into."`
	Include     []string `json:"include,omitempty" jsonschema_description:"Globs of what to restore; a directory that matches comes with all that is in it."`
	Overwrite   bool     `json:"overwrite,omitempty" jsonschema_description:"Restore into a directory that is not empty: what the archive has replaces what is there, the rest stays."`
	MaxBytes    int64    `json:"max_bytes,omitempty" jsonschema:"minimum=1" jsonschema_description:"Refuse an archive that unpacks to more bytes."`
	MaxRatio    int64    `json:"max_ratio,omitempty" jsonschema:"minimum=1" jsonschema_description:"Refuse an archive that unpacks to more than 1 GiB and so many times its size."`
	UnsafeLinks string   `json:"unsafe_links,omitempty" jsonschema:"enum=refuse,enum=skip,enum=keep" jsonschema_description:"What to do with symbolic links that lead out of the target."`
}

// Restored is the output "restored".
type Restored struct {
	Files  int64  `json:"files"`
	Bytes  int64  `json:"bytes"`
	Target string `json:"target"`
}

func (t tuning) restore(ctx context.Context, step *sdk.Step[RestoreSettings]) error {
	defer t.end()
	s := step.Settings
	archive, err := choose(step.Info, s.Archive, s.BackupDir, s.Pattern)
	if err != nil {
		return err
	}
	for i, pattern := range s.Include {
		if !doublestar.ValidatePattern(pattern) {
			return sdk.Permanent(fmt.Errorf("include: %q is not a valid pattern", pattern))
		}
		s.Include[i] = path.Clean(pattern)
	}
	target := step.Info.Path(s.Target)
	empty, err := isEmpty(target)
	if err != nil {
		return err
	}
	r := &restorer{include: s.Include, links: s.UnsafeLinks, owner: os.Geteuid() == 0, skipped: func(p, to string) {
		step.Log().Warn("left out: a symbolic link that leads out of the target", "path", p, "to", to)
	}}
	sum := sha256.Sum256([]byte(step.Info.IdempotencyKey))
	mark := fmt.Sprintf("%x", sum[:6])
	lim := limits{maxBytes: s.MaxBytes, maxRatio: s.MaxRatio}
	if !empty && !s.Overwrite {
		// Perhaps an earlier attempt has restored it and could not say so.
		if r.against, err = os.OpenRoot(target); err != nil {
			return err
		}
		defer r.against.Close()
		found, _, err := check(ctx, archive, tempDir(step.Info.WorkDir), lim, step.Progress, r.same)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return sdk.Permanent(fmt.Errorf("target %s is not empty: choose another, or set overwrite: true", target))
		}
		found.close()
	} else if err := r.restoreInto(ctx, step, archive, target, mark, lim, s.Overwrite && !empty); err != nil {
		return err
	}
	step.Message("restored %d files, %s, from %s", r.files, sizeText(r.bytes), filepath.Base(archive))
	return step.Output("restored", Restored{Files: r.files, Bytes: r.bytes, Target: target})
}

// isEmpty reports whether there is nothing at path, or an empty directory.
func isEmpty(path string) (bool, error) {
	dir, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("open target: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(1)
	switch {
	case err == io.EOF:
		return true, nil
	case errors.Is(err, syscall.ENOTDIR):
		return false, sdk.Permanent(fmt.Errorf("target %s is not a directory", path))
	case err != nil:
		return false, fmt.Errorf("read target: %w", err)
	}
	return len(names) == 0, nil
}

// restorer puts the entries of an archive into a directory of its own, from
// which they go to the target once the whole archive was verified.
type restorer struct {
	include []string
	links   string
	owner   bool
	skipped func(path, to string)

	root         *os.Root
	against      *os.Root
	dirs         []restoredDir // the open ones, outermost first
	files, bytes int64
}

type restoredDir struct {
	path   string
	header *tar.Header
	made   bool
}

func (r *restorer) restoreInto(ctx context.Context, step *sdk.Step[RestoreSettings], archive, target, mark string, lim limits, merge bool) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return fmt.Errorf("make target: %w", err)
	}
	staging := filepath.Join(filepath.Dir(target), "."+filepath.Base(target)+".restore-"+mark)
	if merge {
		staging = filepath.Join(target, ".restore-"+mark)
	}
	if err := removeAll(staging); err != nil {
		return fmt.Errorf("remove what an earlier attempt left: %w", err)
	}
	if err := os.Mkdir(staging, 0o700); err != nil {
		return fmt.Errorf("make target: %w", err)
	}
	defer func() {
		if err := removeAll(staging); err != nil {
			step.Log().Warn("could not remove temporary files", "error", err)
		}
	}()
	var err error
	if r.root, err = os.OpenRoot(staging); err != nil {
		return err
	}
	defer r.root.Close()
	found, _, err := check(ctx, archive, filepath.Dir(staging), lim, step.Progress, r.extract)
	if err != nil {
		return verdict(archive, err)
	}
	found.close()
	if err := r.closeDirs(0); err != nil {
		return err
	}
	if err := syncAll(staging); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if merge {
		if err := mergeInto(staging, target); err != nil {
			return err
		}
		return syncAll(target)
	}
	// Not os.Rename, which refuses an empty directory in that place.
	if err := unix.Rename(staging, target); err != nil {
		if errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.EBUSY) {
			return sdk.Permanent(fmt.Errorf("target %s is a mount point: choose a directory in it", target))
		}
		return fmt.Errorf("move what was restored to the target: %w", err)
	}
	return syncDir(filepath.Dir(target))
}

func syncAll(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("make %s durable: %w", path, err)
	}
	return nil
}

// removeAll also removes directories that have lost their write permission.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(p string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			return os.Chmod(p, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

func (r *restorer) wants(p string) bool {
	for ; p != "."; p = path.Dir(p) {
		if slices.ContainsFunc(r.include, func(pattern string) bool { return doublestar.MatchUnvalidated(pattern, p) }) {
			return true
		}
	}
	return len(r.include) == 0 || slices.Contains(r.include, "**")
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

var errDiffers = errors.New("the target is something else")

// same is the visitor that compares the archive with a target which is there.
func (r *restorer) same(e Entry, header *tar.Header, body io.Reader) error {
	if !r.wants(e.Path) || e.Type == typeLink && leaves(e.Path, e.Link) && r.links == "skip" {
		return nil
	}
	info, err := r.against.Lstat(e.Path)
	if err != nil {
		return &visitError{errDiffers}
	}
	if e.Type == typeLink {
		if to, err := r.against.Readlink(e.Path); err != nil || to != e.Link {
			return &visitError{errDiffers}
		}
		return nil
	}
	mode, err := strconv.ParseInt(e.Mode, 8, 64)
	if err != nil || int64(info.Mode().Perm()) != mode&0o777 || info.IsDir() != (e.Type == typeDir) {
		return &visitError{errDiffers}
	}
	if info.IsDir() {
		return nil
	}
	if !info.Mode().IsRegular() || info.Size() != e.Size || !info.ModTime().Equal(header.ModTime) {
		return &visitError{errDiffers}
	}
	f, err := r.against.OpenFile(e.Path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return &visitError{errDiffers}
	}
	defer f.Close()
	mine, theirs := sha256.New(), sha256.New()
	n, err := io.Copy(mine, f)
	if err != nil {
		return &visitError{errDiffers}
	}
	if _, err := io.Copy(theirs, body); err != nil {
		return err
	}
	if [32]byte(mine.Sum(nil)) != [32]byte(theirs.Sum(nil)) {
		return &visitError{errDiffers}
	}
	r.files, r.bytes = r.files+1, r.bytes+n
	return nil
}

// mergeInto moves a verified tree into a directory that has something already,
// one name at a time. Directories are never replaced by something else, nor
// the other way.
func mergeInto(staging, target string) error {
	root, err := os.OpenRoot(target)
	if err != nil {
		return err
	}
	defer root.Close()
	return mergeDir(root, filepath.Base(staging), ".")
}

func mergeDir(root *os.Root, from, to string) error {
	dir, err := root.Open(from)
	if err != nil {
		return err
	}
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	info, err := dir.Stat()
	if err = errors.Join(err, dir.Close()); err != nil {
		return err
	}
	if info.Mode().Perm()&0o700 != 0o700 {
		if err := root.Chmod(from, 0o700); err != nil {
			return err
		}
	}
	for _, entry := range entries {
		source, name := path.Join(from, entry.Name()), path.Join(to, entry.Name())
		there, err := root.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case there.IsDir() != entry.IsDir():
			return sdk.Permanent(fmt.Errorf("restore %s: what is there is of another kind (file, directory or link): move it away", name))
		case entry.IsDir():
			if err := mergeDir(root, source, name); err != nil {
				return err
			}
			continue
		}
		if err := root.Rename(source, name); err != nil {
			return fmt.Errorf("restore %s: %w", name, err)
		}
	}
	if to == "." {
		return nil
	}
	if err := root.Chmod(to, info.Mode().Perm()|info.Mode()&fs.ModeSticky); err != nil {
		return err
	}
	return root.Chtimes(to, time.Time{}, info.ModTime())
}
