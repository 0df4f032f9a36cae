package dump

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/stepd/stepd/sdk"
)

// ManifestName is the manifest's file in a dump.
const ManifestName = "dump.json"

const manifestFormat = 1

// Manifest is what a dump says about itself.
type Manifest struct {
	Format   int  `json:"format"`
	Complete bool `json:"complete"`

	Task string `json:"task"`
	Run  uint64 `json:"run"`
	Step string `json:"step"`

	Engine     string            `json:"engine,omitempty"`
	Mode       Mode              `json:"mode,omitempty"`
	Whole      bool              `json:"whole"` // nothing of the database was left out
	FrozenAt   time.Time         `json:"frozen_at,omitzero"`
	Properties map[string]string `json:"properties,omitempty"`
	// BrokenReferences are foreign keys that pointed nowhere in the source
	// already; nil when they could not be counted.
	BrokenReferences *int64 `json:"broken_references,omitempty"`

	Schema *File   `json:"schema,omitempty"`
	Tables []Table `json:"tables,omitempty"`
	Stages []Stage `json:"stages,omitempty"`
	Finish *File   `json:"finish,omitempty"`

	// OutsideSnapshot are tables whose rows may be of another moment than those
	// of all others, as their storage has no transactions.
	OutsideSnapshot []string `json:"outside_snapshot,omitempty"`
}

// Table is what was dumped of one table: the output "table" of its step.
type Table struct {
	Table    string `json:"table"`
	Rows     int64  `json:"rows"`
	Checksum string `json:"checksum,omitempty"` // of the rows' content, as Rows has it
	// Part and Range are set where the table was dumped in several parts, each
	// with rows, checksum and a file of its own.
	Part  int   `json:"part,omitempty"`
	Range Range `json:"range,omitzero"`
	File
}

// Stage is a file between the rows and the rest: routines, views.
type Stage struct {
	Stage string `json:"stage"`
	File
}

// Files are all files of the dump, in the order in which they are loaded.
func (m Manifest) Files() []File {
	var files []File
	if m.Schema != nil {
		files = append(files, *m.Schema)
	}
	for _, table := range m.Tables {
		files = append(files, table.File)
	}
	for _, stage := range m.Stages {
		files = append(files, stage.File)
	}
	if m.Finish != nil {
		files = append(files, *m.Finish)
	}
	return files
}

// Bytes is the size of all files.
func (m Manifest) Bytes() int64 {
	var n int64
	for _, file := range m.Files() {
		n += file.Bytes
	}
	return n
}

// Rows is the number of rows of all tables.
func (m Manifest) Rows() int64 {
	var n int64
	for _, table := range m.Tables {
		n += table.Rows
	}
	return n
}

// Names are the tables, each once.
func (m Manifest) Names() []string {
	var names []string
	for _, table := range m.Tables {
		if table.Part <= 1 {
			names = append(names, table.Table)
		}
	}
	return names
}

// readManifest reads a manifest; the error is os.ErrNotExist where there is none.
func readManifest(dir string) (Manifest, error) {
	path := filepath.Join(dir, ManifestName)
	raw, err := os.ReadFile(path)
	if err != nil {
		return Manifest{}, err
	}
	var m Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return Manifest{}, sdk.Permanent(fmt.Errorf("read the manifest %s: %w", path, err))
	}
	if m.Format != manifestFormat {
		return Manifest{}, sdk.Permanent(fmt.Errorf("the manifest %s has format %d, this plugin knows %d", path, m.Format, manifestFormat))
	}
	return m, nil
}

// check refuses a manifest that cannot be loaded. Its names become paths, so
// they are believed only when they look like those of a dump.
func (m Manifest) check() error {
	if !m.Complete {
		return errors.New("the dump was not finished: its manifest says that it is not complete")
	}
	if m.Finish == nil || m.Mode == Recreate && m.Schema == nil || m.Mode != Recreate && m.Mode != DataOnly {
		return errors.New("the manifest is not whole")
	}
	seen := map[string]bool{}
	for _, file := range m.Files() {
		if !dumpFile.MatchString(file.File) || seen[file.File] {
			return fmt.Errorf("the manifest names a file %q that a dump cannot have", file.File)
		}
		seen[file.File] = true
	}
	return nil
}
