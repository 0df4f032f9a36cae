package app

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/config"
)

// asked is a daemon that is asked about schedules, at a time of the test's.
type asked struct {
	*inside
	t     *testing.T
	clock *handClock
	dir   string // of the task files
}

func openAsked(t *testing.T) *asked {
	t.Helper()
	clock := newHandClock(time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC))
	return &asked{t: t, clock: clock, dir: t.TempDir(), inside: openWith(t, pluginDir(t, "noop"),
		func(c *config.Config) { c.Timezone = "Europe/Berlin" }, func(o *Options) { o.clock = clock })}
}

func noopTask(name, schedule string) string {
	return fmt.Sprintf("name: %s\nschedule: %s\nsteps: [{name: one, controller: noop, settings: {steps: 1}}]\n", name, schedule)
}

// applied saves one task, and returns what became of it or the faults.
func (a *asked) applied(text string) (api.Applied, []string) {
	a.t.Helper()
	result, err := a.Apply(a.t.Context(), request(a.dir, text))
	if err != nil {
		return api.Applied{}, a.faults(err)
	}
	return result.Tasks[0], nil
}

func (a *asked) faults(err error) (list []string) {
	a.t.Helper()
	fault, ok := errors.AsType[*api.Error](err)
	if !ok || len(fault.Problems) == 0 {
		a.t.Fatalf("no problems in %v", err)
	}
	for _, p := range fault.Problems {
		list = append(list, fmt.Sprintf("%s:%d:%d %s", p.Path, p.Line, p.Column, p.Message))
	}
	return list
}

func TestASpecIsExplained(t *testing.T) {
	a := openAsked(t)
	x, err := a.Explain(t.Context(), api.ExplainRequest{Spec: "30 2 * * *", Timezone: "America/New_York", From: "2027-03-13T02:30", Count: 3, Exclude: []string{"2027-03-15"}})
	if err != nil {
		t.Fatal(err)
	}
	var times []string
	for _, o := range x.Times {
		times = append(times, fmt.Sprintf("%s %t %d", o.At.Format("01-02 15:04 -07:00"), o.Excluded, len(o.Notes)))
	}
	// The time from which on they are listed is one of them, and the clock is set ahead on the 14th.
	want := []string{"03-13 02:30 -05:00 false 0", "03-14 03:00 -04:00 false 1", "03-15 02:30 -04:00 true 1", "03-16 02:30 -04:00 false 0"}
	if !slices.Equal(times, want) || !strings.Contains(x.Summary, "02:30") || x.Timezone != "America/New_York" {
		t.Errorf("%+v\n%q, want %q", x, times, want)
	}
	if x, err := a.Explain(t.Context(), api.ExplainRequest{Spec: "@daily"}); err != nil || x.Timezone != "Europe/Berlin" || len(x.Times) != api.ExplainCount {
		t.Errorf("of the daemon's zone: %+v, %v", x, err)
	}
}

func TestFaultsOfASpecStandWhereTheyAre(t *testing.T) {
	a := openAsked(t)
	for _, c := range []struct {
		request api.ExplainRequest
		want    []string // path:line:column and the beginning of the message
	}{
		{api.ExplainRequest{Spec: "0 0 31 2 *"}, []string{"spec:1:5 the spec is never due"}},
		{api.ExplainRequest{Spec: "0 25 * * *"}, []string{"spec:1:3 the spec "}},
		{api.ExplainRequest{Spec: "at  2026-13-01"}, []string{"spec:1:"}},
		{api.ExplainRequest{Spec: "at 2026-11-24T06:59"}, []string{"spec:1:4 the spec has passed"}}, // in Berlin
		{api.ExplainRequest{Spec: "every soon"}, []string{"spec:1:1 the spec "}},
		{api.ExplainRequest{Spec: "@dayly"}, []string{"spec:1:1 the spec "}},
		{api.ExplainRequest{Spec: "0 0 1 1 *", Exclude: []string{"01-01"}}, []string{"exclude:1:1 exclude leaves no time at which the schedule is due"}},
		{api.ExplainRequest{Spec: "@daily", Timezone: "Europe/Berln"}, []string{"timezone:1:1 timezone "}},
		{api.ExplainRequest{Spec: "@daily", From: "soon", Exclude: []string{"12-25", "12-32"}, Jitter: "5", Start: "x"},
			[]string{"jitter:1:1 jitter must be a duration", "from:1:1 from ", "start:1:1 start ", "exclude:1:"}},
	} {
		_, err := a.Explain(t.Context(), c.request)
		got := a.faults(err)
		if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
			t.Errorf("%+v:\n got %q\nwant %q", c.request, got, c.want)
		}
		if fault, _ := errors.AsType[*api.Error](err); fault.Code != api.CodeInvalid || strings.HasPrefix(fault.Message, "invalid") {
			t.Errorf("%+v: %+v", c.request, fault)
		}
	}
}

