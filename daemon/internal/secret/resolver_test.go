package secret

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// put makes a file with exactly these rights, whatever the umask.
func put(t *testing.T, dir, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func safeDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestWhereValuesAreFound(t *testing.T) {
	named, credentials, first, second := safeDir(t), safeDir(t), safeDir(t), safeDir(t)
	put(t, named, "pw", "from its own file\n", 0o600)
	put(t, credentials, "db", "from systemd", 0o440) // its access control list shows like this
	put(t, first, "db", "not this one", 0o600)
	put(t, first, "mail", "from the first\r\n", 0o400)
	put(t, second, "mail", "not this one", 0o600)
	put(t, second, "named", "not this one", 0o600)
	put(t, second, "two.lines_and-one", "a\nline\n\n", 0o600)
	r := New(Config{Files: map[string]string{"named": filepath.Join(named, "pw")}, Credentials: credentials,
		Dirs: []string{first, filepath.Join(first, "missing"), second}})
	for name, want := range map[string][2]string{
		"named":             {"from its own file", "file " + filepath.Join(named, "pw")},
		"db":                {"from systemd", "credential"},
		"mail":              {"from the first", "directory " + first},
		"two.lines_and-one": {"a\nline\n", "directory " + second},
	} {
		if got, err := r.Value(name); err != nil || got != want[0] {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if got := r.Look(name); got.From != want[1] || got.Err != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	put(t, first, "mail", "it was changed", 0o600)
	if got, err := r.Value("mail"); err != nil || got != "it was changed" {
		t.Errorf("after a change: %q, %v", got, err)
	}
	names, warnings := r.Names()
	if want := []string{"db", "mail", "named", "two.lines_and-one"}; !slices.Equal(names, want) || len(warnings) > 0 {
		t.Errorf("names %q, warnings %q", names, warnings)
	}
}

func TestValuesThatAreRefused(t *testing.T) {
	dir := safeDir(t)
	put(t, dir, "ok", "all is well", 0o600)
	if err := os.Symlink(filepath.Join(dir, "ok"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{
		"link": "is a symbolic link", "fifo": "is no regular file", "dir": "is no regular file",
		"none": "there is no such secret in " + dir + ": put its value into a file of that name there, mode 0600",
		"":     "the name of a secret is empty", "../ok": "must be made of letters", ".ok": "must be made of letters",
		"a/b": "must be made of letters", strings.Repeat("x", 129): "at most 128",
	}
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"others-read": {"leaky-value", 0o604, "others can read or write " + filepath.Join(dir, "others-read") + " (mode 0604): run chmod 600"},
		"group-reads": {"leaky-value", 0o640, "others can read or write"},
		"group-write": {"leaky-value", 0o620, "others can read or write"},
		"executable":  {"leaky-value", 0o601, "others can read or write"},
		"short":       {"abc\n", 0o600, "fewer than 4 bytes"},
		"empty":       {"\n", 0o600, "is empty"},
		"huge":        {strings.Repeat("v", MaxValue+1), 0o600, "more than 64 KiB"},
		"binary":      {"leaky-value\xff", 0o600, "is not text"},
		"nul":         {"leaky-value\x00", 0o600, "is not text"},
	} {
		put(t, dir, name, c.text, c.mode)
		cases[name] = c.want
	}
	if os.Geteuid() == 0 { // who else can give files away
		if err := os.Chown(put(t, dir, "other", "leaky-value", 0o600), 4711, 0); err != nil {
			t.Fatal(err)
		}
		cases["other"] = "belongs to uid 4711"
	}
	r := New(Config{Dirs: []string{dir}})
	for name, want := range cases {
		got, err := r.Value(name)
		if err == nil || got != "" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "leaky") {
			t.Errorf("%.20s: %q, %v; want %q", name, got, err, want)
		}
		if found := r.Look(name); found.Err == nil {
			t.Errorf("%.20s: Look finds nothing wrong", name)
		}
	}
	if _, err := r.Value("none"); !errors.Is(err, ErrNone) {
		t.Errorf("none: %v", err)
	}
	put(t, dir, "largest", strings.Repeat("v", MaxValue)+"\r\n", 0o600)
	if v, err := r.Value("largest"); err != nil || len(v) != MaxValue {
		t.Errorf("the largest one: %d bytes, %v", len(v), err)
	}
}

// What is unsafe is not passed over: the next directory may hold an older value.
func TestAnUnsafeFileHidesNone(t *testing.T) {
	first, second := safeDir(t), safeDir(t)
	put(t, first, "db", "leaky-value", 0o644)
	put(t, second, "db", "another value", 0o600)
	if got, err := New(Config{Dirs: []string{first, second}}).Value("db"); err == nil {
		t.Errorf("got %q", got)
	}
	r := New(Config{Files: map[string]string{"db": filepath.Join(first, "gone")}, Dirs: []string{second}})
	if _, err := r.Value("db"); err == nil || !strings.Contains(err.Error(), "there is no file "+filepath.Join(first, "gone")) {
		t.Errorf("a file that was named and is not there: %v", err)
	}
}

func TestDirectoriesThatOthersMayWriteTo(t *testing.T) {
	dir := safeDir(t)
	put(t, dir, "db", "a good value", 0o600)
	r := New(Config{Dirs: []string{dir}})
	for mode, want := range map[os.FileMode]string{0o757: "others can write to the directory", 0o775: "others can write to the directory", 0o711: "", os.ModeSticky | 0o777: ""} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Value("db"); (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 4711, -1); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Value("db"); err == nil || !strings.Contains(err.Error(), "belongs to uid 4711") {
			t.Errorf("another's directory: %v", err)
		}
	}
}

func TestNamesWarn(t *testing.T) {
	dir := safeDir(t)
	put(t, dir, "a b", "x", 0o600)
	put(t, dir, ".hidden", "x", 0o600)
	put(t, dir, "good", "good value", 0o644)
	file := put(t, dir, "file", "x", 0o600)
	names, warnings := New(Config{Dirs: []string{dir, file}}).Names()
	if !slices.Equal(names, []string{"file", "good"}) || len(warnings) != 2 ||
		!strings.Contains(warnings[0], `the name "a b" of a secret`) || !strings.Contains(warnings[1], file+" cannot be read") {
		t.Errorf("names %q, warnings %q", names, warnings)
	}
}
