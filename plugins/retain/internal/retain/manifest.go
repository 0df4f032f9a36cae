package retain

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
)

// manifest is what retain needs to know of the manifest beside an archive.
type manifest struct {
	Version int
	Task    string
	Run     uint64
	Archive digest
}

type digest struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// readManifest reads the whole of a manifest, as one that ends in the middle is
// none, in memory that does not grow with its entries. A fault is of the
// manifest, an error of the machine.
func readManifest(ctx context.Context, root *os.Root, name string) (m manifest, fault string, err error) {
	f, fault, err := openFile(root, name, nil)
	if err != nil {
		return m, "", err
	}
	if fault != "" {
		return m, "its manifest " + fault, nil
	}
	defer f.Close()
	source := &machineReader{ctx: ctx, r: f}
	err = m.decode(bufio.NewReaderSize(source, 64<<10))
	switch {
	case source.err != nil:
		return m, "", fmt.Errorf("read %s: %w", name, source.err)
	case err != nil:
		return m, fmt.Sprintf("its manifest is damaged: %v", err), nil
	case m.Version != 1:
		return m, fmt.Sprintf("its manifest has version %d; this plugin reads version 1", m.Version), nil
	case m.Archive.Bytes <= 0 || len(m.Archive.SHA256) != 2*sha256.Size:
		return m, "its manifest does not speak of the archive", nil
	}
	return m, "", nil
}

// decode reads one JSON object to its end. Members that are not known are
// passed over: they are compress's to judge.
func (m *manifest) decode(r io.Reader) error {
	dec := json.NewDecoder(r)
	if token, err := dec.Token(); err != nil || token != json.Delim('{') {
		return errors.Join(errors.New("it is no JSON object"), err)
	}
	var skipped struct{}
	known := map[string]any{"version": &m.Version, "task": &m.Task, "run": &m.Run, "archive": &m.Archive}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		if token == "entries" {
			if token, err := dec.Token(); err != nil || token != json.Delim('[') {
				return errors.Join(errors.New("entries is no list"), err)
			}
			for dec.More() {
				if err := dec.Decode(&skipped); err != nil {
					return err
				}
			}
			if _, err := dec.Token(); err != nil {
				return err
			}
			continue
		}
		name, _ := token.(string)
		into, ok := known[name]
		if !ok {
			into = new(json.RawMessage)
		}
		if err := dec.Decode(into); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("there is something after its end")
	}
	return nil
}

// machineReader remembers what was no fault of the content.
type machineReader struct {
	ctx context.Context
	r   io.Reader
	n   int64
	err error
}

func (m *machineReader) Read(p []byte) (int, error) {
	if m.ctx.Err() != nil {
		m.err = context.Cause(m.ctx)
		return 0, m.err
	}
	n, err := m.r.Read(p)
	m.n += int64(n)
	if err != nil && err != io.EOF {
		m.err = err
	}
	return n, err
}

// prove reads all of an archive and compares its hash. A fault is what is wrong
// with it.
func (a *archive) prove(ctx context.Context, root *os.Root, progress func(done, total float64, note string)) (fault string, err error) {
	f, fault, err := openFile(root, a.name, a.info)
	if err != nil || fault != "" {
		return fault, err
	}
	defer f.Close()
	hash := sha256.New()
	source := &machineReader{ctx: ctx, r: f}
	buffer := make([]byte, 256<<10)
	for {
		n, err := source.Read(buffer)
		hash.Write(buffer[:n])
		progress(float64(source.n), float64(a.info.Size()), "verifying "+filepath.Base(a.name))
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", fmt.Errorf("read %s: %w", a.name, err)
		}
	}
	if sum := hex.EncodeToString(hash.Sum(nil)); sum != a.sha256 || source.n != a.info.Size() {
		return fmt.Sprintf("its SHA-256 is %s, not %s as its manifest says", sum, a.sha256), nil
	}
	return "", nil
}
