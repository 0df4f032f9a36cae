package engine

import "github.com/stepd/stepd/daemon/internal/task"

// Waiting is how many messages wait for the run's runner.
func Waiting(e *Engine, id task.RunID) int {
	r := e.runner(id)
	if r == nil {
		return -1
	}
	return len(r.inbox)
}
