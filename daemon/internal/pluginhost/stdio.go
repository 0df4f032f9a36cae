package pluginhost

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Two small services of go-plugin, spoken here because its own client has no
// deadlines: Shutdown, and the stream that carries what a plugin's code writes
// to os.Stdout and os.Stderr once it serves. Nobody reading that stream would
// block the plugin.
const (
	methodShutdown = "/plugin.GRPCController/Shutdown"
	methodStdio    = "/plugin.GRPCStdio/StreamStdio"
)

func shutdown(ctx context.Context, conn *grpc.ClientConn) error {
	return conn.Invoke(ctx, methodShutdown, &emptypb.Empty{}, &emptypb.Empty{})
}

// followStdio passes lines to the pump until the stream ends. A plugin that
// does not have the service is fine.
func followStdio(ctx context.Context, conn *grpc.ClientConn, p *pump) {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, methodStdio, grpc.ForceCodec(stdioCodec{}))
	if err != nil || stream.SendMsg(&stdioData{}) != nil || stream.CloseSend() != nil {
		return
	}
	stdout, stderr := &lineWriter{pump: p}, &lineWriter{pump: p}
	defer stdout.close()
	defer stderr.close()
	for {
		var m stdioData
		if stream.RecvMsg(&m) != nil {
			return
		}
		w := stderr
		if m.channel == 1 {
			w = stdout
		}
		_, _ = w.Write(m.data)
	}
}

// stdioData is the stream's message; the generated type is internal to
// go-plugin. The empty request encodes to nothing.
type stdioData struct {
	channel uint64
	data    []byte
}

type stdioCodec struct{}

func (stdioCodec) Name() string { return "proto" }

func (stdioCodec) Marshal(any) ([]byte, error) { return nil, nil }

func (stdioCodec) Unmarshal(raw []byte, into any) error {
	m, ok := into.(*stdioData)
	if !ok {
		return fmt.Errorf("decode standard stream: unexpected %T", into)
	}
	for len(raw) > 0 {
		num, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return protowire.ParseError(n)
		}
		raw = raw[n:]
		switch {
		case num == 1 && kind == protowire.VarintType:
			m.channel, n = protowire.ConsumeVarint(raw)
		case num == 2 && kind == protowire.BytesType:
			m.data, n = protowire.ConsumeBytes(raw)
		default:
			n = protowire.ConsumeFieldValue(num, kind, raw)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		raw = raw[n:]
	}
	return nil
}
