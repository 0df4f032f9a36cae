package app

import (
	"fmt"
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

const kills = 30

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

	wantCompleted(t, d.Client, await(t, d.Client, begin(t, d.Client, "backup"))) // the plugins run now
	s.comesBack(t, d.Client)
	moments, took := moments(t, random, s, d)
	hits, kept := map[string]int{}, 0
	for round, when := range moments {
		ref := begin(t, d.Client, "backup")
		d.killAt(t, ref, when)
		then := lookAfter(t, p, ref)
		hits[then.under()]++
		dumps := dumpTimes(t, p, then)
		thens := []snapshot{then}
		if round%3 == 0 {
			// Once more while it comes back.
			d = p.launch(t)
			d.killAt(t, "", moment{later: time.Duration(random.Float64() * float64(took))})
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
				t.Errorf("%s, killed %v (%s): %s was written again, or lost: %v", ref, when, then.under(), name, err)
			}
		}
		if t.Failed() {
			t.Fatalf("%s, killed %v: %s", ref, when, then.under())
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
	if under < kills/2 || hits["planned steps of tables"] == 0 || hits["files"] == 0 || hits["archive"] == 0 || kept == 0 {
		t.Error("the kills met too little: that proves nothing")
	}
}

// moments draws when to kill, from what one undisturbed run did: each step of
// the definition has its share, however short it is, and a machine that becomes
// slower in between does not matter much.
func moments(t *testing.T, random *rand.Rand, s shop, d *daemon) (list []moment, took time.Duration) {
	t.Helper()
	run := await(t, d.Client, begin(t, d.Client, "backup"))
	wantCompleted(t, d.Client, run)
	s.comesBack(t, d.Client)
	all := steps(t, d.Client, run.Ref)
	tables := all["0"].Planned
	lasted := func(step api.Step) time.Duration { return step.EndedAt.Sub(*step.StartedAt) }
	draw := func(n int, completed func() int, later time.Duration) {
		for range n {
			list = append(list, moment{completed(), time.Duration(random.Float64() * float64(later))})
		}
	}
	after := func(n int) func() int { return func() int { return n } }
	draw(4, after(0), all["0.1"].StartedAt.Sub(*run.StartedAt)) // planning
	draw(11, func() int { return random.IntN(tables) }, lasted(all["0"])/time.Duration(tables))
	draw(7, after(tables), lasted(all["1"]))
	draw(7, after(tables+1), lasted(all["2"]))
	draw(kills-len(list), after(run.Total), 10*time.Millisecond) // it has just completed
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list, run.EndedAt.Sub(*run.StartedAt)
}

// moment is when a daemon is killed: so long after its run has so many completed
// steps.
type moment struct {
	completed int
	later     time.Duration
}

func (m moment) String() string { return fmt.Sprintf("%s after %d steps", m.later, m.completed) }

// killAt kills the daemon, at the end of the run at the latest. ref "" does not
// wait for a run.
func (d *daemon) killAt(t *testing.T, ref string, when moment) {
	t.Helper()
	if ref != "" {
		awaitEvent(t, d.Client, ref, func(e api.Event) bool { return e.Run.Completed >= when.completed || !e.Run.Alive() })
	}
	timer := time.NewTimer(when.later)
	defer timer.Stop()
	<-timer.C
	d.kill()
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
