package config

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func environ(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stepd.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func defaults() Config {
	return Config{
		DataDir: "/var/lib/stepd", Socket: "/run/stepd/stepd.sock",
		PluginDirs: []string{"/usr/lib/stepd/plugins", "/usr/local/lib/stepd/plugins"},
		MaxRuns:    4, LogLevel: slog.LevelInfo, LogFormat: "text", BallastSize: 32 << 20, KeepRuns: 100, Grace: 10 * time.Second,
		Timezone: machineZone(environ(), "/etc"), StuckAfter: 15 * time.Minute,
		RunLog: "simple", LogSize: 64 << 20, AuditSize: 64 << 20, SecretDirs: []string{"/etc/stepd/secrets"},
	}
}

func TestDefaults(t *testing.T) {
	for _, c := range []struct {
		name            string
		root            bool
		env             []string
		dataDir, socket string
		secrets         []string
	}{
		{"root", true, []string{"HOME", "/root", "XDG_RUNTIME_DIR", "/run/user/0", "XDG_STATE_HOME", "/x"}, "/var/lib/stepd", "/run/stepd/stepd.sock", []string{"/etc/stepd/secrets"}},
		{"user", false, []string{"HOME", "/home/a", "XDG_RUNTIME_DIR", "/run/user/7", "XDG_STATE_HOME", "/state", "XDG_CONFIG_HOME", "/conf"}, "/state/stepd", "/run/user/7/stepd/stepd.sock", []string{"/conf/stepd/secrets"}},
		{"user without XDG", false, []string{"HOME", "/home/a"}, "/home/a/.local/state/stepd", "/home/a/.local/state/stepd/stepd.sock", []string{"/home/a/.config/stepd/secrets"}},
		{"relative XDG is no XDG", false, []string{"HOME", "/home/a", "XDG_RUNTIME_DIR", "run", "XDG_STATE_HOME", "state"}, "/home/a/.local/state/stepd", "/home/a/.local/state/stepd/stepd.sock", []string{"/home/a/.config/stepd/secrets"}},
		{"socket follows data_dir", false, []string{"STEPD_DATA_DIR", "/d"}, "/d", "/d/stepd.sock", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := load("", environ(c.env...), c.root, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := defaults()
			want.DataDir, want.Socket, want.SecretDirs = c.dataDir, c.socket, c.secrets
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := load("", environ(), false, nil); err == nil || !strings.Contains(err.Error(), "set STEPD_DATA_DIR") {
		t.Errorf("without HOME: %v", err)
	}
}

func TestFileSetsEverything(t *testing.T) {
	path := write(t, `# all of it
data_dir: ./data
socket: run/stepd.sock
socket_group: 0042
plugin_dirs: [plugins, /opt/plugins/, plugins]
plugin_checksums:
  dumptables: `+strings.ToUpper(sum)+`
plugin_env: [HTTP_PROXY, TZ]
max_runs: 8
log_level: debug
log_format: json
ballast_size: 1.5GiB
keep_runs: 0
keep_days: 30
grace: 1m
timezone: Europe/Berlin
controller_limits: {dumptables: 1, copyfiles/verify: 2, "büro/*": 3}
keep_bytes: 10GiB
run_log: detailed
log_size: 2MiB
stuck_after: 1h
admin_groups: [wheel, "27", wheel]
runner_groups: [shop]
reader_groups: [adm]
secrets:
  shop.password: /etc/shop//pw
secret_dirs: [secrets, /run/secrets]
audit_size: 1MiB
`)
	got, err := load(path, environ(), true, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	want := Config{
		DataDir: filepath.Join(dir, "data"), Socket: filepath.Join(dir, "run/stepd.sock"), SocketGroup: "0042",
		PluginDirs: []string{filepath.Join(dir, "plugins"), "/opt/plugins"}, PluginChecksums: map[string]string{"dumptables": sum},
		PluginEnv: []string{"HTTP_PROXY", "TZ"}, MaxRuns: 8, LogLevel: slog.LevelDebug, LogFormat: "json",
		BallastSize: 3 << 29, KeepRuns: 0, KeepDays: 30, Grace: time.Minute, Timezone: "Europe/Berlin",
		ControllerLimits: map[string]int{"dumptables": 1, "copyfiles/verify": 2, "büro/*": 3}, KeepBytes: 10 << 30,
		RunLog: "detailed", LogSize: 2 << 20, StuckAfter: time.Hour, AuditSize: 1 << 20,
		AdminGroups: []string{"wheel", "27"}, RunnerGroups: []string{"shop"}, ReaderGroups: []string{"adm"},
		Secrets: map[string]string{"shop.password": "/etc/shop/pw"}, SecretDirs: []string{filepath.Join(dir, "secrets"), "/run/secrets"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// An empty list is an answer: there are no such directories.
func TestNoSecretDirs(t *testing.T) {
	got, err := load(write(t, "secret_dirs: []\n"), environ(), true, nil)
	if err != nil || len(got.SecretDirs) != 0 {
		t.Errorf("got %q, %v", got.SecretDirs, err)
	}
}

func TestFlagOverEnvironmentOverFile(t *testing.T) {
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, "max_runs: 1\nkeep_runs: 1\nkeep_days: 1\nplugin_dirs: [/f]\n")
	env := environ("STEPD_KEEP_RUNS", "2", "STEPD_KEEP_DAYS", "2", "STEPD_PLUGIN_DIRS", "a:/b", "STEPD_PLUGIN_ENV", "A, B", "STEPD_PLUGIN_CHECKSUMS", "x="+sum+",y="+sum, "STEPD_LOG_LEVEL", "",
		"STEPD_SECRETS", "a=/a,b=/b", "STEPD_ADMIN_GROUPS", "x, y", "STEPD_CONTROLLER_LIMITS", "a/*=2")
	got, err := load(path, env, true, []Flag{{"keep_days", "3"}, {"data_dir", "d"}})
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.MaxRuns, want.KeepRuns, want.KeepDays = 1, 2, 3
	want.DataDir = filepath.Join(cwd, "d")
	want.PluginDirs = []string{filepath.Join(cwd, "a"), "/b"}
	want.PluginEnv = []string{"A", "B"}
	want.PluginChecksums = map[string]string{"x": sum, "y": sum}
	want.Secrets, want.AdminGroups, want.ControllerLimits = map[string]string{"a": "/a", "b": "/b"}, []string{"x", "y"}, map[string]int{"a/*": 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFaultsOfTheFile(t *testing.T) {
	for text, want := range map[string][]string{
		"":           nil,
		"# nothing":  nil,
		"\ufeff{}\n": nil,
		"max_runs: 0\nkeep_days: x\nlog_level: loud\n": {
			`:1:11: max_runs must be a whole number from 1 to 1024, found "0"`,
			`:2:12: keep_days must be a whole number from 0 to 36500, found "x"`,
			`:3:12: log_level must be one of: debug, info, warn, error; found "loud"`},
		"timezone: Berlin, Germany": {`:1:11: timezone must be the name of a time zone, such as Europe/Berlin or UTC; found "Berlin, Germany"`},
		"grace: 3":                  {`:1:8: grace must be a duration such as 10s or 1m, found "3"`},
		"grace: 0s":                 {`:1:8: grace must be from 1s to 10m, found 0s`},
		"ballast_size: 32":          {`:1:15: ballast_size must be a size with its unit, such as 512KiB, 32MiB or 1GiB; found "32"`},
		"data_dir: ~/x\nsocket: ''\n": {
			`:1:11: data_dir must be a path without '~', found "~/x": write the directory itself`,
			`:2:9: socket must not be empty`},
		"data_dir:\n":              {`:1:1: data_dir has no value: give it one or remove the line`},
		"max_runs: 1\nmax_runs: 2": {`:2:1: the key "max_runs" is given twice: first at line 1`},
		"plugin_dirs: /x":          {`:1:14: plugin_dirs must be a list of directories, found "/x"`},
		"plugin_dirs: [/x, ]\nplugin_env: [a b]\n": {
			`:2:13: plugin_env must hold names of environment variables, found "a b"`},
		"plugin_env: [NOTIFY_SOCKET]":          {`:1:13: plugin_env must not hold NOTIFY_SOCKET, which is the daemon's own`},
		"plugin_checksums: {a: beef}":          {`:1:19: plugin_checksums must give each plugin a SHA-256 of 64 hexadecimal digits, found "beef" for a`},
		"plugin_checksums: {a/b: " + sum + "}": {`:1:19: plugin_checksums must name plugins by their file name alone, found "a/b"`},
		"socket_group: a b":                    {`:1:15: socket_group must be the name or the number of a group, found "a b"`},
		"controller_limits: {a: 0}":            {`:1:20: controller_limits must give each controller a whole number from 1 to 1024, found "0" for a`},
		"controller_limits: {'*': 1}":          {`:1:20: controller_limits must name controllers as steps do, or PLUGIN/* for all of a plugin; found "*"`},
		"run_log: loud":                        {`:1:10: run_log must be one of: simple, detailed; found "loud"`},
		"log_size: 1023KiB":                    {`:1:11: log_size must be at least 1MiB, found 1023KiB`},
		"audit_size: 2000TiB":                  {`:1:13: audit_size must be at most 1024GiB, found 2000TiB`},
		"stuck_after: 1ms":                     {`:1:14: stuck_after must be 0 or from 1s to 8760h, found 1ms`},
		"admin_groups: [a b]":                  {`:1:15: admin_groups must hold the names or numbers of groups, found "a b"`},
		"admin_groups: wheel":                  {`:1:15: admin_groups must be a list of groups, found "wheel"`},
		"secrets: {a: b}":                      {`:1:10: secrets must give each secret the absolute path of its file, found "b" for a`},
		"secrets: {../a: /b}":                  {`:1:10: secrets must have names of letters, digits, '.', '_' and '-' that begin with a letter or digit, at most 128 long; found "../a"`},
		"secret_dirs: [~/x]":                   {`:1:14: secret_dirs must be a path without '~', found "~/x": write the directory itself`},
		"- a":                                  {`:1:1: a configuration is made of lines 'key: value', found a list`},
		"max_runs: 1\n---\nmax_runs: 2\n":      {`:2:1: a second document starts here: a configuration is one`},
		"max_runs: [1":                         {`:1:11: this is not valid YAML: did not find expected ',' or ']' while parsing a flow sequence`},
		"socket: /" + strings.Repeat("x", 107): {"socket: the path /" + strings.Repeat("x", 107) + " is 108 bytes long, and a unix socket has at most 107: set a shorter one"},
	} {
		path := write(t, text)
		_, err := load(path, environ(), true, nil)
		var got []string
		if e, ok := errors.AsType[*Error](err); ok {
			for _, f := range e.Faults {
				got = append(got, strings.TrimPrefix(f, path))
			}
		} else if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
	_, err := load(write(t, "maxruns: 3\n"), environ(), true, nil)
	if err == nil || !strings.Contains(err.Error(), `:1:1: unknown key "maxruns": known are data_dir, socket,`) {
		t.Errorf("unknown key: %v", err)
	}
}

func TestFaultsElsewhere(t *testing.T) {
	_, err := load(write(t, "max_runs: x\n"), environ("STEPD_KEEP_RUNS", "-1", "STEPD_PLUGIN_CHECKSUMS", "x"), true, []Flag{{"log_format", "xml"}, {"nope", "1"}})
	e, ok := errors.AsType[*Error](err)
	if !ok || len(e.Faults) != 5 {
		t.Fatalf("got %v", err)
	}
	for i, want := range []string{
		"stepd.yaml:1:11: max_runs must be", "STEPD_PLUGIN_CHECKSUMS: plugin_checksums must be NAME=VALUE",
		"STEPD_KEEP_RUNS: keep_runs must be a whole number", "--log-format: must be one of: text, json", `there is no setting "nope"`} {
		if !strings.Contains(e.Faults[i], want) {
			t.Errorf("fault %d is %q, want %q", i, e.Faults[i], want)
		}
	}
	if _, err := load(filepath.Join(t.TempDir(), "none.yaml"), environ(), true, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that was named and is not there: %v", err)
	}
	if _, err := load(write(t, strings.Repeat("#", maxFile+1)), environ(), true, nil); err == nil {
		t.Error("a huge file was read")
	}
}

func TestFind(t *testing.T) {
	home := t.TempDir()
	env := environ("HOME", home)
	if got := find(env, false); got != "" {
		t.Errorf("found %q where there is none", got)
	}
	path := filepath.Join(home, ".config/stepd/stepd.yaml")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := find(env, false); got != path {
		t.Errorf("got %q, want %q", got, path)
	}
	if got := find(environ(), false); got != "" {
		t.Errorf("without HOME: %q", got)
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "0B": 0, "512B": 512, "1KiB": 1024, "32MiB": 32 << 20, "32 MiB": 32 << 20, "1.5GiB": 3 << 29, "1TiB": 1 << 40} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1", "MiB", "-1MiB", "1MB", "1M", "1e3MiB", "infMiB", "0x1MiB", "1.5B", "9999999999TiB", "1 2MiB", "."} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}

// Help and documentation are made from this list, so it must be whole, and the
// defaults that it states must be the ones that hold.
func TestSettingsAreDocumented(t *testing.T) {
	got, err := load("", environ(), true, nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, s := range Settings() {
		if s.Key == "" || s.Default == "" || s.Value == "" || !strings.HasSuffix(s.Doc, ".") || seen[s.Key] {
			t.Errorf("incomplete: %+v", s)
		}
		seen[s.Key] = true
		if s.Env != "STEPD_"+strings.ToUpper(s.Key) || s.Flag != strings.ReplaceAll(s.Key, "_", "-") {
			t.Errorf("names of %s: %s, %s", s.Key, s.Env, s.Flag)
		}
		value := s.Default
		switch s.Key {
		case "data_dir", "socket":
			value, _, _ = strings.Cut(s.Default, " ")
		case "plugin_dirs":
			value = strings.ReplaceAll(s.Default, ", ", ":")
		case "secret_dirs":
			value, _, _ = strings.Cut(s.Default, " ")
		case "socket_group", "plugin_checksums", "plugin_env", "timezone", "controller_limits", "admin_groups", "runner_groups", "reader_groups", "secrets":
			continue
		}
		again, err := load("", environ(), true, []Flag{{s.Key, value}})
		if err != nil {
			t.Errorf("%s: its own default is refused: %v", s.Key, err)
		}
		if diff := cmp.Diff(got, again); diff != "" {
			t.Errorf("%s: the default %q is not what holds: %s", s.Key, s.Default, diff)
		}
	}
	if len(seen) != 25 {
		t.Errorf("%d settings", len(seen))
	}
}

func FuzzFile(f *testing.F) {
	for _, seed := range []string{"max_runs: 1\n", "plugin_dirs: &a [x, *a]\n", "? [a]\n: b\n", "<<: {max_runs: 1}\n", "plugin_checksums: {? [a] : b}\n", "- \x00", "---\n---\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "c")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := load(path, environ(), true, nil); err != nil && err.Error() == "" {
			t.Error("an error without a word")
		}
	})
}