// A fixed rate without an anchor is counted from when it was saved, whenever it is looked at.
func TestTheOriginOfARateIsWhenItWasSaved(t *testing.T) {
	a := openAsked(t)
	if _, faults := a.applied(noopTask("hourly", "{every: 1h}")); len(faults) > 0 {
		t.Fatal(faults)
	}
	a.clock.advance(20 * time.Minute)
	got, err := a.Task(t.Context(), "hourly")
	if err != nil || !strings.Contains(got.Schedules[0].Summary, "counted from 2026-11-24 07:00,") {
		t.Errorf("%+v %v", got.Schedules, err)
	}
}

// The deadlines of an expectation are told of wherever times of schedules are.
func TestAnExpectationIsExplained(t *testing.T) {
	a := openAsked(t)
	text := noopTask("watched", "{every: {delay: 90m}}") + "expect: {by: '06:00', days: mon-fri}\non_missed: [{controller: noop, settings: {steps: 1}}]\n"
	first := time.Date(2026, 11, 25, 5, 0, 0, 0, time.UTC)
	valid, err := a.Validate(t.Context(), request(a.dir, text).Files)
	if err != nil || valid.Tasks[0].Deadline == nil || !valid.Tasks[0].Deadline.At.Equal(first) {
		t.Errorf("%+v %v", valid, err)
	}
	for _, action := range []string{"created", "unchanged"} {
		got, faults := a.applied(text)
		if d := got.Deadline; got.Action != action || d == nil || !d.At.Equal(first) || !d.Excused || d.Timezone != "Europe/Berlin" {
			t.Errorf("%+v %+v %q", got, d, faults)
		}
	}
	if got, err := a.Task(t.Context(), "watched"); err != nil || !got.Expect.Excused {
		t.Errorf("%+v %v", got.Expect, err)
	}
	x, err := a.ExplainTask(t.Context(), api.ExplainQuery{Task: "watched", Count: 2})
	if err != nil || len(x.Items) != 2 {
		t.Fatalf("%+v %v", x, err)
	}
	if of := x.Items[0].Times; len(of) != 1 || !of[0].At.Equal(time.Date(2026, 11, 24, 7, 30, 0, 0, time.UTC)) {
		t.Errorf("the delay is next due at %+v", of)
	}
	e := x.Items[1]
	if e.Schedule != api.ExpectSchedule || e.Spec != "by 06:00 mon-fri" || e.Summary != "a completed run by 06:00 on Monday to Friday, Europe/Berlin" ||
		len(e.Times) != 2 || !e.Times[0].At.Equal(first) || len(e.Times[0].Notes) != 1 || len(e.Times[1].Notes) != 0 {
		t.Errorf("%+v", e)
	}
	a.clock.advance(24 * time.Hour)
	x, err = a.ExplainTask(t.Context(), api.ExplainQuery{Task: "watched", Schedule: api.ExpectSchedule, Count: 1})
	if err != nil || len(x.Items) != 1 || len(x.Items[0].Times[0].Notes) != 0 {
		t.Errorf("a day later: %+v %v", x, err)
	}
	if d, faults := a.applied(text); d.Deadline == nil || d.Deadline.Excused {
		t.Errorf("a day later: %+v %q", d.Deadline, faults)
	}
	if _, err := a.Pause(t.Context(), "watched", api.PauseRequest{For: "30h"}); err != nil {
		t.Fatal(err)
	}
	if d, faults := a.applied(text); d.Deadline == nil || !d.Deadline.At.Equal(first.Add(48*time.Hour)) {
		t.Errorf("paused beyond the next one: %+v %q", d.Deadline, faults)
	}
	if _, err := a.Pause(t.Context(), "watched", api.PauseRequest{}); err != nil {
		t.Fatal(err)
	}
	if d, faults := a.applied(text); d.Deadline != nil {
		t.Errorf("paused for good: %+v %q", d.Deadline, faults)
	}
}

