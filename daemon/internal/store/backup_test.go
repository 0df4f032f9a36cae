package store_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

func TestBackup(t *testing.T) {
	s := open(t, options(t.TempDir()))
	fill(t, s, 3, 100)
	dir := t.TempDir()
	if err := s.Backup(t.Context(), database(dir)); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "a second backup to the same place", s.Backup(t.Context(), database(dir)), task.ErrExists)
	before := noFaults(t, s).Records
	fill(t, s, 1, 10) // not in the copy

	copied := open(t, options(dir))
	if records := noFaults(t, copied).Records; records != before {
		t.Errorf("the copy has %d records, want %d", records, before)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	other := t.TempDir()
	wantErr(t, "cancelled", s.Backup(ctx, filepath.Join(other, "x.db")), context.Canceled)
	if left, err := os.ReadDir(other); err != nil || len(left) != 0 {
		t.Errorf("a cancelled backup left %v (%v)", left, err)
	}
}

// A marker of a clean end counts only for the very file that was closed.
func TestCleanEndSparesTheCheckOfThatFileOnly(t *testing.T) {
	dir := t.TempDir()
	checks := 0
	o := options(dir)
	check := o.PreflightCommand
	o.PreflightCommand = func(path string) *exec.Cmd { checks++; return check(path) }
	reopen := func(want int) {
		t.Helper()
		s, err := store.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		if checks != want {
			t.Errorf("%d checks so far, want %d", checks, want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	reopen(0) // new
	reopen(0) // closed cleanly
	content, err := os.ReadFile(database(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(database(dir), content, 0o600); err != nil { // put back
		t.Fatal(err)
	}
	reopen(1)
	reopen(1)
	if err := os.Remove(filepath.Join(dir, "stepd.clean")); err != nil { // as after a crash
		t.Fatal(err)
	}
	reopen(2)
}
