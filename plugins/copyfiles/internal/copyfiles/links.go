package copyfiles

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"syscall"
)

// The index of hard links is a directory in the part. For each file of the
// source with more than one name it has a hard link to the copy, called by
// device and inode of the source. So a tree of any number of such files takes no
// memory, and the next attempt knows them too.
//
// A file goes into the index when its content is durable, with the flush of its
// batch; until then batch.links knows it. So what the index has can be trusted
// after a power cut.

// linkKey names the file in the index, "" for one with a single name.
func linkKey(info fs.FileInfo) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Nlink < 2 {
		return ""
	}
	return inodeOf(info)
}

// linked gives the entry the copy of another name of the same file, if there is
// one that is up to date.
func (c *copier) linked(dir *directory, rel, key string, info, there fs.FileInfo) (done bool, err error) {
	if key == "" || c.unlinkable {
		return false, nil
	}
	from, ok := c.batch.links[key]
	if !ok {
		from = path.Join(indexDir, key)
	}
	copied, err := c.part.root.Lstat(from)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, c.writeFailed(rel, err)
	case !c.same(copied, info): // has changed since
		return false, nil
	}
	r := &c.state.Report
	if there != nil && os.SameFile(there, copied) {
		r.Files, r.Unchanged, r.Linked, r.Bytes = r.Files+1, r.Unchanged+1, r.Linked+1, r.Bytes+info.Size()
		c.report(0, rel)
		return true, nil
	}
	if err := c.make(dir); err != nil {
		return false, err
	}
	tmp := c.part.newName()
	if err := c.hardLink(c.part.root, from, tmp); err != nil {
		return false, c.linkFailed(rel, err)
	}
	c.batch.add(operation{tmp: tmp, rel: rel})
	r.Files, r.Linked, r.Bytes = r.Files+1, r.Linked+1, r.Bytes+info.Size()
	c.report(0, rel)
	return true, nil
}

// linkFailed is nil where the file can be copied instead.
func (c *copier) linkFailed(rel string, err error) error {
	switch {
	case errors.Is(err, syscall.EMLINK): // as many as the file system allows
		return nil
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOSYS):
		c.unlinkable = true
		c.log.Warn("hard links become separate files: the target does not support them", "path", rel)
		return nil
	}
	return c.writeFailed(rel, err)
}

// index puts a temporary file that is durable into the index.
func (c *copier) index(op operation) error {
	if c.unlinkable {
		return nil
	}
	name := path.Join(indexDir, op.key)
	if err := c.part.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c.writeFailed(op.rel, err)
	}
	return c.indexed(op.rel, c.hardLink(c.part.root, op.tmp, name))
}

// indexThere puts a file into the index that has its name already.
func (c *copier) indexThere(rel, key string) error {
	if key == "" || c.unlinkable {
		return nil
	}
	name := path.Join(c.part.name, indexDir, key)
	if err := c.target.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c.writeFailed(rel, err)
	}
	return c.indexed(rel, c.hardLink(c.target, rel, name))
}

func (c *copier) indexed(rel string, err error) error {
	if err != nil {
		return c.linkFailed(rel, err)
	}
	c.state.Indexed = true
	return nil
}
