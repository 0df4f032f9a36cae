//go:build race

package schedule

// The race detector makes the model six times as slow. All of it is there under it,
// in a quarter of the days.
const modelDays = 2_500
