package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stepd/stepd/plugins/dumptables/internal/postgrestest"
	"github.com/stepd/stepd/sdk/sdktest"
)

// One server for all tests of the package; each has databases of its own.
var postgreSQL struct {
	once   sync.Once
	server *postgrestest.Server
	err    error
	n      int
	mu     sync.Mutex
}

func startPostgres(t testing.TB) *postgrestest.Server {
	t.Helper()
	postgreSQL.once.Do(func() { postgreSQL.server, postgreSQL.err = postgrestest.Start() })
	if postgreSQL.err != nil {
		t.Fatal(postgreSQL.err)
	}
	return postgreSQL.server
}

func stopPostgres() error {
	if postgreSQL.server == nil {
		return nil
	}
	return postgreSQL.server.Stop()
}

// store is a database on the test server.
type store struct {
	server *postgrestest.Server
	name   string
}

// newStore makes a database with the statements; they are several in one text.
func newStore(t testing.TB, statements ...string) *store {
	t.Helper()
	s := namedStore(t)
	s.admin(t, "CREATE DATABASE "+s.name+" TEMPLATE template0")
	if len(statements) > 0 {
		s.do(t, statements...)
	}
	return s
}

// namedStore is a database that is not there yet.
func namedStore(t testing.TB) *store {
	t.Helper()
	server := startPostgres(t)
	postgreSQL.mu.Lock()
	postgreSQL.n++
	s := &store{server: server, name: fmt.Sprintf("store_%d", postgreSQL.n)}
	postgreSQL.mu.Unlock()
	t.Cleanup(func() {
		// After a test that stopped the server there is nothing to clear.
		s.admin(t, "DROP DATABASE IF EXISTS "+s.name+" WITH (FORCE)")
	})
	return s
}

// admin carries out statements beside the database.
func (s *store) admin(t testing.TB, statements ...string) {
	t.Helper()
	s.in(t, "postgres", statements...)
}

// do carries out statements in the database, in one session.
func (s *store) do(t testing.TB, statements ...string) {
	t.Helper()
	s.in(t, s.name, statements...)
}

func (s *store) in(t testing.TB, database string, statements ...string) {
	t.Helper()
	conn := s.connect(t, database)
	defer conn.Close(context.Background())
	for _, statement := range statements {
		if _, err := conn.PgConn().Exec(context.Background(), statement).ReadAll(); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

func (s *store) connect(t testing.TB, database string) *pgx.Conn {
	t.Helper()
	conn, err := s.server.Connect(context.Background(), database)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// ask is what a query answers, a line a row.
func (s *store) ask(t testing.TB, query string) string {
	t.Helper()
	return s.psql(t, "", "--tuples-only", "--no-align", "--command="+query)
}

func (s *store) dsn() string { return s.dsnOf("postgres") }

func (s *store) dsnOf(user string) string {
	return "postgres://" + user + "@/" + s.name + "?host=" + s.server.Dir
}

// tool runs a program of the server's.
func (s *store) tool(t testing.TB, input, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(s.server.Bin, name), append([]string{"--host=" + s.server.Dir, "--username=postgres", "--dbname=" + s.name}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out, faults bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &faults
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, faults.String())
	}
	return out.String()
}

func (s *store) psql(t testing.TB, input string, args ...string) string {
	t.Helper()
	return s.tool(t, input, "psql", append([]string{"--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"}, args...)...)
}

// load loads a dump with the client, as a person without stepd would.
func (s *store) load(t testing.TB, dir string) {
	t.Helper()
	s.psql(t, dumpText(t, dir))
}

// content is what pg_dump makes of the database, without what names the moment:
// the key of \restrict, which is another each time.
func (s *store) content(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(s.tool(t, "", "pg_dump", "--no-sync")) {
		if !strings.HasPrefix(line, `\restrict `) && !strings.HasPrefix(line, `\unrestrict `) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// dumped dumps the database and returns the directory of the dump.
func (s *store) dumped(t testing.TB, h *sdktest.Harness, more settings) (string, map[string]sdktest.Result) {
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
func (s *store) restored(t testing.TB, h *sdktest.Harness, dir string, more settings) map[string]sdktest.Result {
	t.Helper()
	given := settings{"dsn": s.dsn(), "source": dir}
	for name, value := range more {
		given[name] = value
	}
	_, results := h.RunPlanned(context.Background(), sdktest.Start{Controller: "restoretables", Settings: given, WorkDir: t.TempDir()})
	return results
}

// refuses plans a load and executes what was planned until something fails; it
// returns what that said.
func (s *store) refuses(t testing.TB, h *sdktest.Harness, dir string, more settings) sdktest.Result {
	t.Helper()
	given := settings{"dsn": s.dsn(), "source": dir}
	for name, value := range more {
		given[name] = value
	}
	return untilFault(t, h, sdktest.Start{Controller: "restoretables", Settings: given, WorkDir: t.TempDir()})
}

// untilFault plans and executes until something fails; it returns what that said.
func untilFault(t testing.TB, h *sdktest.Harness, start sdktest.Start) sdktest.Result {
	t.Helper()
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
	t.Fatal("it completed")
	return sdktest.Result{}
}

// comesBack dumps the database, loads the dump through the plugin and through the
// client, and compares what pg_dump makes of all three.
func (s *store) comesBack(t testing.TB, h *sdktest.Harness, more settings) (string, map[string]sdktest.Result) {
	t.Helper()
	dir, results := s.dumped(t, h, more)
	want := s.content(t)
	back := namedStore(t)
	back.restored(t, h, dir, nil)
	same(t, "restored", want, back.content(t))
	byClient := newStore(t)
	byClient.load(t, dir)
	same(t, "loaded by the client", want, byClient.content(t))
	return dir, results
}
