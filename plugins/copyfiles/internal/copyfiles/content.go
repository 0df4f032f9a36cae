package copyfiles

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// partial is how far a large file was copied. It is in a checkpoint only when
// that much of its temporary file is durable.
type partial struct {
	Rel   []byte    `json:"rel"`
	Tmp   string    `json:"tmp"`
	Done  int64     `json:"done"`
	Size  int64     `json:"size"`
	MTime time.Time `json:"mtime"`
	Inode string    `json:"inode"` // and device
}

func (p *partial) of(rel string, info fs.FileInfo) bool {
	return p != nil && string(p.Rel) == rel && p.Size == info.Size() && p.MTime.Equal(info.ModTime()) && p.Inode == inodeOf(info)
}

// output is the temporary file for rel, and how much of it an earlier attempt
// has written already.
func (c *copier) output(rel string, info fs.FileInfo) (tmp string, out *os.File, done int64, err error) {
	cut := c.state.Partial
	c.state.Partial = nil
	if cut.of(rel, info) {
		out, err := c.part.root.OpenFile(cut.Tmp, os.O_WRONLY|unix.O_NOFOLLOW, 0)
		if err == nil {
			if there, err := out.Stat(); err == nil && there.Mode().IsRegular() && there.Size() >= cut.Done && out.Truncate(cut.Done) == nil {
				return cut.Tmp, out, cut.Done, nil
			}
			out.Close()
		}
	}
	if cut != nil {
		c.part.drop(cut.Tmp)
	}
	tmp, out, err = c.part.create()
	return tmp, out, 0, err
}

// content copies bytes from done on, but not the holes, and returns where it
// has come to. A large file is kept in the state as it goes.
func (c *copier) content(ctx context.Context, in, out *os.File, tmp, rel string, info fs.FileInfo, done int64) (int64, error) {
	size := info.Size()
	large := size >= c.partialFrom
	holes := hasHoles(info)
	wrote := done // where out ends
	until := size // where the data at hand ends; the next hole begins
	if holes {
		until = done
	}
	for done < size {
		if holes && done >= until {
			begin, end, err := nextData(in, done, size)
			if err != nil {
				return done, err
			}
			done, until = begin, end
			continue
		}
		if ctx.Err() != nil {
			return done, context.Cause(ctx)
		}
		chunk := c.buffer[:min(int64(len(c.buffer)), until-done, c.pace.chunk())]
		n, readErr := in.ReadAt(chunk, done)
		c.readBytes(n)
		if n > 0 {
			if _, err := out.WriteAt(chunk[:n], done); err != nil {
				return done, c.writeFailed(rel, err)
			}
			done += int64(n)
			wrote = done
			c.report(done, rel)
			if large {
				c.state.Partial = &partial{Rel: []byte(rel), Tmp: tmp, Done: done, Size: size, MTime: info.ModTime(), Inode: inodeOf(info)}
				if err := c.flushWhenDue(); err != nil {
					return done, err
				}
			}
		}
		if readErr == io.EOF {
			return done, nil // it has become shorter
		}
		if readErr != nil {
			return done, readErr
		}
		if err := c.pace.wait(ctx, n); err != nil {
			return done, err
		}
	}
	if wrote < size { // it ends with a hole
		if err := out.Truncate(size); err != nil {
			return done, c.writeFailed(rel, err)
		}
	}
	return done, nil
}

// hasHoles reports whether the file takes less room than it has bytes.
func hasHoles(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Blocks*512 < info.Size()
}

// nextData finds the data at or after from. Where the file system cannot tell,
// all is data.
func nextData(f *os.File, from, size int64) (begin, end int64, err error) {
	begin, err = f.Seek(from, unix.SEEK_DATA)
	switch {
	case errors.Is(err, syscall.ENXIO): // a hole to the end
		return size, size, nil
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.EOPNOTSUPP):
		return from, size, nil
	case err != nil:
		return 0, 0, err
	}
	end, err = f.Seek(begin, unix.SEEK_HOLE)
	if errors.Is(err, syscall.ENXIO) { // cut meanwhile
		return size, size, nil
	}
	return min(begin, size), min(max(end, begin), size), err
}

// pace keeps what is read below a rate, in bytes a second. 0 is no limit.
type pace struct {
	rate int64
	next time.Time // when the next bytes may be read
}

// chunk is how much may be read at once: a quarter of a second's worth, so that
// a low rate is a trickle and no series of jerks.
func (p *pace) chunk() int64 {
	if p.rate == 0 {
		return 1 << 30
	}
	return max(1, p.rate/4)
}

// wait returns when so many bytes more were due, or with the cause of ctx. Time
// that was not used is not made up for.
func (p *pace) wait(ctx context.Context, n int) error {
	if p.rate == 0 {
		return nil
	}
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	timer := time.NewTimer(p.next.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
