package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stepd/stepd/sdk"
	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
	"github.com/stepd/stepd/sdk/sdktest"
)

const hunter = "hunter2'\"\\$ö"

// user makes a user with a password and rights; %s in a right is the database.
func (s *shop) user(t testing.TB, name string, grants ...string) {
	t.Helper()
	admin := s.server.Open("")
	defer admin.Close()
	do(t, admin, fmt.Sprintf("CREATE OR REPLACE USER %s@localhost IDENTIFIED BY 'hunter2''\"\\\\$ö'", name))
	for _, grant := range grants {
		do(t, admin, fmt.Sprintf("GRANT %s TO %s@localhost", strings.ReplaceAll(grant, "%s", "`"+s.name+"`"), name))
	}
	t.Cleanup(func() {
		admin := s.server.Open("")
		defer admin.Close()
		do(t, admin, "DROP USER IF EXISTS "+name+"@localhost")
	})
}

func secretFile(t testing.TB, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

var backupRights = []string{"SELECT, SHOW VIEW, TRIGGER, EVENT, EXECUTE ON %s.*"}

func TestMySQLBadSettingsSayWhatToDoAndNeverThePassword(t *testing.T) {
	s := newShop(t, "CREATE TABLE t(x INT)", "CREATE TABLE broken(x INT)", "CREATE TABLE m1(x INT) ENGINE=MyISAM")
	s.user(t, "backup", backupRights...)
	s.user(t, "poor", "SELECT ON %s.*")
	s.user(t, "alien")
	broken := newShop(t, "CREATE TABLE t(x INT)", "CREATE VIEW v AS SELECT * FROM t", "DROP TABLE t", "CREATE TABLE u(x INT)",
		"CREATE TABLE m(x INT) ENGINE=MyISAM", "CREATE TABLE merged(x INT) ENGINE=MERGE UNION=(m)")
	right := secretFile(t, hunter+"\n", 0o600)
	h := serve(t)
	at := "?socket=" + s.server.Socket
	for _, c := range []struct {
		name      string
		s         settings
		want      string
		transient bool
	}{
		{"password in the dsn", settings{"dsn": "mysql://backup:hunter2@localhost/shop"}, "it holds a password", false},
		{"password in the dsn's parameters", settings{"dsn": "mysql://backup@/shop?password=hunter2"}, "it holds a password", false},
		{"not an address", settings{"dsn": "mysql://backup:hunter2@[::1/shop"}, "cannot be read as an address", false},
		{"port is no number", settings{"dsn": "mysql://backup@host:hunter2/shop"}, "cannot be read as an address", false},
		{"driver's own form", settings{"dsn": "mysql:backup:hunter2@tcp(localhost)/shop"}, "not the address of a server", false},
		{"unknown parameter", settings{"dsn": "mysql://backup@/shop?charset=hunter2"}, `parameter "charset"`, false},
		{"no user", settings{"dsn": "mysql:///shop"}, "the user is missing", false},
		{"no database", settings{"dsn": "mysql://backup@localhost"}, "the database is missing", false},
		{"wrong password", settings{"dsn": s.dsnOf("backup"), "password": "wrong-hunter2"}, "Access denied", false},
		{"no password", settings{"dsn": s.dsnOf("backup")}, "check the user of the dsn and its password", false},
		{"two passwords", settings{"dsn": s.dsnOf("backup"), "password": "hunter2", "password_file": right}, "give one of them", false},
		{"no password file", settings{"dsn": s.dsnOf("backup"), "password_file": right + ".none"}, "no such file", false},
		{"open password file", settings{"dsn": s.dsnOf("backup"), "password_file": secretFile(t, hunter, 0o640)}, "other users may read", false},
		{"server down", settings{"dsn": "mysql://backup@127.0.0.1:1/shop", "password": hunter}, "connect to shop at 127.0.0.1:1 as backup", true},
		{"no socket", settings{"dsn": "mysql://backup@/shop?socket=/nowhere/s"}, "is the server running", true},
		{"no such database", settings{"dsn": "mysql://root@/no_such" + at}, "Unknown database", false},
		{"another's database", settings{"dsn": s.dsnOf("alien"), "password": hunter}, "no rights in this database", false},
		{"rights that hide things", settings{"dsn": s.dsnOf("poor"), "password": hunter}, "lacks TRIGGER, EVENT, EXECUTE", false},
		{"no lock for two", settings{"dsn": s.dsnOf("backup"), "password_file": right, "connections": 2}, "GRANT RELOAD ON *.*", false},
		{"no such table", settings{"dsn": s.dsn(), "tables": []string{"tt"}}, `no table "tt"`, false},
		{"broken view", settings{"dsn": broken.dsn(), "exclude": []string{"merged"}}, `"v" cannot be dumped: it is a view that does not work`, false},
		{"rows elsewhere", settings{"dsn": broken.dsn(), "exclude": []string{"v"}}, "keeps its rows elsewhere", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := h.Plan(t.Context(), sdktest.Start{Settings: c.s, WorkDir: t.TempDir()})
			said := fmt.Sprint(got.Message, got.Lines)
			if got.Completed() || !strings.Contains(said, c.want) || strings.Contains(said, "hunter2") {
				t.Errorf("got %v %q, want %q", got.Status, said, c.want)
			}
			if permanent := got.Status == stepdv1.Result_STATUS_FAILED_PERMANENT; permanent == c.transient {
				t.Errorf("it ended as %v", got.Status)
			}
		})
	}
}

