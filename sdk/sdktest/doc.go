// Package sdktest runs a controller in a test, through the real protocol: the
// SDK's server behind gRPC on a unix socket, with a stand-in for the daemon that
// acknowledges checkpoints, answers inputs and records all that it hears.
//
//	h := sdktest.New(t, sdk.Plugin{Name: "archive", Controllers: ...})
//	result := h.Execute(t.Context(), sdktest.Start{Settings: settings{Source: dir}})
//	result.RequireCompleted(t)
package sdktest
