package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stepd/stepd/plugins/dumptables/internal/mysqltest"
	"github.com/stepd/stepd/sdk/sdktest"
)

// One server for all tests of the package; each has databases of its own.
var mariaDB struct {
	once   sync.Once
	server *mysqltest.Server
	err    error
	n      int
	mu     sync.Mutex
}

func startMariaDB(t testing.TB) *mysqltest.Server {
	t.Helper()
	mariaDB.once.Do(func() { mariaDB.server, mariaDB.err = mysqltest.Start() })
	if mariaDB.err != nil {
		t.Fatal(mariaDB.err)
	}
	return mariaDB.server
}

func stopMariaDB() error {
	if mariaDB.server == nil {
		return nil
	}
	return mariaDB.server.Stop()
}

// shop is a database on the test server.
type shop struct {
	*sql.DB
	server *mysqltest.Server
	name   string
}

// newShop makes a database with the statements; they are several in one text.
func newShop(t testing.TB, statements ...string) *shop {
	t.Helper()
	s := namedShop(t)
	admin := s.server.Open("")
	defer admin.Close()
	do(t, admin, "CREATE DATABASE `"+s.name+"` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
	do(t, s.DB, statements...)
	return s
}

// namedShop is a database that is not there yet.
func namedShop(t testing.TB) *shop {
	t.Helper()
	server := startMariaDB(t)
	mariaDB.mu.Lock()
	mariaDB.n++
	name := fmt.Sprintf("shop_%d", mariaDB.n)
	mariaDB.mu.Unlock()
	s := &shop{DB: server.Open(name), server: server, name: name}
	s.SetMaxOpenConns(1) // what a statement sets holds for the next
	t.Cleanup(func() {
		s.Close()
		admin := server.Open("")
		defer admin.Close()
		do(t, admin, "DROP DATABASE IF EXISTS `"+name+"`")
	})
	return s
}

func (s *shop) dsn() string { return s.dsnOf("root") }

func (s *shop) dsnOf(user string) string {
	return "mysql://" + user + "@/" + s.name + "?socket=" + s.server.Socket
}

// client runs the real client over a text and returns what it says.
func (s *shop) client(t testing.TB, input string, args ...string) string {
	t.Helper()
	args = append([]string{"--no-defaults", "--socket=" + s.server.Socket, "--user=root", "--default-character-set=utf8mb4"}, args...)
	return runTool(t, input, "mariadb", append(args, s.name)...)
}

// dump is what mariadb-dump makes of the database.
func (s *shop) dump(t testing.TB, args ...string) string {
	t.Helper()
	args = append([]string{"--no-defaults", "--socket=" + s.server.Socket, "--user=root", "--skip-dump-date", "--hex-blob",
		"--routines", "--events", "--triggers", "--single-transaction", "--skip-comments"}, args...)
	return runTool(t, "", "mariadb-dump", append(args, s.name)...)
}

func runTool(t testing.TB, input, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	var out, faults bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &faults
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, faults.String())
	}
	return out.String()
}

// dumpText is all that a dump has for the client, as the shell would put it
// together.
func dumpText(t testing.TB, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.sql*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files in %s: %v", dir, err)
	}
	slices.Sort(names)
	var all strings.Builder
	for _, name := range names {
		switch filepath.Ext(name) {
		case ".gz":
			all.WriteString(runTool(t, "", "gzip", "-dc", name))
		case ".zst":
			all.WriteString(runTool(t, "", "zstd", "-dcq", name))
		default:
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(raw)
		}
	}
	return all.String()
}

// load loads a dump with the client, as a person without stepd would.
func (s *shop) load(t testing.TB, dir string) {
	t.Helper()
	s.client(t, dumpText(t, dir), "--binary-mode", "--comments")
}

