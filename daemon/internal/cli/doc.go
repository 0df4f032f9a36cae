// Package cli is the command line of stepd: one file a command, and what the
// commands share (exit codes, output, following a run).
//
// It talks to the daemon through its socket only and knows nothing of the
// engine, the store or the files of either. What runs the daemon itself is
// handed in by main.
//
// Shapes of commands: what is done to runs every day is a verb (run, cancel,
// continue, restart, logs); what is shown or set about one thing comes after
// the thing's name (task show, run show); lists are plurals (tasks, runs,
// plugins). Task files as a whole have verbs too (validate, apply, diff, export,
// delete), one task as data has those of `task`, its steps those of `task step`.
// `run` is both the verb and the thing, so a task that is called
// show is started with `stepd run -- show`, which its help and its errors say.
package cli
