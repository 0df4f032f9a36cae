package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/daemon/internal/api/server"
	"github.com/stepd/stepd/daemon/internal/audit"
	"github.com/stepd/stepd/daemon/internal/config"
	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/expression"
	"github.com/stepd/stepd/daemon/internal/pluginhost"
	"github.com/stepd/stepd/daemon/internal/runlog"
	"github.com/stepd/stepd/daemon/internal/schedule"
	"github.com/stepd/stepd/daemon/internal/secret"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

const (
	retainInterval = time.Hour        // between looks for runs that have become too old
	roomInterval   = 2 * time.Second  // between looks for room on a full disk
	queryGrace     = 5 * time.Second  // for requests under way when the daemon stops
	pluginGrace    = 10 * time.Second // for plugins to end
	maxRunDir      = 80               // bytes; sockets in it have to fit into an address
	logSegments    = 8                // of a run's log; the oldest goes when it gets too large
)

// Options of the daemon.
type Options struct {
	Config  config.Config
	Version string
	Stderr  io.Writer // of the daemon's own log
	// PreflightCommand is the child process that checks a database which was not
	// closed cleanly (store.Options).
	PreflightCommand func(path string) *exec.Cmd
	// Ready is called when the socket answers. May be nil.
	Ready func()

	// allocate is there for tests that need a full disk (store.Options), clock for
	// those in which time passes, and controllers for those that say themselves how
	// steps end; nil are the system's, and those of the plugins.
	allocate    func(f *os.File, offset, size int64) error
	clock       engine.Clock
	controllers engine.Controllers
}

// App is the daemon. Make it with New, which opens everything, and carry it
// out with Run, which closes it again.
type App struct {
	options  Options
	log      hclog.Logger
	store    *store.Store
	host     *pluginhost.Host
	runlog   *runlog.Log
	engine   *engine.Engine
	secrets  secretControllers
	audit    *audit.Log
	zones    *schedule.Zones
	ledger   *schedule.Ledger
	server   *server.Server
	listener net.Listener
	started  time.Time
}

