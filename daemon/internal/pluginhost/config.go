package pluginhost

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	hclog "github.com/hashicorp/go-hclog"
)

// maxRunDir leaves room for "/p-zzzzzz/plugin1234567890" within the 107 bytes
// of a unix socket's address.
const maxRunDir = 107 - 27

// Config of a Host. Zero durations and counts take the defaults named below.
type Config struct {
	// Dirs are searched for plugins in this order; the first that has a name
	// wins. Directories may be missing.
	Dirs []string
	// RunDir holds the sockets. It belongs to this host alone, is made with
	// mode 0700 and emptied of old sockets; at most 80 bytes long.
	RunDir string
	// Marker goes into the environment of every plugin and of what it starts,
	// so that Sweep finds what is left. It must be the same for every daemon on
	// one state directory and differ between those. No '#', no NUL.
	Marker string
	// Checksums pins the SHA-256 of plugins, hexadecimal, by plugin name.
	Checksums map[string]string
	// ExtraEnv names variables that plugins get besides the allow-list.
	ExtraEnv []string
	// CgroupDir is a cgroup v2 directory in which each plugin gets its own
	// group. Empty: the daemon's own one, if it was delegated to it.
	CgroupDir string

	Grace        time.Duration // for a step to end after Cancel, 10 s
	TermGrace    time.Duration // for a process to end after SIGTERM, 5 s
	StartTimeout time.Duration // until the handshake, 10 s
	CallTimeout  time.Duration // of Describe, EndRun and Shutdown, 5 s
	IdleTimeout  time.Duration // after which an unused process is ended, 1 min
	StrayDelay   time.Duration // idle time after which leftovers of steps are killed, 250 ms

	HealthInterval time.Duration // 10 s
	HealthTimeout  time.Duration // 2 s
	HealthStrikes  int           // 3

	BreakerDeaths int           // unexpected deaths that open the circuit, 5
	BreakerWindow time.Duration // within which they count, 10 min
	BreakerPause  time.Duration // after which one start is tried again, 1 min
	Backoff       time.Duration // before the first restart, doubles with each death, 250 ms
	MaxBackoff    time.Duration // 30 s

	LogRate  float64 // lines a second of one attempt that reach its log, 1000
	LogBurst float64 // 5000

	// Redact takes secrets out of what plugins write to their standard streams,
	// and of what is quoted shortened; nil: nothing is.
	Redact func(text string) string

	Logger hclog.Logger     // nil: none
	Now    func() time.Time // nil: time.Now; for the circuit alone
}

func (c Config) withDefaults() (Config, error) {
	var errs []error
	if c.RunDir == "" {
		errs = append(errs, errors.New("no run directory is given"))
	} else if abs, err := filepath.Abs(c.RunDir); err != nil {
		errs = append(errs, fmt.Errorf("run directory %s: %w", c.RunDir, err))
	} else if c.RunDir = abs; len(abs) > maxRunDir {
		errs = append(errs, fmt.Errorf("run directory %s is %d bytes long: sockets in it would pass the system's limit, choose a path of at most %d bytes", abs, len(abs), maxRunDir))
	}
	if c.Marker == "" || strings.ContainsAny(c.Marker, "#\x00") {
		errs = append(errs, fmt.Errorf("marker %q: it must not be empty and must contain neither '#' nor NUL", c.Marker))
	}
	for i, dir := range c.Dirs {
		abs, err := filepath.Abs(dir)
		if err != nil {
			errs = append(errs, fmt.Errorf("plugin directory %s: %w", dir, err))
			continue
		}
		if i == 0 {
			c.Dirs = append([]string(nil), c.Dirs...)
		}
		c.Dirs[i] = abs
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Grace, 10 * time.Second}, {&c.TermGrace, 5 * time.Second}, {&c.StartTimeout, 10 * time.Second},
		{&c.CallTimeout, 5 * time.Second}, {&c.IdleTimeout, time.Minute}, {&c.StrayDelay, 250 * time.Millisecond},
		{&c.HealthInterval, 10 * time.Second}, {&c.HealthTimeout, 2 * time.Second},
		{&c.BreakerWindow, 10 * time.Minute}, {&c.BreakerPause, time.Minute},
		{&c.Backoff, 250 * time.Millisecond}, {&c.MaxBackoff, 30 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.HealthStrikes <= 0 {
		c.HealthStrikes = 3
	}
	if c.BreakerDeaths <= 0 {
		c.BreakerDeaths = 5
	}
	if c.LogRate <= 0 {
		c.LogRate = 1000
	}
	if c.LogBurst <= 0 {
		c.LogBurst = 5000
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.Redact == nil {
		c.Redact = func(text string) string { return text }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, errors.Join(errs...)
}

// allowedEnv is what a plugin gets of the daemon's environment. Everything
// else stays here: NOTIFY_SOCKET, credentials, whatever the unit sets.
func (c *Config) allowedEnv() []string {
	allowed := map[string]bool{"PATH": true, "HOME": true, "USER": true, "LANG": true, "TZ": true,
		"TMPDIR": true, "SSL_CERT_FILE": true, "SSL_CERT_DIR": true}
	for _, name := range c.ExtraEnv {
		allowed[name] = true
	}
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if allowed[name] || strings.HasPrefix(name, "LC_") {
			env = append(env, kv)
		}
	}
	return env
}
