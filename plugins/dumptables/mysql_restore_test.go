package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
	"github.com/stepd/stepd/sdk/sdktest"
)

// refuses plans a load and executes what was planned until something fails; it
// returns what that said.
func (s *shop) refuses(t testing.TB, h *sdktest.Harness, dir string, more settings) sdktest.Result {
	t.Helper()
	given := settings{"dsn": s.dsn(), "source": dir}
	for name, value := range more {
		given[name] = value
	}
	start := sdktest.Start{Controller: "restoretables", Settings: given, WorkDir: t.TempDir()}
	plan := h.Plan(t.Context(), start)
	if !plan.Completed() {
		return plan.Result
	}
	for _, step := range plan.Steps {
		start.Step, start.Settings, start.Session = "step/"+step.Name, step.Settings, plan.Session
		if got := h.Execute(t.Context(), start); !got.Completed() {
			return got
		}
	}
	t.Fatal("the load completed")
	return sdktest.Result{}
}

func TestMySQLRestoreRefusesWhatIsNotWholeAndTouchesNothing(t *testing.T) {
	s := newShop(t, "CREATE TABLE t(x INT); INSERT INTO t VALUES(1),(2)", "CREATE TABLE u(x INT)")
	target := newShop(t, "CREATE TABLE t(old INT); INSERT INTO t VALUES(7)", "CREATE TABLE mine(x INT)")
	before := target.content(t)
	h := serve(t)
	for _, c := range []struct {
		name   string
		damage func(dir string) error
		want   string
	}{
		{"damaged file", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "001-t.sql"), []byte("-- nothing"), 0o600)
		}, "is damaged"},
		{"file gone", func(dir string) error { return os.Remove(filepath.Join(dir, "002-u.sql")) }, "no such file"},
		{"not finished", func(dir string) error { return editAt(dir, `"complete": true`, `"complete": false`) }, "was not finished"},
		{"leaves the directory", func(dir string) error { return editAt(dir, `001-t.sql`, `../001-t.sql`) }, "a dump cannot have"},
		{"no manifest", func(dir string) error { return os.Remove(filepath.Join(dir, "dump.json")) }, "holds no dump"},
		{"of another kind", func(dir string) error { return editAt(dir, `"mysql"`, `"sqlite"`) }, "cannot go into mysql"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := s.dumped(t, h, nil)
			if err := c.damage(dir); err != nil {
				t.Fatal(err)
			}
			got := target.refuses(t, h, dir, settings{"overwrite": true})
			if got.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(got.Message, c.want) {
				t.Errorf("got %v: %s", got.Status, got.Message)
			}
			same(t, "the target", before, target.content(t))
		})
	}
	dir, _ := s.dumped(t, h, nil)
	if got := target.refuses(t, h, dir, nil); !strings.Contains(got.Message, "is not empty") || !strings.Contains(got.Message, "overwrite: true") {
		t.Errorf("got %v: %s", got.Status, got.Message)
	}
	same(t, "the target", before, target.content(t))
	target.restored(t, h, dir, settings{"overwrite": true})
	same(t, "replaced", s.content(t), target.content(t)) // what was there beside it is gone
}

func editAt(dir, old, new string) error {
	path := filepath.Join(dir, "dump.json")
	raw, err := os.ReadFile(path)
	if err == nil && !strings.Contains(string(raw), old) {
		err = fmt.Errorf("%s does not contain %s", raw, old)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strings.Replace(string(raw), old, new, 1)), 0o600)
}

