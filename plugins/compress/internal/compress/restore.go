package compress

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sys/unix"

	"github.com/stepd/stepd/sdk"
)

// RestoreSettings are the settings of the controller compress/restore.
type RestoreSettings struct {
	Archive      string   `json:"archive,omitempty" jsonschema_description:"Archive, or a directory whose newest archive is meant. Default: backup_dir."`
	BackupDir    string   `json:"backup_dir,omitempty" jsonschema_description:"Directory of the archives, where archive is not given."`
	Pattern      string   `json:"pattern,omitempty" jsonschema_description:"Glob of file names among which the newest archive is chosen."`
	Target       string   `json:"target" jsonschema:"required,minLength=1" jsonschema_description:"Directory to restore into."`
	Include      []string `json:"include,omitempty" jsonschema_description:"Globs of what to restore; a directory that matches comes with all that is in it."`
	Overwrite    bool     `json:"overwrite,omitempty" jsonschema_description:"Restore into a directory that is not empty: what the archive has replaces what is there, the rest stays."`
	MaxBytes     int64    `json:"max_bytes,omitempty" jsonschema:"minimum=1" jsonschema_description:"Refuse an archive that unpacks to more bytes."`
	MaxRatio     int64    `json:"max_ratio,omitempty" jsonschema:"minimum=1" jsonschema_description:"Refuse an archive that unpacks to more than 1 GiB and so many times its size."`
	IdentityFile string   `json:"identity_file,omitempty" jsonschema_description:"File of secret keys (age or ssh; nobody else may read it) for encrypted archives."`
	UnsafeLinks  string   `json:"unsafe_links,omitempty" jsonschema:"enum=refuse,enum=skip,enum=keep" jsonschema_description:"What to do with symbolic links that lead out of the target."`
}

// Restored is the output "restored".
type Restored struct {
	Files  int64  `json:"files"`
	Bytes  int64  `json:"bytes"`
	Target string `json:"target"`
}

func (t tuning) restore(ctx context.Context, step *sdk.Step[RestoreSettings]) error {
	defer t.end()
	s := step.Settings
	archive, err := choose(step.Info, s.Archive, s.BackupDir, s.Pattern)
	if err != nil {
		return err
	}
	include := make([]string, len(s.Include))
	for i, pattern := range s.Include {
		if !doublestar.ValidatePattern(pattern) {
			return sdk.Permanent(fmt.Errorf("include: %q is not a valid pattern", pattern))
		}
		include[i] = path.Clean(pattern)
	}
	target := step.Info.Path(s.Target)
	empty, err := isEmpty(target)
	if err != nil {
		return err
	}
	r := &restorer{include: include, links: s.UnsafeLinks, owner: os.Geteuid() == 0, skipped: func(p, to string) {
		step.Log().Warn("left out: a symbolic link that leads out of the target", "path", p, "to", to)
	}}
	sum := sha256.Sum256([]byte(step.Info.IdempotencyKey))
	mark := fmt.Sprintf("%x", sum[:6])
	how := reading{temp: tempDir(step.Info.WorkDir), limits: limits{maxBytes: s.MaxBytes, maxRatio: s.MaxRatio}}
	if how.keys, err = identities(step.Info, s.IdentityFile); err != nil {
		return sdk.Permanent(err)
	}
	if !empty && !s.Overwrite {
		// Perhaps an earlier attempt has restored it and could not say so.
		root, err := os.OpenRoot(target)
		if err != nil {
			return err
		}
		defer root.Close()
		compared := &comparer{restorer: r, target: root}
		found, _, err := check(ctx, archive, how, step.Progress, compared.same)
		if errors.Is(err, errLocked) {
			return verdict(archive, err)
		}
		if err == nil {
			found.close()
			err = compared.nothingElse(ctx, target)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return sdk.Permanent(fmt.Errorf("target %s is not empty and not just what the archive holds: choose another, or set overwrite: true", target))
		}
	} else if err := r.restoreInto(ctx, step, archive, target, mark, how, s.Overwrite && !empty); err != nil {
		return err
	}
	note := ""
	if missing := r.unmatched(s.Include); len(missing) > 0 {
		note = "; nothing matches " + strings.Join(missing, ", ")
		step.Log().Warn("nothing in the archive matches patterns of include", "patterns", strings.Join(missing, ", "), "archive", archive)
	}
	step.Message("restored %s, %s, from %s%s", sdk.Count(r.files, "file"), sdk.Bytes(r.bytes), filepath.Base(archive), note)
	return step.Output("restored", Restored{Files: r.files, Bytes: r.bytes, Target: target})
}

// isEmpty reports whether there is nothing at path, or an empty directory.
func isEmpty(path string) (bool, error) {
	dir, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("open target: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(1)
	switch {
	case err == io.EOF:
		return true, nil
	case errors.Is(err, syscall.ENOTDIR):
		return false, sdk.Permanent(fmt.Errorf("target %s is not a directory", path))
	case err != nil:
		return false, fmt.Errorf("read target: %w", err)
	}
	return len(names) == 0, nil
}

func (r *restorer) restoreInto(ctx context.Context, step *sdk.Step[RestoreSettings], archive, target, mark string, how reading, merge bool) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return fmt.Errorf("make target: %w", err)
	}
	staging := filepath.Join(filepath.Dir(target), "."+filepath.Base(target)+".restore-"+mark)
	if merge {
		staging = filepath.Join(target, ".restore-"+mark)
	}
	if err := removeAll(staging); err != nil {
		return fmt.Errorf("remove what an earlier attempt left: %w", err)
	}
	if err := os.Mkdir(staging, 0o700); err != nil {
		return fmt.Errorf("make target: %w", err)
	}
	defer func() {
		if err := removeAll(staging); err != nil {
			step.Log().Warn("could not remove temporary files", "error", err)
		}
	}()
	var err error
	if r.root, err = os.OpenRoot(staging); err != nil {
		return err
	}
	defer r.root.Close()
	how.temp = filepath.Dir(staging)
	found, _, err := check(ctx, archive, how, step.Progress, r.extract)
	if err != nil {
		return verdict(archive, err)
	}
	found.close()
	if err := r.anyMatched(step.Settings.Include, archive); err != nil {
		return err
	}
	if err := r.closeDirs(0); err != nil {
		return err
	}
	if err := syncAll(staging); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if merge {
		if err := mergeInto(staging, target); err != nil {
			return err
		}
		return syncAll(target)
	}
	// Not os.Rename, which refuses an empty directory in that place.
	if err := unix.Rename(staging, target); err != nil {
		if errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.EBUSY) {
			return sdk.Permanent(fmt.Errorf("target %s is a mount point: choose a directory in it", target))
		}
		return fmt.Errorf("move what was restored to the target: %w", err)
	}
	return syncDir(filepath.Dir(target))
}

func syncAll(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("make %s durable: %w", path, err)
	}
	return nil
}

// removeAll also removes directories that have lost their write permission.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(p string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			return os.Chmod(p, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
