package dump

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/stepd/stepd/sdk"
)

// run does one planned step. Each may be done again at any time: it reads the
// frozen copy and replaces its own file.
func (d *dumper) run(ctx context.Context, step *sdk.Step[Settings]) error {
	work := step.Settings.Part
	if work == nil {
		return sdk.Permanent(errors.New("the step was not planned: dumptables works only through its plan"))
	}
	scheme, engine, _, err := d.engine(step.Settings.DSN, step.Info.BaseDir)
	if err != nil {
		return err
	}
	source, err := engine.Open(ctx, frozenDir(step.Info))
	if err != nil {
		return err
	}
	defer source.Close()
	switch work.Kind {
	case partTable:
		return dumpTable(ctx, step, source)
	case partSchema:
		return dumpSchema(ctx, step, source)
	case partFinish:
		return finish(ctx, step, source, scheme)
	}
	return sdk.Permanent(fmt.Errorf("the planned step has an unknown kind %q", work.Kind))
}

func dumpTable(ctx context.Context, step *sdk.Step[Settings], source Source) error {
	work := step.Settings.Part
	total, err := source.CountRows(ctx, work.Table)
	if err != nil {
		return err
	}
	report := func(rows int64) {
		step.Progress(float64(rows), float64(total), "")
		step.Count(map[string]int64{"rows": rows})
	}
	table := Table{Table: work.Table}
	table.File, err = writeFile(targetOf(step.Settings, step.Info), work.File, func(w io.Writer) error {
		var err error
		table.Rows, err = source.WriteRows(ctx, w, work.Table, report)
		return err
	})
	if err != nil {
		return fmt.Errorf("dump table %q: %w", work.Table, err)
	}
	report(table.Rows)
	if err := keep(step.Info, partTable, table); err != nil {
		return err
	}
	step.Message("%s, %s", sdk.Count(table.Rows, "row"), sdk.Bytes(table.Bytes))
	return step.Output("table", table)
}

func dumpSchema(ctx context.Context, step *sdk.Step[Settings], source Source) error {
	selection, err := selected(ctx, step, source)
	if err != nil {
		return err
	}
	file, err := writeFile(targetOf(step.Settings, step.Info), step.Settings.Part.File, func(w io.Writer) error {
		return source.WriteSchema(ctx, w, selection)
	})
	if err != nil {
		return fmt.Errorf("dump the schema: %w", err)
	}
	step.Message("%s", sdk.Count(int64(len(selection.Tables)), "table"))
	return keep(step.Info, partSchema, Table{File: file})
}

// finish writes what comes after the rows, checks all files and completes the
// manifest.
func finish(ctx context.Context, step *sdk.Step[Settings], source Source, scheme string) error {
	target := targetOf(step.Settings, step.Info)
	selection, err := selected(ctx, step, source)
	if err != nil {
		return err
	}
	last, err := writeFile(target, step.Settings.Part.File, func(w io.Writer) error {
		return source.WriteRest(ctx, w, selection)
	})
	if err != nil {
		return fmt.Errorf("dump indexes, views and triggers: %w", err)
	}
	facts, err := source.Facts(ctx)
	if err != nil {
		return err
	}
	claimed, err := readManifest(target)
	if err != nil {
		return fmt.Errorf("read the dump's own manifest: %w", err)
	}
	manifest := Manifest{
		Format: manifestFormat, Task: claimed.Task, Run: claimed.Run, Step: claimed.Step,
		Engine: scheme, Mode: selection.Mode, Whole: selection.Whole,
		FrozenAt: facts.FrozenAt, Properties: facts.Properties, Finish: &last,
	}
	if err := manifest.recall(step.Info, selection); err != nil {
		return err
	}
	broken, err := source.BrokenReferences(ctx, selection.Tables)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		step.Log().Warn("the foreign keys of the database could not be checked", "error", err)
	default:
		manifest.BrokenReferences = &broken
		if broken > 0 {
			step.Log().Warn("the database holds rows whose foreign key points nowhere; they are dumped as they are", "rows", broken)
		}
	}
	total := manifest.Bytes()
	var done int64
	for _, file := range manifest.Files() {
		err := checkFile(ctx, target, file, func(n int) {
			done += int64(n)
			step.Progress(float64(done), float64(total), "bytes checked")
		})
		if err != nil {
			return fmt.Errorf("check the dump: %w", err)
		}
	}
	manifest.Complete = true
	if err := writeJSON(target, ManifestName, manifest); err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	step.Message("%s, %d rows, %s", sdk.Count(int64(len(manifest.Tables)), "table"), manifest.Rows(), sdk.Bytes(total))
	return step.Output("dump", map[string]any{
		"dir": target, "tables": len(manifest.Tables), "rows": manifest.Rows(), "bytes": total,
	})
}

// selected chooses again as the plan did: the frozen copy and the settings are
// the same.
func selected(ctx context.Context, step *sdk.Step[Settings], source Source) (Selection, error) {
	objects, err := source.Objects(ctx)
	if err != nil {
		return Selection{}, err
	}
	selection, _, err := choose(objects, step.Settings)
	return selection, err
}

// keep records what a step has written for the finish step, beside the snapshot:
// outputs of the own plan are not to be read by its steps.
func keep(info sdk.Info, kind partKind, table Table) error {
	if err := writeJSON(frozenDir(info), recordName(kind, table.Table), table); err != nil {
		return fmt.Errorf("record what was written: %w", err)
	}
	return nil
}

func recordName(kind partKind, table string) string {
	if kind == partSchema {
		return "schema.json"
	}
	return "table-" + stepName(table) + ".json"
}

// recall adds what the steps have recorded.
func (m *Manifest) recall(info sdk.Info, selection Selection) error {
	read := func(kind partKind, table string) (Table, error) {
		var record Table
		raw, err := os.ReadFile(filepath.Join(frozenDir(info), recordName(kind, table)))
		if err == nil {
			err = json.Unmarshal(raw, &record)
		}
		if err != nil {
			return record, fmt.Errorf("read what the step of table %q has recorded: %w", table, err)
		}
		return record, nil
	}
	if selection.Mode == Recreate {
		record, err := read(partSchema, "")
		if err != nil {
			return err
		}
		m.Schema = &record.File
	}
	for _, table := range selection.Tables {
		record, err := read(partTable, table)
		if err != nil {
			return err
		}
		m.Tables = append(m.Tables, record)
	}
	return nil
}
