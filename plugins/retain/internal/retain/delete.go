package retain

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/stepd/stepd/sdk"
)

// deleter deletes archives of one directory. Each step is durable before the
// next, as what follows must not survive a power cut that it did not.
type deleter struct {
	root *os.Root
	dir  *os.File
	// before is where tests step in: it is told what comes, and an error of it
	// ends everything at once, like a crash.
	before func(act, name string) error
}

// remove deletes an archive and what belongs to it. First it takes the
// archive's name away: whatever is left after a crash from then on says itself
// what it is.
func (d *deleter) remove(a *archive) error {
	now, err := d.root.Lstat(a.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // somebody else was quicker
	}
	if err != nil {
		return deleteError(a.name, err)
	}
	if !os.SameFile(now, a.info) || now.Size() != a.info.Size() || !now.ModTime().Equal(a.info.ModTime()) {
		return fmt.Errorf("delete %s: it was replaced while this step was at work", a.name)
	}
	if err := d.before("hide", a.name); err != nil {
		return err
	}
	if err := d.root.Rename(a.name, going(a.name)); err != nil {
		return deleteError(a.name, err)
	}
	if err := d.sync(); err != nil {
		return deleteError(a.name, err)
	}
	return d.finish(a.name)
}

func going(name string) string { return goingPrefix + name + goingSuffix }

// finish deletes what is left of an archive that has lost its name. Where there
// is a new one of that name meanwhile, the files beside it are the new one's.
func (d *deleter) finish(name string) error {
	_, err := d.root.Lstat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return deleteError(name, err)
	}
	if err != nil {
		for _, suffix := range []string{reportSuffix, manifestSuffix} {
			if err := d.removeFile(name + suffix); err != nil {
				return err
			}
		}
		if err := d.sync(); err != nil {
			return deleteError(name, err)
		}
	}
	if err := d.removeFile(going(name)); err != nil {
		return err
	}
	return d.sync()
}

// removeFile removes a file, or a link as such; never a directory.
func (d *deleter) removeFile(name string) error {
	info, err := d.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.IsDir() {
		return sdk.Permanent(fmt.Errorf("delete %s: it is a directory, which nobody expected there: look at it and remove it", name))
	}
	if err == nil {
		err = d.before("remove", name)
	}
	if err == nil {
		err = d.root.Remove(name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return deleteError(name, err)
	}
	return nil
}

func (d *deleter) sync() error { return d.dir.Sync() }

// deleteError is permanent where trying again cannot help.
func deleteError(name string, err error) error {
	name = strings.TrimPrefix(strings.TrimSuffix(name, goingSuffix), goingPrefix)
	var pathError *fs.PathError
	var linkError *os.LinkError
	switch {
	case errors.As(err, &pathError):
		err = pathError.Err
	case errors.As(err, &linkError):
		err = linkError.Err
	}
	err = fmt.Errorf("delete %s: %w", name, err)
	for _, code := range []syscall.Errno{syscall.EACCES, syscall.EPERM, syscall.EROFS} {
		if errors.Is(err, code) {
			return sdk.Permanent(err)
		}
	}
	return err
}
