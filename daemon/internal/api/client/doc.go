// Package client talks to the daemon's local socket: one method for each of
// api.Backend, with the same meaning.
//
// Errors are *api.Error as the daemon answered it, *DownError when the daemon
// cannot be reached, *BrokenError when it went away in the middle, or the
// context's. It retries nothing and reconnects nothing: only the caller knows
// what may be repeated.
package client
