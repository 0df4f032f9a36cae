package compress

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/stepd/stepd/sdk"
)

// mergeInto moves a verified tree into a directory that has something already,
// one name at a time. Directories are never replaced by something else, nor
// the other way.
func mergeInto(staging, target string) error {
	root, err := os.OpenRoot(target)
	if err != nil {
		return err
	}
	defer root.Close()
	return mergeDir(root, filepath.Base(staging), ".")
}

func mergeDir(root *os.Root, from, to string) error {
	dir, err := root.Open(from)
	if err != nil {
		return err
	}
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	info, err := dir.Stat()
	if err = errors.Join(err, dir.Close()); err != nil {
		return err
	}
	if info.Mode().Perm()&0o700 != 0o700 {
		if err := root.Chmod(from, 0o700); err != nil {
			return err
		}
	}
	for _, entry := range entries {
		source, name := path.Join(from, entry.Name()), path.Join(to, entry.Name())
		there, err := root.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case there.IsDir() != entry.IsDir():
			return sdk.Permanent(fmt.Errorf("restore %s: what is there is of another kind (file, directory or link): move it away", name))
		case entry.IsDir():
			if err := mergeDir(root, source, name); err != nil {
				return err
			}
			continue
		}
		if err := root.Rename(source, name); err != nil {
			return fmt.Errorf("restore %s: %w", name, err)
		}
	}
	if to == "." {
		return nil
	}
	if err := root.Chmod(to, info.Mode().Perm()|info.Mode()&fs.ModeSticky); err != nil {
		return err
	}
	return root.Chtimes(to, time.Time{}, info.ModTime())
}
