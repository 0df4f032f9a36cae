package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	hclog "github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"

	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

// launch checks the plugin's file, starts it, shakes hands and asks it what
// it has. It takes at most StartTimeout and CallTimeout together, and leaves
// nothing behind when it fails.
func (pl *plugin) launch(ctx context.Context) (_ *process, err error) {
	cfg := &pl.host.cfg
	file, err := checkExecutable(pl.name, pl.file(), cfg.Checksums[pl.name])
	if err != nil {
		return nil, err
	}
	defer file.close()

	seq := pl.host.sequence()
	p := newProcess(pl)
	p.socketDir = filepath.Join(cfg.RunDir, "p-"+seq)
	if err := os.Mkdir(p.socketDir, 0o700); err != nil {
		return nil, refuse(pl.name, ErrStart, "is not started: make its socket directory: %v", err)
	}
	p.pump = newPump(cfg.Redact, p.stderrLine)
	l := &launcher{spec: childSpec{plugin: pl.name, path: file.id.path, exec: file.exec, env: cfg.allowedEnv(),
		instance: cfg.Marker + "#" + pl.name + "#" + seq, socketDir: p.socketDir,
		cgroups: pl.host.cgroups, cgroup: "plugin-" + pl.name + "-" + seq, pump: p.pump}}

	startCtx, cancel := context.WithTimeout(ctx, cfg.StartTimeout)
	defer cancel()
	err = p.connect(startCtx, l)
	p.child = l.started()
	if err == nil && !file.unchanged() {
		err = refuse(pl.name, ErrStart, "is ended again: its file %s was replaced while it was started", file.id.path)
	}
	if err == nil {
		err = p.greet(startCtx)
	}
	if err == nil {
		err = p.describe(ctx, file.id)
	}
	if err != nil {
		_ = l.Kill(ctx)
		if p.child != nil {
			<-p.child.dead
			<-p.child.swept
		}
		p.discard()
		return nil, pl.startError(ctx, startCtx, p, err)
	}
	return p, nil
}

// startError puts the reason first that tells an operator most: what the
// handshake was, that the daemon stops, that time ran out, or how it ended.
func (pl *plugin) startError(ctx, startCtx context.Context, p *process, err error) error {
	var typed *Error
	switch {
	case ctx.Err() != nil:
		return refuseStopping(pl.name)
	case errors.As(err, &typed):
		return err
	case p.child == nil:
		return refuse(pl.name, ErrStart, "could not be started: %v", err)
	case startCtx.Err() != nil:
		return refuse(pl.name, ErrStart, "did not get ready within %v and was ended%s", p.cfg.StartTimeout, p.lastWords())
	case p.child.greetErr != nil && !errors.Is(p.child.greetErr, ErrStart):
		return p.child.greetErr
	case p.exitedByItself():
		return refuse(pl.name, ErrStart, "ended before it was ready (%s)%s", p.child.status, p.lastWords())
	case p.child.greetErr != nil:
		return p.child.greetErr
	default:
		return refuse(pl.name, ErrStart, "could not be reached: %v%s", err, p.lastWords())
	}
}

// exitedByItself tells a plugin that ended from one that we ended.
func (p *process) exitedByItself() bool { return !strings.HasPrefix(p.child.status, "signal: killed") }

// connect starts the process through go-plugin and dials it.
func (p *process) connect(ctx context.Context, l *launcher) error {
	cfg := &goplugin.ClientConfig{
		HandshakeConfig: goplugin.HandshakeConfig{ProtocolVersion: protocolVersion, MagicCookieKey: cookieKey, MagicCookieValue: cookieValue},
		// One version: a map, because go-plugin then insists on it.
		VersionedPlugins: map[int]goplugin.PluginSet{protocolVersion: {}},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, tmpDir string) (runner.Runner, error) {
			p.tempDir = tmpDir
			l.build(cmd)
			return l, nil
		},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: p.cfg.RunDir},
		// Ours fires first; this one is for the impossible.
		StartTimeout: p.cfg.StartTimeout + 5*time.Second,
		Logger:       hclog.NewNullLogger(),
	}
	// Start has no context. Killing the child is what ends it.
	stop := context.AfterFunc(ctx, func() { _ = l.Kill(ctx) })
	defer stop()
	addr, err := start(goplugin.NewClient(cfg))
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient("passthrough:///plugin",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, addr.Network(), addr.String())
		}),
		grpc.WithTransportCredentials(credentials.NewTLS(cfg.TLSConfig)),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: p.cfg.StartTimeout}),
		grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(), grpc.WithNoProxy(), grpc.WithIdleTimeout(0),
	)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	p.conn, p.api, p.health = conn, stepdv1.NewPluginClient(conn), grpc_health_v1.NewHealthClient(conn)
	return nil
}

// start shields us from go-plugin's panics; it has ended the process by then.
func start(client *goplugin.Client) (addr net.Addr, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("go-plugin failed: %v", cause)
		}
	}()
	return client.Start()
}

// greet waits until the plugin answers calls.
func (p *process) greet(ctx context.Context) error {
	ctx, done := p.bounded(ctx, p.cfg.StartTimeout, nil)
	defer done()
	_, err := p.health.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: goplugin.GRPCServiceName}, grpc.WaitForReady(true))
	if err != nil {
		return fmt.Errorf("first health check: %w", err)
	}
	return nil
}

func (p *process) describe(ctx context.Context, id identity) error {
	ctx, done := p.bounded(ctx, p.cfg.CallTimeout, nil)
	defer done()
	answer, err := p.api.Describe(ctx, &stepdv1.DescribeRequest{})
	if err != nil {
		return refuse(p.pl.name, ErrDescribe, "does not say which controllers it has: %v%s", err, p.lastWords())
	}
	p.desc, err = newDescription(p.pl.name, id, answer)
	return err
}

// discard frees what a dead process leaves to us.
func (p *process) discard() {
	if p.conn != nil {
		_ = p.conn.Close()
	}
	_ = os.RemoveAll(p.socketDir)
	if p.tempDir != "" {
		_ = os.RemoveAll(p.tempDir)
	}
}
