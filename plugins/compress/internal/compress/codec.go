package compress

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
)

// Formats of archives; their names are also the extensions.
const (
	formatZstd = "tar.zst"
	formatGzip = "tar.gz"
)

// coding is how an archive is compressed.
type coding struct {
	format, level string
	concurrency   int // processors; 0 leaves it to us
}

// compressor takes memory by the concurrency, never by what is compressed: about
// 4 MB a processor with gzip; with zstd about 40 MB for the first two, and 50 MB
// for each one when there are more.
func (c coding) compressor(w io.Writer) (io.WriteCloser, error) {
	level := c.level
	if c.format == formatGzip {
		number, ok := map[string]int{"fastest": 1, "": 6, "default": 6, "better": 7, "best": 9}[level]
		if !ok {
			return nil, fmt.Errorf("unknown level %q", level)
		}
		out := &stoic{w: w}
		z, err := pgzip.NewWriterLevel(out, number)
		if err != nil {
			return nil, err
		}
		blocks := c.concurrency
		if blocks == 0 {
			blocks = min(runtime.GOMAXPROCS(0), 8)
		}
		return &gzipWriter{z, out}, z.SetConcurrency(1<<20, blocks)
	}
	number, ok := map[string]zstd.EncoderLevel{"fastest": zstd.SpeedFastest, "": zstd.SpeedDefault, "default": zstd.SpeedDefault,
		"better": zstd.SpeedBetterCompression, "best": zstd.SpeedBestCompression}[level]
	if !ok {
		return nil, fmt.Errorf("unknown level %q", level)
	}
	options := []zstd.EOption{zstd.WithEncoderLevel(number), zstd.WithEncoderCRC(true), zstd.WithEncoderConcurrency(max(1, cmp.Or(c.concurrency, 2)))}
	if c.concurrency > 2 {
		// A stream keeps two busy at most. More work on pieces of four windows each,
		// which are smaller here so that their memory stays within bounds.
		options = append(options, zstd.WithConcurrentBlocks(true), zstd.WithWindowSize(2<<20))
	}
	return zstd.NewWriter(w, options...)
}

// gzipWriter ends the goroutines of its compressor also when what it writes to
// has failed: pgzip leaves one behind as soon as it hears of an error.
type gzipWriter struct {
	*pgzip.Writer
	out *stoic
}

func (g *gzipWriter) Write(p []byte) (int, error) {
	if err := g.out.failed(); err != nil {
		return 0, err
	}
	return g.Writer.Write(p)
}

func (g *gzipWriter) Close() error {
	err := g.Writer.Close()
	return cmp.Or(g.out.failed(), err)
}

// stoic writes until that fails, and then takes the rest without a word.
type stoic struct {
	w   io.Writer
	mu  sync.Mutex
	err error
}

func (s *stoic) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *stoic) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		_, s.err = s.w.Write(p)
	}
	return len(p), nil
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

// digestOf reads all of r.
func digestOf(r io.Reader, seen func(n int64)) (Digest, error) {
	hash := sha256.New()
	n, err := io.CopyBuffer(struct{ io.Writer }{hash}, &counter{r: r, seen: seen}, make([]byte, 256<<10))
	return Digest{Bytes: n, SHA256: hex.EncodeToString(hash.Sum(nil))}, err
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
