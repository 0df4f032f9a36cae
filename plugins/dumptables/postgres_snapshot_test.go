package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stepd/stepd/plugins/dumptables/internal/postgrestest"
	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
	"github.com/stepd/stepd/sdk/sdktest"
)

// vault is a database in which money moves all the time.
func vault(t testing.TB) (s *store, moved <-chan struct{}) {
	t.Helper()
	s = newStore(t, "CREATE TABLE a(n int PRIMARY KEY, money int); CREATE TABLE b(n int PRIMARY KEY, money int)",
		"INSERT INTO a SELECT i, 1000 FROM generate_series(1,3000) i; INSERT INTO b SELECT i, 1000 FROM generate_series(1,3000) i")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	signal := make(chan struct{}, 1)
	conn := s.connect(t, s.name)
	go func() {
		defer conn.Close(context.Background())
		var err error
		for n := 1; ctx.Err() == nil && err == nil; n++ {
			_, err = conn.PgConn().Exec(context.Background(), fmt.Sprintf("BEGIN; UPDATE a SET money=money-7 WHERE n=%d; UPDATE b SET money=money+7 WHERE n=%d; COMMIT", n*17%3000+1, n*31%3000+1)).ReadAll()
			select {
			case signal <- struct{}{}:
			default:
			}
		}
		done <- err
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, signal
}

var account = regexp.MustCompile(`(?m)^(\d+)\t(-?\d+)$`)

// holdings is what all accounts in a dump hold.
func holdings(t testing.TB, dir string) int {
	t.Helper()
	sum, rows := 0, 0
	for _, name := range []string{"001-a.sql", "002-b.sql"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range account.FindAllSubmatch(raw, -1) {
			money, err := strconv.Atoi(string(m[2]))
			if err != nil {
				t.Fatal(err)
			}
			sum, rows = sum+money, rows+1
		}
	}
	if rows != 6000 {
		t.Fatalf("the dump has %d accounts", rows)
	}
	return sum
}

func TestPostgresDumpsAreOfOneMomentWhileOthersWrite(t *testing.T) {
	t.Parallel()
	s, moved := vault(t)
	h := serve(t)
	for n := range 16 {
		dir := t.TempDir()
		connections := 1 + n%2
		start := sdktest.Start{Settings: settings{"dsn": s.dsn(), "target": dir, "connections": connections, "mode": "data_only"}, WorkDir: t.TempDir(), Run: uint64(n + 1)}
		group(t, start, connections > 1, func() *sdktest.Harness { return h }, func(string, *sdktest.Start) { <-moved })
		h.EndRun(t.Context(), start.Run)
		if got := holdings(t, dir); got != 6_000_000 {
			t.Fatalf("dump %d holds %d", n, got)
		}
	}
}

func TestPostgresDumpOfAKilledPluginStartsAgainAsAWhole(t *testing.T) {
	t.Parallel()
	s, moved := vault(t)
	p := startProcess(t)
	for n := range 6 {
		dir := t.TempDir()
		connections := 1 + n%2
		start := sdktest.Start{Settings: settings{"dsn": s.dsn(), "target": dir, "connections": connections, "mode": "data_only"}, WorkDir: t.TempDir(), Run: uint64(n + 1)}
		killed := false
		again := group(t, start, connections > 1, func() *sdktest.Harness {
			if p.cmd.ProcessState != nil {
				p = startProcess(t)
			}
			return p.Harness
		}, func(name string, one *sdktest.Start) {
			<-moved
			if name != "b" || killed {
				return
			}
			killed = true
			one.OnProgress = func(sdktest.Progress) { p.kill() } // in the middle of the table
		})
		if !killed || again != 1 {
			t.Fatalf("dump %d began anew %d times", n, again)
		}
		if got := holdings(t, dir); got != 6_000_000 {
			t.Fatalf("dump %d over %d connections holds %d", n, connections, got)
		}
	}
	p.kill()
	// Whatever the dead have begun ends with them.
	for try := 0; s.others(t) > 1; try++ {
		if s.do(t, "SELECT pg_sleep(0.05)"); try == 200 {
			t.Fatal("connections are left after the dumps")
		}
	}
}

// others counts the connections to the database beside the one that asks: the
// writer's is one of them.
func (s *store) others(t testing.TB) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(s.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE datname=current_database() AND pid<>pg_backend_pid()")))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestPostgresLostConnectionIsALostSnapshot(t *testing.T) {
	t.Parallel()
	s, moved := vault(t)
	h := serve(t)
	for n := range 4 {
		dir := t.TempDir()
		start := sdktest.Start{Settings: settings{"dsn": s.dsn(), "target": dir, "mode": "data_only"}, WorkDir: t.TempDir(), Run: uint64(n + 1)}
		killed := false
		again := group(t, start, false, func() *sdktest.Harness { return h }, func(name string, one *sdktest.Start) {
			<-moved
			if name != "b" || killed {
				return
			}
			killed = true
			end := func() {
				s.do(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname=current_database() AND application_name='stepd'")
			}
			if n%2 == 0 {
				end()
			} else {
				once := false
				one.OnProgress = func(sdktest.Progress) { // the table is half read
					if !once {
						once = true
						end()
					}
				}
			}
		})
		if again != 1 {
			t.Fatalf("dump %d began anew %d times", n, again)
		}
		if got := holdings(t, dir); got != 6_000_000 {
			t.Fatalf("dump %d holds %d", n, got)
		}
		for try := 0; s.others(t) > 1; try++ { // the snapshot was given back with the last step
			if s.do(t, "SELECT pg_sleep(0.05)"); try == 200 {
				t.Fatal("connections are left after the dump")
			}
		}
		h.EndRun(t.Context(), start.Run)
	}
}

// The id of a snapshot comes again when the server does: it must not be mistaken
// for that of the dump.
func TestPostgresServerThatDiesLosesTheSnapshot(t *testing.T) {
	t.Parallel()
	server, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			server.Kill()
		}
	})
	conn, err := server.Connect(t.Context(), "postgres")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.PgConn().Exec(t.Context(), "CREATE TABLE a(n int); INSERT INTO a SELECT generate_series(1,5000)").ReadAll(); err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
	h := serve(t)
	given := settings{"dsn": "postgresql://postgres@/postgres?host=" + server.Dir}
	start := sdktest.Start{Settings: given}
	plan := h.Plan(t.Context(), start)
	plan.RequireCompleted(t)
	server.Kill()
	stopped = true
	start.Step, start.Settings, start.Session = "step/a", plan.Steps[1].Settings, plan.Session
	got := h.Execute(t.Context(), start)
	if got.Status != stepdv1.Result_STATUS_SESSION_LOST || !strings.Contains(got.Message, "the snapshot of postgres at") {
		t.Errorf("the step ended as %v: %s", got.Status, got.Message)
	}
	again := h.Plan(t.Context(), sdktest.Start{Settings: given})
	if again.Status != stepdv1.Result_STATUS_FAILED || !strings.Contains(again.Message, "is the server running") {
		t.Errorf("the next plan ended as %v: %s", again.Status, again.Message)
	}
}

