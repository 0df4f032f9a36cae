package compress

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// manifestName is the last entry of each archive.
const manifestName = "MANIFEST.json"

// Types of entries.
const (
	typeFile = "file"
	typeDir  = "dir"
	typeLink = "symlink"
)

// Entry is one entry of an archive, as the manifest lists it.
type Entry struct {
	Path   string    `json:"path"`
	Type   string    `json:"type"`
	Size   int64     `json:"size,omitempty"`
	Mode   string    `json:"mode"` // octal permission bits, and 1000 for sticky
	MTime  time.Time `json:"mtime"`
	SHA256 string    `json:"sha256,omitempty"`
	Link   string    `json:"link,omitempty"`
	Rows   *int64    `json:"rows,omitempty"` // of a table's dump

	// What is not UTF-8 is here as it is; above it is readable only.
	PathRaw []byte `json:"path_raw,omitempty"`
	LinkRaw []byte `json:"link_raw,omitempty"`
}

type plainEntry Entry

// MarshalJSON keeps names that are not UTF-8.
func (e Entry) MarshalJSON() ([]byte, error) {
	if !utf8.ValidString(e.Path) {
		e.PathRaw = []byte(e.Path)
	}
	if !utf8.ValidString(e.Link) {
		e.LinkRaw = []byte(e.Link)
	}
	return json.Marshal(plainEntry(e))
}

// UnmarshalJSON is the inverse.
func (e *Entry) UnmarshalJSON(raw []byte) error {
	if err := json.Unmarshal(raw, (*plainEntry)(e)); err != nil {
		return err
	}
	if e.PathRaw != nil {
		e.Path = string(e.PathRaw)
	}
	if e.LinkRaw != nil {
		e.Link = string(e.LinkRaw)
	}
	e.PathRaw, e.LinkRaw = nil, nil
	return nil
}

// Manifest is a manifest without its entries.
type Manifest struct {
	Version        int       `json:"version"`
	Created        time.Time `json:"created"`
	Task           string    `json:"task"`
	Run            uint64    `json:"run"`
	IdempotencyKey string    `json:"idempotency_key"`
	Format         string    `json:"format"`
	Encryption     string    `json:"encryption,omitempty"`
	Totals         Totals    `json:"totals"`
	// Archive is only in the manifest beside the archive.
	Archive *Digest `json:"archive,omitempty"`

	listed bool // it has entries; the one beside an encrypted archive need not
}

// Totals sums up the entries.
type Totals struct {
	Entries int64 `json:"entries"`
	Files   int64 `json:"files"`
	Bytes   int64 `json:"bytes"` // of all files
}

func (t *Totals) add(e Entry) {
	t.Entries++
	if e.Type == typeFile {
		t.Files, t.Bytes = t.Files+1, t.Bytes+e.Size
	}
}

// Digest is an archive's own size and hash.
type Digest struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// manifestWriter writes a manifest an entry at a time. What it has written
// after totals is whole but for the closing brace: the manifest beside the
// archive has one member more than the one within.
type manifestWriter struct {
	w      io.Writer
	totals Totals
}

func newManifestWriter(w io.Writer, m Manifest) (*manifestWriter, error) {
	head, err := json.Marshal(struct {
		Version        int       `json:"version"`
		Created        time.Time `json:"created"`
		Task           string    `json:"task"`
		Run            uint64    `json:"run"`
		IdempotencyKey string    `json:"idempotency_key"`
		Format         string    `json:"format"`
		Encryption     string    `json:"encryption,omitempty"`
	}{m.Version, m.Created, m.Task, m.Run, m.IdempotencyKey, m.Format, m.Encryption})
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(w, "%s,\"entries\":[", head[:len(head)-1])
	return &manifestWriter{w: w}, err
}

func (m *manifestWriter) add(e Entry) error {
	raw, err := json.Marshal(e)
	if err != nil {
		return err
	}
	separator := ",\n"
	if m.totals.Entries == 0 {
		separator = "\n"
	}
	m.totals.add(e)
	_, err = fmt.Fprintf(m.w, "%s%s", separator, raw)
	return err
}

func (m *manifestWriter) end() error {
	raw, err := json.Marshal(m.totals)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(m.w, "\n],\"totals\":%s", raw)
	return err
}

// readManifest reads a manifest and calls each with its entries in order.
func readManifest(r io.Reader, each func(Entry) error) (Manifest, error) {
	var m Manifest
	members := map[string]any{"version": &m.Version, "created": &m.Created, "task": &m.Task, "run": &m.Run,
		"idempotency_key": &m.IdempotencyKey, "format": &m.Format, "encryption": &m.Encryption, "totals": &m.Totals, "archive": &m.Archive}
	dec := json.NewDecoder(r)
	if token, err := dec.Token(); err != nil || token != json.Delim('{') {
		return m, errors.Join(errors.New("the manifest is no JSON object"), err)
	}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return m, fmt.Errorf("read manifest: %w", err)
		}
		name, _ := token.(string)
		if name == "entries" {
			if m.listed {
				return m, errors.New("read manifest: entries are there twice")
			}
			m.listed = true
			if err := readEntries(dec, each); err != nil {
				return m, err
			}
			continue
		}
		into, known := members[name]
		if !known {
			return m, fmt.Errorf("read manifest: unknown member %q", name)
		}
		if err := dec.Decode(into); err != nil {
			return m, fmt.Errorf("read manifest: %s: %w", name, err)
		}
		delete(members, name) // twice is unknown
	}
	if _, err := dec.Token(); err != nil {
		return m, fmt.Errorf("read manifest: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return m, errors.New("read manifest: there is something after its end")
	}
	if m.Version != 1 {
		return m, fmt.Errorf("the manifest has version %d; this plugin reads version 1", m.Version)
	}
	return m, nil
}

func readEntries(dec *json.Decoder, each func(Entry) error) error {
	if token, err := dec.Token(); err != nil || token != json.Delim('[') {
		return errors.Join(errors.New("read manifest: entries is no list"), err)
	}
	for dec.More() {
		var e Entry
		if err := dec.Decode(&e); err != nil {
			return fmt.Errorf("read manifest: %w", err)
		}
		if err := each(e); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return err
}

// comparePaths orders paths as a walk meets them: "a/b" before "a.txt".
func comparePaths(a, b string) int { return strings.Compare(sortKey(a), sortKey(b)) }

func sortKey(path string) string {
	if path == "." {
		return ""
	}
	return strings.ReplaceAll(path, "/", "\x00")
}
