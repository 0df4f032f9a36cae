package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stepd/stepd/sdk/sdktest"
)

// nasty is a schema with everything that has gone wrong in dumps before.
var nasty = []string{
	`PRAGMA user_version=42`, `PRAGMA application_id=1234567`,
	`CREATE TABLE customers(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL COLLATE NOCASE, born DATE, seen TIMESTAMP, ok BOOLEAN)`,
	`INSERT INTO customers(name,born,seen,ok) VALUES('O''Brien','2020-01-02','2020-01-02 03:04:05',1),('','not a date',12345,0),('Zoë 🦊','',NULL,'true')`,
	`INSERT INTO customers(id,name) VALUES(9223372036854775806,'last')`, `DELETE FROM customers WHERE id>1000`,
	`CREATE TABLE never_filled(id INTEGER PRIMARY KEY AUTOINCREMENT, x)`,
	`CREATE TABLE orders(id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customers(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
		net REAL NOT NULL, gross REAL GENERATED ALWAYS AS (net*1.19) STORED, label TEXT AS ('order '||id) VIRTUAL, CHECK (net >= 0))`,
	`INSERT INTO orders(id,customer,net) VALUES(1,1,19.99),(2,2,0.1),(7,3,1e15)`,
	`CREATE TABLE anything(v)`,
	`INSERT INTO anything VALUES(NULL),(''),(X''),(X'00ff27'),(9223372036854775807),(-9223372036854775808),(0),(0.0),(-0.0),(9e999),(-9e999),
		(5e-324),(-5e-324),(2.2250738585072014e-308),(1.7976931348623157e308),(0.1+0.2),(1.0/3),(1e22),(1e23),(123456789012345678.0),(3.0),
		('123'),('1e5'),('line
two;'),('it''s'),('a'||char(0)||'b'),(char(0)),(CAST(X'ff41c3' AS TEXT)),('\n'),('😀'),('-- no comment'),('/* x'),('null'),(char(0xfeff)||'bom'),(char(13)||char(10)),('\r'||char(13)||'\r1'||char(13)),('x
/
;
go
.quit
#
')`,
	`CREATE TABLE whole(i INTEGER, r REAL, n NUMERIC, t TEXT, b BLOB)`,
	`INSERT INTO whole VALUES('abc','abc','abc',12,'text in blob'),(X'41',X'42',X'43',X'44',X'45'),(1.5,7,'1e3',1.5,3),('9223372036854775808',9223372036854775807,1e300,NULL,1.0)`,
	`CREATE TABLE wr(a TEXT COLLATE NOCASE, b, c BLOB, PRIMARY KEY(b DESC, a)) WITHOUT ROWID`,
	`INSERT INTO wr VALUES('x',1,X'00'),('y',2,NULL),('X',3,'')`,
	`CREATE TABLE strict_one(id INT PRIMARY KEY, a ANY, t TEXT, b BLOB, r REAL) STRICT`,
	`INSERT INTO strict_one VALUES(1,'123',NULL,X'',1),(2,123,'',NULL,2.5),(-3,X'31','x',X'31',-0.0)`,
	`CREATE TABLE gaps(x UNIQUE)`, `INSERT INTO gaps(rowid,x) VALUES(-5,'a'),(100,'b'),(9223372036854775807,'c')`,
	`CREATE TABLE "rowid"("rowid" TEXT, _rowid_, y)`, `INSERT INTO "rowid"(oid,"rowid",_rowid_,y) VALUES(77,'a','b','c')`,
	`CREATE TABLE hides_all(rowid, _rowid_, oid)`, `INSERT INTO hides_all VALUES(3,2,1),(1,2,3)`,
	`CREATE TABLE descending(id INTEGER PRIMARY KEY DESC, z)`, `INSERT INTO descending(rowid,id,z) VALUES(50,2,'p'),(60,1,'q')`,
	`CREATE TABLE "select"("from" INT, "a b" TEXT, "q""q" TEXT, 'single' TEXT, [br] TEXT, "new
line" TEXT, "" INT, "semi;" TEXT, "Überschrift" TEXT)`,
	`INSERT INTO "select" VALUES(1,'2','3','4','5','6',7,'8','9')`,
	`CREATE TABLE "a/b; DROP TABLE x --"(v)`, `INSERT INTO "a/b; DROP TABLE x --" VALUES(1)`,
	`CREATE TABLE "with ""quotes"" and
newline"(v)`, `INSERT INTO "with ""quotes"" and
newline" VALUES('x')`,
	`CREATE TABLE ""("" INT)`, `INSERT INTO "" VALUES(3)`,
	`CREATE TABLE "таблица"(v)`, `CREATE TABLE "_finish"(v)`, `CREATE TABLE "__a_2fb"(v)`, `CREATE TABLE "a/b"(v)`, `CREATE TABLE "schema"(v)`, `CREATE TABLE "..."(v)`,
	`CREATE TABLE "` + strings.Repeat("long", 60) + `"(v)`, `CREATE TABLE "` + strings.Repeat("long", 60) + `2"(v)`,
	`CREATE TABLE commented(a, -- the first; one
		b /* ' */)`,
	`CREATE TABLE made AS SELECT 1 AS one, 'x' AS "the x"`,
	`CREATE INDEX by_name ON customers(name COLLATE BINARY DESC)`,
	`CREATE UNIQUE INDEX partial ON orders(customer) WHERE net > 5`,
	`CREATE INDEX expression ON customers(lower(name), length(name))`,
	`CREATE INDEX "odd; index" ON "select"("from", "a b")`,
	`CREATE INDEX covering ON anything(v)`,
	`CREATE VIEW outer_view AS SELECT * FROM inner_view WHERE n > 0 -- ends in a comment`,
	`CREATE VIEW inner_view AS SELECT count(*) AS n, 'a;b' AS s FROM customers`,
	`CREATE TABLE audit(at INTEGER PRIMARY KEY, what)`,
	`CREATE TRIGGER log_customers AFTER INSERT ON customers BEGIN
		INSERT INTO audit(what) VALUES('new; ' || new.name);
		UPDATE audit SET what = CASE WHEN what IS NULL THEN 'end' ELSE what END;
	END`,
	`CREATE TRIGGER refuse BEFORE INSERT ON orders WHEN new.net > 100 BEGIN SELECT RAISE(ABORT, 'too much'); END`,
	`CREATE TRIGGER into_view INSTEAD OF INSERT ON inner_view BEGIN INSERT INTO customers(name) VALUES(new.s); END`,
	`INSERT INTO audit(what) VALUES('kept')`,
	`ANALYZE`,
	`VACUUM`,
}

