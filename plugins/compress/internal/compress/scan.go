package compress

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"filippo.io/age"
)

// limits guard against archives that unpack to more than anybody has.
type limits struct {
	maxBytes int64
	maxRatio int64 // only looked at after ratioFrom bytes
}

const ratioFrom = 1 << 30

// damage is what is wrong with an archive: trying again finds it again.
type damage struct{ text string }

func (d *damage) Error() string { return d.text }

func damaged(format string, args ...any) error { return &damage{fmt.Sprintf(format, args...)} }

// reading is how an archive is to be read.
type reading struct {
	temp string // directory of temporary files
	limits
	keys []age.Identity // for one that is encrypted
}

// scan is one reading of a whole archive.
type scan struct {
	manifest Manifest
	digest   Digest
	totals   Totals
	within   *os.File // the manifest within, unlinked
	locked   bool     // the archive was encrypted
	problems problems
}

func (s *scan) close() {
	if s.within != nil {
		s.within.Close()
	}
}

// problems collects differences, the first of them with their text.
type problems struct {
	count int
	first []string
}

const maxProblems = 20

func (p *problems) add(format string, args ...any) {
	p.count++
	if len(p.first) < maxProblems {
		p.first = append(p.first, fmt.Sprintf(format, args...))
	}
}

func (p *problems) err(archive string) error {
	if p.count == 0 {
		return nil
	}
	more := ""
	if p.count > len(p.first) {
		more = fmt.Sprintf("; and %d more", p.count-len(p.first))
	}
	return damaged("%s: %s%s", archive, strings.Join(p.first, "; "), more)
}

// visitor takes the entries as they come, none of them verified yet.
type visitor func(e Entry, header *tar.Header, body io.Reader) error

// scanArchive reads all of an archive: its structure while it goes, its
// entries against the manifest at the end. What is wrong with the content of
// entries is in problems; what makes reading on pointless is the error, a
// *damage unless the disk, the keys or ctx are at fault. how.temp takes two
// unlinked temporary files of about 200 bytes an entry.
func scanArchive(ctx context.Context, file *os.File, how reading, progress func(done int64), visit visitor) (_ *scan, err error) {
	actual, err := unlinked(how.temp)
	if err != nil {
		return nil, err
	}
	defer actual.Close()
	s := &scan{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.within, err = unlinked(how.temp); err != nil {
		return nil, err
	}
	hash := sha256.New()
	raw := &counter{r: io.TeeReader(ctxReader{ctx, file}, hash), seen: progress}
	plain := io.Reader(bufio.NewReaderSize(raw, 256<<10))
	if magic, _ := plain.(*bufio.Reader).Peek(len(ageMagic)); string(magic) == ageMagic {
		s.locked = true
		if plain, err = decrypt(plain, how.keys); err != nil {
			return nil, readError(ctx, err)
		}
	}
	decompressor, err := newDecompressor(plain)
	if err != nil {
		return nil, readError(ctx, err)
	}
	defer decompressor.Close()
	unpacked := &limited{r: decompressor, raw: raw, limits: how.limits}
	if err := s.entries(tar.NewReader(unpacked), actual, visit); err != nil {
		return nil, readError(ctx, err)
	}
	// To the very end: checksums come last.
	if err := onlyZeros(unpacked); err != nil {
		return nil, readError(ctx, err)
	}
	for _, rest := range []io.Reader{plain, raw} {
		if _, err := io.Copy(io.Discard, rest); err != nil {
			return nil, readError(ctx, err)
		}
	}
	s.digest = Digest{Bytes: raw.n, SHA256: hex.EncodeToString(hash.Sum(nil))}
	return s, s.compare(actual)
}

// readError tells damage from a fault of the machine.
func readError(ctx context.Context, err error) error {
	var known *damage
	var outside *visitError
	var pathError *os.PathError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &outside):
		return outside.err
	case errors.As(err, &known), errors.As(err, &pathError), errors.Is(err, errLocked):
		return err
	}
	return damaged("it is damaged or incomplete: %v", err)
}

// visitError is an error of the visitor, not of the archive.
type visitError struct{ err error }

func (v *visitError) Error() string { return v.err.Error() }

