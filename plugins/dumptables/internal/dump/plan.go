package dump

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stepd/stepd/sdk"
)

// Rough speed of a dump, for the ETA of a step before it has run.
const bytesPerSecond = 8 << 20

// plan freezes the database and splits the dump into steps.
//
// The frozen copy lies in the run's own directory and outlives the processes, so
// that a crash of the plugin or of the daemon costs the step that was running and
// no other. It goes with the run's directory.
func (d *dumper) plan(ctx context.Context, p *sdk.Plan[Settings]) error {
	_, engine, at, err := d.engine(p.Settings.DSN, p.Info.BaseDir)
	if err != nil {
		return err
	}
	target := targetOf(p.Settings, p.Info)
	if err := claim(target, p.Info); err != nil {
		return err
	}
	dir := frozenDir(p.Info)
	if err := os.RemoveAll(dir); err != nil { // what an interrupted plan left
		return fmt.Errorf("remove an older snapshot: %w", err)
	}
	if err := makeDir(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of the snapshot: %w", err)
	}
	if err := engine.Freeze(ctx, at, dir); err != nil {
		return err
	}
	source, err := engine.Open(ctx, dir)
	if err != nil {
		return err
	}
	defer source.Close()
	objects, err := source.Objects(ctx)
	if err != nil {
		return err
	}
	selection, tables, err := choose(objects, p.Settings)
	if err != nil {
		return err
	}
	return split(p, selection, tables)
}

func split(p *sdk.Plan[Settings], selection Selection, tables []Object) error {
	settings := p.Settings
	files := number(len(tables) + 1)
	add := func(name string, order int, bytes int64, work part) error {
		settings.Part = &work
		return p.Add(sdk.Planned[Settings]{Name: name, Settings: settings, Order: order,
			Weight: 1 + float64(bytes)/(64<<10),
			ETA:    max(10*time.Millisecond, time.Duration(float64(bytes)/bytesPerSecond*float64(time.Second)))})
	}
	if selection.Mode == Recreate {
		if err := add(schemaStep, 1, 0, part{Kind: partSchema, File: files.file(0, "schema")}); err != nil {
			return err
		}
	}
	var total int64
	taken := map[string]bool{}
	for i, table := range tables {
		name := stepName(table.Name)
		for try := 2; taken[strings.ToLower(name)]; try++ { // only where hashes of names are the same
			name = fmt.Sprintf("%s-%d", stepName(table.Name), try)
		}
		taken[strings.ToLower(name)] = true
		total += table.Bytes
		if err := add(name, 2, table.Bytes, part{Kind: partTable, Table: table.Name, File: files.file(i+1, name)}); err != nil {
			return err
		}
	}
	// It reads all files again to check them.
	if err := add(finishStep, 3, total/8, part{Kind: partFinish, File: files.file(len(tables)+1, "finish")}); err != nil {
		return err
	}
	p.Message("%s, about %s", sdk.Count(int64(len(tables)), "table"), sdk.Bytes(total))
	return nil
}

func targetOf(s Settings, info sdk.Info) string {
	if s.Target == "" {
		return info.Work("tables")
	}
	return info.Path(s.Target)
}

// frozenDir is where the snapshot of a step lies: hidden, as it is no part of
// what the run makes.
func frozenDir(info sdk.Info) string {
	step, _, _ := strings.Cut(info.Step, "/")
	return info.Work(".dumptables", step)
}

// claim makes the target the place of this dump: what an older dump left there is
// removed, and anything else is refused. The manifest that it writes says that
// the dump is not complete.
func claim(target string, info sdk.Info) error {
	if err := makeDir(target, 0o700); err != nil {
		return fmt.Errorf("make the target %s: %w", target, err)
	}
	entries, err := os.ReadDir(target)
	if err != nil {
		return fmt.Errorf("read the target: %w", err)
	}
	older, err := readManifest(target)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if len(entries) > 0 {
			return sdk.Permanent(fmt.Errorf("the target %s holds files that are no dump: empty it or choose another", target))
		}
	case err != nil:
		return err
	case older.Task == info.Task && older.Run == info.Run && older.Step != info.Step:
		return sdk.Permanent(fmt.Errorf("step %s of the same run dumps into %s already: give each step its own target", older.Step, target))
	}
	fresh := Manifest{Format: manifestFormat, Task: info.Task, Run: info.Run, Step: info.Step}
	if err := writeJSON(target, ManifestName, fresh); err != nil {
		return fmt.Errorf("claim the target %s: %w", target, err)
	}
	for _, entry := range entries {
		if dumpFile.MatchString(entry.Name()) && entry.Type().IsRegular() {
			if err := os.Remove(filepath.Join(target, entry.Name())); err != nil {
				return fmt.Errorf("remove a file of an older dump: %w", err)
			}
		}
	}
	return nil
}
