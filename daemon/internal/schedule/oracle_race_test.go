//go:build race

package schedule_test

// The race detector makes the oracle ten times as slow. All specs still meet
// all changes under it, but in the hours beside the change only.
const underRace = true
