package postgres

import (
	"bufio"
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

// lastFile is where WriteSchema keeps what comes after the rows: indexes,
// constraints, triggers. It is read with the schema, as close to the snapshot as
// can be, so that a table that others drop later does not stop the last step.
const lastFile = "post-data.sql"

// lockWait is how long pg_dump waits for others that hold a table, in
// milliseconds.
const lockWait = "60000"

// pgDump runs pg_dump with the snapshot and passes on what it writes.
func (s *source) pgDump(ctx context.Context, f *filter, args ...string) error {
	args = append([]string{"--snapshot=" + s.snapshot.id, "--lock-wait-timeout=" + lockWait, "--no-password", "--no-subscriptions"}, args...)
	if s.conn.PgConn().ParameterStatus("server_encoding") != bytesAlone {
		args = append(args, "--encoding=UTF8")
	}
	err := s.snapshot.server.run(ctx, s.snapshot.dump, nil, func(out io.Reader) error { return f.pass(ctx, out) }, args...)
	if err != nil {
		return err
	}
	return s.held()
}

// pattern makes an argument that means one relation and no other.
func (r relation) pattern() string { return r.sql() }

// chosen are the arguments that select what a dump of definitions holds. All but
// some tables is all with what belongs to it: types, functions, schemas.
func (s *source) chosen(selection dump.Selection) ([]string, error) {
	var args []string
	take := slices.Concat(selection.Tables, selection.Views)
	if !selection.All {
		for _, name := range take {
			r, err := s.relation(name)
			if err != nil {
				return nil, err
			}
			args = append(args, "--table="+r.pattern())
		}
		return args, nil
	}
	s.snapshot.mu.Lock()
	defer s.snapshot.mu.Unlock()
	for _, object := range s.snapshot.objects {
		if !slices.Contains(take, object.Name) {
			args = append(args, "--exclude-table="+s.snapshot.relations[object.Name].pattern())
		}
	}
	return args, nil
}

// WriteSchema implements dump.Source.
func (s *source) WriteSchema(ctx context.Context, w io.Writer, selection dump.Selection) error {
	if err := s.unchanged(ctx, slices.Concat(selection.Tables, selection.Views)...); err != nil {
		return s.explain(ctx, err)
	}
	args, err := s.chosen(selection)
	if err != nil {
		return err
	}
	head, err := s.schemaHead(ctx, selection)
	if err != nil {
		return s.explain(ctx, err)
	}
	if _, err := io.WriteString(w, head); err != nil {
		return err
	}
	if err := s.pgDump(ctx, &filter{w: w}, append(args, "--section=pre-data")...); err != nil {
		return s.explain(ctx, err)
	}
	return s.explain(ctx, wrap("keep what comes after the rows", s.keepLast(ctx, args)))
}

// schemaHead makes room for tables that replace those of a database with others:
// what depends on them from outside stops it.
func (s *source) schemaHead(ctx context.Context, selection dump.Selection) (string, error) {
	var b strings.Builder
	encoding := "UTF8"
	if s.conn.PgConn().ParameterStatus("server_encoding") == bytesAlone {
		encoding = bytesAlone
	}
	b.WriteString("-- tables and what they need, without rows\nSET client_encoding = '" + encoding + "';\nSET client_min_messages = warning;\n")
	if selection.Whole {
		var public bool
		err := s.conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'public')").Scan(&public)
		if err == nil && !public {
			b.WriteString("DROP SCHEMA IF EXISTS public;\n")
		}
		return b.String(), err
	}
	kinds := map[string][]string{}
	schemas := map[string]bool{}
	for _, name := range slices.Concat(selection.Tables, selection.Views) {
		r, err := s.relation(name)
		if err != nil {
			return "", err
		}
		kind := map[string]string{kindSequence: "SEQUENCE", "v": "VIEW", "m": "MATERIALIZED VIEW", "f": "FOREIGN TABLE"}[r.kind]
		if kind == "" {
			kind = "TABLE"
		}
		kinds[kind] = append(kinds[kind], r.sql())
		if !schemas[r.schema] && !selection.All && r.schema != "public" {
			fmt.Fprintf(&b, "CREATE SCHEMA IF NOT EXISTS %s;\n", quoted(r.schema))
		}
		schemas[r.schema] = true
	}
	for _, kind := range []string{"MATERIALIZED VIEW", "VIEW", "FOREIGN TABLE", "TABLE", "SEQUENCE"} {
		if len(kinds[kind]) > 0 {
			fmt.Fprintf(&b, "DROP %s IF EXISTS %s;\n", kind, strings.Join(kinds[kind], ", "))
		}
	}
	return b.String(), nil
}

