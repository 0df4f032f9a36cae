package compress

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/sdk"
)

// walk goes through a source in the order of archives.
type walk struct {
	root    *os.Root
	target  fs.FileInfo // directory of the archives: left out where it lies inside
	source  fs.FileInfo
	hidden  bool // leave out what is hidden at the top
	exclude []string
	log     hclog.Logger
}

// found is one entry of the source.
type found struct {
	rel  string // "." for the source itself
	name string // within dir
	dir  *os.Root
	info fs.FileInfo
}

func newWalk(source, workDir, targetDir string, exclude []string, log hclog.Logger) (*walk, error) {
	root, err := os.OpenRoot(source)
	if err != nil {
		err = fmt.Errorf("open source: %w", err)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOTDIR) {
			return nil, sdk.Permanent(err)
		}
		return nil, err
	}
	w := &walk{root: root, log: log}
	for _, pattern := range exclude {
		w.exclude = append(w.exclude, path.Clean(pattern))
	}
	if w.source, err = root.Stat("."); err == nil {
		w.target, err = os.Stat(targetDir)
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	if work, err := os.Stat(filepath.Clean(workDir)); err == nil {
		w.hidden = os.SameFile(work, w.source)
	}
	if os.SameFile(w.source, w.target) {
		root.Close()
		return nil, sdk.Permanent(fmt.Errorf("the source %s is the directory of the archives itself: choose another backup_dir", source))
	}
	return w, nil
}

func (w *walk) close() { w.root.Close() }

func (w *walk) excluded(rel string) bool {
	for p := rel; p != "."; p = path.Dir(p) {
		if slices.ContainsFunc(w.exclude, func(pattern string) bool { return doublestar.MatchUnvalidated(pattern, p) }) {
			return true
		}
	}
	return false
}

// each calls fn for the source itself and everything in it; with tell it logs
// what it leaves out.
func (w *walk) each(ctx context.Context, tell bool, fn func(found) error) error {
	info, err := w.root.Stat(".")
	if err != nil {
		return err
	}
	if err := fn(found{rel: ".", name: ".", dir: w.root, info: info}); err != nil {
		return err
	}
	return w.in(ctx, w.root, "", tell, fn)
}

func (w *walk) in(ctx context.Context, dir *os.Root, rel string, tell bool, fn func(found) error) error {
	f, err := dir.Open(".")
	if err != nil {
		return fmt.Errorf("read directory %s: %w", rel, err)
	}
	names, err := f.Readdirnames(-1)
	f.Close()
	if err != nil {
		return fmt.Errorf("read directory %s: %w", rel, err)
	}
	slices.Sort(names)
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if rel == "" && w.hidden && strings.HasPrefix(name, ".") {
			continue
		}
		if err := w.one(ctx, dir, path.Join(rel, name), name, tell, fn); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) one(ctx context.Context, dir *os.Root, rel, name string, tell bool, fn func(found) error) error {
	if w.excluded(rel) {
		return nil
	}
	info, err := dir.Lstat(name)
	if err != nil {
		return fmt.Errorf("%s: %w", rel, err)
	}
	mode := info.Mode()
	switch {
	case rel == manifestName:
		return sdk.Permanent(fmt.Errorf("the source has a %s of its own, which is the name of the archive's: rename or exclude it", manifestName))
	case mode.IsDir() && os.SameFile(info, w.target):
		if tell {
			w.log.Info("left out: it is the directory of the archives", "path", rel)
		}
		return nil
	case !mode.IsRegular() && !mode.IsDir() && mode&fs.ModeSymlink == 0:
		if tell {
			w.log.Warn("left out: neither a file, a directory nor a symbolic link", "path", rel, "mode", mode.String())
		}
		return nil
	}
	if err := fn(found{rel: rel, name: name, dir: dir, info: info}); err != nil || !mode.IsDir() {
		return err
	}
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return fmt.Errorf("read directory %s: %w", rel, err)
	}
	defer sub.Close()
	if opened, err := sub.Stat("."); err != nil || !os.SameFile(opened, info) {
		return fmt.Errorf("%s: %w", rel, errors.Join(errChanged, err))
	}
	return w.in(ctx, sub, rel, tell, fn)
}

// size is the size of all files, for the progress.
func (w *walk) size(ctx context.Context) (int64, error) {
	var total int64
	err := w.each(ctx, false, func(f found) error {
		if f.info.Mode().IsRegular() {
			total += f.info.Size()
		}
		return nil
	})
	return total, err
}

func ownerOf(info fs.FileInfo) (uid, gid int) {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid), int(stat.Gid)
	}
	return 0, 0
}
