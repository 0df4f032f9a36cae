package main

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// raw is a message that goes over the wire as it is, whatever the .proto says.
type raw []byte

// rawCodec lets raw through and is protobuf else.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) ([]byte, error) {
	switch m := v.(type) {
	case raw:
		return m, nil
	case proto.Message:
		return proto.Marshal(m)
	}
	return nil, fmt.Errorf("encode %T", v)
}

func (rawCodec) Unmarshal(b []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("decode %T", v)
	}
	return proto.Unmarshal(b, m)
}

// logWithText is an ExecuteResponse with a log line of any bytes at all.
func logWithText(text string) raw {
	line := protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), text)
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), line)
}
