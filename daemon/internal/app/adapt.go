package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// engineStore is the store as the engine's port.
type engineStore struct{ *store.Store }

func (s engineStore) View(fn func(engine.Reader) error) error {
	return s.Store.View(func(tx *store.Tx) error { return fn(tx) })
}

func (s engineStore) Update(ctx context.Context, fn func(engine.Tx) error) error {
	return s.Store.Update(ctx, func(tx *store.Tx) error { return fn(tx) })
}

// workspaces keeps DIR/TASK/NUMBER for each run.
type workspaces struct{ dir string }

func (w workspaces) path(run task.Run) string {
	return filepath.Join(w.dir, run.Task, strconv.FormatUint(run.Number, 10))
}

func (w workspaces) Make(run task.Run) (string, error) {
	path := w.path(run)
	err := os.MkdirAll(path, 0o700)
	for try := 0; errors.Is(err, fs.ErrNotExist) && try < 100; try++ {
		// Remove took the task's directory with another run's, just after it was
		// found to be there.
		err = os.MkdirAll(path, 0o700)
	}
	return path, err
}

// Size counts what files say that they hold, not the blocks of the disk.
func (w workspaces) Size(run task.Run) (size int64, err error) {
	err = filepath.WalkDir(w.path(run), func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure the directory of run %s: %w", run.Ref(), err)
	}
	return size, nil
}

func (w workspaces) Remove(run task.Run) error {
	if err := os.RemoveAll(w.path(run)); err != nil {
		return fmt.Errorf("remove the directory of run %s: %w", run.Ref(), err)
	}
	// Gone with the last run of its task; it is not empty otherwise.
	_ = os.Remove(filepath.Dir(w.path(run)))
	return nil
}

// sweep removes the directories that nobody will remove any more: of runs that
// completed just before the daemon died, and of runs that are forgotten.
func (w workspaces) sweep(db *store.Store) (removed int, err error) {
	paths, err := filepath.Glob(filepath.Join(w.dir, "*", "*"))
	if err != nil {
		return 0, fmt.Errorf("look for directories of runs: %w", err)
	}
	var errs []error
	for _, path := range paths {
		name := filepath.Base(filepath.Dir(path))
		number, err := strconv.ParseUint(filepath.Base(path), 10, 64)
		if err != nil || number == 0 || task.CheckName(name) != nil {
			continue // none of ours
		}
		run := task.Run{Task: name, Number: number}
		err = db.View(func(tx *store.Tx) error {
			found, err := tx.RunByNumber(name, number)
			if err == nil {
				run.Status, run.Stripped = found.Status, found.Stripped
			}
			return err
		})
		switch {
		case err != nil && !errors.Is(err, task.ErrNotFound):
			errs = append(errs, err)
		case err != nil || run.Status == task.RunCompleted || run.Stripped:
			errs = append(errs, w.Remove(run))
			removed++
		}
	}
	return removed, errors.Join(errs...)
}