func TestPostgresStoppedStepKeepsItsSnapshot(t *testing.T) {
	t.Parallel()
	s := newStore(t, "CREATE TABLE big(n int, x text); INSERT INTO big SELECT i, repeat('x',200) FROM generate_series(1,60000) i")
	h := serve(t)
	start := sdktest.Start{Settings: settings{"dsn": s.dsn()}}
	plan := h.Plan(t.Context(), start)
	plan.RequireCompleted(t)
	s.do(t, "DELETE FROM big WHERE n > 10")
	for _, step := range plan.Steps {
		start.Step, start.Settings, start.Session = "step/"+step.Name, step.Settings, plan.Session
		if step.Name == "big" {
			ctx, cut := context.WithCancel(t.Context())
			one := start
			one.OnProgress = func(sdktest.Progress) { cut() }
			if got := h.Execute(ctx, one); got.Completed() {
				t.Fatal("the attempt that was cut completed")
			}
			cut()
		}
		h.Execute(t.Context(), start).RequireCompleted(t)
	}
	back := namedStore(t)
	back.restored(t, h, filepath.Join(h.WorkDir(), "tables"), nil)
	if got := back.ask(t, "SELECT count(*) FROM big"); got != "60000\n" {
		t.Errorf("the dump holds %s rows", got)
	}
}
