package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Config is how the daemon is set up. All paths are absolute.
type Config struct {
	DataDir     string
	Socket      string
	SocketGroup string // empty: the daemon's own

	PluginDirs      []string
	PluginChecksums map[string]string // by file name, SHA-256 in lower-case hex; a plugin without one is not checked
	PluginEnv       []string          // names that plugins get besides the usual ones

	MaxRuns   int // runs at once
	LogLevel  slog.Level
	LogFormat string // text or json

	// ControllerLimits is how many steps of a controller are carried out at once:
	// "PLUGIN" or "PLUGIN/CONTROLLER", or "PLUGIN/*" for all of a plugin together.
	ControllerLimits map[string]int

	BallastSize int64 // bytes kept free for a full disk; 0: none
	KeepRuns    int   // ended runs of each task; 0: all
	KeepDays    int   // 0: no limit
	KeepBytes   int64 // of all ended runs together; 0: no limit
	Grace       time.Duration
	StuckAfter  time.Duration // 0: no step is ever shown as stuck

	RunLog    string // simple or detailed, of tasks that do not say
	LogSize   int64  // bytes of the log of one run
	AuditSize int64  // bytes of the audit log that are kept

	// Names or numbers of the groups whose members have that role. Whether they
	// exist is for the caller to check. All three empty: whoever reaches the
	// socket is an administrator.
	AdminGroups, RunnerGroups, ReaderGroups []string

	Secrets    map[string]string // files by the names of what they hold
	SecretDirs []string          // where all others are looked for, by their names

	// Timezone is the name of the zone of schedules that name none. Whether the
	// time zone database knows it is for the caller to check.
	Timezone string
}

// Words for Config.LogFormat.
const (
	FormatText = "text"
	FormatJSON = "json"
)

// Words for Config.RunLog.
const (
	LogSimple   = "simple"
	LogDetailed = "detailed"
)

// Flag is a setting that was given on the command line, by the Key of its
// Setting.
type Flag struct{ Key, Value string }

// Load reads the configuration. path is the file, or empty for none; env is
// os.LookupEnv outside of tests; an empty variable counts as not set. Relative paths start at the file's directory
// when they stand in the file, else at the working directory. All faults are
// reported at once, as *Error.
func Load(path string, env func(string) (string, bool), flags ...Flag) (Config, error) {
	return load(path, env, os.Geteuid() == 0, flags)
}

// Find is the file that Load is to read when nobody named one:
// /etc/stepd/stepd.yaml for root, else stepd/stepd.yaml in $XDG_CONFIG_HOME or
// ~/.config. It is empty when that file does not exist.
func Find(env func(string) (string, bool)) string {
	return find(env, os.Geteuid() == 0)
}

func find(env func(string) (string, bool), root bool) string {
	path := "/etc/stepd/stepd.yaml"
	if !root {
		dir := userDir(env, "XDG_CONFIG_HOME", ".config")
		if dir == "" {
			return ""
		}
		path = filepath.Join(dir, "stepd", "stepd.yaml")
	}
	// A file that is there and cannot be looked at is Load's to complain about.
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return path
}

// Error lists all faults of a configuration.
type Error struct{ Faults []string }

func (e *Error) Error() string { return strings.Join(e.Faults, "\n") }

func load(path string, env func(string) (string, bool), root bool, flags []Flag) (Config, error) {
	c := Config{
		PluginDirs: []string{"/usr/lib/stepd/plugins", "/usr/local/lib/stepd/plugins"},
		MaxRuns:    4, LogLevel: slog.LevelInfo, LogFormat: FormatText,
		BallastSize: 32 << 20, KeepRuns: 100, Grace: 10 * time.Second,
		StuckAfter: 15 * time.Minute, RunLog: LogSimple, LogSize: 64 << 20, AuditSize: 64 << 20,
	}
	cwd, err := os.Getwd()
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: find the working directory: %w", err)
	}
	all := definitions()
	var faults []string
	if path != "" {
		found, err := readFile(path, cwd, all, &c)
		if err != nil {
			return Config{}, err
		}
		faults = append(faults, found...)
	}
	for _, d := range all {
		if value, ok := env(d.Env); ok && value != "" {
			if err := d.fromText(&c, value, cwd); err != nil {
				faults = append(faults, fmt.Sprintf("%s: %s %v", d.Env, d.Key, err))
			}
		}
	}
	for _, f := range flags {
		d, ok := byKey(all, f.Key)
		if !ok {
			faults = append(faults, fmt.Sprintf("there is no setting %q", f.Key))
			continue
		}
		if err := d.fromText(&c, f.Value, cwd); err != nil {
			faults = append(faults, fmt.Sprintf("--%s: %v", d.Flag, err))
		}
	}
	if len(faults) == 0 {
		faults = c.fillIn(env, root)
	}
	if len(faults) > 0 {
		return Config{}, &Error{faults}
	}
	return c, nil
}

// fillIn sets what depends on who runs the daemon and on other settings.
func (c *Config) fillIn(env func(string) (string, bool), root bool) (faults []string) {
	if c.DataDir == "" {
		c.DataDir = "/var/lib/stepd"
		if !root {
			dir := userDir(env, "XDG_STATE_HOME", ".local/state")
			if dir == "" {
				return []string{"data_dir is not set and has no default, because neither XDG_STATE_HOME nor HOME is set: set STEPD_DATA_DIR"}
			}
			c.DataDir = filepath.Join(dir, "stepd")
		}
	}
	if c.Socket == "" {
		dir, _ := env("XDG_RUNTIME_DIR")
		switch {
		case root:
			c.Socket = "/run/stepd/stepd.sock"
		case filepath.IsAbs(dir):
			c.Socket = filepath.Join(dir, "stepd", "stepd.sock")
		default:
			c.Socket = filepath.Join(c.DataDir, "stepd.sock")
		}
	}
	if c.SecretDirs == nil { // an empty list says that there are none
		dir := "/etc"
		if !root {
			dir = userDir(env, "XDG_CONFIG_HOME", ".config")
		}
		if dir != "" {
			c.SecretDirs = []string{filepath.Join(dir, "stepd", "secrets")}
		}
	}
	if c.Timezone == "" {
		c.Timezone = machineZone(env, "/etc")
	}
	if len(c.Socket) > maxSocketPath {
		faults = append(faults, fmt.Sprintf("socket: the path %s is %d bytes long, and a unix socket has at most %d: set a shorter one", c.Socket, len(c.Socket), maxSocketPath))
	}
	return faults
}

// userDir is a directory of the XDG standard, which says that relative values
// are to be ignored.
func userDir(env func(string) (string, bool), name, below string) string {
	if dir, _ := env(name); filepath.IsAbs(dir) {
		return dir
	}
	if home, _ := env("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, below)
	}
	return ""
}
