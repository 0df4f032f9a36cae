package mysql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/sdk"
)

// Admit implements dump.StepLoader.
func (Engine) Admit(ctx context.Context, l dump.Loading) error {
	server, err := parse(l.To)
	if err != nil {
		return err
	}
	if err := makeDatabase(ctx, server, l); err != nil {
		return err
	}
	c, err := connect(ctx, server, server.database)
	if err != nil {
		return err
	}
	defer c.close()
	entries, err := c.entries(ctx)
	if err != nil {
		return explain(ctx, err)
	}
	if l.Manifest.Mode == dump.DataOnly {
		return c.admitRows(ctx, l, entries)
	}
	if len(entries) > 0 && !l.Overwrite {
		return sdk.Permanent(fmt.Errorf("the database %s is not empty: it has %s, as %q; load into another, or set overwrite: true",
			server.place, sdk.Count(int64(len(entries)), "table"), entries[0].name))
	}
	return nil
}

// makeDatabase makes the database when it is not there.
func makeDatabase(ctx context.Context, s *server, l dump.Loading) error {
	c, err := connect(ctx, s, "")
	if err != nil {
		return err
	}
	defer c.close()
	var there int
	err = c.one(ctx, []any{&there}, "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?", s.database)
	if err != nil {
		return explain(ctx, fmt.Errorf("look for the database %s: %w", s.place, err))
	}
	if there > 0 {
		return nil // or only to be seen with more rights: connecting tells
	}
	if l.Manifest.Mode == dump.DataOnly {
		return sdk.Permanent(fmt.Errorf("there is no database %s: a dump of the mode data_only holds rows alone and needs one with tables", s.place))
	}
	statement := "CREATE DATABASE IF NOT EXISTS " + quoted(s.database)
	if charset, collation := l.Manifest.Properties["character_set"], l.Manifest.Properties["collation"]; plainWord(charset) && plainWord(collation) {
		statement += " CHARACTER SET " + charset + " COLLATE " + collation
	}
	return explain(ctx, wrap("make the database "+s.place, c.exec(ctx, statement)))
}

func plainWord(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r > 0x7f || !isWord(byte(r)) })
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// admitRows looks whether the tables are there, and empty.
func (c *conn) admitRows(ctx context.Context, l dump.Loading, entries []entry) error {
	for _, table := range l.Manifest.Names() {
		i := slices.IndexFunc(entries, func(e entry) bool { return e.name == table })
		if i < 0 {
			return sdk.Permanent(fmt.Errorf("the database has no table %q: a dump of the mode data_only holds rows alone", table))
		}
		if l.Overwrite || entries[i].kind == typeSequence {
			continue
		}
		var there int
		if err := c.one(ctx, []any{&there}, "SELECT EXISTS(SELECT 1 FROM "+quoted(table)+")"); err != nil {
			return explain(ctx, fmt.Errorf("look into table %q: %w", table, err))
		}
		if there > 0 {
			return sdk.Permanent(fmt.Errorf("table %q is not empty: empty it, or set overwrite: true", table))
		}
	}
	return nil
}

// loader opens a connection to load over.
func loader(ctx context.Context, l dump.Loading) (*conn, error) {
	server, err := parse(l.To)
	if err != nil {
		return nil, err
	}
	return connect(ctx, server, server.database)
}

// heldTriggers is the file with triggers that must not fire while rows are
// loaded into a database that has them.
const heldTriggers = "triggers.sql"

// LoadSchema implements dump.StepLoader.
func (Engine) LoadSchema(ctx context.Context, l dump.Loading, dir string) error {
	c, err := loader(ctx, l)
	if err != nil {
		return err
	}
	defer c.close()
	if l.Manifest.Mode == dump.DataOnly {
		return explain(ctx, c.holdTriggers(ctx, l, filepath.Join(dir, heldTriggers)))
	}
	if l.Manifest.Whole {
		if err := c.clear(ctx); err != nil {
			return explain(ctx, wrap("clear the database", err))
		}
	}
	return c.loadFile(ctx, l, *l.Manifest.Schema)
}

