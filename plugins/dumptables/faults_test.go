package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/sdk"
	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
	"github.com/stepd/stepd/sdk/sdktest"
)

// tree is the names and contents of a directory without the manifest.
func tree(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, entry := range entries {
		if entry.Name() == "dump.json" {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %x\n", entry.Name(), sha256.Sum256(raw))
	}
	return b.String()
}

func TestDumpIsOneMomentWhileOthersWrite(t *testing.T) {
	base := t.TempDir()
	shop := filepath.Join(base, "shop.db")
	db := open(t, shop)
	do(t, db, `PRAGMA journal_mode=WAL`, `CREATE TABLE a(n INTEGER PRIMARY KEY, money INT)`, `CREATE TABLE b(n INTEGER PRIMARY KEY, money INT)`,
		`WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n<500) INSERT INTO a SELECT n, 100 FROM c`, `INSERT INTO b SELECT n, 100 FROM a`)
	ctx, stop := context.WithCancel(t.Context())
	moved := make(chan struct{}, 1)
	done := make(chan error, 1)
	go func() {
		var err error
		for n := 1; ctx.Err() == nil && err == nil; n++ {
			_, err = db.Exec(`BEGIN; UPDATE a SET money = money - 7 WHERE n = ?1 % 500 + 1; UPDATE b SET money = money + 7 WHERE n = ?1 * 31 % 500 + 1; COMMIT`, n)
			select {
			case moved <- struct{}{}:
			default:
			}
		}
		done <- err
	}()
	h := serve(t)
	<-moved
	plan := h.Plan(t.Context(), sdktest.Start{Settings: settings{"dsn": "sqlite:shop.db"}, BaseDir: base})
	plan.RequireCompleted(t)
	for _, step := range plan.Steps {
		<-moved // money goes to and fro between any two steps
		h.Execute(t.Context(), sdktest.Start{Step: "step/" + step.Name, Settings: step.Settings, BaseDir: base}).RequireCompleted(t)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	restore(t, h, base, settings{"dsn": "sqlite:back.db"}).RequireCompleted(t)
	var sum int64
	if err := open(t, filepath.Join(base, "back.db")).QueryRow(`SELECT (SELECT sum(money) FROM a) + (SELECT sum(money) FROM b)`).Scan(&sum); err != nil || sum != 100_000 {
		t.Errorf("the restored books hold %d, want 100000: %v", sum, err)
	}
}

func TestCutInTheMiddleThenAgainGivesTheSame(t *testing.T) {
	base := t.TempDir()
	makeDB(t, filepath.Join(base, "shop.db"), `CREATE TABLE small(x)`, `INSERT INTO small VALUES(1)`, `CREATE TABLE big(n INTEGER PRIMARY KEY, x)`,
		`WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n<60000) INSERT INTO big SELECT n, hex(randomblob(40)) FROM c`)
	h := serve(t)
	runDump(t, h, base, settings{})
	want := tree(t, filepath.Join(h.WorkDir(), "tables"))

	start := sdktest.Start{Settings: settings{"dsn": "sqlite:shop.db"}, BaseDir: base, WorkDir: t.TempDir()}
	target := filepath.Join(start.WorkDir, "tables")
	plan := h.Plan(t.Context(), start)
	again := h.Plan(t.Context(), start) // the first answer was lost
	again.RequireCompleted(t)
	if len(plan.Steps) != len(again.Steps) {
		t.Fatalf("planned %d steps and then %d", len(plan.Steps), len(again.Steps))
	}
	for _, step := range again.Steps {
		start.Step, start.Settings = "step/"+step.Name, step.Settings
		if step.Name == "big" {
			ctx, cut := context.WithCancel(t.Context())
			start.OnProgress = func(p sdktest.Progress) {
				if p.Done > 0 {
					cut()
				}
			}
			lost := h.Execute(ctx, start)
			cut()
			start.OnProgress = nil
			if lost.Completed() {
				t.Fatal("the attempt that was cut completed")
			}
			cancel := make(chan error, 1)
			start.Cancel, start.OnProgress = cancel, func(sdktest.Progress) {
				select {
				case cancel <- sdk.ErrStopping:
				default:
				}
			}
			if stopped := h.Execute(t.Context(), start); stopped.Status != stepdv1.Result_STATUS_CANCELLED {
				t.Fatalf("the stopped attempt ended as %v: %s", stopped.Status, stopped.Message)
			}
			start.Cancel, start.OnProgress = nil, nil
			if got := tree(t, target); strings.Contains(strings.ReplaceAll(got, ".tmp", ""), "-big.sql") && !strings.Contains(got, ".sql.tmp") {
				t.Fatalf("there is a file of a table that was not dumped:\n%s", got)
			}
		}
		h.Execute(t.Context(), start).RequireCompleted(t)
		h.Execute(t.Context(), start).RequireCompleted(t) // its completion was lost
	}
	if got := tree(t, target); got != want {
		t.Errorf("the second dump differs\nwant\n%s\ngot\n%s", want, got)
	}
}

func TestMemoryDoesNotGrowWithTheTable(t *testing.T) {
	base := t.TempDir()
	makeDB(t, filepath.Join(base, "shop.db"), `CREATE TABLE big(n INTEGER PRIMARY KEY, x, y)`,
		`WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n<100000) INSERT INTO big SELECT n, hex(zeroblob(350)), n/7.0 FROM c`)
	h := serve(t)
	var peak uint64
	measure := func(sdktest.Progress) {
		runtime.GC() // what is left is held
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc)
	}
	start := sdktest.Start{Settings: settings{"dsn": "sqlite:shop.db"}, BaseDir: base, OnProgress: measure}
	plan := h.Plan(t.Context(), start)
	plan.RequireCompleted(t)
	for _, step := range plan.Steps {
		start.Step, start.Settings = "step/"+step.Name, step.Settings
		h.Execute(t.Context(), start).RequireCompleted(t)
	}
	h.Execute(t.Context(), sdktest.Start{Controller: "restoretables", Settings: settings{"dsn": "sqlite:back.db"}, BaseDir: base, OnProgress: measure}).RequireCompleted(t)
	info, err := os.Stat(filepath.Join(h.WorkDir(), "tables", "001-big.sql"))
	if err != nil || info.Size() < 60<<20 {
		t.Fatalf("the dump is too small to tell: %v %v", info, err)
	}
	if peak == 0 || peak > 25<<20 {
		t.Errorf("the heap held %d MB for a dump of %d MB", peak>>20, info.Size()>>20)
	}
}

func TestBadSettingsAndDatabasesSayWhatToDo(t *testing.T) {
	base := t.TempDir()
	makeDB(t, filepath.Join(base, "shop.db"), `CREATE TABLE t(x)`)
	makeDB(t, filepath.Join(base, "empty.db"))
	makeDB(t, filepath.Join(base, "fts.db"), `CREATE TABLE t(x)`, `CREATE VIRTUAL TABLE f USING fts5(a, content='')`)
	for name, text := range map[string]string{"text.db": strings.Repeat("no database\n", 100), "mine/notes.txt": "x", "zero.db": ""} {
		path := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := serve(t)
	for _, c := range []struct {
		name string
		s    settings
		want string
	}{
		{"missing", settings{"dsn": "sqlite:none.db"}, "there is no database"},
		{"directory", settings{"dsn": "sqlite:mine"}, "is not a file"},
		{"not a database", settings{"dsn": "sqlite:text.db"}, "not a database"},
		{"no tables", settings{"dsn": "sqlite:zero.db"}, "has no tables"},
		{"no path", settings{"dsn": "sqlite:"}, "path of the database file is missing"},
		{"a host", settings{"dsn": "sqlite://host/x.db"}, "have no host"},
		{"other kind", settings{"dsn": "oracle://shop:hunter2@localhost/shop"}, `kind "oracle" can be dumped yet`},
		{"no scheme", settings{"dsn": "shop:hunter2@tcp(localhost)/shop"}, "must start with the kind"},
		{"no such table", settings{"dsn": "sqlite:shop.db", "tables": []string{"t", "tt"}}, `no table "tt"`},
		{"nothing left", settings{"dsn": "sqlite:shop.db", "exclude": []string{"*"}}, "no table matches"},
		{"bad glob", settings{"dsn": "sqlite:shop.db", "exclude": []string{"[a"}}, `"[a" is not a pattern`},
		{"contentless index", settings{"dsn": "sqlite:fts.db"}, `table "f" cannot be dumped`},
		{"foreign target", settings{"dsn": "sqlite:shop.db", "target": "mine"}, "holds files that are no dump"},
		{"file as target", settings{"dsn": "sqlite:shop.db", "target": "text.db"}, "is not a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := h.Plan(t.Context(), sdktest.Start{Settings: c.s, BaseDir: base, WorkDir: t.TempDir()})
			if got.Completed() || !strings.Contains(got.Message, c.want) || strings.Contains(got.Message, "hunter2") {
				t.Errorf("got %v %q, want %q", got.Status, got.Message, c.want)
			}
			if c.name != "file as target" && got.Status != stepdv1.Result_STATUS_FAILED_PERMANENT {
				t.Errorf("it would be tried again: %v", got.Status)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(base, "none.db")); err == nil {
		t.Error("the missing database was made")
	}
}

func TestLockedDatabaseIsTriedLater(t *testing.T) {
	base := t.TempDir()
	db := open(t, filepath.Join(base, "shop.db"))
	do(t, db, `CREATE TABLE t(x)`, `BEGIN EXCLUSIVE`)
	h := serve(t)
	locked := h.Execute(t.Context(), sdktest.Start{Controller: "restoretables", Settings: settings{"dsn": "sqlite:shop.db"}, BaseDir: base})
	if locked.Completed() {
		t.Fatal("there is no dump")
	}
	plan := h.Plan(t.Context(), sdktest.Start{Settings: settings{"dsn": "sqlite:shop.db"}, BaseDir: base})
	if plan.Status != stepdv1.Result_STATUS_FAILED || !strings.Contains(plan.Message, "another program holds its lock") {
		t.Errorf("got %v: %s", plan.Status, plan.Message)
	}
	do(t, db, `ROLLBACK`)
	runDump(t, h, base, settings{})
	do(t, db, `DROP TABLE t`, `BEGIN IMMEDIATE`)
	later := restore(t, h, base, settings{"dsn": "sqlite:shop.db"})
	if later.RetryAfter < time.Second || !strings.Contains(later.Message, "another program holds its lock") {
		t.Errorf("got %v after %v: %s", later.Status, later.RetryAfter, later.Message)
	}
}

func TestRestoreRefusesWhatIsNotWholeAndTouchesNothing(t *testing.T) {
	base := t.TempDir()
	makeDB(t, filepath.Join(base, "shop.db"), `CREATE TABLE t(x)`, `INSERT INTO t VALUES('precious')`, `CREATE TABLE u(x)`)
	makeDB(t, filepath.Join(base, "target.db"), `CREATE TABLE t(x)`, `INSERT INTO t VALUES('old')`)
	before := content(t, filepath.Join(base, "target.db"))
	for _, c := range []struct {
		name   string
		damage func(dir string) error
		want   string
	}{
		{"damaged file", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "001-t.sql"), []byte("-- nothing"), 0o600)
		}, "is damaged"},
		{"file gone", func(dir string) error { return os.Remove(filepath.Join(dir, "002-u.sql")) }, "no such file"},
		{"not finished", func(dir string) error { return edit(dir, `"complete": true`, `"complete": false`) }, "was not finished"},
		{"other format", func(dir string) error { return edit(dir, `"format": 1`, `"format": 9`) }, "has format 9"},
		{"leaves the directory", func(dir string) error { return edit(dir, `001-t.sql`, `../001-t.sql`) }, "a dump cannot have"},
		{"no manifest", func(dir string) error { return os.Remove(filepath.Join(dir, "dump.json")) }, "holds no dump"},
		{"wrong count", func(dir string) error { return edit(dir, `"rows": 1`, `"rows": 2`) }, "1 rows after loading, the manifest says 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := serve(t)
			runDump(t, h, base, settings{})
			if err := c.damage(filepath.Join(h.WorkDir(), "tables")); err != nil {
				t.Fatal(err)
			}
			got := restore(t, h, base, settings{"dsn": "sqlite:target.db", "overwrite": true})
			if got.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(got.Message, c.want) {
				t.Errorf("got %v: %s", got.Status, got.Message)
			}
			same(t, "the target", before, content(t, filepath.Join(base, "target.db")))
			if left, _ := filepath.Glob(filepath.Join(base, ".*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func edit(dir, old, new string) error {
	path := filepath.Join(dir, "dump.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !strings.Contains(string(raw), old) {
		return fmt.Errorf("%s does not contain %s", raw, old)
	}
	return os.WriteFile(path, []byte(strings.Replace(string(raw), old, new, 1)), 0o600)
}

func TestTwoStepsMayNotShareATarget(t *testing.T) {
	base := t.TempDir()
	makeDB(t, filepath.Join(base, "shop.db"), `CREATE TABLE t(x)`)
	h := serve(t)
	h.RunPlanned(t.Context(), sdktest.Start{Settings: settings{"dsn": "sqlite:shop.db"}, BaseDir: base, Step: "one"})
	got := h.Plan(t.Context(), sdktest.Start{Settings: settings{"dsn": "sqlite:shop.db"}, BaseDir: base, Step: "two"})
	if got.Completed() || !strings.Contains(got.Message, "step one of the same run") {
		t.Errorf("got %v: %s", got.Status, got.Message)
	}
}

func TestOlderDumpInTheTargetIsReplacedWhole(t *testing.T) {
	base := t.TempDir()
	shop := filepath.Join(base, "shop.db")
	makeDB(t, shop, `CREATE TABLE a(x)`, `CREATE TABLE b(x)`)
	h := serve(t)
	runDump(t, h, base, settings{"target": "out"})
	makeDB(t, shop, `DROP TABLE a`)
	h.RunPlanned(t.Context(), sdktest.Start{Settings: settings{"dsn": "sqlite:shop.db", "target": "out"}, BaseDir: base, Run: 2})
	got, _ := filepath.Glob(filepath.Join(base, "out", "*"))
	for i := range got {
		got[i] = filepath.Base(got[i])
	}
	if want := "000-schema.sql 001-b.sql 002-finish.sql dump.json"; strings.Join(got, " ") != want {
		t.Errorf("the target holds %v, want %s", got, want)
	}
}

func TestOpenCommentInTheSchemaIsClosed(t *testing.T) {
	base := t.TempDir()
	makeDB(t, filepath.Join(base, "shop.db"), `CREATE TABLE t(x)`, `CREATE VIEW v AS SELECT 1 AS one /* never closed`)
	h := serve(t)
	runDump(t, h, base, settings{})
	restore(t, h, base, settings{"dsn": "sqlite:back.db"}).RequireCompleted(t)
	loadByClient(t, filepath.Join(h.WorkDir(), "tables"), filepath.Join(base, "client.db"))
	if got := client(t, filepath.Join(base, "client.db"), "SELECT * FROM v;"); got != "1\n" {
		t.Errorf("the view says %q", got)
	}
}
