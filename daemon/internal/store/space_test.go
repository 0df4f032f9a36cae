package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

const ballast = 2 << 20

// smallDisk is a state directory with about 12 MiB of room: a file system of
// its own where the test may mount one, else a store that is told so.
func smallDisk(t *testing.T) (o store.Options) {
	t.Helper()
	o = options(t.TempDir())
	o.BallastSize = ballast
	if err := unix.Mount("tmpfs", o.Dir, "tmpfs", 0, "size=12m,mode=0700"); err == nil {
		t.Cleanup(func() {
			if err := unix.Unmount(o.Dir, 0); err != nil {
				t.Error(err)
			}
		})
		return o
	}
	const room = 12 << 20
	o.Allocate = func(f *os.File, offset, size int64) error {
		used := int64(0)
		entries, err := os.ReadDir(o.Dir)
		for _, e := range entries {
			if info, err := e.Info(); err == nil {
				used += info.Size()
			}
		}
		if err != nil || used+size > room {
			return syscall.ENOSPC
		}
		return f.Truncate(offset + size)
	}
	return o
}

func TestFullDisk(t *testing.T) {
	o := smallDisk(t)
	var mu sync.Mutex
	var told []error
	o.OnRoom = func(err error) { mu.Lock(); told = append(told, err); mu.Unlock() }
	s := open(t, o)
	if err := s.Room(); err != nil {
		t.Fatalf("full from the start: %v", err)
	}
	n := 0
	big := func(tx *store.Tx) error {
		return tx.PutCheckpoint(1, task.Position{Top: uint32(n)}, make([]byte, 200<<10))
	}
	for ; s.Room() == nil; n++ {
		if err := s.Update(t.Context(), big); err != nil {
			t.Fatalf("write %d failed before the ballast was used: %v", n, err)
		}
		if n > 1000 {
			t.Fatal("the disk never fills")
		}
	}
	wantErr(t, "Room", s.Room(), task.ErrDiskFull)
	if !strings.Contains(s.Room().Error(), o.Dir) || !strings.Contains(s.Room().Error(), "4 MiB") {
		t.Errorf("it does not say where and how much: %v", s.Room())
	}
	if _, err := os.Stat(filepath.Join(o.Dir, "ballast")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the ballast was not freed: %v", err)
	}
	wantErr(t, "Reclaim without room", s.Reclaim(), task.ErrDiskFull)
	for {
		err := s.Update(t.Context(), big)
		if err != nil {
			wantErr(t, "a write on a full disk", err, task.ErrDiskFull)
			break
		}
		n++
	}
	if s.Err() != nil {
		t.Fatalf("a full disk is no failure: %v", s.Err())
	}
	// All that was acknowledged is there, and nothing of what was not.
	check := func(s *store.Store) {
		t.Helper()
		view(t, s, func(tx *store.Tx) error {
			for i := range n + 1 {
				data, err := tx.Checkpoint(1, task.Position{Top: uint32(i)})
				if (len(data) == 200<<10) != (i < n) || err != nil {
					t.Errorf("checkpoint %d of %d has %d bytes: %v", i, n, len(data), err)
				}
			}
			return nil
		})
		if report, err := s.Scrub(t.Context(), func(error) bool { return true }); err != nil || report.Records < n {
			t.Errorf("scrub: %+v %v", report, err)
		}
	}
	check(s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s = open(t, o)
	wantErr(t, "Room after a restart", s.Room(), task.ErrDiskFull)
	check(s)
	// Deleting stays possible, and makes room for what is small.
	for i := range n {
		update(t, s, func(tx *store.Tx) error { return tx.DeleteCheckpoint(1, task.Position{Top: uint32(i)}) })
	}
	update(t, s, putStep(1))
	mu.Lock()
	defer mu.Unlock()
	if len(told) != 1 || !errors.Is(told[0], task.ErrDiskFull) {
		t.Errorf("OnRoom was told %v, want once that it is full", told)
	}
}

func TestReclaim(t *testing.T) {
	o := options(t.TempDir())
	o.BallastSize = ballast
	var full atomic.Bool
	var told []bool
	o.OnRoom = func(err error) { told = append(told, err == nil) }
	o.WrapCommit = func(commit func() error) error {
		if full.Load() {
			return &os.PathError{Op: "write", Path: "stepd.db", Err: syscall.ENOSPC}
		}
		return commit()
	}
	s := open(t, o)
	update(t, s, putStep(1))
	full.Store(true)
	calls := 0
	err := s.Update(t.Context(), func(tx *store.Tx) error { calls++; return putStep(2)(tx) })
	wantErr(t, "update", err, task.ErrDiskFull)
	if calls != 2 {
		t.Errorf("tried %d times, want once more with the ballast freed", calls)
	}
	wantErr(t, "room", s.Room(), task.ErrDiskFull)
	full.Store(false)
	update(t, s, putStep(3)) // what runs can still be saved
	if err := s.Reclaim(); err != nil {
		t.Fatal(err)
	}
	stats, err := s.Stats()
	if err != nil || stats.BallastBytes != ballast || s.Room() != nil {
		t.Errorf("ballast %d, room %v, %v", stats.BallastBytes, s.Room(), err)
	}
	if len(told) != 2 || told[0] || !told[1] {
		t.Errorf("told %v, want full and then room", told)
	}
}

func TestBallastIsKeptAcrossRestarts(t *testing.T) {
	o := options(t.TempDir())
	for _, size := range []int64{ballast, ballast, ballast / 2, -1} {
		o.BallastSize = size
		s := open(t, o)
		stats, err := s.Stats()
		if err != nil || stats.BallastBytes != max(size, 0) || s.Room() != nil {
			t.Errorf("want a ballast of %d: %d, %v, %v", size, stats.BallastBytes, s.Room(), err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(o.Dir, "ballast")); err == nil {
		t.Error("a ballast that is not wanted any more is still there")
	}
}

// A disk that others fill is noticed before a commit finds out.
func TestLookNoticesALowDisk(t *testing.T) {
	o := options(t.TempDir())
	o.BallastSize = ballast
	var free atomic.Int64
	free.Store(1 << 40)
	o.Free = func(string) (int64, error) { return free.Load(), nil }
	var told []bool
	o.OnRoom = func(err error) { told = append(told, err == nil) }
	s := open(t, o)
	look := func(bytes int64, room bool) {
		t.Helper()
		free.Store(bytes)
		s.Look()
		if err := s.Room(); (err == nil) != room {
			t.Errorf("with %d bytes free, Room is %v", bytes, err)
		}
		if err := s.Reserve(); err != nil {
			t.Errorf("with %d bytes free and the ballast held, Reserve is %v", bytes, err)
		}
	}
	look(ballast, true)
	look(ballast/2-1, false)
	look(ballast-1, false) // not back and forth
	look(ballast, true)
	if fmt.Sprint(told) != "[false true]" {
		t.Errorf("OnRoom was told %v", told)
	}
	update(t, s, putStep(1))
}
