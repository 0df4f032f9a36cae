package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/pluginhost"
	"github.com/stepd/stepd/daemon/internal/runlog"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// world is the daemon's inner rooms in this process, as the daemon has them.
type world struct {
	store  *store.Store
	host   *pluginhost.Host
	log    *runlog.Log
	engine *engine.Engine
}

type engineStore struct{ *store.Store }

func (s engineStore) View(fn func(engine.Reader) error) error {
	return s.Store.View(func(tx *store.Tx) error { return fn(tx) })
}

func (s engineStore) Update(ctx context.Context, fn func(engine.Tx) error) error {
	return s.Store.Update(ctx, func(tx *store.Tx) error { return fn(tx) })
}

type workspaces struct{ dir string }

func (w workspaces) path(run task.Run) string {
	return filepath.Join(w.dir, run.Task, fmt.Sprint(run.Number))
}
func (w workspaces) Make(run task.Run) (string, error) {
	return w.path(run), os.MkdirAll(w.path(run), 0o700)
}
func (w workspaces) Size(task.Run) (int64, error) { return 0, nil }

func (w workspaces) Remove(run task.Run) error { return os.RemoveAll(w.path(run)) }

func openWorld(o options, name string, maxRuns int) (*world, error) {
	dir := filepath.Join(o.dir, name)
	s, err := store.Open(store.Options{Dir: dir, Logger: hclog.NewNullLogger()})
	if err != nil {
		return nil, err
	}
	h, err := pluginhost.New(pluginhost.Config{
		Dirs: []string{filepath.Join(o.bin, "plugins")}, RunDir: filepath.Join(dir, "run"), Marker: "bench-" + name,
	})
	if err != nil {
		return nil, err
	}
	l, err := runlog.New(runlog.Options{Dir: filepath.Join(dir, "logs"), Logger: hclog.NewNullLogger()})
	if err != nil {
		return nil, err
	}
	e, err := engine.New(engine.Config{
		Store: engineStore{s}, Controllers: h, Clock: engine.SystemClock{}, RunLog: l,
		Workspaces: workspaces{filepath.Join(dir, "work")}, Logger: hclog.NewNullLogger(), MaxRuns: maxRuns,
	})
	if err != nil {
		return nil, err
	}
	return &world{s, h, l, e}, e.Start()
}

func (w *world) close() error {
	err := w.engine.Stop(context.Background())
	_ = w.host.Close(context.Background())
	w.log.Stop()
	if closeErr := w.store.Close(); err == nil {
		err = closeErr
	}
	return err
}

// define saves a task of one step that plans itself into n no-op steps.
func (w *world) define(ctx context.Context, name string, n int) error {
	def := task.Task{Name: name, Steps: []task.Step{{
		Name: "s", Controller: "noop", Settings: json.RawMessage(fmt.Sprintf(`{"steps":%d}`, n))}}}
	_, err := w.engine.Apply(ctx, engine.ApplyWish{Tasks: []task.Task{def}, By: "bench"})
	return err
}

