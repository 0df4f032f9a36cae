package mysql

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/sdk"
)

// here restricts a query of information_schema to the own database. Its names
// compare without regard to case, those of databases often with.
const here = " TABLE_SCHEMA = DATABASE() AND CAST(TABLE_SCHEMA AS BINARY) = CAST(DATABASE() AS BINARY)"

// Types of tables as information_schema has them.
const (
	typeView      = "VIEW"
	typeSequence  = "SEQUENCE"
	typeVersioned = "SYSTEM VERSIONED"
)

// entry is a table, view or sequence of the database.
type entry struct {
	name, kind, engine, comment string
	bytes, rows                 int64
}

func (c *conn) entries(ctx context.Context) ([]entry, error) {
	var list []entry
	err := c.each(ctx, func(rows *sql.Rows) error {
		var e entry
		if err := rows.Scan(&e.name, &e.kind, &e.engine, &e.comment, &e.bytes, &e.rows); err != nil {
			return err
		}
		list = append(list, e)
		return nil
	}, "SELECT TABLE_NAME, TABLE_TYPE, IFNULL(ENGINE, ''), IFNULL(TABLE_COMMENT, ''),"+
		" CAST(IFNULL(DATA_LENGTH, 0) AS SIGNED), CAST(IFNULL(TABLE_ROWS, 0) AS SIGNED)"+
		" FROM information_schema.TABLES WHERE"+here+" AND TABLE_TYPE <> 'TEMPORARY' ORDER BY CAST(TABLE_NAME AS BINARY)")
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	return list, nil
}

// transactional are the engines whose rows a snapshot fixes.
func (c *conn) transactional(ctx context.Context) (map[string]bool, error) {
	engines := map[string]bool{}
	err := c.each(ctx, func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		engines[strings.ToLower(name)] = true
		return err
	}, "SELECT ENGINE FROM information_schema.ENGINES WHERE TRANSACTIONS = 'YES'")
	if err != nil {
		return nil, fmt.Errorf("list the storage engines: %w", err)
	}
	return engines, nil
}

// elsewhere are engines whose tables show rows that are kept somewhere else.
func elsewhere(engine string) bool {
	switch strings.ToLower(engine) {
	case "mrg_myisam", "mrg_isam", "federated", "federatedx", "spider", "connect", "s3", "oqgraph", "blackhole":
		return true
	}
	return false
}

// Objects implements dump.Source. They are those of the plan for as long as the
// snapshot lives: definitions are not part of it, and what others create or drop
// meanwhile must not change what is dumped. How tables are defined is remembered
// for the same reason.
func (s *source) Objects(ctx context.Context) ([]dump.Object, error) {
	s.snapshot.mu.Lock()
	defer s.snapshot.mu.Unlock()
	if s.snapshot.known {
		return s.snapshot.objects, nil
	}
	entries, err := s.conn.entries(ctx)
	if err != nil {
		return nil, s.explain(ctx, err)
	}
	transactional, err := s.conn.transactional(ctx)
	if err != nil {
		return nil, s.explain(ctx, err)
	}
	definitions := map[string]definition{}
	objects := make([]dump.Object, 0, len(entries))
	for _, e := range entries {
		object := dump.Object{Name: e.name, View: e.kind == typeView, Bytes: e.bytes}
		switch {
		case object.View && e.comment != "" && e.comment != "VIEW":
			object.Refused = "it is a view that does not work any more: " + e.comment
		case object.View:
		case elsewhere(e.engine):
			object.Refused = "its engine " + e.engine + " keeps its rows elsewhere"
		default:
			create, err := s.conn.showTable(ctx, e.name)
			if err != nil && (ctx.Err() != nil || broken(err)) {
				return nil, s.explain(ctx, err)
			}
			if err != nil {
				object.Refused = err.Error()
				break
			}
			definitions[e.name] = defined(create)
			if e.kind != typeSequence && !transactional[strings.ToLower(e.engine)] {
				object.Outside = "engine " + e.engine
			}
		}
		objects = append(objects, object)
	}
	s.snapshot.objects, s.snapshot.tables, s.snapshot.entries, s.snapshot.known = objects, definitions, entries, true
	return objects, nil
}

