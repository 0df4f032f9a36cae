// Package server answers the daemon's local socket: HTTP and JSON, streams of
// log lines and of events.
//
// It turns requests into calls of an api.Backend and the Backend's answers into
// JSON; it decides nothing about tasks and runs, keeps no state about them, and
// never retries. Every limit that keeps a hostile or broken client from hurting
// the daemon is here: sizes, times, the number of connections.
//
// Who asks is known by the peer's credentials and groups, which have to be
// readable. What they may do the Authorizer says, by roles; what each route needs
// the table of package openapi says. Where a task's starters count, the Backend
// decides. Each act that changes something is kept by the Auditor, before it is
// answered.
package server
