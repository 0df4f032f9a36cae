package app

import (
	"context"
	"time"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/schedule"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// ledgerStore is the store as the ledger's port. Runs that the ledger submits
// are made by the engine in the same transaction, and taken up by it once that
// is durable: not those of a try that was undone, nor of a commit that failed.
type ledgerStore struct {
	*store.Store
	engine *engine.Engine
}

func (s ledgerStore) View(fn func(schedule.Reader) error) error {
	return s.Store.View(func(tx *store.Tx) error { return fn(tx) })
}

func (s ledgerStore) Update(ctx context.Context, fn func(schedule.Tx) error) error {
	var last *ledgerTx
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		last = &ledgerTx{Tx: tx, engine: s.engine}
		return fn(last)
	})
	if err == nil {
		s.engine.Adopt(last.runs...)
	}
	return err
}

// ledgerTx is a transaction of the store that can make runs.
type ledgerTx struct {
	*store.Tx
	engine *engine.Engine
	runs   []task.Run // to be adopted
}

func (tx *ledgerTx) Submit(def task.Task, run task.Run) (task.Run, error) {
	made, err := tx.engine.SubmitIn(tx.Tx, def, run)
	if err == nil {
		tx.runs = append(tx.runs, made)
	}
	return made, err
}

// engineSchedules is the ledger as the engine's port.
type engineSchedules struct{ *App }

func (s engineSchedules) Changed(tx engine.Tx, old, now *task.Task) ([]task.Run, error) {
	own := s.transaction(tx)
	err := s.ledger.Changed(own, old, now)
	return own.runs, err
}

func (s engineSchedules) Ended(tx engine.Tx, run task.Run) error {
	return s.ledger.Ended(s.transaction(tx), run)
}

func (s engineSchedules) Due(rd engine.Reader, t *task.Task, since, now time.Time) (bool, error) {
	return s.ledger.Due(rd.(*store.Tx), t, since, now)
}

func (s engineSchedules) Committed() { s.ledger.Wake() }

// transaction is the one transaction that engine and ledger share.
func (s engineSchedules) transaction(tx engine.Tx) *ledgerTx {
	return &ledgerTx{Tx: tx.(*store.Tx), engine: s.engine}
}
