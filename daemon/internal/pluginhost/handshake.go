package pluginhost

import (
	"crypto/x509"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	goplugin "github.com/hashicorp/go-plugin"
)

// What the daemon and a plugin agree on beside the .proto. The SDK has its
// own copy, for the two must not import each other; a test compares them.
const (
	cookieKey       = "STEPD_PLUGIN"
	cookieValue     = "one step at a time"
	protocolVersion = 1
	maxMessage      = 4 << 20
	lifelineEnv     = "STEPD_LIFELINE"
	instanceEnv     = "STEPD_INSTANCE"

	maxHandshake = 8 << 10 // bytes of the line; a certificate takes about 1 KiB
)

// checkHandshake judges the first line of a plugin's standard output before
// go-plugin sees it: go-plugin trusts the address, and panics on some
// certificates.
func checkHandshake(plugin, line, socketDir string) error {
	shown := strconv.Quote(cut(line, 80))
	parts := strings.Split(strings.TrimSpace(line), "|")
	if len(parts) < 5 {
		return refuse(plugin, ErrHandshake, "wrote %s to its standard output where the handshake belongs: a plugin must print nothing before it serves", shown)
	}
	if parts[0] != strconv.Itoa(goplugin.CoreProtocolVersion) {
		return refuse(plugin, ErrProtocol, "speaks version %s of go-plugin's protocol, the daemon speaks %d: build it with a current SDK", strconv.Quote(cut(parts[0], 20)), goplugin.CoreProtocolVersion)
	}
	if parts[1] != strconv.Itoa(protocolVersion) {
		return refuse(plugin, ErrProtocol, "speaks version %s of stepd's protocol, the daemon speaks %d: build it with the SDK of this release", strconv.Quote(cut(parts[1], 20)), protocolVersion)
	}
	if parts[4] != string(goplugin.ProtocolGRPC) {
		return refuse(plugin, ErrProtocol, "speaks %s, the daemon speaks grpc only: build it with stepd's SDK", strconv.Quote(cut(parts[4], 20)))
	}
	if err := checkSocket(plugin, parts[2], parts[3], socketDir); err != nil {
		return err
	}
	if len(parts) < 6 || parts[5] == "" {
		return refuse(plugin, ErrHandshake, "offers no certificate: it must serve with go-plugin's automatic mutual TLS, as the SDK does")
	}
	der, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err == nil {
		_, err = x509.ParseCertificate(der)
	}
	if err != nil {
		return refuse(plugin, ErrHandshake, "offers an unusable certificate: %s", cut(err.Error(), 200))
	}
	return nil
}

// checkSocket accepts a unix socket that lies directly in the directory that
// was made for this very process, and nothing else.
func checkSocket(plugin, network, addr, dir string) error {
	shown := strconv.Quote(cut(network+"|"+addr, 120))
	if network != "unix" || filepath.Dir(addr) != dir || filepath.Clean(addr) != addr {
		return refuse(plugin, ErrHandshake, "wants to be called at %s: only a unix socket in its own directory %s (PLUGIN_UNIX_SOCKET_DIR) is accepted", shown, dir)
	}
	info, err := os.Lstat(addr)
	if err != nil || info.Mode().Type() != fs.ModeSocket || !trustedOwner(info) {
		return refuse(plugin, ErrHandshake, "wants to be called at %s, which is no socket of its own", shown)
	}
	return nil
}
