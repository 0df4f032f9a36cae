package taskfile_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

const noSteps = "steps: [{name: a, controller: script}]\n"

// schedulesOf parses a task with that value of schedule.
func schedulesOf(t *testing.T, schedule string) []task.Schedule {
	t.Helper()
	return mustParse(t, "name: x\nschedule: "+schedule+"\n"+noSteps).Schedules
}

func TestSchedulesAreRead(t *testing.T) {
	cron := func(name, spec string) task.Schedule {
		return task.Schedule{Name: name, Cron: spec, Timezone: "Europe/Vienna"}.WithDefaults()
	}
	every := cron("every", "")
	every.Rate = 15 * time.Minute
	anchored := every
	anchored.Anchor = "2026-01-01T00:00"
	after := cron("after", "")
	after.Delay = time.Hour
	at := cron("at", "")
	at.At, at.Timezone = "2026-12-24T18:00", "Europe/Berlin"
	for _, c := range []struct {
		text string
		want []task.Schedule
	}{
		{`"30 2 * * *"`, []task.Schedule{cron("cron", "30 2 * * *")}},
		{`30 2 * * *`, []task.Schedule{cron("cron", "30 2 * * *")}},
		{`{cron: 30 2 * * *}`, []task.Schedule{cron("cron", "30 2 * * *")}},
		{`{every: 15m}`, []task.Schedule{every}},
		{`{every: {rate: 15m}}`, []task.Schedule{every}},
		{`{every: {rate: 15m, anchor: 2026-01-01T00:00}}`, []task.Schedule{anchored}},
		{`{every: {delay: 1h}}`, []task.Schedule{after}},
		{`{at: 2026-12-24T18:00, timezone: Europe/Berlin}`, []task.Schedule{at}},
		// Names come from the kind, around those that are taken.
		{`["1 1 * * *", {cron: 2 2 * * *}, {name: cron-3, cron: 3 3 * * *}, {cron: 4 4 * * *}]`,
			[]task.Schedule{cron("cron", "1 1 * * *"), cron("cron-2", "2 2 * * *"), cron("cron-3", "3 3 * * *"), cron("cron-4", "4 4 * * *")}},
		{`{name: nightly, cron: "30 2 * * *", timezone: America/New_York, missed: all, missed_window: 6h, missed_limit: 3, overlap: queue,
    jitter: 10m, start: 2026-12-01, end: 2027-03-01 06:00, exclude: [2026-12-25, 2026-12-24..2027-01-02, 12-25]}`,
			[]task.Schedule{{Name: "nightly", Cron: "30 2 * * *", Timezone: "America/New_York", Missed: task.MissedAll, MissedWindow: 6 * time.Hour,
				MissedLimit: 3, Overlap: task.OverlapQueue, Jitter: 10 * time.Minute, Start: "2026-12-01", End: "2027-03-01 06:00",
				Exclude: []string{"2026-12-25", "2026-12-24..2027-01-02", "12-25"}}}},
	} {
		if diff := cmp.Diff(c.want, schedulesOf(t, c.text)); diff != "" {
			t.Errorf("%s: %s", c.text, diff)
		}
	}
}

// YAML takes some of these for numbers and dates.
func TestTimesAreTheTextThatStandsThere(t *testing.T) {
	got := mustParse(t, "name: x\nschedule: {at: 2026-12-24, exclude: [2026-12-25, 12-25]}\nexpect: {by: 06:00, days: 1}\non_missed: [{controller: script}]\n"+noSteps)
	if s := got.Schedules[0]; s.At != "2026-12-24" || s.Exclude[0] != "2026-12-25" || s.Exclude[1] != "12-25" {
		t.Errorf("%+v", s)
	}
	if want := (task.Expect{By: "06:00", Days: "1", Timezone: "Europe/Vienna"}); *got.Expect != want {
		t.Errorf("%+v", got.Expect)
	}
}

func TestHookStepsAreStepsAndNeedNoName(t *testing.T) {
	got := mustParse(t, `name: x
settings: {backup_dir: ./b}
expect: {by: "06:00"}
on_missed:
  - controller: script/rotate
  - controller: script/rotate
  - {name: script-rotate-2, controller: copyfiles, settings: {source: s}, retry: {attempts: 2}}
steps: [{name: script-rotate, controller: script}]
`)
	var names []string
	for _, s := range got.OnMissed {
		names = append(names, fmt.Sprintf("%s %d %s", s.Name, s.Order, s.Settings))
	}
	want := []string{`script-rotate 1 {"backup_dir":"./b"}`, `script-rotate-3 2 {"backup_dir":"./b"}`, `script-rotate-2 3 {"backup_dir":"./b","source":"s"}`}
	if diff := cmp.Diff(want, names); diff != "" || got.OnMissed[2].Retry.Attempts != 2 || len(got.Steps) != 1 {
		t.Errorf("%s\n%+v", diff, got)
	}
}

