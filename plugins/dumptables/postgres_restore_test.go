package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
	"github.com/stepd/stepd/sdk/sdktest"
)

func TestPostgresRestoreRefusesWhatIsNotWholeAndTouchesNothing(t *testing.T) {
	t.Parallel()
	s := newStore(t, "CREATE TABLE t(x int); INSERT INTO t VALUES(1),(2); CREATE TABLE u(x int)")
	target := newStore(t, "CREATE TABLE t(old int); INSERT INTO t VALUES(7); CREATE TYPE mine AS ENUM('a'); CREATE SCHEMA other; CREATE TABLE other.t(x mine); CREATE EXTENSION hstore; SELECT lo_create(9)")
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
		{"of another kind", func(dir string) error { return editAt(dir, `"engine": "postgresql"`, `"engine": "mysql"`) }, "cannot go into postgresql"},
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
	if got := target.refuses(t, h, dir, nil); !strings.Contains(got.Message, "is not empty: it has 5 objects") || !strings.Contains(got.Message, "overwrite: true") {
		t.Errorf("got %v: %s", got.Status, got.Message)
	}
	same(t, "the target", before, target.content(t))
	target.restored(t, h, dir, settings{"overwrite": true})
	same(t, "replaced", s.content(t), target.content(t)) // what was there beside it is gone
}

func TestPostgresRestoreReplacesANastyDatabase(t *testing.T) {
	t.Parallel()
	s := newStore(t, "DROP SCHEMA public; CREATE SCHEMA x; CREATE TABLE x.t(a int); INSERT INTO x.t VALUES(1)")
	target := newStore(t, nastyPostgres...)
	h := serve(t)
	dir, _ := s.dumped(t, h, nil)
	target.restored(t, h, dir, settings{"overwrite": true})
	same(t, "replaced", s.content(t), target.content(t))
}

func TestPostgresRestoreComparesWhatItLoaded(t *testing.T) {
	t.Parallel()
	s := newStore(t, "CREATE TABLE t(x int GENERATED ALWAYS AS IDENTITY, y text); INSERT INTO t(y) VALUES('a'),('b'); CREATE SEQUENCE q")
	h := serve(t)
	dir, _ := s.dumped(t, h, nil)
	raw, err := os.ReadFile(filepath.Join(dir, "dump.json"))
	if err != nil {
		t.Fatal(err)
	}
	sums := regexp.MustCompile(`"checksum": "[0-9a-f]+"`).FindAllString(string(raw), -1)
	for _, c := range []struct{ old, new, want string }{
		{`"rows": 2`, `"rows": 3`, `load table "t": it has 2 rows after loading, the manifest says 3`},
		{sums[1], `"checksum": "0123456789abcdef"`, "they are not the same"},
		{sums[0], `"checksum": "0123456789abcdef"`, `load table "q": `},
	} {
		if err := editAt(dir, c.old, c.new); err != nil {
			t.Fatal(err)
		}
		got := namedStore(t).refuses(t, h, dir, nil)
		if got.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(got.Message, c.want) {
			t.Errorf("got %v: %s", got.Status, got.Message)
		}
		if err := editAt(dir, c.new, c.old); err != nil {
			t.Fatal(err)
		}
	}
	// Rows that a trigger of the server's own changes on their way are not those of
	// the dump; neither are counters that moved.
	for _, disturb := range []string{"UPDATE t SET y='c' WHERE y='b'", "SELECT setval('t_x_seq', 77)"} {
		dir, _ := s.dumped(t, h, nil)
		back := namedStore(t)
		start := sdktest.Start{Controller: "restoretables", Settings: settings{"dsn": back.dsn(), "source": dir, "programs": meddler(t, s, back, disturb)}, WorkDir: t.TempDir()}
		if got := untilFault(t, h, start); !strings.Contains(got.Message, "they are not the same") {
			t.Errorf("%s: %s", disturb, got.Message)
		}
	}
}

