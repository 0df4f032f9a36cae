package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

// The handshake between the daemon and a plugin: what any implementation has
// to know beside the .proto.
const (
	HandshakeCookieKey   = "STEPD_PLUGIN"
	HandshakeCookieValue = "one step at a time"
	// ProtocolVersion is go-plugin's application protocol version.
	ProtocolVersion = 1
	// MaxMessage is the size limit of a message in bytes, both ways.
	MaxMessage = 4 << 20
	// LifelineEnv is set to "0" when standard input is a pipe that the daemon
	// holds open for as long as it lives.
	LifelineEnv = "STEPD_LIFELINE"
)

const (
	stopGrace   = 5 * time.Second        // for steps, after SIGTERM
	orphanGrace = 500 * time.Millisecond // for steps, when the daemon is gone
)

// Serve serves the plugin until the daemon ends it, and then exits the
// process: status 0 when it was asked to, 2 when the plugin is faulty, 3 when
// the daemon is gone. Started by a person it says what it is.
func Serve(p Plugin) {
	server, err := NewServer(p)
	if err != nil {
		fmt.Fprintf(os.Stderr, "stepd plugin: %v\n", err)
		os.Exit(2)
	}
	if os.Getenv(HandshakeCookieKey) != HandshakeCookieValue {
		fmt.Fprintf(os.Stderr, "%s %s is a plugin of stepd: put it into a plugin directory and stepd starts it.\nControllers:\n",
			p.Name, p.Version)
		for _, c := range server.describe.GetControllers() {
			fmt.Fprintf(os.Stderr, "  %-24s %s\n", c.GetName(), c.GetSummary())
		}
		os.Exit(1)
	}
	go exitWithDaemon(server)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		<-signals
		stopWithin(server, stopGrace)
		os.Exit(0)
	}()
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion: ProtocolVersion, MagicCookieKey: HandshakeCookieKey, MagicCookieValue: HandshakeCookieValue,
		},
		VersionedPlugins: map[int]plugin.PluginSet{ProtocolVersion: {"stepd": &grpcPlugin{server: server}}},
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(options, grpc.MaxRecvMsgSize(MaxMessage), grpc.MaxSendMsgSize(MaxMessage))...)
		},
		Logger: hclog.New(&hclog.LoggerOptions{Name: p.Name, Level: hclog.Warn, Output: os.Stderr}),
	})
	stopWithin(server, stopGrace)
	os.Exit(0)
}

func stopWithin(server *Server, grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	server.Stop(ctx)
}

// exitWithDaemon ends the process when the daemon is gone: nobody would hear
// the results, and the next daemon starts the steps anew.
func exitWithDaemon(server *Server) {
	if os.Getenv(LifelineEnv) == "0" {
		_, _ = io.Copy(io.Discard, os.Stdin)
	} else {
		parent := os.Getppid()
		for os.Getppid() == parent {
			time.Sleep(time.Second)
		}
	}
	stopWithin(server, orphanGrace)
	os.Exit(3)
}

// grpcPlugin registers the server with go-plugin.
type grpcPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	server *Server
}

func (p *grpcPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	stepdv1.RegisterPluginServer(s, p.server)
	return nil
}

func (p *grpcPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("the sdk only serves")
}
