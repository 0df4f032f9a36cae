package taskfile_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

func TestFormatIsTidy(t *testing.T) {
	out, err := taskfile.Format(mustParse(t, backup))
	if err != nil {
		t.Fatal(err)
	}
	want := `name: backup
description: Nightly backup of the shop
max_parallel: 2
max_execution_time: 1d2h
disabled: true
settings:
  backup_dir: ./backups
steps:
- name: tables
  controller: dumptables
  interrupt_on_step_fault: true
  weight: 2.5
  settings:
    dsn: sqlite:./shop.db
    mode: recreate
    tables: ["*"]
- name: files
  controller: copyfiles
  retry: {attempts: 3, backoff: 2s, max_backoff: 1m}
  max_execution_time: 10m
  attempt_timeout: 4m30s
  progress_timeout: 1.5s
  settings:
    backup_dir: ./elsewhere
    include: [image/**, download/**]
    source: ./shop
- name: archive
  controller: compress
  settings:
    format: tar.zst
`
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Error(diff)
	}
}

func TestFormatRefusesBrokenSettings(t *testing.T) {
	for _, raw := range []string{`{`, `[1]`, `{} {}`, `"x"`} {
		if _, err := taskfile.Format(task.Task{Name: "x", Settings: json.RawMessage(raw)}); err == nil {
			t.Errorf("%s was written", raw)
		}
	}
}

// Whatever a task holds, Format and Parse give it back.
func TestFormatRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyTask(t)
		out, err := taskfile.Format(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := taskfile.Parse(t.Context(), taskfile.Source{Name: "f", Dir: want.Dir, Data: out}, ports())
		if err != nil {
			t.Fatalf("%v\nof\n%s", err, out)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s\nof\n%s", diff, out)
		}
		again, err := taskfile.Format(got)
		if err != nil || string(again) != string(out) {
			t.Fatalf("not stable: %v\n%s\n%s", err, out, again)
		}
	})
}

// text is what breaks YAML writers, and anything else.
func text() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"", " ", "~", "null", "Null", "yes", "No", "true", "0123", "1.10", "1e3", "0x1F", "0o7", ".5", ".inf", "-", "- a", "?", ": ", "a: b", "a #b", "#",
			"2026-01-02", "12:30", "<<", "=", "*", "&a", "!x", "%", "@", "`", "|", ">", "'", "\"", "[", "{", "---", "...", "a\nb", "a\nb\n", "\na", "a\n\nb", "a\n", " a\nb", "a\n b", "a\r\nb",
			"\t", "a\tb", "\u0000", "\u001b", "\u0085", "\u2028", "\u00a0", "\ufeff", "\U0001f600", "日本", "a\\b", "\\n", "<&>", "x ", " x", "y", "1_000", "...a", "a\n---\nb", "a\n...\nb", strings.Repeat("long ", 60)}),
		rapid.String(),
		rapid.StringMatching(`[ -~\n]{0,40}`),
	)
}

func anyValue(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		most := 6
		if depth == 0 {
			most = 4
		}
		switch rapid.IntRange(0, most).Draw(t, "kind") {
		case 0:
			return nil
		case 1:
			return rapid.Bool().Draw(t, "bool")
		case 2:
			return rapid.Float64().Filter(func(f float64) bool { return f != 0 }).Draw(t, "float")
		case 3:
			return rapid.Int64().Draw(t, "int")
		case 5:
			return rapid.SliceOfN(anyValue(depth-1), 0, 4).Draw(t, "list")
		case 6:
			return rapid.MapOfN(text(), anyValue(depth-1), 0, 4).Draw(t, "map")
		default:
			return text().Draw(t, "text")
		}
	})
}

