package sqlite

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/sdk"
)

// permanent reports whether sdk.Permanent is anywhere in the error.
func permanent(err error) bool {
	mark := sdk.Permanent(errors.New("x"))
	for ; err != nil; err = errors.Unwrap(err) {
		if reflect.TypeOf(err) == reflect.TypeOf(mark) {
			return true
		}
	}
	return false
}

// asNobody calls fn as an ordinary user of the file system and waits for it. The
// thread ends with the goroutine.
func asNobody(t *testing.T, fn func() error) error {
	t.Helper()
	result := make(chan error)
	go func() {
		if os.Geteuid() == 0 {
			runtime.LockOSThread()
			if err := errors.Join(unix.Setfsgid(65534), unix.Setfsuid(65534)); err != nil {
				result <- err
				return
			}
		}
		result <- fn()
	}()
	return <-result
}

func TestWhatTheUserMayNotDoIsNotTriedAgain(t *testing.T) {
	for _, c := range []struct {
		name, journal string
		file, dir     os.FileMode
		want          string
	}{
		{"file", "DELETE", 0, 0o755, "may not read it"},
		{"directory closed", "DELETE", 0o644, 0, "may not enter"},
		{"directory of a database in WAL mode", "WAL", 0o644, 0o555, "may not write in the directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			base := t.TempDir()
			for _, dir := range []string{filepath.Dir(base), base} {
				if err := os.Chmod(dir, 0o777); err != nil {
					t.Fatal(err)
				}
			}
			dir, run := filepath.Join(base, "shop"), filepath.Join(base, "run")
			if err := errors.Join(os.Mkdir(dir, 0o700), os.Mkdir(run, 0o700), os.Chmod(run, 0o777)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "shop.db")
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = db.Exec("PRAGMA journal_mode = " + c.journal + "; CREATE TABLE t(x); INSERT INTO t VALUES (1)")
			if err := errors.Join(err, db.Close(), os.Chmod(path, c.file), os.Chmod(dir, c.dir)); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := os.Chmod(dir, 0o700); err != nil {
					t.Error(err)
				}
			})
			err = asNobody(t, func() error {
				_, err := Engine{}.Freeze(t.Context(), dump.Location{Address: path}, run)
				return err
			})
			if err == nil || !permanent(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestFullDiskNamesTheRunsDirectory(t *testing.T) {
	db := memory(t)
	if _, err := db.Exec("CREATE TABLE t(x); PRAGMA max_page_count = 3"); err != nil {
		t.Fatal(err)
	}
	_, full := db.Exec("INSERT INTO t VALUES (randomblob(100000))")
	for _, cause := range []error{full, &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}} {
		err := snapshotFailed(t.Context(), "/shop/shop.db", "/runs/7", cause)
		if permanent(err) || !errors.Is(err, cause) || !strings.Contains(err.Error(), "no room for it in the run's directory /runs/7: make room there") {
			t.Errorf("got %v", err)
		}
	}
}