// What was good when it was saved stays good: a file may be applied for ever.
func TestATimeThatHasPassedIsAFaultOfNewSchedulesOnly(t *testing.T) {
	a := openAsked(t)
	const once = "{at: 2026-11-24T09:00, end: 2026-11-25}"
	if got, faults := a.applied(noopTask("once", once)); got.Action != "created" || got.Next == nil || !got.Next.Due.Equal(time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)) {
		t.Fatalf("%+v %q", got, faults)
	}
	a.clock.advance(2 * time.Hour)
	wantCompleted(t, a.Client, a.first("once"))
	a.clock.advance(7 * 24 * time.Hour)
	if got, faults := a.applied(noopTask("once", once)); got.Action != "unchanged" || got.Next != nil {
		t.Errorf("%+v %q", got, faults)
	}
	if got, faults := a.applied("description: another\n" + noopTask("once", strings.Replace(once, "}", ", overlap: queue}", 1))); got.Action != "changed" {
		t.Errorf("%+v %q", got, faults)
	}
	for _, c := range []struct{ text, want string }{
		{noopTask("once", strings.Replace(once, "09:00", "09:01", 1)), "schedule.at:2:16 schedule.at has passed"},
		{noopTask("once", strings.Replace(once, "{", "{name: other, ", 1)), "schedule.at:2:29 schedule.at has passed"},
		{noopTask("twice", once), "schedule.at:2:16 schedule.at has passed"},
		{noopTask("once", "0 0 31 2 *"), "schedule:2:15 schedule is never due"},
		{noopTask("once", "{cron: '0 0 31 2 *', timezone: Europe/Berln}"), "schedule.timezone:2:42 schedule.timezone "},
	} {
		if _, faults := a.applied(c.text); !slices.ContainsFunc(faults, func(f string) bool { return strings.HasPrefix(f, c.want) }) {
			t.Errorf("%s: %q, want %s", c.text, faults, c.want)
		}
	}
}

// first waits for the first run of a task to end.
func (a *asked) first(name string) api.Run {
	a.t.Helper()
	eventually(a.t, name+" runs", func() bool {
		_, err := a.Run(a.t.Context(), name+"/1")
		return err == nil
	})
	return await(a.t, a.Client, name+"/1")
}

// next lists what runs next, page by page.
func (a *asked) next(limit int) (list []string) {
	a.t.Helper()
	after := ""
	for {
		page, err := a.Client.Next(a.t.Context(), after, limit)
		if err != nil {
			a.t.Fatal(err)
		}
		for _, u := range page.Items {
			list = append(list, fmt.Sprintf("%s %s/%s %s", u.Due.UTC().Format("01-02 15:04"), u.Task, u.Schedule, u.Timezone))
		}
		if len(page.Items) > limit || page.Next != "" && len(page.Items) == 0 {
			a.t.Fatalf("a page of %d: %+v", limit, page)
		}
		if after = page.Next; after == "" {
			return list
		}
	}
}

