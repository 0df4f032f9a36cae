package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/config"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// scheduled is a daemon whose clock a test moves. It may be stopped and started
// again on the same data.
type scheduled struct {
	*inside
	t       *testing.T
	clock   *handClock
	dir     string // of the task files
	plugins string
	data    string
}

var evening = time.Date(2026, 11, 24, 20, 0, 0, 0, time.UTC)

func openScheduled(t *testing.T, files ...string) *scheduled {
	t.Helper()
	s := &scheduled{t: t, clock: newHandClock(evening), dir: t.TempDir(), plugins: pluginDir(t, "told"), data: filepath.Join(t.TempDir(), "data")}
	s.start()
	for i, text := range files {
		files[i] = text + "\n"
	}
	if len(files) > 0 {
		apply(t, s.Client, s.dir, files...)
	}
	return s
}

func (s *scheduled) start() {
	s.t.Helper()
	s.inside = openWith(s.t, s.plugins, func(c *config.Config) { c.DataDir = s.data }, func(o *Options) { o.clock = s.clock })
}

func (s *scheduled) stop() {
	s.t.Helper()
	if err := s.end(); err != nil {
		s.t.Fatalf("the daemon ended with %v", err)
	}
}

// ends waits until the run is there and has ended.
func (s *scheduled) ends(ref, status string) api.Run {
	s.t.Helper()
	s.appears(ref)
	run := await(s.t, s.Client, ref)
	if run.Status != status {
		s.t.Fatalf("%s is %s (%s), want %s", ref, run.Status, run.Reason, status)
	}
	return run
}

func (s *scheduled) appears(ref string) {
	s.t.Helper()
	eventually(s.t, ref+" appears", func() bool {
		_, err := s.Run(s.t.Context(), ref)
		fault, ok := errors.AsType[*api.Error](err)
		if err != nil && (!ok || fault.Code != api.CodeNotFound) {
			s.t.Fatal(err)
		}
		return err == nil
	})
}

// running waits until the run is being carried out.
func (s *scheduled) running(ref string) {
	s.t.Helper()
	s.appears(ref)
	awaitEvent(s.t, s.Client, ref, func(e api.Event) bool { return e.Run.Status == "running" })
}

// told is what the run's controller was told that it was scheduled for.
func (s *scheduled) told(ref string) string {
	s.t.Helper()
	detail, err := s.Run(s.t.Context(), ref)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, o := range detail.Outputs {
		if o.Name == "scheduled_for" {
			return strings.Trim(string(o.Value), `"`)
		}
	}
	return ""
}

// refs are all runs of the task, oldest first.
func (s *scheduled) refs(name string) (refs []string) {
	s.t.Helper()
	page, err := s.Runs(s.t.Context(), api.RunQuery{Task: name})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, run := range page.Items {
		refs = append(refs, run.Ref)
	}
	slices.Reverse(refs)
	return refs
}

// outcomes waits until so many due times of the schedule are decided on, and
// returns what became of them: "22:00 ran".
func (s *scheduled) outcomes(name, schedule string, count int) (list []string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%d due times of %s are decided on", count, name), func() bool {
		page, err := s.History(s.t.Context(), api.HistoryQuery{Task: name, Schedule: schedule, Limit: api.MaxPage})
		if err != nil {
			s.t.Fatal(err)
		}
		list = nil
		got := 0
		for _, slot := range slices.Backward(page.Items) {
			text := slot.First.UTC().Format("15:04")
			if slot.Count > 1 {
				text += "-" + slot.Last.UTC().Format("15:04")
			}
			list = append(list, text+" "+slot.Outcome)
			got += slot.Count
		}
		return got >= count
	})
	return list
}

func (s *scheduled) wantOutcomes(name, schedule string, count int, want ...string) {
	s.t.Helper()
	if got := s.outcomes(name, schedule, count); !slices.Equal(got, want) {
		s.t.Errorf("what became of %s/%s: %q, want %q", name, schedule, got, want)
	}
}

// pipe is what steps wait on.
type pipe struct {
	s    *scheduled
	path string
}

