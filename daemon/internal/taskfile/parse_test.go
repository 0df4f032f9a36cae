package taskfile_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

const backup = `name: backup
description: Nightly backup of the shop
settings: {backup_dir: ./backups}
max_parallel: 2
max_execution_time: 1d2h
disabled: true
steps:
  - name: tables
    controller: dumptables
    settings: {dsn: "sqlite:./shop.db", mode: recreate, tables: ["*"]}
    interrupt_on_step_fault: true
    weight: 2.5
  - name: files
    controller: copyfiles
    settings: {source: ./shop, include: [image/**, download/**], backup_dir: ./elsewhere}
    retry: {attempts: 3, backoff: 2s, max_backoff: 1m}
    max_execution_time: 10m
    attempt_timeout: 4m30s
    progress_timeout: 1500ms
  - name: archive
    controller: compress
    settings: {format: tar.zst}
`

func TestParseReadsEverything(t *testing.T) {
	got := mustParse(t, backup)
	want := task.Task{
		Name: "backup", Description: "Nightly backup of the shop", Dir: "/srv/shop",
		Settings:    []byte(`{"backup_dir":"./backups"}`),
		MaxParallel: 2, MaxExecutionTime: 26 * time.Hour, Disabled: true,
		Steps: []task.Step{
			{Name: "tables", Controller: "dumptables", Order: 1, InterruptOnStepFault: true, Weight: 2.5,
				Settings: []byte(`{"backup_dir":"./backups","dsn":"sqlite:./shop.db","mode":"recreate","tables":["*"]}`)},
			{Name: "files", Controller: "copyfiles", Order: 2,
				Settings: []byte(`{"backup_dir":"./elsewhere","include":["image/**","download/**"],"source":"./shop"}`),
				Retry:    task.Retry{Attempts: 3, Backoff: 2 * time.Second, MaxBackoff: time.Minute},
				Limits:   task.Limits{MaxExecutionTime: 10 * time.Minute, AttemptTimeout: 270 * time.Second, ProgressTimeout: 1500 * time.Millisecond}},
			{Name: "archive", Controller: "compress", Order: 3, Settings: []byte(`{"backup_dir":"./backups","format":"tar.zst"}`)},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

// settingsOf parses one step with the given settings and returns them as read.
func settingsOf(t *testing.T, controller, settings string) string {
	t.Helper()
	got := mustParse(t, fmt.Sprintf("name: x\nsteps:\n  - name: a\n    controller: %s\n    settings: %s\n", controller, settings))
	return string(got.Steps[0].Settings)
}

func TestSettingsAreReadBySchema(t *testing.T) {
	for _, c := range []struct{ controller, yaml, want string }{
		// Text keeps what was written, whatever YAML makes of it.
		{"dumptables", `{dsn: 0123}`, `{"dsn":"0123"}`},
		{"dumptables", `{dsn: 1.10}`, `{"dsn":"1.10"}`},
		{"dumptables", `{dsn: 2026-01-02}`, `{"dsn":"2026-01-02"}`},
		{"dumptables", `{dsn: yes}`, `{"dsn":"yes"}`},
		{"dumptables", `{dsn: True}`, `{"dsn":"True"}`},
		{"dumptables", `{dsn: 0x1F}`, `{"dsn":"0x1F"}`},
		{"dumptables", `{dsn: 1_000}`, `{"dsn":"1_000"}`},
		{"dumptables", `{dsn: .inf}`, `{"dsn":".inf"}`},
		{"dumptables", `{dsn: ~}`, `{"dsn":"~"}`},
		{"dumptables", `{dsn: x, tables: [0123, 1e3, null, off, 12:30]}`, `{"dsn":"x","tables":["0123","1e3","null","off","12:30"]}`},
		{"dumptables", `{dsn: &v 007, mode: recreate, tables: [*v]}`, `{"dsn":"007","mode":"recreate","tables":["007"]}`},
		{"compress", `{format: 1.10}`, `{"format":"1.10"}`},
		{"compress", `{format: 0123}`, `{"format":"0123"}`},
		{"copyfiles", `{source: x, include: 0123}`, `{"include":"0123","source":"x"}`},
		{"copyfiles", `{source: x, include: [0123]}`, `{"include":["0123"],"source":"x"}`},
		{"sendmail", `{to: [a@b.example], smtp: {host: 10.1, password: {secret: 0123}}, headers: {X-Prio: 1}}`,
			`{"headers":{"X-Prio":"1"},"smtp":{"host":"10.1","password":{"secret":"0123"}},"to":["a@b.example"]}`},
		{"tree", `{root: {label: 1, children: [{label: 2.0, children: [{label: 03}]}]}}`,
			`{"root":{"children":[{"children":[{"label":"03"}],"label":"2.0"}],"label":"1"}}`},
		// A nullable text may be nothing, and is nothing when it says so.
		{"compress", `{format: tar.gz, label: null}`, `{"format":"tar.gz","label":null}`},
		{"compress", `{format: tar.gz, label: 1.0}`, `{"format":"tar.gz","label":"1.0"}`},
		// Numbers stay numbers where numbers are wanted.
		{"copyfiles", `{source: x, mode: 0644}`, `{"mode":420,"source":"x"}`},
		{"copyfiles", `{source: x, mode: 0o644}`, `{"mode":420,"source":"x"}`},
		{"dumptables", `{dsn: x, rows: 1e3, ratio: 1.50}`, `{"dsn":"x","ratio":1.5,"rows":1000}`},
		// Without a schema YAML's own types hold, and dates are text.
		{"script", `{a: 0123, b: 1.10, c: 2026-01-02, d: yes, e: true, f: ~, g: !!str 5, h: 18446744073709551616}`,
			`{"a":83,"b":1.1,"c":"2026-01-02","d":"yes","e":true,"f":null,"g":"5","h":18446744073709551616}`},
		{"script", `{1: a, true: b, 1.5: c}`, `{"1":"a","1.5":"c","true":"b"}`},
		{"script", `{z: 1, a: {c: 2, b: 3}}`, `{"a":{"b":3,"c":2},"z":1}`},
		{"script", `{}`, `{}`},
		{"script", ``, `{}`},
	} {
		if got := settingsOf(t, c.controller, c.yaml); got != c.want {
			t.Errorf("%s %s\n got %s\nwant %s", c.controller, c.yaml, got, c.want)
		}
	}
}

func TestSettingsOfTheTask(t *testing.T) {
	t.Run("each step takes what its controller has a word for, or all", func(t *testing.T) {
		got := mustParse(t, `name: x
settings: {backup_dir: 0123, keep: 012}
steps:
  - {name: a, controller: copyfiles, settings: {source: s}}
  - {name: b, controller: script/rotate}
  - {name: c, controller: script}
`)
		for i, want := range []string{`{"backup_dir":"0123","source":"s"}`, `{"backup_dir":"0123","keep":10}`, `{"backup_dir":"0123","keep":10}`} {
			if string(got.Steps[i].Settings) != want {
				t.Errorf("step %d: got %s, want %s", i, got.Steps[i].Settings, want)
			}
		}
		if want := `{"backup_dir":"0123","keep":10}`; string(got.Settings) != want {
			t.Errorf("task: got %s, want %s", got.Settings, want)
		}
	})
	t.Run("an open schema takes what nobody has a word for", func(t *testing.T) {
		got := mustParse(t, "name: x\nsettings: {anything: 2026-01-02}\nsteps: [{name: a, controller: copyfiles, settings: {source: s}}, {name: b, controller: script}]\n")
		if a, b := string(got.Steps[0].Settings), string(got.Steps[1].Settings); a != `{"source":"s"}` || b != `{"anything":"2026-01-02"}` {
			t.Errorf("got %s and %s", a, b)
		}
	})
	t.Run("what an open schema says of others holds for them", func(t *testing.T) {
		_, err := parse(t, "name: x\nsettings: {a: {b: c}, d: {e: 5}}\nsteps: [{name: a, controller: labels}]\n")
		expect(t, err, "2:26 settings.d must be text, found a mapping | ")
	})
	t.Run("a plain secret is one even where each step has its own", func(t *testing.T) {
		_, err := parse(t, "name: x\nsettings: {password: hunter2}\nsteps: [{name: a, controller: dumptables, settings: {dsn: x, password: {secret: p}}}]\n")
		expect(t, err, "2:22 settings.password is a secret and must not be written here | "+secret)
	})
	t.Run("with an unknown controller nobody can say", func(t *testing.T) {
		_, err := parse(t, "name: x\nsettings: {a: 1}\nsteps: [{name: a, controller: nosuch}]\n")
		expect(t, err, "3:31 unknown controller \"nosuch\": no plugin serves it: not found | 'stepd plugins' lists what there is")
	})
	t.Run("else it is a fault with a hint", func(t *testing.T) {
		_, err := parse(t, "name: x\nsettings: {backup_dirr: 1}\nsteps: [{name: a, controller: copyfiles, settings: {source: s}}]\n")
		expect(t, err, `2:12 no step takes the setting "backup_dirr" | did you mean "backup_dir"?`)
	})
	t.Run("a bad one is reported once, where it stands", func(t *testing.T) {
		_, err := parse(t, "name: x\nsettings: {backup_dir: [1]}\nsteps:\n  - {name: a, controller: copyfiles, settings: {source: s}}\n  - {name: b, controller: copyfiles, settings: {source: s}}\n")
		expect(t, err, `2:24 settings.backup_dir must be text, found a list | `)
	})
}

func TestOrder(t *testing.T) {
	for _, c := range []struct {
		orders string
		want   []int
	}{
		{"- - -", []int{1, 2, 3}},
		{"5 - -", []int{5, 6, 7}},
		{"1 1 - 3", []int{1, 1, 2, 3}},
		{"- 1 1 -", []int{1, 1, 1, 2}},
		{"0 0 10", []int{0, 0, 10}},
	} {
		var b strings.Builder
		b.WriteString("name: x\nsteps:\n")
		for i, o := range strings.Fields(c.orders) {
			fmt.Fprintf(&b, "  - {name: s%d, controller: script%s}\n", i, map[bool]string{true: "", false: ", order: " + o}[o == "-"])
		}
		var got []int
		for _, s := range mustParse(t, b.String()).Steps {
			got = append(got, s.Order)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.orders, diff)
		}
	}
}

func TestAnchorsAndMerges(t *testing.T) {
	got := mustParse(t, `name: x
steps:
  - &first
    name: a
    controller: script
    settings: &s {deep: {x: 1}, y: 2}
    retry: &r {attempts: 3}
  - <<: *first
    name: b
    settings: {<<: [*s, {y: 9, z: 9}], y: 3}
  - {<<: *first, name: c, settings: *s, retry: *r}
`)
	for i, want := range []string{`{"deep":{"x":1},"y":2}`, `{"deep":{"x":1},"y":3,"z":9}`, `{"deep":{"x":1},"y":2}`} {
		if s := got.Steps[i]; string(s.Settings) != want || s.Retry.Attempts != 3 {
			t.Errorf("step %d: got %s and %v, want %s", i, s.Settings, s.Retry, want)
		}
	}
}

func TestEditorsAreForgiven(t *testing.T) {
	want := mustParse(t, backup)
	for name, text := range map[string]string{
		"byte order mark": "\ufeff" + backup,
		"CRLF":            strings.ReplaceAll(backup, "\n", "\r\n"),
		"BOM and CRLF":    "\ufeff" + strings.ReplaceAll(backup, "\n", "\r\n"),
		"tabs":            strings.ReplaceAll(backup, ": ", ":\t"),
		"document marks":  "---\n" + backup + "...\n",
		"comments":        "# c\n" + strings.ReplaceAll(backup, "\n", " # c\n"),
	} {
		if diff := cmp.Diff(want, mustParse(t, text)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestEachControllerIsLookedUpOnce(t *testing.T) {
	c := controllers()
	text := "name: x\nsteps:\n"
	for i := range 20 {
		text += fmt.Sprintf("  - {name: s%d, controller: %s}\n", i, []string{"script", "nosuch"}[i%2])
	}
	_, err := taskfile.Parse(t.Context(), taskfile.Source{Name: "f", Data: []byte(text)}, taskfile.Ports{Controllers: c, Schedules: new(fakeSchedules)})
	if e, ok := errors.AsType[*taskfile.Errors](err); !ok || len(e.Problems) != 10 {
		t.Errorf("want a problem for each of 10 steps, got %v", err)
	}
	if c.lookups["script"] != 1 || c.lookups["nosuch"] != 1 {
		t.Errorf("lookups: %v", c.lookups)
	}
}

func TestContextEndsParse(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := controllers()
	_, err := taskfile.Parse(ctx, taskfile.Source{Name: "f", Data: []byte(backup)}, taskfile.Ports{Controllers: c, Schedules: new(fakeSchedules)})
	if !errors.Is(err, context.Canceled) || errors.Is(err, task.ErrInvalid) || len(c.lookups) > 0 {
		t.Errorf("got %v after lookups %v", err, c.lookups)
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"2s": 2 * time.Second, "10m": 10 * time.Minute, "1h30m": 90 * time.Minute, "1d": 24 * time.Hour,
		"1.5d": 36 * time.Hour, "2d12h": 60 * time.Hour, "500ms": 500 * time.Millisecond, "0d1s": time.Second, "1ns": 1,
	} {
		if got, err := taskfile.ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "0s", "0d", "-1s", "-1d", "1d-1h", "1d+1h", "d", "10", "1w", "1dd", "1h1d", "infd", "0x1d", "1e3d", "nand", "1_0d", "1000000d", "106751d24h", "9999999h", " 1s", "1 s"} {
		if got, err := taskfile.ParseDuration(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}
