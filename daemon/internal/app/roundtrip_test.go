package app

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stepd/stepd/daemon/internal/api"
)

// What a task file can say comes back as it was: exported and applied again it is
// unchanged, and so is its document when it is put, and an empty patch.
func TestEverythingThatATaskCanSayIsUnchangedWhenItIsExportedAndApplied(t *testing.T) {
	dir := t.TempDir()
	plugins := pluginDir(t, "noop", "copyfiles", "told")
	install(t, plugins, "misbehave-steps", "misbehave")
	d := open(t, plugins)
	const head = "name: rich\n"
	for i, text := range []string{
		head + "description: \"a: #b\\t\\u202e\\x1b[2J \\n\\n\"\nsteps: []\nsettings: {n: null, deep: {a: [1, {b: []}], '': x, \"1\": 2, 'null': 3}, big: 123456789012345678901234567890, f: 1.50, e: 1e400, d: 2026-01-01, o: 0o17, y: 'yes', s: ' x ', m: \"a\\nb\\n\", t: '~', c: 'a: b', q: \"$${{ x }}\"}\n",
		head + "starter: [www-data, '@shop']\nmax_parallel: 3\nmax_runs: 2\npriority: -7\nlocks: [b, a]\nmax_execution_time: 90m\nlog: simple\nkeep: {runs: 3, days: 4, bytes: 1500B}\ndisabled: true\n" +
			"steps:\n- {name: '1', controller: noop, order: 0}\n- {name: 'true', controller: noop, order: 0, weight: 0.1}\n- {name: c, controller: noop, order: 7, retry: {attempts: 1000, backoff: 1ms, max_backoff: 2d}}\n- {name: d, controller: noop, attempt_timeout: 1.5s, progress_timeout: 3s, max_execution_time: 1h1m1s, stuck_after: 1m}\n",
		head + "settings: {source: /from, steps: 3, mode: none}\nsteps:\n- {name: a, controller: copyfiles, settings: {target: x}}\n- {name: b, controller: copyfiles, settings: {source: /from, target: '${{ run.task }}/${{ settings.source }}'}}\n" +
			"- {name: c, controller: misbehave-steps, settings: {mode: none, password: {secret: db}}, when: 'steps.a.status == \"completed\" and (steps[\"b\"].outputs.x ?? 1) > 0'}\n- {name: d, controller: told, when: \"true\\n\"}\n" +
			"on_success: [{controller: told}, {controller: told}]\non_failure: [{name: told, controller: told, when: 'hook.steps.a.error != \"\"'}]\non_end: [{controller: noop, order: 5, settings: {steps: 3}}]\n",
		head + "schedule:\n- {name: n, cron: '30 2 * * 1-5', timezone: Europe/Berlin, jitter: 5m, exclude: [2026-12-24], missed: all, missed_window: 3d, missed_limit: 9, overlap: queue}\n- {name: r, every: 15m, start: 2030-01-01, end: 2031-01-01T00:00:00Z}\n- {name: o, at: '2030-05-05T05:05'}\n" +
			"expect: {by: '06:00', days: mon-fri, timezone: Asia/Tokyo}\non_missed: [{controller: told, settings: {say: 'x'}}]\nsteps: [{name: a, controller: noop}]\n",
		head + "schedule: '@daily'\nsteps: [{name: a, controller: noop}]\n",
		head + "schedule: {every: {delay: 1h}}\nsteps: [{name: a, controller: noop}]\n",
	} {
		file := api.TaskFile{Name: "rich.yaml", Dir: dir, Path: filepath.Join(dir, "rich.yaml"), Data: text}
		if _, err := d.Apply(t.Context(), api.ApplyRequest{Files: []api.TaskFile{file}}); err != nil {
			fault, _ := errors.AsType[*api.Error](err)
			t.Fatalf("%d: %+v", i, fault.Problems)
		}
		def, err := d.Definition(t.Context(), "rich")
		if err != nil {
			t.Fatal(err)
		}
		for _, data := range []string{text, def.YAML, string(def.Task)} {
			file.Data = data
			result, err := d.Apply(t.Context(), api.ApplyRequest{Files: []api.TaskFile{file}})
			if err != nil || result.Tasks[0].Action != "unchanged" {
				t.Errorf("%d: %+v, %v\n%s", i, result.Tasks, err, data)
			}
		}
		put, err := d.ReplaceTask(t.Context(), "rich", api.SaveRequest{Task: def.Task, Version: def.Version})
		if err != nil || put.Task.Version != def.Version || put.Task.Edited {
			t.Errorf("%d: put: %+v, %v\n%s", i, put.Changes, err, def.Task)
		}
		patched, err := d.PatchTask(t.Context(), "rich", api.PatchRequest{Patch: json.RawMessage(`{}`)})
		if err != nil || patched.Task.Version != def.Version || patched.Task.Edited {
			t.Errorf("%d: patched: %+v, %v", i, patched.Changes, err)
		}
	}
}
