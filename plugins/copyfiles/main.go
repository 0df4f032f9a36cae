// The copyfiles plugin copies a directory tree.
package main

import (
	"github.com/stepd/stepd/plugins/copyfiles/internal/copyfiles"
	"github.com/stepd/stepd/sdk"
)

func main() { sdk.Serve(copyfiles.Plugin()) }
