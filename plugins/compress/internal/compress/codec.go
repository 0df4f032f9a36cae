package compress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
)

// Formats of archives; their names are also the extensions.
const (
	formatZstd = "tar.zst"
	formatGzip = "tar.gz"
)

func newCompressor(w io.Writer, format, level string) (io.WriteCloser, error) {
	if format == formatGzip {
		number, ok := map[string]int{"fastest": 1, "": 6, "default": 6, "better": 7, "best": 9}[level]
		if !ok {
			return nil, fmt.Errorf("unknown level %q", level)
		}
		return pgzip.NewWriterLevel(w, number)
	}
	number, ok := map[string]zstd.EncoderLevel{"fastest": zstd.SpeedFastest, "": zstd.SpeedDefault, "default": zstd.SpeedDefault,
		"better": zstd.SpeedBetterCompression, "best": zstd.SpeedBestCompression}[level]
	if !ok {
		return nil, fmt.Errorf("unknown level %q", level)
	}
	return zstd.NewWriter(w, zstd.WithEncoderLevel(number), zstd.WithEncoderCRC(true))
}

// newDecompressor tells the format by the first bytes.
func newDecompressor(r io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(r, 256<<10)
	magic, err := buffered.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		d, err := zstd.NewReader(buffered, zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case len(magic) > 1 && magic[0] == 0x1f && magic[1] == 0x8b:
		return gzip.NewReader(buffered)
	}
	return nil, errors.New("it is neither zstd nor gzip")
}

// ctxReader ends with the cause of its context.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// counter counts what is read or written through it.
type counter struct {
	r    io.Reader
	w    io.Writer
	n    int64
	seen func(n int64) // may be nil
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.note(n)
	return n, err
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.note(n)
	return n, err
}

func (c *counter) note(n int) {
	c.n += int64(n)
	if c.seen != nil {
		c.seen(c.n)
	}
}
