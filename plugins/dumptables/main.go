// Command dumptables is a plugin of stepd: it dumps the tables of a database into
// SQL files and loads them back.
package main

import (
	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/plugins/dumptables/internal/sqlite"
	"github.com/stepd/stepd/sdk"
)

const version = "1.0.0"

func main() {
	sdk.Serve(dump.Plugin(version, map[string]dump.Engine{"sqlite": sqlite.Engine{}}))
}
