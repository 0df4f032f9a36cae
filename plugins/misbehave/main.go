// Command misbehave is a plugin for tests: it does on demand what a broken or
// hostile plugin may do. README.md lists the modes. It speaks the protocol
// without the SDK, which would not let it.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	hclog "github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/stepd/stepd/sdk"
	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

func main() {
	if len(os.Args) > 1 {
		descend(os.Args[1])
		return
	}
	// The environment is the daemon's to choose, so the file's own name says
	// how to start.
	_, mode, _ := strings.Cut(filepath.Base(os.Args[0]), "misbehave-")
	beforeHandshake(mode)
	s := &server{startMode: mode}
	if mode != "immortal" {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(3)
		}()
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{ProtocolVersion: sdk.ProtocolVersion,
			MagicCookieKey: sdk.HandshakeCookieKey, MagicCookieValue: sdk.HandshakeCookieValue},
		VersionedPlugins: map[int]goplugin.PluginSet{sdk.ProtocolVersion: {"stepd": served{server: s}}},
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			s.grpc = grpc.NewServer(append(options, grpc.MaxRecvMsgSize(sdk.MaxMessage), grpc.ForceServerCodec(rawCodec{}))...)
			return s.grpc
		},
		Logger: hclog.NewNullLogger(),
	})
	if mode == "immortal" || s.stubborn.Load() {
		select {}
	}
}

type served struct {
	goplugin.NetRPCUnsupportedPlugin
	server *server
}

func (p served) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	stepdv1.RegisterPluginServer(s, p.server)
	return nil
}

func (served) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("this plugin only serves")
}

// descend is what the processes do that a step leaves behind.
func descend(what string) {
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	if what == "daemonize" {
		_ = spawn("stay", true)
		return
	}
	select {}
}
