package copyfiles

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepd/stepd/sdk"
)

// file copies a regular file, a second time when it changed meanwhile.
func (c *copier) file(ctx context.Context, source *os.Root, dir *directory, name, rel string, info fs.FileInfo) error {
	r := &c.state.Report
	there, err := c.there(dir, rel)
	if err != nil {
		return err
	}
	key := linkKey(info)
	if done, err := c.linked(dir, rel, key, info, there); done || err != nil {
		return err
	}
	if there != nil && c.same(there, info) {
		r.Files, r.Unchanged, r.Bytes = r.Files+1, r.Unchanged+1, r.Bytes+info.Size()
		c.report(0, rel)
		return c.indexThere(rel, key)
	}
	c.beforeRead(rel)
	tmp, size, err := c.read(ctx, source, name, rel, info)
	if changed(err) {
		c.part.drop(tmp)
		if info, err = source.Lstat(name); err == nil {
			key = linkKey(info)
			tmp, size, err = c.read(ctx, source, name, rel, info)
		}
		if errors.Is(err, errChanged) {
			r.ChangedCount++
			r.Changed = listed(r.Changed, rel)
			c.log.Warn("changed while it was copied, twice; the copy is what was read last", "path", rel)
			err = nil
		}
	}
	var failed *writeError
	switch {
	case err == nil:
	case ctx.Err() != nil, errors.As(err, &failed):
		return err
	default:
		c.unread(rel, err)
		return nil
	}
	if err := c.make(dir); err != nil {
		return err
	}
	if c.unlinkable {
		key = ""
	}
	c.batch.add(operation{tmp: tmp, rel: rel, key: key})
	r.Files, r.Bytes = r.Files+1, r.Bytes+size
	c.report(0, rel)
	return nil
}

// same reports whether a file of the target is as the copy of one of the source
// would be. Content is not compared.
func (c *copier) same(there, info fs.FileInfo) bool {
	if !there.Mode().IsRegular() || there.Size() != info.Size() || !there.ModTime().Equal(info.ModTime()) || there.Mode().Perm() != info.Mode().Perm() {
		return false
	}
	if !c.owner {
		return true
	}
	uid, gid := ownerOf(there)
	wantUID, wantGID := ownerOf(info)
	return uid == wantUID && gid == wantGID
}

// there is what has the entry's name in the target already, nil for nothing.
// A directory in the place of something else is refused.
func (c *copier) there(dir *directory, rel string) (fs.FileInfo, error) {
	if dir.fresh || !dir.made && c.absent(dir) {
		return nil, nil
	}
	info, err := c.target.Lstat(rel)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, targetError(err)
	case info.IsDir():
		return nil, sdk.Permanent(fmt.Errorf("copy %s: a directory is in its place in %s: remove it or choose another target", rel, c.targetPath))
	}
	return info, nil
}

// absent reports whether the directory cannot be there in the target.
func (c *copier) absent(dir *directory) bool {
	for d := dir; d != nil; d = d.parent {
		if d.made {
			return d.fresh
		}
	}
	return false
}

// errChanged: what was read is whole, but perhaps of two moments.
var errChanged = errors.New("changed while it was read")

func changed(err error) bool { return errors.Is(err, errChanged) || errors.Is(err, errReplaced) }