func (a *asked) status(name string) string {
	a.t.Helper()
	task, err := a.Task(a.t.Context(), name)
	if err != nil {
		a.t.Fatal(err)
	}
	due := "-"
	if task.NextDue != nil {
		due = task.NextDue.UTC().Format("01-02 15:04")
	}
	page, err := a.Tasks(a.t.Context(), api.TaskQuery{})
	if err != nil {
		a.t.Fatal(err)
	}
	i := slices.IndexFunc(page.Items, func(t api.Task) bool { return t.Name == name })
	if listed := page.Items[i]; listed.Status != task.Status || (listed.NextDue == nil) != (task.NextDue == nil) || listed.Schedules != nil || listed.ScheduleCount != len(task.Schedules) {
		a.t.Errorf("listed as %+v, alone it is %+v", listed, task)
	}
	return task.Status + " " + due
}

func TestWhatRunsNextIsTold(t *testing.T) {
	a := openAsked(t)
	const expects = "expect: {by: '23:00'}\non_missed: [{controller: noop, settings: {steps: 1}}]\n"
	texts := []string{noopTask("nightly", "[30 2 * * *, {name: noon, cron: 0 12 * * *, timezone: UTC}]") + expects, noopTask("hourly", "{every: 1h}"),
		noopTask("after", "{every: {delay: 90m}}"), noopTask("monthly", "{cron: '@monthly', timezone: UTC}"), "name: plain\nsteps: [{name: one, controller: noop, settings: {steps: 1}}]\n"}
	request := request(t.TempDir(), texts...)
	want := map[string]string{"nightly": "11-24 12:00", "hourly": "11-24 07:00", "after": "11-24 07:30", "monthly": "12-01 00:00", "plain": "-"}
	due := func(u *api.Upcoming) string {
		if u == nil {
			return "-"
		}
		return u.Due.UTC().Format("01-02 15:04")
	}
	valid, err := a.Validate(t.Context(), request.Files)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range valid.Tasks {
		if due(v.Next) != want[v.Task] {
			t.Errorf("%s would run %s, want %s", v.Task, due(v.Next), want[v.Task])
		}
	}
	for _, dry := range []bool{true, false} {
		request.DryRun = dry
		result, err := a.Apply(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range result.Tasks {
			if due(one.Next) != want[one.Task] {
				t.Errorf("dry %t: %s runs %s, want %s", dry, one.Task, due(one.Next), want[one.Task])
			}
		}
	}
	all := []string{"11-24 07:00 hourly/every Europe/Berlin", "11-24 07:30 after/after Europe/Berlin", "11-24 12:00 nightly/noon UTC",
		"11-25 01:30 nightly/cron Europe/Berlin", "12-01 00:00 monthly/cron UTC"}
	for _, limit := range []int{1, 2, 3, 100} {
		if got := a.next(limit); !slices.Equal(got, all) {
			t.Errorf("in pages of %d: %q, want %q", limit, got, all)
		}
	}
	if _, err := a.Client.Next(t.Context(), "nowhere", 0); err == nil || !strings.Contains(err.Error(), "no place to go on from") {
		t.Error(err)
	}
	for name, want := range map[string]string{"nightly": "scheduled 11-24 12:00", "plain": "ready -"} {
		if got := a.status(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}

	// Of one that is paused until a time, the first run is after that.
	if _, err := a.Pause(t.Context(), "nightly", api.PauseRequest{For: "20h", Reason: "moving house"}); err != nil {
		t.Fatal(err)
	}
	if got := a.status("nightly"); got != "paused 11-25 12:00" {
		t.Errorf("paused for 20 hours it is %s", got)
	}
	if _, err := a.Pause(t.Context(), "hourly", api.PauseRequest{}); err != nil {
		t.Fatal(err)
	}
	if got := a.status("hourly"); got != "paused -" {
		t.Errorf("paused it is %s", got)
	}
	if _, err := a.SetDisabled(t.Context(), "after", true); err != nil {
		t.Fatal(err)
	}
	if got := a.status("after"); got != "disabled -" {
		t.Errorf("disabled it is %s", got)
	}
	held := []string{"11-25 12:00 nightly/noon UTC", "11-26 01:30 nightly/cron Europe/Berlin", "12-01 00:00 monthly/cron UTC"}
	if got := a.next(2); !slices.Equal(got, held) {
		t.Errorf("now that three are held, this runs: %q, want %q", got, held)
	}
	task, err := a.Task(t.Context(), "nightly")
	if err != nil || task.Pause == nil || task.Pause.Reason != "moving house" || task.Pause.By == "" || task.Expect == nil || len(task.OnMissed) != 1 {
		t.Errorf("%+v %v", task, err)
	}
	until := a.clock.Now().Add(-time.Hour)
	for _, r := range []api.PauseRequest{{For: "ever"}, {Until: &until}} {
		if _, err := a.Pause(t.Context(), "nightly", r); err == nil {
			t.Errorf("%+v was taken", r)
		} else if fault, ok := errors.AsType[*api.Error](err); !ok || fault.Code != api.CodeInvalid {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if task, err := a.Resume(t.Context(), "hourly"); err != nil || task.Status != "scheduled" || task.Pause != nil || task.NextDue == nil {
		t.Errorf("resumed: %+v %v", task, err)
	}
	x, err := a.ExplainTask(t.Context(), api.ExplainQuery{Task: "nightly", Schedule: "noon", Count: 2})
	if err != nil || len(x.Items) != 1 || x.Items[0].Schedule != "noon" || len(x.Items[0].Times) != 2 || x.Items[0].Pause == nil {
		t.Errorf("%+v %v", x, err)
	}
}

func TestHistoryComesInPages(t *testing.T) {
	a := openAsked(t)
	if got, faults := a.applied(noopTask("tick", "[{every: 1h}, {name: half, cron: '30 * * * *'}]")); got.Action != "created" {
		t.Fatal(faults)
	}
	history := func(schedule string, limit int) (list []string) {
		q := api.HistoryQuery{Task: "tick", Schedule: schedule, Limit: limit}
		for {
			page, err := a.History(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range page.Items {
				list = append(list, fmt.Sprintf("%s %s %s %s", s.First.UTC().Format("15:04"), s.Schedule, s.Outcome, s.Run))
				if s.Timezone != "Europe/Berlin" || strings.HasPrefix(s.Outcome, "ran") != (s.LateSeconds != nil) {
					t.Errorf("%+v", s)
				}
			}
			if q.After = page.Next; q.After == "" {
				return list
			}
		}
	}
	for i := range 6 {
		a.clock.advance(30 * time.Minute)
		eventually(t, "a due time is decided on", func() bool { return len(history("", 100)) == i+1 })
		await(t, a.Client, fmt.Sprintf("tick/%d", i+1))
	}
	want := []string{"09:00 every ran tick/6", "08:30 half ran tick/5", "08:00 every ran tick/4", "07:30 half ran tick/3", "07:00 every ran tick/2", "06:30 half ran tick/1"}
	for _, limit := range []int{1, 2, 4, 100} {
		if got := history("", limit); !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %q", limit, got)
		}
	}
	if got := history("half", 2); len(got) != 3 || !strings.Contains(got[0], "08:30 half") {
		t.Errorf("of one schedule: %q", got)
	}
	_, err := a.History(t.Context(), api.HistoryQuery{Task: "tick", Schedule: "hlaf"})
	if fault, ok := errors.AsType[*api.Error](err); !ok || fault.Code != api.CodeNotFound || fault.Hint != "it has: every, half" {
		t.Errorf("%+v", err)
	}
	_, err = a.History(t.Context(), api.HistoryQuery{Task: "tock"})
	if fault, ok := errors.AsType[*api.Error](err); !ok || fault.Code != api.CodeNotFound {
		t.Errorf("%+v", err)
	}
	_, err = a.History(t.Context(), api.HistoryQuery{Task: "tick", After: "yesterday"})
	if fault, ok := errors.AsType[*api.Error](err); !ok || fault.Code != api.CodeInvalid {
		t.Errorf("%+v", err)
	}
	run, err := a.Run(t.Context(), "tick/6")
	if err != nil || run.Trigger != "schedule" || run.Schedule != "every" || run.Timezone != "Europe/Berlin" || run.ScheduledFor == nil ||
		run.ScheduledFor.UTC().Format("15:04") != "09:00" {
		t.Errorf("%+v %v", run, err)
	}
}
