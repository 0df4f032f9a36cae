package engine_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// idle does nothing and keeps nothing: what is measured is the engine and the
// store. It plans as many steps as the settings of the task say.
type idle struct{ steps int }

func (i idle) Lookup(_ context.Context, name string) (task.ControllerInfo, error) {
	return task.ControllerInfo{Name: name, Effect: task.Idempotent, Plans: true}, nil
}

func (i idle) Plan(_ context.Context, _ task.Work, _ task.Reporter, add func([]task.PlannedStep) error) task.Outcome {
	batch := make([]task.PlannedStep, 0, 500)
	for n := range i.steps {
		if batch = append(batch, task.PlannedStep{Name: fmt.Sprintf("step%d", n)}); len(batch) == cap(batch) || n == i.steps-1 {
			if err := add(batch); err != nil {
				return task.Outcome{Kind: task.OutcomeFailed, Message: err.Error()}
			}
			batch = batch[:0]
		}
	}
	return done
}

func (idle) Execute(context.Context, task.Work, task.Reporter) task.Outcome { return done }
func (idle) EndRun(task.RunID)                                              {}

type nowhere struct{}

func (nowhere) Append(task.Run, task.LogEntry) {}
func (nowhere) Close(task.Run)                 {}
func (nowhere) Size(task.Run) (int64, error)   { return 0, nil }
func (nowhere) Remove(task.Run) error          { return nil }
func (nowhere) Make(task.Run) (string, error)  { return "/", nil }

// benchmark carries out b.N planned steps, shared out to runs side by side.
func benchmark(b *testing.B, runs int) {
	s, err := store.Open(store.Options{Dir: b.TempDir(), BallastSize: -1})
	if err != nil {
		b.Fatal(err)
	}
	each := max(1, b.N/runs)
	e, err := engine.New(engine.Config{
		Store: &db{Store: s, bell: &bell{}, left: -1}, Controllers: idle{each}, Clock: engine.SystemClock{}, RunLog: nowhere{}, Workspaces: nowhere{},
		Logger: hclog.NewNullLogger(), MaxRuns: runs,
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := e.Start(); err != nil {
		b.Fatal(err)
	}
	if _, err := e.Apply(b.Context(), engine.ApplyWish{Tasks: []task.Task{def("t", step("p", 0))}, By: ""}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for range runs {
		run, err := e.Submit(b.Context(), engine.Wish{Task: "t"})
		if err != nil {
			b.Fatal(err)
		}
		all.Go(func() {
			var last engine.Event
			if err := e.Watch(b.Context(), run.ID, func(e engine.Event) error { last = e; return nil }); err != nil {
				b.Error(err)
			}
			if last.Run.Completed != each {
				b.Errorf("%d of %d steps completed", last.Run.Completed, each)
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(each*runs)/b.Elapsed().Seconds(), "steps/s")
	if err := e.Stop(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// One run, a step after the other: what a step costs is a commit and the
// engine's own work.
func BenchmarkSequentialSteps(b *testing.B) { benchmark(b, 1) }

// Many runs share their commits.
func Benchmark64Runs(b *testing.B) { benchmark(b, 64) }