// writeError is a fault of the target, which ends the attempt; those of the
// source are collected.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// read copies the content into a new temporary file, with mode, owner and
// time. It reads no more than the file's size when it was opened. The name of
// the temporary file is valid with errChanged too; with other errors there is
// none any more, unless the state has it as partial.
func (c *copier) read(ctx context.Context, source *os.Root, name, rel string, info fs.FileInfo) (tmp string, size int64, err error) {
	// Nonblocking, should a named pipe have taken the file's place.
	in, err := source.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", 0, err
	}
	defer in.Close()
	before, err := in.Stat()
	if err != nil {
		return "", 0, err
	}
	if !before.Mode().IsRegular() || !os.SameFile(before, info) {
		return "", 0, errReplaced
	}
	tmp, out, size, err := c.output(rel, before)
	if err != nil {
		return "", 0, c.writeFailed(rel, err)
	}
	size, err = c.content(ctx, in, out, tmp, rel, before, size)
	if err != nil && c.state.Partial != nil && resumes(ctx) {
		return "", 0, errors.Join(err, out.Close())
	}
	c.state.Partial = nil
	if err == nil {
		err = c.attributes(out, before, rel)
	}
	if closeErr := out.Close(); err == nil && closeErr != nil {
		err = c.writeFailed(rel, closeErr)
	}
	if err == nil {
		if timeErr := c.part.root.Chtimes(tmp, time.Time{}, before.ModTime()); timeErr != nil {
			err = c.writeFailed(rel, timeErr)
		}
	}
	if err != nil {
		c.part.drop(tmp)
		return "", 0, err
	}
	c.afterRead(rel)
	after, err := in.Stat()
	if err != nil {
		c.part.drop(tmp)
		return "", 0, err
	}
	if size != before.Size() || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		return tmp, size, errChanged
	}
	// Has another file its name by now? One that is gone was copied in time.
	if now, err := source.Lstat(name); err == nil && !os.SameFile(now, before) {
		return tmp, size, errChanged
	}
	return tmp, size, nil
}

// attributes gives the copy the mode of its source, without setuid and setgid,
// and its owner where we may.
func (c *copier) attributes(out *os.File, info fs.FileInfo, rel string) error {
	if c.owner {
		uid, gid := ownerOf(info)
		if err := c.tolerate(out.Chown(uid, gid)); err != nil {
			return c.writeFailed(rel, err)
		}
	}
	if err := out.Chmod(info.Mode().Perm()); err != nil {
		return c.writeFailed(rel, err)
	}
	return nil
}

// tolerate takes the refusal to set an owner as the answer for all of them:
// the superuser of a restricted unit is not always allowed to.
func (c *copier) tolerate(err error) error {
	if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	c.owner = false
	c.log.Info("owners are not copied: not permitted here")
	return nil
}

// inodeOf names a file among all of the machine.
func inodeOf(info fs.FileInfo) string {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%x-%x", stat.Dev, stat.Ino)
	}
	return ""
}

func ownerOf(info fs.FileInfo) (uid, gid int) {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid), int(stat.Gid)
	}
	return -1, -1
}

// link copies a symbolic link as such.
func (c *copier) link(source *os.Root, dir *directory, name, rel string, info fs.FileInfo) error {
	to, err := source.Readlink(name)
	if err != nil {
		c.unread(rel, err)
		return nil
	}
	there, err := c.there(dir, rel)
	if err != nil {
		return err
	}
	if there != nil && there.Mode()&fs.ModeSymlink != 0 {
		if old, err := c.target.Readlink(rel); err == nil && old == to && there.ModTime().Equal(info.ModTime()) {
			c.state.Report.Links++
			return nil
		}
	}
	if err := c.make(dir); err != nil {
		return err
	}
	tmp, err := c.part.symlink(to, info.ModTime())
	if err != nil {
		return c.writeFailed(rel, err)
	}
	if c.owner {
		uid, gid := ownerOf(info)
		if err := c.tolerate(c.part.root.Lchown(tmp, uid, gid)); err != nil {
			return c.writeFailed(rel, err)
		}
	}
	c.batch.add(operation{tmp: tmp, rel: rel})
	c.state.Report.Links++
	return nil
}

func (c *copier) writeFailed(rel string, err error) error {
	cause := err
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		cause = pathError.Err // its path is the temporary file's
	}
	err = &writeError{fmt.Errorf("copy %s: write %s: %w", rel, path.Join(c.targetPath, rel), cause)}
	if hopeless(err) {
		return sdk.Permanent(err)
	}
	return err
}

// hopeless reports whether trying again would only give the same error. A full
// disk is not: somebody may make room.
func hopeless(err error) bool {
	for _, code := range []syscall.Errno{syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENOTDIR,
		syscall.ENAMETOOLONG, syscall.EXDEV, syscall.ELOOP, syscall.EFBIG} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}
