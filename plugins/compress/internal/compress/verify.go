package compress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
	"github.com/bmatcuk/doublestar/v4"

	"github.com/stepd/stepd/sdk"
)

// VerifySettings are the settings of the controller compress/verify.
type VerifySettings struct {
	Archive   string `json:"archive,omitempty" jsonschema_description:"Archive, or a directory whose newest archive is meant. Default: backup_dir."`
	BackupDir string `json:"backup_dir,omitempty" jsonschema_description:"Directory of the archives, where archive is not given."`
	Pattern   string `json:"pattern,omitempty" jsonschema_description:"Glob of file names among which the newest archive is chosen."`

	IdentityFile string `json:"identity_file,omitempty" jsonschema_description:"File of secret keys (age or ssh; nobody else may read it) for encrypted archives. Without it, only the size and hash of such an archive are compared."`
}

// Verified is the output "verified".
type Verified struct {
	Path     string `json:"path"`
	Bytes    int64  `json:"bytes"`
	SHA256   string `json:"sha256"`
	Entries  int64  `json:"entries"`
	RawBytes int64  `json:"raw_bytes"`
	// Content: the entries were read and compared. Not so of an encrypted archive
	// without a key: then what is said of them is said by the manifest.
	Content    bool   `json:"content"`
	Encryption string `json:"encryption,omitempty"`
	// Sealed: there was a manifest beside the archive, so that also the
	// archive's own hash was compared.
	Sealed bool `json:"sealed"`
}

func (t tuning) verify(ctx context.Context, step *sdk.Step[VerifySettings]) error {
	defer t.end()
	s := step.Settings
	archive, err := choose(step.Info, s.Archive, s.BackupDir, s.Pattern)
	if err != nil {
		return err
	}
	keys, err := identities(step.Info, s.IdentityFile)
	if err != nil {
		return sdk.Permanent(err)
	}
	v := verification{step: step, archive: archive, name: filepath.Base(archive)}
	locked, err := isEncrypted(archive)
	switch {
	case err != nil:
		return err
	case locked && len(keys) == 0:
		err = v.seal(ctx)
	default:
		err = v.everything(ctx, keys)
	}
	// Names of files are in the error, and must not get beside an encrypted archive.
	how := v.how
	var found *damage
	if errors.As(err, &found) {
		how = "FAILED: it is damaged, do not rely on it; the run's log says how"
	}
	if how != "" {
		how = fmt.Sprintf("%s (%s/%d, %s)", how, step.Info.Task, step.Info.Run, step.Info.Step)
		if err := noteVerified(archive, how); err != nil {
			step.Log().Info("the report beside the archive was not brought up to date", "error", err)
		}
	}
	if err != nil {
		return verdict(archive, err)
	}
	return step.Output("verified", v.result)
}

// verification is one way of verifying one archive.
type verification struct {
	step          *sdk.Step[VerifySettings]
	archive, name string
	result        Verified
	how           string // it was verified, for the report
}

func (v *verification) everything(ctx context.Context, keys []age.Identity) error {
	found, sealed, err := check(ctx, v.archive, reading{temp: tempDir(v.step.Info.WorkDir), keys: keys}, v.step.Progress, nil)
	if err != nil {
		return err
	}
	defer found.close()
	note := ""
	v.how = fmt.Sprintf("everything was read: %d entries with their hashes as in the manifest within, and the archive's own SHA-256", found.totals.Entries)
	if !sealed {
		note = "; no manifest beside it, so the archive's own hash was not compared"
		v.how = fmt.Sprintf("everything was read: %d entries with their hashes as in the manifest within", found.totals.Entries)
		v.step.Log().Warn("there is no manifest beside the archive", "archive", v.archive)
	}
	v.step.Message("%s: %s, %s, all as in the manifest%s", v.name, sdk.Count(found.totals.Files, "file"), sdk.Bytes(found.totals.Bytes), note)
	v.result = Verified{Path: v.archive, Bytes: found.digest.Bytes, SHA256: found.digest.SHA256,
		Entries: found.totals.Entries, RawBytes: found.totals.Bytes, Sealed: sealed, Content: true, Encryption: found.manifest.Encryption}
	return nil
}

// seal verifies what can be verified without a key.
func (v *verification) seal(ctx context.Context) error {
	m, err := checkSeal(ctx, v.archive, func(done, total float64) { v.step.Progress(done, total, v.name) })
	if err != nil {
		return err
	}
	v.how = "size and SHA-256 as in the manifest; the content was not read, for want of a key"
	v.step.Message("%s: size and SHA-256 as in the manifest; encrypted, so that its content was not read (identity_file)", v.name)
	v.result = Verified{Path: v.archive, Bytes: m.Archive.Bytes, SHA256: m.Archive.SHA256,
		Entries: m.Totals.Entries, RawBytes: m.Totals.Bytes, Sealed: true, Encryption: encryptionAge}
	return nil
}

