package dump

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// File is one file of a dump.
type File struct {
	File   string `json:"file"` // relative to the dump's directory
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// writeFile writes dir/name through a hidden file: when it returns nil, the file
// is whole and durable; when it does not, an older one is as it was. The hidden
// file's name is always the same, so that a crash leaves at most one, which the
// next attempt takes over.
func writeFile(dir, name string, write func(io.Writer) error) (_ File, err error) {
	temp := filepath.Join(dir, "."+name+".tmp")
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return File{}, explainFile(err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(temp)
			err = explainFile(err)
		}
	}()
	sum := sha256.New()
	counted := &counter{w: io.MultiWriter(f, sum)}
	packed, err := compressor(name, counted)
	if err != nil {
		return File{}, err
	}
	buffered := bufio.NewWriterSize(packed, 128<<10)
	err = write(buffered)
	if err == nil {
		err = buffered.Flush()
	}
	if closed := packed.Close(); err == nil { // also after a fault: it has goroutines
		err = closed
	}
	if err != nil {
		return File{}, err
	}
	if err := f.Sync(); err != nil {
		return File{}, err
	}
	if err := f.Close(); err != nil {
		return File{}, err
	}
	if err := os.Rename(temp, filepath.Join(dir, name)); err != nil {
		return File{}, err
	}
	if err := syncDir(dir); err != nil {
		return File{}, err
	}
	return File{File: name, Bytes: counted.n, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

func writeJSON(dir, name string, v any) error {
	_, err := writeFile(dir, name, func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(v)
	})
	return err
}

// checkFile compares a file with its record. seen is called with each read's size.
func checkFile(ctx context.Context, dir string, want File, seen func(int)) error {
	f, err := os.Open(filepath.Join(dir, want.File))
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	buffer := make([]byte, 256<<10)
	var size int64
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := f.Read(buffer)
		sum.Write(buffer[:n])
		size += int64(n)
		seen(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); size != want.Bytes || got != want.SHA256 {
		return fmt.Errorf("%s is damaged: it has %d bytes and SHA-256 %s, recorded are %d and %s",
			filepath.Join(dir, want.File), size, got, want.Bytes, want.SHA256)
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// makeDir makes a directory and its parents and syncs what it made.
func makeDir(dir string, mode os.FileMode) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", dir)
		}
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := makeDir(parent, mode); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, os.ErrExist) {
		return explainFile(err)
	}
	return syncDir(filepath.Dir(dir))
}

// explainFile says what to do about the usual faults of a file system.
func explainFile(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: make room and continue the run", err)
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: the daemon's user must be allowed to write there", err)
	}
	return err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
