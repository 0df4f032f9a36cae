package compress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/stepd/stepd/sdk"
)

// publish gives archive and manifest their names. The archive is first, as it
// verifies by the manifest within too. An encrypted one does not, without a key:
// there the manifest is first, and alone it means nothing.
func (m *maker) publish(part string) error {
	taken := sdk.Permanent(fmt.Errorf("publish archive: %s was made by somebody else meanwhile", m.final))
	if _, err := os.Lstat(m.final); err == nil {
		return taken
	}
	// A manifest whose archive somebody removed.
	if err := os.Remove(sidePath(m.final)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove an old manifest: %w", err)
	}
	manifest := func() error {
		if err := os.Rename(sidePath(part), sidePath(m.final)); err != nil {
			return fmt.Errorf("publish manifest: %w", err)
		}
		return nil
	}
	archive := func() error {
		err := renameNew(part, m.final)
		if errors.Is(err, fs.ErrExist) {
			return taken
		}
		if err != nil {
			return fmt.Errorf("publish archive: %w", err)
		}
		return nil
	}
	acts := []func() error{archive, manifest}
	if m.head.Encryption != "" {
		acts = []func() error{manifest, archive}
	}
	for i, act := range acts {
		if m.publishing != nil {
			m.publishing(i)
		}
		if err := act(); err != nil {
			return err
		}
		if m.head.Encryption != "" {
			if err := syncDir(filepath.Dir(m.final)); err != nil {
				return err
			}
		}
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

// existing is the archive that an earlier attempt of this step has published,
// nil where there is nothing of that name. One of another run is an error.
func (m *maker) existing(ctx context.Context) (*Archive, error) {
	if _, err := os.Lstat(m.final); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	taken := sdk.Permanent(fmt.Errorf("%s exists already and is not of this run: remove it, or set another name", m.final))
	if m.head.Encryption != "" {
		beside, err := checkSeal(ctx, m.final, func(float64, float64) {})
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil || beside.IdempotencyKey != m.head.IdempotencyKey:
			return nil, taken
		}
		return m.result(beside.Totals, *beside.Archive), nil
	}
	found, sealed, err := check(ctx, m.final, reading{}, func(float64, float64, string) {}, nil)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, taken
	}
	defer found.close()
	if found.manifest.IdempotencyKey != m.head.IdempotencyKey {
		return nil, taken
	}
	if !sealed { // the attempt ended between the two renames
		if err := m.seal(found); err != nil {
			return nil, fmt.Errorf("write the manifest beside the archive: %w", err)
		}
	}
	return m.result(found.totals, found.digest), nil
}

// seal writes the manifest beside an archive anew from the one within.
func (m *maker) seal(found *scan) error {
	size, err := found.within.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(m.final), ".manifest-*.part")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := io.Copy(f, io.NewSectionReader(found.within, 0, size-int64(len("}\n")))); err != nil {
		return err
	}
	fmt.Fprintf(f, ",\"archive\":{\"bytes\":%d,\"sha256\":%q}}\n", found.digest.Bytes, found.digest.SHA256)
	if err := errors.Join(f.Chmod(0o640), f.Sync()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), sidePath(m.final)); err != nil {
		return err
	}
	return syncDir(filepath.Dir(m.final))
}
