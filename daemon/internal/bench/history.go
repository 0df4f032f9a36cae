package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

const (
	historySlice = 100_000 // runs that one transaction makes
	listRounds   = 15      // how often each list is asked for
	freshRuns    = 200     // that are carried out with the history and without
	every        = 30 * time.Second
)

// benchHistory puts a long history into a store and asks a real daemon for lists
// of it, starts it again after each kind of end, and carries out runs.
func benchHistory(ctx context.Context, o options) error {
	begin := time.Now()
	newest := begin.UTC().Truncate(time.Second)
	if _, err := os.Stat(filepath.Join(o.dir, "history")); err != nil { // not left by another time, for -dir
		if err := makeHistory(ctx, o, filepath.Join(o.dir, "history"), newest); err != nil {
			return err
		}
	}
	info, err := os.Stat(filepath.Join(o.dir, "history", "stepd.db"))
	if err != nil {
		return err
	}
	fmt.Printf("(f) %d runs of %d tasks, made in %s, %d MB\n", o.runs, o.tasks, time.Since(begin).Round(time.Millisecond), info.Size()>>20)
	plugins := filepath.Join(o.bin, "plugins")
	for _, again := range []struct {
		name string
		end  func(*daemon)
	}{
		{"start after a clean stop", (*daemon).stop},
		{"start after a kill", (*daemon).kill},
		{"start after a kill, with nothing of it in memory", func(d *daemon) {
			d.kill()
			forget(filepath.Join(o.dir, "history", "stepd.db"))
		}},
	} {
		d, err := startDaemon(ctx, o, "history", plugins)
		if err != nil {
			return err
		}
		// Something is written, as in any life of a daemon.
		if err := applyMany(ctx, d, 1, func(int) (string, string) { return "started-again", "{cron: \"30 3 * * *\", timezone: UTC}" }); err != nil {
			return err
		}
		again.end(d)
		begin := time.Now()
		if d, err = startDaemon(ctx, o, "history", plugins); err != nil {
			return err
		}
		goal(again.name, time.Since(begin).Seconds(), " s", 2, true)
		d.stop()
	}
	long, err := startDaemon(ctx, o, "history", plugins)
	if err != nil {
		return err
	}
	defer long.stop()
	counted, err := quiet(ctx, long)
	if err != nil {
		return err
	}
	fmt.Printf("  busy in the background after a start, for %.1f s: it counts what is kept\n", counted.Seconds())
	if err := listHistory(ctx, long, newest.Add(-time.Duration(o.runs)*every)); err != nil {
		return err
	}
	rss, err := long.memory("RssAnon")
	if err != nil {
		return err
	}
	fmt.Printf("  memory of the daemon's own after that: %.0f MB\n", rss)
	empty, err := startDaemon(ctx, o, "no-history", plugins)
	if err != nil {
		return err
	}
	defer empty.stop()
	return compareRuns(ctx, o, long, empty)
}

// quiet waits until the daemon takes no processor time to speak of.
func quiet(ctx context.Context, d *daemon) (time.Duration, error) {
	const look = 500 * time.Millisecond
	begin := time.Now()
	for limit := begin.Add(time.Minute); time.Now().Before(limit) && ctx.Err() == nil; {
		before, err := cpuTime(d.cmd.Process.Pid)
		if err != nil {
			return 0, err
		}
		wait(ctx, look)
		after, err := cpuTime(d.cmd.Process.Pid)
		if err != nil {
			return 0, err
		}
		if after-before < 0.02 {
			break
		}
	}
	return time.Since(begin) - look, ctx.Err()
}

// forget asks the kernel to drop what it holds of a file, as after a cut of the
// power.
func forget(path string) {
	if f, err := os.Open(path); err == nil {
		defer f.Close()
		_ = f.Sync()
		_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	}
}

