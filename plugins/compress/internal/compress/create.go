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

	"filippo.io/age"
	"github.com/bmatcuk/doublestar/v4"
	"github.com/invopop/jsonschema"
	"golang.org/x/sys/unix"

	"github.com/stepd/stepd/sdk"
)

// CreateSettings are the settings of the controller compress.
type CreateSettings struct {
	Source         string   `json:"source,omitempty" jsonschema_description:"Directory to archive. Default: the run's own directory, without what is hidden at its top."`
	BackupDir      string   `json:"backup_dir,omitempty" jsonschema_description:"Directory of the archives; made when it is not there. This or target is required."`
	Target         string   `json:"target,omitempty" jsonschema_description:"Directory of this archive, instead of backup_dir."`
	Name           string   `json:"name,omitempty" jsonschema_description:"Name of the archive without its extension. Default: task, time and number of the run, as backup-20261124T023000Z-42."`
	Format         string   `json:"format,omitempty" jsonschema:"enum=tar.zst,enum=tar.gz" jsonschema_description:"Also the extension."`
	Level          string   `json:"level,omitempty" jsonschema:"enum=fastest,enum=default,enum=better,enum=best" jsonschema_description:"How hard to compress."`
	Exclude        []string `json:"exclude,omitempty" jsonschema_description:"Globs of what to leave out, relative to source; ** crosses directories."`
	Recipients     []string `json:"recipients,omitempty" jsonschema_description:"Public keys to encrypt to: age1..., ssh-ed25519 ... or ssh-rsa .... The archive's name ends in .age then."`
	RecipientsFile string   `json:"recipients_file,omitempty" jsonschema_description:"File of such keys, one a line."`
	ManifestNames  bool     `json:"manifest_names,omitempty" jsonschema_description:"List the entries also in the manifest beside an encrypted archive, which is not encrypted itself."`
	Concurrency    int      `json:"concurrency,omitempty" jsonschema:"minimum=1,maximum=64" jsonschema_description:"How many processors to compress with, at most."`
	RowsFrom       string   `json:"rows_from,omitempty" jsonschema_description:"Step whose outputs called table say how many rows each file in tables/ has; their hashes are compared too."`
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
	// Encryption is "age", or not there.
	Encryption string `json:"encryption,omitempty"`
}

