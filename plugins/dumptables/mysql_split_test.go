package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
	"github.com/stepd/stepd/sdk/sdktest"
)

var splitTables = []string{
	"CREATE TABLE even(id INT PRIMARY KEY AUTO_INCREMENT, x VARCHAR(40)); INSERT INTO even SELECT seq, MD5(seq) FROM seq_1_to_8000",
	// Two crowds at the ends of the key, nothing between.
	"CREATE TABLE skewed(id BIGINT PRIMARY KEY, x INT); INSERT INTO skewed SELECT CAST(seq AS SIGNED)-9223372036854775000, seq FROM seq_1_to_3000; INSERT INTO skewed SELECT 9223372036854775807-CAST(seq AS SIGNED), seq FROM seq_0_to_3000",
	"CREATE TABLE unsig(id BIGINT UNSIGNED PRIMARY KEY, x INT); INSERT INTO unsig SELECT 18446744073709551615-seq, seq FROM seq_0_to_4000; INSERT INTO unsig VALUES(0,0)",
	"CREATE TABLE texts(id VARCHAR(20) PRIMARY KEY); INSERT INTO texts SELECT CONCAT('k',seq) FROM seq_1_to_3000",
	"CREATE TABLE pairs(a INT, b INT, PRIMARY KEY(a,b)); INSERT INTO pairs SELECT seq, seq FROM seq_1_to_3000",
	"CREATE TABLE keyless(a INT); INSERT INTO keyless SELECT seq FROM seq_1_to_3000",
	"CREATE TABLE isam(id INT PRIMARY KEY) ENGINE=MyISAM; INSERT INTO isam SELECT seq FROM seq_1_to_3000",
	"CREATE TABLE hist(id INT PRIMARY KEY) WITH SYSTEM VERSIONING; INSERT INTO hist SELECT seq FROM seq_1_to_3000",
	"CREATE TABLE small(id INT PRIMARY KEY); INSERT INTO small VALUES(1)", "CREATE TABLE nothing(id INT PRIMARY KEY)",
	"CREATE TABLE `even.2`(id INT PRIMARY KEY); CREATE TABLE `a/b`(`i``d` INT PRIMARY KEY, x BLOB); INSERT INTO `a/b` SELECT seq*1000, x'00ff27' FROM seq_1_to_3000",
	"ANALYZE TABLE even, skewed, unsig, texts, pairs, keyless, isam, hist, small, nothing, `a/b`",
}

