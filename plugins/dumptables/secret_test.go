package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPasswordThroughTheDaemon dumps with a password that the task refers to as
// a secret, through the daemon and its command line, with a wrong one first. The
// password is nowhere afterwards.
func TestPasswordThroughTheDaemon(t *testing.T) {
	dir := t.TempDir()
	for path, pkg := range map[string]string{"stepd": "daemon/cmd/stepd", "plugins/dumptables": "plugins/dumptables"} {
		runTool(t, "", "go", "build", "-o", filepath.Join(dir, path), "github.com/stepd/stepd/"+pkg)
	}
	secrets, data := filepath.Join(dir, "secrets"), filepath.Join(dir, "data")
	if err := os.Mkdir(secrets, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"plugins", "plugins/dumptables"} { // whatever the umask
		if err := os.Chmod(filepath.Join(dir, path), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	put := func(value string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(secrets, "shop"), []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("another-" + hunter)
	s := newShop(t, "CREATE TABLE city (id int PRIMARY KEY, name text)", "INSERT INTO city VALUES (1, 'Berlin'), (2, 'Paris')")
	s.user(t, "secretive", "SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT, EXECUTE ON %s.*")
	task := filepath.Join(dir, "dump.yaml")
	text := "name: dump\nsteps:\n  - {name: tables, controller: dumptables, retry: {attempts: 1}, settings: {dsn: '" + s.dsnOf("secretive") + "', password: {secret: shop}, target: out}}\n"
	if err := os.WriteFile(task, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	var said bytes.Buffer
	serve := exec.Command(filepath.Join(dir, "stepd"), "serve", "--data", data, "--socket", filepath.Join(dir, "run", "s"), "--plugin-dir", filepath.Join(dir, "plugins"))
	serve.Env = append(os.Environ(), "STEPD_CONFIG=", "STEPD_SECRET_DIRS="+secrets, "STEPD_RUN_LOG=detailed")
	serve.Stdout, serve.Stderr = &said, &said
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- serve.Wait() }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		_ = serve.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			t.Errorf("the daemon ended with %v\n%s", err, said.String())
		}
	}
	defer stop()
	stepd := func(args ...string) (int, string) {
		t.Helper()
		cmd := exec.Command(filepath.Join(dir, "stepd"), args...)
		cmd.Env = append(os.Environ(), "STEPD_SOCKET="+filepath.Join(dir, "run", "s"), "NO_COLOR=1")
		out, _ := cmd.CombinedOutput() // the code says how it went
		said := string(out)
		if strings.Contains(said, "hunter") {
			t.Errorf("stepd %v shows it: %s", args, said)
		}
		return cmd.ProcessState.ExitCode(), said
	}
	deadline := time.Now().Add(2 * time.Minute)
	for tick := time.Tick(20 * time.Millisecond); ; <-tick {
		if code, out := stepd("status"); code == 0 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the daemon does not answer: %s", out)
		}
	}
	if code, out := stepd("apply", task); code != 0 {
		t.Fatalf("apply: %s", out)
	}
	if code, out := stepd("run", "dump", "--follow"); code != 6 || !strings.Contains(out, "Access denied") {
		t.Errorf("with a wrong password: %d, %s", code, out)
	}
	put(hunter) // nobody need restart anything
	if code, out := stepd("run", "dump", "--follow"); code != 0 {
		t.Errorf("with the right password: %d, %s", code, out)
	}
	for _, args := range [][]string{{"logs", "dump"}, {"plugins"}, {"secrets"}, {"audit"}, {"export"}} {
		if code, out := stepd(args...); code != 0 {
			t.Logf("stepd %v: %d, %s", args, code, out)
		}
	}
	stop()
	if dumped := dumpText(t, filepath.Join(dir, "out")); !strings.Contains(dumped, "Berlin") {
		t.Errorf("the dump: %s", dumped)
	}
	for _, root := range []string{data, filepath.Join(dir, "out")} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			raw, err := os.ReadFile(path)
			if bytes.Contains(raw, []byte("hunter")) {
				t.Errorf("%s has the password", path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(said.String(), "hunter") {
		t.Errorf("the daemon says it: %s", said.String())
	}
}
