package api

import "slices"

// The words of the contract, each list whole and in the order in which people
// are told of it.

// TaskStatuses are where a task stands; the first that applies.
func TaskStatuses() []string { return []string{"draft", "disabled", "paused", "scheduled", "ready"} }

// RunStatuses are where a run stands.
func RunStatuses() []string {
	return []string{"queued", "running", "completed", "failed", "incomplete", "cancelled"}
}

// StepStatuses are where a step of a run stands.
func StepStatuses() []string {
	return []string{"ready", "running", "waiting", "completed", "failed", "skipped", "cancelled", "interrupted"}
}

// Triggers are what makes a run.
func Triggers() []string {
	return []string{"manual", "restart", "schedule", "on_missed", "on_success", "on_failure", "on_end"}
}

// LogLevels are those of a run's log, each before those above it.
func LogLevels() []string { return []string{"debug", "info", "warn", "error"} }

// TaskFilters are what TaskQuery.Status takes.
func TaskFilters() []string { return append(TaskStatuses(), "running", "queued") }

// TaskResults are what TaskQuery.Result takes.
func TaskResults() []string { return append(RunStatuses(), "never") }

// TaskSorts are what TaskQuery.Sort takes: each key ascending, and descending with
// a dash before it.
func TaskSorts() []string {
	keys := []string{"name", "created", "updated", "last_run", "next"}
	for _, key := range slices.Clone(keys) {
		keys = append(keys, "-"+key)
	}
	return keys
}

// RunFilters are what RunQuery.Status takes.
func RunFilters() []string { return append(RunStatuses(), "alive", "ended", "stuck") }