var searchable = []string{
	`CREATE VIRTUAL TABLE notes USING fts5(title, body, tag UNINDEXED, tokenize="unicode61 remove_diacritics 2")`,
	`INSERT INTO notes(rowid,title,body,tag) VALUES(5,'Blue chair','A chair; it''s blue','x'),(9,'Crème','Sauce',7)`,
	`INSERT INTO notes(notes, rank) VALUES('rank','bm25(10.0, 5.0)')`,
	`CREATE VIRTUAL TABLE found USING fts5(name, content='customers', content_rowid='id')`,
	`INSERT INTO found(found) VALUES('rebuild')`,
	`CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1, +label)`,
	`INSERT INTO boxes VALUES(1,0.1,2.7,'a'),(3,-5,1e10,NULL)`,
}

func TestRoundTripKeepsEverything(t *testing.T) {
	for _, encoding := range []string{"UTF-8", "UTF-16le", "UTF-16be"} {
		for _, journal := range []string{"delete", "wal"} {
			t.Run(encoding+" "+journal, func(t *testing.T) {
				base := t.TempDir()
				shop := filepath.Join(base, "shop.db")
				makeDB(t, shop, append([]string{"PRAGMA encoding='" + encoding + "'", "PRAGMA page_size=8192", "PRAGMA journal_mode=" + journal}, nasty...)...)
				h := serve(t)
				runDump(t, h, base, settings{})
				dir := filepath.Join(h.WorkDir(), "tables")
				want := content(t, shop)

				restore(t, h, base, settings{"dsn": "sqlite:back.db"}).RequireCompleted(t)
				same(t, "restored", want, content(t, filepath.Join(base, "back.db")))

				loadByClient(t, dir, filepath.Join(base, "client.db"))
				same(t, "loaded by the client", want, content(t, filepath.Join(base, "client.db")))

				wantDump := dumpOf(t, shop)
				same(t, ".dump of the restored", wantDump, dumpOf(t, filepath.Join(base, "back.db")))
				same(t, ".dump of what the client loaded", wantDump, dumpOf(t, filepath.Join(base, "client.db")))
				if got := strings.TrimSpace(client(t, filepath.Join(base, "back.db"), "PRAGMA journal_mode; PRAGMA integrity_check; PRAGMA foreign_key_check;")); got != journal+"\nok" {
					t.Errorf("the restored database says %q", got)
				}
			})
		}
	}
}

