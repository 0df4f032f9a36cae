package taskfile_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

func changes(list []task.Change) (lines []string) {
	for _, c := range list {
		lines = append(lines, fmt.Sprintf("%s %s %s -> %s", c.Op, c.Path, c.Old, c.New))
	}
	return lines
}

func TestDiff(t *testing.T) {
	const base = "name: x\nsettings: {rows: 5}\nschedule: {name: night, cron: 0 1 * * *}\nsteps:\n" +
		"- {name: a, controller: dumptables, settings: {dsn: x, password: {secret: p}}}\n- {name: b, controller: script, settings: {m: {k: 1, l: [1, 2]}}}\n- {name: c, controller: script}\n"
	edit := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(base) }
	for _, c := range []struct {
		name, now string
		want      []string
	}{
		{"nothing", base, nil},
		{"written otherwise", edit("{name: c, controller: script}", "name: \"c\"\n  order: 3\n  controller: script"), nil},
		{"a field", edit("name: x\n", "name: x\nmax_runs: 2\ndescription: y\n"), []string{"added description  -> \"y\"", "added max_runs  -> 2"}},
		{"a setting of the task is one change", edit("rows: 5", "rows: 6"), []string{"changed settings.rows 5 -> 6"}},
		{"no setting", edit("settings: {rows: 5}\n", ""), []string{"removed settings.rows 5 -> "}},
		{"within a setting", edit("k: 1", "k: 2, 'a b': c", "[1, 2]", "[2]", "secret: p", "secret: q"), []string{
			`changed steps.a.settings.password.secret "p" -> "q"`, `added steps.b.settings.m["a b"]  -> "c"`, "changed steps.b.settings.m.k 1 -> 2", "changed steps.b.settings.m.l [1,2] -> [2]"}},
		{"a step more", edit("- {name: b", "- {name: n, controller: script, when: steps.a, settings: {z: 1}}\n- {name: b"), []string{
			`added steps.n  -> {"controller":"script","when":"steps.a","settings":{"z":1}}`}},
		{"a step less", edit("- {name: c, controller: script}\n", ""), []string{`removed steps.c {"controller":"script"} -> `}},
		{"a new name", edit("name: c", "name: d"), []string{`removed steps.c {"controller":"script"} -> `, `added steps.d  -> {"controller":"script"}`}},
		{"no step left", "name: x\nsettings: {rows: 5}\nschedule: {name: night, cron: 0 1 * * *}\n", []string{
			`removed steps.a {"controller":"dumptables","settings":{"dsn":"x","password":{"secret":"p"}}} -> `,
			`removed steps.b {"controller":"script","settings":{"m":{"k":1,"l":[1,2]}}} -> `, `removed steps.c {"controller":"script"} -> `}},
		{"an order", edit("{name: c, controller: script", "{name: c, controller: script, order: 2"), []string{"changed steps.c.order 3 -> 2"}},
		{"a schedule", edit("cron: 0 1", "cron: 0 2"), []string{`changed schedule.night.cron "0 1 * * *" -> "0 2 * * *"`}},
		{"another schedule", edit("night", "day"), []string{
			`removed schedule.night {"cron":"0 1 * * *","timezone":"Europe/Vienna"} -> `, `added schedule.day  -> {"cron":"0 1 * * *","timezone":"Europe/Vienna"}`}},
		{"one more schedule", edit("schedule: {name: night, cron: 0 1 * * *}", "schedule: [{every: 1h}, {name: night, cron: 0 1 * * *}]"), []string{
			`added schedule.every  -> {"every":"1h","timezone":"Europe/Vienna"}`}},
		{"keep", edit("name: x\n", "name: x\nkeep: {runs: 5}\n"), []string{`added keep  -> {"runs":5}`}},
		{"hooks", edit("steps:\n", "on_end: [{name: mail, controller: script}]\nsteps:\n"), []string{`added on_end.mail  -> {"controller":"script"}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, after := mustParse(t, base), mustParse(t, c.now)
			if diff := cmp.Diff(c.want, changes(taskfile.Diff(before, after))); diff != "" {
				t.Error(diff)
			}
			back := taskfile.Diff(after, before)
			if len(back) != len(c.want) {
				t.Errorf("back it is %q", changes(back))
			}
		})
	}
}

func TestDiffTellsTheFewestMoves(t *testing.T) {
	for _, c := range []struct {
		old, now string
		want     []string
	}{
		{"a1 b2 c3", "b1 c2 a3", []string{"moved steps.a 1 -> 3"}},
		{"a1 b2 c3", "c1 a2 b3", []string{"moved steps.c 3 -> 1"}},
		{"a1 b2 c3 d4", "d1 c2 b3 a4", []string{"moved steps.d 4 -> 1", "moved steps.c 3 -> 2", "moved steps.b 2 -> 3"}},
		{"a1 b2 c3", "a1 c2", []string{`removed steps.b {"controller":"script"} -> `}},
		{"a1 b1", "a1 b2", []string{"changed steps.b.order 1 -> 2"}},
		{"a1 b1", "b1", []string{`removed steps.a {"controller":"script"} -> `}},
		{"a5 b6", "a7 b8", []string{"changed steps.a.order 5 -> 7"}}, // the other follows
	} {
		if diff := cmp.Diff(c.want, changes(taskfile.Diff(ordered(t, c.old), ordered(t, c.now)))); diff != "" {
			t.Errorf("%s to %s: %s", c.old, c.now, diff)
		}
	}
}

func TestAMovedFileIsADifference(t *testing.T) {
	old := ordered(t, "a1")
	now := old
	now.Dir = "/elsewhere"
	if got := changes(taskfile.Diff(old, now)); !slices.Equal(got, []string{`changed dir "/srv/shop" -> "/elsewhere"`}) {
		t.Errorf("%q", got)
	}
	now = old
	now.Version, now.Pause, now.UpdatedBy, now.Source, now.Edited = 9, &task.Pause{}, "x", "/a", true
	if got := taskfile.Diff(old, now); got != nil {
		t.Errorf("%v", got)
	}
}

// A difference is found exactly where there is one, in both directions.
func TestDiffIsComplete(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old, now := anyTask(t), anyTask(t)
		now.Name = old.Name
		if rapid.Bool().Draw(t, "same steps") {
			now = old
			now.Steps = slices.Clone(old.Steps)
			rapid.SampledFrom([]func(){
				func() { now.Description += "x" }, func() { now.Priority++ }, func() { now.Locks = append(slices.Clip(now.Locks), "zz") },
				func() { now.Disabled = !now.Disabled }, func() { now.Keep.Bytes += 7 }, func() {},
				func() {
					for i := range now.Steps {
						now.Steps[i].Limits.StuckAfter++
					}
				},
				func() { slices.Reverse(now.Schedules) },
			}).Draw(t, "change")()
		}
		there, back := taskfile.Diff(old, now), taskfile.Diff(now, old)
		if len(taskfile.Diff(old, old)) > 0 || len(taskfile.Diff(now, now)) > 0 {
			t.Fatal("a task differs from itself")
		}
		same := string(document(t, old)) == string(document(t, now))
		if same && len(there) > 0 || !same && len(there) == 0 && !sameOrders(old, now) {
			t.Fatalf("same: %v, changes: %q", same, changes(there))
		}
		opposite := map[task.ChangeOp]task.ChangeOp{task.Added: task.Removed, task.Removed: task.Added, task.Changed: task.Changed}
		was := map[string]task.Change{}
		for _, c := range back {
			if c.Op != task.Moved {
				was[c.Path] = c
			}
		}
		for _, c := range there {
			if c.Op == task.Moved {
				continue
			}
			of, found := was[c.Path]
			if !found || of.Op != opposite[c.Op] || string(of.Old) != string(c.New) || string(of.New) != string(c.Old) || string(c.Old) == string(c.New) {
				t.Fatalf("%v, and back %v", c, of)
			}
			delete(was, c.Path)
		}
		if len(was) > 0 {
			t.Fatalf("only back: %v", slices.Collect(maps.Keys(was)))
		}
	})
}

func document(t *rapid.T, of task.Task) json.RawMessage {
	doc, err := taskfile.Document(of)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// sameOrders: their steps run in the same way, however their orders are written.
func sameOrders(a, b task.Task) bool {
	for _, of := range []*task.Task{&a, &b} {
		of.Steps = slices.Clone(of.Steps)
		place, before := 0, -1
		for i := range of.Steps {
			if of.Steps[i].Order != before {
				place++
			}
			before, of.Steps[i].Order = of.Steps[i].Order, place
		}
	}
	return cmp.Equal(a, b)
}