// makeHistory fills a store as a daemon would have done in the course of a year:
// all tasks take turns.
func makeHistory(ctx context.Context, o options, dir string, newest time.Time) error {
	s, err := store.Open(store.Options{Dir: dir, Logger: hclog.NewNullLogger(), BallastSize: -1})
	if err != nil {
		return err
	}
	first := newest.Add(-time.Duration(o.runs) * every)
	for from := 0; from < o.tasks && err == nil; from += historySlice {
		err = s.Update(ctx, func(tx *store.Tx) error {
			for i := from; i < min(o.tasks, from+historySlice); i++ {
				if err := putHistoryTask(tx, i, first, newest); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for from := 0; from < o.runs && err == nil; from += historySlice {
		err = s.Update(ctx, func(tx *store.Tx) error {
			for i := from; i < min(o.runs, from+historySlice); i++ {
				if err := putHistoryRun(tx, i, historyName(i%o.tasks), first.Add(time.Duration(i)*every)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if closeErr := s.Close(); err == nil {
		err = closeErr
	}
	return err
}

func historyName(i int) string { return fmt.Sprintf("task-%05d", i*7919%10_007) }

func putHistoryTask(tx *store.Tx, i int, first, newest time.Time) error {
	t := task.Task{Name: historyName(i), CreatedBy: []string{"ann", "bob", "cem"}[i%3], Version: 1,
		CreatedAt: first.Add(time.Duration(i*31) * time.Second), UpdatedAt: first.Add(time.Duration(i*97) * time.Second),
		Source: fmt.Sprintf("/etc/stepd/tasks.d/%05d.yaml", i), Disabled: i%50 == 0,
		Steps: []task.Step{{Name: "s", Controller: "noop", Settings: json.RawMessage(`{"note":"one of many"}`)}}}
	if i%2 == 0 {
		s := task.Schedule{Name: "nightly", Cron: "30 3 * * *", Timezone: "UTC"}.WithDefaults()
		t.Schedules = []task.Schedule{s}
		next := newest.Add(24*time.Hour + time.Duration(i)*time.Second)
		if err := tx.PutCursor(task.Cursor{Task: t.Name, Schedule: s.Name, Timing: s.Timing(), Since: first, Last: first, Next: next, Due: next}); err != nil {
			return err
		}
	}
	return tx.PutTask(t)
}

func putHistoryRun(tx *store.Tx, i int, name string, at time.Time) error {
	id, number, err := tx.NextRun(name)
	if err != nil {
		return err
	}
	run := task.Run{ID: id, Task: name, Number: number, Status: task.RunCompleted, DefinitionVersion: 1, Key: fmt.Sprintf("bench-%d", i),
		Trigger: task.TriggerSchedule, Schedule: "nightly", ScheduledFor: at, CreatedAt: at, QueuedAt: at, StartedAt: at.Add(time.Second),
		EndedAt: at.Add(20 * time.Second), Progress: 100, Total: 1, Completed: 1, Bytes: 412}
	step := task.RunStep{Name: "s", Controller: "noop", Status: task.StepCompleted, Effect: task.Idempotent, Attempt: 1, Tries: 1,
		StartedAt: run.StartedAt, AttemptAt: run.StartedAt, EndedAt: run.EndedAt}
	switch i % 1009 {
	case 1, 2, 3, 4:
		run.Status, run.Reason, run.Completed, run.Failed, run.Progress = task.RunFailed, "step s: no luck", 0, 1, 0
		step.Status, step.Error, step.Reason = task.StepFailed, "no luck", task.ReasonError
	case 5:
		run.Trigger, run.Schedule, run.StartedBy, run.ScheduledFor = task.TriggerManual, "", "ann", time.Time{}
	}
	if err := tx.PutRun(run); err != nil {
		return err
	}
	return tx.PutStep(id, step)
}

// listHistory asks for the first page of each kind of list.
func listHistory(ctx context.Context, d *daemon, first time.Time) error {
	worst := 0.0
	ask := func(what string, fn func() (int, bool, error)) error {
		var times []float64
		n, more := 0, false
		for range listRounds {
			begin := time.Now()
			var err error
			if n, more, err = fn(); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			times = append(times, time.Since(begin).Seconds()*1000)
		}
		took := median(times)
		worst = max(worst, took)
		and := ""
		if more {
			and = ", and more"
		}
		fmt.Printf("  %-44s %8.2f ms  %d%s\n", what, took, n, and)
		return nil
	}
	for _, q := range []api.TaskQuery{
		{}, {Sort: "-name"}, {Sort: "created"}, {Sort: "-updated"}, {Sort: "-last_run"}, {Sort: "next"},
		{Name: "task-09*7"}, {Status: "scheduled"}, {Status: "running"}, {CreatedBy: "bob"}, {Result: "failed"}, {Schedule: "none", Sort: "-next"},
	} {
		err := ask(fmt.Sprintf("tasks%s", describe("sort", q.Sort, "name", q.Name, "status", q.Status, "by", q.CreatedBy, "result", q.Result, "schedule", q.Schedule)),
			func() (int, bool, error) {
				page, err := d.client.Tasks(ctx, q)
				return len(page.Items), page.Next != "", err
			})
		if err != nil {
			return err
		}
	}
	name := historyName(7)
	queries := map[string]api.RunQuery{
		"runs":                          {},
		"runs of a task":                {Task: name},
		"runs that failed":              {Status: "failed"},
		"runs of a task that failed":    {Task: name, Status: "failed"},
		"runs that are alive":           {Status: "alive"},
		"runs that were cancelled":      {Status: "cancelled"},
		"runs that ended":               {Status: "ended"},
		"runs that are stuck":           {Status: "stuck"},
		"runs by hand":                  {Trigger: "manual"},
		"runs by somebody else":         {StartedBy: "nobody"},
		"runs of a schedule":            {Schedule: "nightly"},
		"runs of a batch":               {Batch: "due/none"},
		"runs of a month ago":           {Since: first, Until: first.Add(24 * time.Hour)},
		"runs of a task of a month ago": {Task: name, Since: first, Until: first.Add(24 * time.Hour)},
	}
	for _, what := range slices.Sorted(maps.Keys(queries)) {
		q := queries[what]
		err := ask(what, func() (int, bool, error) {
			page, err := d.client.Runs(ctx, q)
			return len(page.Items), page.Next != "", err
		})
		if err != nil {
			return err
		}
	}
	goal("the slowest of these lists", worst, " ms", 20, true)
	return nil
}

func describe(pairs ...string) (text string) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			text += " " + pairs[i] + "=" + pairs[i+1]
		}
	}
	return text
}

// compareRuns carries out runs in both daemons in turns.
func compareRuns(ctx context.Context, o options, long, empty *daemon) error {
	file := api.TaskFile{Name: "fresh.yaml", Dir: o.dir, Data: "name: fresh\nsteps: [{name: s, controller: noop}]\n"}
	for _, d := range []*daemon{long, empty} {
		if _, err := d.client.Apply(ctx, api.ApplyRequest{Files: []api.TaskFile{file}}); err != nil {
			return err
		}
		if _, err := freshRun(ctx, d); err != nil { // starts the plugin
			return err
		}
	}
	var with, without []float64
	for range freshRuns {
		a, err := freshRun(ctx, long)
		if err != nil {
			return err
		}
		b, err := freshRun(ctx, empty)
		if err != nil {
			return err
		}
		with, without = append(with, a), append(without, b)
	}
	fmt.Printf("  a run with the history %.2f ms, without %.2f ms\n", median(with), median(without))
	goal("a run with the history against one without", median(with)/median(without), "x", 1.1, true)
	return nil
}

// freshRun is how long a run takes, from asking for it until its end is told, in
// milliseconds.
func freshRun(ctx context.Context, d *daemon) (float64, error) {
	begin := time.Now()
	run, err := d.client.Start(ctx, api.RunRequest{Task: "fresh"})
	if err != nil {
		return 0, err
	}
	status := run.Status
	if err := d.client.Watch(ctx, run.Ref, func(e api.Event) error { status = e.Run.Status; return nil }); err != nil {
		return 0, err
	}
	if status != "completed" {
		return 0, fmt.Errorf("run %s ended as %s", run.Ref, status)
	}
	return time.Since(begin).Seconds() * 1000, nil
}
