package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stepd/stepd/daemon/internal/task"
	bolt "go.etcd.io/bbolt"
)

// Backup writes a copy of the database as it is now to path, which must not
// exist (task.ErrExists). The copy is durable and checked before it gets its
// name; on an error nothing of that name is there. Others go on writing
// meanwhile, but pages that they free are not used again before the copy is
// complete, so the file grows.
//
// To put a copy back, stop the daemon and move the copy to stepd.db.
func (s *Store) Backup(ctx context.Context, path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("back up %s: %w", s.path, err)
		}
	}()
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s %w: choose another name", path, task.ErrExists)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.partial") // 0600
	if err != nil {
		return err
	}
	temp := f.Name()
	defer os.Remove(temp) // gone already when all went well

	err = s.db.View(func(btx *bolt.Tx) error {
		_, err := btx.WriteTo(&ctxWriter{ctx: ctx, w: f})
		return err
	})
	if ctx.Err() != nil {
		err = ctx.Err() // bbolt hands on the text only
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := s.o.preflight(temp); err != nil {
		return fmt.Errorf("the copy is not good, and neither may be the original: %w", err)
	}
	// Not Rename: it would replace what came to be there meanwhile.
	if err := os.Link(temp, path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s %w: choose another name", path, task.ErrExists)
		}
		if err := os.Rename(temp, path); err != nil { // no hard links there
			return err
		}
	}
	return syncDir(filepath.Dir(path))
}

type ctxWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c *ctxWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}