func TestMySQLPasswordIsNowhere(t *testing.T) {
	s := newShop(t, nastyMySQL...)
	s.user(t, "backup", backupRights...)
	s.user(t, "full", "ALL ON %s.*", "SELECT ON mysql.proc", "SUPER, SET USER ON *.*")
	admin := s.server.Open("")
	defer admin.Close()
	do(t, admin, "GRANT SELECT ON mysql.proc TO backup@localhost")
	h := serve(t)
	for _, given := range []settings{{"password": hunter}, {"password_file": secretFile(t, hunter+"\r\n", 0o600)}} {
		dir, work := t.TempDir(), t.TempDir()
		given["dsn"], given["target"] = s.dsnOf("backup"), dir
		plan, results := h.RunPlanned(t.Context(), sdktest.Start{Settings: given, WorkDir: work})
		back := newShop(t)
		back.user(t, "full", "ALL ON %s.*", "SELECT ON mysql.proc", "SUPER, SET USER ON *.*")
		delete(given, "target")
		given["dsn"], given["source"] = back.dsnOf("full"), dir
		plan2, results2 := h.RunPlanned(t.Context(), sdktest.Start{Controller: "restoretables", Settings: given, WorkDir: work})
		same(t, "restored", s.content(t), back.content(t))
		said, err := json.Marshal([]any{plan, results, plan2, results2})
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range append(plan.Steps, plan2.Steps...) {
			said = append(said, step.Settings...)
		}
		for _, root := range []string{dir, work} {
			filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
				if err == nil && entry.Type().IsRegular() {
					raw, _ := os.ReadFile(path)
					said = append(said, raw...)
				}
				return err
			})
		}
		if i := strings.Index(string(said), "hunter2"); i >= 0 {
			t.Errorf("the password is in %q", said[max(0, i-100):i+20])
		}
	}
}

func TestMySQLTablesThatOthersChangeAreNamed(t *testing.T) {
	for _, c := range []struct{ name, change, want string }{
		{"dropped", "DROP TABLE b", `table "b" has vanished since the dump began`},
		{"renamed", "RENAME TABLE b TO c", `table "b" has vanished`},
		{"replaced", "DROP TABLE b; CREATE TABLE b(x INT PRIMARY KEY)", `table "b" was altered`},
		{"column added", "ALTER TABLE b ADD COLUMN y INT DEFAULT 3", `table "b" was altered`},
		{"rebuilt", "ALTER TABLE b FORCE", `table "b" was altered`},
		{"truncated", "TRUNCATE TABLE b", `table "b" was altered`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShop(t, "CREATE TABLE a(x INT PRIMARY KEY); INSERT INTO a VALUES(1); CREATE TABLE b(x INT PRIMARY KEY); INSERT INTO b VALUES(1)")
			h := serve(t)
			start := sdktest.Start{Settings: settings{"dsn": s.dsn()}}
			plan := h.Plan(t.Context(), start)
			plan.RequireCompleted(t)
			failed := false
			for _, step := range plan.Steps {
				start.Step, start.Settings, start.Session = "step/"+step.Name, step.Settings, plan.Session
				if step.Name == "b" {
					do(t, s.DB, c.change)
				}
				got := h.Execute(t.Context(), start)
				if step.Name != "b" && !failed {
					got.RequireCompleted(t)
				}
				if step.Name == "b" {
					failed = true
					if got.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(got.Message, c.want) {
						t.Errorf("it ended as %v: %s", got.Status, got.Message)
					}
				}
			}
			if raw, err := os.ReadFile(filepath.Join(h.WorkDir(), "tables", "dump.json")); err != nil || !strings.Contains(string(raw), `"complete": false`) {
				t.Errorf("the manifest says %s: %v", raw, err)
			}
			left, _ := filepath.Glob(filepath.Join(h.WorkDir(), "tables", "*-b.sql"))
			hidden, _ := filepath.Glob(filepath.Join(h.WorkDir(), "tables", ".*"))
			if len(left)+len(hidden) > 0 {
				t.Errorf("left behind: %v %v", left, hidden)
			}
		})
	}
}

