package sdk_test

import (
	"bufio"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stepd/stepd/sdk"
)

// build makes a real plugin that the SDK serves.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "noop")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../plugins/noop").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// start runs the plugin as the daemon does, until it has shaken hands.
func start(t *testing.T, path string) (cmd *exec.Cmd, lifeline io.Closer) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), path)
	cmd.Env = []string{sdk.HandshakeCookieKey + "=" + sdk.HandshakeCookieValue, sdk.LifelineEnv + "=0",
		"PLUGIN_UNIX_SOCKET_DIR=" + t.TempDir(), "PLUGIN_PROTOCOL_VERSIONS=1"}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "1|1|unix|") {
		t.Fatalf("the handshake is %q (%v)", line, err)
	}
	return cmd, stdin
}

func TestPluginEndsWithItsDaemon(t *testing.T) {
	cmd, lifeline := start(t, build(t))
	lifeline.Close() // as the kernel does when the daemon dies
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("it ended with %s, want exit status 3", cmd.ProcessState)
	}
}

func TestPluginEndsOnSIGTERM(t *testing.T) {
	cmd, _ := start(t, build(t))
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestPluginStartedByAPersonSaysWhatItIs(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), build(t)).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "plugin directory") || !strings.Contains(string(out), "noop") {
		t.Errorf("it said %q (%v)", out, err)
	}
}
