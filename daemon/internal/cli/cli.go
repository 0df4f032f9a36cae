package cli

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

// Deps is what the command line is given. Nil and empty fields take what the
// process has.
type Deps struct {
	Version string
	// Serve runs the daemon until ctx ends.
	Serve func(ctx context.Context, opts ServeOptions) error
	// Settings describes the configuration file, for the help of serve.
	Settings string
	// Hidden are commands that the daemon starts itself with, as child
	// processes; people do not see them.
	Hidden []Hidden

	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Now            func() time.Time
}

// Hidden is a command whose arguments are not looked at: Run gets them all and
// returns the exit code.
type Hidden struct {
	Name string
	Run  func(args []string) int
}

// App is the command line. Make it with New.
type App struct {
	deps Deps
	// patience is how long a run is followed without an answer of the daemon.
	patience time.Duration
}

// New makes the command line; nothing happens before Run.
func New(deps Deps) *App {
	deps.Version = cmp.Or(deps.Version, "devel")
	if deps.Stdin == nil {
		deps.Stdin = os.Stdin
	}
	if deps.Stdout == nil {
		deps.Stdout = os.Stdout
	}
	if deps.Stderr == nil {
		deps.Stderr = os.Stderr
	}
	if deps.Getenv == nil {
		deps.Getenv = os.Getenv
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	return &App{deps: deps, patience: time.Minute}
}

// Run carries out one command line, without the program's name, and returns
// the exit code. It has told the person what went wrong. ctx ends when they
// interrupt it.
func (a *App) Run(ctx context.Context, args []string) int {
	if len(args) > 0 {
		for _, h := range a.deps.Hidden {
			if h.Name == args[0] {
				return h.Run(args[1:])
			}
		}
	}
	e := &env{Deps: a.deps, patience: a.patience}
	root := newRoot(e)
	root.SetArgs(args)
	root.SetIn(a.deps.Stdin)
	root.SetOut(a.deps.Stdout)
	root.SetErr(a.deps.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = e.helpFault
	}
	if err == nil {
		return exitOK
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = errInterrupted
	}
	e.report(cmd, err)
	return exitCode(err)
}

// env is what the commands of one command line share.
type env struct {
	Deps
	patience time.Duration

	socket  string
	output  string
	quiet   bool
	yes     bool
	noColor bool
	actFor  string // the user for whom an administrator acts

	cmd       *cobra.Command // that is carried out
	helpFault error          // why there is no help for what was asked, which cobra does not hand on
}

const (
	outputText = "text"
	outputJSON = "json"
)

func (e *env) json() bool { return e.output == outputJSON }

func (e *env) client() *client.Client {
	return &client.Client{Socket: e.socketPath(), ActFor: e.actFor}
}

// socketPath is the daemon's socket: flag, environment, a daemon of the user's
// own, the machine's.
func (e *env) socketPath() string {
	if path := cmp.Or(e.socket, e.Getenv("STEPD_SOCKET")); path != "" {
		return path
	}
	if os.Geteuid() == 0 {
		return api.DefaultSocket
	}
	state := e.Getenv("XDG_STATE_HOME")
	if state == "" && e.Getenv("HOME") != "" {
		state = filepath.Join(e.Getenv("HOME"), ".local", "state")
	}
	for _, dir := range []string{e.Getenv("XDG_RUNTIME_DIR"), state} {
		path := filepath.Join(dir, "stepd", "stepd.sock")
		if _, err := os.Lstat(path); filepath.IsAbs(dir) && err == nil {
			return path
		}
	}
	return api.DefaultSocket
}

// run makes a cobra function of a command's own, which is given the client.
func (e *env) run(f func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error { return f(cmd.Context(), e.client(), args) }
}
