package dump

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stepd/stepd/sdk"
)

// Rough speed of a dump, for the ETA of a step before it has run.
const bytesPerSecond = 8 << 20

// plan freezes the database and splits the dump into steps.
//
// A frozen copy lies in the run's own directory and outlives the processes, so
// that a crash of the plugin or of the daemon costs the step that was running and
// no other. It goes with the run's directory. A state that lives in connections
// is kept as the plan's session: when it is lost, all steps start again.
func (d *dumper) plan(ctx context.Context, p *sdk.Plan[Settings]) error {
	engine, at, err := d.engine(p.Settings.DSN, p.Settings.Programs, p.Info)
	if err != nil {
		return err
	}
	if at.Password, err = passwordOf(p.Settings.Password, p.Settings.PasswordFile, p.Info); err != nil {
		return err
	}
	at.Connections = max(1, p.Settings.Connections)
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
	held, err := engine.Freeze(ctx, at, dir)
	if err != nil {
		return err
	}
	if held != nil {
		p.Keep(held)
	}
	source, err := engine.Open(ctx, dir, held)
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
	stages, err := source.Stages(ctx, selection)
	if err != nil {
		return err
	}
	if outside := outsideSnapshot(tables); len(outside) > 0 {
		p.Log().Warn("tables without transactions are not part of the snapshot: what others write into them meanwhile may be in the dump or not", "tables", strings.Join(outside, ", "))
	}
	parts, err := pieces(ctx, p, source, tables)
	if err != nil {
		return err
	}
	return split(p, selection, parts, stages, outsideSnapshot(tables))
}

func outsideSnapshot(tables []Object) []string {
	var names []string
	for _, table := range tables {
		if table.Outside != "" {
			names = append(names, table.Name)
		}
	}
	return names
}

// piece is a table, or a part of one.
type piece struct {
	table  string
	part   int
	within Range
	bytes  int64
}

// pieces are the tables, those of many rows in parts where the settings ask for
// them and the engine can.
func pieces(ctx context.Context, p *sdk.Plan[Settings], source Source, tables []Object) ([]piece, error) {
	var list []piece
	var whole []string
	splitter, can := source.(Splitter)
	for _, table := range tables {
		var parts []Range
		var why string
		var err error
		if p.Settings.SplitRows > 0 && can {
			if parts, why, err = splitter.Split(ctx, table.Name, p.Settings.SplitRows); err != nil {
				return nil, fmt.Errorf("split table %q: %w", table.Name, err)
			}
		}
		if why != "" {
			whole = append(whole, fmt.Sprintf("%s (%s)", table.Name, why))
		}
		if len(parts) < 2 {
			list = append(list, piece{table: table.Name, bytes: table.Bytes})
			continue
		}
		var rows int64
		for _, part := range parts {
			rows += max(1, part.Rows)
		}
		for i, part := range parts {
			bytes := int64(float64(table.Bytes) * float64(max(1, part.Rows)) / float64(rows))
			list = append(list, piece{table: table.Name, part: i + 1, within: part, bytes: bytes})
		}
	}
	switch {
	case p.Settings.SplitRows > 0 && !can:
		p.Log().Warn("setting split_rows: tables of this kind of database are not split; each is one step")
	case len(whole) > 0:
		p.Log().Warn("setting split_rows: some large tables are not split; each is one step", "tables", strings.Join(whole, ", "))
	}
	return list, nil
}

func split(p *sdk.Plan[Settings], selection Selection, tables []piece, stages, outside []string) error {
	settings := p.Settings
	settings.Password = sdk.Secret{} // planned steps are stored
	files := number(len(tables) + len(stages) + 1)
	extension := extensionOf(settings.Compress)
	plan := rand.Text()
	add := func(name string, order int, bytes int64, work part) error {
		work.Plan = plan
		settings.Part = &work
		return p.Add(planned(name, settings, order, bytes))
	}
	if selection.Mode == Recreate {
		if err := add(schemaStep, 1, 0, part{Kind: partSchema, File: files.file(0, "schema", extension)}); err != nil {
			return err
		}
	}
	var total int64
	names, parts := stepNames{}, map[string]int{}
	count := 0
	for i, table := range tables {
		name := names.ofPart(table.table, table.part)
		total += table.bytes
		if table.part > 0 {
			parts[table.table] = table.part
		}
		if table.part <= 1 {
			count++
		}
		work := part{Kind: partTable, Table: table.table, Part: table.part, Range: table.within, About: table.within.Rows, File: files.file(i+1, name, extension)}
		if err := add(name, 2, table.bytes, work); err != nil {
			return err
		}
	}
	next := len(tables) + 1
	for i, stage := range stages {
		if err := add(stageStep(stage), 3+i, 0, part{Kind: partStage, Stage: stage, File: files.file(next+i, stage, extension)}); err != nil {
			return err
		}
	}
	next += len(stages)
	// It reads all files again to check them.
	if err := add(finishStep, 3+len(stages), total/8, part{Kind: partFinish, File: files.file(next, "finish", extension), Parts: parts}); err != nil {
		return err
	}
	message := fmt.Sprintf("%s, about %s", sdk.Count(int64(count), "table"), sdk.Bytes(total))
	p.Message("%s%s", message, noteOutside(outside))
	return nil
}

// noteOutside is what a message says of tables that are not in the snapshot.
func noteOutside(names []string) string {
	if len(names) == 0 {
		return ""
	}
	shown := names
	if len(shown) > 5 {
		shown = append(slices.Clone(names[:5]), "...")
	}
	return fmt.Sprintf("; not in the snapshot: %s (%s without transactions)",
		strings.Join(shown, ", "), sdk.Count(int64(len(names)), "table"))
}

// planned is a step with a weight and an ETA by the bytes that it has to do with.
func planned[S any](name string, settings S, order int, bytes int64) sdk.Planned[S] {
	return sdk.Planned[S]{Name: name, Settings: settings, Order: order,
		Weight: 1 + float64(bytes)/(64<<10),
		ETA:    max(10*time.Millisecond, time.Duration(float64(bytes)/bytesPerSecond*float64(time.Second)))}
}

// stepNames are the names that steps of a plan have, in small letters.
type stepNames map[string]bool

// of names the step of a table. Names are the same where tables differ in the
// case of letters only, and where hashes of long names are the same.
func (taken stepNames) of(table string) string {
	name := stepName(table)
	for try := 2; taken[strings.ToLower(name)]; try++ {
		name = fmt.Sprintf("%s-%d", stepName(table), try)
	}
	taken[strings.ToLower(name)] = true
	return name
}

// ofPart names the step of a part of a table, or of one that is not split.
func (taken stepNames) ofPart(table string, part int) string {
	if part == 0 {
		return taken.of(table)
	}
	return taken.of(fmt.Sprintf("%s.%d", table, part))
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
