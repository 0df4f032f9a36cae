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

// Admit implements dump.StepLoader.
func (Engine) Admit(ctx context.Context, l dump.Loading) error {
	s, err := parse(l.To)
	if err != nil {
		return err
	}
	if err := s.makeDatabase(ctx, l); err != nil {
		return err
	}
	_, conn, _, err := loader(ctx, l)
	if err != nil {
		return err
	}
	defer discard(conn)
	if l.Manifest.Mode == dump.DataOnly {
		return admitRows(ctx, conn, l)
	}
	if l.Overwrite {
		return nil
	}
	var count int64
	var example *string
	if err := conn.QueryRow(ctx, made).Scan(&count, &example); err != nil {
		return explain(ctx, wrap("look into the database "+s.place, err))
	}
	if count > 0 {
		return sdk.Permanent(fmt.Errorf("the database %s is not empty: it has %s, as %s; load into another, or set overwrite: true",
			s.place, sdk.Count(count, "object"), *example))
	}
	return nil
}

// made counts what somebody has made in a database, without extensions.
const made = `SELECT count(*), min(what) FROM (
	SELECT CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'view ' WHEN 'S' THEN 'sequence ' ELSE 'table ' END || c.oid::regclass AS what
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE` + own + `
	UNION ALL SELECT 'function ' || p.oid::regprocedure FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype IN ('e','i'))
	UNION ALL SELECT 'type ' || t.oid::regtype FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
		WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype IN ('e','i'))
	UNION ALL SELECT 'schema ' || n.nspname FROM pg_namespace n
		WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'public') AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
	UNION ALL SELECT 'large object ' || oid FROM pg_largeobject_metadata) AS all_of_it`

// makeDatabase makes the database when it is not there, with the encoding and the
// order of letters of the one that was dumped.
func (s *server) makeDatabase(ctx context.Context, l dump.Loading) error {
	conn, err := s.connect(ctx, s.database)
	if err == nil {
		discard(conn)
		return nil
	}
	if code(err) != codeNoDatabase {
		return err
	}
	if l.Manifest.Mode == dump.DataOnly {
		return sdk.Permanent(fmt.Errorf("there is no database %s: a dump of the mode data_only holds rows alone and needs one with tables", s.place))
	}
	for _, other := range []string{"postgres", "template1"} {
		if conn, err = s.connect(ctx, other); code(err) != codeNoDatabase {
			break
		}
	}
	if err != nil {
		return wrap("make the database "+s.place, err)
	}
	defer discard(conn)
	version, err := versionOf(ctx, conn)
	if err != nil {
		return explain(ctx, err)
	}
	facts := l.Manifest.Properties
	statement := "CREATE DATABASE " + quoted(s.database) + " TEMPLATE template0"
	add := func(option, value string) {
		if value != "" {
			statement += " " + option + " " + literal(value)
		}
	}
	add("ENCODING", facts["encoding"])
	add("LC_COLLATE", facts["collate"])
	add("LC_CTYPE", facts["ctype"])
	switch facts["locale_provider"] {
	case "i":
		if version >= 15 {
			statement += " LOCALE_PROVIDER icu"
			add("ICU_LOCALE", facts["locale"])
		}
	case "b":
		if version >= 17 {
			statement += " LOCALE_PROVIDER builtin"
			add("BUILTIN_LOCALE", facts["locale"])
		}
	case "c":
		if version >= 15 {
			statement += " LOCALE_PROVIDER libc"
		}
	}
	_, err = conn.Exec(ctx, statement)
	if code(err) == codeDuplicateDatabase {
		return nil
	}
	return explain(ctx, wrap("make the database "+s.place, err))
}

