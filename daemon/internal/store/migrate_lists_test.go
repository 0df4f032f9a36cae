package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/stepd/stepd/daemon/internal/task"
)

// listsOf is what the lists of the migrated fixture have, in words.
func listsOf(t *testing.T, dir string) string {
	t.Helper()
	s, err := Open(Options{Dir: dir, BallastSize: -1})
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	day := time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC)
	err = s.View(func(tx *Tx) error {
		err := tx.Summaries(func(s task.Summary) bool {
			text = append(text, fmt.Sprintf("%s by %s %s %d %s %s", s.Name, s.CreatedBy, s.Schedules, s.LastNumber, s.LastStatus, s.LastAt.Format("15:04")))
			return true
		})
		for _, name := range []string{"", "backup", "backup-weekly", "gone"} {
			for _, status := range task.RunStatuses {
				var refs []string
				err = errors.Join(err, tx.RunsByStatus(name, status, 0, func(run task.Run) bool { refs = append(refs, run.Ref()); return true }))
				if len(refs) > 0 {
					text = append(text, strings.TrimSpace(name+" "+string(status)+": "+strings.Join(refs, " ")))
				}
			}
		}
		first, last, madeErr := tx.RunsMade(day, day.AddDate(0, 0, 1))
		if first > 1 || last < 14 {
			t.Errorf("made are %d to %d", first, last)
		}
		return errors.Join(err, madeErr)
	})
	if err != nil {
		text = append(text, err.Error())
	}
	if _, err := s.Scrub(context.Background(), func(err error) bool { text = append(text, err.Error()); return true }); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(text, "\n")
}

const listsOfFixture = `backup by ann [nightly] 6 queued 12:12
backup-weekly by ann [] 5 failed 12:04
idle by ann [] 0  00:00
queued: backup-weekly/7 backup/6
running: backup/5
completed: backup-weekly/6 backup/3 backup-weekly/4 backup/2 backup-weekly/2 backup/1
failed: backup-weekly/5 backup-weekly/3 backup-weekly/1
incomplete: gone/1
cancelled: backup/4
backup queued: backup/6
backup running: backup/5
backup completed: backup/3 backup/2 backup/1
backup cancelled: backup/4
backup-weekly queued: backup-weekly/7
backup-weekly completed: backup-weekly/6 backup-weekly/4 backup-weekly/2
backup-weekly failed: backup-weekly/5 backup-weekly/3 backup-weekly/1
gone incomplete: gone/1`

func TestListsMigrationFilesAllRunsAndTasks(t *testing.T) {
	dir := fixture(t, "migration-2-lists.db")
	for range 2 { // the second time there is nothing to do
		if got := listsOf(t, dir); got != listsOfFixture {
			t.Errorf("the lists are\n%s", got)
		}
	}
}

// It fills its buckets before the schema says that they are there, so one that
// was cut short must not leave anything that the next one adds to.
func TestListsMigrationBeginsAnew(t *testing.T) {
	dir := fixture(t, "migration-2-lists.db")
	path := filepath.Join(dir, fileDatabase)
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: dir}
	if err := o.defaults(); err != nil {
		t.Fatal(err)
	}
	err = buildLists(db, &o)
	// What an older stepd may do then.
	err = errors.Join(err, db.Update(func(btx *bolt.Tx) error {
		b, k := endedKey("", task.RunFailed, 99)
		value, err := newEncoder().seal(b, k, nil)
		version, schemaErr := readSchema(btx, path)
		if version != 2 {
			t.Errorf("the schema is %d already", version)
		}
		return errors.Join(err, schemaErr, btx.Bucket([]byte("ended")).Put(k, value))
	}), db.Close(), markClean(dir))
	if err != nil {
		t.Fatal(err)
	}
	if got := listsOf(t, dir); got != listsOfFixture {
		t.Errorf("the lists are\n%s", got)
	}
}

func TestListsMigrationAndDamage(t *testing.T) {
	for what, c := range map[string]struct {
		bucket string
		key    key
		lists  func(string) string // nil: it is refused
	}{
		// It can be listed nowhere; the others are.
		"an ended run": {"runs", runKey(1), func(s string) string {
			s = strings.ReplaceAll(strings.ReplaceAll(s, " backup/2 backup-weekly/2 backup/1", " backup/2 backup-weekly/2"), "backup/3 backup/2 backup/1", "backup/3 backup/2")
			return s + "\nthe record run id 1 of runs"
		}},
		"a run that is alive": {"runs", runKey(12), nil},
		"a task": {"tasks", key("idle"), func(s string) string {
			return strings.Replace(s, "idle by ann", "idle by ", 1) + "\nthe record \"idle\" of tasks"
		}},
	} {
		t.Run(what, func(t *testing.T) {
			dir := fixture(t, "migration-2-lists.db")
			path := filepath.Join(dir, fileDatabase)
			db, err := bolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			err = db.Update(func(btx *bolt.Tx) error { return btx.Bucket([]byte(c.bucket)).Put(c.key, []byte("something else")) })
			if err := errors.Join(err, db.Close(), markClean(dir)); err != nil {
				t.Fatal(err)
			}
			if c.lists != nil {
				if got := listsOf(t, dir); !strings.HasPrefix(got, c.lists(listsOfFixture)) {
					t.Errorf("the lists are\n%s", got)
				}
				return
			}
			if _, err := Open(Options{Dir: dir, BallastSize: -1}); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
				t.Errorf("got %v", err)
			}
			db, err = bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			err = db.View(func(btx *bolt.Tx) error {
				version, err := readSchema(btx, path)
				if version != 2 {
					t.Errorf("the schema is %d then", version)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
