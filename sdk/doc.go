// Package sdk is what the author of a stepd plugin imports.
//
// A plugin is a program that serves controllers. A controller carries out one
// kind of step: it is a function with typed settings.
//
//	type settings struct {
//		Source string `json:"source" jsonschema:"required" jsonschema_description:"Directory to archive."`
//	}
//
//	func main() {
//		sdk.Serve(sdk.Plugin{Name: "archive", Version: "1.0.0", Controllers: []sdk.Registration{
//			sdk.Controller[settings]{Summary: "Archive a directory.", Effect: sdk.Idempotent, Run: run},
//		}})
//	}
//
//	func run(ctx context.Context, step *sdk.Step[settings]) error { ... }
//
// What the daemon promises a controller: settings fit the schema made from the
// settings struct; at most one attempt of a step is alive at a time; what
// Checkpoint has saved comes back through Resume in the next attempt; ctx ends
// when the attempt should, and context.Cause says why.
//
// What it expects: the controller returns soon after ctx is done (the process
// is killed after the grace), it does its work through attempts that may end at
// any point, and it declares honestly what doing it twice would mean (Effect).
//
// The package knows nothing of the daemon but the protocol.
package sdk
