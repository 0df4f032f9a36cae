package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/stepd/stepd/sdk"
	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

// bare is a plugin reached over gRPC with nothing of stepd between: the
// transport's own limit, with the same encryption.
type bare struct {
	client *plugin.Client
	rpc    stepdv1.PluginClient
}

type barePlugin struct{ plugin.NetRPCUnsupportedPlugin }

func (barePlugin) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the bench only calls")
}

func (barePlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return stepdv1.NewPluginClient(conn), nil
}

func startBare(o options) (*bare, error) {
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: plugin.HandshakeConfig{ProtocolVersion: sdk.ProtocolVersion,
			MagicCookieKey: sdk.HandshakeCookieKey, MagicCookieValue: sdk.HandshakeCookieValue},
		Plugins: plugin.PluginSet{"stepd": barePlugin{}}, AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Cmd: exec.Command(filepath.Join(o.bin, "plugins", "noop")), AutoMTLS: true, Logger: hclog.NewNullLogger(),
	})
	protocol, err := client.Client()
	if err != nil {
		return nil, err
	}
	raw, err := protocol.Dispense("stepd")
	if err != nil {
		client.Kill()
		return nil, err
	}
	rpc, ok := raw.(stepdv1.PluginClient)
	if !ok {
		client.Kill()
		return nil, fmt.Errorf("the plugin is a %T", raw)
	}
	return &bare{client, rpc}, nil
}

func (b *bare) close() { b.client.Kill() }

// throughput is how many Execute calls a second end, so many at a time.
func (b *bare) throughput(ctx context.Context, parallel, each int) (float64, error) {
	errs := make([]error, parallel)
	var wait sync.WaitGroup
	begin := time.Now()
	for i := range parallel {
		wait.Go(func() {
			for range each {
				if errs[i] = b.call(ctx); errs[i] != nil {
					return
				}
			}
		})
	}
	wait.Wait()
	return perSecond(parallel*each, time.Since(begin)), errors.Join(errs...)
}

func (b *bare) call(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := b.rpc.Execute(ctx)
	if err != nil {
		return err
	}
	err = stream.Send(&stepdv1.ExecuteRequest{Body: &stepdv1.ExecuteRequest_Start{Start: &stepdv1.Start{
		Controller: "noop", Settings: []byte("{}"), Info: &stepdv1.Info{Task: "bare", Run: 1, Step: "s", Attempt: 1}}}})
	if err != nil {
		return err
	}
	response, err := stream.Recv()
	if err != nil {
		return err
	}
	if status := response.GetResult().GetStatus(); status != stepdv1.Result_STATUS_COMPLETED {
		return fmt.Errorf("a call ended as %s", status)
	}
	return nil
}