func TestMySQLRestoreComparesWhatItLoaded(t *testing.T) {
	s := newShop(t, "CREATE TABLE t(x INT, y TEXT); INSERT INTO t VALUES(1,'a'),(2,'b')")
	h := serve(t)
	dir, _ := s.dumped(t, h, nil)
	raw, err := os.ReadFile(filepath.Join(dir, "dump.json"))
	if err != nil {
		t.Fatal(err)
	}
	sum := string(regexp.MustCompile(`"checksum": "[0-9a-f]+"`).Find(raw))
	for _, c := range []struct{ old, new, want string }{
		{`"rows": 2`, `"rows": 3`, `load table "t": it has 2 rows after loading, the manifest says 3`},
		{sum, `"checksum": "0123456789abcdef"`, "they are not the same"},
	} {
		if err := editAt(dir, c.old, c.new); err != nil {
			t.Fatal(err)
		}
		got := namedShop(t).refuses(t, h, dir, nil)
		if got.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(got.Message, c.want) {
			t.Errorf("got %v: %s", got.Status, got.Message)
		}
		if err := editAt(dir, c.new, c.old); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMySQLRecreateOfSomeTablesKeepsTheOthers(t *testing.T) {
	s := newShop(t, "CREATE TABLE a(x INT); CREATE TABLE b(x INT); CREATE TABLE a2(x INT); INSERT INTO a VALUES(1); INSERT INTO b VALUES(1)",
		"CREATE VIEW va AS SELECT * FROM a; CREATE VIEW vb AS SELECT * FROM b", "CREATE PROCEDURE p() SELECT 1",
		"CREATE TRIGGER ta AFTER INSERT ON a FOR EACH ROW SET @x=1; CREATE TRIGGER tb AFTER INSERT ON b FOR EACH ROW SET @x=1")
	h := serve(t)
	dir, _ := s.dumped(t, h, settings{"tables": []string{"A*", "va"}, "exclude": []string{"a2"}})
	other := newShop(t, "CREATE TABLE a(old INT, older INT); CREATE TABLE mine(x INT); INSERT INTO mine VALUES(5); CREATE VIEW va AS SELECT 'old'")
	other.restored(t, h, dir, settings{"overwrite": true})
	if got, want := other.client(t, "SELECT x FROM a; SELECT x FROM mine; SELECT x FROM va; SHOW TABLES; SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE(); SHOW PROCEDURE STATUS WHERE Db=DATABASE()", "-N"),
		"1\n5\n1\na\nmine\nva\nta\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMySQLDataOnlyFiresNoTriggerAndKeepsIt(t *testing.T) {
	s := newShop(t, nastyMySQL...)
	h := serve(t)
	dir, results := s.dumped(t, h, settings{"mode": "data_only"})
	if _, ok := results["_schema"]; ok {
		t.Error("data_only has a schema")
	}
	whole, _ := s.dumped(t, h, nil)
	back := namedShop(t)
	back.restored(t, h, whole, nil)
	want := back.content(t)
	if got := back.refuses(t, h, dir, nil); !strings.Contains(got.Message, "is not empty: empty it, or set overwrite: true") {
		t.Fatalf("rows were loaded over rows: %s", got.Message)
	}
	same(t, "after the refusal", want, back.content(t))
	do(t, back.DB, "SET foreign_key_checks=0; DELETE FROM customers; UPDATE keyless SET a=99; SET foreign_key_checks=1")
	back.restored(t, h, dir, settings{"overwrite": true})
	same(t, "after the load", want, back.content(t))
	if got := newShop(t, "CREATE TABLE x(y INT)").refuses(t, h, dir, nil); !strings.Contains(got.Message, "the database has no table") {
		t.Errorf("got %s", got.Message)
	}
}

// A load whose steps are cut and done again ends as one that was not; so does one
// whose plan is made again, as its session or its answer was lost.
func TestMySQLRestoreGoesOnAfterCuts(t *testing.T) {
	t.Parallel()
	s := newShop(t, append([]string{"CREATE TABLE big(n INT AUTO_INCREMENT PRIMARY KEY, x VARCHAR(100)) AUTO_INCREMENT=900000; INSERT INTO big SELECT seq, REPEAT('y',100) FROM seq_1_to_20000",
		"CREATE TABLE bigisam(n INT PRIMARY KEY, x VARCHAR(100)) ENGINE=MyISAM; INSERT INTO bigisam SELECT * FROM big"}, nastyMySQL...)...)
	h := serve(t)
	dir, _ := s.dumped(t, h, nil)
	back := namedShop(t)
	start := sdktest.Start{Controller: "restoretables", Settings: settings{"dsn": back.dsn(), "source": dir}, WorkDir: t.TempDir()}
	for round := range 2 {
		plan := h.Plan(t.Context(), start)
		plan.RequireCompleted(t)
		for _, step := range plan.Steps {
			if round == 0 && step.Name == "_views" {
				break // and the plan is made again
			}
			one := start
			one.Step, one.Settings, one.Session = "step/"+step.Name, step.Settings, plan.Session
			if strings.HasPrefix(step.Name, "big") {
				ctx, cut := context.WithCancel(t.Context())
				lost := one
				lost.OnProgress = func(p sdktest.Progress) {
					if p.Done > 0 {
						cut()
					}
				}
				if h.Execute(ctx, lost).Completed() {
					t.Fatal("the attempt that was cut completed")
				}
				cut()
			}
			h.Execute(t.Context(), one).RequireCompleted(t)
			h.Execute(t.Context(), one).RequireCompleted(t) // its completion was lost
		}
	}
	same(t, "restored", s.content(t), back.content(t))
}
