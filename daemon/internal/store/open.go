package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	fileDatabase = "stepd.db"
	fileNew      = "stepd.db.new"
	fileLock     = "stepd.lock"
	fileClean    = "stepd.clean"
	fileBallast  = "ballast"
	fileNewBall  = "ballast.new"

	// DefaultBallast is the size of the ballast in bytes.
	DefaultBallast = 32 << 20

	lockTimeout = 2 * time.Second

	// A map larger than the file spares readers and the writer a wait for each
	// other when it grows. It takes address space only.
	initialMap = 256 << 20
)

// Options say where a store is and how it behaves.
type Options struct {
	Dir    string       // state directory; made (0700) when it is not there
	Logger hclog.Logger // nil: none

	// PreflightCommand makes the child process in which a database is checked
	// that was not closed cleanly; it has to call RunPreflight. nil: the check
	// runs in this process, which a damaged file may then take down.
	PreflightCommand func(path string) *exec.Cmd

	// PreflightTimeout ends the child, which is a refusal; 0: a minute, and a
	// second for each 10 MiB.
	PreflightTimeout time.Duration

	BallastSize int64         // bytes; 0: DefaultBallast, less than 0: none
	LockTimeout time.Duration // 0: 2 s

	// OnRoom is told each time that the answer of Room changes after Open, with
	// that answer. It must not block and not call the store.
	OnRoom func(error)

	// WrapCommit, when set, stands around each commit. It is there for tests
	// that need commits to fail or to stop at a known point.
	WrapCommit func(commit func() error) error
	// Allocate reserves space in a file, in the place of fallocate(2). It is
	// there for tests that need a full disk.
	Allocate func(f *os.File, offset, size int64) error
	// Free says how many bytes of a directory's disk may still be used, in the
	// place of statfs(2). It is there for the same tests.
	Free func(dir string) (int64, error)

	migrations []migration
}

func (o *Options) defaults() error {
	if o.Dir == "" {
		return errors.New("open the store: no state directory is given")
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	switch {
	case o.BallastSize == 0:
		o.BallastSize = DefaultBallast
	case o.BallastSize < 0:
		o.BallastSize = 0
	}
	if o.LockTimeout == 0 {
		o.LockTimeout = lockTimeout
	}
	if o.WrapCommit == nil {
		o.WrapCommit = func(commit func() error) error { return commit() }
	}
	if o.Allocate == nil {
		o.Allocate = fallocate
	}
	if o.Free == nil {
		o.Free = freeBytes
	}
	if o.migrations == nil {
		o.migrations = migrations()
	}
	return nil
}

// Open opens the database of the state directory, or makes it when there is
// none. It blocks for up to LockTimeout when another process has it
// (*LockedError), and for the time of the check after an unclean end. A
// database that cannot be used is left as it is (*RefusedError).
//
// A full disk is no reason to fail: Room tells.
func Open(o Options) (*Store, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	lock, err := takeLock(filepath.Join(o.Dir, fileLock), o.LockTimeout)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	s, err := openLocked(&o)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("open the store: %w", err)
	}
	s.lock = lock
	return s, nil
}

func openLocked(o *Options) (*Store, error) {
	path := filepath.Join(o.Dir, fileDatabase)
	for _, name := range []string{fileNew, fileNewBall} {
		if err := os.Remove(filepath.Join(o.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	// Lstat: a link that leads nowhere is not "no database".
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = create(o.Dir, firstSchema+len(o.migrations)); err == nil {
			o.Logger.Info("made a new database", "path", path)
		}
	} else if err == nil {
		err = examine(o, path)
	}
	if err != nil {
		return nil, err
	}
	// From here on the file may change, so an end without Close is unclean.
	if err := removeDurably(filepath.Join(o.Dir, fileClean)); err != nil {
		return nil, err
	}
	s := &Store{o: *o, path: path, enc: newEncoder(), failed: make(chan struct{})}
	s.db, err = bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         lockPoll,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: initialMap,
		NoFreelistSync:  true, // see listFree
		OpenFile: func(path string, flag int, mode os.FileMode) (f *os.File, err error) {
			f, err = openExisting(path, flag, mode)
			s.file = f
			return f, err
		},
	})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, &LockedError{Path: path}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := migrate(s.db, o, o.migrations); err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	s.openBallast()
	return s, nil
}

// create makes a database beside its place and moves it there when it is whole
// and durable: a crash leaves nothing or all of it.
func create(dir string, schema int) error {
	temp := filepath.Join(dir, fileNew)
	db, err := bolt.Open(temp, 0o600, &bolt.Options{Timeout: lockPoll, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return fmt.Errorf("make a database: %w", err)
	}
	err = db.Update(func(btx *bolt.Tx) error {
		for _, name := range bucketNames {
			if _, err := btx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		return writeSchema(btx, schema)
	})
	if err == nil {
		err = db.Sync()
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("make a database: %w", errors.Join(err, os.Remove(temp)))
	}
	if err := os.Rename(temp, filepath.Join(dir, fileDatabase)); err != nil {
		return fmt.Errorf("make a database: %w", err)
	}
	return syncDir(dir)
}

// examine looks at a database before it is mapped.
func examine(o *Options, path string) error {
	if err := checkUnlocked(path, o.LockTimeout); err != nil {
		return err
	}
	found, err := inspect(path)
	if err != nil {
		return err
	}
	if found != "" {
		refused := &RefusedError{Path: path, Found: found}
		if o.PreflightCommand != nil {
			refused.Check = hint(o.PreflightCommand(path))
		}
		return refused
	}
	if closedCleanly(o.Dir) {
		return nil
	}
	o.Logger.Debug("the database was not closed cleanly, checking it", "path", path)
	return o.preflight(path)
}

// clean is the content of the marker that Close leaves.
type clean struct {
	Size  int64  `json:"size"`
	MTime int64  `json:"mtime"` // ns
	Inode uint64 `json:"inode"`
	TxID  uint64 `json:"txid"`
}

func cleanState(dir string) (c clean, err error) {
	f, err := os.Open(filepath.Join(dir, fileDatabase))
	if err != nil {
		return c, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return c, err
	}
	m, ok, err := readMetas(f)
	if err != nil || !ok {
		return c, errors.Join(err, errors.New("no intact meta page"))
	}
	c = clean{Size: info.Size(), MTime: info.ModTime().UnixNano(), TxID: m.txid}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		c.Inode = st.Ino
	}
	return c, nil
}

// closedCleanly reports whether the database is the very file that Close left.
// A copy that was put back since, or an edit, is not.
func closedCleanly(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, fileClean))
	if err != nil {
		return false
	}
	var then clean
	if json.Unmarshal(text, &then) != nil {
		return false
	}
	now, err := cleanState(dir)
	return err == nil && now == then
}

func markClean(dir string) error {
	state, err := cleanState(dir)
	if err != nil {
		return err
	}
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, fileClean), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return syncDir(dir)
}

func removeDurably(path string) error {
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func hint(cmd *exec.Cmd) string { return strings.Join(cmd.Args, " ") }
