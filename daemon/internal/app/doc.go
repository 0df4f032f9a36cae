// Package app puts the daemon together: it makes each room, hands it what it
// declared to need, and stops them in order. It is the only one that knows
// everybody; it decides nothing that a room could decide.
package app
