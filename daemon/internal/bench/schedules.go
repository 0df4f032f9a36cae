package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/stepd/stepd/daemon/internal/api"
)

const (
	burst      = 1000             // schedules that are due in the same second
	bursts     = 3                // how often
	idleFor    = 20 * time.Second // how long an idle daemon is looked at
	applyBatch = 1000
	clockTicks = 100 // of the kernel's accounting, a second
)

// figures of one scheduler under the load.
type figures struct {
	Start  float64   `json:"start"`   // seconds until it is ready
	Memory float64   `json:"memory"`  // resident, MB
	CPU    float64   `json:"cpu"`     // percent of a core while idle
	Late   []float64 `json:"late_ms"` // of each fire of the bursts
}

func (f *figures) print(name string) {
	slices.Sort(f.Late)
	fmt.Printf("  %-28s start %6.0f ms, memory %4.0f MB, idle CPU %5.2f %%, late: median %4.0f ms, 99th percentile %4.0f ms, all %4.0f ms\n",
		name, f.Start*1000, f.Memory, f.CPU, f.late(0.5), f.late(0.99), f.late(1))
}

func (f *figures) late(quantile float64) float64 {
	return f.Late[min(len(f.Late)-1, int(quantile*float64(len(f.Late))))]
}

// benchSchedules puts many tasks with schedules into a real daemon, and the
// same load on robfig/cron's own runner, which keeps it in memory and forgets it.
func benchSchedules(ctx context.Context, o options) error {
	ours, err := daemonSchedules(ctx, o)
	if err != nil {
		return err
	}
	theirs, err := cronSchedules(ctx, o)
	if err != nil {
		return fmt.Errorf("robfig/cron: %w", err)
	}
	fmt.Printf("(e) %d tasks with schedules, %d times %d of them due in the same second\n", o.schedules, bursts, burst)
	ours.print("the daemon, durable")
	theirs.print("robfig/cron, in memory only")
	goal("start of the daemon", ours.Start*1000, " ms", 2000, true)
	goal("CPU when idle", ours.CPU, "%", 1, true)
	goal("lateness, median", ours.late(0.5), " ms", 1000, true)
	goal("lateness, 99th percentile", ours.late(0.99), " ms", 1000, true)
	return nil
}

// daily is the spec of a schedule that is not due while the bench looks.
func daily(i int, now time.Time) string {
	at := now.Add(2*time.Hour + time.Duration(i%(20*60))*time.Minute)
	return fmt.Sprintf("%d %d * * *", at.Minute(), at.Hour())
}

func daemonSchedules(ctx context.Context, o options) (*figures, error) {
	plugins := filepath.Join(o.bin, "plugins")
	d, err := startDaemon(ctx, o, "schedules", plugins)
	if err != nil {
		return nil, err
	}
	defer func() { d.stop() }()
	now := time.Now().UTC()
	begin := time.Now()
	fill := o.schedules - bursts*burst
	for from := 0; from < fill; from += applyBatch {
		n := min(applyBatch, fill-from)
		if err := applyMany(ctx, d, n, func(i int) (string, string) {
			return fmt.Sprintf("daily-%06d", from+i), fmt.Sprintf("{cron: %q, timezone: UTC}", daily(from+i, now))
		}); err != nil {
			return nil, err
		}
	}
	fmt.Printf("(e) saved %d tasks with schedules in %s\n", fill, time.Since(begin).Round(time.Millisecond))

	var f figures
	d.stop()
	begin = time.Now()
	if d, err = startDaemon(ctx, o, "schedules", plugins); err != nil {
		return nil, err
	}
	f.Start = time.Since(begin).Seconds()
	if f.CPU, err = idleCPU(ctx, d.cmd.Process.Pid); err != nil {
		return nil, err
	}
	if f.Memory, err = d.memory("VmRSS"); err != nil {
		return nil, err
	}
	for round := range bursts {
		due := time.Now().UTC().Truncate(time.Second).Add(6 * time.Second)
		if err := applyMany(ctx, d, burst, func(i int) (string, string) {
			return fmt.Sprintf("burst-%d-%04d", round, i), fmt.Sprintf("{at: %q}", due.Format(time.RFC3339))
		}); err != nil {
			return nil, err
		}
		late, err := fired(ctx, d, due)
		if err != nil {
			return nil, err
		}
		f.Late = append(f.Late, late...)
	}
	return &f, nil
}