func TestMySQLLargeTablesAreSplitByTheirKey(t *testing.T) {
	s := newShop(t, splitTables...)
	h := serve(t)
	split := settings{"split_rows": 1000, "connections": 3, "compress": "zstd"}
	dir, results := s.dumped(t, h, split)
	raw, err := os.ReadFile(filepath.Join(dir, "dump.json"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		Tables []struct {
			Table string
			Rows  int64
			Part  int
			Range struct{ Column, From, To string }
		}
	}
	if err := json.Unmarshal(raw, &manifest); err != nil {
		t.Fatal(err)
	}
	parts, rows, end := map[string]int{}, map[string]int64{}, map[string]string{}
	for _, one := range manifest.Tables {
		parts[one.Table]++
		rows[one.Table] += one.Rows
		if one.Part > 0 && one.Rows > 2500 {
			t.Errorf("part %d of %s has %d rows", one.Part, one.Table, one.Rows)
		}
		if one.Range.From != end[one.Table] || one.Part != 0 && one.Part != parts[one.Table] {
			t.Errorf("part %d of %s begins at %q, the one before ends at %q", one.Part, one.Table, one.Range.From, end[one.Table])
		}
		end[one.Table] = one.Range.To
	}
	for table, want := range map[string][2]int64{"even": {4, 8000}, "skewed": {4, 6001}, "unsig": {3, 4002}, "a/b": {2, 3000},
		"texts": {1, 3000}, "pairs": {1, 3000}, "keyless": {1, 3000}, "isam": {1, 3000}, "hist": {1, 3000}, "small": {1, 1}, "nothing": {1, 0}, "even.2": {1, 0}} {
		if got := int64(parts[table]); got < want[0] || want[0] == 1 && got != 1 || rows[table] != want[1] || end[table] != "" {
			t.Errorf("%s: %d parts, %d rows, ends at %q", table, got, rows[table], end[table])
		}
	}
	if got := results["_finish"].Message; !strings.HasPrefix(got, "12 tables, ") {
		t.Errorf("it says %q", got)
	}
	for _, name := range []string{"even.1", "even.2", "even.2-2", "__a_2fb.1"} {
		if _, ok := results[name]; !ok {
			t.Errorf("there is no step %s", name)
		}
	}
	s.comesBack(t, h, split)
}

func TestMySQLPlanSaysWhatIsNotSplit(t *testing.T) {
	s := newShop(t, splitTables...)
	h := serve(t)
	plan := h.Plan(t.Context(), sdktest.Start{Settings: settings{"dsn": s.dsn(), "split_rows": 1000}, WorkDir: t.TempDir()})
	plan.RequireCompleted(t)
	said := fmt.Sprint(plan.Lines)
	for _, want := range []string{"hist (it keeps the history", "isam (its engine MyISAM has no transactions", "keyless (it has no primary key)",
		"pairs (its primary key has several columns)", "texts (its primary key is no whole number)"} {
		if !strings.Contains(said, want) {
			t.Errorf("it says %s, not %q", said, want)
		}
	}
	var weight float64
	n := 0
	for _, step := range plan.Steps {
		if strings.HasPrefix(step.Name, "even.") && step.Name != "even.2-2" {
			n++
			weight += step.Weight
		}
	}
	if n < 4 || weight < 5 || weight > 60 {
		t.Errorf("%d parts weigh %g", n, weight)
	}
	other := sdktest.Start{Settings: settings{"dsn": "sqlite:./x.db", "split_rows": 1000}, BaseDir: t.TempDir(), WorkDir: t.TempDir()}
	makeDB(t, filepath.Join(other.BaseDir, "x.db"), "CREATE TABLE t(x)")
	if got := h.Plan(t.Context(), other); !strings.Contains(fmt.Sprint(got.Lines), "are not split") {
		t.Errorf("it says %v", got.Lines)
	}
}

// A part that is loaded again leaves the others as they are, and compares its own
// rows.
func TestMySQLPartsAreLoadedAndComparedByThemselves(t *testing.T) {
	s := newShop(t, splitTables[0], "ANALYZE TABLE even")
	h := serve(t)
	for _, mode := range []string{"recreate", "data_only"} {
		dir, _ := s.dumped(t, h, settings{"split_rows": 1000, "mode": mode})
		back := newShop(t, "CREATE TABLE even(id INT PRIMARY KEY AUTO_INCREMENT, x VARCHAR(40)); INSERT INTO even VALUES(-5,'old'),(70,'old'),(90000,'old')")
		start := sdktest.Start{Controller: "restoretables", Settings: settings{"dsn": back.dsn(), "source": dir, "overwrite": true}, WorkDir: t.TempDir()}
		plan := h.Plan(t.Context(), start)
		plan.RequireCompleted(t)
		for _, step := range plan.Steps {
			start.Step, start.Settings = "step/"+step.Name, step.Settings
			for range 2 { // the first completion was lost
				h.Execute(t.Context(), start).RequireCompleted(t)
			}
		}
		rows := "CHECKSUM TABLE even; SELECT COUNT(*) FROM even"
		same(t, mode, strings.ReplaceAll(s.client(t, rows, "-N"), s.name, ""), strings.ReplaceAll(back.client(t, rows, "-N"), back.name, ""))
	}
	dir, _ := s.dumped(t, h, settings{"split_rows": 1000})
	raw, err := os.ReadFile(filepath.Join(dir, "dump.json"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest map[string]any
	if err := json.Unmarshal(raw, &manifest); err != nil {
		t.Fatal(err)
	}
	manifest["tables"].([]any)[1].(map[string]any)["checksum"] = "0123456789abcdef"
	if raw, err = json.Marshal(manifest); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "dump.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	got := namedShop(t).refuses(t, h, dir, nil)
	if got.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(got.Message, `load table "even", part 2: its `) {
		t.Errorf("it ended as %v: %s", got.Status, got.Message)
	}
}

// Side by side, as the daemon carries them out.
func TestMySQLPartsAreLoadedSideBySide(t *testing.T) {
	t.Parallel()
	s := newShop(t, "CREATE TABLE wide(id INT PRIMARY KEY AUTO_INCREMENT, u VARCHAR(40) UNIQUE, x VARCHAR(40), KEY(x)); INSERT INTO wide SELECT seq, MD5(seq), MD5(seq MOD 7) FROM seq_1_to_20000", "ANALYZE TABLE wide")
	h := serve(t)
	dir, _ := s.dumped(t, h, settings{"split_rows": 3000})
	back := newShop(t, "CREATE TABLE wide(id INT); INSERT INTO wide VALUES(1)")
	start := sdktest.Start{Controller: "restoretables", Settings: settings{"dsn": back.dsn(), "source": dir, "overwrite": true}, WorkDir: t.TempDir()}
	group(t, start, true, func() *sdktest.Harness { return h }, nil)
	same(t, "restored", s.content(t), back.content(t))
}

func TestMySQLPartsAreOfOneMomentWhileOthersWrite(t *testing.T) {
	t.Parallel()
	s, moved := bank(t)
	do(t, s.DB, "ANALYZE TABLE a, b")
	h := serve(t)
	for n := range 8 {
		dir := t.TempDir()
		start := sdktest.Start{Settings: settings{"dsn": s.dsn(), "target": dir, "connections": 3, "split_rows": 700}, WorkDir: t.TempDir(), Run: uint64(n + 1)}
		group(t, start, true, func() *sdktest.Harness { return h }, func(string, *sdktest.Start) { <-moved })
		h.EndRun(t.Context(), start.Run)
		if got := balance(t, dir); got != 6_000_000 {
			t.Fatalf("dump %d holds %d", n, got)
		}
		if files, _ := filepath.Glob(filepath.Join(dir, "*-a.*.sql")); len(files) < 2 {
			t.Fatal("the table was not split")
		}
	}
}
