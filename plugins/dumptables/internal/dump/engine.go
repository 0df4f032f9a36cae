package dump

import (
	"context"
	"io"
	"time"
)

// Engine knows one kind of database. Its errors are for people; those that
// another attempt would repeat are sdk.Permanent, and none holds a password.
type Engine interface {
	// Freeze fixes one consistent state of the database in dir, which it makes
	// anew, durably: what Open reads later, in this process or in another, is
	// that state. It never creates or changes the database.
	Freeze(ctx context.Context, at Location, dir string) error
	// Open opens what Freeze fixed in dir.
	Open(ctx context.Context, dir string) (Source, error)
	// Load brings a dump into a database: all of it or nothing.
	Load(ctx context.Context, loading Loading) error
}

// Location says where a database is.
type Location struct {
	Address string // the DSN without its scheme
	BaseDir string // where relative paths start
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
	CountRows(ctx context.Context, table string) (int64, error)
	// WriteRows writes statements that insert the table's rows and returns how
	// many there are. It holds a bounded number of rows in memory and calls seen
	// now and then.
	WriteRows(ctx context.Context, w io.Writer, table string, seen func(rows int64)) (int64, error)
	// WriteRest writes what must come after all rows.
	WriteRest(ctx context.Context, w io.Writer, s Selection) error
	// BrokenReferences counts rows of the tables whose foreign key points nowhere.
	BrokenReferences(ctx context.Context, tables []string) (int64, error)
}

// Object is a table or a view.
type Object struct {
	Name  string
	View  bool
	Bytes int64 // about; of a table with what belongs to it
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