// The hooks of a run's end are read like on_missed, each with names of its own,
// and need nothing else.
func TestHooksOfTheEnd(t *testing.T) {
	got := mustParse(t, `name: x
settings: {backup_dir: ./b}
on_end: [{controller: script/rotate}, {controller: script/rotate}]
on_success: [{name: a, controller: copyfiles, settings: {source: s}}]
on_failure: [{controller: script}]
steps: [{name: a, controller: script}]
`)
	var names []string
	for _, list := range [][]task.Step{got.Steps, got.OnMissed, got.OnSuccess, got.OnFailure, got.OnEnd} {
		for _, s := range list {
			names = append(names, fmt.Sprintf("%s %d %s", s.Name, s.Order, s.Settings))
		}
		names = append(names, "")
	}
	const shared = `{"backup_dir":"./b"}`
	want := []string{"a 1 " + shared, "", "", `a 1 {"backup_dir":"./b","source":"s"}`, "", "script 1 " + shared, "",
		"script-rotate 1 " + shared, "script-rotate-2 2 " + shared, ""}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	out, err := taskfile.Format(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`name: x
settings:
  backup_dir: ./b
steps:
- name: a
  controller: script
on_success:
- name: a
  controller: copyfiles
  settings:
    source: s
on_failure:
- name: script
  controller: script
on_end:
- name: script-rotate
  controller: script/rotate
- name: script-rotate-2
  controller: script/rotate
`, string(out)); diff != "" {
		t.Error(diff)
	}
}

// What the task is called tells whether a time that has passed is news.
func TestTheCheckIsToldOfWhichTask(t *testing.T) {
	s := new(fakeSchedules)
	text := "schedule: [0 1 * * *, {name: n, every: 5m}]\n" + noSteps + "name: nightly\n"
	if _, err := taskfile.Parse(t.Context(), taskfile.Source{Name: "f", Data: []byte(text)}, taskfile.Ports{Controllers: controllers(), Schedules: s}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"nightly", "nightly"}, s.tasks); diff != "" {
		t.Error(diff)
	}
	if s.schedules[0].Name != "cron" || s.schedules[0].Missed != task.MissedOnce || s.schedules[1].Name != "n" || s.schedules[1].MissedLimit != task.DefaultMissedLimit {
		t.Errorf("asked before it was filled in: %+v", s.schedules)
	}
}

