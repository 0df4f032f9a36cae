package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/plugins/dumptables/internal/mysqltest"
	"github.com/stepd/stepd/plugins/dumptables/internal/postgrestest"
	"github.com/stepd/stepd/sdk"
	"github.com/stepd/stepd/sdk/sdktest"
)

func TestMain(m *testing.M) {
	if os.Getenv(sdk.HandshakeCookieKey) != "" {
		main() // started by a test, as the daemon starts a plugin
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(mysqltest.Holder), goleak.IgnoreAnyFunction(postgrestest.Holder), goleak.Cleanup(func(code int) {
		if err := errors.Join(stopMariaDB(), stopPostgres()); err != nil {
			fmt.Fprintln(os.Stderr, "stop the servers:", err)
			code = max(code, 1)
		}
		os.Exit(code)
	}))
}

type settings map[string]any

func serve(t testing.TB) *sdktest.Harness {
	t.Helper()
	return sdktest.New(t, dump.Plugin(version, engines()))
}

// open opens a database for the test itself; statements run on one connection.
func open(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func do(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// makeDB makes a database and closes it.
func makeDB(t testing.TB, path string, statements ...string) {
	t.Helper()
	db := open(t, path)
	do(t, db, statements...)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// client runs the real sqlite3 client; rc files of the user do not count.
func client(t testing.TB, path, input string) string {
	t.Helper()
	cmd := exec.Command("sqlite3", "-init", os.DevNull, "-bail", "-batch", path)
	cmd.Stdin = strings.NewReader(input)
	var out, faults bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &faults
	if err := cmd.Run(); err != nil {
		t.Fatalf("sqlite3 %s: %v\n%s", path, err, faults.String())
	}
	if faults.Len() > 0 {
		t.Fatalf("sqlite3 %s complained: %s", path, faults.String())
	}
	return out.String()
}

// loadByClient loads a dump with the client, as a person without stepd would.
func loadByClient(t testing.TB, dir, path string) {
	t.Helper()
	client(t, path, dumpText(t, dir))
}

// content is everything in a database that a reader can see: its schema, and all
// values with their types, every bit of them, in the order of the rowid or key.
func content(t testing.TB, path string) string {
	t.Helper()
	db := open(t, path)
	defer db.Close()
	var b strings.Builder
	query := func(q string, args ...any) [][]any {
		rows, err := db.Query(q, args...)
		if err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		defer rows.Close()
		columns, _ := rows.Columns()
		var all [][]any
		for rows.Next() {
			values := make([]any, len(columns))
			into := make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			if err := rows.Scan(into...); err != nil {
				t.Fatal(err)
			}
			all = append(all, values)
		}
		if err := rows.Err(); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		return all
	}
	show := func(v any) {
		switch v := v.(type) {
		case float64:
			fmt.Fprintf(&b, "real %016x,", math.Float64bits(v))
		default:
			fmt.Fprintf(&b, "%T %q,", v, fmt.Sprint(v))
		}
	}
	for _, pragma := range []string{"encoding", "user_version", "application_id", "page_size"} {
		fmt.Fprintf(&b, "%s=%v\n", pragma, query("PRAGMA " + pragma)[0][0])
	}
	shadow := map[string]bool{}
	virtual := map[string]bool{}
	withoutRowid := map[string]bool{}
	for _, row := range query("SELECT name, type, wr FROM pragma_table_list") {
		name := row[0].(string)
		shadow[name], virtual[name], withoutRowid[name] = row[1] == "shadow", row[1] == "virtual", row[2] == int64(1)
	}
	for _, row := range query("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name") {
		kind, name := row[0].(string), row[1].(string)
		if shadow[name] || strings.HasPrefix(name, "sqlite_stat4") {
			continue
		}
		fmt.Fprintf(&b, "%q\n", row)
		if kind != "table" {
			continue
		}
		q := `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		columns := []string{}
		taken := false
		for _, c := range query("SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1", name) {
			taken = taken || strings.EqualFold(c[0].(string), "rowid")
			c := `"` + strings.ReplaceAll(c[0].(string), `"`, `""`) + `"`
			columns = append(columns, "+"+c, "CAST("+c+" AS BLOB)")
		}
		if !withoutRowid[name] && !taken && !virtual[name] {
			columns = append(columns, "rowid")
		}
		order := ""
		if strings.HasPrefix(name, "sqlite_") {
			order = " ORDER BY 1"
			columns = columns[:len(columns)-1]
		} else if !virtual[name] {
			order = " NOT INDEXED"
		}
		for _, row := range query("SELECT " + strings.Join(columns, ",") + " FROM " + q + order) {
			b.WriteString("  ")
			for _, v := range row {
				show(v)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// same compares two databases and shows the first line that differs.
func same(t testing.TB, what, want, got string) {
	t.Helper()
	if want == got {
		return
	}
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(a), len(b)) {
		x, y := "(nothing)", "(nothing)"
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			t.Fatalf("%s: line %d differs\nwant %s\ngot  %s", what, i+1, x, y)
		}
	}
}

// runDump dumps base/shop.db and returns the target and the manifest's outputs.
func runDump(t testing.TB, h *sdktest.Harness, base string, s settings) (sdktest.PlanResult, map[string]sdktest.Result) {
	t.Helper()
	if s["dsn"] == nil {
		s["dsn"] = "sqlite:./shop.db"
	}
	return h.RunPlanned(context.Background(), sdktest.Start{Settings: s, BaseDir: base})
}

func restore(t testing.TB, h *sdktest.Harness, base string, s settings) sdktest.Result {
	t.Helper()
	return h.Execute(t.Context(), sdktest.Start{Controller: "restoretables", Settings: s, BaseDir: base})
}
