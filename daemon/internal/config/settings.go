package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	maxSocketPath = 107 // sun_path, less its final NUL
	maxGrace      = 10 * time.Minute
	maxStuckAfter = 365 * 24 * time.Hour
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
			scalar: func(c *Config, v, _ string) (err error) { c.SocketGroup, err = group(v); return err }},
		{Setting: Setting{Key: "plugin_dirs", Value: "directories", Default: "/usr/lib/stepd/plugins, /usr/local/lib/stepd/plugins",
			Doc: "Where plugins are looked for; of two with one name the first one counts. Separated by ':' in the environment."},
			split: ":", list: directories(func(c *Config) *[]string { return &c.PluginDirs })},
		{Setting: Setting{Key: "plugin_checksums", Value: "NAME: SHA-256", Default: "none",
			Doc: "Checksums that plugins must have, by the name of their file; sha256sum prints them. NAME=SHA-256, separated by ',', in the environment."},
			split: ",", pairs: checksums},
		{Setting: Setting{Key: "plugin_env", Value: "names", Default: "none",
			Doc: "Environment variables that plugins get from the daemon's environment, besides the usual ones such as PATH and LANG. Separated by ',' in the environment."},
			split: ",", list: func(c *Config, values []string, _ string) error { return environment(c, values) }},
		{Setting: Setting{Key: "max_runs", Value: "number", Default: "4", Doc: "How many runs are carried out at once; the others wait their turn."},
			scalar: whole(1, 1024, func(c *Config) *int { return &c.MaxRuns })},
		{Setting: Setting{Key: "controller_limits", Value: "NAME: number", Default: "none",
			Doc: "How many steps of a controller are carried out at once, by its name; PLUGIN/* stands for all of a plugin together. NAME=NUMBER, separated by ',', in the environment."},
			split: ",", pairs: controllerLimits},
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
			scalar: size(0, 16<<30, func(c *Config) *int64 { return &c.BallastSize })},
		{Setting: Setting{Key: "keep_runs", Value: "number", Default: "100", Doc: "How many ended runs of each task are kept, with their logs. 0 keeps all."},
			scalar: whole(0, 1_000_000, func(c *Config) *int { return &c.KeepRuns })},
		{Setting: Setting{Key: "keep_days", Value: "number", Default: "0", Doc: "For how many days ended runs are kept. 0 is no limit."},
			scalar: whole(0, 36_500, func(c *Config) *int { return &c.KeepDays })},
		{Setting: Setting{Key: "keep_bytes", Value: "size", Default: "0",
			Doc: "How much of the disk the logs and directories of all ended runs may take together; the oldest go first. 0 is no limit."},
			scalar: size(0, 1<<60, func(c *Config) *int64 { return &c.KeepBytes })},
		{Setting: Setting{Key: "run_log", Value: "word", Default: "simple",
			Doc: "How much the logs of runs say, of tasks that do not say it themselves: simple or detailed."},
			scalar: func(c *Config, v, _ string) (err error) {
				c.RunLog, err = oneOf(v, LogSimple, LogDetailed)
				return err
			}},
		{Setting: Setting{Key: "log_size", Value: "size", Default: "64MiB",
			Doc: "How large the log of one run may become; beyond that its oldest lines go. At least 1MiB."},
			scalar: size(1<<20, 1<<40, func(c *Config) *int64 { return &c.LogSize })},
		{Setting: Setting{Key: "stuck_after", Value: "duration", Default: "15m",
			Doc: "After how long without a sign of progress a step is shown as stuck, where it does not say so itself. 0 is never."},
			scalar: func(c *Config, v, _ string) error {
				d, err := time.ParseDuration(v)
				if err != nil {
					return fmt.Errorf("must be a duration such as 10m or 1h30m, found %q", v)
				}
				if d != 0 && (d < time.Second || d > maxStuckAfter) {
					return fmt.Errorf("must be 0 or from 1s to 8760h, found %s", v)
				}
				c.StuckAfter = d
				return nil
			}},
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
		{Setting: Setting{Key: "admin_groups", Value: "groups", Default: "none",
			Doc: "Groups whose members may do everything, besides root and the user of the daemon. When none of the three lists of groups names any, whoever reaches the socket may. Separated by ',' in the environment, as the other two."},
			split: ",", list: groups(func(c *Config) *[]string { return &c.AdminGroups })},
		{Setting: Setting{Key: "runner_groups", Value: "groups", Default: "none",
			Doc: "Groups whose members may see everything, and start, cancel, continue and restart runs, except of tasks that name their starters."},
			split: ",", list: groups(func(c *Config) *[]string { return &c.RunnerGroups })},
		{Setting: Setting{Key: "reader_groups", Value: "groups", Default: "none",
			Doc: "Groups whose members may see everything and change nothing. All of these must be able to reach the socket as well: see socket_group."},
			split: ",", list: groups(func(c *Config) *[]string { return &c.ReaderGroups })},
		{Setting: Setting{Key: "secrets", Value: "NAME: file", Default: "none",
			Doc: "Files that hold one secret each, by the name that settings refer to. A file belongs to root or the user of the daemon, who alone may read it. NAME=FILE, separated by ',', in the environment."},
			split: ",", pairs: secrets},
		{Setting: Setting{Key: "secret_dirs", Value: "directories", Default: "/etc/stepd/secrets for root, else $XDG_CONFIG_HOME/stepd/secrets or ~/.config/stepd/secrets",
			Doc: "Where secrets are looked for that secrets does not name and systemd did not hand over as credentials: each is a file of its name. Separated by ':' in the environment."},
			split: ":", list: directories(func(c *Config) *[]string { return &c.SecretDirs })},
		{Setting: Setting{Key: "audit_size", Value: "size", Default: "64MiB",
			Doc: "How much is kept of the log of who changed and started what; its oldest lines go. At least 1MiB."},
			scalar: size(1<<20, 1<<40, func(c *Config) *int64 { return &c.AuditSize })},
	}
	for i := range all {
		all[i].Env = "STEPD_" + strings.ToUpper(all[i].Key)
		all[i].Flag = strings.ReplaceAll(all[i].Key, "_", "-")
	}
	return all
}
