// Noop is a plugin whose step does nothing, as often as it is told. It is for
// tests and benchmarks: what a run of it costs is what stepd itself costs.
package main

import (
	"context"
	"fmt"

	"github.com/stepd/stepd/sdk"
)

type settings struct {
	Steps int `json:"steps,omitempty" jsonschema:"minimum=0,maximum=10000000" jsonschema_description:"Into how many steps it splits itself."`
}

func main() {
	sdk.Serve(sdk.Plugin{Name: "noop", Version: "1.0.0", Controllers: []sdk.Registration{
		sdk.Controller[settings]{
			Summary: "Do nothing, in any number of steps.", Effect: sdk.Idempotent, Defaults: settings{Steps: 1}, Plan: plan, Run: run,
		},
	}})
}

func plan(_ context.Context, plan *sdk.Plan[settings]) error {
	for i := range plan.Settings.Steps {
		if err := plan.Add(sdk.Planned[settings]{Name: fmt.Sprint(i + 1)}); err != nil {
			return err
		}
	}
	return nil
}

func run(context.Context, *sdk.Step[settings]) error { return nil }