func (s *source) keepLast(ctx context.Context, args []string) (err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, lastFile), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	if err := s.pgDump(ctx, &filter{w: w}, append(slices.Clone(args), "--section=post-data")...); err != nil {
		return err
	}
	return errors.Join(w.Flush(), f.Sync())
}

// dataHead is what files with values rely on and pg_dump does not set itself:
// amounts of money are written in the way of the session.
const dataHead = "SET lc_monetary = 'C';\n"

// WriteRows implements dump.Source.
func (s *source) WriteRows(ctx context.Context, w io.Writer, table string, _ dump.Range, seen func(int64)) (dump.Rows, error) {
	r, err := s.relation(table)
	if err != nil {
		return dump.Rows{}, err
	}
	if err := s.unchanged(ctx, table); err != nil {
		return dump.Rows{}, s.explain(ctx, err)
	}
	if _, err := io.WriteString(w, dataHead); err != nil {
		return dump.Rows{}, err
	}
	f := &filter{w: w, sum: dump.NewChecksum(), seen: seen}
	err = s.pgDump(ctx, f, "--data-only", "--table="+r.pattern())
	if err == nil {
		// Nothing holds the table between the two: what changed it may have come
		// before its rows were read.
		err = s.unchanged(ctx, table)
	}
	if err != nil {
		return dump.Rows{}, s.explain(ctx, s.changed(ctx, table, err))
	}
	return dump.Rows{Rows: f.rows, Checksum: f.sum.String()}, nil
}

// changed says so when others have changed the table that could not be read.
func (s *source) changed(ctx context.Context, table string, err error) error {
	switch code(err) {
	case codeNoTable:
		return vanished(table)
	case codeNoColumn:
		return altered(table, err)
	case codeNoPrivilege:
		return err
	}
	if _, client := errors.AsType[*clientError](err); client && ctx.Err() == nil && !broken(err) {
		if now := s.unchanged(ctx, table); now != nil && !broken(now) {
			return now
		}
	}
	return err
}

// stageLarge has the contents of large objects.
const stageLarge = "large_objects"

// Stages implements dump.Source.
func (s *source) Stages(ctx context.Context, selection dump.Selection) ([]string, error) {
	if selection.Mode != dump.Recreate || !selection.All {
		return nil, nil
	}
	s.snapshot.mu.Lock()
	defer s.snapshot.mu.Unlock()
	if s.snapshot.stages != nil {
		return s.snapshot.stages, nil // those of the plan
	}
	var large bool
	if err := s.conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_largeobject_metadata)").Scan(&large); err != nil {
		return nil, s.explain(ctx, wrap("look for large objects", err))
	}
	s.snapshot.stages = []string{}
	if large {
		s.snapshot.stages = append(s.snapshot.stages, stageLarge)
	}
	return s.snapshot.stages, nil
}

// WriteStage implements dump.Source.
func (s *source) WriteStage(ctx context.Context, w io.Writer, _ dump.Selection, stage string) error {
	if stage != stageLarge {
		return sdk.Permanent(errors.New("there is no such stage"))
	}
	return s.explain(ctx, s.pgDump(ctx, &filter{w: w}, "--section=data", "--blobs", "--exclude-table=*.*"))
}

// WriteRest implements dump.Source.
func (s *source) WriteRest(_ context.Context, w io.Writer, selection dump.Selection) error {
	if _, err := io.WriteString(w, "-- indexes, constraints, triggers and all else that comes after the rows\n"); err != nil || selection.Mode != dump.Recreate {
		return err
	}
	f, err := os.Open(filepath.Join(s.dir, lastFile))
	if err != nil {
		return fmt.Errorf("read what was kept until now: %w", err)
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
