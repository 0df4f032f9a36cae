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
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/invopop/jsonschema"
	"golang.org/x/sys/unix"

	"github.com/stepd/stepd/sdk"
)

// CreateSettings are the settings of the controller compress.
type CreateSettings struct {
	Source    string   `json:"source,omitempty" jsonschema_description:"Directory to archive. Default: the run's own directory, without what is hidden at its top."`
	BackupDir string   `json:"backup_dir,omitempty" jsonschema_description:"Directory of the archives; made when it is not there. This or target is required."`
	Target    string   `json:"target,omitempty" jsonschema_description:"Directory of this archive, instead of backup_dir."`
	Name      string   `json:"name,omitempty" jsonschema_description:"Name of the archive without its extension. Default: task, time and number of the run, as backup-20261124T023000Z-42."`
	Format    string   `json:"format,omitempty" jsonschema:"enum=tar.zst,enum=tar.gz" jsonschema_description:"Also the extension."`
	Level     string   `json:"level,omitempty" jsonschema:"enum=fastest,enum=default,enum=better,enum=best" jsonschema_description:"How hard to compress."`
	Exclude   []string `json:"exclude,omitempty" jsonschema_description:"Globs of what to leave out, relative to source; ** crosses directories."`
	RowsFrom  string   `json:"rows_from,omitempty" jsonschema_description:"Step whose outputs called table say how many rows each file in tables/ has; their hashes are compared too."`
}

// JSONSchemaExtend says what the fields cannot: one of the two directories is
// required. The first is the one that is asked for.
func (CreateSettings) JSONSchemaExtend(schema *jsonschema.Schema) {
	schema.AnyOf = []*jsonschema.Schema{{Required: []string{"backup_dir"}}, {Required: []string{"target"}}}
}

// Archive is the output "archive".
type Archive struct {
	Path     string  `json:"path"`
	Manifest string  `json:"manifest"`
	Bytes    int64   `json:"bytes"`
	SHA256   string  `json:"sha256"`
	Entries  int64   `json:"entries"`
	Files    int64   `json:"files"`
	RawBytes int64   `json:"raw_bytes"`
	Ratio    float64 `json:"ratio"` // bytes / raw_bytes
}

func (a *Archive) message() string {
	text := fmt.Sprintf("%s, %s to %s", sdk.Count(a.Files, "file"), sdk.Bytes(a.RawBytes), sdk.Bytes(a.Bytes))
	if a.Bytes < a.RawBytes {
		text += fmt.Sprintf(" (%.0f %%)", a.Ratio*100)
	}
	return text
}

