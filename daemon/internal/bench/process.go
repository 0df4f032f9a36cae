package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

// startLimit is long: a large database may be checked first.
const startLimit = 2 * time.Minute

// daemon is a real one, in a process of its own.
type daemon struct {
	cmd    *exec.Cmd
	client *client.Client
}

func startDaemon(ctx context.Context, o options, name, plugins string) (*daemon, error) {
	dir := filepath.Join(o.dir, name)
	socket := filepath.Join(dir, "stepd.sock")
	cmd := exec.CommandContext(ctx, filepath.Join(o.bin, "stepd"), "serve", "--data", dir, "--socket", socket, "--plugin-dir", plugins, "--log-level", "error")
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &daemon{cmd, &client.Client{Socket: socket}}
	for limit := time.Now().Add(startLimit); time.Now().Before(limit) && ctx.Err() == nil; wait(ctx, 5*time.Millisecond) {
		if _, err := d.client.Status(ctx); err == nil {
			return d, nil
		}
	}
	d.stop()
	return nil, errors.New("the daemon does not answer")
}

func (d *daemon) stop() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	_ = d.cmd.Wait()
}

// kill ends it without a chance to leave anything in order.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
}

// memory reads a field of /proc/PID/status in MB.
func (d *daemon) memory(field string) (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			return float64(kb) / 1024, err
		}
	}
	return 0, fmt.Errorf("no %s", field)
}

// benchLong runs one task of many steps in a real daemon.
func benchLong(ctx context.Context, o options) error {
	d, err := startDaemon(ctx, o, "long", filepath.Join(o.bin, "plugins"))
	if err != nil {
		return err
	}
	defer d.stop()
	file := api.TaskFile{Name: "long.yaml", Dir: o.dir,
		Data: fmt.Sprintf("name: long\nsteps: [{name: s, controller: noop, settings: {steps: %d}}]\n", o.steps)}
	if _, err := d.client.Apply(ctx, api.ApplyRequest{Files: []api.TaskFile{file}}); err != nil {
		return err
	}
	begin := time.Now()
	run, err := d.client.Start(ctx, api.RunRequest{Task: "long"})
	if err != nil {
		return err
	}
	status := ""
	if err := d.client.Watch(ctx, run.Ref, func(e api.Event) error { status = e.Run.Status; return nil }); err != nil {
		return err
	}
	took := time.Since(begin)
	if status != "completed" {
		return fmt.Errorf("the run ended as %s", status)
	}
	peak, err := d.memory("VmHWM")
	if err != nil {
		return err
	}
	anon, err := d.memory("RssAnon")
	if err != nil {
		return err
	}
	first, last, err := tenths(ctx, d, run.Ref, o.steps)
	if err != nil {
		return err
	}
	fmt.Printf("(c) one task of %d steps in a real daemon: %s, %.0f steps/s\n", o.steps, took.Round(time.Millisecond), perSecond(o.steps, took))
	fmt.Printf("  the first tenth %s, the last tenth %s; of the memory %.0f MB are the daemon's own, the rest is the database's pages\n", first.Round(time.Millisecond), last.Round(time.Millisecond), anon)
	goal("the last tenth against the first", float64(last)/float64(first), "x", 1.2, true)
	goal("peak resident memory", peak, " MB", 150, true)
	return nil
}

// tenths is how long the first and the last tenth of the steps took, by the
// times that the steps themselves carry.
func tenths(ctx context.Context, d *daemon, ref string, n int) (first, last time.Duration, err error) {
	span := func(from, to int) (time.Duration, error) {
		begin, err := step(ctx, d, ref, from)
		if err != nil {
			return 0, err
		}
		end, err := step(ctx, d, ref, to)
		if err != nil {
			return 0, err
		}
		return end.EndedAt.Sub(*begin.StartedAt), nil
	}
	if first, err = span(1, n/10); err != nil {
		return
	}
	last, err = span(n-n/10+1, n)
	return
}

func step(ctx context.Context, d *daemon, ref string, n int) (api.Step, error) {
	page, err := d.client.Steps(ctx, ref, api.StepQuery{After: fmt.Sprintf("0.%d", n-1), Limit: 1})
	if err != nil {
		return api.Step{}, err
	}
	if len(page.Items) == 0 || page.Items[0].EndedAt == nil {
		return api.Step{}, fmt.Errorf("step %d is not there", n)
	}
	return page.Items[0], nil
}

// benchIdle looks at a daemon that knows three plugins and runs none.
func benchIdle(ctx context.Context, o options) error {
	plugins := filepath.Join(o.dir, "three")
	if err := os.Mkdir(plugins, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"copyfiles", "compress", "dumptables"} {
		raw, err := os.ReadFile(filepath.Join(o.bin, "plugins", name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(plugins, name), raw, 0o755); err != nil {
			return err
		}
	}
	d, err := startDaemon(ctx, o, "idle", plugins)
	if err != nil {
		return err
	}
	defer d.stop()
	list, err := d.client.Plugins(ctx)
	if err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // idle, as it says
	rss, err := d.memory("VmRSS")
	if err != nil {
		return err
	}
	fmt.Printf("(d) idle daemon, %d plugins known, none running\n", len(list.Plugins))
	goal("resident memory", rss, " MB", 40, true)
	return nil
}
