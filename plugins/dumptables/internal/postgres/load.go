package postgres

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/sdk"
)

// loader connects to the database that is loaded into and finds psql.
func loader(ctx context.Context, l dump.Loading) (*server, *pgx.Conn, program, error) {
	s, err := parse(l.To)
	if err != nil {
		return nil, nil, program{}, err
	}
	conn, err := s.connect(ctx, s.database)
	if err != nil {
		return nil, nil, program{}, err
	}
	version, err := versionOf(ctx, conn)
	if err == nil && version < oldest {
		err = sdk.Permanent(fmt.Errorf("the server of %s is of version %d: PostgreSQL %d is the oldest that can be loaded into", s.place, version, oldest))
	}
	var client program
	if err == nil {
		client, err = s.find(ctx, psql, version)
	}
	if err != nil {
		discard(conn)
		return nil, nil, program{}, explain(ctx, err)
	}
	return s, conn, client, nil
}

// LoadSchema implements dump.StepLoader.
func (Engine) LoadSchema(ctx context.Context, l dump.Loading, dir string) error {
	if l.Manifest.Mode == dump.DataOnly {
		return nil // each table's rows are loaded without its triggers
	}
	s, conn, client, err := loader(ctx, l)
	if err != nil {
		return err
	}
	defer discard(conn)
	if !l.Manifest.Whole {
		return s.once(ctx, client, conn, l, l.Manifest.Schema.File, filepath.Join(dir, "schema.xid"))
	}
	if err := clear(ctx, conn); err != nil {
		return explain(ctx, wrap("clear the database", err))
	}
	return s.feed(ctx, client, l, l.Manifest.Schema.File, "", "")
}

// LoadTable implements dump.StepLoader: in one transaction, so that a table has
// the rows of the dump or those that it had.
func (Engine) LoadTable(ctx context.Context, l dump.Loading, table dump.Table) error {
	s, conn, client, err := loader(ctx, l)
	if err != nil {
		return err
	}
	defer discard(conn)
	r, err := lookUp(ctx, conn, table.Table)
	if err != nil {
		return explain(ctx, err)
	}
	// The file says it too, but what comes before it has names of tables.
	encoding := "UTF8"
	if l.Manifest.Properties["encoding"] == bytesAlone {
		encoding = bytesAlone
	}
	begin := "SET client_encoding = '" + encoding + "';\nBEGIN;\n"
	if l.Manifest.Mode == dump.DataOnly {
		if err := mayHoldTriggers(ctx, conn, s, r); err != nil {
			return err
		}
		begin += "SET LOCAL session_replication_role = replica;\n"
	}
	switch {
	case r.kind == kindSequence:
	case l.Manifest.Mode == dump.DataOnly || r.member:
		begin += "DELETE FROM ONLY " + r.sql() + " " + r.condition + ";\n"
	default:
		begin += "TRUNCATE TABLE ONLY " + r.sql() + ";\n" // nothing refers to it yet
	}
	if err := s.feed(ctx, client, l, table.File.File, begin, "COMMIT;\n"); err != nil {
		return err
	}
	return explain(ctx, verify(ctx, conn, l, table, r))
}

// LoadStage implements dump.StepLoader.
func (Engine) LoadStage(ctx context.Context, l dump.Loading, stage dump.Stage) error {
	s, conn, client, err := loader(ctx, l)
	if err != nil {
		return err
	}
	defer discard(conn)
	if made, _ := strconv.Atoi(strings.Split(l.Manifest.Properties["pg_dump"], ".")[0]); made >= 17 && l.Manifest.Whole {
		// These make large objects where they fill them, so that a second attempt
		// would find those of the first one.
		if _, err := conn.Exec(ctx, "SELECT count(lo_unlink(oid)) FROM pg_largeobject_metadata"); err != nil {
			return explain(ctx, wrap("clear the large objects", err))
		}
	}
	return s.feed(ctx, client, l, stage.File.File, "", "")
}

// LoadRest implements dump.StepLoader.
func (Engine) LoadRest(ctx context.Context, l dump.Loading, dir string) error {
	if l.Manifest.Mode == dump.DataOnly {
		return nil
	}
	s, conn, client, err := loader(ctx, l)
	if err != nil {
		return err
	}
	defer discard(conn)
	return s.once(ctx, client, conn, l, l.Manifest.Finish.File, filepath.Join(dir, "finish.xid"))
}

// arguments of psql: nothing of a user's own settings counts, the first error
// ends it, and errors come with their code.
func arguments() []string {
	return []string{"--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=verbose", "--file=-"}
}

// frame keeps what a file may do to that of SQL, where psql can.
func (p program) frame(begin, end string) (string, string) {
	if !p.restricts() {
		return begin, end
	}
	key := rand.Text()
	return `\restrict ` + key + "\n" + begin, end + `\unrestrict ` + key + "\n"
}

// feed has psql carry out a file, between two texts.
func (s *server) feed(ctx context.Context, client program, l dump.Loading, file, begin, end string) error {
	f, err := dump.OpenFile(l.Dir, file)
	if err != nil {
		return fmt.Errorf("load the dump: %w", err)
	}
	defer f.Close()
	begin, end = client.frame(begin, end)
	reading := &progress{Reader: f, file: f, name: file, l: l}
	input := io.MultiReader(strings.NewReader(begin), reading, strings.NewReader(end))
	err = s.run(ctx, client, input, func(out io.Reader) error {
		_, err := io.Copy(io.Discard, out)
		return err
	}, arguments()...)
	return s.loaded(ctx, file, errors.Join(reading.fault, err))
}

