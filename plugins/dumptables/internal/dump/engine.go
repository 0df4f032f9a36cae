package dump

import (
	"context"
	"io"
	"time"

	"github.com/stepd/stepd/sdk"
)

// Engine knows one kind of database. Its errors are for people; those that
// another attempt would repeat are sdk.Permanent, and none holds a password.
//
// It loads either as a Loader or as a StepLoader.
type Engine interface {
	// Name is what manifests call it; several schemes may mean one engine.
	Name() string
	// Freeze fixes one consistent state of the database: what Open reads later
	// is that state. It never creates or changes the database. Where the state
	// lies durably in dir, an own directory that is empty, held is nil, and Open
	// may be called in another process. Else held is what keeps the state, open
	// connections, and with it the state is lost.
	Freeze(ctx context.Context, at Location, dir string) (held io.Closer, err error)
	// Open opens what Freeze fixed; held is what it returned. Where the state is
	// lost, the error is sdk.SessionLost.
	Open(ctx context.Context, dir string, held io.Closer) (Source, error)
}

// Loader brings a dump into a database in one step: all of it or nothing.
type Loader interface {
	Load(ctx context.Context, loading Loading) error
}

// StepLoader brings a dump into a database file by file, as its statements
// cannot be undone together. Its methods may be called again after a failure or
// in another process, LoadTable side by side for several tables.
type StepLoader interface {
	// Admit refuses a database that must not be loaded into and makes one that
	// is not there. It is asked once, before anything is loaded.
	Admit(ctx context.Context, loading Loading) error
	// LoadSchema makes the tables, empty (mode recreate), or makes those that
	// are there ready for rows; dir is an own directory to keep things in.
	LoadSchema(ctx context.Context, loading Loading, dir string) error
	// LoadTable loads the rows of one table, or of one part of it, in place of
	// those that it has there, and compares what came of it with the manifest.
	LoadTable(ctx context.Context, loading Loading, table Table) error
	// LoadStage loads what WriteStage wrote.
	LoadStage(ctx context.Context, loading Loading, stage Stage) error
	// LoadRest loads what WriteRest wrote and undoes what LoadSchema did to make
	// the tables ready.
	LoadRest(ctx context.Context, loading Loading, dir string) error
}

// Location says where a database is.
type Location struct {
	Address  string     // the DSN without its scheme
	BaseDir  string     // where relative paths start
	Password sdk.Secret // "" where none is needed
	// Connections is how many steps may read the state side by side.
	Connections int
	// Programs is the directory of the server's own programs, for an engine that
	// calls them; "" where it looks for them itself.
	Programs string
}

// Source reads one fixed state of a database. It is not safe for concurrent use.
type Source interface {
	io.Closer
	// Objects are the tables and views that a person can name, in the order of
	// their creation.
	Objects(ctx context.Context) ([]Object, error)
	// Facts describe the database as a whole.
	Facts(ctx context.Context) (Facts, error)
	// WriteSchema writes statements that make the selected tables, empty.
	WriteSchema(ctx context.Context, w io.Writer, s Selection) error
	// CountRows tells about how many rows there are, for the progress.
	CountRows(ctx context.Context, table string) (int64, error)
	// WriteRows writes statements that insert the table's rows, those within a
	// range that Split made where one is given. It holds a bounded number of rows
	// in memory and calls seen now and then.
	WriteRows(ctx context.Context, w io.Writer, table string, within Range, seen func(rows int64)) (Rows, error)
	// Stages names what else has steps of its own between the rows and the rest,
	// in the order of loading: routines, views. Names of the database are in none.
	Stages(ctx context.Context, s Selection) ([]string, error)
	WriteStage(ctx context.Context, w io.Writer, s Selection, stage string) error
	// WriteRest writes what must come after everything else.
	WriteRest(ctx context.Context, w io.Writer, s Selection) error
	// BrokenReferences counts rows of the tables whose foreign key points
	// nowhere; it is negative where they are not counted.
	BrokenReferences(ctx context.Context, tables []string) (int64, error)
}

// Splitter is a Source that can dump a table in parts.
type Splitter interface {
	// Split divides a table into ranges of about so many rows, which together hold
	// every row once. Where that is not worth it or not possible there are none;
	// why says then what is in the way, and is "" for a table that is small.
	Split(ctx context.Context, table string, rows int64) (parts []Range, why string, err error)
}

// Range is a part of a table: the rows whose key is From or more and less than
// To. Both are literals; "" has no end. The zero Range is all of a table.
type Range struct {
	Column string `json:"column,omitempty"`
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"`
	Rows   int64  `json:"-"` // about
}

// Whole reports whether it is all of a table.
func (r Range) Whole() bool { return r.Column == "" }

// Rows are what WriteRows wrote.
type Rows struct {
	Rows int64
	// Checksum is one of the rows' content, whatever their order, that the engine
	// compares after loading; "" for none.
	Checksum string
}

// Object is a table or a view.
type Object struct {
	Name  string
	View  bool
	Bytes int64 // about; of a table with what belongs to it
	// Within are tables that the object is a part of: patterns that match one of
	// them match it too.
	Within []string
	// Outside says why the table's rows may be of another moment than the
	// snapshot's, "" for a table that is part of it.
	Outside string
	// Refused says why the object cannot be dumped, "" when it can.
	Refused string
}

// Facts are recorded in the manifest.
type Facts struct {
	FrozenAt   time.Time
	Properties map[string]string // encoding, page_size ...
}

// Selection is what of a database goes into a dump.
type Selection struct {
	Mode   Mode
	Tables []string
	Views  []string
	Whole  bool // nothing is left out
	// All says that the tables were chosen by "*": what belongs to the database
	// rather than to a table is wanted too.
	All bool
}

// Loading is one dump on its way into a database.
type Loading struct {
	To        Location
	Dir       string
	Manifest  Manifest // complete; the files in Dir fit it
	Overwrite bool
	// Progress is called now and then with the bytes of the files that are in.
	Progress func(bytes int64, file string)
	// Warn tells a person about something that does not stop the load.
	Warn func(message string)
}