func (s *scheduled) pipe(name string) pipe {
	s.t.Helper()
	p := pipe{s, filepath.Join(s.dir, name)}
	if err := syscall.Mkfifo(p.path, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// open waits until a step waits, and lets those go on that do then; and those
// that come until the file is closed.
func (p pipe) open() (f *os.File) {
	p.s.t.Helper()
	eventually(p.s.t, "somebody waits on "+p.path, func() (ok bool) {
		var err error
		f, err = os.OpenFile(p.path, os.O_WRONLY|syscall.O_NONBLOCK, 0) // fails while nobody does
		return err == nil
	})
	return f
}

func (p pipe) release() {
	p.s.t.Helper()
	if err := p.open().Close(); err != nil {
		p.s.t.Fatal(err)
	}
}

// A schedule makes a run when it is due, and the controller is told for when.
func TestAScheduleFires(t *testing.T) {
	s := openScheduled(t, `name: tick
schedule: {every: 1m}
steps: [{name: one, controller: told}]`)
	s.clock.advance(59 * time.Second)
	manual := begin(t, s.Client, "tick")
	s.ends(manual, "completed")
	if told := s.told(manual); told != "nothing" {
		t.Errorf("a run that somebody asked for was told %s", told)
	}
	s.clock.advance(time.Second)
	run := s.ends("tick/2", "completed")
	if told := s.told("tick/2"); told != "2026-11-24T20:01:00Z" {
		t.Errorf("its controller was told %s", told)
	}
	if run.Trigger != "schedule" || run.Schedule != "every" || run.ScheduledFor == nil || !run.ScheduledFor.Equal(evening.Add(time.Minute)) {
		t.Errorf("the run is %+v", run)
	}
	s.clock.advance(time.Minute)
	s.ends("tick/3", "completed")
	s.wantOutcomes("tick", "every", 2, "20:01 ran", "20:02 ran")
	lines := 0
	err := s.Logs(t.Context(), "tick/2", api.LogQuery{}, func(l api.LogLine) error {
		if l.Message == "the run starts, scheduled for 2026-11-24 20:01 (every)" {
			lines++
		}
		return nil
	})
	if err != nil || lines != 1 {
		t.Errorf("the log says %d times what it is for: %v", lines, err)
	}
}

// What becomes of a due time while a run of the task is alive.
func TestOverlappingRuns(t *testing.T) {
	file := func(name, overlap string) string {
		return fmt.Sprintf(`name: %s
schedule: {every: 1h, overlap: %s}
steps: [{name: one, controller: told, settings: {hold: %s}}]`, name, overlap, name)
	}
	s := openScheduled(t, file("skip", "skip"), file("queue", "queue"), file("replace", "replace"), file("allow", "allow"))
	pipes := map[string]pipe{}
	for _, name := range []string{"skip", "queue", "replace", "allow"} {
		pipes[name] = s.pipe(name)
	}
	s.clock.advance(time.Hour)
	for name := range pipes {
		s.running(name + "/1")
	}
	s.clock.advance(time.Hour)

	s.wantOutcomes("skip", "every", 2, "21:00 ran", "22:00 overlapped")
	pipes["skip"].release()
	s.ends("skip/1", "completed")

	s.wantOutcomes("queue", "every", 2, "21:00 ran", "22:00 ran")
	s.appears("queue/2")
	if run, err := s.Run(t.Context(), "queue/2"); err != nil || run.Status != "queued" {
		t.Errorf("queue/2 is %s, %v", run.Status, err)
	}
	pipes["queue"].release()
	s.ends("queue/1", "completed")
	s.running("queue/2")
	pipes["queue"].release()
	s.ends("queue/2", "completed")

	s.wantOutcomes("replace", "every", 2, "21:00 ran", "22:00 ran")
	if run := s.ends("replace/1", "cancelled"); run.Reason != "cancelled by schedule every" {
		t.Errorf("replace/1: %s", run.Reason)
	}
	s.running("replace/2")
	pipes["replace"].release()
	s.ends("replace/2", "completed")
	if told := s.told("replace/2"); told != "2026-11-24T22:00:00Z" {
		t.Errorf("replace/2 was told %s", told)
	}

	s.wantOutcomes("allow", "every", 2, "21:00 ran", "22:00 ran")
	s.running("allow/2")
	if first, err := s.Run(t.Context(), "allow/1"); err != nil || first.Status != "running" {
		t.Errorf("allow/1 is %s, %v", first.Status, err)
	}
	both := pipes["allow"].open()
	defer both.Close()
	s.ends("allow/1", "completed")
	s.ends("allow/2", "completed")
}

// What becomes of the times for which there was no daemon.
func TestMissedTimes(t *testing.T) {
	file := func(missed, more string) string {
		return fmt.Sprintf(`name: %s
schedule: {every: 1h, missed: %s%s}
steps: [{name: one, controller: told}]`, missed, missed, more)
	}
	s := openScheduled(t, file("once", ""), file("skip", ""), file("all", ", missed_limit: 2"))
	s.clock.advance(time.Hour)
	for _, name := range []string{"once", "skip", "all"} {
		s.ends(name+"/1", "completed")
	}
	s.stop()
	s.clock.advance(4*time.Hour + 30*time.Minute) // 22:00 to 01:00 are missed
	s.start()
	s.ends("once/2", "completed")
	if told := s.told("once/2"); told != "2026-11-25T01:00:00Z" {
		t.Errorf("once/2 was told %s", told)
	}
	s.wantOutcomes("once", "every", 5, "21:00 ran", "22:00-00:00 missed", "01:00 ran_late")
	s.wantOutcomes("skip", "every", 5, "21:00 ran", "22:00-01:00 missed")
	s.ends("all/2", "completed")
	s.ends("all/3", "completed")
	if a, b := s.told("all/2"), s.told("all/3"); a != "2026-11-25T00:00:00Z" || b != "2026-11-25T01:00:00Z" {
		t.Errorf("all was told %s and %s", a, b)
	}
	s.wantOutcomes("all", "every", 5, "21:00 ran", "22:00-23:00 missed", "00:00 ran_late", "01:00 ran_late")
	if refs := s.refs("skip"); len(refs) != 1 {
		t.Errorf("skip ran %v", refs)
	}
}

// A paused task is not run, but who asks for a run gets it.
func TestPauseAndResume(t *testing.T) {
	s := openScheduled(t, `name: tick
schedule: {every: 1h}
steps: [{name: one, controller: told}]`)
	paused, err := s.Pause(t.Context(), "tick", api.PauseRequest{Reason: "stocktaking"})
	if err != nil {
		t.Fatal(err)
	}
	s.clock.advance(2 * time.Hour)
	s.ends(begin(t, s.Client, "tick"), "completed")
	apply(t, s.Client, s.dir, "name: tick\ndescription: changed\nschedule: {every: 1h}\nsteps: [{name: one, controller: told}]\n")
	s.wantOutcomes("tick", "every", 2, "21:00-22:00 paused")
	resumed, err := s.Resume(t.Context(), "tick")
	if err != nil || resumed.Version <= paused.Version {
		t.Fatalf("resumed it is %+v, %v", resumed, err)
	}
	s.clock.advance(time.Hour)
	s.ends("tick/2", "completed")
	s.wantOutcomes("tick", "every", 3, "21:00-22:00 paused", "23:00 ran")
}

// An expectation that is not met starts the hook's steps, once.
func TestAnExpectationThatIsNotMet(t *testing.T) {
	s := openScheduled(t, `name: backup
expect: {by: "23:00"}
on_missed: [{name: tell, controller: told}]
steps: [{name: first, controller: told, settings: {fail: true}}, {name: second, controller: told}]`)
	failed := begin(t, s.Client, "backup")
	s.ends(failed, "failed")
	s.clock.advance(27 * time.Hour) // 23:00 of the first day is too soon to judge, 23:00 of the next is not
	s.appears("backup/2")
	run := s.ends("backup/2", "completed")
	if run.Trigger != "on_missed" || run.Total != 1 || s.told("backup/2") != "2026-11-25T23:00:00Z" {
		t.Errorf("the hook's run is %+v, told %s", run, s.told("backup/2"))
	}
	for _, step := range steps(t, s.Client, "backup/2") {
		if step.Name != "tell" {
			t.Errorf("it has the step %s", step.Name)
		}
	}
	if last, err := s.Run(t.Context(), "backup"); err != nil || last.Ref != failed {
		t.Errorf("the task's last run is %s, %v", last.Ref, err)
	}
	if refs := s.refs("backup"); len(refs) != 2 {
		t.Errorf("there are %v", refs)
	}
}

// A task that is deleted after a due time and before the look at it gets no run
// any more, and nothing of its schedules is left.
func TestATaskThatIsDeletedWhileDue(t *testing.T) {
	s := openScheduled(t, `name: tick
schedule: {every: 1h}
steps: [{name: one, controller: told}]`)
	s.clock.advance(time.Hour)
	s.ends("tick/1", "completed")
	s.clock.set(evening.Add(2 * time.Hour)) // no timer fires
	if err := s.DeleteTask(t.Context(), "tick", 0); err != nil {
		t.Fatal(err)
	}
	s.clock.advance(5 * time.Hour)
	s.stop()
	db, err := store.Open(store.Options{Dir: s.data, BallastSize: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *store.Tx) error {
		if err := tx.Runs("", 0, func(run task.Run) bool {
			if run.Number > 1 {
				t.Errorf("there is %s, made by %s %s", run.Ref(), run.Cause(), run.Schedule)
			}
			return true
		}); err != nil {
			return err
		}
		if err := tx.Cursors("", func(c task.Cursor) bool { t.Errorf("a cursor is left: %+v", c); return true }); err != nil {
			return err
		}
		return tx.Slots("tick", "every", time.Time{}, func(slot task.Slot) bool { t.Errorf("a slot is left: %+v", slot); return true })
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPlaceInTheOrderOfDueTimes holds that a page ends where the next one goes on,
// however far away that is.
func TestPlaceInTheOrderOfDueTimes(t *testing.T) {
	for _, year := range []int{1950, 2026, 2261, 2900} {
		c := task.Cursor{Task: "t", Schedule: "at", Due: time.Date(year, 1, 1, 0, 0, 0, 5e6, time.UTC)}
		back, err := parseUpcoming(formatUpcoming(c))
		if err != nil || !back.Due.Equal(c.Due) || back.Task != c.Task || back.Schedule != c.Schedule {
			t.Errorf("%v became %v, %v", c, back, err)
		}
	}
}