// New opens the state directory and the socket. When it fails, nothing stays
// open.
func New(o Options) (_ *App, err error) {
	o.Config.Timezone = cmp.Or(o.Config.Timezone, "UTC")
	a := &App{options: o, started: time.Now(), zones: &schedule.Zones{}}
	c := o.Config
	if err := checkTimezone(a.zones, c.Timezone); err != nil {
		return nil, err
	}
	roles, err := newRoles(c)
	if err != nil {
		return nil, err
	}
	a.log = hclog.New(&hclog.LoggerOptions{
		Name: "stepd", Output: o.Stderr, JSONFormat: c.LogFormat == config.FormatJSON,
		Level: hclog.LevelFromString(c.LogLevel.String()),
	})
	var undo stack
	defer func() {
		if err != nil {
			err = errors.Join(err, undo.run())
		}
	}()

	ballast := c.BallastSize
	if ballast == 0 {
		ballast = -1 // the store takes 0 for its default
	}
	a.store, err = store.Open(store.Options{
		Dir: c.DataDir, Logger: a.log.Named("store"), PreflightCommand: o.PreflightCommand,
		BallastSize: ballast, OnRoom: a.roomChanged, Allocate: o.allocate,
	})
	if err != nil {
		return nil, err
	}
	undo.push(a.store.Close)

	// The store's lock makes sure that what carries this marker is nobody's.
	marker := markerOf(c.DataDir)
	if killed, err := pluginhost.Sweep(marker); err != nil {
		a.log.Warn("what the last daemon left could not be ended", "error", err)
	} else if killed > 0 {
		a.log.Info("ended what the last daemon left", "processes", killed)
	}
	a.secrets = secretControllers{
		resolver: secret.New(secret.Config{Files: c.Secrets, Credentials: os.Getenv("CREDENTIALS_DIRECTORY"), Dirs: c.SecretDirs}),
		redactor: &secret.Redactor{},
	}
	a.host, err = pluginhost.New(pluginhost.Config{
		Dirs: c.PluginDirs, RunDir: runDir(c.DataDir), Marker: marker, Checksums: c.PluginChecksums,
		ExtraEnv: c.PluginEnv, Grace: c.Grace, Logger: a.log.Named("plugins"), Redact: a.secrets.redactor.Text,
	})
	if err != nil {
		return nil, err
	}
	undo.push(func() error { return a.host.Close(context.Background()) })
	a.secrets.Controllers = a.host
	if o.controllers != nil {
		a.secrets.Controllers = o.controllers
	}

	work := workspaces{filepath.Join(c.DataDir, "work")}
	if removed, err := work.sweep(a.store); err != nil {
		a.log.Warn("directories that runs left could not be removed", "error", err)
	} else if removed > 0 {
		a.log.Info("removed what runs left", "directories", removed)
	}

	a.runlog, err = runlog.New(runlog.Options{Dir: filepath.Join(c.DataDir, "logs"), Logger: a.log.Named("runlog"),
		SegmentBytes: c.LogSize / logSegments, Segments: logSegments})
	if err != nil {
		return nil, err
	}
	undo.push(func() error { a.runlog.Stop(); return nil })

	a.audit, err = audit.Open(audit.Options{Dir: filepath.Join(c.DataDir, "audit"), Size: c.AuditSize})
	if err != nil {
		return nil, err
	}
	undo.push(a.audit.Close)

	clock := o.clock
	if clock == nil {
		clock = engine.SystemClock{}
	}
	a.engine, err = engine.New(engine.Config{
		Store: engineStore{a.store}, Controllers: a.secrets, Clock: clock, RunLog: a.runlog,
		Workspaces: work, Schedules: engineSchedules{a}, Logger: a.log.Named("engine"),
		MaxRuns: c.MaxRuns, KeepRuns: c.KeepRuns, KeepDays: c.KeepDays, KeepBytes: c.KeepBytes,
		Expressions: expression.Language{}, CheckSettings: checkSettings, Diff: taskfile.Diff,
		ControllerLimits: c.ControllerLimits, StuckAfter: c.StuckAfter, Detail: task.Detail(c.RunLog),
	})
	if err != nil {
		return nil, err
	}

	a.ledger = schedule.NewLedger(schedule.Config{
		Store: ledgerStore{a.store, a.engine}, Clock: clock, Zones: a.zones, Logger: a.log.Named("schedule"),
	})

	a.server = server.New(server.Options{Backend: &backend{a}, Logger: a.log.Named("api"),
		Authorizer: roles, Auditor: auditor{a.audit, a.secrets.redactor}})
	a.listener, err = server.Listen(c.Socket, c.SocketGroup)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Run carries the daemon out until ctx ends or the store has failed, and then
// stops it in order: schedules, steps, requests, plugins, logs, store.
func (a *App) Run(ctx context.Context) (err error) {
	served := make(chan error, 1)
	go func() {
		served <- a.server.Serve(a.listener)
		close(served)
	}()
	a.greet()
	failure := a.engine.Start()
	scheduled, endSchedules := a.goSchedules(failure == nil)
	if failure == nil && a.options.Ready != nil {
		a.options.Ready()
	}
	room := time.NewTicker(roomInterval)
	defer room.Stop()
	retain := time.NewTicker(retainInterval)
	defer retain.Stop()
	for failure == nil && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-a.store.Failed():
			failure = a.store.Err()
		case err := <-scheduled:
			failure = errors.Join(errors.New("schedules are not looked at any more"), err)
		case err := <-served:
			failure = errors.Join(errors.New("the socket is not served any more"), err)
		case <-retain.C:
			a.engine.Retain()
		case <-room.C:
			a.store.Look()
			if a.store.Room() != nil {
				_ = a.store.Reclaim() // Room says how it went
			}
		}
	}
	a.log.Info("stopping")
	endSchedules()
	if err := <-scheduled; err != nil && failure == nil {
		failure = err
	}
	return errors.Join(failure, a.stop(served))
}

