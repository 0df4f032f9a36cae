package dump

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/stepd/stepd/sdk"
)

// restore checks a dump and loads it. It needs no checkpoint: the database gets
// all of it or nothing, and loading again gives the same.
func (d *dumper) restore(ctx context.Context, step *sdk.Step[RestoreSettings]) error {
	dir := step.Info.Work("tables")
	if step.Settings.Source != "" {
		dir = step.Info.Path(step.Settings.Source)
	}
	scheme, engine, to, err := d.engine(step.Settings.DSN, step.Info.BaseDir)
	if err != nil {
		return err
	}
	manifest, err := readManifest(dir)
	if errors.Is(err, os.ErrNotExist) {
		return sdk.Permanent(fmt.Errorf("setting source: %s holds no dump (there is no %s)", dir, ManifestName))
	}
	if err != nil {
		return err
	}
	if err := manifest.check(); err != nil {
		return sdk.Permanent(fmt.Errorf("load %s: %w", dir, err))
	}
	if manifest.Engine != scheme {
		return sdk.Permanent(fmt.Errorf("the dump in %s comes from %s and cannot go into %s", dir, manifest.Engine, scheme))
	}
	// Checking takes about a tenth of the time of loading.
	total := float64(manifest.Bytes())
	var checked int64
	for _, file := range manifest.Files() {
		err := checkFile(ctx, dir, file, func(n int) {
			checked += int64(n)
			step.Progress(float64(checked)/10, total*1.1, "checking "+file.File)
		})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return sdk.Permanent(fmt.Errorf("check the dump: %w", err))
		}
	}
	err = engine.Load(ctx, Loading{
		To: to, Dir: dir, Manifest: manifest, Overwrite: step.Settings.Overwrite,
		Progress: func(bytes int64, file string) { step.Progress(float64(bytes)+total/10, total*1.1, file) },
		Warn:     func(message string) { step.Log().Warn(message) },
	})
	if err != nil {
		return err
	}
	step.Count(map[string]int64{"rows": manifest.Rows(), "tables": int64(len(manifest.Tables))})
	step.Progress(total*1.1, total*1.1, "")
	step.Message("%s, %d rows", sdk.Count(int64(len(manifest.Tables)), "table"), manifest.Rows())
	return step.Output("restored", map[string]any{"tables": len(manifest.Tables), "rows": manifest.Rows()})
}
