package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// edit changes a closed database by way of bbolt itself.
func edit(t *testing.T, dir string, fn func(tx *bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(database(dir), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// damage flips a bit of the record.
func damage(t *testing.T, dir, bucket, key string) {
	t.Helper()
	edit(t, dir, func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		value := bytes.Clone(b.Get([]byte(key)))
		if value == nil {
			t.Fatalf("there is no %q in %s", key, bucket)
		}
		value[len(value)-1] ^= 4
		return b.Put([]byte(key), value)
	})
}

// dueAt is the key of the index as doc.go draws it.
func dueAt(due time.Time, name, schedule string) string {
	n := uint64(due.UnixNano()) + 1<<63
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(n >> (56 - 8*i))
	}
	return string(b) + name + "\x00" + schedule
}

// threeDue is a closed store with three schedules, due one after the other.
func threeDue(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s := open(t, options(dir))
	update(t, s, func(tx *store.Tx) error {
		for i, name := range []string{"a", "b", "c"} {
			c := cursorOf(name, "cron")
			c.Due = noon.Add(time.Duration(i) * time.Second)
			if err := errors.Join(tx.PutCursor(c), tx.PutSlot(slotOf(name, "cron", noon))); err != nil {
				return err
			}
			if err := tx.PutTask(task.Task{Name: name, Version: 1}); err != nil {
				return err
			}
			if _, err := newRun(tx, name, 1); err != nil {
				return err
			}
		}
		return nil
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func reopen(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.OpenUnchecked(options(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func wantCorrupt(t *testing.T, what string, err error, bucket string) {
	t.Helper()
	if c, ok := errors.AsType[*store.CorruptError](err); !ok || c.Bucket != bucket {
		t.Errorf("%s: got %v, want damage in %s", what, err, bucket)
	}
}

// The schedules of other tasks go on, the fault is told, and what the message
// advises is possible: to delete what the record belongs to, or to save it anew.
func TestADamagedCursorHoldsUpNoOther(t *testing.T) {
	for what, repair := range map[string]func(tx *store.Tx) error{
		"deleted": func(tx *store.Tx) error { return tx.DeleteCursor("a", "cron") },
		"saved": func(tx *store.Tx) error {
			c := cursorOf("a", "cron")
			c.Due = noon.Add(time.Hour)
			return tx.PutCursor(c)
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := threeDue(t)
			damage(t, dir, "cursors", "a\x00cron")
			s := reopen(t, dir)
			var got []string
			view(t, s, func(tx *store.Tx) error {
				_, err := tx.Cursor("a", "cron")
				wantCorrupt(t, "Cursor", err, "cursors")
				wantCorrupt(t, "DueCursors", tx.DueCursors(nil, places(&got)), "cursors")
				wantList(t, "due", nil, &got, []string{"b cron", "c cron"})
				wantCorrupt(t, "Cursors", tx.Cursors("", places(&got)), "cursors")
				wantList(t, "cursors", nil, &got, []string{"b cron", "c cron"})
				return nil
			})
			update(t, s, repair)
			noFaults(t, s)
			view(t, s, func(tx *store.Tx) error {
				want := map[string][]string{"deleted": {"b cron", "c cron"}, "saved": {"b cron", "c cron", "a cron"}}[what]
				wantList(t, "due then", tx.DueCursors(nil, places(&got)), &got, want)
				return nil
			})
		})
	}
}

func TestADamagedPlaceInTheIndexIsNoHarm(t *testing.T) {
	dir := threeDue(t)
	damage(t, dir, "due", dueAt(noon, "a", "cron"))
	s := reopen(t, dir)
	var got []string
	view(t, s, func(tx *store.Tx) error {
		wantList(t, "due", tx.DueCursors(nil, places(&got)), &got, []string{"a cron", "b cron", "c cron"})
		return nil
	})
}

func TestScrubFindsSchedulesThatDisagree(t *testing.T) {
	move := func(bucket, from, to string) func(tx *bolt.Tx) error {
		return func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte(bucket))
			value, err := store.SealRecord(bucket, []byte(to), b.Get([]byte(from))[5:])
			return errors.Join(err, b.Put([]byte(to), value), b.Delete([]byte(from)))
		}
	}
	remove := func(bucket, key string) func(tx *bolt.Tx) error {
		return func(tx *bolt.Tx) error { return tx.Bucket([]byte(bucket)).Delete([]byte(key)) }
	}
	slot := func(name string) string { return name + "\x00cron\x00" + dueAt(noon, "", "")[:8] }
	const run = "\x00\x00\x00\x00\x00\x00\x00\x01"
	for what, c := range map[string]struct {
		edit func(tx *bolt.Tx) error
		says string
	}{
		"no place in the index": {remove("due", dueAt(noon, "a", "cron")), "due says otherwise"},
		"no cursor":             {remove("cursors", "a\x00cron"), "there is no such cursor"},
		"another due time":      {move("due", dueAt(noon, "a", "cron"), dueAt(noon.Add(1), "a", "cron")), "due at another time"},
		"no key of the index":   {move("due", dueAt(noon, "a", "cron"), "short"), "there is no such cursor"},
		"another's cursor":      {move("cursors", "a\x00cron", "a\x00cron-2"), `it holds that of "a" schedule "cron"`},
		"another's slot":        {move("slots", slot("a"), slot("aa")), `it holds the slot of "a"`},
		"not alive by task":     {remove("task_active", "a\x00"+run), "task_active says otherwise"},
		"another's alive run":   {move("task_active", "a\x00"+run, "b\x00"+run), "no such run"},
		"no key of task_active": {move("task_active", "a\x00"+run, "a"), "no such run"},
		"no clock": {func(tx *bolt.Tx) error {
			text, _ := json.Marshal("yesterday")
			value, err := store.SealRecord("meta", []byte("clock_mark"), text)
			return errors.Join(err, tx.Bucket([]byte("meta")).Put([]byte("clock_mark"), value))
		}, "clock_mark"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := threeDue(t)
			edit(t, dir, c.edit)
			s := reopen(t, dir)
			var said []string
			_, err := s.Scrub(t.Context(), func(err error) bool { said = append(said, err.Error()); return true })
			if all := strings.Join(said, "\n"); err != nil || !strings.Contains(all, c.says) {
				t.Errorf("want %q, got %q (%v)", c.says, all, err)
			}
			// The others' schedules go on all the same.
			view(t, s, func(tx *store.Tx) error {
				var got []string
				_ = tx.DueCursors(nil, places(&got))
				if len(got) < 2 || got[len(got)-2] != "b cron" || got[len(got)-1] != "c cron" {
					t.Errorf("due are %q", got)
				}
				return nil
			})
		})
	}
}