// admitRows looks whether the tables are there, and empty.
func admitRows(ctx context.Context, conn *pgx.Conn, l dump.Loading) error {
	for _, table := range l.Manifest.Names() {
		r, err := lookUp(ctx, conn, table)
		if errors.Is(err, errNoTable) {
			return sdk.Permanent(fmt.Errorf("the database has no table %q: a dump of the mode data_only holds rows alone", table))
		}
		if err != nil {
			return explain(ctx, err)
		}
		if l.Overwrite || r.kind == kindSequence {
			continue
		}
		var there bool
		if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM ONLY "+r.sql()+" "+r.condition+")").Scan(&there); err != nil {
			return explain(ctx, fmt.Errorf("look into table %q: %w", table, err))
		}
		if there {
			return sdk.Permanent(fmt.Errorf("table %q is not empty: empty it, or set overwrite: true", table))
		}
	}
	return nil
}

// clear drops all that the database holds: what is dumped whole replaces it.
// Tables go one by one, as dropping all at once takes more locks than servers
// have.
func clear(ctx context.Context, conn *pgx.Conn) error {
	const user = ` NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'`
	for _, kind := range []string{
		"SELECT format('DROP EVENT TRIGGER %I', evtname), true FROM pg_event_trigger t WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = t.oid AND d.deptype = 'e')",
		"SELECT format('DROP PUBLICATION %I', pubname), true FROM pg_publication",
		"SELECT format('DROP VIEW IF EXISTS %I.%I CASCADE', n.nspname, c.relname), true FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'v' AND" + own,
		"SELECT format('DROP TABLE IF EXISTS %I.%I CASCADE', n.nspname, c.relname), true FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r','p') AND NOT c.relispartition AND" + own +
			" AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')",
		// What an administrator has installed, and the user may not drop, may stay.
		"SELECT format('DROP EXTENSION IF EXISTS %I CASCADE', extname), false FROM pg_extension WHERE extname <> 'plpgsql'",
		"SELECT format('DROP SCHEMA %I CASCADE', n.nspname), true FROM pg_namespace n WHERE n.nspname" + user +
			" AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')" +
			" AND NOT EXISTS (SELECT FROM pg_extension e WHERE e.extnamespace = n.oid)",
		"SELECT format('DROP SERVER IF EXISTS %I CASCADE', srvname), true FROM pg_foreign_server",
		"SELECT format('DROP FOREIGN DATA WRAPPER IF EXISTS %I CASCADE', fdwname), true FROM pg_foreign_data_wrapper w WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_foreign_data_wrapper'::regclass AND d.objid = w.oid AND d.deptype = 'e')",
	} {
		rows, err := conn.Query(ctx, kind)
		if err != nil {
			return err
		}
		type statement struct {
			text string
			must bool
		}
		statements, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s statement, err error) {
			err = row.Scan(&s.text, &s.must)
			return s, err
		})
		if err != nil {
			return err
		}
		for _, s := range statements {
			if _, err := conn.Exec(ctx, s.text); err != nil && (s.must || code(err) != codeNoPrivilege) {
				return fmt.Errorf("%s: %w", s.text, err)
			}
		}
	}
	if _, err := conn.Exec(ctx, "SELECT count(lo_unlink(oid)) FROM pg_largeobject_metadata"); err != nil {
		return fmt.Errorf("remove the large objects: %w", err)
	}
	return makePublic(ctx, conn)
}

// makePublic makes the schema public as a new database has it.
func makePublic(ctx context.Context, conn *pgx.Conn) error {
	var there bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'public')").Scan(&there); err != nil || there {
		return err
	}
	version, err := versionOf(ctx, conn)
	if err != nil {
		return err
	}
	statements := []string{"CREATE SCHEMA public", "COMMENT ON SCHEMA public IS 'standard public schema'"}
	if version >= 15 {
		statements = append(statements, "ALTER SCHEMA public OWNER TO pg_database_owner", "GRANT USAGE ON SCHEMA public TO PUBLIC")
	} else {
		statements = append(statements, "GRANT ALL ON SCHEMA public TO PUBLIC")
	}
	if _, err := conn.Exec(ctx, strings.Join(statements, "; "), pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("make the schema public: %w", err)
	}
	return nil
}