// verdict makes damage permanent.
func verdict(archive string, err error) error {
	var d *damage
	if errors.As(err, &d) {
		return sdk.Permanent(fmt.Errorf("archive %s: %w", archive, err))
	}
	return err
}

// tempDir is where temporary files go: the run's own directory if it is there.
func tempDir(work string) string {
	if info, err := os.Stat(work); err == nil && info.IsDir() {
		return work
	}
	return ""
}

// choose finds the archive that the settings mean.
func choose(info sdk.Info, archive, backupDir, pattern string) (string, error) {
	if archive == "" {
		archive = backupDir
	}
	if archive == "" {
		return "", sdk.Permanent(errors.New("set archive (or backup_dir): the archive, or a directory of archives"))
	}
	at := info.Path(archive)
	stat, err := os.Stat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", sdk.Permanent(fmt.Errorf("there is no archive %s", at))
	case err != nil:
		return "", fmt.Errorf("look for the archive: %w", err)
	case !stat.IsDir():
		return at, nil
	}
	entries, err := os.ReadDir(at)
	if err != nil {
		return "", fmt.Errorf("look for the newest archive: %w", err)
	}
	var newest fs.FileInfo
	for _, entry := range entries {
		match, err := doublestar.Match(pattern, entry.Name())
		if err != nil {
			return "", sdk.Permanent(fmt.Errorf("pattern: %q is not valid", pattern))
		}
		if !match || entry.Name()[0] == '.' || !entry.Type().IsRegular() {
			continue
		}
		info, err := entry.Info()
		if err == nil && (newest == nil || !info.ModTime().Before(newest.ModTime())) {
			newest = info
		}
	}
	if newest == nil {
		return "", sdk.Permanent(fmt.Errorf("no file in %s is named like %s", at, pattern))
	}
	return filepath.Join(at, newest.Name()), nil
}

// check scans an archive and compares it with the manifest beside it too, if
// there is one (sealed). Any difference is a *damage.
func check(ctx context.Context, archive string, how reading, progress func(done, total float64, note string), visit visitor) (_ *scan, sealed bool, err error) {
	file, err := os.Open(archive)
	if err != nil {
		return nil, false, fmt.Errorf("open archive: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, false, err
	}
	if !info.Mode().IsRegular() {
		return nil, false, damaged("it is no file")
	}
	found, err := scanArchive(ctx, file, how, func(done int64) {
		progress(float64(done), float64(info.Size()), filepath.Base(archive))
	}, visit)
	if err != nil {
		return nil, false, err
	}
	sealed, err = found.compareSide(sidePath(archive))
	if err == nil {
		err = found.problems.err(filepath.Base(archive))
	}
	if err != nil {
		found.close()
		return nil, sealed, err
	}
	return found, sealed, nil
}

// compareSide compares with the manifest beside the archive: the archive's
// hash, and every byte that both manifests have.
func (s *scan) compareSide(path string) (sealed bool, err error) {
	side, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open the manifest beside the archive: %w", err)
	}
	defer side.Close()
	m, err := readManifest(bufio.NewReader(side), func(Entry) error { return nil })
	switch {
	case err != nil:
		s.problems.add("the manifest beside it: %v", err)
		return true, nil
	case m.Archive == nil:
		s.problems.add("the manifest beside it does not speak of the archive")
	case *m.Archive != s.digest:
		s.problems.add("%s", notAsMade(s.digest, *m.Archive))
	}
	if !m.listed {
		if !s.locked || !sameHead(m, s.manifest) {
			s.problems.add("the manifest beside it differs from the one within")
		}
		return true, nil
	}
	size, err := s.within.Seek(0, io.SeekEnd)
	if err != nil {
		return true, err
	}
	same, err := samePrefix(s.within, side, size-int64(len("}\n")))
	if err == nil && !same {
		s.problems.add("the manifest beside it differs from the one within")
	}
	return true, err
}

func notAsMade(is, was Digest) string {
	return fmt.Sprintf("it is not as it was made: SHA-256 %s with %d bytes, not %s with %d", is.SHA256, is.Bytes, was.SHA256, was.Bytes)
}

// sameHead compares all but the entries, and what is said of the archive.
func sameHead(a, b Manifest) bool {
	same := a.Created.Equal(b.Created)
	for _, m := range []*Manifest{&a, &b} {
		m.Created, m.Archive, m.listed = time.Time{}, nil, false
	}
	return same && a == b
}

func samePrefix(a, b io.ReaderAt, size int64) (bool, error) {
	const chunk = 64 << 10
	one, two := make([]byte, chunk), make([]byte, chunk)
	for at := int64(0); at < size; at += chunk {
		n := min(chunk, size-at)
		if _, err := a.ReadAt(one[:n], at); err != nil && err != io.EOF {
			return false, err
		}
		got, err := b.ReadAt(two[:n], at)
		if err != nil && err != io.EOF {
			return false, err
		}
		if int64(got) != n || !bytes.Equal(one[:n], two[:n]) {
			return false, nil
		}
	}
	return true, nil
}