// runAll starts all tasks and waits for the last of them to end. Nobody
// watches them, so that the watching is not measured.
func (w *world) runAll(ctx context.Context, names []string) (time.Duration, error) {
	begin := time.Now()
	var ids []task.RunID
	for _, name := range names {
		run, err := w.engine.Submit(ctx, engine.Wish{Task: name, By: "bench"})
		if err != nil {
			return 0, err
		}
		ids = append(ids, run.ID)
	}
	for _, id := range ids {
		for {
			run, err := w.engine.Run(id)
			if err != nil {
				return 0, err
			}
			if run.Status == task.RunCompleted {
				break
			}
			if !run.Status.Alive() {
				return 0, fmt.Errorf("run %s ended as %s: %s", run.Ref(), run.Status, run.Reason)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return time.Since(begin), nil
}

// nobody is a reporter that hears nothing.
type nobody struct{}

func (nobody) Log(task.LogLevel, string, json.RawMessage)                  {}
func (nobody) Progress(task.Progress)                                      {}
func (nobody) Checkpoint([]byte) error                                     { return nil }
func (nobody) Output(string, json.RawMessage) error                        { return nil }
func (nobody) Inputs(string, string, string) ([]task.Input, string, error) { return nil, "", nil }

// benchSequential compares one task of steps one after another with what one
// commit of the same records plus one plugin call cost without an engine.
func benchSequential(ctx context.Context, o options) error {
	w, err := openWorld(o, "sequential", 4)
	if err != nil {
		return err
	}
	defer w.close()
	const n = 2000
	if err := w.define(ctx, "sequential", n); err != nil {
		return err
	}
	work := task.Work{Task: "bare", RunNumber: 1, Step: "s", Controller: "noop", Settings: json.RawMessage("{}"),
		Attempt: task.Attempt{Run: 1 << 40, Number: 1}}
	if out := w.host.Execute(ctx, work, nobody{}); out.Kind != task.OutcomeCompleted {
		return fmt.Errorf("the plugin call ended as %s: %s", out.Kind, out.Message)
	}
	var commits, calls, rates, ratios []float64
	for range o.rounds {
		commit, err := w.commitAlone(ctx, n/2)
		if err != nil {
			return err
		}
		begin := time.Now()
		for range n / 2 {
			w.host.Execute(ctx, work, nobody{})
		}
		call := time.Since(begin) / (n / 2)
		took, err := w.runAll(ctx, []string{"sequential"})
		if err != nil {
			return err
		}
		each := took / n
		commits, calls = append(commits, commit.Seconds()*1e6), append(calls, call.Seconds()*1e6)
		rates, ratios = append(rates, perSecond(n, took)), append(ratios, float64(commit+call)/float64(each))
	}
	fmt.Printf("(a) one task, %d steps one after another, median of %d rounds\n", n, o.rounds)
	fmt.Printf("  a commit alone %.0f us, a plugin call alone %.0f us; %.0f steps/s\n", median(commits), median(calls), median(rates))
	goal("of the limit (one commit + one call)", 100*median(ratios), "%", 70, false)
	return nil
}

// commitAlone is what a commit of a step's end, the next one's start and the
// run costs.
func (w *world) commitAlone(ctx context.Context, n int) (time.Duration, error) {
	const run = task.RunID(1 << 40)
	now := time.Now()
	record := task.Run{ID: run, Task: "bare", Number: 1, Status: task.RunCompleted, DefinitionVersion: 1, CreatedAt: now, Total: n}
	step := task.RunStep{Name: "1000", Status: task.StepCompleted, Settings: json.RawMessage("{}"), Attempt: 1, Tries: 1,
		StartedAt: now, AttemptAt: now, EndedAt: now}
	begin := time.Now()
	for i := range n {
		err := w.store.Update(ctx, func(tx *store.Tx) error {
			for sub := range 2 {
				s := step
				s.Position = task.Position{Sub: uint32(i + sub + 1)}
				if err := tx.PutStep(run, s); err != nil {
					return err
				}
			}
			return tx.PutRun(record)
		})
		if err != nil {
			return 0, err
		}
	}
	return time.Since(begin) / time.Duration(n), nil
}

// benchParallel compares 64 tasks at once with bare calls of the same plugin
// at that concurrency.
func benchParallel(ctx context.Context, o options) error {
	const tasks, n = 64, 500
	w, err := openWorld(o, "parallel", tasks)
	if err != nil {
		return err
	}
	defer w.close()
	var names []string
	for i := range tasks {
		name := fmt.Sprint("task-", i)
		if err := w.define(ctx, name, n); err != nil {
			return err
		}
		names = append(names, name)
	}
	bare, err := startBare(o)
	if err != nil {
		return err
	}
	defer bare.close()
	var limits, rates, ratios []float64
	for range o.rounds {
		limit, err := bare.throughput(ctx, tasks, n)
		if err != nil {
			return err
		}
		took, err := w.runAll(ctx, names)
		if err != nil {
			return err
		}
		rate := perSecond(tasks*n, took)
		limits, rates, ratios = append(limits, limit), append(rates, rate), append(ratios, rate/limit)
	}
	stats, err := w.store.Stats()
	if err != nil {
		return err
	}
	fmt.Printf("(b) %d tasks at once, %d steps each, median of %d rounds\n", tasks, n, o.rounds)
	fmt.Printf("  %.0f bare calls/s, %.0f steps/s; %.1f transactions a commit\n",
		median(limits), median(rates), float64(stats.Updates)/float64(max(1, stats.Commits)))
	goal("of the plugin's bare throughput", 100*median(ratios), "%", 60, false)
	return nil
}

func startProfile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = io.Closer(f).Close()
	}, nil
}