func TestVirtualTablesComeBackUsable(t *testing.T) {
	base := t.TempDir()
	shop := filepath.Join(base, "shop.db")
	makeDB(t, shop, append(append([]string{}, nasty...), searchable...)...)
	h := serve(t)
	plan, _ := runDump(t, h, base, settings{})
	for _, step := range plan.Steps {
		if strings.Contains(step.Name, "notes_") {
			t.Errorf("a shadow table has a step: %s", step.Name)
		}
	}
	restore(t, h, base, settings{"dsn": "sqlite:back.db"}).RequireCompleted(t)
	loadByClient(t, filepath.Join(h.WorkDir(), "tables"), filepath.Join(base, "client.db"))
	want := content(t, shop)
	for _, name := range []string{"back.db", "client.db"} {
		path := filepath.Join(base, name)
		same(t, name, want, content(t, path))
		db := open(t, path)
		var hit, hits, inBox int64
		var rank string
		err := db.QueryRow(`SELECT (SELECT rowid FROM notes WHERE notes MATCH 'creme'), (SELECT count(*) FROM found WHERE found MATCH 'brien'),
			(SELECT v FROM notes_config WHERE k='rank'), (SELECT count(*) FROM boxes WHERE x0 < -1)`).Scan(&hit, &hits, &rank, &inBox)
		if err != nil || hit != 9 || hits != 1 || rank != "bm25(10.0, 5.0)" || inBox != 1 {
			t.Errorf("%s: the indexes find %d, %d, %q, %d: %v", name, hit, hits, rank, inBox, err)
		}
		do(t, db, `INSERT INTO found(found) VALUES('integrity-check')`, `INSERT INTO notes(notes) VALUES('integrity-check')`)
	}
}

func TestDataOnlyLeavesTheSchemaAndFiresNoTrigger(t *testing.T) {
	base := t.TempDir()
	shop := filepath.Join(base, "shop.db")
	makeDB(t, shop, append(append([]string{}, nasty...), searchable...)...)
	h := serve(t)
	plan, _ := runDump(t, h, base, settings{"mode": "data_only", "exclude": []string{"_FINISH"}})
	if first := plan.Steps[0]; first.Order != 2 {
		t.Errorf("data_only begins with %+v", first)
	}
	empty := filepath.Join(base, "empty.db")
	raw, err := os.ReadFile(shop)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(empty, raw, 0o640); err != nil {
		t.Fatal(err)
	}
	want := content(t, shop)

	refused := restore(t, h, base, settings{"dsn": "sqlite:empty.db"})
	if refused.Completed() || !strings.Contains(refused.Message, "is not empty") {
		t.Fatalf("rows were loaded over rows: %s", refused.Message)
	}
	same(t, "after the refusal", want, content(t, empty))

	makeDB(t, empty, `DELETE FROM customers`, `UPDATE anything SET v=1`, `INSERT INTO "_finish" VALUES('stays')`)
	restore(t, h, base, settings{"dsn": "sqlite:empty.db", "overwrite": true}).RequireCompleted(t)
	makeDB(t, shop, `INSERT INTO "_finish" VALUES('stays')`)
	same(t, "after the load", content(t, shop), content(t, empty))
	if info, err := os.Stat(empty); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode of the database changed: %v %v", info.Mode(), err)
	}
}

