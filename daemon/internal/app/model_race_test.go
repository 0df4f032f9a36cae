//go:build race

package app

// Each round is as many sequences as rapid checks, a hundred. The race detector
// makes them five times as slow; all of them are there without it.
const modelRounds = 2