// goSchedules looks at the schedules until end is called. Then, or when it
// fails, it sends how it went and closes the channel.
func (a *App) goSchedules(start bool) (scheduled <-chan error, end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	if !start {
		close(ended)
		return ended, cancel
	}
	go func() {
		defer close(ended)
		if err := a.ledger.Run(ctx); ctx.Err() == nil {
			ended <- err
		}
	}()
	return ended, cancel
}

func (a *App) stop(served <-chan error) error {
	// The host ends a step that ignores its cancel; the engine waits for that.
	errs := []error{a.engine.Stop(context.Background())}
	ctx, cancel := context.WithTimeout(context.Background(), queryGrace)
	if err := a.server.Shutdown(ctx); err != nil {
		a.log.Warn("requests were cut off", "error", err)
	}
	cancel()
	errs = append(errs, <-served)
	ctx, cancel = context.WithTimeout(context.Background(), pluginGrace)
	if err := a.host.Close(ctx); err != nil {
		a.log.Warn("plugins did not end by themselves", "error", err)
	}
	cancel()
	a.runlog.Stop()
	errs = append(errs, a.audit.Close(), a.store.Close())
	return errors.Join(errs...)
}

// greet says where the daemon is and what is odd.
func (a *App) greet() {
	c := a.options.Config
	a.log.Info("ready", "version", a.options.Version, "socket", c.Socket, "data", c.DataDir,
		"plugins", len(a.host.Plugins()), "max_runs", c.MaxRuns)
	if len(a.host.Plugins()) == 0 { // what else is odd was told by those who found it
		a.log.Warn(noPlugins)
	}
}

const noPlugins = "there are no plugins, so no step can run: put some into one of the plugin directories"

// problems is what an administrator should know of.
func (a *App) problems() []string {
	var list []string
	if err := a.store.Room(); err != nil {
		list = append(list, err.Error())
	}
	for _, err := range a.host.Scan() {
		list = append(list, err.Error())
	}
	if len(a.host.Plugins()) == 0 {
		list = append(list, noPlugins)
	}
	return list
}

func (a *App) roomChanged(err error) {
	if err != nil {
		a.log.Error("new runs are refused until there is room", "error", err)
	} else {
		a.log.Info("there is room again")
	}
}

// markerOf tells daemons on different state directories apart.
func markerOf(dataDir string) string {
	if real, err := filepath.EvalSymlinks(dataDir); err == nil {
		dataDir = real
	}
	sum := sha256.Sum256([]byte(dataDir))
	return "stepd-" + hex.EncodeToString(sum[:8])
}

// runDir is where plugins' sockets live: in the state directory, unless its
// path is too long for a socket's address.
func runDir(dataDir string) string {
	dir := filepath.Join(dataDir, "run")
	if len(dir) <= maxRunDir {
		return dir
	}
	return filepath.Join(os.TempDir(), "stepd-"+strconv.Itoa(os.Geteuid())+"-"+markerOf(dataDir)[6:])
}

// stack is what has to be undone, last in first out.
type stack []func() error

func (s *stack) push(f func() error) { *s = append(*s, f) }

func (s *stack) run() error {
	var errs []error
	for i := len(*s) - 1; i >= 0; i-- {
		errs = append(errs, (*s)[i]())
	}
	return errors.Join(errs...)
}

// Preflight is the hidden command that PreflightCommand starts: it checks the
// database at args[0] and returns the exit code.
func Preflight(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "usage: stepd", PreflightName, "DATABASE")
		return 2
	}
	return store.RunPreflight(args[0], os.Stdout)
}

// PreflightName is the hidden command's name.
const PreflightName = "preflight-database"

// SelfPreflight starts this very program with PreflightName.
func SelfPreflight(path string) *exec.Cmd {
	self, err := os.Executable()
	if _, gone := os.Stat(self); err != nil || gone != nil { // replaced by another version
		self = "/proc/self/exe"
	}
	return exec.Command(self, PreflightName, path)
}
