package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// The test binary plays the child processes too; this says which.
const roleEnv = "STORE_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "":
		goleak.VerifyTestMain(m)
	case "preflight":
		os.Exit(store.RunPreflight(os.Args[1], os.Stdout))
	case "writer":

		os.Exit(crashWriter(os.Args[1]))
	case "holder":
		os.Exit(lockHolder(os.Args[1]))
	case "crash":
		p, _ := os.FindProcess(os.Getpid())
		_ = p.Kill()
		select {}
	}
	fmt.Fprintln(os.Stderr, "unknown role")
	os.Exit(2)
}

// child makes this binary play a role.
func child(role string) func(string) *exec.Cmd {
	return func(path string) *exec.Cmd {
		cmd := exec.Command("/proc/self/exe", path)
		// The race detector would let each child sleep for a second at its end.
		cmd.Env = append(os.Environ(), roleEnv+"="+role, "GORACE=atexit_sleep_ms=0")
		return cmd
	}
}

// options are what a daemon would use, without the ballast.
func options(dir string) store.Options {
	return store.Options{Dir: dir, BallastSize: -1, PreflightCommand: child("preflight")}
}

func open(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func update(t testing.TB, s *store.Store, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, s *store.Store, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := s.View(fn); err != nil {
		t.Fatal(err)
	}
}

func database(dir string) string { return filepath.Join(dir, "stepd.db") }

// newRun makes a run of the task with the next number.
func newRun(tx *store.Tx, name string, version uint64) (task.Run, error) {
	return newRunOf(tx, name, version, "")
}

func newRunOf(tx *store.Tx, name string, version uint64, trigger task.Trigger) (task.Run, error) {
	id, number, err := tx.NextRun(name)
	if err != nil {
		return task.Run{}, err
	}
	run := task.Run{ID: id, Task: name, Number: number, Status: task.RunQueued, DefinitionVersion: version, Trigger: trigger,
		CreatedAt: noon.Add(time.Duration(id) * time.Second)}
	return run, tx.PutRun(run)
}

// fill writes runs with steps, checkpoints and outputs, and for each task a
// schedule that is due, one that is not, and slots of both.
func fill(t testing.TB, s *store.Store, runs, steps int) {
	t.Helper()
	update(t, s, func(tx *store.Tx) error {
		for i := range runs {
			name := fmt.Sprintf("task-%d", i%3)
			if err := tx.PutTask(task.Task{Name: name, Version: uint64(i/3 + 1)}); err != nil {
				return err
			}
			run, err := newRun(tx, name, uint64(i/3+1))
			if err != nil {
				return err
			}
			for sub := range steps {
				pos := task.Position{Top: 1, Sub: uint32(sub)}
				if err := tx.PutStep(run.ID, task.RunStep{Position: pos, Name: fmt.Sprint("step", sub), Status: task.StepReady}); err != nil {
					return err
				}
				if err := tx.PutCheckpoint(run.ID, pos, []byte("checkpoint")); err != nil {
					return err
				}
				if err := tx.PutOutput(run.ID, pos, "rows", []byte("17")); err != nil {
					return err
				}
			}
			due, over := cursorOf(name, "cron"), cursorOf(name, task.ExpectName)
			due.Due = noon.Add(time.Duration(i) * time.Second)
			first := noon.Add(time.Duration(i) * time.Hour)
			if err := errors.Join(tx.PutCursor(due), tx.PutCursor(over), tx.PutClockMark(due.Due),
				tx.PutSlot(slotOf(name, "cron", first)), tx.PutSlot(slotOf(name, task.ExpectName, first))); err != nil {
				return err
			}
		}
		return nil
	})
}

func cursorOf(name, schedule string) task.Cursor {
	return task.Cursor{Task: name, Schedule: schedule, Timing: "each day", Since: noon, Last: noon}
}

func slotOf(name, schedule string, first time.Time) task.Slot {
	return task.Slot{Task: name, Schedule: schedule, First: first, Last: first, Count: 1, Outcome: task.SlotRan, At: noon}
}
