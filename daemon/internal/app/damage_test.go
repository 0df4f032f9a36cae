package app

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/runlog"
	"github.com/stepd/stepd/daemon/internal/schedule"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// bareApp is an engine and a ledger on a store, which nothing carries out.
func bareApp(t *testing.T, dir string, clock *handClock) *App {
	db, err := store.Open(store.Options{Dir: dir, BallastSize: -1})
	if err != nil {
		t.Fatal(err)
	}
	logs, err := runlog.New(runlog.Options{Dir: t.TempDir(), Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(logs.Stop)
	a := &App{store: db, zones: &schedule.Zones{}}
	a.engine, err = engine.New(engine.Config{Store: engineStore{db}, Clock: clock, Logger: hclog.NewNullLogger(), MaxRuns: 1,
		Schedules: engineSchedules{a}, RunLog: logs})
	if err != nil {
		t.Fatal(err)
	}
	a.ledger = schedule.NewLedger(schedule.Config{Store: ledgerStore{db, a.engine}, Clock: clock, Zones: a.zones})
	return a
}

func (a *App) close(t *testing.T) {
	t.Helper()
	if err := a.store.Close(); err != nil {
		t.Error(err)
	}
}

// TestDamagedAccountHoldsUpNoRun holds that a record of the account, or of the task,
// that bits have rotted in keeps no run from ending, nor the task from being changed.
func TestDamagedAccountHoldsUpNoRun(t *testing.T) {
	for bucket, text := range map[string][2]string{
		"slots": {`"outcome":"missed"`, `"outcome":"nissed"`},
		"tasks": {`"delay":3600000000000`, `"delay":3700000000000`},
	} {
		t.Run(bucket, func(t *testing.T) {
			dir := t.TempDir()
			clock := newHandClock(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
			a := bareApp(t, dir, clock)
			def := task.Task{Name: "t", Steps: []task.Step{{Name: "a", Controller: "a"}},
				Schedules: []task.Schedule{task.Schedule{Name: "after", Delay: time.Hour, Timezone: "UTC"}.WithDefaults()}}
			if _, err := a.engine.Apply(t.Context(), engine.ApplyWish{Tasks: []task.Task{def}, By: ""}); err != nil {
				t.Fatal(err)
			}
			run, err := a.engine.Submit(t.Context(), engine.Wish{Task: "t"})
			if err != nil {
				t.Fatal(err)
			}
			at := clock.Now().Add(-time.Hour)
			if err := a.store.Update(t.Context(), func(tx *store.Tx) error {
				return tx.PutSlot(task.Slot{Task: "t", Schedule: "after", First: at, Last: at, Count: 1, Outcome: task.SlotMissed, At: at})
			}); err != nil {
				t.Fatal(err)
			}
			a.close(t)
			rot(t, dir, func(data []byte) []byte { return bytes.ReplaceAll(data, []byte(text[0]), []byte(text[1])) })

			a = bareApp(t, dir, clock)
			defer a.close(t)
			a.engine.Adopt(run)
			if _, err := a.engine.Cancel(t.Context(), run.ID, "me"); err != nil {
				t.Errorf("the run cannot end: %v", err)
			}
			if bucket == "tasks" {
				return // it cannot be read, so it cannot be changed
			}
			if _, err := a.engine.SetPause(t.Context(), "t", &task.Pause{}, "ann"); err != nil {
				t.Errorf("the task cannot be paused: %v", err)
			}
			if _, err := a.engine.Apply(t.Context(), engine.ApplyWish{Tasks: []task.Task{{Name: "t", Steps: def.Steps}}, By: ""}); err != nil {
				t.Errorf("the schedule cannot be taken out: %v", err)
			}
		})
	}
}

// rot changes bits of a database that is closed.
func rot(t *testing.T, dir string, change func([]byte) []byte) {
	t.Helper()
	file := filepath.Join(dir, "stepd.db")
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := change(bytes.Clone(data))
	if bytes.Equal(data, changed) {
		t.Fatal("nothing was damaged")
	}
	// With its time, else it is looked through before it is opened.
	if err := errors.Join(os.WriteFile(file, changed, 0o600), os.Chtimes(file, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedClockMarkHoldsUpNobody holds the same of the time of the newest
// decision.
func TestDamagedClockMarkHoldsUpNobody(t *testing.T) {
	dir := t.TempDir()
	clock := newHandClock(time.Date(2026, 1, 1, 12, 34, 56, 789e6, time.UTC))
	a := bareApp(t, dir, clock)
	def := task.Task{Name: "t", Steps: []task.Step{{Name: "a", Controller: "a"}},
		Schedules: []task.Schedule{task.Schedule{Name: "after", Delay: 48 * time.Hour, Timezone: "UTC"}.WithDefaults()}}
	if _, err := a.engine.Apply(t.Context(), engine.ApplyWish{Tasks: []task.Task{def}, By: ""}); err != nil {
		t.Fatal(err)
	}
	run, err := a.engine.Submit(t.Context(), engine.Wish{Task: "t"})
	if err != nil {
		t.Fatal(err)
	}
	a.close(t)
	rot(t, dir, func(data []byte) []byte {
		text := []byte(`"2026-01-01T12:34:56.789Z"`)
		for i := 0; ; {
			j := bytes.Index(data[i:], text)
			if j < 0 {
				return data
			}
			if i += j; data[i-1] != ':' { // a record of its own
				data[i+len(text)-3] ^= 1
			}
			i += len(text)
		}
	})
	a = bareApp(t, dir, clock)
	defer a.close(t)
	a.engine.Adopt(run)
	clock.set(clock.Now().Add(time.Minute))
	if _, err := a.engine.Cancel(t.Context(), run.ID, "me"); err != nil {
		t.Errorf("a run cannot end: %v", err)
	}
	if _, err := a.engine.SetPause(t.Context(), "t", &task.Pause{Until: clock.Now().Add(time.Minute)}, "ann"); err != nil {
		t.Errorf("a task cannot be changed: %v", err)
	}
}