func canonical(t *rapid.T, v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func anyTask(t *rapid.T) task.Task {
	duration := rapid.Custom(func(t *rapid.T) time.Duration {
		return max(0, time.Duration(rapid.Int64Range(-1, 1<<62).Draw(t, "d"))>>rapid.IntRange(0, 60).Draw(t, "shift"))
	})
	name := rapid.StringMatching(`[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,8}`)
	want := task.Task{
		Name: name.Draw(t, "name"), Description: text().Draw(t, "description"), Dir: "/srv",
		MaxParallel: rapid.IntRange(0, task.MaxParallelCap).Draw(t, "parallel"), MaxExecutionTime: duration.Draw(t, "limit"),
		Disabled: rapid.Bool().Draw(t, "disabled"),
	}
	anyPolicies(t, &want, name)
	shared := rapid.MapOfN(text(), anyValue(2), 0, 3).Draw(t, "settings")
	if len(shared) > 0 {
		want.Settings = canonical(t, shared)
	}
	anySchedules(t, &want, name, duration)
	if rapid.IntRange(0, 9).Draw(t, "has steps") > 0 {
		want.Steps = anySteps(t, name, duration, shared)
	}
	if want.Expect != nil {
		want.OnMissed = anySteps(t, name, duration, shared)
	}
	for _, hook := range []*[]task.Step{&want.OnSuccess, &want.OnFailure, &want.OnEnd} {
		if rapid.Bool().Draw(t, "has the hook") {
			*hook = anySteps(t, name, duration, shared)
		}
	}
	return want
}

func anyPolicies(t *rapid.T, to *task.Task, name *rapid.Generator[string]) {
	if rapid.Bool().Draw(t, "no policies") {
		return
	}
	some := func(of *rapid.Generator[string], label string) []string {
		if list := rapid.SliceOfNDistinct(of, 0, 3, rapid.ID).Draw(t, label); len(list) > 0 {
			return list
		}
		return nil
	}
	account := rapid.StringMatching(`@?[a-zA-Z0-9_$\\.\-é]{1,9}`)
	to.CreatedBy = rapid.OneOf(rapid.Just(""), account.Filter(func(s string) bool { return s[0] != '@' })).Draw(t, "creator")
	to.Starter, to.Locks = some(account, "starters"), some(name, "locks")
	to.Settable = some(name, "settable")
	to.Priority, to.MaxRuns = rapid.IntRange(-100, 100).Draw(t, "priority"), rapid.IntRange(0, 1000).Draw(t, "max_runs")
	to.Log = rapid.SampledFrom([]task.Detail{"", task.Simple, task.Detailed}).Draw(t, "log")
	to.Keep = task.Keep{Runs: rapid.IntRange(0, 1000).Draw(t, "runs"), Days: rapid.IntRange(0, 1000).Draw(t, "days"),
		Bytes: rapid.Int64Range(0, 1<<62).Draw(t, "bytes") >> rapid.IntRange(0, 61).Draw(t, "fewer")}
}

// anySchedules gives the task schedules and an expectation, or none.
func anySchedules(t *rapid.T, to *task.Task, name *rapid.Generator[string], duration *rapid.Generator[time.Duration]) {
	// What is good is the port's to say; here it is what has no "bad" in it.
	some := text().Filter(func(s string) bool {
		return strings.TrimSpace(s) != "" && utf8.ValidString(s) && !strings.Contains(s, "bad")
	})
	maybe := func(label string) string {
		if rapid.Bool().Draw(t, "has "+label) {
			return some.Draw(t, label)
		}
		return ""
	}
	for _, n := range rapid.SliceOfNDistinct(name, 0, 3, rapid.ID).Draw(t, "schedules") {
		s := task.Schedule{Name: n, Timezone: some.Draw(t, "zone"), Start: maybe("start"), End: maybe("end"), Jitter: duration.Draw(t, "jitter"),
			Exclude: rapid.SliceOfN(some, 0, 3).Draw(t, "exclude"), Missed: rapid.SampledFrom([]task.Missed{"", "once", "skip", "all"}).Draw(t, "missed"),
			MissedWindow: duration.Draw(t, "window"), MissedLimit: rapid.IntRange(0, task.MaxMissedLimit).Draw(t, "at most"),
			Overlap: rapid.SampledFrom([]task.Overlap{"", "skip", "queue", "replace", "allow"}).Draw(t, "overlap")}.WithDefaults()
		if len(s.Exclude) == 0 {
			s.Exclude = nil
		}
		kind := rapid.SampledFrom([]string{"cron", "at", "every", "after"}).Draw(t, "kind")
		switch kind {
		case "cron":
			s.Cron = some.Draw(t, "cron")
		case "at":
			s.At = some.Draw(t, "at")
		case "every":
			s.Rate, s.Anchor = time.Second+duration.Draw(t, "rate")/2, maybe("anchor")
		case "after":
			s.Delay = 1 + duration.Draw(t, "delay")/2
		}
		if len(to.Schedules) == 0 && rapid.Bool().Draw(t, "named by its kind") {
			s.Name = kind
		}
		if !slices.ContainsFunc(to.Schedules, func(other task.Schedule) bool { return other.Name == s.Name }) {
			to.Schedules = append(to.Schedules, s)
		}
	}
	if rapid.Bool().Draw(t, "expects") {
		to.Expect = &task.Expect{By: some.Draw(t, "by"), Days: maybe("days"), Timezone: some.Draw(t, "zone")}
	}
}

func anySteps(t *rapid.T, name *rapid.Generator[string], duration *rapid.Generator[time.Duration], shared map[string]any) (steps []task.Step) {
	order := 0
	for _, n := range rapid.SliceOfNDistinct(name, 1, 4, rapid.ID).Draw(t, "names") {
		order += rapid.SampledFrom([]int{0, 1, 1, 1, 5}).Draw(t, "order")
		step := task.Step{Name: n, Order: order, InterruptOnStepFault: rapid.Bool().Draw(t, "interrupt"),
			Weight: float64(rapid.IntRange(0, 1000).Draw(t, "weight")) / 8,
			Limits: task.Limits{MaxExecutionTime: duration.Draw(t, "m"), AttemptTimeout: duration.Draw(t, "a"), ProgressTimeout: duration.Draw(t, "p"), StuckAfter: duration.Draw(t, "s")},
			Retry:  task.Retry{Attempts: rapid.IntRange(0, 9).Draw(t, "attempts"), Backoff: duration.Draw(t, "backoff")}}
		if d := duration.Draw(t, "max_backoff"); d > step.Retry.Backoff {
			step.Retry.MaxBackoff = d
		}
		if rapid.Bool().Draw(t, "has a condition") {
			step.When = text().Filter(func(s string) bool {
				return strings.TrimSpace(s) != "" && utf8.ValidString(s) && !strings.Contains(s, "bad")
			}).Draw(t, "when")
		}
		// The first is one that takes any settings of the task.
		if len(steps) > 0 && rapid.Bool().Draw(t, "typed") {
			step.Controller = "dumptables"
			step.Settings = canonical(t, map[string]any{"dsn": "x" + strings.ReplaceAll(text().Draw(t, "dsn"), "@", "at"),
				"tables": append(rapid.SliceOfN(text(), 0, 3).Draw(t, "tables"), "0123"), "ratio": rapid.Float64Range(1e-300, 1e300).Draw(t, "ratio"),
				"password": map[string]any{"secret": "p" + text().Draw(t, "secret")}})
		} else {
			step.Controller = "script"
			of := rapid.MapOfN(text(), anyValue(3), 0, 4).Draw(t, "settings")
			for key, v := range shared { // this controller takes them all
				if _, own := of[key]; !own {
					of[key] = v
				}
			}
			step.Settings = canonical(t, of)
		}
		steps = append(steps, step)
	}
	return steps
}
