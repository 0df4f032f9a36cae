// Package task holds the words of stepd: tasks, steps, runs, attempts, their
// statuses and every legal change between those.
//
// It is what all other rooms of the daemon agree on, so it knows none of them
// and imports the standard library only. It performs nothing: no files, no
// clocks, no locks.
package task
