package compress

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// comparer compares a target that is there with what the restorer would have
// made of the archive.
type comparer struct {
	*restorer
	target  *os.Root
	entries int64 // that must be there, without the target itself
}

var errDiffers = errors.New("the target is something else")

// same is the visitor that compares.
func (c *comparer) same(e Entry, header *tar.Header, body io.Reader) error {
	c.note(e.Path)
	parent := path.Dir(e.Path)
	for len(c.dirs) > 0 && c.dirs[len(c.dirs)-1].path != parent {
		c.dirs = c.dirs[:len(c.dirs)-1]
	}
	wanted := c.wants(e.Path)
	if e.Type == typeDir {
		c.dirs = append(c.dirs, restoredDir{path: e.Path, header: header})
		if !wanted {
			return nil // until something in it is
		}
	}
	if !wanted || e.Type == typeLink && leaves(e.Path, e.Link) && c.links == "skip" {
		return nil
	}
	for i := range c.dirs {
		if err := c.sameDir(&c.dirs[i]); err != nil {
			return err
		}
	}
	if e.Type == typeDir {
		return nil
	}
	c.entries++
	if e.Type == typeLink {
		if to, err := c.target.Readlink(e.Path); err != nil || to != e.Link {
			return &visitError{errDiffers}
		}
		return nil
	}
	info, err := c.target.Lstat(e.Path)
	if err != nil || !info.Mode().IsRegular() || info.Size() != e.Size || !info.ModTime().Equal(header.ModTime) || !sameMode(info, e.Mode) {
		return &visitError{errDiffers}
	}
	return c.sameContent(e, body)
}

// sameDir compares a directory once.
func (c *comparer) sameDir(dir *restoredDir) error {
	if dir.made {
		return nil
	}
	dir.made = true
	info, err := c.target.Lstat(dir.path)
	if err != nil || !info.IsDir() || !sameMode(info, strconv.FormatInt(dir.header.Mode, 8)) {
		return &visitError{errDiffers}
	}
	if dir.path != "." {
		c.entries++
	}
	return nil
}

func sameMode(info fs.FileInfo, octal string) bool {
	mode, err := strconv.ParseInt(octal, 8, 64)
	return err == nil && int64(info.Mode().Perm()) == mode&0o777
}

func (c *comparer) sameContent(e Entry, body io.Reader) error {
	f, err := c.target.OpenFile(e.Path, os.O_RDONLY|unix.O_NONBLOCK, 0)
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
	c.files, c.bytes = c.files+1, c.bytes+n
	return nil
}

// nothingElse fails where the target holds more than what was compared. No path
// is twice in an archive and each one that is wanted was found, so counting
// tells.
func (c *comparer) nothingElse(ctx context.Context, target string) error {
	target, err := filepath.EvalSymlinks(target)
	if err != nil {
		return err
	}
	left := c.entries + 1 // the target itself
	return filepath.WalkDir(target, func(_ string, _ fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if left--; err == nil && left < 0 {
			return errDiffers
		}
		return err
	})
}
