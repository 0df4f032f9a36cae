package store_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// lockHolder opens the store and keeps it until its input ends.
func lockHolder(dir string) int {
	s, err := store.Open(options(dir))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := s.Close(); err != nil {
		return 1
	}
	return 0
}

func TestSecondOpenerIsToldWhoHoldsIt(t *testing.T) {
	dir := t.TempDir()
	cmd := child("holder")(dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		t.Fatal(line, err)
	}
	o := options(dir)
	o.LockTimeout = 100 * time.Millisecond
	_, err = store.Open(o)
	locked, ok := errors.AsType[*store.LockedError](err)
	if !ok || locked.PID != cmd.Process.Pid {
		t.Errorf("got %v, want that process %d has it", err, cmd.Process.Pid)
	}
	if !strings.Contains(err.Error(), "process "+strconv.Itoa(cmd.Process.Pid)) {
		t.Errorf("the message does not name the holder: %v", err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	open(t, o)
}

// Somebody who has the file open with another tool does not know our lock file.
func TestForeignHolderIsNamed(t *testing.T) {
	dir := t.TempDir()
	open(t, options(dir)).Close()
	db, err := bolt.Open(database(dir), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	o := options(dir)
	o.LockTimeout = 60 * time.Millisecond
	_, err = store.Open(o)
	if locked, ok := errors.AsType[*store.LockedError](err); !ok || locked.PID != os.Getpid() {
		t.Errorf("got %v, want that process %d has it", err, os.Getpid())
	}
}

// closedDatabase returns a directory with a database that was closed without a
// mark of it, and its content.
func closedDatabase(t *testing.T) (dir string, content []byte) {
	t.Helper()
	dir = t.TempDir()
	s, err := store.Open(options(dir))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, 3, 300)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "stepd.clean")); err != nil {
		t.Fatal(err)
	}
	content, err = os.ReadFile(database(dir))
	if err != nil {
		t.Fatal(err)
	}
	return dir, content
}

