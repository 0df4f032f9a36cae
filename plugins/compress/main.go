// The compress plugin makes, verifies and restores archives.
package main

import (
	"github.com/stepd/stepd/plugins/compress/internal/compress"
	"github.com/stepd/stepd/sdk"
)

func main() { sdk.Serve(compress.Plugin()) }