func (s *server) loaded(ctx context.Context, file string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err = wrap("load "+file, err)
	switch c := code(err); {
	case strings.HasPrefix(c, "42") && strings.Contains(err.Error(), "already exists"):
		return sdk.Permanent(fmt.Errorf("%w: what is not a table cannot be replaced; load into an empty database", err))
	case c == codeDependent:
		return sdk.Permanent(fmt.Errorf("%w: what the dump does not hold depends on a table that it would replace; drop that first, or load into another database", err))
	}
	return explain(ctx, err)
}

// progress tells how much of a file has been read.
type progress struct {
	io.Reader
	file  *dump.Reader
	name  string
	l     dump.Loading
	fault error // of the file: psql would take it for its end
}

func (p *progress) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		p.fault = err
	}
	p.l.Progress(p.file.Done(), p.name)
	return n, err
}

// once has psql carry out a file that must not be carried out twice, in one
// transaction. The transaction's number is in a file before the dump's first
// statement, so that another attempt can ask the server what became of it.
func (s *server) once(ctx context.Context, client program, conn *pgx.Conn, l dump.Loading, file, note string) error {
	switch done, err := s.outcome(ctx, conn, note); {
	case err != nil:
		return explain(ctx, err)
	case done:
		return nil
	}
	f, err := dump.OpenFile(l.Dir, file)
	if err != nil {
		return fmt.Errorf("load the dump: %w", err)
	}
	defer f.Close()
	begin, end := client.frame("BEGIN;\nSELECT 'transaction ' || pg_catalog.txid_current();\n", "COMMIT;\n")
	noted := make(chan struct{})
	gate, open := io.Pipe()
	reading := &progress{Reader: f, file: f, name: file, l: l}
	passed := make(chan struct{})
	go func() {
		defer close(passed)
		defer open.Close()
		if _, err := io.WriteString(open, begin); err != nil {
			return
		}
		<-noted
		io.Copy(open, io.MultiReader(reading, strings.NewReader(end))) //nolint:errcheck // psql tells what it could not do
	}()
	err = s.run(ctx, client, gate, func(out io.Reader) error {
		defer close(noted)
		r := bufio.NewReader(out)
		line, err := r.ReadString('\n')
		if err != nil {
			gate.CloseWithError(io.ErrClosedPipe)
			return nil // it has ended, and tells why
		}
		number, ok := strings.CutPrefix(strings.TrimSpace(line), "transaction ")
		if !ok {
			gate.CloseWithError(io.ErrClosedPipe)
			return fmt.Errorf("psql said %q in place of its transaction", line)
		}
		if err := save(note, number); err != nil {
			gate.CloseWithError(io.ErrClosedPipe)
			return fmt.Errorf("note the transaction: %w", err)
		}
		noted <- struct{}{}
		_, err = io.Copy(io.Discard, r)
		return err
	}, arguments()...)
	gate.Close()
	<-passed
	return s.loaded(ctx, file, errors.Join(reading.fault, err))
}

// outcome reports whether the transaction of an earlier attempt was committed.
func (s *server) outcome(ctx context.Context, conn *pgx.Conn, note string) (bool, error) {
	number, err := os.ReadFile(note)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read what an earlier attempt did: %w", err)
	}
	var status *string
	if err := conn.QueryRow(ctx, "SELECT txid_status($1::text::bigint)", string(number)).Scan(&status); err != nil {
		return false, wrap("ask what an earlier attempt did", err)
	}
	if status != nil && *status == "in progress" {
		return false, sdk.RetryAfter(errors.New("an earlier attempt is still at work on the server"), busyPause)
	}
	return status != nil && *status == "committed", nil
}

// save writes a small file durably.
func save(path, text string) error {
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// mayHoldTriggers refuses what would fire while rows are loaded all the same, and
// users who may not hold triggers back.
func mayHoldTriggers(ctx context.Context, conn *pgx.Conn, s *server, r target) error {
	var names []string
	err := conn.QueryRow(ctx, "SELECT array_agg(tgname::text ORDER BY tgname) FROM pg_trigger WHERE tgrelid = $1 AND tgenabled IN ('A','R')", r.oid).Scan(&names)
	if err != nil {
		return explain(ctx, wrap("look at the triggers", err))
	}
	if len(names) > 0 {
		return sdk.Permanent(fmt.Errorf("its trigger %q fires always, also while rows are loaded: ALTER TABLE ... DISABLE TRIGGER it first", names[0]))
	}
	if _, err := conn.Exec(ctx, "BEGIN; SET LOCAL session_replication_role = replica; ROLLBACK", pgx.QueryExecModeSimpleProtocol); err != nil {
		if code(err) == codeNoPrivilege {
			return sdk.Permanent(fmt.Errorf("the user %s may not hold triggers and foreign keys back while rows are loaded: load as a superuser, or (PostgreSQL 15 and later) GRANT SET ON PARAMETER session_replication_role to it (%w)", s.user, err))
		}
		return explain(ctx, err)
	}
	return nil
}
