//go:build !race

package schedule

const modelDays = 10_000
