package taskfile_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepd/stepd/daemon/internal/taskfile"
)

// FuzzParse holds that no file ends the daemon, that faults have positions
// that exist, and that what was accepted survives Format.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, seed := range []string{
		backup,
		"name: x\nsteps: &s [{name: a, controller: tree, settings: {root: &r {label: 0x1, children: [*r]}}}]\n",
		"name: x\nsettings: {<<: [{a: 1}, {b: 2}], c: !!int x}\nsteps: [{name: a, controller: branchy, settings: {a: {b: {c: 1}}}}]\n",
		"name: x\nsteps:\n- {name: a, controller: sendmail, settings: {to: [a@b.c], smtp: {host: h, port: 1_0, password: {secret: p}}, headers: {a: ~, b: .nan}}}\n",
		"name: x\nsteps:\n- {name: a, controller: loop}\n- {name: b, controller: broken}\n- {name: c, controller: compress, settings: {format: 1.10, label: , since: 2026-01-02}}\n",
		"name: x\nschedule: [0 1 * * *, {name: n, at: 2026-12-24T18:00, exclude: [12-25], overlap: queue}, {every: {rate: 1h, anchor: 2026-01-01}}, {every: {delay: 1d}, missed: all, missed_limit: 2}]\n" +
			"expect: {by: 06:00, days: mon-fri}\non_missed: [{controller: script}, {controller: script/rotate}, {name: script, controller: script}]\nsteps: [{name: a, controller: script}]\n",
		"name: x\nschedule: {cron: \"\\t bad\", every: {rate: 1ns, delay: 1s}, exclude: [bad, [a]], missed: all\nexpect: &e {by: *e}\nsteps: [{name: a, controller: script}]\n",
		"name: x\nkeep: {bytes: 1.5GiB, runs: 0x10}\nlocks: [a, a]\nstarter: ['@a', b]\nsettings: {e: '${{ bad }} $${{', f: [\"${{ steps.a }}\"]}\nsteps:\n- {name: a, controller: script, when: \"steps.b \\\n  bad\"}\n- {name: b, controller: copyfiles, settings: {source: '${{'}, stuck_after: 1s}\n",
		"? - a\n: |\n  x\n<<: *a\n--- >-\n x\n...\n",
		"\ufeffname: \"\\x00\\u2028\"\r\nsteps:\t[]\r",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		src := taskfile.Source{Name: "f", Dir: "/srv", Data: data}
		got, err := taskfile.Parse(context.Background(), src, ports())
		if err != nil {
			e, ok := errors.AsType[*taskfile.Errors](err)
			if !ok || len(e.Problems) == 0 {
				t.Fatalf("no problems in %v", err)
			}
			for i, p := range e.Problems {
				if p.Line < 1 || p.Column < 1 || p.Message == "" || i > 0 && p.Line < e.Problems[i-1].Line {
					t.Fatalf("problem %d: %+v", i, p)
				}
			}
			_ = e.Error()
			return
		}
		out, err := taskfile.Format(got)
		if err != nil {
			t.Fatal(err)
		}
		again, err := taskfile.Parse(context.Background(), taskfile.Source{Name: "f", Dir: "/srv", Data: out}, ports())
		if err != nil {
			t.Fatalf("%v\nof\n%s", err, out)
		}
		if diff := cmp.Diff(got, again); diff != "" {
			t.Fatalf("%s\nof\n%s", diff, out)
		}
		doc, err := taskfile.Document(got)
		if err != nil {
			t.Fatal(err)
		}
		again, err = taskfile.Parse(context.Background(), taskfile.Source{Name: "f", Dir: "/srv", Data: doc, JSON: true}, ports())
		if diff := cmp.Diff(got, again); err != nil || diff != "" || len(taskfile.Diff(got, again)) > 0 {
			t.Fatalf("%v %s\nof\n%s", err, diff, doc)
		}
	})
}

// FuzzDocument holds the same of documents, that what is no task is refused with
// paths, and that edits of what is one never go wrong.
func FuzzDocument(f *testing.F) {
	for _, seed := range []string{
		`{"name": "x", "steps": [{"name": "a", "controller": "script", "settings": {"a": [1e3, "${{ x }}", {"secret": "y"}]}}]}`,
		`{"name": "x", "settings": {"rows": 1}, "steps": [{"name": "a", "controller": "dumptables", "settings": {"dsn": ""}, "order": 0}], "on_end": [{"controller": "tree"}]}`,
		`{"name": null, "name": 1, "steps": {"a": {}}}`, `[[[[`, `{"schedule": ["0 1 * * *", {"every": {"rate": "1h"}}], "name": "s"}`,
	} {
		f.Add([]byte(seed), []byte(`{"steps": null, "name": "y", "settings": {"a": {"b": null}}}`))
	}
	f.Fuzz(func(t *testing.T, data, patch []byte) {
		got, err := taskfile.Parse(context.Background(), taskfile.Source{Name: "f", Dir: "/srv", Data: data, JSON: true}, ports())
		if err != nil {
			e, ok := errors.AsType[*taskfile.Errors](err)
			if !ok || len(e.Problems) == 0 || e.Problems[0].Line != 0 {
				t.Fatalf("no problems in %v", err)
			}
			_ = e.Error()
			return
		}
		for _, edit := range []func() (json.RawMessage, error){
			func() (json.RawMessage, error) { return taskfile.MergePatch(got, patch) },
			func() (json.RawMessage, error) { return taskfile.AddStep(got, patch, "", "a") },
			func() (json.RawMessage, error) { return taskfile.PatchStep(got, "a", patch) },
			func() (json.RawMessage, error) { return taskfile.RemoveStep(got, "a") },
		} {
			if doc, err := edit(); err == nil {
				now, err := taskfile.Parse(context.Background(), taskfile.Source{Name: "f", Dir: "/srv", Data: doc, JSON: true}, ports())
				if err == nil {
					taskfile.Diff(got, now)
				}
			}
		}
		_, _ = taskfile.Override(context.Background(), got, map[string]json.RawMessage{"a": patch, "a.b": data}, ports())
	})
}
