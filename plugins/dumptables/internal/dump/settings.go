package dump

import (
	"fmt"
	"strings"

	"github.com/stepd/stepd/sdk"
)

// Mode says what a dump holds.
type Mode string

const (
	// Recreate drops and creates each table before its rows.
	Recreate Mode = "recreate"
	// DataOnly holds rows alone; the schema must be there already.
	DataOnly Mode = "data_only"
)

// Settings of the controller dumptables.
type Settings struct {
	DSN     DSN      `json:"dsn" jsonschema:"required,minLength=1" jsonschema_description:"The database: sqlite:PATH, relative to the task file, mysql://USER@HOST/DATABASE or postgres://USER@HOST/DATABASE."`
	Mode    Mode     `json:"mode,omitempty" jsonschema:"enum=recreate,enum=data_only" jsonschema_description:"recreate: drop and create each table; data_only: rows alone."`
	Tables  []string `json:"tables,omitempty" jsonschema_description:"Names or globs of the tables and views to dump."`
	Exclude []string `json:"exclude,omitempty" jsonschema_description:"Names or globs to leave out."`
	Target  string   `json:"target,omitempty" jsonschema_description:"Directory to write into. Default: tables in the run's own directory."`

	Password     sdk.Secret `json:"password,omitzero" jsonschema_description:"The password of the DSN's user."`
	PasswordFile string     `json:"password_file,omitempty" jsonschema_description:"File that holds the password alone and that no other user may read."`
	Connections  int        `json:"connections,omitempty" jsonschema:"minimum=1,maximum=32" jsonschema_description:"Connections with the same snapshot; more than one serve steps side by side."`
	SplitRows    int64      `json:"split_rows,omitempty" jsonschema:"minimum=1" jsonschema_description:"Dump tables of more rows in parts of about so many, each a step. Default: a step a table."`
	Compress     string     `json:"compress,omitempty" jsonschema:"enum=none,enum=gzip,enum=zstd" jsonschema_description:"Compress the files as they are written."`
	Programs     string     `json:"programs,omitempty" jsonschema_description:"Directory of pg_dump and psql. Default: those that fit the server, where the packages put them."`

	// Part is set in planned steps alone; task files cannot give it.
	Part *part `json:"part,omitempty" jsonschema:"-"`
}

// part is what one planned step has to do.
type part struct {
	Kind  partKind `json:"kind"`
	Table string   `json:"table,omitempty"`
	Stage string   `json:"stage,omitempty"`
	File  string   `json:"file,omitempty"`
	// Part counts the parts of a table from 1; it is 0 of one that is not split.
	Part  int   `json:"part,omitempty"`
	Range Range `json:"range,omitzero"`
	About int64 `json:"about,omitempty"` // rows of the part
	// Parts are, for the finish, the tables that are split and into how many.
	Parts map[string]int `json:"parts,omitempty"`
	// Plan names the plan that the step is of: its finish takes nothing that a
	// step of another one wrote.
	Plan string `json:"plan,omitempty"`
}

type partKind string

const (
	partSchema partKind = "schema"
	partTable  partKind = "table"
	partStage  partKind = "stage"
	partFinish partKind = "finish"
	// Of restoretables alone.
	partCheck partKind = "check"
	partLoad  partKind = "load"
)

// RestoreSettings of the controller restoretables.
type RestoreSettings struct {
	DSN       DSN    `json:"dsn" jsonschema:"required,minLength=1" jsonschema_description:"The database to load into: sqlite:PATH, relative to the task file, mysql://USER@HOST/DATABASE or postgres://USER@HOST/DATABASE."`
	Source    string `json:"source,omitempty" jsonschema_description:"Directory of the dump. Default: tables in the run's own directory."`
	Overwrite bool   `json:"overwrite,omitempty" jsonschema_description:"Replace what the database holds already."`

	Password     sdk.Secret `json:"password,omitzero" jsonschema_description:"The password of the DSN's user."`
	PasswordFile string     `json:"password_file,omitempty" jsonschema_description:"File that holds the password alone and that no other user may read."`
	Programs     string     `json:"programs,omitempty" jsonschema_description:"Directory of psql. Default: the one that fits the server, where the packages put it."`

	// Part is set in planned steps alone; task files cannot give it.
	Part *part `json:"part,omitempty" jsonschema:"-"`
}

// Plugin registers the controllers. engines holds the kinds of databases by the
// scheme of their DSN.
func Plugin(version string, engines map[string]Engine) sdk.Plugin {
	d := &dumper{engines: engines}
	return sdk.Plugin{Name: "dumptables", Version: version, Controllers: []sdk.Registration{
		sdk.Controller[Settings]{
			Summary:  "Dump the tables of a database into SQL files, from one snapshot, a step a table.",
			Effect:   sdk.Idempotent,
			Defaults: Settings{Mode: Recreate, Tables: []string{"*"}, Connections: 1, Compress: compressNone},
			Plan:     d.plan,
			Run:      d.run,
		},
		sdk.Controller[RestoreSettings]{
			Name:    "restoretables",
			Summary: "Load a dump into a database, checked against its manifest.",
			Effect:  sdk.Idempotent,
			Plan:    d.planRestore,
			Run:     d.restore,
		},
	}}
}

type dumper struct {
	engines map[string]Engine
}

// engine finds who knows the DSN. What the DSN holds behind its scheme may be a
// password and is not repeated in errors.
func (d *dumper) engine(dsn DSN, programs string, info sdk.Info) (Engine, Location, error) {
	scheme, address, found := strings.Cut(string(dsn), ":")
	if engine, ok := d.engines[strings.ToLower(scheme)]; ok && found {
		at := Location{Address: address, BaseDir: info.BaseDir, Connections: 1}
		if programs != "" {
			at.Programs = info.Path(programs)
		}
		return engine, at, nil
	}
	known := sortedKeys(d.engines)
	hint := fmt.Sprintf("known is %s, as in %q", strings.Join(known, ", "), "sqlite:./shop.db")
	if found && strings.HasPrefix(address, "//") {
		return nil, Location{}, sdk.Permanent(fmt.Errorf("setting dsn: no database of the kind %q can be dumped yet; %s", scheme, hint))
	}
	return nil, Location{}, sdk.Permanent(fmt.Errorf("setting dsn: it must start with the kind of database and a colon; %s", hint))
}