// What others change beside the tables that are dumped does not matter: the
// dump is what the plan saw.
func TestMySQLNewTablesDoNotDisturbADump(t *testing.T) {
	s := newShop(t, "CREATE TABLE a(x INT PRIMARY KEY); INSERT INTO a VALUES(1)")
	h := serve(t)
	start := sdktest.Start{Settings: settings{"dsn": s.dsn()}}
	plan := h.Plan(t.Context(), start)
	do(t, s.DB, "CREATE TABLE later(x INT); INSERT INTO later VALUES(1); CREATE TRIGGER tr AFTER INSERT ON later FOR EACH ROW SET @x=1", "INSERT INTO a VALUES(2)")
	for _, step := range plan.Steps {
		start.Step, start.Settings, start.Session = "step/"+step.Name, step.Settings, plan.Session
		h.Execute(t.Context(), start).RequireCompleted(t)
	}
	back := namedShop(t)
	back.restored(t, h, filepath.Join(h.WorkDir(), "tables"), nil)
	if got := back.client(t, "SHOW TABLES; SELECT * FROM a", "-N"); got != "a\n1\n" {
		t.Errorf("the dump holds %q", got)
	}
}

func TestMySQLStoppedStepKeepsItsSnapshot(t *testing.T) {
	t.Parallel()
	s := newShop(t, "CREATE TABLE big(n INT PRIMARY KEY, x VARCHAR(200)); INSERT INTO big SELECT seq, REPEAT('x',200) FROM seq_1_to_100000")
	h := serve(t)
	start := sdktest.Start{Settings: settings{"dsn": s.dsn()}}
	plan := h.Plan(t.Context(), start)
	plan.RequireCompleted(t)
	do(t, s.DB, "DELETE FROM big WHERE n > 10")
	for _, step := range plan.Steps {
		start.Step, start.Settings, start.Session = "step/"+step.Name, step.Settings, plan.Session
		if step.Name == "big" {
			for range 3 {
				cancel := make(chan error, 1)
				one := start
				one.Cancel, one.OnProgress = cancel, func(sdktest.Progress) {
					select {
					case cancel <- sdk.ErrDeadline:
					default:
					}
				}
				if got := h.Execute(t.Context(), one); got.Completed() || got.Status == stepdv1.Result_STATUS_SESSION_LOST {
					t.Fatalf("it ended as %v: %s", got.Status, got.Message)
				}
			}
		}
		h.Execute(t.Context(), start).RequireCompleted(t)
	}
	back := namedShop(t)
	back.restored(t, h, filepath.Join(h.WorkDir(), "tables"), nil)
	if got := back.client(t, "SELECT COUNT(*) FROM big", "-N"); got != "100000\n" {
		t.Errorf("the dump holds %s rows", got)
	}
}

func TestMySQLProgramsOfOthersNeedRights(t *testing.T) {
	s := newShop(t, "CREATE TABLE t(x INT); CREATE TABLE secret(x INT)", "CREATE PROCEDURE p() SELECT 1")
	s.user(t, "reader", backupRights...)
	s.user(t, "half", "TRIGGER, EVENT, EXECUTE ON %s.*", "SELECT ON %s.t")
	h := serve(t)
	for _, c := range []struct {
		user, step, want string
		more             settings
	}{
		{"reader", "_routines", `the user may not read the procedure "p": GRANT SELECT ON mysql.proc`, nil},
		{"half", "secret", "SELECT command denied", nil},
	} {
		start := sdktest.Start{Settings: settings{"dsn": s.dsnOf(c.user), "password": hunter}, WorkDir: t.TempDir()}
		plan := h.Plan(t.Context(), start)
		plan.RequireCompleted(t)
		found := false
		for _, step := range plan.Steps {
			start.Step, start.Settings, start.Session = "step/"+step.Name, step.Settings, plan.Session
			if got := h.Execute(t.Context(), start); step.Name == c.step {
				found = true
				if got.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(got.Message, c.want) {
					t.Errorf("%s: it ended as %v: %s", c.user, got.Status, got.Message)
				}
			}
		}
		if !found {
			t.Errorf("%s: there is no step %s", c.user, c.step)
		}
	}
	dir, _ := s.dumped(t, h, nil)
	back := newShop(t)
	back.user(t, "owner", "ALL ON %s.*")
	got := back.refuses(t, h, dir, settings{"dsn": back.dsnOf("owner"), "password": hunter})
	if got.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(got.Message, "another DEFINER") {
		t.Errorf("the load ended as %v: %s", got.Status, got.Message)
	}
}