// table is the output of a step that dumped a table.
type table struct {
	Table  string `json:"table"`
	File   string `json:"file"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	found  bool
}

func (t tuning) create(ctx context.Context, step *sdk.Step[CreateSettings]) error {
	defer t.end()
	s := step.Settings
	for _, pattern := range s.Exclude {
		if !doublestar.ValidatePattern(pattern) {
			return sdk.Permanent(fmt.Errorf("exclude: %q is not a valid pattern", pattern))
		}
	}
	name, dir, err := place(s, step.Info)
	if err != nil {
		return sdk.Permanent(err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make the directory of the archives: %w", err)
	}
	m := maker{tuning: t, final: filepath.Join(dir, name+"."+s.Format), level: s.Level,
		head: Manifest{Version: 1, Created: time.Now().UTC(), Task: step.Info.Task, Run: step.Info.Run,
			IdempotencyKey: step.Info.IdempotencyKey, Format: s.Format}}
	archive, err := m.existing(ctx)
	if err != nil {
		return err
	}
	if archive == nil {
		if m.tables, err = readTables(ctx, step); err != nil {
			return err
		}
		source := step.Info.WorkDir
		if s.Source != "" {
			source = step.Info.Path(s.Source)
		}
		walk, err := newWalk(source, step.Info.WorkDir, dir, s.Exclude, step.Log())
		if err != nil {
			return err
		}
		defer walk.close()
		if archive, err = m.make(ctx, walk, step.Progress); err != nil {
			return err
		}
	} else {
		step.Log().Info("an earlier attempt has made the archive already", "archive", archive.Path)
	}
	step.Message("%s: %s", filepath.Base(archive.Path), archive.message())
	return step.Output("archive", archive)
}

func place(s CreateSettings, info sdk.Info) (name, dir string, err error) {
	switch {
	case s.Target != "":
		dir = info.Path(s.Target)
	case s.BackupDir != "":
		dir = info.Path(s.BackupDir)
	default:
		return "", "", errors.New("set backup_dir (or target): the directory of the archives")
	}
	name = s.Name
	if name == "" {
		name = fmt.Sprintf("%s-%d", info.Task, info.Run)
		if !info.RunCreatedAt.IsZero() {
			// The time goes first, so that names sort by age and none comes back
			// with a state directory that was made anew.
			name = fmt.Sprintf("%s-%s-%d", info.Task, info.RunCreatedAt.UTC().Format("20060102T150405Z"), info.Run)
		}
	}
	if strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\x00\n") || len(name) > 180 {
		return "", "", fmt.Errorf("name: %q must be a file name without slash, not hidden, of at most 180 bytes", name)
	}
	if s.Format != formatZstd && s.Format != formatGzip {
		return "", "", fmt.Errorf("format: %q is neither %s nor %s", s.Format, formatZstd, formatGzip)
	}
	return name, dir, nil
}

func readTables(ctx context.Context, step *sdk.Step[CreateSettings]) (map[string]*table, error) {
	tables := map[string]*table{}
	if step.Settings.RowsFrom == "" {
		return tables, nil
	}
	for item, err := range step.Inputs(ctx, step.Settings.RowsFrom, "table") {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			// The daemon has answered that there is no such step. A lost daemon
			// does not hear what this attempt ends with.
			return nil, sdk.Permanent(fmt.Errorf("rows_from: %w", err))
		}
		var one table
		if err := json.Unmarshal(item.Value, &one); err != nil {
			return nil, sdk.Permanent(fmt.Errorf("output table of step %s: %w", item.Step, err))
		}
		tables["tables/"+strings.TrimPrefix(filepath.ToSlash(one.File), "tables/")] = &one
	}
	if len(tables) == 0 {
		return nil, sdk.Permanent(fmt.Errorf("rows_from: step %s has no outputs called table: name the step that dumps the tables, or leave rows_from out",
			step.Settings.RowsFrom))
	}
	return tables, nil
}

// maker makes one archive.
type maker struct {
	tuning
	final  string
	level  string
	head   Manifest
	tables map[string]*table
}

func sidePath(archive string) string { return archive + ".manifest.json" }

// make writes archive and manifest under temporary names, makes them durable
// and publishes the archive first: what is an archive is whole and verifies by
// the manifest within, also when the one beside it is not there yet.
func (m *maker) make(ctx context.Context, walk *walk, progress func(done, total float64, note string)) (_ *Archive, err error) {
	sum := sha256.Sum256([]byte(m.head.IdempotencyKey))
	dir, base := filepath.Split(m.final)
	part := filepath.Join(dir, fmt.Sprintf(".%s.%x.part", base, sum[:6]))
	files := [2]*os.File{}
	for i, path := range []string{part, sidePath(part)} {
		_ = os.Remove(path) // of an earlier attempt; what cannot be removed shows in the next line
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
		if err != nil {
			return nil, fmt.Errorf("create archive: %w", err)
		}
		defer func() {
			f.Close()
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				walk.log.Warn("could not remove a temporary file", "error", err)
			}
		}()
		files[i] = f
	}
	total, err := walk.size(ctx)
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	out := &counter{w: io.MultiWriter(files[0], hash)}
	side := bufio.NewWriterSize(files[1], 64<<10)
	totals, err := m.write(ctx, walk, out, side, files[1], func(done int64, note string) {
		progress(float64(min(done, total)), float64(total), note)
	})
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", m.final, err)
	}
	digest := Digest{Bytes: out.n, SHA256: hex.EncodeToString(hash.Sum(nil))}
	raw, err := json.Marshal(digest)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(side, ",\"archive\":%s}\n", raw)
	if err := errors.Join(side.Flush(), files[0].Sync(), files[1].Sync()); err != nil {
		return nil, fmt.Errorf("write %s: %w", m.final, err)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := m.publish(part); err != nil {
		return nil, err
	}
	progress(float64(total), float64(total), "")
	return m.result(totals, digest), nil
}

func (m *maker) result(totals Totals, digest Digest) *Archive {
	a := &Archive{Path: m.final, Manifest: sidePath(m.final), Bytes: digest.Bytes, SHA256: digest.SHA256,
		Entries: totals.Entries, Files: totals.Files, RawBytes: totals.Bytes}
	if totals.Bytes > 0 {
		a.Ratio = float64(digest.Bytes) / float64(totals.Bytes)
	}
	return a
}

func (m *maker) publish(part string) error {
	// A manifest whose archive somebody removed.
	if err := os.Remove(sidePath(m.final)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove an old manifest: %w", err)
	}
	if err := renameNew(part, m.final); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return sdk.Permanent(fmt.Errorf("publish archive: %s was made by somebody else meanwhile", m.final))
		}
		return fmt.Errorf("publish archive: %w", err)
	}
	if err := os.Rename(sidePath(part), sidePath(m.final)); err != nil {
		return fmt.Errorf("publish manifest: %w", err)
	}
	return syncDir(filepath.Dir(m.final))
}

// renameNew renames unless the new name is taken.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	// A file system that cannot; the check that came before has to do.
	if _, err := os.Lstat(to); err == nil {
		return fs.ErrExist
	}
	return os.Rename(from, to)
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// write writes the compressed tar to out and the manifest, but for its end, to
// side, which is flushed to file.
func (m *maker) write(ctx context.Context, walk *walk, out io.Writer, side *bufio.Writer, file *os.File, progress func(int64, string)) (Totals, error) {
	compressor, err := newCompressor(out, m.head.Format, m.level)
	if err != nil {
		return Totals{}, err
	}
	defer compressor.Close() // ends its goroutines; the one that counts is below
	tw := tar.NewWriter(compressor)
	manifest, err := newManifestWriter(side, m.head)
	if err != nil {
		return Totals{}, err
	}
	buffer := make([]byte, 256<<10)
	err = walk.each(ctx, true, func(f found) error {
		e, err := m.entry(ctx, tw, f, buffer, func(n int64) { progress(manifest.totals.Bytes+n, f.rel) })
		if err != nil {
			return fmt.Errorf("%s: %w", f.rel, err)
		}
		return manifest.add(e)
	})
	if err != nil {
		return Totals{}, err
	}
	if err := m.allTablesFound(walk); err != nil {
		return Totals{}, err
	}
	if err := errors.Join(manifest.end(), side.Flush()); err != nil {
		return Totals{}, err
	}
	size, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return Totals{}, err
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: manifestName, Size: size + 2, Mode: 0o644, ModTime: m.head.Created, Format: tar.FormatPAX}
	if err := tw.WriteHeader(header); err != nil {
		return Totals{}, err
	}
	body := io.MultiReader(io.NewSectionReader(file, 0, size), strings.NewReader("}\n"))
	if _, err := io.Copy(tw, body); err != nil {
		return Totals{}, err
	}
	return manifest.totals, errors.Join(tw.Close(), compressor.Close())
}

// entry writes one entry of the tar.
func (m *maker) entry(ctx context.Context, tw *tar.Writer, f found, buffer []byte, seen func(int64)) (Entry, error) {
	mode := f.info.Mode()
	bits := int64(mode.Perm())
	if mode.IsDir() && mode&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	e := Entry{Path: f.rel, Mode: fmt.Sprintf("%04o", bits), MTime: f.info.ModTime().UTC()}
	header := &tar.Header{Name: f.rel, Mode: bits, ModTime: f.info.ModTime(), Format: tar.FormatPAX}
	header.Uid, header.Gid = ownerOf(f.info)
	switch {
	case mode.IsDir():
		e.Type, header.Typeflag, header.Name = typeDir, tar.TypeDir, f.rel+"/"
		return e, tw.WriteHeader(header)
	case mode&fs.ModeSymlink != 0:
		to, err := f.dir.Readlink(f.name)
		if err != nil {
			return e, err
		}
		e.Type, e.Link, header.Typeflag, header.Linkname = typeLink, to, tar.TypeSymlink, to
		return e, tw.WriteHeader(header)
	}
	in, err := f.dir.OpenFile(f.name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return e, err
	}
	defer in.Close()
	before, err := in.Stat()
	if err != nil {
		return e, err
	}
	if !os.SameFile(before, f.info) || before.Size() != f.info.Size() || !before.ModTime().Equal(f.info.ModTime()) {
		return e, errChanged
	}
	e.Type, e.Size, header.Typeflag, header.Size = typeFile, before.Size(), tar.TypeReg, before.Size()
	if err := tw.WriteHeader(header); err != nil {
		return e, err
	}
	hash := sha256.New()
	body := &counter{r: ctxReader{ctx, io.LimitReader(in, before.Size())}, seen: seen}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(tw, hash)}, body, buffer)
	if err != nil {
		return e, err
	}
	if m.afterRead != nil {
		m.afterRead(f.rel)
	}
	after, err := in.Stat()
	if err != nil {
		return e, err
	}
	if n != before.Size() || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		return e, errChanged
	}
	e.SHA256 = hex.EncodeToString(hash.Sum(nil))
	return e, m.countRows(&e)
}

var errChanged = errors.New("changed while it was read: archive a copy (copyfiles), or leave it out (exclude)")

func (m *maker) countRows(e *Entry) error {
	t := m.tables[e.Path]
	if t == nil {
		return nil
	}
	t.found = true
	e.Rows = &t.Rows
	if t.SHA256 != "" && t.SHA256 != e.SHA256 {
		return sdk.Permanent(fmt.Errorf("is not what the dump of table %s wrote: its hash differs", t.Table))
	}
	return nil
}

func (m *maker) allTablesFound(walk *walk) error {
	for path, t := range m.tables {
		if !t.found && !walk.excluded(path) {
			return sdk.Permanent(fmt.Errorf("the dump of table %s is not in the source: %s is missing", t.Table, path))
		}
	}
	return nil
}
