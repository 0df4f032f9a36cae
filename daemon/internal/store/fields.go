package store

import (
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// fields writes the wire format of protocol buffers. What is zero is left out.
type fields []byte

func (w *fields) text(n protowire.Number, v string) {
	if v != "" {
		*w = protowire.AppendTag(*w, n, protowire.BytesType)
		*w = protowire.AppendString(*w, v)
	}
}

// message is text that is written although it is empty.
func (w *fields) message(n protowire.Number, v fields) {
	*w = protowire.AppendTag(*w, n, protowire.BytesType)
	*w = protowire.AppendBytes(*w, v)
}

func (w *fields) number(n protowire.Number, v int64) {
	if v != 0 {
		*w = protowire.AppendTag(*w, n, protowire.VarintType)
		*w = protowire.AppendVarint(*w, protowire.EncodeZigZag(v))
	}
}

func (w *fields) flag(n protowire.Number, v bool) {
	if v {
		w.number(n, 1)
	}
}

func (w *fields) float(n protowire.Number, v float64) {
	if v != 0 {
		*w = protowire.AppendTag(*w, n, protowire.Fixed64Type)
		*w = protowire.AppendFixed64(*w, math.Float64bits(v))
	}
}

func (w *fields) instant(n protowire.Number, v time.Time) {
	if !v.IsZero() {
		*w = protowire.AppendTag(*w, n, protowire.Fixed64Type)
		*w = protowire.AppendFixed64(*w, uint64(v.UnixNano()))
	}
}

func instantOf(v uint64) time.Time { return time.Unix(0, int64(v)).UTC() }

// field is one of them as it is read: what fits its kind is set.
type field struct {
	n      protowire.Number
	kind   protowire.Type
	text   []byte // of the record's own memory
	number int64
	fixed  uint64
}

var errCutShort = errors.New("a field is cut short")

func eachField(b []byte, fn func(field) error) error {
	for len(b) > 0 {
		n, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errCutShort
		}
		b = b[size:]
		f := field{n: n, kind: kind}
		switch kind {
		case protowire.BytesType:
			f.text, size = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			var v uint64
			v, size = protowire.ConsumeVarint(b)
			f.number = protowire.DecodeZigZag(v)
		case protowire.Fixed64Type:
			f.fixed, size = protowire.ConsumeFixed64(b)
		default:
			return fmt.Errorf("field %d has the unknown kind %d", n, kind)
		}
		if size < 0 {
			return errCutShort
		}
		b = b[size:]
		if err := fn(f); err != nil {
			return err
		}
	}
	return nil
}
