// Bench measures what stepd costs, as ratios to limits that are measured in
// the same run, so that they mean the same on any machine. `make bench` runs it.
//
// It is a program and no test: figures are for people to read, and a busy
// machine must not fail a build.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

type options struct {
	bin     string // directory with stepd and plugins/
	dir     string // for state, on the disk to be measured
	rounds  int
	steps   int // of the long task
	profile string
	only    string

	schedules int
	cron      bool

	tasks, runs int // of the history
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "directory with stepd and plugins/noop")
	flag.StringVar(&o.dir, "dir", "", "directory for the state, on the disk to be measured (default: a temporary one)")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each pair is measured; the median counts")
	flag.IntVar(&o.steps, "steps", 100_000, "steps of the long task")
	flag.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile of the parts that run in this process")
	flag.StringVar(&o.only, "only", "abcdef", "which parts to run")
	flag.IntVar(&o.schedules, "schedules", 100_000, "tasks with schedules")
	flag.IntVar(&o.tasks, "tasks", 10_000, "tasks with a history")
	flag.IntVar(&o.runs, "runs", 1_000_000, "runs of that history")
	flag.BoolVar(&o.cron, "cron", false, "be the process in which robfig/cron is measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	do := run
	if o.cron {
		do = cronChild
	}
	if err := do(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "stepd-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	var err error
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	stop, err := startProfile(o.profile)
	if err != nil {
		return err
	}
	defer stop()
	for _, part := range []struct {
		letter, name string
		run          func(context.Context, options) error
	}{
		{"a", "sequential", benchSequential}, {"b", "parallel", benchParallel}, {"c", "long", benchLong}, {"d", "idle", benchIdle},
		{"e", "schedules", benchSchedules}, {"f", "history", benchHistory},
	} {
		if !strings.Contains(o.only, part.letter) {
			continue
		}
		if err := part.run(ctx, o); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// goal prints one figure beside what it should be.
func goal(name string, value float64, unit string, want float64, atMost bool) {
	word, met := "at least", value >= want
	if atMost {
		word, met = "at most", value <= want
	}
	verdict := "met"
	if !met {
		verdict = "MISSED"
	}
	fmt.Printf("  %-44s %8.2f%s   goal: %s %g%s, %s\n", name, value, unit, word, want, unit, verdict)
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

func perSecond(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }
