package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/sdk"
)

// Engine implements dump.Engine. The address of a database is its path.
type Engine struct{}

var (
	_ dump.Engine = Engine{}
	_ dump.Loader = Engine{}
)

// Name implements dump.Engine.
func (Engine) Name() string { return "sqlite" }

// busyTimeout is how long SQLite itself waits for a lock, in milliseconds.
const busyTimeout = 5000

func pathOf(at dump.Location) (string, error) {
	path := at.Address
	// sqlite:///var/x.db is a usual way to write an absolute path; two slashes
	// would be a host.
	if strings.HasPrefix(path, "//") && !strings.HasPrefix(path, "///") {
		return "", sdk.Permanent(fmt.Errorf("setting dsn: SQLite databases have no host: write sqlite:PATH"))
	}
	if strings.TrimSpace(path) == "" || strings.HasPrefix(path, ":memory:") {
		return "", sdk.Permanent(fmt.Errorf("setting dsn: the path of the database file is missing: write sqlite:PATH"))
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path), nil
	}
	return filepath.Join(at.BaseDir, path), nil
}

// connect opens one connection: pragmas belong to it. options are those of an
// SQLite URI.
func connect(ctx context.Context, path, options string) (*sql.DB, *sql.Conn, error) {
	uri := (&url.URL{Scheme: "file", Path: path}).String() + "?" + options + fmt.Sprintf("&_pragma=busy_timeout(%d)", busyTimeout)
	db, err := sql.Open("sqlite", uri)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		db.Close()
		return nil, nil, explainAt(ctx, path, fmt.Errorf("open %s: %w", path, err))
	}
	return db, conn, nil
}

// mustBeFile refuses what SQLite would report as "unable to open".
func mustBeFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case os.IsNotExist(err):
		return sdk.Permanent(fmt.Errorf("there is no database %s: check the setting dsn", path))
	case errors.Is(err, os.ErrPermission):
		return sdk.Permanent(fmt.Errorf("look at the database: %w: the daemon's user may not enter its directory", err))
	case err != nil:
		return fmt.Errorf("look at the database: %w", err)
	case !info.Mode().IsRegular():
		return sdk.Permanent(fmt.Errorf("%s is not a file", path))
	}
	return nil
}

// quoted is a name as SQL has it.
func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// literal is a text as SQL has it.
func literal(text string) string { return `'` + strings.ReplaceAll(text, `'`, `''`) + `'` }

// Stages implements dump.Source: everything comes with the rest.
func (s *source) Stages(context.Context, dump.Selection) ([]string, error) { return nil, nil }

// WriteStage implements dump.Source.
func (s *source) WriteStage(_ context.Context, _ io.Writer, _ dump.Selection, stage string) error {
	return fmt.Errorf("an SQLite database has no stage %q", stage)
}