func applyMany(ctx context.Context, d *daemon, n int, name func(i int) (string, string)) error {
	files := make([]api.TaskFile, 0, n)
	for i := range n {
		name, schedule := name(i)
		files = append(files, api.TaskFile{Name: name + ".yaml", Dir: "/",
			Data: fmt.Sprintf("name: %s\nschedule: %s\nsteps: [{name: s, controller: noop}]\n", name, schedule)})
	}
	_, err := d.client.Apply(ctx, api.ApplyRequest{Files: files})
	return err
}

// fired waits until all runs of a burst were made, and says how late each was
// made, in milliseconds.
func fired(ctx context.Context, d *daemon, due time.Time) ([]float64, error) {
	wait(ctx, time.Until(due))
	for limit := time.Now().Add(time.Minute); ; wait(ctx, time.Second) {
		var late []float64
		for after := ""; ; {
			page, err := d.client.Runs(ctx, api.RunQuery{After: after, Limit: api.MaxPage})
			if err != nil {
				return nil, err
			}
			for _, run := range page.Items {
				if run.ScheduledFor != nil && run.ScheduledFor.Equal(due) {
					late = append(late, run.CreatedAt.Sub(due).Seconds()*1000)
				}
			}
			if after = page.Next; after == "" {
				break
			}
		}
		if len(late) == burst {
			return late, nil
		}
		if time.Now().After(limit) || ctx.Err() != nil {
			return nil, fmt.Errorf("%d of %d runs were made within a minute", len(late), burst)
		}
	}
}

// idleCPU is the share of a core, in percent, that a process takes over a while.
func idleCPU(ctx context.Context, pid int) (float64, error) {
	wait(ctx, 2*time.Second) // what follows a start is no idling
	before, err := cpuTime(pid)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	wait(ctx, idleFor)
	after, err := cpuTime(pid)
	return 100 * (after - before) / time.Since(begin).Seconds(), err
}

// cpuTime is what a process has used of all cores, in seconds.
func cpuTime(pid int) (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("read the CPU time of process %d: %q", pid, raw)
	}
	user, err := strconv.ParseFloat(fields[11], 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseFloat(fields[12], 64)
	return (user + system) / clockTicks, err
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// cronSchedules measures robfig/cron in a process of its own.
func cronSchedules(ctx context.Context, o options) (*figures, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-cron", "-schedules", strconv.Itoa(o.schedules))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var f figures
	return &f, json.Unmarshal(out, &f)
}

// cronChild is that process: it prints its figures as JSON.
func cronChild(ctx context.Context, o options) error {
	var f figures
	now := time.Now().UTC()
	begin := time.Now()
	runner := cron.New(cron.WithLocation(time.UTC), cron.WithSeconds())
	fill := o.schedules - bursts*burst
	for i := range fill {
		if _, err := runner.AddFunc("0 "+daily(i, now), func() {}); err != nil {
			return err
		}
	}
	runner.Start()
	// Entries answers when the runner's loop has set all its times.
	if n := len(runner.Entries()); n != fill {
		return fmt.Errorf("%d of %d entries", n, fill)
	}
	f.Start = time.Since(begin).Seconds()
	var err error
	if f.CPU, err = idleCPU(ctx, os.Getpid()); err != nil {
		return err
	}
	if f.Memory, err = (&daemon{cmd: &exec.Cmd{Process: &os.Process{Pid: os.Getpid()}}}).memory("VmRSS"); err != nil {
		return err
	}
	for range bursts {
		// Adding to a runner that runs costs it a sort of all entries each time.
		due := time.Now().UTC().Truncate(time.Second).Add(5 * time.Second)
		fired := make(chan float64, burst)
		spec := fmt.Sprintf("%d %d %d %d %d *", due.Second(), due.Minute(), due.Hour(), due.Day(), int(due.Month()))
		runner.Stop()
		for range burst {
			if _, err := runner.AddFunc(spec, func() { fired <- time.Since(due).Seconds() * 1000 }); err != nil {
				return err
			}
		}
		runner.Start()
		for range burst {
			select {
			case late := <-fired:
				f.Late = append(f.Late, late)
			case <-time.After(2 * time.Minute):
				return fmt.Errorf("the burst of %s did not come", due)
			}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(f)
}
