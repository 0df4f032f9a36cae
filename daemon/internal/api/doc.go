// Package api is the contract of the daemon's local socket: JSON types, error
// codes and routes, shared by the server and the client beside it.
//
// It is HTTP and JSON over a unix socket. It knows neither the engine nor the
// store; the composition root turns their words into these.
package api
