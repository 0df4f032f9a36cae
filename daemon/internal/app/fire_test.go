package app

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

// tick is a task that is due each second.
func tick(name, policies string) string {
	return fmt.Sprintf("name: %s\nschedule: {every: 1s, %s}\nsteps: [{name: one, controller: told}]\n", name, policies)
}

// newFiring is a place with tasks, and the daemon that runs there.
func newFiring(t *testing.T, tasks ...string) (*place, *daemon) {
	t.Helper()
	p := newPlace(t, pluginDir(t, "told"))
	p.env = []string{"STEPD_KEEP_RUNS=0"}
	d := p.start(t)
	apply(t, d.Client, t.TempDir(), tasks...)
	return p, d
}

// settled stops the schedules, waits until no run is alive and audits what is
// there. It ends the daemon.
func (p *place) settled(t *testing.T, d *daemon, tasks ...string) account {
	t.Helper()
	for _, name := range tasks {
		if _, err := d.SetDisabled(t.Context(), name, true); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "no run is alive", func() bool {
		st, err := d.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st.Running+st.Queued == 0
	})
	d.stop(t)
	p.nothingLeft(t)
	a := auditLedger(t, p.data)
	if a.alive > 0 {
		t.Errorf("%d runs are alive", a.alive)
	}
	return a
}

// tracer watches the system calls of a daemon: see testdata/killat.
type tracer struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Scanner
}

// trace takes hold of the daemon. The call that is number n from that time on
// kills it; n = 0 kills nobody.
func (d *daemon) trace(t *testing.T, from time.Time, n int) *tracer {
	t.Helper()
	tr := &tracer{cmd: exec.Command(filepath.Join(built, "killat"), strconv.Itoa(d.cmd.Process.Pid), strconv.FormatInt(from.UnixNano(), 10), strconv.Itoa(n))}
	tr.cmd.Stderr = t.Output()
	stdin, err := tr.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := tr.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	tr.stdin, tr.out = stdin, bufio.NewScanner(stdout)
	if err := tr.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !tr.out.Scan() || tr.out.Text() != "attached" {
		t.Fatalf("the daemon cannot be traced (a container needs the capability SYS_PTRACE): %q, %v", tr.out.Text(), tr.cmd.Wait())
	}
	return tr
}

// calls ends the tracing, waits for the tracer and returns what it has counted.
func (tr *tracer) calls(t *testing.T) (list []string) {
	t.Helper()
	_ = tr.stdin.Close()
	for tr.out.Scan() {
		list = append(list, tr.out.Text())
	}
	if err := tr.cmd.Wait(); err != nil {
		t.Fatalf("trace the daemon: %v", err)
	}
	return list
}

// nextSecond is the next due time for which there is time to prepare.
func nextSecond() time.Time {
	return time.Now().Add(200 * time.Millisecond).Truncate(time.Second).Add(time.Second)
}

// until waits for a time at which another process does something.
func until(at time.Time) {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	<-timer.C
}

// fire is how many system calls a daemon makes from a due time on: until its
// decision and its run are durable and the run has been taken up, and until the
// run has ended.
type fire struct{ fired, ended int }

// measure traces fires of which nobody is killed. The threads take their turns
// as they like, so it takes the longest of some.
func measure(t *testing.T) (f fire) {
	t.Helper()
	p, d := newFiring(t, tick("tick", "overlap: allow"))
	eventually(t, "a run completes", func() bool { // the plugin runs now
		run, err := d.Run(t.Context(), "tick/1")
		return err == nil && run.Status == "completed"
	})
	for whole, tries := 0, 0; whole < 3; tries++ {
		due := nextSecond()
		tr := d.trace(t, due, 0)
		until(due.Add(700 * time.Millisecond))
		calls := tr.calls(t)
		syncs := 0
		for i, call := range calls {
			switch call {
			case "fdatasync":
				// Two are a commit: that of the decision, that of the run's start.
				if syncs++; syncs <= 4 {
					f.fired = max(f.fired, i+1)
				}
				f.ended = max(f.ended, i+1)
			case "unlinkat":
				f.ended = max(f.ended, i+1)
			}
		}
		switch {
		case syncs >= 6:
			whole++
		case tries == 30: // fewer are a machine that was busy
			t.Fatalf("a fire is to make three commits: %v", calls)
		}
	}
	p.settled(t, d, "tick")
	return f
}

