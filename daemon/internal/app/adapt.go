package app

import (
	"context"
	"fmt"
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
	return path, os.MkdirAll(path, 0o700)
}

func (w workspaces) Remove(run task.Run) error {
	if err := os.RemoveAll(w.path(run)); err != nil {
		return fmt.Errorf("remove the directory of run %s: %w", run.Ref(), err)
	}
	// Gone with the last run of its task; it is not empty otherwise.
	_ = os.Remove(filepath.Dir(w.path(run)))
	return nil
}