// clear drops all that the database holds: what is dumped whole replaces it.
func (c *conn) clear(ctx context.Context) error {
	if err := c.exec(ctx, "SET SESSION foreign_key_checks=0"); err != nil {
		return err
	}
	entries, err := c.entries(ctx)
	if err != nil {
		return err
	}
	for _, e := range entries {
		what := "TABLE"
		switch e.kind {
		case typeView, typeSequence:
			what = e.kind
		}
		if err := c.run(ctx, "DROP "+what+" IF EXISTS "+quoted(e.name)); err != nil {
			return err
		}
	}
	routines, err := c.routines(ctx)
	if err != nil {
		return err
	}
	events, err := c.events(ctx)
	if err != nil {
		return err
	}
	for _, p := range slices.Concat(routines, events) {
		mode := ""
		if strings.HasPrefix(strings.ToUpper(p.kind), "PACKAGE") {
			mode = "ORACLE" // which alone knows them; a package's body goes with it
		}
		if err := c.exec(ctx, "SET SESSION sql_mode="+literal(mode)); err != nil {
			return err
		}
		if err := c.run(ctx, "DROP "+p.kind+" IF EXISTS "+quoted(p.name)); err != nil {
			return err
		}
	}
	return nil
}

// holdTriggers writes the triggers of the tables into a file and drops them then.
// A file that is there is of an earlier attempt.
func (c *conn) holdTriggers(ctx context.Context, l dump.Loading, path string) error {
	if err := c.mayShow(ctx, c.server, false); err != nil {
		return err
	}
	tables := l.Manifest.Names()
	list, err := c.triggers(ctx, tables)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := c.saveTriggers(ctx, tables, path); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	for _, p := range list {
		if err := c.run(ctx, "DROP TRIGGER IF EXISTS "+quoted(p.name)); err != nil {
			return fmt.Errorf("take trigger %q away while rows are loaded: %w", p.name, err)
		}
	}
	return nil
}

func (c *conn) saveTriggers(ctx context.Context, tables []string, path string) error {
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("save the triggers: %w", err)
	}
	defer f.Close()
	out := newScript(f)
	out.begin("triggers that are held back", looseMode)
	if err := c.writeTriggers(ctx, out, tables); err != nil {
		return err
	}
	if err := errors.Join(out.end(), f.Sync(), os.Rename(path+".tmp", path)); err != nil {
		return fmt.Errorf("save the triggers: %w", err)
	}
	return nil
}

// LoadTable implements dump.StepLoader: in one transaction, so that a table is
// loaded as a whole where its engine has transactions.
func (Engine) LoadTable(ctx context.Context, l dump.Loading, table dump.Table) error {
	c, err := loader(ctx, l)
	if err != nil {
		return err
	}
	defer c.close()
	entries, err := c.entries(ctx)
	if err != nil {
		return explain(ctx, err)
	}
	i := slices.IndexFunc(entries, func(e entry) bool { return e.name == table.Table })
	if i < 0 {
		return sdk.Permanent(errors.New("it is not there any more"))
	}
	if entries[i].kind != typeSequence {
		if err := c.empty(ctx, table, entries[i].kind == typeVersioned); err != nil {
			return explain(ctx, wrap("empty it", err))
		}
	}
	if err := c.loadFile(ctx, l, table.File); err != nil {
		return err
	}
	return c.verify(ctx, l, table, entries[i].kind == typeVersioned)
}

// empty deletes what an earlier attempt left, or what is overwritten. TRUNCATE
// would set the counter back too.
func (c *conn) empty(ctx context.Context, table dump.Table, versioned bool) error {
	if err := c.exec(ctx, "SET SESSION foreign_key_checks=0"); err != nil {
		return err
	}
	from := quoted(table.Table)
	if versioned {
		from += " FOR SYSTEM_TIME ALL"
	}
	from += condition(table.Range)
	var there int
	if err := c.one(ctx, []any{&there}, "SELECT EXISTS(SELECT 1 FROM "+from+")"); err != nil || there == 0 {
		return err
	}
	if err := c.run(ctx, "DELETE FROM "+quoted(table.Table)+condition(table.Range)); err != nil || !versioned {
		return err
	}
	return c.run(ctx, "DELETE HISTORY FROM "+quoted(table.Table))
}

