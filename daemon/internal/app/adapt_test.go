package app

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// A daemon that dies between a run's last commit and the removal of its
// directory leaves one that no later event removes.
func TestSweepRemovesDirectoriesThatNobodyNeeds(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(store.Options{Dir: dir, BallastSize: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	statuses := []task.RunStatus{task.RunCompleted, task.RunFailed, task.RunRunning, task.RunQueued, task.RunCancelled, task.RunIncomplete}
	w := workspaces{filepath.Join(dir, "work")}
	err = db.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.PutTask(task.Task{Name: "backup", Version: 1}); err != nil {
			return err
		}
		for _, status := range statuses {
			id, number, err := tx.NextRun("backup")
			if err != nil {
				return err
			}
			if err := tx.PutRun(task.Run{ID: id, Task: "backup", Number: number, DefinitionVersion: 1, Status: status}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wanted := map[string]bool{"backup/1/tables": false, "backup/2": true, "backup/3": true, "backup/4": true, "backup/5": true, "backup/6": true,
		"backup/99/x": false, "forgotten/1": false, "backup/notes": true, "backup/01x": true}
	for path := range wanted {
		if err := os.MkdirAll(filepath.Join(w.dir, path), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	removed, err := w.sweep(db)
	if err != nil || removed != 3 {
		t.Errorf("removed %d, %v", removed, err)
	}
	for path, want := range wanted {
		if _, err := os.Stat(filepath.Join(w.dir, path)); (err == nil) != want {
			t.Errorf("%s: %v, want it kept: %t", path, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(w.dir, "forgotten")); err == nil {
		t.Error("the directory of a task without runs is left")
	}
}

// The directory of a task goes with that of its last run, which may be just when
// another run begins.
func TestARunGetsItsDirectoryWhileAnotherOneLosesIts(t *testing.T) {
	w := workspaces{t.TempDir()}
	var others sync.WaitGroup
	stop := make(chan struct{})
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = w.Remove(task.Run{Task: "backup", Number: 1})
			}
		}
	})
	for range 5000 {
		run := task.Run{Task: "backup", Number: 2}
		if _, err := w.Make(run); err != nil {
			t.Error(err)
			break
		}
		if err := w.Remove(run); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	others.Wait()
}
