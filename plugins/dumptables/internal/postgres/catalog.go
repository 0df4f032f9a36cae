package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/sdk"
)

// Kinds of relations as pg_class has them.
const (
	kindTable    = "r"
	kindSequence = "S"
)

// relation is a table, view or sequence that a person can name.
type relation struct {
	oid          uint32
	schema, name string
	kind         string
	file         uint32 // where its rows lie
	rows         int64
}

// title is how people and patterns name a relation: without its schema where that
// is public. A part with a dot or a quote is quoted, so that no two are the same.
func title(schema, name string) string {
	part := func(text string) string {
		if strings.ContainsAny(text, `."`) {
			return quoted(text)
		}
		return text
	}
	if schema == "public" && !strings.Contains(name, ".") {
		return name
	}
	return part(schema) + "." + part(name)
}

// sql is the relation's name in a statement.
func (r relation) sql() string { return quoted(r.schema) + "." + quoted(r.name) }

// own restricts a query of pg_class c and pg_namespace n to what users have made,
// with the tables of extensions whose rows are theirs.
const own = ` n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema' AND c.relkind IN ('r','p','v','m','S','f') AND c.relpersistence <> 't'
	AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
		AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass AND (e.extconfig IS NULL OR NOT c.oid = ANY(e.extconfig)))`

// listed are these with what has to be known of them. A sequence that a column
// owns goes with its table.
const listed = `SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relfilenode, greatest(c.reltuples, 0)::bigint,
	CASE WHEN c.relkind = 'r' THEN coalesce(pg_table_size(c.oid), 0) ELSE 0 END,
	coalesce(has_schema_privilege(n.oid, 'USAGE') AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'SELECT') ELSE has_table_privilege(c.oid, 'SELECT') END, true),
	c.relrowsecurity AND coalesce(row_security_active(c.oid), false),
	CASE WHEN c.relispartition THEN ARRAY(SELECT pn.nspname::text || chr(1) || p.relname FROM pg_partition_ancestors(c.oid) a JOIN pg_class p ON p.oid = a JOIN pg_namespace pn ON pn.oid = p.relnamespace WHERE p.oid <> c.oid) END
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE` + own + ` AND NOT (c.relkind = 'S' AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
		AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a','i')))
	ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`

// Objects implements dump.Source. They are those of the plan for as long as the
// snapshot lives. What has no rows of its own counts as a view: materialized
// views, which are computed again, foreign tables, and tables that consist of
// partitions.
func (s *source) Objects(ctx context.Context) ([]dump.Object, error) {
	s.snapshot.mu.Lock()
	defer s.snapshot.mu.Unlock()
	if s.snapshot.known {
		return s.snapshot.objects, nil
	}
	rows, err := s.conn.Query(ctx, listed)
	if err != nil {
		return nil, s.explain(ctx, wrap("list the tables", err))
	}
	var objects []dump.Object
	relations := map[string]relation{}
	var r relation
	var bytes int64
	var readable, hidden bool
	var ancestors []string
	_, err = pgx.ForEachRow(rows, []any{&r.oid, &r.schema, &r.name, &r.kind, &r.file, &r.rows, &bytes, &readable, &hidden, &ancestors}, func() error {
		object := dump.Object{Name: title(r.schema, r.name), View: r.kind != kindTable && r.kind != kindSequence, Bytes: bytes}
		for _, one := range ancestors {
			schema, name, _ := strings.Cut(one, "\x01")
			object.Within = append(object.Within, title(schema, name))
		}
		switch {
		case !readable:
			object.Refused = fmt.Sprintf("the user %s may not read it: GRANT SELECT on it, and USAGE on its schema", s.snapshot.server.user)
		case hidden:
			object.Refused = fmt.Sprintf("row-level security hides rows of it from the user %s: dump as its owner, or as a user with BYPASSRLS", s.snapshot.server.user)
		}
		objects = append(objects, object)
		relations[object.Name] = r
		return nil
	})
	if err != nil {
		return nil, s.explain(ctx, wrap("list the tables", err))
	}
	s.snapshot.objects, s.snapshot.relations, s.snapshot.known = objects, relations, true
	return objects, nil
}

