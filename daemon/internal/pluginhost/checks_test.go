package pluginhost

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepd/stepd/daemon/internal/task"
)

func TestUnsafeFilesAreRefused(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(t *testing.T, dir, path string)
		sum   string
		kind  error
		text  string
	}{
		{"fine", func(*testing.T, string, string) {}, "", nil, ""},
		{"writable by group", func(t *testing.T, _, path string) { must(t, os.Chmod(path, 0o775)) }, "", ErrWritable, "chmod go-w"},
		{"writable by all", func(t *testing.T, _, path string) { must(t, os.Chmod(path, 0o757)) }, "", ErrWritable, "0757"},
		{"not executable", func(t *testing.T, _, path string) { must(t, os.Chmod(path, 0o644)) }, "", ErrNotExecutable, "chmod +x"},
		{"foreign owner", func(t *testing.T, _, path string) { must(t, os.Chown(path, 12345, -1)) }, "", ErrUnsafeOwner, "user 12345"},
		{"foreign directory", func(t *testing.T, dir, _ string) { must(t, os.Chown(dir, 12345, -1)) }, "", ErrUnsafeDir, "user 12345"},
		{"writable directory", func(t *testing.T, dir, _ string) { must(t, os.Chmod(dir, 0o777)) }, "", ErrUnsafeDir, "0777"},
		{"gone", func(t *testing.T, _, path string) { must(t, os.Remove(path)) }, "", ErrNotFound, "does not exist"},
		{"fifo", func(t *testing.T, _, path string) {
			must(t, os.Remove(path))
			must(t, unix.Mkfifo(path, 0o755))
		}, "", ErrNotRegular, "not a regular file"},
		{"directory", func(t *testing.T, _, path string) {
			must(t, os.Remove(path))
			must(t, os.Mkdir(path, 0o755))
		}, "", ErrNotRegular, "not a regular file"},
		{"link to an unsafe place", func(t *testing.T, _, path string) {
			elsewhere := t.TempDir()
			must(t, os.Rename(path, filepath.Join(elsewhere, "p")))
			must(t, os.Symlink(filepath.Join(elsewhere, "p"), path))
			must(t, os.Chmod(elsewhere, 0o777))
		}, "", ErrUnsafeDir, "0777"},
		{"link to a safe place", func(t *testing.T, _, path string) {
			elsewhere := t.TempDir()
			must(t, os.Rename(path, filepath.Join(elsewhere, "p")))
			must(t, os.Symlink(filepath.Join(elsewhere, "p"), path))
		}, "", nil, ""},
		{"wrong checksum", func(*testing.T, string, string) {}, strings.Repeat("ab", 32), ErrChecksum, "is pinned"},
		{"no checksum at all", func(*testing.T, string, string) {}, "abc", ErrChecksum, "no SHA-256"},
		{"right checksum", func(*testing.T, string, string) {}, fmt.Sprintf("%x", sha256.Sum256([]byte("#!/bin/true\n"))), nil, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "p")
			writeFile(t, path, "#!/bin/true\n", 0o755)
			test.spoil(t, dir, path)
			e, err := checkExecutable("p", path, test.sum)
			if !errors.Is(err, test.kind) {
				t.Fatalf("error %v, want %v", err, test.kind)
			}
			if err == nil {
				e.close()
			} else if !strings.Contains(err.Error(), test.text) || !strings.HasPrefix(err.Error(), "plugin p: ") {
				t.Errorf("text %q", err)
			}
		})
	}
}

// TestRefusedPluginsHarmNobody goes through the host, several starts in a row:
// a checksum that is right must stay right.
func TestRefusedPluginsHarmNobody(t *testing.T) {
	raw, err := os.ReadFile(builtPlugin)
	must(t, err)
	sum := fmt.Sprintf("%x", sha256.Sum256(raw))
	r := newRig(t, func(c *Config) {
		c.Checksums = map[string]string{"pinned": sum, "swapped": strings.Repeat("00", 32)}
	}, "pinned", "swapped", "healthy")
	writeFile(t, filepath.Join(r.plugins, "writable"), "#!/bin/true\n", 0o777)
	writeFile(t, filepath.Join(r.plugins, "noexec"), "#!/bin/true\n", 0o644)
	writeFile(t, filepath.Join(r.plugins, "nointerpreter"), "#!/no/such/interpreter\n", 0o755)
	writeFile(t, filepath.Join(r.plugins, "noformat"), "just text\n", 0o755)
	writeFile(t, filepath.Join(r.plugins, "script"), "#!/bin/sh\necho hello\n", 0o755)
	r.Scan()
	for range 3 {
		got, _ := r.do("pinned", "crash", 0)
		wantOutcome(t, got, task.OutcomeNoResult, "exit status 3")
	}
	for name, kind := range map[string]error{"swapped": ErrChecksum, "writable": ErrWritable, "noexec": ErrNotExecutable,
		"nointerpreter": ErrStart, "noformat": ErrStart, "script": ErrHandshake} {
		for range 2 {
			if _, err := r.Lookup(t.Context(), name); !errors.Is(err, kind) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if info := r.info(name); info.State != StateRefused || info.Error == "" {
			t.Errorf("%s is listed as %s %q", name, info.State, info.Error)
		}
	}
	// A file that is refused does not open the circuit: mended, it runs.
	for range 10 {
		_, _ = r.Lookup(t.Context(), "noexec")
	}
	must(t, os.Remove(filepath.Join(r.plugins, "noexec")))
	r.install("noexec")
	if _, err := r.Lookup(t.Context(), "noexec"); err != nil {
		t.Error(err)
	}
	r.wantHealthy()
}

func TestHandshakeLines(t *testing.T) {
	dir := t.TempDir()
	for line, kind := range map[string]error{
		"":                                 ErrHandshake,
		"hello":                            ErrHandshake,
		"1|1|unix|" + dir + "/s":           ErrHandshake, // net/rpc of old
		"x|1|unix|" + dir + "/s|grpc|A":    ErrProtocol,
		"1|2|unix|" + dir + "/s|grpc|A":    ErrProtocol,
		"1|1|unix|" + dir + "/s|netrpc|A":  ErrProtocol,
		"1|1|tcp|127.0.0.1:1|grpc|A":       ErrHandshake,
		"1|1|unix|" + dir + "/../s|grpc|A": ErrHandshake,
		"1|1|unix|" + dir + "/a/s|grpc|A":  ErrHandshake,
		"1|1|unix|" + dir + "/none|grpc|A": ErrHandshake,
		"1|1|unix|s|grpc|A":                ErrHandshake,
		"1|1|unix|@abstract|grpc|A":        ErrHandshake,
	} {
		if err := checkHandshake("p", line, dir); !errors.Is(err, kind) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	dir := t.TempDir()
	for name, cfg := range map[string]Config{
		"no run directory": {Marker: "m"},
		"long":             {Marker: "m", RunDir: "/" + strings.Repeat("x", 100)},
		"no marker":        {RunDir: dir},
		"marker":           {RunDir: dir, Marker: "a#b"},
	} {
		if h, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
			_ = h.Close(t.Context())
		}
	}
	h, err := New(Config{RunDir: filepath.Join(dir, "new"), Marker: "m", Dirs: []string{"/does/not/exist", dir}})
	must(t, err)
	must(t, h.Close(t.Context()))
	if info, err := os.Stat(filepath.Join(dir, "new")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("run directory: %v, %v", info, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