// content is the checksum and the definition of everything in the database, as
// the server tells it.
func (s *shop) content(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	do(t, s.DB, "SET NAMES utf8mb4", "SET time_zone='+00:00', sql_mode=''", "SET character_set_results=NULL")
	type thing struct{ kind, name string }
	var things []thing
	rows, err := s.Query(`SELECT IF(TABLE_TYPE='VIEW','VIEW',IF(TABLE_TYPE='SEQUENCE','SEQUENCE','TABLE')), TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE()
		UNION ALL SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA=DATABASE()
		UNION ALL SELECT 'TRIGGER', TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE()
		UNION ALL SELECT 'EVENT', EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA=DATABASE()`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var one thing
		if err := rows.Scan(&one.kind, &one.name); err != nil {
			t.Fatal(err)
		}
		things = append(things, one)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(things, func(a, b thing) int { return strings.Compare(a.kind+" "+a.name, b.kind+" "+b.name) })
	for _, one := range things {
		name := "`" + strings.ReplaceAll(one.name, "`", "``") + "`"
		if one.kind == "TABLE" || one.kind == "SEQUENCE" {
			fmt.Fprintf(&b, "%s %s checksum %d\n", one.kind, one.name, s.checksum(t, one.name))
		}
		b.WriteString(s.show(t, one.kind, name))
	}
	return strings.ReplaceAll(b.String(), "`"+s.name+"`", "`SHOP`")
}

// checksum is the server's. Of a table with generated columns it is that of a copy
// without: what MariaDB counts in for them is whatever its buffer holds.
func (s *shop) checksum(t testing.TB, table string) int64 {
	t.Helper()
	name := "`" + strings.ReplaceAll(table, "`", "``") + "`"
	var generated int
	var columns, ignored string
	err := s.QueryRow("SELECT SUM(IS_GENERATED='ALWAYS'), GROUP_CONCAT('`',REPLACE(COLUMN_NAME,'`','``'),'`' ORDER BY ORDINAL_POSITION)"+
		" FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME=? AND BINARY TABLE_NAME=?", table, table).Scan(&generated, &columns)
	if err != nil {
		t.Fatal(err)
	}
	if generated > 0 {
		do(t, s.DB, "CREATE OR REPLACE TEMPORARY TABLE stepd_copy AS SELECT "+columns+" FROM "+name)
		name = "stepd_copy"
	}
	var sum sql.NullInt64
	if err := s.QueryRow("CHECKSUM TABLE "+name).Scan(&ignored, &sum); err != nil {
		t.Fatalf("checksum of %s: %v", table, err)
	}
	do(t, s.DB, "DROP TEMPORARY TABLE IF EXISTS stepd_copy")
	return sum.Int64
}

// show is a SHOW CREATE without the time of making.
func (s *shop) show(t testing.TB, kind, name string) string {
	t.Helper()
	rows, err := s.Query("SHOW CREATE " + kind + " " + name)
	if err != nil {
		t.Fatalf("show create %s %s: %v", kind, name, err)
	}
	defer rows.Close()
	columns, _ := rows.Columns()
	texts := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range texts {
		into[i] = &texts[i]
	}
	var b strings.Builder
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		for i, column := range columns {
			if column != "Created" {
				fmt.Fprintf(&b, "%s: %s\n", column, texts[i].String)
			}
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// dumped dumps the database and returns the directory of the dump.
func (s *shop) dumped(t testing.TB, h *sdktest.Harness, more settings) (string, map[string]sdktest.Result) {
	t.Helper()
	dir := t.TempDir()
	given := settings{"dsn": s.dsn(), "target": dir}
	for name, value := range more {
		given[name] = value
	}
	_, results := h.RunPlanned(context.Background(), sdktest.Start{Settings: given, WorkDir: t.TempDir()})
	h.EndRun(context.Background(), 1)
	return dir, results
}

// restored loads a dump through the plugin.
func (s *shop) restored(t testing.TB, h *sdktest.Harness, dir string, more settings) map[string]sdktest.Result {
	t.Helper()
	given := settings{"dsn": s.dsn(), "source": dir}
	for name, value := range more {
		given[name] = value
	}
	_, results := h.RunPlanned(context.Background(), sdktest.Start{Controller: "restoretables", Settings: given, WorkDir: t.TempDir()})
	return results
}

// comesBack dumps the database, loads the dump through the plugin and through the
// client, and compares all three.
func (s *shop) comesBack(t testing.TB, h *sdktest.Harness, more settings) {
	t.Helper()
	dir, _ := s.dumped(t, h, more)
	want := s.content(t)
	wantDump := strings.ReplaceAll(s.dump(t), s.name, "SHOP")
	for _, way := range []string{"restored", "loaded by the client"} {
		back := namedShop(t)
		if way == "restored" {
			back.restored(t, h, dir, nil)
		} else {
			back = newShop(t)
			back.load(t, dir)
		}
		same(t, way, want, back.content(t))
		same(t, way+", mariadb-dump", wantDump, strings.ReplaceAll(back.dump(t), back.name, "SHOP"))
	}
}
