// The retain plugin deletes archives that no rule keeps.
package main

import (
	_ "time/tzdata" // for machines without a time zone database

	"github.com/stepd/stepd/plugins/retain/internal/retain"
	"github.com/stepd/stepd/sdk"
)

func main() { sdk.Serve(retain.Plugin()) }
