package copyfiles

import (
	"fmt"
	"io/fs"
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
	links      map[string]string // temporary files of this batch by the key of their hard links
	begun      time.Time         // of the batch
	saved      state             // at the end of the last flush, not yet in a checkpoint
	unsaved    bool
}

// operation gives a temporary file its name, or a directory that is complete
// its mode and times.
type operation struct {
	tmp, rel string
	key      string // of the index of hard links, if the file is to go into it
	dir      *directory
}

func (b *batch) add(op operation) {
	b.operations = append(b.operations, op)
	if op.key != "" {
		if b.links == nil {
			b.links = map[string]string{}
		}
		b.links[op.key] = op.tmp
	}
}

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
		if op.key != "" {
			if err := c.index(op); err != nil {
				return err
			}
		}
		if err := c.target.Rename(c.part.name+"/"+op.tmp, op.rel); err != nil {
			return c.writeFailed(op.rel, err)
		}
	}
	c.count(map[string]int64{"files": c.state.Report.Files, "bytes": c.state.Report.Bytes})
	c.batch.operations = c.batch.operations[:0]
	clear(c.batch.links)
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
