// Stepd is the daemon and its command line.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/stepd/stepd/daemon/internal/app"
	"github.com/stepd/stepd/daemon/internal/cli"
)

var version = "devel" // set by the linker

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(cli.New(cli.Deps{
		Version:  version,
		Settings: app.SettingsHelp(),
		Serve: func(ctx context.Context, o cli.ServeOptions) error {
			return app.Serve(ctx, version, app.Flags(o))
		},
		Hidden: []cli.Hidden{{Name: app.PreflightName, Run: app.Preflight}},
	}).Run(ctx, os.Args[1:]))
}
