package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
	"github.com/stepd/stepd/sdk/sdktest"
)

// role makes a user with a password and rights in the database.
func (s *store) role(t testing.TB, name, options string, grants ...string) string {
	t.Helper()
	name = s.name + "_" + name // users belong to the server
	s.admin(t, `CREATE ROLE `+name+` LOGIN `+options+` PASSWORD E'hunter2\'"\\$ö'`)
	for _, grant := range grants {
		s.do(t, "GRANT "+grant+" TO "+name)
	}
	t.Cleanup(func() {
		s.do(t, "DROP OWNED BY "+name+" CASCADE")
		s.admin(t, "DROP OWNED BY "+name, "DROP ROLE "+name)
	})
	return name
}

// fakeProgram is a program that only tells its version.
func fakeProgram(t testing.TB, name, version string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho '"+name+" (PostgreSQL) "+version+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPostgresBadSettingsSayWhatToDoAndNeverThePassword(t *testing.T) {
	t.Parallel()
	s := newStore(t, "CREATE TABLE t(x int); CREATE TABLE secret(x int); CREATE TABLE rows_of_others(x int); ALTER TABLE rows_of_others ENABLE ROW LEVEL SECURITY; CREATE SCHEMA closed; CREATE TABLE closed.inside(x int); CREATE SEQUENCE counter; CREATE VIEW v AS SELECT 1 AS x")
	backup := s.role(t, "backup", "", "SELECT ON t, rows_of_others, v, closed.inside", "SELECT ON counter")
	right := secretFile(t, hunter+"\n", 0o600)
	h := serve(t)
	at := "?host=" + s.server.Dir
	for _, c := range []struct {
		name      string
		s         settings
		want      string
		transient bool
	}{
		{"password in the dsn", settings{"dsn": "postgres://backup:hunter2@localhost/shop"}, "it holds a password", false},
		{"password in the dsn's parameters", settings{"dsn": "postgres://backup@/shop?password=hunter2"}, "it holds a password", false},
		{"not an address", settings{"dsn": "postgres://backup:hunter2@[::1/shop"}, "cannot be read as an address", false},
		{"port is no number", settings{"dsn": "postgres://backup@/shop?port=hunter2"}, "the port is no number", false},
		{"libpq's own form", settings{"dsn": "postgres:host=h password=hunter2"}, "not the address of a server", false},
		{"unknown parameter", settings{"dsn": "postgres://backup@/shop?options=hunter2"}, `parameter "options"`, false},
		{"unknown sslmode", settings{"dsn": "postgres://backup@/shop?sslmode=hunter2"}, "sslmode is one of", false},
		{"no such certificate", settings{"dsn": "postgres://backup@h/shop?sslmode=verify-full&sslrootcert=/nowhere"}, "the certificate of sslrootcert", false},
		{"no user", settings{"dsn": "postgres:///shop"}, "the user is missing", false},
		{"no database", settings{"dsn": "postgresql://backup@localhost"}, "the database is missing", false},
		{"wrong password", settings{"dsn": s.dsnOf(backup), "password": "wrong-hunter2"}, "password authentication failed", false},
		{"no password", settings{"dsn": s.dsnOf(backup)}, "check the user of the dsn and its password", false},
		{"open password file", settings{"dsn": s.dsnOf(backup), "password_file": secretFile(t, hunter, 0o640)}, "other users may read", false},
		{"server down", settings{"dsn": "postgres://backup@127.0.0.1:1/shop", "password": hunter}, "connect to shop at 127.0.0.1:1 as backup", true},
		{"no socket", settings{"dsn": "postgres://backup@/shop?host=/nowhere"}, "is the server running", true},
		{"no such database", settings{"dsn": "postgres://postgres@/no_such" + at}, `database "no_such" does not exist`, false},
		{"no rights", settings{"dsn": s.dsnOf(backup), "password_file": right}, `table "secret" cannot be dumped: the user ` + backup + ` may not read it`, false},
		{"no rights in a schema", settings{"dsn": s.dsnOf(backup), "password_file": right}, `table "closed.inside" cannot be dumped`, false},
		{"rows are hidden", settings{"dsn": s.dsnOf(backup), "password_file": right}, `row-level security hides rows`, false},
		{"no such table", settings{"dsn": s.dsn(), "tables": []string{"tt"}}, `no table "tt"`, false},
		{"old pg_dump", settings{"dsn": s.dsn(), "programs": fakeProgram(t, "pg_dump", "14.9")}, "an older pg_dump cannot dump a newer server", false},
		{"no pg_dump", settings{"dsn": s.dsn(), "programs": t.TempDir()}, "setting programs", false},
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

func TestPostgresPasswordIsNowhere(t *testing.T) {
	t.Parallel()
	s := newStore(t, "CREATE TABLE t(x int); INSERT INTO t VALUES(1)")
	backup := s.role(t, "backup", "", "SELECT ON t")
	owner := s.role(t, "owner", "SUPERUSER")
	h := serve(t)
	for _, given := range []settings{{"password": hunter}, {"password_file": secretFile(t, hunter+"\r\n", 0o600)}} {
		dir, work, programs := t.TempDir(), t.TempDir(), t.TempDir()
		// Programs that tell what others could see of them.
		for _, name := range []string{"pg_dump", "psql"} {
			script := fmt.Sprintf("#!/bin/sh\necho \"$@\" >> %s/seen\nexec %s/%s \"$@\"\n", programs, s.server.Bin, name)
			if err := os.WriteFile(filepath.Join(programs, name), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		given["dsn"], given["target"], given["programs"] = s.dsnOf(backup), dir, programs
		plan, results := h.RunPlanned(t.Context(), sdktest.Start{Settings: given, WorkDir: work})
		h.EndRun(t.Context(), 1)
		back := namedStore(t)
		delete(given, "target")
		given["dsn"], given["source"] = back.dsnOf(owner), dir
		plan2, results2 := h.RunPlanned(t.Context(), sdktest.Start{Controller: "restoretables", Settings: given, WorkDir: work})
		same(t, "restored", s.content(t), back.content(t))
		said, err := json.Marshal([]any{plan, results, plan2, results2})
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range append(plan.Steps, plan2.Steps...) {
			said = append(said, step.Settings...)
		}
		for _, root := range []string{dir, work, programs} {
			filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
				if err == nil && entry.Type().IsRegular() {
					raw, _ := os.ReadFile(path)
					said = append(said, raw...)
				}
				return err
			})
		}
		if !strings.Contains(string(said), "--snapshot=") || !strings.Contains(string(said), "--no-psqlrc") {
			t.Error("the programs were not the given ones")
		}
		if i := strings.Index(string(said), "hunter2"); i >= 0 {
			t.Errorf("the password is in %q", said[max(0, i-100):i+20])
		}
	}
}

func TestPostgresTablesThatOthersChangeAreNamed(t *testing.T) {
	t.Parallel()
	h := serve(t)
	for _, c := range []struct{ name, change, want string }{
		{"dropped", "DROP TABLE b", `table "b" has vanished since the dump began`},
		{"renamed", "ALTER TABLE b RENAME TO c", `table "b" has vanished`},
		{"replaced", "DROP TABLE b; CREATE TABLE b(x int PRIMARY KEY)", `table "b" has vanished`},
		{"column dropped", "ALTER TABLE b DROP COLUMN y", `table "b" was altered`},
		{"column of another type", "ALTER TABLE b ALTER COLUMN y TYPE bigint", `table "b" was altered`},
		{"truncated", "TRUNCATE TABLE b", `table "b" was altered`},
		{"column added", "ALTER TABLE b ADD COLUMN z int", ""}, // the snapshot's rows have none
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t, "CREATE TABLE a(x int PRIMARY KEY); INSERT INTO a VALUES(1); CREATE TABLE b(x int PRIMARY KEY, y int); INSERT INTO b VALUES(1,2)")
			start := sdktest.Start{Settings: settings{"dsn": s.dsn()}, WorkDir: t.TempDir()}
			plan := h.Plan(t.Context(), start)
			plan.RequireCompleted(t)
			defer h.EndRun(t.Context(), 1)
			failed := false
			for _, step := range plan.Steps {
				start.Step, start.Settings, start.Session = "step/"+step.Name, step.Settings, plan.Session
				if step.Name == "b" {
					s.do(t, c.change)
				}
				got := h.Execute(t.Context(), start)
				if step.Name == "b" && c.want != "" {
					failed = true
					if got.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(got.Message, c.want) {
						t.Errorf("it ended as %v: %s", got.Status, got.Message)
					}
				} else if !failed {
					got.RequireCompleted(t)
				}
			}
			if !failed {
				return
			}
			dir := filepath.Join(start.WorkDir, "tables")
			if raw, err := os.ReadFile(filepath.Join(dir, "dump.json")); err != nil || !strings.Contains(string(raw), `"complete": false`) {
				t.Errorf("the manifest says %s: %v", raw, err)
			}
			left, _ := filepath.Glob(filepath.Join(dir, "*-b.sql"))
			hidden, _ := filepath.Glob(filepath.Join(dir, ".*"))
			if len(left)+len(hidden) > 0 {
				t.Errorf("left behind: %v %v", left, hidden)
			}
		})
	}
}

