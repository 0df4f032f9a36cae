// Package server answers the daemon's local socket: HTTP and JSON, streams of
// log lines and of events.
//
// It turns requests into calls of an api.Backend and the Backend's answers into
// JSON; it decides nothing about tasks and runs, keeps no state about them, and
// never retries. Every limit that keeps a hostile or broken client from hurting
// the daemon is here: sizes, times, the number of connections.
//
// Who may ask: reaching the socket is the permission, by the modes of its
// directory and itself. The peer's credentials have to be readable, because
// what is done is recorded under the caller's name.
package server
