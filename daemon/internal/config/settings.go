package config

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxSocketPath = 107 // sun_path, less its final NUL
	maxGrace      = 10 * time.Minute
)

// Setting is one entry of the configuration, for help and documentation.
type Setting struct {
	Key     string // in the file
	Env     string
	Flag    string // without the dashes
	Default string // for people
	Value   string // what kind of value, for people
	Doc     string
}

// Settings lists all settings in the order in which they are documented.
func Settings() []Setting {
	var all []Setting
	for _, d := range definitions() {
		all = append(all, d.Setting)
	}
	return all
}

// definition is a setting with what takes its values. One of the three is set.
// base is the absolute directory that relative paths start from. The errors go
// on from the setting's name: "must be ...".
type definition struct {
	Setting
	scalar func(c *Config, value, base string) error
	list   func(c *Config, values []string, base string) error
	pairs  func(c *Config, values map[string]string) error
	split  string // between the items of a list or of pairs, in environment and flags
}

func byKey(all []definition, key string) (definition, bool) {
	i := slices.IndexFunc(all, func(d definition) bool { return d.Key == key })
	if i < 0 {
		return definition{}, false
	}
	return all[i], true
}

// fromText takes a value from the environment or a flag.
func (d definition) fromText(c *Config, value, base string) error {
	if d.scalar != nil {
		return d.scalar(c, value, base)
	}
	var items []string
	for part := range strings.SplitSeq(value, d.split) {
		if part = strings.TrimSpace(part); part != "" {
			items = append(items, part)
		}
	}
	if d.list != nil {
		return d.list(c, items, base)
	}
	pairs := make(map[string]string)
	for _, item := range items {
		name, value, ok := strings.Cut(item, "=")
		if !ok {
			return fmt.Errorf("must be NAME=VALUE, separated by %q; found %q", d.split, item)
		}
		if _, twice := pairs[name]; twice {
			return fmt.Errorf("names %q twice", name)
		}
		pairs[name] = value
	}
	return d.pairs(c, pairs)
}

func definitions() []definition {
	all := []definition{
		{Setting: Setting{Key: "data_dir", Value: "directory", Default: "/var/lib/stepd for root, else $XDG_STATE_HOME/stepd or ~/.local/state/stepd",
			Doc: "Where the daemon keeps its database, the logs of runs and their working directories."},
			scalar: func(c *Config, v, base string) (err error) { c.DataDir, err = absolute(v, base); return err }},
		{Setting: Setting{Key: "socket", Value: "path", Default: "/run/stepd/stepd.sock for root, else $XDG_RUNTIME_DIR/stepd/stepd.sock or stepd.sock in data_dir",
			Doc: "The unix socket on which the daemon is reached."},
			scalar: func(c *Config, v, base string) (err error) { c.Socket, err = absolute(v, base); return err }},
		{Setting: Setting{Key: "socket_group", Value: "group", Default: "the group of the daemon",
			Doc: "The group whose members may use the socket, by name or number."},
			scalar: func(c *Config, v, _ string) error {
				if !regexp.MustCompile(`^([0-9]+|[A-Za-z_][A-Za-z0-9_.-]*\$?)$`).MatchString(v) {
					return fmt.Errorf("must be the name or the number of a group, found %q", v)
				}
				c.SocketGroup = v
				return nil
			}},
		{Setting: Setting{Key: "plugin_dirs", Value: "directories", Default: "/usr/lib/stepd/plugins, /usr/local/lib/stepd/plugins",
			Doc: "Where plugins are looked for; of two with one name the first one counts. Separated by ':' in the environment."},
			split: ":", list: func(c *Config, values []string, base string) error {
				dirs := make([]string, 0, len(values))
				for _, v := range values {
					dir, err := absolute(v, base)
					if err != nil {
						return err
					}
					if !slices.Contains(dirs, dir) {
						dirs = append(dirs, dir)
					}
				}
				c.PluginDirs = dirs
				return nil
			}},
		{Setting: Setting{Key: "plugin_checksums", Value: "NAME: SHA-256", Default: "none",
			Doc: "Checksums that plugins must have, by the name of their file; sha256sum prints them. NAME=SHA-256, separated by ',', in the environment."},
			split: ",", pairs: checksums},
		{Setting: Setting{Key: "plugin_env", Value: "names", Default: "none",
			Doc: "Environment variables that plugins get from the daemon's environment, besides the usual ones such as PATH and LANG. Separated by ',' in the environment."},
			split: ",", list: func(c *Config, values []string, _ string) error { return environment(c, values) }},
		{Setting: Setting{Key: "max_runs", Value: "number", Default: "4", Doc: "How many runs are carried out at once; the others wait their turn."},
			scalar: whole(1, 1024, func(c *Config) *int { return &c.MaxRuns })},
		{Setting: Setting{Key: "log_level", Value: "word", Default: "info", Doc: "The least important lines that the daemon's own log has: debug, info, warn or error."},
			scalar: func(c *Config, v, _ string) error {
				word, err := oneOf(v, "debug", "info", "warn", "error")
				if err != nil {
					return err
				}
				return c.LogLevel.UnmarshalText([]byte(word))
			}},
		{Setting: Setting{Key: "log_format", Value: "word", Default: "text", Doc: "How the daemon's own log is written: text or json."},
			scalar: func(c *Config, v, _ string) (err error) {
				c.LogFormat, err = oneOf(v, FormatText, FormatJSON)
				return err
			}},
		{Setting: Setting{Key: "ballast_size", Value: "size", Default: "32MiB",
			Doc: "How much of the disk is held in reserve, so that states can still be saved when it is full. 0 holds nothing."},
			scalar: func(c *Config, v, _ string) error {
				size, err := ParseSize(v)
				if err != nil {
					return err
				}
				if size > 16<<30 {
					return fmt.Errorf("must be at most 16GiB, found %s", v)
				}
				c.BallastSize = size
				return nil
			}},
		{Setting: Setting{Key: "keep_runs", Value: "number", Default: "100", Doc: "How many ended runs of each task are kept, with their logs. 0 keeps all."},
			scalar: whole(0, 1_000_000, func(c *Config) *int { return &c.KeepRuns })},
		{Setting: Setting{Key: "keep_days", Value: "number", Default: "0", Doc: "For how many days ended runs are kept. 0 is no limit."},
			scalar: whole(0, 36_500, func(c *Config) *int { return &c.KeepDays })},
		{Setting: Setting{Key: "grace", Value: "duration", Default: "10s", Doc: "How long a step that is told to stop may take before its plugin is ended."},
			scalar: func(c *Config, v, _ string) error {
				d, err := time.ParseDuration(v)
				if err != nil {
					return fmt.Errorf("must be a duration such as 10s or 1m, found %q", v)
				}
				if d < time.Second || d > maxGrace {
					return fmt.Errorf("must be from 1s to 10m, found %s", v)
				}
				c.Grace = d
				return nil
			}},
		{Setting: Setting{Key: "timezone", Value: "zone", Default: "that of the machine",
			Doc: "Time zone of schedules that name none, such as Europe/Berlin or UTC."},
			scalar: func(c *Config, v, _ string) error {
				if v == "" || strings.ContainsAny(v, " \t\n\x00") {
					return fmt.Errorf("must be the name of a time zone, such as Europe/Berlin or UTC; found %q", v)
				}
				c.Timezone = v
				return nil
			}},
	}
	for i := range all {
		all[i].Env = "STEPD_" + strings.ToUpper(all[i].Key)
		all[i].Flag = strings.ReplaceAll(all[i].Key, "_", "-")
	}
	return all
}

