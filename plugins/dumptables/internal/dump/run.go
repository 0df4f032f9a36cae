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
// frozen state and replaces its own file.
func (d *dumper) run(ctx context.Context, step *sdk.Step[Settings]) error {
	work := step.Settings.Part
	if work == nil {
		return sdk.Permanent(errors.New("the step was not planned: dumptables works only through its plan"))
	}
	engine, _, err := d.engine(step.Settings.DSN, step.Settings.Programs, step.Info)
	if err != nil {
		return err
	}
	held, _ := sdk.Session[io.Closer](step)
	source, err := engine.Open(ctx, frozenDir(step.Info), held)
	if err != nil {
		return err
	}
	defer source.Close()
	switch work.Kind {
	case partTable:
		return dumpTable(ctx, step, source)
	case partSchema:
		return dumpSchema(ctx, step, source)
	case partStage:
		return dumpStage(ctx, step, source)
	case partFinish:
		if err := finish(ctx, step, source, engine.Name()); err != nil || held == nil {
			return err
		}
		// The run may go on for hours, and its server would keep all old rows for a
		// transaction that nobody reads any more. Should this completion be lost, all
		// starts again.
		if err := held.Close(); err != nil {
			step.Log().Warn("the snapshot could not be given back; it goes with the run", "error", err)
		}
		return nil
	}
	return sdk.Permanent(fmt.Errorf("the planned step has an unknown kind %q", work.Kind))
}

func dumpTable(ctx context.Context, step *sdk.Step[Settings], source Source) error {
	work := step.Settings.Part
	total := work.About
	var err error
	if work.Range.Whole() {
		if total, err = source.CountRows(ctx, work.Table); err != nil {
			return err
		}
	}
	report := func(rows int64) {
		step.Progress(float64(rows), float64(max(rows, total)), "")
		step.Count(map[string]int64{"rows": rows})
	}
	table := Table{Table: work.Table, Part: work.Part, Range: work.Range}
	table.File, err = writeFile(targetOf(step.Settings, step.Info), work.File, func(w io.Writer) error {
		wrote, err := source.WriteRows(ctx, w, work.Table, work.Range, report)
		table.Rows, table.Checksum = wrote.Rows, wrote.Checksum
		return err
	})
	if err != nil {
		return fmt.Errorf("dump table %q%s: %w", work.Table, ofPart(work.Part), err)
	}
	step.Progress(1, 1, "") // the total was a guess
	step.Count(map[string]int64{"rows": table.Rows})
	if err := keep(step, partTable, table); err != nil {
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
	return keep(step, partSchema, Table{File: file})
}

func dumpStage(ctx context.Context, step *sdk.Step[Settings], source Source) error {
	selection, err := selected(ctx, step, source)
	if err != nil {
		return err
	}
	stage := step.Settings.Part.Stage
	file, err := writeFile(targetOf(step.Settings, step.Info), step.Settings.Part.File, func(w io.Writer) error {
		return source.WriteStage(ctx, w, selection, stage)
	})
	if err != nil {
		return fmt.Errorf("dump the %s: %w", stage, err)
	}
	step.Message("%s", sdk.Bytes(file.Bytes))
	return keep(step, partStage, Table{Table: stage, File: file})
}

// finish writes what comes after the rows, checks all files and completes the
// manifest.
func finish(ctx context.Context, step *sdk.Step[Settings], source Source, name string) error {
	target := targetOf(step.Settings, step.Info)
	objects, err := source.Objects(ctx)
	if err != nil {
		return err
	}
	selection, tables, err := choose(objects, step.Settings)
	if err != nil {
		return err
	}
	stages, err := source.Stages(ctx, selection)
	if err != nil {
		return err
	}
	last, err := writeFile(target, step.Settings.Part.File, func(w io.Writer) error {
		return source.WriteRest(ctx, w, selection)
	})
	if err != nil {
		return fmt.Errorf("dump what comes after the rows: %w", err)
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
		Engine: name, Mode: selection.Mode, Whole: selection.Whole,
		FrozenAt: facts.FrozenAt, Properties: facts.Properties, Finish: &last,
		OutsideSnapshot: outsideSnapshot(tables),
	}
	if err := manifest.recall(step, selection, stages); err != nil {
		return err
	}
	broken, err := source.BrokenReferences(ctx, selection.Tables)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		step.Log().Warn("the foreign keys of the database could not be checked", "error", err)
	case broken >= 0:
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
	step.Message("%s, %d rows, %s%s", sdk.Count(int64(len(manifest.Names())), "table"), manifest.Rows(), sdk.Bytes(total), noteOutside(manifest.OutsideSnapshot))
	return step.Output("dump", map[string]any{
		"dir": target, "tables": len(manifest.Names()), "rows": manifest.Rows(), "bytes": total,
	})
}

// selected chooses again as the plan did: the frozen state and the settings are
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
func keep(step *sdk.Step[Settings], kind partKind, table Table) error {
	note := record{Plan: step.Settings.Part.Plan, Table: table}
	if err := writeJSON(frozenDir(step.Info), recordName(kind, table.Table, table.Part), note); err != nil {
		return fmt.Errorf("record what was written: %w", err)
	}
	return nil
}

// record is what a step has written, and of which plan it was.
type record struct {
	Plan string `json:"plan"`
	Table
}

// recordName is unlike those of all other tables: names of steps have no "+".
func recordName(kind partKind, name string, part int) string {
	switch {
	case kind == partSchema:
		return "schema.json"
	case part > 0:
		return fmt.Sprintf("%s-%s+%d.json", kind, stepName(name), part)
	}
	return string(kind) + "-" + stepName(name) + ".json"
}

// ofPart is what a message says of a part of a table.
func ofPart(part int) string {
	if part == 0 {
		return ""
	}
	return fmt.Sprintf(", part %d", part)
}

// recall adds what the steps have recorded.
func (m *Manifest) recall(step *sdk.Step[Settings], selection Selection, stages []string) error {
	read := func(kind partKind, name string, part int) (Table, error) {
		var note record
		raw, err := os.ReadFile(filepath.Join(frozenDir(step.Info), recordName(kind, name, part)))
		if err == nil {
			err = json.Unmarshal(raw, &note)
		}
		if err == nil && note.Plan != step.Settings.Part.Plan {
			err = errors.New("it is of another snapshot")
		}
		if err != nil {
			return note.Table, fmt.Errorf("read what the step of %s %q%s has recorded: %w", kind, name, ofPart(part), err)
		}
		return note.Table, nil
	}
	if selection.Mode == Recreate {
		record, err := read(partSchema, "", 0)
		if err != nil {
			return err
		}
		m.Schema = &record.File
	}
	for _, table := range selection.Tables {
		parts := step.Settings.Part.Parts[table]
		for n := min(1, parts); n <= parts; n++ {
			record, err := read(partTable, table, n)
			if err != nil {
				return err
			}
			m.Tables = append(m.Tables, record)
		}
	}
	for _, stage := range stages {
		record, err := read(partStage, stage, 0)
		if err != nil {
			return err
		}
		m.Stages = append(m.Stages, Stage{Stage: stage, File: record.File})
	}
	return nil
}