func (s *source) relation(table string) (relation, error) {
	s.snapshot.mu.Lock()
	defer s.snapshot.mu.Unlock()
	r, ok := s.snapshot.relations[table]
	if !ok {
		return r, sdk.Permanent(fmt.Errorf("there is no table %q", table))
	}
	return r, nil
}

// unchanged refuses tables that others dropped, renamed or wrote anew since the
// snapshot was taken: a snapshot does not keep rows from TRUNCATE, nor from an
// ALTER TABLE that writes the table again. What the functions of the catalogue
// say is of now, what its tables say is of the snapshot.
func (s *source) unchanged(ctx context.Context, tables ...string) error {
	var oids []uint32
	for _, table := range tables {
		r, err := s.relation(table)
		if err != nil {
			return err
		}
		oids = append(oids, r.oid)
	}
	rows, err := s.conn.Query(ctx, `SELECT c.oid, coalesce(to_regclass(format('%I.%I', n.nspname, c.relname))::oid = c.oid, false),
		c.relfilenode = 0 OR coalesce(pg_relation_filenode(c.oid) = c.relfilenode, false)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY($1)`, oids)
	if err != nil {
		return wrap("look at the tables again", err)
	}
	type state struct{ there, same bool }
	states := map[uint32]state{}
	var oid uint32
	var now state
	_, err = pgx.ForEachRow(rows, []any{&oid, &now.there, &now.same}, func() error {
		states[oid] = now
		return nil
	})
	if err != nil {
		return wrap("look at the tables again", err)
	}
	for i, table := range tables {
		switch now := states[oids[i]]; {
		case !now.there:
			return vanished(table)
		case !now.same:
			return altered(table, errors.New("its rows were written anew, by TRUNCATE, ALTER TABLE, CLUSTER or VACUUM FULL"))
		}
	}
	return nil
}

func vanished(table string) error {
	return sdk.Permanent(fmt.Errorf("table %q has vanished since the dump began: it was dropped or renamed; start the run again, or name it in the setting exclude", table))
}

func altered(table string, err error) error {
	return sdk.Permanent(fmt.Errorf("table %q was altered while the dump was made, so that its state at the beginning cannot be read any more: start the run again (%w)", table, err))
}

// CountRows implements dump.Source: what the server guessed when it last looked.
func (s *source) CountRows(_ context.Context, table string) (int64, error) {
	r, err := s.relation(table)
	return r.rows, err
}

// Facts implements dump.Source.
func (s *source) Facts(ctx context.Context) (dump.Facts, error) {
	facts := dump.Facts{FrozenAt: s.snapshot.at, Properties: map[string]string{}}
	var version, encoding string
	var row map[string]any
	err := s.conn.QueryRow(ctx, `SELECT current_setting('server_version'), pg_encoding_to_char(d.encoding), to_jsonb(d) - 'datacl'
		FROM pg_database d WHERE datname = current_database()`).Scan(&version, &encoding, &row)
	if err != nil {
		return facts, s.explain(ctx, wrap("read what the server says of itself", err))
	}
	facts.Properties["server"], facts.Properties["database"], facts.Properties["encoding"] = version, s.snapshot.server.database, encoding
	facts.Properties["pg_dump"] = fmt.Sprintf("%d.%d", s.snapshot.dump.major, s.snapshot.dump.minor)
	for property, columns := range map[string][]string{
		"collate": {"datcollate"}, "ctype": {"datctype"}, "locale_provider": {"datlocprovider"},
		"locale": {"datlocale", "daticulocale"}, "icu_rules": {"daticurules"},
	} {
		for _, column := range columns { // not every version has each
			if text, ok := row[column].(string); ok {
				facts.Properties[property] = text
			}
		}
	}
	return facts, nil
}

// BrokenReferences implements dump.Source: PostgreSQL lets none in, and those
// that it was made to let in show when the dump is loaded.
func (s *source) BrokenReferences(context.Context, []string) (int64, error) { return -1, nil }