func absolute(path, base string) (string, error) {
	switch {
	case path == "":
		return "", fmt.Errorf("must not be empty")
	case strings.ContainsRune(path, 0):
		return "", fmt.Errorf("must be a path, found %q", path)
	case strings.HasPrefix(path, "~"):
		return "", fmt.Errorf("must be a path without '~', found %q: write the directory itself", path)
	case filepath.IsAbs(path):
		return filepath.Clean(path), nil
	}
	return filepath.Join(base, path), nil
}

func whole(least, most int, to func(*Config) *int) func(*Config, string, string) error {
	return func(c *Config, v, _ string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < least || n > most {
			return fmt.Errorf("must be a whole number from %d to %d, found %q", least, most, v)
		}
		*to(c) = n
		return nil
	}
}

func oneOf(v string, words ...string) (string, error) {
	if slices.Contains(words, v) {
		return v, nil
	}
	return "", fmt.Errorf("must be one of: %s; found %q", strings.Join(words, ", "), v)
}

func checksums(c *Config, values map[string]string) error {
	sums := make(map[string]string, len(values))
	for name, sum := range values {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			return fmt.Errorf("must name plugins by their file name alone, found %q", name)
		}
		sum = strings.ToLower(strings.TrimSpace(sum))
		if raw, err := hex.DecodeString(sum); err != nil || len(raw) != 32 {
			return fmt.Errorf("must give each plugin a SHA-256 of 64 hexadecimal digits, found %q for %s", sum, name)
		}
		sums[name] = sum
	}
	c.PluginChecksums = sums
	return nil
}

// environment refuses the variables that tie a process to the service manager
// or to this daemon: a plugin that has them can speak in the daemon's name.
func environment(c *Config, names []string) error {
	valid := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	kept := make([]string, 0, len(names))
	for _, name := range names {
		switch {
		case !valid.MatchString(name):
			return fmt.Errorf("must hold names of environment variables, found %q", name)
		case name == "NOTIFY_SOCKET", name == "CREDENTIALS_DIRECTORY", strings.HasPrefix(name, "LISTEN_"), strings.HasPrefix(name, "WATCHDOG_"), strings.HasPrefix(name, "STEPD_"):
			return fmt.Errorf("must not hold %s, which is the daemon's own", name)
		}
		if !slices.Contains(kept, name) {
			kept = append(kept, name)
		}
	}
	c.PluginEnv = kept
	return nil
}

// ParseSize reads a number of bytes such as 32MiB, 512KiB, 1.5GiB or 0.
func ParseSize(s string) (int64, error) {
	text, factor := s, 1.0
	for _, unit := range []struct {
		name  string
		bytes float64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"B", 1}} {
		if head, ok := strings.CutSuffix(s, unit.name); ok {
			text, factor = strings.TrimSpace(head), unit.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	plain := strings.Trim(text, "0123456789.") == ""
	if err != nil || !plain || factor == 1 && strings.Contains(text, ".") || text == s && n != 0 {
		return 0, fmt.Errorf("must be a size with its unit, such as 512KiB, 32MiB or 1GiB; found %q", s)
	}
	if n*factor > 1<<60 {
		return 0, fmt.Errorf("is too large: %s", s)
	}
	return int64(n * factor), nil
}
