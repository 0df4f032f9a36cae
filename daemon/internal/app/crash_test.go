package app

import (
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/task"
)

const (
	kills  = 30
	middle = 15 // kills that have to meet a run under way; the others may come too late on a fast machine
)

// TestBackupSurvivesThirtyKills kills the daemon at random moments of the
// example's backup. Each time the run has to go on when the daemon is back and
// end with an archive that restores to the same content; nothing that was
// completed may be done again, and nothing may be left.
func TestBackupSurvivesThirtyKills(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("go test -run %s -args -seed %d", t.Name(), *seed)
	random := rand.New(rand.NewPCG(*seed, kills))
	s := newShop(t)
	p := newPlace(t, pluginDir(t, "copyfiles", "compress", "dumptables"))
	d := p.start(t)
	s.apply(t, d.Client)

	// How long a run takes, with plugins that run already.
	took := time.Hour
	for range 3 {
		from := time.Now()
		wantCompleted(t, d.Client, await(t, d.Client, begin(t, d.Client, "backup")))
		took = min(took, time.Since(from))
		s.comesBack(t, d.Client)
	}

	hits, kept := map[string]int{}, 0
	for round, i := range random.Perm(kills) {
		ref := begin(t, d.Client, "backup")
		// One kill in each thirtieth of the run.
		moment := time.Duration((float64(i) + random.Float64()) / kills * float64(took))
		d.killAfter(t, ref, moment)
		then := lookAfter(t, p, ref)
		hits[then.under()]++
		dumps := dumpTimes(t, p, then)
		thens := []snapshot{then}
		if round%3 == 0 {
			// Once more while it comes back.
			d = p.launch(t)
			d.killAfter(t, "", time.Duration(random.Float64()*float64(took)))
			thens = append(thens, lookAfter(t, p, ref))
		}

		d = p.start(t)
		wantCompleted(t, d.Client, await(t, d.Client, ref))
		for _, then := range thens {
			kept += then.sameAs(t, d.Client)
		}
		eventually(t, "the directory of the completed run goes", func() bool {
			left, _ := filepath.Glob(filepath.Join(p.data, "work", "*", "*"))
			return len(left) == 0
		})
		restored := s.comesBack(t, d.Client)
		for name, written := range dumps {
			if info, err := os.Stat(filepath.Join(restored, "tables", name)); err != nil || !info.ModTime().Equal(written) {
				t.Errorf("%s after %s (%s): %s was written again, or lost: %v", ref, moment, then.under(), name, err)
			}
		}
		if t.Failed() {
			t.Fatalf("%s, killed after %s of %s: %s", ref, moment, took, then.under())
		}
	}
	d.stop(t)
	p.nothingLeft(t)

	t.Logf("a run takes %s; %d completed steps were met and none was done again; the kills hit:", took.Round(time.Millisecond), kept)
	under := 0
	for _, what := range slices.Sorted(maps.Keys(hits)) {
		t.Logf("  %3d %s", hits[what], what)
		if what != string(task.RunCompleted) && what != string(task.RunQueued) {
			under += hits[what]
		}
	}
	if under < middle || len(hits) < 4 || kept == 0 {
		t.Errorf("%d of %d kills met a run under way, in %d different places: that proves too little", under, kills, len(hits))
	}
}

// killAfter kills the daemon so long after now, or at the end of the run if that
// comes first ("": of none).
func (d *daemon) killAfter(t *testing.T, ref string, moment time.Duration) {
	t.Helper()
	timer := time.NewTimer(moment)
	defer timer.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		if ref != "" && d.Watch(ctx, ref, func(api.Event) error { return nil }) == nil {
			close(ended)
		}
	}()
	select {
	case <-timer.C:
	case <-ended:
	}
	d.kill()
	cancel()
	<-watched
}

// lookAfter reads what a killed daemon's database says of a run, once its
// plugins have ended.
func lookAfter(t *testing.T, p *place, ref string) snapshot {
	t.Helper()
	eventually(t, "the plugins end with their daemon", func() bool { return len(marked(markerOf(p.data))) == 0 })
	name, number, err := task.ParseRef(ref)
	if err != nil {
		t.Fatal(err)
	}
	return look(t, p.data, name, number)
}

// dumpTimes says when the dumps of those tables were written whose steps are
// completed, by file name.
func dumpTimes(t *testing.T, p *place, then snapshot) map[string]time.Time {
	t.Helper()
	times := map[string]time.Time{}
	if then.run.Status == task.RunCompleted {
		return times // with its directory
	}
	for _, s := range then.steps {
		if s.Position.Sub == 0 || then.tops[s.Position.Top] != "tables" || s.Status != task.StepCompleted || !plain(s.Name) {
			continue
		}
		found, err := filepath.Glob(filepath.Join(p.data, "work", "backup", strconv.FormatUint(then.run.Number, 10), "tables", "[0-9]*-"+s.Name+".sql"))
		if err != nil || len(found) != 1 {
			t.Errorf("the dump of %s, which is completed: %v, %v", s.Name, found, err)
			continue
		}
		info, err := os.Stat(found[0])
		if err != nil {
			t.Fatal(err)
		}
		times[filepath.Base(found[0])] = info.ModTime()
	}
	return times
}

// plain tells names that are part of their file's name as they are.
func plain(name string) bool {
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") == "" && name[0] != '_'
}

// TestStartEndsWhatTheLastDaemonLeft holds that plugins which outlive a killed
// daemon do not outlive the start of the next one.
func TestStartEndsWhatTheLastDaemonLeft(t *testing.T) {
	p := newPlace(t, pluginDir(t))
	install(t, p.plugins, "misbehave-immortal", "misbehave")
	d := p.start(t)
	apply(t, d.Client, t.TempDir(), misbehaviour("stay", "misbehave-immortal", "plan", 1, ""))
	wantCompleted(t, d.Client, await(t, d.Client, begin(t, d.Client, "stay")))
	d.kill()
	left := marked(markerOf(p.data))
	if len(left) == 0 {
		t.Fatal("the plugin ended with its daemon: that proves nothing")
	}
	d = p.start(t)
	noProcesses(t, p.data)
	if !strings.Contains(d.log.String(), "ended what the last daemon left") {
		t.Errorf("nobody says so:\n%s", d.log)
	}
	wantCompleted(t, d.Client, await(t, d.Client, begin(t, d.Client, "stay")))
	d.stop(t)
	p.nothingLeft(t)
}