// showTable is how the server would create a table. Only text is read from the
// answer, whatever else a version adds.
func (c *conn) showTable(ctx context.Context, table string) (string, error) {
	text, err := c.show(ctx, "SHOW CREATE TABLE "+quoted(table))
	return text["Create Table"], err
}

// show reads the one row of a SHOW CREATE by its columns' names. The text comes
// as it is stored.
func (c *conn) show(ctx context.Context, statement string) (map[string]string, error) {
	if err := c.exec(ctx, "SET character_set_results=NULL"); err != nil {
		return nil, err
	}
	values := map[string]string{}
	err := c.each(ctx, func(rows *sql.Rows) error {
		columns, err := rows.Columns()
		if err != nil {
			return err
		}
		texts := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range texts {
			into[i] = &texts[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, column := range columns {
			if texts[i].Valid {
				values[column] = texts[i].String
			}
		}
		return nil
	}, statement)
	if err != nil {
		return nil, err
	}
	return values, c.exec(ctx, "SET character_set_results=utf8mb4")
}

var counterOption = regexp.MustCompile(` AUTO_INCREMENT=[0-9]+`)

// defined is what must not change while a dump is made. The counter does.
func defined(create string) definition {
	at := strings.LastIndex(create, "\n)")
	if at < 0 {
		at = 0
	}
	return sha256.Sum256([]byte(create[:at] + counterOption.ReplaceAllString(create[at:], "")))
}

// unchanged reads a table's definition, which nobody can change until the step
// is done, and refuses one that is not that of the plan.
func (s *source) unchanged(ctx context.Context, table string) (string, error) {
	s.snapshot.mu.Lock()
	want, known := s.snapshot.tables[table]
	s.snapshot.mu.Unlock()
	if !known {
		return "", sdk.Permanent(fmt.Errorf("there is no table %q", table))
	}
	// Reading from it takes the lock on its definition.
	err := s.conn.exec(ctx, "DO (SELECT 1 FROM "+quoted(table)+" LIMIT 0)")
	var create string
	if err == nil {
		create, err = s.conn.showTable(ctx, table)
	}
	switch {
	case number(err) == erNoSuchTable || number(err) == erUnknownTable:
		return "", sdk.Permanent(fmt.Errorf("table %q has vanished since the dump began: it was dropped or renamed; start the run again, or name it in the setting exclude", table))
	case err != nil:
		return "", s.explain(ctx, s.altered(table, err))
	case defined(create) != want:
		return "", s.altered(table, errors.New("it has another definition now"))
	}
	return create, nil
}

// altered says that others changed a table while it was dumped.
func (s *source) altered(table string, err error) error {
	if n := number(err); n != 0 && n != erTableDefChanged && n != erBadField {
		return err
	}
	if broken(err) {
		return err
	}
	return sdk.Permanent(fmt.Errorf("table %q was altered while the dump was made, so that its state at the beginning cannot be read any more: start the run again (%w)", table, err))
}

// kind is what type of table it was when the dump began.
func (s *source) entry(table string) entry {
	s.snapshot.mu.Lock()
	defer s.snapshot.mu.Unlock()
	i := slices.IndexFunc(s.snapshot.entries, func(e entry) bool { return e.name == table })
	if i < 0 {
		return entry{name: table}
	}
	return s.snapshot.entries[i]
}

// CountRows implements dump.Source: the server's own guess.
func (s *source) CountRows(_ context.Context, table string) (int64, error) {
	return s.entry(table).rows, nil
}

// Facts implements dump.Source.
func (s *source) Facts(ctx context.Context) (dump.Facts, error) {
	facts := dump.Facts{FrozenAt: s.snapshot.at, Properties: map[string]string{}}
	var version, charset, collation string
	err := s.conn.one(ctx, []any{&version, &charset, &collation}, "SELECT VERSION(), @@character_set_database, @@collation_database")
	if err != nil {
		return facts, s.explain(ctx, fmt.Errorf("read what the server says of itself: %w", err))
	}
	facts.Properties["server"], facts.Properties["database"] = version, s.snapshot.server.database
	facts.Properties["character_set"], facts.Properties["collation"] = charset, collation
	return facts, nil
}

// BrokenReferences implements dump.Source. Nothing but a join of all tables could
// tell.
func (s *source) BrokenReferences(context.Context, []string) (int64, error) { return -1, nil }
