package copyfiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// batch holds what waits for its content to be durable.
//
// A flush is: make the file system durable (one call for all), save the state
// as it was at the end of the flush before, whose renames are durable by that,
// and only then rename. So no name ever stands for content that a power cut
// could take, and no checkpoint claims a name that it could take.
type batch struct {
	operations []operation
	begun      time.Time // of the batch
	saved      state     // at the end of the last flush, not yet in a checkpoint
	unsaved    bool
}

// operation gives a temporary file its name, or a directory that is complete
// its mode and times.
type operation struct {
	tmp, rel string
	dir      *directory
}

func (b *batch) add(op operation) { b.operations = append(b.operations, op) }

func (c *copier) flushWhenDue() error {
	if len(c.batch.operations) < c.batchEntries && time.Since(c.batch.begun) < c.batchTime {
		return nil
	}
	return c.flush()
}

func (c *copier) flush() error {
	if err := c.sync(c.part.dir); err != nil {
		return fmt.Errorf("make %s durable: %w", c.targetPath, err)
	}
	if c.batch.unsaved {
		if err := c.save(c.batch.saved); err != nil {
			return err
		}
	}
	for _, op := range c.batch.operations {
		if op.dir != nil {
			if err := c.complete(op.dir); err != nil {
				return err
			}
			continue
		}
		if err := c.target.Rename(c.part.name+"/"+op.tmp, op.rel); err != nil {
			return c.writeFailed(op.rel, err)
		}
	}
	c.count(map[string]int64{"files": c.state.Report.Files, "bytes": c.state.Report.Bytes})
	c.batch.operations = c.batch.operations[:0]
	c.batch.saved, c.batch.unsaved, c.batch.begun = c.state, true, time.Now()
	return nil
}

// finish flushes what waits and saves the state as it is.
func (c *copier) finish() error {
	if err := c.flush(); err != nil {
		return err
	}
	if err := c.sync(c.part.dir); err != nil {
		return fmt.Errorf("make %s durable: %w", c.targetPath, err)
	}
	return c.save(c.state)
}

// complete sets mode, owner and times of a directory that has all its entries.
func (c *copier) complete(dir *directory) error {
	name := dir.rel
	if name == "" {
		name = "."
	}
	f, err := c.target.Open(name)
	if err != nil {
		return c.writeFailed(name, err)
	}
	defer f.Close()
	if err := c.attributes(f, dir.info, name); err != nil {
		return err
	}
	if sticky := dir.info.Mode() & fs.ModeSticky; sticky != 0 {
		if err := f.Chmod(dir.info.Mode().Perm() | sticky); err != nil {
			return c.writeFailed(name, err)
		}
	}
	if err := setTime(int(f.Fd()), ".", dir.info.ModTime()); err != nil {
		return c.writeFailed(name, err)
	}
	if dir.rel == "" { // comes after the last call of sync
		if err := f.Sync(); err != nil {
			return c.writeFailed(name, err)
		}
	}
	return nil
}

// setTime sets the modification time of name in the directory, not following a
// symbolic link.
func setTime(dir int, name string, t time.Time) error {
	mtime, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, mtime}
	return unix.UtimesNanoAt(dir, name, times, unix.AT_SYMLINK_NOFOLLOW)
}

// part is the directory of the temporary files, at the top of the target: on
// its file system, and in one place to clear away.
type part struct {
	name string
	root *os.Root
	dir  *os.File
	next int
}

func (p *part) open(target *os.Root, name string) error {
	if err := target.RemoveAll(name); err != nil {
		return err
	}
	if err := target.Mkdir(name, 0o700); err != nil {
		return err
	}
	root, err := target.OpenRoot(name)
	if err != nil {
		return err
	}
	dir, err := root.Open(".")
	if err != nil {
		root.Close()
		return err
	}
	p.name, p.root, p.dir = name, root, dir
	return nil
}

func (p *part) remove(target *os.Root, name string) error {
	err := errors.Join(p.dir.Close(), p.root.Close(), target.RemoveAll(name))
	if err != nil {
		return fmt.Errorf("remove temporary files: %w", err)
	}
	return nil
}

func (p *part) newName() string {
	p.next++
	return strconv.Itoa(p.next)
}

func (p *part) create() (string, *os.File, error) {
	name := p.newName()
	f, err := p.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	return name, f, err
}

func (p *part) symlink(to string, t time.Time) (string, error) {
	name := p.newName()
	if err := p.root.Symlink(to, name); err != nil {
		return "", err
	}
	return name, setTime(int(p.dir.Fd()), name, t)
}

// drop removes a temporary file at once; what it misses goes with the directory.
func (p *part) drop(name string) {
	if name != "" {
		_ = p.root.Remove(name)
	}
}
