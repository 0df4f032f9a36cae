package dump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/stepd/stepd/sdk"
)

// planRestore splits a load into a step for each file where the engine loads
// that way, and is one step where it loads all or nothing.
func (d *dumper) planRestore(ctx context.Context, p *sdk.Plan[RestoreSettings]) error {
	engine, l, err := d.loading(p.Settings, p.Info)
	if err != nil {
		return err
	}
	loader, stepwise := engine.(StepLoader)
	settings := p.Settings
	settings.Password = sdk.Secret{} // planned steps are stored
	add := func(name string, order int, bytes int64, work part) error {
		settings.Part = &work
		return p.Add(planned(name, settings, order, bytes))
	}
	if !stepwise {
		keepPassword(p)
		return add(loadStep, 1, l.Manifest.Bytes(), part{Kind: partLoad})
	}
	l.Warn = func(message string) { p.Log().Warn(message) }
	if err := admit(ctx, p.Info, loader, l); err != nil {
		return err
	}
	keepPassword(p)
	if err := add(checkStep, 1, l.Manifest.Bytes()/8, part{Kind: partCheck}); err != nil {
		return err
	}
	if err := add(schemaStep, 2, 0, part{Kind: partSchema}); err != nil {
		return err
	}
	names := stepNames{}
	for _, table := range l.Manifest.Tables {
		if err := add(names.ofPart(table.Table, table.Part), 3, table.Bytes, part{Kind: partTable, Table: table.Table, Part: table.Part}); err != nil {
			return err
		}
	}
	for i, stage := range l.Manifest.Stages {
		if err := add(stageStep(stage.Stage), 4+i, stage.Bytes, part{Kind: partStage, Stage: stage.Stage}); err != nil {
			return err
		}
	}
	if err := add(finishStep, 4+len(l.Manifest.Stages), 0, part{Kind: partFinish}); err != nil {
		return err
	}
	p.Message("%s, %d rows", sdk.Count(int64(len(l.Manifest.Names())), "table"), l.Manifest.Rows())
	return nil
}

// admittedName marks, in the run's directory, a database that this step has
// begun to load into: what it holds is the step's own.
const admittedName = "admitted"

// admit asks the engine once: a plan that is made again, as its answer or its
// session was lost, finds what its own steps have loaded.
func admit(ctx context.Context, info sdk.Info, loader StepLoader, l Loading) error {
	dir := frozenDir(info)
	if _, err := os.Stat(filepath.Join(dir, admittedName)); err == nil {
		return nil
	}
	if err := loader.Admit(ctx, l); err != nil {
		return err
	}
	if err := makeDir(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of the load: %w", err)
	}
	return writeJSON(dir, admittedName, l.Dir)
}

// password is a session: the planned steps, which are stored, must not have it.
type password struct{ sdk.Secret }

func (password) Close() error { return nil }

// keepPassword keeps a password that was given itself. One that is in a file
// is read by each step, so that the load outlives this process.
func keepPassword(p *sdk.Plan[RestoreSettings]) {
	if p.Settings.Password.Reveal() != "" {
		p.Keep(password{p.Settings.Password})
	}
}

// restore does one planned step, or, unplanned, all that an engine does at once.
func (d *dumper) restore(ctx context.Context, step *sdk.Step[RestoreSettings]) error {
	if kept, ok := sdk.Session[password](step); ok {
		step.Settings.Password = kept.Secret
	}
	engine, l, err := d.loading(step.Settings, step.Info)
	if err != nil {
		return err
	}
	l.Progress = func(bytes int64, file string) { step.Progress(float64(bytes), float64(l.Manifest.Bytes()), file) }
	l.Warn = func(message string) { step.Log().Warn(message) }
	if loader, ok := engine.(Loader); ok {
		return loadWhole(ctx, step, loader, l)
	}
	loader, ok := engine.(StepLoader)
	if !ok || step.Settings.Part == nil {
		return sdk.Permanent(errors.New("the step was not planned: this database is loaded only through a plan"))
	}
	return loadPart(ctx, step, loader, l)
}