// meddler is a psql after which somebody changes the database.
func meddler(t testing.TB, s, back *store, statement string) string {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\n" + s.server.Bin + "/psql \"$@\" || exit $?\n[ \"$1\" = --version ] && exit\n" +
		s.server.Bin + "/psql -q -X -c \"" + statement + "\" >/dev/null 2>&1; exit 0\n"
	if err := os.WriteFile(filepath.Join(dir, "psql"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPostgresRecreateOfSomeTablesKeepsTheOthers(t *testing.T) {
	t.Parallel()
	s := newStore(t, "CREATE SCHEMA sales; CREATE TABLE a(x int PRIMARY KEY); CREATE TABLE sales.b(x int); CREATE TABLE a2(x int); INSERT INTO a VALUES(1); INSERT INTO sales.b VALUES(2)",
		"CREATE TABLE p(x int) PARTITION BY LIST(x); CREATE TABLE q1 PARTITION OF p FOR VALUES IN (1); INSERT INTO p VALUES(1); CREATE SEQUENCE seq; CREATE SEQUENCE other",
		"CREATE VIEW va AS SELECT * FROM a; CREATE VIEW vb AS SELECT 1; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'")
	h := serve(t)
	dir, _ := s.dumped(t, h, settings{"tables": []string{"A*", "va", "SALES.*", "p", "seq"}, "exclude": []string{"a2"}})
	mine := "CREATE TABLE a(old int, older int); CREATE TABLE mine(x int); INSERT INTO mine VALUES(5); CREATE VIEW va AS SELECT 'old'"
	other := newStore(t, mine)
	if got := other.refuses(t, h, dir, nil); !strings.Contains(got.Message, "not empty") {
		t.Fatalf("loaded over a database: %s", got.Message)
	}
	other.restored(t, h, dir, settings{"overwrite": true})
	query := "SELECT 'a', x FROM a UNION ALL SELECT 'b', x FROM sales.b UNION ALL SELECT 'mine', x FROM mine UNION ALL SELECT 'va', x FROM va UNION ALL SELECT 'p', x FROM p" +
		" UNION ALL SELECT relname, 0 FROM pg_class WHERE relname IN ('a2','vb','other','seq','q1') ORDER BY 1"
	want := "a|1\nb|2\nmine|5\np|1\nq1|0\nseq|0\nva|1\n"
	if got := other.ask(t, query); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	byClient := newStore(t, mine)
	byClient.load(t, dir)
	if got := byClient.ask(t, query); got != want {
		t.Errorf("the client made %q, want %q", got, want)
	}
	held := newStore(t, "CREATE TABLE a(x int PRIMARY KEY); CREATE TABLE refers(x int REFERENCES a)")
	if got := held.refuses(t, h, dir, settings{"overwrite": true}); got.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(got.Message, "depends on a table that it would replace") {
		t.Errorf("it ended as %v: %s", got.Status, got.Message)
	}
	same(t, "after the refusal", "refers\n", held.ask(t, "SELECT relname FROM pg_class WHERE relname='refers'"))
	// All but some: what belongs to the database comes along.
	dir, _ = s.dumped(t, h, settings{"exclude": []string{"a2", "p"}})
	rest := newStore(t)
	rest.restored(t, h, dir, nil)
	if got := rest.ask(t, "SELECT f(), count(*) FROM pg_class WHERE relname IN ('a2','p','q1')"); got != "1|0\n" {
		t.Errorf("got %q", got)
	}
}

func TestPostgresDataOnlyFiresNoTriggerAndKeepsIt(t *testing.T) {
	t.Parallel()
	s := newStore(t, "CREATE TABLE z(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n text, g int GENERATED ALWAYS AS (7) STORED); CREATE TABLE a(z int REFERENCES z ON DELETE CASCADE); INSERT INTO z(n) VALUES('1'),('2'); INSERT INTO a VALUES(2)",
		"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END'; CREATE TRIGGER refuse BEFORE INSERT OR DELETE ON z FOR EACH ROW EXECUTE FUNCTION refuse()")
	want := s.content(t)
	h := serve(t)
	whole, _ := s.dumped(t, h, nil)
	dir, results := s.dumped(t, h, settings{"mode": "data_only"})
	if _, ok := results["_schema"]; ok {
		t.Error("data_only has a schema")
	}
	back := namedStore(t)
	if got := back.refuses(t, h, dir, nil); !strings.Contains(got.Message, "there is no database") {
		t.Errorf("got %s", got.Message)
	}
	back.restored(t, h, whole, nil)
	if got := back.refuses(t, h, dir, nil); !strings.Contains(got.Message, "is not empty: empty it, or set overwrite: true") {
		t.Fatalf("rows were loaded over rows: %s", got.Message)
	}
	same(t, "after the refusal", want, back.content(t))
	back.do(t, "UPDATE z SET n='x'; SELECT setval('z_id_seq', 99)")
	back.restored(t, h, dir, settings{"overwrite": true})
	same(t, "after the load", want, back.content(t))
	if got := newStore(t, "CREATE TABLE x(y int)").refuses(t, h, dir, nil); !strings.Contains(got.Message, "the database has no table") {
		t.Errorf("got %s", got.Message)
	}
	back.do(t, "ALTER TABLE z ENABLE ALWAYS TRIGGER refuse")
	if got := back.refuses(t, h, dir, settings{"overwrite": true}); !strings.Contains(got.Message, `its trigger "refuse" fires always`) {
		t.Errorf("got %s", got.Message)
	}
	back.do(t, "ALTER TABLE z ENABLE TRIGGER refuse")
	poor := back.role(t, "poor", "", "ALL ON ALL TABLES IN SCHEMA public", "ALL ON ALL SEQUENCES IN SCHEMA public")
	got := back.refuses(t, h, dir, settings{"overwrite": true, "dsn": back.dsnOf(poor), "password": hunter})
	if got.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(got.Message, "may not hold triggers and foreign keys back") {
		t.Errorf("it ended as %v: %s", got.Status, got.Message)
	}
}

// A load whose steps are cut and done again ends as one that was not; so does one
// whose plan is made again, as its session or its answer was lost.
func TestPostgresRestoreGoesOnAfterCuts(t *testing.T) {
	t.Parallel()
	s := newStore(t, "CREATE TYPE mood AS ENUM('a'); CREATE TABLE big(n int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, x text, m mood); INSERT INTO big(x) SELECT repeat('y',300) FROM generate_series(1,20000)",
		"CREATE TABLE small(n int REFERENCES big); INSERT INTO small VALUES(3); CREATE TABLE left_out(x int); CREATE INDEX ON big(x); SELECT lo_from_bytea(5, 'abc')")
	h := serve(t)
	for _, more := range []settings{nil, {"exclude": []string{"left_out"}}} {
		dir, _ := s.dumped(t, h, more)
		back := namedStore(t)
		start := sdktest.Start{Controller: "restoretables", Settings: settings{"dsn": back.dsn(), "source": dir}, WorkDir: t.TempDir()}
		for round := range 2 {
			plan := h.Plan(t.Context(), start)
			plan.RequireCompleted(t)
			for _, step := range plan.Steps {
				if round == 0 && step.Name == "_finish" {
					break // and the plan is made again
				}
				one := start
				one.Step, one.Settings, one.Session = "step/"+step.Name, step.Settings, plan.Session
				if step.Name == "big" {
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
		want := s.content(t)
		if more != nil {
			s.do(t, "DROP TABLE left_out")
			want = s.content(t)
		}
		same(t, "restored", want, back.content(t))
	}
}

func TestPostgresRestoreNeedsRolesAndRights(t *testing.T) {
	t.Parallel()
	s := newStore(t, "CREATE TABLE t(x int)")
	owner := s.role(t, "gone", "")
	s.do(t, "ALTER TABLE t OWNER TO "+owner)
	h := serve(t)
	dir, _ := s.dumped(t, h, nil)
	for _, name := range []string{"000-schema.sql"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(raw), owner) {
			t.Fatalf("%s does not name the owner: %v", name, err)
		}
	}
	s.do(t, "ALTER TABLE t OWNER TO postgres")
	s.admin(t, "ALTER ROLE "+owner+" RENAME TO "+owner+"_renamed")
	got := namedStore(t).refuses(t, h, dir, nil)
	s.admin(t, "ALTER ROLE "+owner+"_renamed RENAME TO "+owner)
	if got.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(got.Message, "CREATE ROLE first") {
		t.Errorf("it ended as %v: %s", got.Status, got.Message)
	}
	poor := s.role(t, "poor", "")
	got = namedStore(t).refuses(t, h, dir, settings{"dsn": strings.Replace(s.dsnOf(poor), s.name+"?", s.name+"_new?", 1), "password": hunter})
	if got.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(got.Message, "make the database") || !strings.Contains(got.Message, "permission denied") {
		t.Errorf("it ended as %v: %s", got.Status, got.Message)
	}
}

// The owner of a database, who is no superuser, can dump it, load it into a new
// database and replace that one again.
func TestPostgresOwnerNeedsNoSuperuser(t *testing.T) {
	t.Parallel()
	s := namedStore(t)
	s.admin(t, "CREATE ROLE "+s.name+"_shop LOGIN CREATEDB PASSWORD 'geheim'")
	owner := s.name + "_shop"
	back := namedStore(t)
	t.Cleanup(func() {
		s.admin(t, "DROP DATABASE IF EXISTS "+back.name+" WITH (FORCE)", "DROP DATABASE "+s.name+" WITH (FORCE)", "DROP ROLE "+owner)
	})
	s.admin(t, "CREATE DATABASE "+s.name+" OWNER "+owner+" TEMPLATE template0")
	conn, err := s.server.ConnectAs(t.Context(), owner, "geheim", s.name)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, statement := range []string{"CREATE EXTENSION pg_trgm", "CREATE SCHEMA sales; CREATE TYPE mood AS ENUM('a'); CREATE TABLE sales.t(id serial PRIMARY KEY, m mood); INSERT INTO sales.t(m) VALUES('a')",
		"CREATE TABLE u(t int REFERENCES sales.t); INSERT INTO u VALUES(1); CREATE VIEW v AS SELECT * FROM u; SELECT lo_from_bytea(0, 'abc')",
		"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER tr BEFORE INSERT ON u FOR EACH ROW EXECUTE FUNCTION f()"} {
		if _, err := conn.PgConn().Exec(t.Context(), statement).ReadAll(); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	h := serve(t)
	as := func(one *store) settings { return settings{"dsn": one.dsnOf(owner), "password": "geheim"} }
	dir, _ := s.dumped(t, h, as(s))
	want := s.content(t)
	for _, overwrite := range []bool{false, true} {
		given := as(back)
		given["overwrite"] = overwrite
		given["dsn"], given["source"] = back.dsnOf(owner), dir
		start := sdktest.Start{Controller: "restoretables", Settings: given, WorkDir: t.TempDir()}
		group(t, start, true, func() *sdktest.Harness { return h }, nil) // side by side, as the daemon does
		same(t, "restored", want, back.content(t))
	}
}

// A new database sorts as the old one does.
func TestPostgresNewDatabaseHasTheLocale(t *testing.T) {
	t.Parallel()
	s := namedStore(t)
	s.admin(t, "CREATE DATABASE "+s.name+" TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'")
	s.do(t, "CREATE TABLE t(x text PRIMARY KEY); INSERT INTO t VALUES('Zoe'),('Äpfel'),('Azur')")
	h := serve(t)
	dir, _ := s.dumped(t, h, nil)
	back := namedStore(t)
	back.restored(t, h, dir, nil)
	query := "SELECT datcollate, datctype, to_jsonb(d)->'datlocprovider', coalesce(to_jsonb(d)->'daticulocale', to_jsonb(d)->'datlocale'), (SELECT string_agg(x, ',' ORDER BY x) FROM t) FROM pg_database d WHERE datname = current_database()"
	same(t, "the locale", s.ask(t, query), back.ask(t, query))
}
