package store_test

import (
	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/schedule"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// The composition root hands the store to the engine.
var _ engine.Tx = (*store.Tx)(nil)

// And to the ledger of schedules, whose runs the engine submits.
var _ schedule.Tx = submitter{}

type submitter struct{ *store.Tx }

func (submitter) Submit(task.Task, task.Run) (run task.Run, err error) { return run, err }
