package pluginhost_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/pluginhost"
	"github.com/stepd/stepd/sdk"
)

var _ engine.Controllers = (*pluginhost.Host)(nil)

// TestHandshakeIsTheSDKs compares our copy of the handshake with the SDK's.
func TestHandshakeIsTheSDKs(t *testing.T) {
	key, value, lifeline, version, limit := pluginhost.Handshake()
	if key != sdk.HandshakeCookieKey || value != sdk.HandshakeCookieValue || lifeline != sdk.LifelineEnv ||
		version != sdk.ProtocolVersion || limit != sdk.MaxMessage {
		t.Error("the daemon's handshake differs from the SDK's")
	}
}

// TestMisbehaviourIsDocumented holds the plugin and its README together.
func TestMisbehaviourIsDocumented(t *testing.T) {
	readme, err := os.ReadFile("../../../plugins/misbehave/README.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("misbehave_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(tests)) {
		_, rest, ok := strings.Cut(line, "{mode: \"")
		if !ok {
			continue
		}
		mode, _, _ := strings.Cut(rest, `"`)
		if !strings.Contains(string(readme), "`"+mode+"`") {
			t.Errorf("mode %s is not in the plugin's README", mode)
		}
	}
}
