// Command dumptables is a plugin of stepd: it dumps the tables of a database into
// SQL files and loads them back.
package main

import (
	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/plugins/dumptables/internal/mysql"
	"github.com/stepd/stepd/plugins/dumptables/internal/postgres"
	"github.com/stepd/stepd/plugins/dumptables/internal/sqlite"
	"github.com/stepd/stepd/sdk"
)

const version = "1.2.0"

func main() { sdk.Serve(dump.Plugin(version, engines())) }

// engines are the kinds of databases by the scheme of their DSN.
func engines() map[string]dump.Engine {
	return map[string]dump.Engine{
		"sqlite": sqlite.Engine{},
		"mysql":  mysql.Engine{}, "mariadb": mysql.Engine{},
		"postgres": postgres.Engine{}, "postgresql": postgres.Engine{},
	}
}
