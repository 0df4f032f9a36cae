package app

import (
	"errors"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/schedule"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// What the ledger submits is queued once when it is durable, however often the
// store had to try, and never when it is not.
func TestRunsOfTheLedgerAreAdoptedOnce(t *testing.T) {
	db, err := store.Open(store.Options{Dir: t.TempDir(), BallastSize: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	e, err := engine.New(engine.Config{Store: engineStore{db}, Clock: engine.SystemClock{}, Logger: hclog.NewNullLogger(), MaxRuns: 1})
	if err != nil {
		t.Fatal(err)
	}
	def := task.Task{Name: "t", Version: 1, Steps: []task.Step{{Name: "a", Controller: "a"}}}
	if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.PutTask(def) }); err != nil {
		t.Fatal(err)
	}
	l := ledgerStore{db, e} // the engine is not started, so all that it adopts stays in its queue
	broken := errors.New("broken on purpose")
	submit := func(calls *int, end error) error {
		return l.Update(t.Context(), func(tx schedule.Tx) error {
			*calls++
			for range 2 {
				if _, err := tx.Submit(def, task.Run{Trigger: task.TriggerSchedule, Schedule: "s"}); err != nil {
					return err
				}
			}
			return end
		})
	}
	// One that fails after it has written makes those who share its commit run
	// again. Who shares is for the scheduler to say, so it is tried until it was so.
	made, again := 0, false
	for range 1000 {
		calls := make([]int, 16)
		var all sync.WaitGroup
		for i := range calls {
			all.Go(func() {
				end := error(nil)
				if i%2 == 1 {
					end = broken
				}
				if err := submit(&calls[i], end); !errors.Is(err, end) {
					t.Errorf("update: %v", err)
				}
			})
		}
		all.Wait()
		made += len(calls) // by half of them, two each
		for i, n := range calls {
			again = again || i%2 == 0 && n > 1
		}
		if again {
			break
		}
	}
	if !again {
		t.Fatal("no update was ever tried twice: that proves nothing")
	}
	stored := 0
	if err := db.View(func(tx *store.Tx) error {
		return tx.ActiveRuns(func(task.Run) bool { stored++; return true })
	}); err != nil {
		t.Fatal(err)
	}
	if _, queued := e.Load(); queued != made || stored != made {
		t.Errorf("%d runs are queued and %d stored, of %d", queued, stored, made)
	}
}
