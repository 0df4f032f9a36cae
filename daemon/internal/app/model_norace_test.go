//go:build !race

package app

const modelRounds = 20