func TestUnreadableDatabaseIsRefusedAndLeftAlone(t *testing.T) {
	_, good := closedDatabase(t)
	random := make([]byte, 64<<10)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	foreign := filepath.Join(t.TempDir(), "foreign.db")
	db, err := bolt.Open(foreign, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	foreignContent, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	scribbled := bytes.Clone(good)
	copy(scribbled[2*4096:], random[:8*4096])

	for what, c := range map[string]struct {
		content []byte
		says    string
	}{
		"empty":             {nil, "empty (0 bytes)"},
		"one byte":          {[]byte("x"), "do not begin like a database"},
		"text":              {bytes.Repeat([]byte("garbage\n"), 4000), "do not begin like a database"},
		"random":            {random, "do not begin like a database"},
		"zeros":             {make([]byte, 1<<20), "do not begin like a database"},
		"cut to a page":     {good[:4096], "cut short"},
		"cut to two pages":  {good[:8192], "cut short"},
		"cut in the middle": {good[:6*4096], "cut short"},
		"another's":         {foreignContent, "none of stepd"},
		"scribbled over":    {scribbled, "damaged"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(database(dir), c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := store.Open(options(dir))
			refused, ok := errors.AsType[*store.RefusedError](err)
			if !ok {
				t.Fatalf("got %v, want a refusal", err)
			}
			for _, says := range []string{c.says, "nothing was changed", "Put back a copy", "move it away", database(dir)} {
				if !strings.Contains(refused.Error(), says) {
					t.Errorf("the message lacks %q: %v", says, refused)
				}
			}
			if now, err := os.ReadFile(database(dir)); err != nil || !bytes.Equal(now, c.content) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

func TestDanglingLinkIsNoMissingDatabase(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/nowhere/at/all", database(dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(options(dir)); err == nil {
		t.Error("a new database in the place of one that cannot be reached")
	}
}

// Whatever happens to the check, the daemon survives it and refuses.
func TestCrashOfTheCheckIsARefusal(t *testing.T) {
	dir, content := closedDatabase(t)
	o := options(dir)
	o.PreflightCommand = child("crash")
	_, err := store.Open(o)
	if refused, ok := errors.AsType[*store.RefusedError](err); !ok || !strings.Contains(refused.Found, "killed") {
		t.Errorf("got %v, want a refusal that tells the signal", err)
	}
	if now, err := os.ReadFile(database(dir)); err != nil || !bytes.Equal(now, content) {
		t.Errorf("the file was changed (%v)", err)
	}
}

// Random damage to any page either is found when the store opens or does no
// harm to this process: no fault, no hang.
func TestRandomDamageNeverEndsTheProcess(t *testing.T) {
	dir, content := closedDatabase(t)
	refused := 0
	for range 25 {
		damaged := bytes.Clone(content)
		for range 8 {
			page := rand.IntN(60) * 4096 // where the used pages are
			damaged[page+rand.IntN(64)] ^= 1 << rand.IntN(8)
		}
		if err := os.WriteFile(database(dir), damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		o := options(dir)
		o.PreflightTimeout = 3 * time.Second
		s, err := store.Open(o)
		if err != nil {
			if _, ok := errors.AsType[*store.RefusedError](err); !ok {
				t.Errorf("no refusal: %v", err)
			}
			refused++
			continue
		}
		_, err = s.Scrub(t.Context(), func(error) bool { return true })
		if err := errors.Join(err, s.Close()); err != nil {
			t.Error(err)
		}
	}
	if refused < 12 {
		t.Errorf("only %d of 25 damaged files were refused", refused)
	}
}

// bbolt's check finds hardly any of these.
func TestScrubFindsEveryFlippedBit(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(options(dir))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, 3, 4)
	records := noFaults(t, s).Records
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// A bit of each byte of each record, by way of bbolt itself.
	flips := 0
	type place struct{ bucket, key string }
	var places []place
	db, err := bolt.Open(database(dir), 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			return b.ForEach(func(k, _ []byte) error {
				places = append(places, place{string(name), string(k)})
				return nil
			})
		})
	})
	if err != nil || len(places) != records {
		t.Fatalf("scrub saw %d of %d records (%v)", records, len(places), err)
	}
	for _, p := range places {
		err := db.Update(func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte(p.bucket))
			value := bytes.Clone(b.Get([]byte(p.key)))
			for i := range value {
				flipped := bytes.Clone(value)
				flipped[i] ^= 1 << rand.IntN(8)
				flips++
				if err := store.VerifyRecord(p.bucket, []byte(p.key), flipped); err == nil {
					t.Errorf("byte %d of %q in %s: not found", i, p.key, p.bucket)
				}
			}
			// One stays, for the scrub of the whole store.
			flipped := bytes.Clone(value)
			flipped[rand.IntN(len(value))] ^= 1 << rand.IntN(8)
			return b.Put([]byte(p.key), flipped)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// The schema's record must be whole for the store to open at all.
	good, err := store.SealSchema()
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("schema"), good) })
	if err := errors.Join(err, db.Sync(), db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(options(dir)); err == nil {
		t.Error("the check before opening did not see it")
	}
	s, err = store.OpenUnchecked(options(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	found := map[string]bool{}
	_, err = s.Scrub(t.Context(), func(err error) bool {
		c, ok := errors.AsType[*store.CorruptError](err)
		if !ok {
			t.Error(err)
			return true
		}
		found[c.Bucket+string(c.Key)] = true
		if msg := c.Error(); !strings.Contains(msg, c.Bucket) || !strings.Contains(msg, database(dir)) || !strings.Contains(msg, "backup") {
			t.Errorf("the message does not say where and what to do: %s", msg)
		}
		return true
	})
	if err != nil || len(found) != len(places)-1 {
		t.Errorf("found %d of %d damaged records (%v)", len(found), len(places)-1, err)
	}
	// Reading one is an error, and deleting what it belongs to is possible.
	view(t, s, func(tx *store.Tx) error {
		_, err := tx.Step(1, task.Position{Top: 1})
		if _, ok := errors.AsType[*store.CorruptError](err); !ok {
			t.Errorf("a damaged step was read: %v", err)
		}
		return nil
	})
	update(t, s, func(tx *store.Tx) error {
		done, err := tx.DeletePlanned(1, 1, 100)
		if !done {
			t.Error("not all planned steps are gone")
		}
		return err
	})
	t.Logf("%d flips", flips)
}

// The stack of a crash tells an operator nothing.
func TestACrashOfTheCheckIsSaidInOneLine(t *testing.T) {
	dir, _ := closedDatabase(t)
	o := options(dir)
	o.PreflightCommand = func(string) *exec.Cmd {
		return exec.Command("/bin/sh", "-c", `printf 'unexpected fault address 0x7f\nfatal error: fault\n\ngoroutine 3 [running]:\n' >&2; exit 2`)
	}
	_, err := store.Open(o)
	if _, ok := errors.AsType[*store.RefusedError](err); !ok || !strings.Contains(err.Error(), "check crashed (exit status 2): unexpected fault address 0x7f; nothing was changed") {
		t.Errorf("got %v", err)
	}
}