func TestLoadOfSQLiteIsPlannedAsOneStep(t *testing.T) {
	base := t.TempDir()
	makeDB(t, filepath.Join(base, "shop.db"), `CREATE TABLE t(x)`, `INSERT INTO t VALUES(1),(2)`)
	h := serve(t)
	runDump(t, h, base, settings{})
	plan, results := h.RunPlanned(t.Context(), sdktest.Start{Controller: "restoretables", Settings: settings{"dsn": "sqlite:back.db"}, BaseDir: base})
	if len(plan.Steps) != 1 || !results["_load"].Completed() || results["_load"].Message != "1 table, 2 rows" {
		t.Errorf("planned %v, and it said %+v", plan.Steps, results)
	}
	same(t, "restored", content(t, filepath.Join(base, "shop.db")), content(t, filepath.Join(base, "back.db")))
}

func TestRecreateOfSomeTablesKeepsTheOthers(t *testing.T) {
	base := t.TempDir()
	makeDB(t, filepath.Join(base, "shop.db"),
		`CREATE TABLE a(x)`, `CREATE TABLE b(x)`, `CREATE TABLE a2(x)`, `INSERT INTO a VALUES(1)`, `INSERT INTO b VALUES(1)`,
		`CREATE VIEW va AS SELECT * FROM a`, `CREATE VIEW vb AS SELECT * FROM b`)
	h := serve(t)
	runDump(t, h, base, settings{"tables": []string{"A*", "va"}, "exclude": []string{"a2"}})
	makeDB(t, filepath.Join(base, "other.db"), `PRAGMA journal_mode=WAL`, `PRAGMA user_version=9`,
		`CREATE TABLE a(old, older)`, `CREATE TABLE mine(x)`, `INSERT INTO mine VALUES('kept')`, `CREATE VIEW va AS SELECT 'old'`)
	if got := restore(t, h, base, settings{"dsn": "sqlite:other.db"}); got.Completed() || !strings.Contains(got.Message, "not empty") {
		t.Fatalf("loaded over a database: %s", got.Message)
	}
	restore(t, h, base, settings{"dsn": "sqlite:other.db", "overwrite": true}).RequireCompleted(t)
	got := client(t, filepath.Join(base, "other.db"), `SELECT x FROM a; SELECT x FROM mine; SELECT x FROM va; SELECT name FROM sqlite_master ORDER BY 1; PRAGMA user_version; PRAGMA journal_mode;`)
	if want := "1\nkept\n1\na\nmine\nva\n9\nwal\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFileNamesAreSafeAndEachTableHasItsOwn(t *testing.T) {
	base := t.TempDir()
	makeDB(t, filepath.Join(base, "shop.db"), nasty...)
	h := serve(t)
	plan, results := runDump(t, h, base, settings{})
	names := map[string]bool{}
	for _, step := range plan.Steps {
		if names[step.Name] || len(step.Name) > 100 || strings.ContainsAny(step.Name, "/ \n\";") || strings.HasPrefix(step.Name, ".") {
			t.Errorf("bad or double step name %q", step.Name)
		}
		names[step.Name] = true
		if step.Weight <= 0 || step.ETA <= 0 {
			t.Errorf("step %s has no weight or ETA", step.Name)
		}
	}
	for _, name := range []string{"customers", "таблица", "__a_2fb", "___5f_5fa_5f2fb", "__", "___5ffinish", "schema", "_schema", "_finish"} {
		if !names[name] {
			t.Errorf("no step %q among %v", name, names)
		}
	}
	var out struct {
		Table, File, SHA256 string
		Rows, Bytes         int64
	}
	results["customers"].Output(t, "table", &out)
	if out.Table != "customers" || out.Rows != 3 || !strings.HasSuffix(out.File, "-customers.sql") || out.Bytes == 0 || len(out.SHA256) != 64 {
		t.Errorf("output is %+v", out)
	}
	if _, err := os.Stat(filepath.Join(h.WorkDir(), "tables", out.File)); err != nil {
		t.Error(err)
	}
}

// dumpOf is the client's own dump, without the samples of sqlite_stat4: not every
// build of SQLite has them, so they are not carried over.
func dumpOf(t testing.TB, path string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(client(t, path, ".dump --preserve-rowids")) {
		if !strings.Contains(line, "sqlite_stat4") && line != "ANALYZE sqlite_schema;\n" {
			b.WriteString(line)
		}
	}
	return b.String()
}