// TestKilledBetweenAnyTwoCallsOfAFire kills a daemon whose schedule is due each
// second before the first, the second, the third ... system call that it makes
// from the due time on, whatever the call and the thread, and starts it again
// on what is there. Nothing may be lost and nothing may run twice. Four daemons
// of different policies share the calls, at the same time.
func TestKilledBetweenAnyTwoCallsOfAFire(t *testing.T) {
	t.Parallel()
	f := measure(t)
	t.Logf("a fire is decided on and taken up within %d calls, and its run has ended within %d", f.fired, f.ended)
	type firing struct {
		place  *place
		daemon *daemon
		tracer *tracer
		calls  []int // before which it is killed
	}
	var all []*firing
	for _, policies := range []string{"overlap: allow, missed: all", "overlap: skip, missed: skip", "overlap: queue", "overlap: replace"} {
		one := &firing{}
		one.place, one.daemon = newFiring(t, tick("tick", policies))
		all = append(all, one)
	}
	for n := 1; n <= f.ended; n++ {
		one := all[n%len(all)]
		one.calls = append(one.calls, n)
	}
	hits, total, kills := map[int]map[string]int{}, account{}, 0
	for round, more := 0, true; more; round++ {
		more = false
		due := nextSecond()
		for _, one := range all {
			if one.tracer = nil; round < len(one.calls) {
				one.tracer, more = one.daemon.trace(t, due, one.calls[round]), true
			}
		}
		for _, one := range all {
			if one.tracer == nil {
				continue
			}
			calls := one.tracer.calls(t)
			<-one.daemon.gone
			kills++
			syncs, before := when(calls)
			if hits[syncs] == nil {
				hits[syncs] = map[string]int{}
			}
			hits[syncs][before]++
			if auditLedger(t, one.place.data); t.Failed() {
				t.Fatalf("killed before call %d: %v", one.calls[round], calls)
			}
			one.daemon = one.place.launch(t)
		}
		for _, one := range all {
			one.daemon.awaitReady(t)
		}
	}
	for _, one := range all {
		a := one.place.settled(t, one.daemon, "tick")
		total.due, total.ran = total.due+a.due, total.ran+a.ran
	}
	t.Logf("%d kills, %d due times, %d runs; killed", kills, total.due, total.ran)
	for _, syncs := range slices.Sorted(maps.Keys(hits)) {
		t.Logf("  after %d syncs of the disk, before %v", syncs, hits[syncs])
	}
	for syncs := range 4 { // two are a commit: of the decision, of the run's start
		if len(hits[syncs]) == 0 {
			t.Errorf("no kill came after %d syncs: that proves nothing", syncs)
		}
	}
}

// when says how far a fire was whose last call did not happen.
func when(calls []string) (syncs int, before string) {
	last := len(calls) - 1
	for _, call := range calls[:last] {
		if call == "fdatasync" {
			syncs++
		}
	}
	return syncs, calls[last]
}

// TestKilledAtRandomWithManySchedules kills a daemon that has twenty fires a
// second, of all policies, at random moments.
func TestKilledAtRandomWithManySchedules(t *testing.T) {
	t.Parallel()
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("go test -run %s -args -seed %d", t.Name(), *seed)
	random := rand.New(rand.NewPCG(*seed, 20))
	var names, tasks []string
	for _, overlap := range []string{"skip", "queue", "replace", "allow"} {
		for i, missed := range []string{"once", "skip", "all", "once", "all"} {
			name := fmt.Sprintf("%s-%d", overlap, i)
			names, tasks = append(names, name), append(tasks, tick(name, "overlap: "+overlap+", missed: "+missed))
		}
	}
	p, d := newFiring(t, tasks...)
	for range 20 {
		until(time.Now().Add(time.Duration(random.Int64N(int64(1500 * time.Millisecond)))))
		d.kill()
		auditLedger(t, p.data)
		if t.Failed() {
			t.FailNow()
		}
		d = p.start(t)
	}
	a := p.settled(t, d, names...)
	t.Logf("%d due times, %d runs", a.due, a.ran)
	if a.ran < 5*len(names) {
		t.Errorf("only %d runs were made: that proves nothing", a.ran)
	}
}