// verify reads the table as a dump does and compares. In a database that had the
// table already, other columns may be there too: then rows are counted.
func (c *conn) verify(ctx context.Context, l dump.Loading, table dump.Table, versioned bool) error {
	if err := c.exec(ctx, "SET NAMES utf8mb4", "SET SESSION sql_mode='', time_zone='+00:00'"); err != nil {
		return explain(ctx, err)
	}
	var got dump.Rows
	if l.Manifest.Mode == dump.DataOnly {
		from := quoted(table.Table)
		if versioned {
			from += " FOR SYSTEM_TIME ALL"
		}
		if err := c.one(ctx, []any{&got.Rows}, "SELECT COUNT(*) FROM "+from+condition(table.Range)); err != nil {
			return explain(ctx, wrap("count the rows", err))
		}
	} else {
		shape, err := c.shape(ctx, table.Table, versioned)
		if err != nil {
			return explain(ctx, err)
		}
		shape.within = table.Range
		r := &rowWriter{conn: c, shape: shape, sum: dump.NewChecksum(), seen: func(int64) {}}
		if err := r.all(ctx); err != nil {
			return explain(ctx, wrap("read it again", err))
		}
		got = r.rows()
	}
	if got.Rows != table.Rows {
		return sdk.Permanent(fmt.Errorf("it has %d rows after loading, the manifest says %d", got.Rows, table.Rows))
	}
	if got.Checksum != "" && table.Checksum != "" && got.Checksum != table.Checksum {
		return sdk.Permanent(fmt.Errorf("its %d rows have the checksum %s after loading, the manifest says %s: they are not the same", got.Rows, got.Checksum, table.Checksum))
	}
	return nil
}

// LoadStage implements dump.StepLoader.
func (Engine) LoadStage(ctx context.Context, l dump.Loading, stage dump.Stage) error {
	c, err := loader(ctx, l)
	if err != nil {
		return err
	}
	defer c.close()
	return c.loadFile(ctx, l, stage.File)
}

// LoadRest implements dump.StepLoader.
func (Engine) LoadRest(ctx context.Context, l dump.Loading, dir string) error {
	c, err := loader(ctx, l)
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.loadFile(ctx, l, *l.Manifest.Finish); err != nil || l.Manifest.Mode != dump.DataOnly {
		return err
	}
	held := l
	held.Dir, held.Progress = dir, func(int64, string) {}
	return c.loadFile(ctx, held, dump.File{File: heldTriggers})
}

// What a dump consists of; anything else was not written by this plugin.
func dumpVerb(verb string) bool {
	switch verb {
	case "SET", "ALTER", "DROP", "CREATE", "INSERT", "START", "COMMIT":
		return true
	}
	return false
}

// loadFile carries out a file, statement by statement.
func (c *conn) loadFile(ctx context.Context, l dump.Loading, file dump.File) error {
	f, err := dump.OpenFile(l.Dir, file.File)
	if err != nil {
		return fmt.Errorf("load the dump: %w", err)
	}
	defer f.Close()
	script := newStatements(f)
	for n := 1; ; n++ {
		statement, err := script.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return sdk.Permanent(fmt.Errorf("load %s, statement %d: %w", file.File, n, err))
		}
		end := 1
		for end < len(statement) && isWord(statement[end]) {
			end++
		}
		if verb := strings.ToUpper(string(statement[:min(end, len(statement))])); !dumpVerb(verb) {
			return sdk.Permanent(fmt.Errorf("load %s, statement %d: %q is no statement of a dump", file.File, n, verb))
		}
		if err := c.run(ctx, string(statement)); err != nil {
			return explain(ctx, fmt.Errorf("load %s, statement %d: %w", file.File, n, err))
		}
		l.Progress(f.Done(), file.File)
	}
}
