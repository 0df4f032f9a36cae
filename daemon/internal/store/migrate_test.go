package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/stepd/stepd/daemon/internal/task"
)

// checkFixtures opens a copy of each migration's fixture: a database of the
// schema that it starts from. A migration without one fails.
func checkFixtures(dir string, list []migration, temp func() string) error {
	var errs []error
	for _, m := range list {
		name := fmt.Sprintf("migration-%d-%s.db", m.from, m.name)
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			errs = append(errs, fmt.Errorf("migration %q has no fixture: %w", m.name, err))
			continue
		}
		o := Options{Dir: temp(), BallastSize: -1, migrations: list}
		if err := os.WriteFile(filepath.Join(o.Dir, fileDatabase), content, 0o600); err != nil {
			errs = append(errs, err)
			continue
		}
		s, err := Open(o)
		if err != nil {
			errs = append(errs, fmt.Errorf("migration %q: %w", m.name, err))
			continue
		}
		_, err = s.Scrub(context.Background(), func(err error) bool { errs = append(errs, err); return true })
		errs = append(errs, err, s.Close())
	}
	return errors.Join(errs...)
}

func TestEachMigrationHasAFixture(t *testing.T) {
	if err := checkOrder(migrations()); err != nil {
		t.Error(err)
	}
	if err := checkFixtures("testdata", migrations(), t.TempDir); err != nil {
		t.Error(err)
	}
}

// note leaves a mark that its migration ran, and in which order.
func note(name string) func(*bolt.Tx) error {
	return func(btx *bolt.Tx) error {
		b := btx.Bucket([]byte("tasks"))
		k := key(fmt.Sprintf("%d-%s", b.Stats().KeyN, name))
		value, err := newEncoder().marshal(bucketTasks, k, map[string]any{"name": string(k)})
		if err != nil {
			return err
		}
		return b.Put(k, value)
	}
}

func at(dir string, list ...migration) (*Store, error) {
	if list == nil {
		list = []migration{}
	}
	return Open(Options{Dir: dir, BallastSize: -1, migrations: list})
}

func TestMigrations(t *testing.T) {
	dir := t.TempDir()
	s, err := at(dir)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	one, two := migration{from: 1, name: "one", apply: note("one")}, migration{from: 2, name: "two", apply: note("two")}
	broken := migration{from: 2, name: "two", apply: func(btx *bolt.Tx) error {
		return errors.Join(note("half")(btx), errors.New("no"))
	}}
	if _, err := at(dir, one, broken); err == nil || !strings.Contains(err.Error(), `"two" from schema 2`) {
		t.Errorf("a broken migration: %v", err)
	}
	names := func(s *Store) string {
		var got []string
		err := s.db.View(func(btx *bolt.Tx) error {
			return btx.Bucket([]byte("tasks")).ForEach(func(k, _ []byte) error { got = append(got, string(k)); return nil })
		})
		return fmt.Sprint(got, err)
	}
	s, err = at(dir, one)
	if err != nil || names(s) != "[0-one] <nil>" {
		t.Fatal(err, names(s))
	}
	s.Close()
	for range 2 { // the second time there is nothing to do
		s, err = at(dir, one, two)
		if err != nil || names(s) != "[0-one 1-two] <nil>" {
			t.Fatal(err, names(s))
		}
		s.Close()
	}
	_, err = at(dir, one)
	if refused, ok := errors.AsType[*RefusedError](err); !ok || !strings.Contains(refused.Found, "schema 3") || !strings.Contains(refused.Found, "newer") {
		t.Errorf("a newer schema: %v", err)
	}
	if _, err := at(t.TempDir(), two); err == nil {
		t.Error("a list with a gap was taken")
	}
	// A new database starts at the newest schema.
	s, err = at(t.TempDir(), one, two)
	if err != nil || names(s) != "[] <nil>" {
		t.Fatal(err, names(s))
	}
	s.Close()
}

func TestFixtureHarnessSeesAMissingOne(t *testing.T) {
	dir := t.TempDir()
	list := []migration{{from: 1, name: "one", apply: note("one")}}
	if err := checkFixtures(dir, list, t.TempDir); err == nil || !strings.Contains(err.Error(), "no fixture") {
		t.Errorf("got %v", err)
	}
	from := t.TempDir()
	s, err := at(from)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := os.Rename(filepath.Join(from, fileDatabase), filepath.Join(dir, "migration-1-one.db")); err != nil {
		t.Fatal(err)
	}
	// The note is a task without a definition: the harness looks at the result.
	if err := checkFixtures(dir, list, t.TempDir); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("got %v", err)
	}
}

func TestCreationIsWholeOrNothing(t *testing.T) {
	dir := t.TempDir()
	// What a creation leaves behind that was cut short.
	if err := os.WriteFile(filepath.Join(dir, fileNew), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := at(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := os.Stat(filepath.Join(dir, fileNew)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the rest of a creation was not swept: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, fileDatabase))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
}

// fixture is a store of a copy of a migration's fixture, migrated.
func fixture(t *testing.T, name string) (dir string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileDatabase), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSchedulesMigrationKnowsTheAliveRunsOfEachTask(t *testing.T) {
	dir := fixture(t, "migration-1-schedules.db")
	for range 2 { // the second time there is nothing to do
		s, err := Open(Options{Dir: dir, BallastSize: -1})
		if err != nil {
			t.Fatal(err)
		}
		err = s.View(func(tx *Tx) error {
			var all []string
			if err := tx.ActiveRuns(func(run task.Run) bool { all = append(all, run.Ref()); return true }); err != nil {
				return err
			}
			if got := fmt.Sprint(all); got != "[backup-weekly/1 backup/2 backup/3]" {
				t.Errorf("alive are %s", got)
			}
			for name, want := range map[string]string{"backup": "[backup/2 backup/3]", "backup-weekly": "[backup-weekly/1]", "idle": "[]", "gone": "[]"} {
				var got []string
				err := tx.AliveRuns(name, func(run task.Run) bool { got = append(got, run.Ref()); return true })
				if fmt.Sprint(got) != want {
					t.Errorf("alive of %s are %s, want %s (%v)", name, got, want, err)
				}
			}
			return tx.DueCursors(nil, func(c task.Cursor) bool { t.Errorf("%v is due", c); return true })
		})
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// A run that cannot be read has no task to be filed under. The database stays
// as it was, for the stepd that wrote it.
func TestSchedulesMigrationStopsAtDamage(t *testing.T) {
	for what, edit := range map[string]func(btx *bolt.Tx) error{
		"its record is missing": func(btx *bolt.Tx) error { return btx.Bucket([]byte("runs")).Delete(runKey(3)) },
		"its record is damaged": func(btx *bolt.Tx) error { return btx.Bucket([]byte("runs")).Put(runKey(3), []byte("something else")) },
		"its key is no run id":  func(btx *bolt.Tx) error { return btx.Bucket([]byte("active")).Put([]byte("short"), []byte("x")) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := fixture(t, "migration-1-schedules.db")
			path := filepath.Join(dir, fileDatabase)
			db, err := bolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(db.Update(edit), db.Close(), markClean(dir)); err != nil {
				t.Fatal(err)
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
				if version != 1 || btx.Bucket([]byte("cursors")) != nil {
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