func (a *Archive) message() string {
	text := fmt.Sprintf("%s, %s to %s", sdk.Count(a.Files, "file"), sdk.Bytes(a.RawBytes), sdk.Bytes(a.Bytes))
	if a.Bytes < a.RawBytes {
		text += fmt.Sprintf(" (%.0f %%)", a.Ratio*100)
	}
	if a.Encryption != "" {
		text += ", encrypted"
	}
	return text
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
	recipients, err := s.recipients(step.Info)
	if err != nil {
		return sdk.Permanent(err)
	}
	m := maker{tuning: t, final: filepath.Join(dir, name+"."+s.Format), coding: coding{s.Format, s.Level, s.Concurrency},
		recipients: recipients, names: s.ManifestNames || len(recipients) == 0, temp: tempDir(step.Info.WorkDir),
		head: Manifest{Version: 1, Created: time.Now().UTC(), Task: step.Info.Task, Run: step.Info.Run,
			IdempotencyKey: step.Info.IdempotencyKey, Format: s.Format}}
	if len(recipients) > 0 {
		m.final += "." + encryptionAge
		m.head.Encryption = encryptionAge
	}
	source, began, took := step.Info.WorkDir, time.Now(), time.Duration(0)
	if s.Source != "" {
		source = step.Info.Path(s.Source)
	}
	archive, err := m.existing(ctx)
	if err != nil {
		return err
	}
	if archive == nil {
		if m.tables, err = readTables(ctx, step); err != nil {
			return err
		}
		walk, err := newWalk(source, step.Info.WorkDir, dir, s.Exclude, step.Log())
		if err != nil {
			return err
		}
		defer walk.close()
		if archive, err = m.make(ctx, walk, step.Progress); err != nil {
			return err
		}
		took = time.Since(began)
	} else {
		step.Log().Info("an earlier attempt has made the archive already", "archive", archive.Path)
		_ = os.Remove(m.part()) // what it could not remove; more than untidy it is not
		_ = os.Remove(sidePath(m.part()))
	}
	step.Message("%s: %s", filepath.Base(archive.Path), archive.message())
	if err := step.Output("archive", archive); err != nil {
		return err
	}
	report := m.report(archive, step.Info, source, took)
	if err := writeReport(report.File, report.text()); err != nil {
		return fmt.Errorf("write the report beside the archive: %w", err)
	}
	return step.Output("report", report)
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

// maker makes one archive.
type maker struct {
	tuning
	final      string
	coding     coding
	recipients []age.Recipient
	names      bool   // the manifest beside the archive lists the entries
	temp       string // directory of temporary files
	head       Manifest
	tables     map[string]*table
}

func sidePath(archive string) string { return archive + ".manifest.json" }

// part is the archive's temporary name, the same for all attempts of the step.
func (m *maker) part() string {
	sum := sha256.Sum256([]byte(m.head.IdempotencyKey))
	dir, base := filepath.Split(m.final)
	return filepath.Join(dir, fmt.Sprintf(".%s.%x.part", base, sum[:6]))
}

// make writes archive and manifest under temporary names, makes them durable
// and publishes them.
func (m *maker) make(ctx context.Context, walk *walk, progress func(done, total float64, note string)) (_ *Archive, err error) {
	part := m.part()
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
	within := files[1] // becomes the one beside
	if !m.names {
		// What names of files there are must not lie beside the archive, not even
		// after a crash.
		if within, err = unlinked(m.temp); err != nil {
			return nil, err
		}
		defer within.Close()
	}
	totals, err := m.write(ctx, walk, out, within, func(done int64, note string) {
		progress(float64(min(done, total)), float64(total), note)
	})
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", m.final, err)
	}
	digest := Digest{Bytes: out.n, SHA256: hex.EncodeToString(hash.Sum(nil))}
	if err := errors.Join(m.endManifest(files[1], totals, digest), files[0].Sync(), files[1].Sync()); err != nil {
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
	a := &Archive{Encryption: m.head.Encryption, Path: m.final, Manifest: sidePath(m.final), Bytes: digest.Bytes, SHA256: digest.SHA256,
		Entries: totals.Entries, Files: totals.Files, RawBytes: totals.Bytes}
	if totals.Bytes > 0 {
		a.Ratio = float64(digest.Bytes) / float64(totals.Bytes)
	}
	return a
}

// endManifest writes what the manifest beside the archive has more than the one
// within, or all of one that has no entries.
func (m *maker) endManifest(side io.Writer, totals Totals, digest Digest) error {
	if !m.names {
		beside := m.head
		beside.Totals, beside.Archive = totals, &digest
		return json.NewEncoder(side).Encode(beside)
	}
	raw, err := json.Marshal(digest)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(side, ",\"archive\":%s}\n", raw)
	return err
}

// write writes the compressed and perhaps encrypted tar to out and the manifest
// within, but for its closing brace, to file too.
func (m *maker) write(ctx context.Context, walk *walk, out io.Writer, file *os.File, progress func(int64, string)) (Totals, error) {
	var sealed io.WriteCloser
	if len(m.recipients) > 0 {
		var err error
		if sealed, err = age.Encrypt(out, m.recipients...); err != nil {
			return Totals{}, fmt.Errorf("encrypt: %w", err)
		}
		out = sealed
	}
	side := bufio.NewWriterSize(file, 64<<10)
	compressor, err := m.coding.compressor(out)
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
	if err := errors.Join(tw.Close(), compressor.Close()); err != nil || sealed == nil {
		return manifest.totals, err
	}
	return manifest.totals, sealed.Close()
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
