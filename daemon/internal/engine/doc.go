// Package engine carries out runs: steps in their order, side by side where the
// task allows it, with retries, time limits, plans, cancel and resume.
//
// Each run that is alive has one runner, a goroutine that owns the run's state.
// What happens (a result, a wish to cancel, the end of a pause) reaches it as a
// message; it turns what has come into one transaction, together with everything
// that follows from it (the next step's start), commits that, and only then acts
// on it and tells watchers. So a commit is all that a step costs beside its call.
//
// A transition that cannot be committed for lack of room is tried again until it
// can, and nothing goes on meanwhile. After a crash, recovery reads what was
// committed and goes on from there by the controllers' declared effects.
//
// What a step's condition and settings say of earlier steps is evaluated by the
// runner when the step's turn has come, over what is stored and what the same
// transition is about to store.
//
// Old runs are forgotten by one goroutine beside all that, a bounded number at a
// time (keeper.go). Nobody waits for it, and what it does when a run has ended
// does not grow with history.
//
// The engine knows no files, no plugins and no HTTP: it declares the ports that
// it needs.
package engine
