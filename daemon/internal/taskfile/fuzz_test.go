package taskfile_test

import (
	"context"
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
	})
}