func TestFaultsOfSchedules(t *testing.T) {
	const kinds = `write one of cron: "30 2 * * *", at: 2026-12-24T18:00, every: 15m`
	const how = "rate counts from one due time to the next, delay from the end of a run: write one of them"
	for _, c := range []struct {
		schedule string // in line 2, from column 11
		want     []string
	}{
		{"", []string{`2:1 schedule is empty | write when it is due, as in schedule: "30 2 * * *", or leave it out`}},
		{"[]", []string{`2:1 schedule is empty | write when it is due, as in schedule: "30 2 * * *", or leave it out`}},
		{"[[]]", []string{"2:12 schedule[0] must be a mapping, found a list | "}},
		{"[0 1 * * *, ' ', ]", []string{"2:23 schedule[1] is empty | "}},
		{"* * * * *", []string{`2:11 this is not valid YAML: text that starts with '*' is not in quotes | put it in quotes: "* * * * *"`}},
		{"{every: {rate: 1h}, cron: */5 1,2 * * *} # often", []string{`2:37 this is not valid YAML: text that starts with '*' is not in quotes | put it in quotes: "*/5 1,2 * * *"`}},
		{"\n  - cron: */5", []string{`3:11 this is not valid YAML: text that starts with '*' is not in quotes | put it in quotes: "*/5"`}},
		{"{every: 0}", []string{"2:19 schedule.every must be longer than zero | write how long, as in every: 15m"}},
		{"{every: {delay: 0s}}", []string{"2:27 schedule.every.delay must be longer than zero | write how long, as in delay: 15m"}},
		{"{every: 1h, jitter: 0}", []string{"2:31 schedule.jitter must be longer than zero | leave it out, or write how long, as in jitter: 10m"}},
		{"@daily", []string{"2:11 this is not valid YAML: a value cannot start with '@' | put the value in quotes"}},
		{"{}", []string{"2:11 schedule does not say when it is due | " + kinds}},
		{"{timezone: bad}", []string{"2:11 schedule does not say when it is due | " + kinds, "2:22 schedule.timezone is bad | make it good"}},
		{"{cron: 0 2 * * *, at: 2026-12-24}", []string{"2:11 schedule has more than one of cron, at and every | a task may have several schedules: write a list of them"}},
		{"{cron: [0, 2], timezone: bad}", []string{"2:18 schedule.cron must be text, found a list | ", "2:36 schedule.timezone is bad | make it good"}},
		{"{cron: ''}", []string{"2:18 schedule.cron is empty | "}},
		{"{every: 900}", []string{"2:19 schedule.every must be " + duration + ", found the number 900 | a duration has a unit: 900s are seconds"}},
		{"{every: 5ms}", []string{"2:19 schedule.every is too short | a second is the least"}},
		{"{every: {rate: 5ms}}", []string{"2:26 schedule.every.rate is too short | a second is the least"}},
		{"{every: {}}", []string{"2:19 schedule.every has neither rate nor delay | " + how}},
		{"{every: {rate: 1h, delay: 1h}}", []string{"2:19 schedule.every has both rate and delay | " + how}},
		{"{every: {delay: 1h, anchor: 2026-01-01}}", []string{"2:31 schedule.every.anchor is there for a rate only | a delay is counted from the end of the run before it"}},
		{"{every: {rate: 1h, anchor: the bad day}}", []string{"2:42 schedule.every.anchor is bad | make it good"}},
		{"{cron: 0 2 * * *, crno: x}", []string{`2:29 unknown key "crno" | did you mean "cron"?`}},
		{"{cron: 0 2 * * *, missed: onec}", []string{`2:37 schedule.missed must be one of: once, skip, all, found the text "onec" | did you mean "once"?`}},
		{"{cron: 0 2 * * *, overlap: [skip]}", []string{"2:38 schedule.overlap must be one of: skip, queue, replace, allow, found a list | "}},
		{"{cron: 0 2 * * *, missed_limit: 101, missed_window: 0s}", []string{
			"2:43 schedule.missed_limit must be a whole number from 1 to 100, found the number 101 | ", "2:63 schedule.missed_window must be longer than zero | leave it out, or write how long, as in missed_window: 10m"}},
		{"{cron: 0 2 * * *, exclude: 12-25}", []string{`2:38 schedule.exclude must be a list, found the text "12-25" | write a list, even of one: [12-25]`}},
		{"{cron: 0 2 * * *, exclude: [12-25, a bad one]}", []string{"2:48 schedule.exclude[1] is bad | make it good"}},
		{"{cron: 0 2 * * *, name: '@expect'}", []string{
			`2:35 the name "@expect" contains '@': letters, digits, '-', '_' and '.' are allowed | letters, digits, '-', '_' and '.' make a name, as in nightly-backup`}},
		{"[{name: a, every: 1h}, {name: a, every: 2h}]", []string{
			`2:41 the schedule name "a" is used twice: first at line 2 | each schedule of a task has a name of its own`}},
		{"[" + strings.Repeat("0 1 * * *, ", 33) + "]", []string{"2:364 a task has at most 32 schedules, these are 33 | "}},
		// The column inside of a spec.
		{"0 bad * * *", []string{"2:13 schedule is bad | make it good"}},
		{"{cron: 0 bad * * *}", []string{"2:20 schedule.cron is bad | make it good"}},
		{`[{cron: "0 bad * * *"}, 'é bad']`, []string{"2:22 schedule[0].cron is bad | make it good", "2:38 schedule[1] is bad | make it good"}},
		// Also where the text does not stand in its line as it is, but for an alias.
		{`{cron: "\u0030 bad * * *"}`, []string{"2:26 schedule.cron is bad | make it good"}},
		{"{cron: 0\n   bad * * *}", []string{"3:4 schedule.cron is bad | make it good"}},
		{"{cron: >-\n   0 bad}", []string{"2:18 this is not valid YAML: a value cannot start with '>' | put the value in quotes"}},
		{"\n  cron: >-\n    0 bad", []string{"4:7 schedule.cron is bad | make it good"}},
		{"[&c 0 bad * * *, {cron: *c}]", []string{"2:17 schedule[0] is bad | make it good", "2:35 schedule[1].cron is bad | make it good"}},
	} {
		t.Run(c.schedule[:min(len(c.schedule), 30)], func(t *testing.T) {
			_, err := parse(t, "name: x\nschedule: "+c.schedule+"\n"+noSteps)
			expect(t, err, c.want...)
		})
	}
}

