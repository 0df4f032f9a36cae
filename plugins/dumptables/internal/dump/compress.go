package dump

import (
	"bufio"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Values of the setting compress, and the extensions of files.
const (
	compressNone = "none"
	compressGzip = "gzip"
	compressZstd = "zstd"

	gzipExtension = ".gz"
	zstdExtension = ".zst"
)

// zstdWindow bounds the memory of a file that is written or read; several are at
// the same time.
const zstdWindow = 1 << 20

func extensionOf(compress string) string {
	switch compress {
	case compressGzip:
		return gzipExtension
	case compressZstd:
		return zstdExtension
	}
	return ""
}

// compressor compresses what is written as the extension of the file's name says.
// It must be closed, also after a fault.
func compressor(name string, w io.Writer) (io.WriteCloser, error) {
	switch filepath.Ext(name) {
	case gzipExtension:
		return gzip.NewWriter(w), nil
	case zstdExtension:
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstdWindow), zstd.WithEncoderCRC(true))
	}
	return plainWriter{w}, nil
}

type plainWriter struct{ io.Writer }

func (plainWriter) Close() error { return nil }

// Reader reads a file of a dump as the statements that it holds.
type Reader struct {
	io.Reader
	file   *os.File
	read   counter
	closed func()
}

// OpenFile opens a file of a dump, whether it is compressed or not.
func OpenFile(dir, name string) (*Reader, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	r := &Reader{file: f, closed: func() {}}
	r.read.w = io.Discard
	source := bufio.NewReaderSize(io.TeeReader(f, &r.read), 128<<10)
	switch filepath.Ext(name) {
	case gzipExtension:
		r.Reader, err = gzip.NewReader(source)
	case zstdExtension:
		var z *zstd.Decoder
		z, err = zstd.NewReader(source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
		if err == nil {
			r.Reader, r.closed = z, z.Close
		}
	default:
		r.Reader = source
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// Done is how many bytes of the file have been read, as it lies on the disk.
func (r *Reader) Done() int64 { return r.read.n }

func (r *Reader) Close() error {
	r.closed()
	return r.file.Close()
}