func unlinked(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".compress-*")
	if err != nil {
		return nil, fmt.Errorf("create temporary file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// entries reads the tar to its end and writes what it finds to actual.
func (s *scan) entries(tr *tar.Reader, actual *os.File, visit visitor) error {
	out := bufio.NewWriter(actual)
	enc := json.NewEncoder(out)
	tree := treeOrder{}
	for {
		header, err := tr.Next()
		if err == io.EOF {
			return damaged("it has no %s: it was not made by compress, or its end is missing", manifestName)
		}
		if err != nil {
			return err
		}
		if header.Name == manifestName {
			if header.Typeflag != tar.TypeReg {
				return damaged("its %s is no file", manifestName)
			}
			if _, err := io.Copy(s.within, tr); err != nil {
				return err
			}
			if _, err := tr.Next(); err != io.EOF {
				return errors.Join(damaged("there are entries after its %s", manifestName), err)
			}
			return out.Flush()
		}
		e, err := entryOf(header)
		if err != nil {
			return err
		}
		if err := tree.next(e); err != nil {
			return err
		}
		hash := sha256.New()
		body := io.TeeReader(tr, hash)
		if visit != nil {
			if err := visit(e, header, body); err != nil {
				return err
			}
		}
		if n, err := io.Copy(io.Discard, body); err != nil {
			return err
		} else if n > 0 && e.Type != typeFile {
			return damaged("%q is a %s with content", e.Path, e.Type)
		}
		if e.Type == typeFile {
			e.SHA256 = hex.EncodeToString(hash.Sum(nil))
		}
		s.totals.add(e)
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
}

// entryOf makes an entry of a header and refuses what must not be in an
// archive of ours.
func entryOf(header *tar.Header) (Entry, error) {
	name := header.Name
	e := Entry{Mode: fmt.Sprintf("%04o", header.Mode), MTime: header.ModTime.UTC(), Size: header.Size}
	switch header.Typeflag {
	case tar.TypeReg:
		e.Type = typeFile
	case tar.TypeDir:
		e.Type = typeDir
		name = strings.TrimSuffix(name, "/")
	case tar.TypeSymlink:
		e.Type, e.Link = typeLink, header.Linkname
	case tar.TypeLink:
		return e, damaged("%q is a hard link: refused", name)
	default:
		return e, damaged("%q is a device or of another kind (%q) that is refused", name, header.Typeflag)
	}
	if name == "" || path.Clean(name) != name || path.IsAbs(name) || name == ".." ||
		strings.HasPrefix(name, "../") || strings.ContainsRune(name, 0) || (name == "." && e.Type != typeDir) {
		return e, damaged("%q is a path that is refused: it is absolute, leaves its directory or is not plain", header.Name)
	}
	if header.Mode&^0o1777 != 0 {
		return e, damaged("%q has mode %o: setuid and the like are refused", name, header.Mode)
	}
	if e.Type != typeFile && e.Size != 0 {
		return e, damaged("%q is a %s with a size", name, e.Type)
	}
	e.Path = name
	return e, nil
}

// treeOrder holds that entries come in the order of a walk, each once and each
// in a directory that came before: so none comes through a symbolic link.
type treeOrder struct {
	last string
	seen bool
	dirs []string // the open directories, outermost first
}

func (t *treeOrder) next(e Entry) error {
	if t.seen && comparePaths(t.last, e.Path) >= 0 {
		return damaged("%q comes after %q: twice there, or out of order", e.Path, t.last)
	}
	t.last, t.seen = e.Path, true
	parent := path.Dir(e.Path)
	for len(t.dirs) > 0 && t.dirs[len(t.dirs)-1] != parent {
		t.dirs = t.dirs[:len(t.dirs)-1]
	}
	if e.Path != "." && len(t.dirs) == 0 {
		return damaged("%q is in no directory of the archive: what is above it is missing, or is a link", e.Path)
	}
	if e.Type == typeDir {
		t.dirs = append(t.dirs, e.Path)
	}
	return nil
}

// compare compares what was read with the manifest within.
func (s *scan) compare(actual *os.File) error {
	if _, err := actual.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := s.within.Seek(0, io.SeekStart); err != nil {
		return err
	}
	dec := json.NewDecoder(bufio.NewReader(actual))
	next := func() (e Entry, ok bool, err error) {
		err = dec.Decode(&e)
		if err == io.EOF {
			return e, false, nil
		}
		return e, err == nil, err
	}
	have, more, err := next()
	if err != nil {
		return err
	}
	m, err := readManifest(bufio.NewReader(s.within), func(want Entry) error {
		for more && comparePaths(have.Path, want.Path) < 0 {
			s.problems.add("%q is not in the manifest", have.Path)
			if have, more, err = next(); err != nil {
				return err
			}
		}
		if !more || have.Path != want.Path {
			s.problems.add("%q is missing", want.Path)
			return nil
		}
		s.problems.differ(want, have)
		have, more, err = next()
		return err
	})
	if err != nil {
		return damaged("%v", err)
	}
	for more {
		s.problems.add("%q is not in the manifest", have.Path)
		if have, more, err = next(); err != nil {
			return err
		}
	}
	s.manifest = m
	if m.Totals != s.totals {
		s.problems.add("the manifest counts %+v, the archive has %+v", m.Totals, s.totals)
	}
	if m.Archive != nil {
		s.problems.add("the manifest within speaks of the archive itself")
	}
	return nil
}

func (p *problems) differ(want, have Entry) {
	switch {
	case want.Type != have.Type:
		p.add("%q is a %s, not a %s", want.Path, have.Type, want.Type)
	case want.Size != have.Size:
		p.add("%q has %d bytes, not %d", want.Path, have.Size, want.Size)
	case want.SHA256 != have.SHA256:
		p.add("%q has another content (SHA-256)", want.Path)
	case want.Link != have.Link:
		p.add("%q points to %q, not %q", want.Path, have.Link, want.Link)
	case want.Mode != have.Mode:
		p.add("%q has mode %s, not %s", want.Path, have.Mode, want.Mode)
	case !want.MTime.Equal(have.MTime):
		p.add("%q is of %v, not of %v", want.Path, have.MTime, want.MTime)
	}
}

// limited ends reading at the limits.
type limited struct {
	r   io.Reader
	raw *counter
	n   int64
	limits
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.n += int64(n)
	if l.maxBytes > 0 && l.n > l.maxBytes {
		return 0, damaged("it unpacks to more than max_bytes (%d): set it higher if that is right", l.maxBytes)
	}
	if l.maxRatio > 0 && l.n > ratioFrom && l.n/max(1, l.raw.n) > l.maxRatio {
		return 0, damaged("it unpacks to more than max_ratio (%d) times its size: set it higher if that is right", l.maxRatio)
	}
	return n, err
}

func onlyZeros(r io.Reader) error {
	buffer := make([]byte, 32<<10)
	for {
		n, err := r.Read(buffer)
		for _, b := range buffer[:n] {
			if b != 0 {
				return damaged("there is something after its end")
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