// The hint for a key of a schedule in the task itself leads to what works.
func TestKeysOfASchedulePutIntoTheTask(t *testing.T) {
	for text, want := range map[string]string{
		"every: 15m":         "schedule: {every: 15m}",
		"cron: 30 2 * * *":   `schedule: {cron: "30 2 * * *"}`,
		"at: 2026-12-24":     "schedule: {at: 2026-12-24}",
		"every: {delay: 1h}": "schedule: {every: ...}",
		"jitter: 5m":         "schedule: {cron: ..., jitter: ...}",
	} {
		key, _, _ := strings.Cut(text, ":")
		_, err := parse(t, "name: x\n"+text+"\n"+noSteps)
		expect(t, err, fmt.Sprintf("2:1 unknown key %q | it belongs into the schedule, as in %s", key, want))
	}
}

func TestFaultsOfExpectations(t *testing.T) {
	const hook = "on_missed: [{controller: script}]\n"
	const steps = "write the steps to be done then, as in on_missed: [{controller: NAME, settings: {...}}]; 'stepd plugins' lists what there is"
	for _, c := range []struct {
		text string // from line 2 on
		want []string
	}{
		{"expect: {by: \"06:00\"}\n", []string{"2:1 expect needs on_missed: nothing would happen when no run has completed | " + steps}},
		{hook, []string{`2:1 on_missed needs expect: nothing says by when a run is to have completed | write it, as in expect: {by: "06:00"}`}},
		{hook + "expect: 06:00\n", []string{`3:9 expect must be a mapping, found the text "06:00" | write a time of day, as in expect: {by: "06:00"}`}},
		{hook + "expect: {}\n", []string{`3:1 expect has no by | write a time of day, as in expect: {by: "06:00"}`}},
		{hook + "expect: {by: soon bad, days: bad, timezone: a bad one}\n", []string{
			"3:19 expect.by is bad | make it good", "3:30 expect.days is bad | make it good", "3:47 expect.timezone is bad | make it good"}},
		{"expect: {by: \"06:00\"}\non_missed: []\n", []string{"3:1 on_missed has no steps | write what is to be done, or leave it out"}},
		{"expect: {by: \"06:00\"}\non_missed: {a: b}\n", []string{"3:12 on_missed must be a list, found a mapping | start each step with '- name: ...'"}},
		{"expect: {by: \"06:00\"}\non_missed: [{name: a}, {controller: nosuch}, {controller: dumptables, settings: {dsn: x, rows: 0}}]\n", []string{
			"3:13 the step has no controller | 'stepd plugins' lists what there is",
			`3:37 unknown controller "nosuch": no plugin serves it: not found | 'stepd plugins' lists what there is`,
			"3:96 on_missed[2].settings.rows must be at least 1, found 0 | "}},
	} {
		t.Run(c.text[:min(len(c.text), 50)], func(t *testing.T) {
			_, err := parse(t, "name: x\n"+c.text+noSteps)
			expect(t, err, c.want...)
		})
	}
}

func TestFormatOfSchedules(t *testing.T) {
	for in, want := range map[string]string{
		`"30 2 * * *"`: `schedule: {cron: "30 2 * * *", timezone: Europe/Vienna}` + "\n",
		`[{at: 2026-12-24}, {every: {delay: 1h}, missed: skip, exclude: [12-25]}, {every: {rate: 90s, anchor: 2026-01-01}, jitter: 1m}]`: `schedule:
- {at: "2026-12-24", timezone: Europe/Vienna}
- {every: {delay: 1h}, timezone: Europe/Vienna, exclude: ["12-25"], missed: skip}
- {every: {rate: 1m30s, anchor: "2026-01-01"}, timezone: Europe/Vienna, jitter: 1m}
`,
		`[{name: night, cron: 0 1 * * *}, {every: 5m}]`: `schedule:
- {name: night, cron: "0 1 * * *", timezone: Europe/Vienna}
- {name: every, every: 5m, timezone: Europe/Vienna}
`,
	} {
		out, err := taskfile.Format(mustParse(t, "name: x\nschedule: "+in+"\nexpect: {by: 06:00, days: mon-fri}\non_missed: [{controller: script}]\n"+noSteps))
		if err != nil {
			t.Fatal(err)
		}
		whole := "name: x\n" + want + `expect: {by: "06:00", days: mon-fri, timezone: Europe/Vienna}
steps:
- name: a
  controller: script
on_missed:
- name: script
  controller: script
`
		if diff := cmp.Diff(whole, string(out)); diff != "" {
			t.Error(diff)
		}
	}
}
