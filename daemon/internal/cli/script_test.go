package cli_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/server"
	"github.com/stepd/stepd/daemon/internal/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(noLeaks{m}, map[string]func(){"stepd": stepd})
}

// noLeaks fails tests that pass and leave goroutines behind.
type noLeaks struct{ *testing.M }

func (m noLeaks) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// noRaceSleep is a GORACE that spares each command the second that the race
// detector waits at its end.
const noRaceSleep = "atexit_sleep_ms=0"

// stepd is the command that the scripts call, a process of its own.
func stepd() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := cli.New(cli.Deps{
		Version: "1.0.0",
		Serve: func(_ context.Context, o cli.ServeOptions) error {
			if o.Data == "/locked" {
				return errors.New("open the store: pid 77 holds it\nstop that daemon first")
			}
			fmt.Printf("%+v\n", o)
			return nil
		},
		Now: func() time.Time {
			now, err := time.Parse(time.RFC3339, os.Getenv("NOW"))
			if err != nil {
				return time.Now()
			}
			return now
		},
		Hidden: []cli.Hidden{{Name: "store-check", Run: func(args []string) int { fmt.Println(args); return 9 }}},
	}).Run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// daemon is the server that the scripts start and stop.
type daemon struct {
	socket  string
	backend *backend
	server  *server.Server
	done    chan error
}

func (d *daemon) start(ts *testscript.TestScript) {
	l, err := server.Listen(d.socket, "")
	ts.Check(err)
	d.server, d.done = server.New(server.Options{Backend: d.backend}), make(chan error, 1)
	go func(s *server.Server, done chan<- error) { done <- s.Serve(l) }(d.server, d.done)
}

func (d *daemon) stop() error {
	if d.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := errors.Join(d.server.Shutdown(ctx), <-d.done)
	d.server = nil
	return err
}

type daemonKey struct{}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			// The work directory's path is too long for a socket.
			dir, err := os.MkdirTemp("", "stepd")
			if err != nil {
				return err
			}
			d := &daemon{socket: filepath.Join(dir, "s"), backend: newBackend()}
			env.Values[daemonKey{}] = d
			env.Setenv("STEPD_SOCKET", d.socket)
			env.Setenv("GORACE", noRaceSleep)
			env.Setenv("NOW", then.Add(10*time.Second).Format(time.RFC3339))
			env.Setenv("TZ", "UTC")
			env.Defer(func() {
				if err := errors.Join(d.stop(), os.RemoveAll(dir)); err != nil {
					env.T().Log(err)
				}
			})
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"daemon": daemonCmd,
			"exits":  exits,
		},
	})
}

// daemon start|stop|empty... controls the daemon, and sets what it has.
func daemonCmd(ts *testscript.TestScript, _ bool, args []string) {
	d := ts.Value(daemonKey{}).(*daemon)
	for _, a := range args {
		switch a {
		case "start":
			d.start(ts)
		case "stop":
			ts.Check(d.stop())
		case "fresh": // as in the beginning
			d.backend = newBackend()
		case "empty":
			d.backend.empty.Store(true)
		case "locked": // what show needs is held
			d.backend.locked.Store(true)
		case "stuck": // backup/5 gives no sign
			d.backend.mu.Lock()
			d.backend.runs["backup/5"].Stuck = true
			d.backend.mu.Unlock()
		case "meanwhile": // somebody changes backup while it is edited
			d.backend.mu.Lock()
			d.backend.meanwhile = func(b *backend) {
				_, err := b.save(api.Caller{Name: "grace"}, "backup", 0, func(def object) error {
					def["description"] = "Grace was here"
					return nil
				})
				ts.Check(err)
			}
			d.backend.mu.Unlock()
		default:
			ts.Fatalf("daemon %s?", a)
		}
	}
}

// exits CODE COMMAND... runs a command and wants that exit code of it.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		got = e.ExitCode()
		if ws, ok := e.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			ts.Fatalf("ended by %v", ws.Signal())
		}
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
