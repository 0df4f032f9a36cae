package pluginhost

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/go-plugin/runner"
)

// launcher lets go-plugin start a child without letting it near the child's
// streams and its end.
type launcher struct {
	spec childSpec

	mu     sync.Mutex
	child  *child
	killed bool
}

var _ runner.Runner = (*launcher)(nil)

// build completes the environment: the allowed part of ours first, then what
// go-plugin wants to tell the plugin, then what no plugin may lack.
func (l *launcher) build(cmd *exec.Cmd) {
	l.spec.env = append(append(l.spec.env, cmd.Env...),
		// The last one counts: our directory's name is shorter than go-plugin's.
		"PLUGIN_UNIX_SOCKET_DIR="+l.spec.socketDir,
		lifelineEnv+"=0",
		instanceEnv+"="+l.spec.instance)
}

func (l *launcher) Start(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.killed {
		return errors.New("ended before it was started")
	}
	c, err := startChild(l.spec)
	l.child = c
	return err
}

func (l *launcher) started() *child {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.child
}

func (l *launcher) Wait(context.Context) error {
	c := l.started()
	<-c.dead
	if c.clean {
		return nil
	}
	return errors.New(c.status)
}

// Kill is final: a start that comes after it fails.
func (l *launcher) Kill(context.Context) error {
	l.mu.Lock()
	l.killed = true
	c := l.child
	l.mu.Unlock()
	if c != nil {
		c.kill()
	}
	return nil
}

func (l *launcher) Stdout() io.ReadCloser { return &handshakeReader{child: l.started()} }

// Stderr is empty for go-plugin: it would parse it, and panics on some lines.
func (l *launcher) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

func (l *launcher) Name() string                    { return l.spec.path }
func (l *launcher) Diagnose(context.Context) string { return "" }

func (l *launcher) ID() string {
	if c := l.started(); c != nil {
		return strconv.Itoa(c.pid)
	}
	return ""
}

func (l *launcher) PluginToHost(network, addr string) (string, string, error) {
	if err := checkSocket(l.spec.plugin, network, addr, l.spec.socketDir); err != nil {
		return "", "", err
	}
	return network, addr, nil
}

// HostToPlugin is for brokered connections, which there are none of.
func (l *launcher) HostToPlugin(string, string) (string, string, error) {
	return "", "", errors.New("the daemon serves no sockets to plugins")
}
