package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/stepd/stepd/plugins/dumptables/internal/mysqltest"
	"github.com/stepd/stepd/sdk"
	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
	"github.com/stepd/stepd/sdk/sdktest"
)

// process is the plugin in a process of its own, which can be killed.
type process struct {
	*sdktest.Harness
	cmd  *exec.Cmd
	conn *grpc.ClientConn
}

func startProcess(t testing.TB) *process {
	t.Helper()
	dir, err := os.MkdirTemp("", "plugin") // short: it is a socket's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{sdk.HandshakeCookieKey + "=" + sdk.HandshakeCookieValue, "PLUGIN_UNIX_SOCKET_DIR=" + dir, "PLUGIN_PROTOCOL_VERSIONS=1"}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	parts := strings.Split(line, "|")
	if err != nil || len(parts) < 5 {
		t.Fatalf("the plugin said %q: %v", line, err)
	}
	conn, err := grpc.NewClient("unix://"+parts[3], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Harness: sdktest.Attach(t, "dumptables", conn), cmd: cmd, conn: conn}
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
	p.conn.Close()
}

// bank is a database in which money moves all the time.
func bank(t testing.TB) (s *shop, moved <-chan struct{}) {
	t.Helper()
	s = newShop(t, "CREATE TABLE a(n INT PRIMARY KEY, money INT)", "CREATE TABLE b(n INT PRIMARY KEY, money INT)",
		"INSERT INTO a SELECT seq, 1000 FROM seq_1_to_3000", "INSERT INTO b SELECT seq, 1000 FROM seq_1_to_3000")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	signal := make(chan struct{}, 1)
	go func() {
		db := s.server.Open("")
		defer db.Close()
		move := strings.ReplaceAll("BEGIN; UPDATE SHOP.a SET money=money-7 WHERE n=?; UPDATE SHOP.b SET money=money+7 WHERE n=?; COMMIT", "SHOP", s.name)
		var err error
		for n := 1; ctx.Err() == nil && err == nil; n++ {
			_, err = db.Exec(move, n*17%3000+1, n*31%3000+1)
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

var pair = regexp.MustCompile(`(?m)^\((\d+),(-?\d+)\)[,;]$`)

// balance is what all accounts in a dump hold.
func balance(t testing.TB, dir string) int {
	t.Helper()
	sum, rows := 0, 0
	names, err := filepath.Glob(filepath.Join(dir, "*-[ab].*sql")) // also parts
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range pair.FindAllSubmatch(raw, -1) {
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

// group carries out a plan as the daemon does: steps of one order side by side,
// and all of it again when a step says that the session is lost. disturb may
// break it at a step. It returns how often it began anew.
func group(t testing.TB, start sdktest.Start, sideBySide bool, harness func() *sdktest.Harness, disturb func(name string, start *sdktest.Start)) int {
	t.Helper()
	for again := 0; ; again++ {
		if again > 3 {
			t.Fatal("the session was lost over and over")
		}
		plan := harness().Plan(t.Context(), start)
		plan.RequireCompleted(t)
		lost := false
		for i := 0; i < len(plan.Steps) && !lost; {
			var wait sync.WaitGroup
			results, retries := map[string]*sdktest.Result{}, map[string]sdktest.Start{}
			for order := plan.Steps[i].Order; i < len(plan.Steps) && plan.Steps[i].Order == order; i++ {
				step := plan.Steps[i]
				one := start
				one.Step, one.Settings, one.Session = "step/"+step.Name, step.Settings, plan.Session
				if disturb != nil {
					disturb(step.Name, &one)
				}
				result := new(sdktest.Result)
				results[step.Name] = result
				h := harness()
				wait.Go(func() { *result = h.Execute(t.Context(), one) })
				again := one
				again.OnProgress = nil
				retries[step.Name] = again
				if !sideBySide {
					wait.Wait()
				}
			}
			wait.Wait()
			for name, result := range results {
				switch {
				case result.Completed():
				case result.Status == stepdv1.Result_STATUS_UNSPECIFIED: // the plugin died: another process is asked
					if got := harness().Execute(t.Context(), retries[name]); got.Status != stepdv1.Result_STATUS_SESSION_LOST {
						t.Fatalf("the next attempt of step %s ended as %v: %s", name, got.Status, got.Message)
					}
					lost = true
				case result.Status == stepdv1.Result_STATUS_SESSION_LOST:
					lost = true
				default:
					t.Fatalf("step %s ended as %v: %s", name, result.Status, result.Message)
				}
			}
		}
		if !lost {
			return again
		}
	}
}

func TestMySQLDumpsAreOfOneMomentWhileOthersWrite(t *testing.T) {
	for _, connections := range []int{1, 2} {
		t.Run(fmt.Sprint(connections, " connections"), func(t *testing.T) {
			t.Parallel()
			s, moved := bank(t)
			h := serve(t)
			for n := range 40 {
				dir := t.TempDir()
				start := sdktest.Start{Settings: settings{"dsn": s.dsn(), "target": dir, "connections": connections}, WorkDir: t.TempDir(), Run: uint64(n + 1)}
				group(t, start, connections > 1, func() *sdktest.Harness { return h }, func(string, *sdktest.Start) { <-moved })
				h.EndRun(t.Context(), start.Run)
				if got := balance(t, dir); got != 6_000_000 {
					t.Fatalf("dump %d holds %d", n, got)
				}
			}
		})
	}
}

func TestMySQLDumpOfAKilledPluginStartsAgainAsAWhole(t *testing.T) {
	t.Parallel()
	s, moved := bank(t)
	p := startProcess(t)
	for n := range 20 {
		dir := t.TempDir()
		connections := 1 + n%2
		start := sdktest.Start{Settings: settings{"dsn": s.dsn(), "target": dir, "connections": connections}, WorkDir: t.TempDir(), Run: uint64(n + 1)}
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
		if got := balance(t, dir); got != 6_000_000 {
			t.Fatalf("dump %d over %d connections holds %d", n, connections, got)
		}
	}
}

func TestMySQLLostConnectionIsALostSnapshot(t *testing.T) {
	t.Parallel()
	s, moved := bank(t)
	h := serve(t)
	admin := s.server.Open("")
	defer admin.Close()
	for n := range 6 {
		dir := t.TempDir()
		start := sdktest.Start{Settings: settings{"dsn": s.dsn(), "target": dir, "connections": 1 + n%2}, WorkDir: t.TempDir(), Run: uint64(n + 1)}
		killed := false
		again := group(t, start, false, func() *sdktest.Harness { return h }, func(name string, _ *sdktest.Start) {
			<-moved
			if name == "b" && !killed {
				killed = true
				for _, id := range s.others(t) {
					do(t, admin, fmt.Sprintf("KILL CONNECTION %d", id))
				}
			}
		})
		if again != 1 {
			t.Fatalf("dump %d began anew %d times", n, again)
		}
		if got := balance(t, dir); got != 6_000_000 {
			t.Fatalf("dump %d holds %d", n, got)
		}
		for try := 0; len(s.others(t)) > 0; try++ { // the server hears of it a little later
			if do(t, s.DB, "DO SLEEP(0.05)"); try == 200 {
				t.Fatal("connections are left after the dump")
			}
		}
		h.EndRun(t.Context(), start.Run)
	}
}

// others are the connections to the database that are not the test's own.
func (s *shop) others(t testing.TB) []int64 {
	t.Helper()
	rows, err := s.Query("SELECT ID FROM information_schema.PROCESSLIST WHERE DB=DATABASE() AND ID<>CONNECTION_ID()")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestMySQLServerThatDiesLosesTheSnapshot(t *testing.T) {
	server, err := mysqltest.Start()
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			server.Kill()
		}
	})
	db := server.Open("")
	defer db.Close()
	do(t, db, "CREATE DATABASE shop; USE shop; CREATE TABLE a(n INT PRIMARY KEY); INSERT INTO a SELECT seq FROM seq_1_to_5000")
	h := serve(t)
	start := sdktest.Start{Settings: settings{"dsn": "mariadb://root@/shop?socket=" + server.Socket}}
	plan := h.Plan(t.Context(), start)
	plan.RequireCompleted(t)
	server.Kill()
	stopped = true
	start.Step, start.Settings, start.Session = "step/a", plan.Steps[1].Settings, plan.Session
	got := h.Execute(t.Context(), start)
	if got.Status != stepdv1.Result_STATUS_SESSION_LOST || !strings.Contains(got.Message, "the snapshot of shop at") {
		t.Errorf("the step ended as %v: %s", got.Status, got.Message)
	}
	again := h.Plan(t.Context(), sdktest.Start{Settings: settings{"dsn": "mariadb://root@/shop?socket=" + server.Socket}})
	if again.Status != stepdv1.Result_STATUS_FAILED || !strings.Contains(again.Message, "is the server running") {
		t.Errorf("the next plan ended as %v: %s", again.Status, again.Message)
	}
}