// loading finds the dump and the database and refuses what cannot fit.
func (d *dumper) loading(s RestoreSettings, info sdk.Info) (Engine, Loading, error) {
	dir := info.Work("tables")
	if s.Source != "" {
		dir = info.Path(s.Source)
	}
	engine, to, err := d.engine(s.DSN, s.Programs, info)
	if err != nil {
		return nil, Loading{}, err
	}
	if to.Password, err = passwordOf(s.Password, s.PasswordFile, info); err != nil {
		return nil, Loading{}, err
	}
	manifest, err := readManifest(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, Loading{}, sdk.Permanent(fmt.Errorf("setting source: %s holds no dump (there is no %s)", dir, ManifestName))
	}
	if err != nil {
		return nil, Loading{}, err
	}
	if err := manifest.check(); err != nil {
		return nil, Loading{}, sdk.Permanent(fmt.Errorf("load %s: %w", dir, err))
	}
	if manifest.Engine != engine.Name() {
		return nil, Loading{}, sdk.Permanent(fmt.Errorf("the dump in %s comes from %s and cannot go into %s", dir, manifest.Engine, engine.Name()))
	}
	return engine, Loading{To: to, Dir: dir, Manifest: manifest, Overwrite: s.Overwrite}, nil
}

// loadWhole checks a dump and loads it. It needs no checkpoint: the database
// gets all of it or nothing, and loading again gives the same.
func loadWhole(ctx context.Context, step *sdk.Step[RestoreSettings], loader Loader, l Loading) error {
	// Checking takes about a tenth of the time of loading.
	total := float64(l.Manifest.Bytes())
	err := checkAll(ctx, l, func(checked int64, file string) {
		step.Progress(float64(checked)/10, total*1.1, "checking "+file)
	})
	if err != nil {
		return err
	}
	l.Progress = func(bytes int64, file string) { step.Progress(float64(bytes)+total/10, total*1.1, file) }
	if err := loader.Load(ctx, l); err != nil {
		return err
	}
	step.Progress(total*1.1, total*1.1, "")
	return restored(step, l)
}

func checkAll(ctx context.Context, l Loading, seen func(checked int64, file string)) error {
	var checked int64
	for _, file := range l.Manifest.Files() {
		err := checkFile(ctx, l.Dir, file, func(n int) {
			checked += int64(n)
			seen(checked, file.File)
		})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return sdk.Permanent(fmt.Errorf("check the dump: %w", err))
		}
	}
	return nil
}

func restored(step *sdk.Step[RestoreSettings], l Loading) error {
	tables := len(l.Manifest.Names())
	step.Count(map[string]int64{"rows": l.Manifest.Rows(), "tables": int64(tables)})
	step.Message("%s, %d rows", sdk.Count(int64(tables), "table"), l.Manifest.Rows())
	return step.Output("restored", map[string]any{"tables": tables, "rows": l.Manifest.Rows()})
}

func loadPart(ctx context.Context, step *sdk.Step[RestoreSettings], loader StepLoader, l Loading) error {
	work := step.Settings.Part
	dir := frozenDir(step.Info)
	switch work.Kind {
	case partCheck:
		return checkAll(ctx, l, l.Progress)
	case partSchema:
		return loader.LoadSchema(ctx, l, dir)
	case partTable:
		for _, table := range l.Manifest.Tables {
			if table.Table != work.Table || table.Part != work.Part {
				continue
			}
			l.Progress = func(bytes int64, _ string) { step.Progress(float64(bytes), float64(table.Bytes), "") }
			if err := loader.LoadTable(ctx, l, table); err != nil {
				return fmt.Errorf("load table %q%s: %w", work.Table, ofPart(work.Part), err)
			}
			step.Count(map[string]int64{"rows": table.Rows})
			step.Message("%s", sdk.Count(table.Rows, "row"))
			return nil
		}
	case partStage:
		for _, stage := range l.Manifest.Stages {
			if stage.Stage == work.Stage {
				return loader.LoadStage(ctx, l, stage)
			}
		}
	case partFinish:
		if err := loader.LoadRest(ctx, l, dir); err != nil {
			return err
		}
		return restored(step, l)
	}
	return sdk.Permanent(fmt.Errorf("the dump in %s is another one than the plan was made for: start the task again", l.Dir))
}

var _ io.Closer = password{}