// A table that goes when it has been read, and one that comes, change nothing.
func TestPostgresDumpIsWhatThePlanSaw(t *testing.T) {
	t.Parallel()
	s := newStore(t, "CREATE TABLE a(x int PRIMARY KEY); INSERT INTO a VALUES(1); CREATE TABLE b(x int REFERENCES a); INSERT INTO b VALUES(1)")
	want := s.content(t)
	h := serve(t)
	start := sdktest.Start{Settings: settings{"dsn": s.dsn()}}
	plan := h.Plan(t.Context(), start)
	plan.RequireCompleted(t)
	for _, step := range plan.Steps {
		if step.Name == "_finish" {
			s.do(t, "DROP TABLE b; CREATE TABLE later(x int); INSERT INTO a VALUES(2)")
		}
		start.Step, start.Settings, start.Session = "step/"+step.Name, step.Settings, plan.Session
		h.Execute(t.Context(), start).RequireCompleted(t)
	}
	back := namedStore(t)
	back.restored(t, h, filepath.Join(h.WorkDir(), "tables"), nil)
	same(t, "restored", want, back.content(t))
}

func TestPostgresFullDiskLeavesNothingHalf(t *testing.T) {
	t.Parallel()
	s := newStore(t, "CREATE TABLE big(x text); INSERT INTO big SELECT repeat('x',1000) FROM generate_series(1,5000)")
	h := serve(t)
	start := sdktest.Start{Settings: settings{"dsn": s.dsn(), "compress": "zstd"}, WorkDir: t.TempDir()}
	plan := h.Plan(t.Context(), start)
	plan.RequireCompleted(t)
	dir := filepath.Join(start.WorkDir, "tables")
	for _, step := range plan.Steps {
		start.Step, start.Settings, start.Session = "step/"+step.Name, step.Settings, plan.Session
		if step.Name == "big" {
			full := filepath.Join(dir, ".001-big.sql.zst.tmp") // a device without room
			if err := os.Symlink("/dev/full", full); err != nil {
				t.Fatal(err)
			}
			got := h.Execute(t.Context(), start)
			if got.Status != stepdv1.Result_STATUS_FAILED || !strings.Contains(got.Message, `dump table "big"`) || !strings.Contains(got.Message, "make room and continue the run") {
				t.Errorf("it ended as %v: %s", got.Status, got.Message)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*big*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		}
		h.Execute(t.Context(), start).RequireCompleted(t) // with room again
	}
	if got := s.others(t); got != 0 {
		t.Errorf("%d connections are left", got)
	}
}

func TestPostgresNamesOfDatabasesAreNamesAlone(t *testing.T) {
	t.Parallel()
	s := namedStore(t)
	odd := `a b'c=d"e\f host=x`
	quotedName := `"` + strings.ReplaceAll(odd, `"`, `""`) + `"`
	s.admin(t, "CREATE DATABASE "+quotedName+" TEMPLATE template0")
	t.Cleanup(func() {
		s.admin(t, "DROP DATABASE "+quotedName+" WITH (FORCE)", `DROP DATABASE IF EXISTS "x/y z" WITH (FORCE)`)
	})
	s.in(t, odd, "CREATE TABLE t(x int); INSERT INTO t VALUES(5)")
	h := serve(t)
	dir, _ := s.dumped(t, h, settings{"dsn": "postgres://postgres@/" + url.PathEscape(odd) + "?host=" + s.server.Dir})
	s.restored(t, h, dir, settings{"dsn": "postgres://postgres@/x%2Fy%20z?host=" + s.server.Dir})
	if got := s.tool(t, "", "psql", "--dbname=x/y z", "-Atc", "SELECT x FROM t"); got != "5\n" {
		t.Errorf("the restored database holds %q", got)
	}
}
