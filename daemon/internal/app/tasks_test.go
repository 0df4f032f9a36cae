package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepd/stepd/daemon/internal/api"
)

// wantCode holds that an answer is that refusal, and returns it.
func wantCode(t *testing.T, err error, code api.Code) *api.Error {
	t.Helper()
	fault, ok := errors.AsType[*api.Error](err)
	if !ok || fault.Code != code {
		t.Errorf("want %s, got %v", code, err)
		return &api.Error{}
	}
	return fault
}

func create(t *testing.T, d *inside, doc string) api.Saved {
	t.Helper()
	saved, err := d.CreateTask(t.Context(), api.SaveRequest{Task: json.RawMessage(doc)})
	if err != nil {
		t.Fatalf("create %s: %+v", doc, err)
	}
	return saved
}

func names(steps []api.TaskStep) string {
	var list []string
	for _, s := range steps {
		list = append(list, fmt.Sprint(s.Name, s.Order))
	}
	return strings.Join(list, " ")
}

func told(list []api.Change) (lines []string) {
	for _, c := range list {
		lines = append(lines, strings.TrimRight(fmt.Sprintf("%s %s %s %s", c.Op, c.Path, c.Old, c.New), " "))
	}
	return lines
}

// The predecessor silently deleted a task when another was added under its name.
func TestAnExistingNameIsNeverReplaced(t *testing.T) {
	d := open(t, pluginDir(t, "noop"))
	made := create(t, d, `{"name": "t", "steps": [{"name": "one", "controller": "noop", "settings": {"steps": 3}}]}`)
	wantCompleted(t, d.Client, await(t, d.Client, begin(t, d.Client, "t")))
	_, err := d.CreateTask(t.Context(), api.SaveRequest{Task: json.RawMessage(`{"name": "t"}`)})
	wantCode(t, err, api.CodeExists)
	_, err = d.ReplaceTask(t.Context(), "t", api.SaveRequest{Task: json.RawMessage(`{"name": "t"}`)})
	wantCode(t, err, api.CodeInvalid)
	_, err = d.Apply(t.Context(), request(t.TempDir(), "name: t\nsteps: [{name: other, controller: noop}]\n"))
	fault := wantCode(t, err, api.CodeConflict)
	if len(fault.Tasks) != 1 || fault.Tasks[0].File != "task0.yaml" || !strings.Contains(fault.Tasks[0].Reason, "without a file") || len(fault.Tasks[0].Changes) == 0 {
		t.Errorf("%+v", fault)
	}
	now, err := d.Task(t.Context(), "t")
	if err != nil || now.Version != made.Task.Version || len(now.Steps) != 1 || now.LastRun == nil || now.LastRun.Number != 1 {
		t.Errorf("%+v, %v", now, err)
	}
}

// The predecessor left a task unfinished for ever when its last step was deleted.
func TestATaskWithoutItsLastStepIsADraft(t *testing.T) {
	d := open(t, pluginDir(t, "noop"))
	create(t, d, `{"name": "t", "settings": {"steps": 2}, "schedule": "0 3 * * *", "steps": [{"name": "one", "controller": "noop"}]}`)
	wantCompleted(t, d.Client, await(t, d.Client, begin(t, d.Client, "t")))
	gone, err := d.DeleteStep(t.Context(), "t", "one", 1)
	if err != nil || gone.Task.Status != "draft" || gone.Task.StepCount != 0 || gone.Task.Version != 2 {
		t.Fatalf("%+v, %v", gone, err)
	}
	if got := told(gone.Changes); !slices.Equal(got, []string{`removed steps.one {"controller":"noop"}`}) {
		t.Errorf("%q", got)
	}
	_, err = d.Start(t.Context(), api.RunRequest{Task: "t"})
	if fault := wantCode(t, err, api.CodeState); !strings.Contains(fault.Message, "no steps yet") {
		t.Error(fault)
	}
	_, err = d.DeleteStep(t.Context(), "t", "one", 0)
	wantCode(t, err, api.CodeNotFound)
	back, err := d.AddStep(t.Context(), "t", api.StepRequest{Step: json.RawMessage(`{"name": "two", "controller": "noop"}`)})
	if err != nil || back.Task.Status != "scheduled" || string(back.Task.Steps[0].Settings) != `{"steps":2}` {
		t.Fatalf("%+v, %v", back, err)
	}
	run := await(t, d.Client, begin(t, d.Client, "t"))
	wantCompleted(t, d.Client, run)
	if run.Number != 2 || run.TaskVersion != 3 {
		t.Errorf("%+v", run)
	}
}

// The life of a task over the socket, with every setting whole after each edit.
func TestTasksAndStepsAsData(t *testing.T) {
	d := open(t, pluginDir(t, "noop", "copyfiles"))
	ctx := t.Context()
	const big = `{"name": "t", "description": "d", "starter": ["www-data", "@shop"], "max_parallel": 2, "max_runs": 3, "priority": 7, "locks": ["db"],` +
		`"max_execution_time": "1h", "log": "detailed", "keep": {"runs": 5, "days": 6, "bytes": "10GiB"}, "settings": {"steps": 4},` +
		`"schedule": {"cron": "0 3 * * *", "timezone": "UTC"}, "steps": [` +
		`{"name": "a", "controller": "noop", "when": "run.number > 0", "interrupt_on_step_fault": true, "weight": 2, "retry": {"attempts": 2, "backoff": "1s"}, "stuck_after": "5m"},` +
		`{"name": "b", "controller": "copyfiles", "settings": {"source": "/from", "target": "${{ run.task }}"}}],` +
		`"on_end": [{"name": "e", "controller": "noop", "when": "hook.status == \"failed\""}]}`
	made := create(t, d, big)
	if made.Task.Status != "scheduled" || !made.Task.Edited || made.Task.Source != "" || made.Task.CreatedBy == "" || made.Task.UpdatedBy != made.Task.CreatedBy ||
		made.Task.Dir != filepath.Join(d.config.DataDir, "files") || *made.Task.Keep != (api.Keep{Runs: 5, Days: 6, Bytes: 10 << 30}) ||
		made.Task.Steps[0].When != "run.number > 0" || made.Task.Steps[0].StuckAfter != "5m0s" {
		t.Errorf("%+v", made.Task)
	}
	def, err := d.Definition(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	// What is read can be written back, and is no change.
	same, err := d.ReplaceTask(ctx, "t", api.SaveRequest{Task: def.Task, Version: 1})
	if err != nil || same.Task.Version != 1 || same.Changes != nil {
		t.Errorf("%+v, %v", same, err)
	}
	if valid, err := d.Validate(ctx, []api.TaskFile{{Name: "x", Dir: "/", Data: def.YAML}}); err != nil || len(valid.Tasks) != 1 {
		t.Errorf("%+v, %v", valid, err)
	}
	// Edits of all kinds, there and back.
	edit := func(saved api.Saved, err error) {
		t.Helper()
		if err != nil || len(saved.Changes) == 0 {
			t.Fatalf("%+v, %+v", saved.Changes, err)
		}
	}
	edit(d.AddStep(ctx, "t", api.StepRequest{Step: json.RawMessage(`{"name": "n", "controller": "noop", "settings": {"steps": 1}}`), After: "a"}))
	edit(d.OrderSteps(ctx, "t", api.OrderRequest{Steps: []string{"n", "b", "a"}}))
	if list, err := d.TaskSteps(ctx, "t"); err != nil || names(list.Items) != "n1 b2 a3" || *list.Total != 3 {
		t.Errorf("%+v, %v", list, err)
	}
	edit(d.OrderSteps(ctx, "t", api.OrderRequest{Steps: []string{"a", "n", "b"}}))
	edit(d.PatchStep(ctx, "t", "n", api.PatchRequest{Patch: json.RawMessage(`{"name": "m", "settings": {"steps": null}, "weight": 5}`)}))
	if one, err := d.TaskStep(ctx, "t", "m"); err != nil || one.Weight != 5 || string(one.Settings) != `{"steps":4}` || one.Order != 2 {
		t.Errorf("%+v, %v", one, err)
	}
	edit(d.DeleteStep(ctx, "t", "m", 0))
	edit(d.PatchTask(ctx, "t", api.PatchRequest{Patch: json.RawMessage(`{"locks": null, "keep": {"days": null}, "settings": {"steps": 9}}`)}))
	edit(d.PatchTask(ctx, "t", api.PatchRequest{Patch: json.RawMessage(`{"locks": ["db"], "keep": {"days": 6}, "settings": {"steps": 4}}`)}))
	again, err := d.Definition(ctx, "t")
	if diff := cmp.Diff(string(def.Task), string(again.Task)); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	// One that does not go through changes nothing.
	for _, bad := range []struct{ patch, path string }{
		{`{"name": "other"}`, "name"}, {`{"max_runs": 0}`, "max_runs"}, {`{"steps": [{"name": "a"}]}`, "steps[0].controller"},
		{`{"settings": {"steps": "many"}}`, "settings.steps"}, {`{"on_end": [{"controller": "noop", "when": "steps.zzz.status"}]}`, "on_end[0].when"},
	} {
		_, err := d.PatchTask(ctx, "t", api.PatchRequest{Patch: json.RawMessage(bad.patch)})
		fault := wantCode(t, err, api.CodeInvalid)
		if len(fault.Problems) == 0 || fault.Problems[0].Path != bad.path || fault.Problems[0].Line != 0 {
			t.Errorf("%s: %+v", bad.patch, fault.Problems)
		}
	}
	for _, err := range []error{
		second(d.PatchTask(ctx, "t", api.PatchRequest{Patch: json.RawMessage(`[]`)})),
		second(d.AddStep(ctx, "t", api.StepRequest{Step: json.RawMessage(`{"name": "a", "controller": "noop"}`)})),
		second(d.OrderSteps(ctx, "t", api.OrderRequest{Steps: []string{"a"}})),
		second(d.CreateTask(ctx, api.SaveRequest{Task: json.RawMessage(`{"name": "u"}`), Dir: "relative"})),
	} {
		wantCode(t, err, api.CodeInvalid)
	}
	_, err = d.TaskStep(ctx, "t", "zzz")
	wantCode(t, err, api.CodeNotFound)
	if now, err := d.Task(ctx, "t"); err != nil || now.Version != same.Task.Version+7 {
		t.Errorf("version %d, %v", now.Version, err)
	}
}

// A stale write is refused with what has changed since.
func TestAStaleWriteIsToldWhatHasChanged(t *testing.T) {
	d := open(t, pluginDir(t, "noop"))
	ctx := t.Context()
	create(t, d, `{"name": "t", "steps": [{"name": "a", "controller": "noop"}]}`)
	if _, err := d.PatchStep(ctx, "t", "a", api.PatchRequest{Patch: json.RawMessage(`{"settings": {"steps": 2}}`), Version: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.SetDisabled(ctx, "t", true); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"put":    second(d.ReplaceTask(ctx, "t", api.SaveRequest{Task: json.RawMessage(`{"name": "t"}`), Version: 1})),
		"patch":  second(d.PatchTask(ctx, "t", api.PatchRequest{Patch: json.RawMessage(`{"description": "x"}`), Version: 1})),
		"add":    second(d.AddStep(ctx, "t", api.StepRequest{Step: json.RawMessage(`{"name": "b", "controller": "noop"}`), Version: 1})),
		"step":   second(d.PatchStep(ctx, "t", "a", api.PatchRequest{Patch: json.RawMessage(`{}`), Version: 1})),
		"order":  second(d.OrderSteps(ctx, "t", api.OrderRequest{Steps: []string{"a"}, Version: 1})),
		"delete": second(d.DeleteStep(ctx, "t", "a", 1)),
		"gone":   d.DeleteTask(ctx, "t", 1),
	} {
		fault := wantCode(t, err, api.CodeConflict)
		want := []string{"added disabled  true", "added steps.a.settings.steps  2"}
		if got := told(fault.Changes); fault.Version != 3 || !slices.Equal(got, want) {
			t.Errorf("%s: version %d, %q", what, fault.Version, got)
		}
	}
	if err := d.DeleteTask(ctx, "t", 3); err != nil {
		t.Error(err)
	}
}

// Whoever names no directory gets one in which no path can do harm.
func TestRelativePathsOfATaskWithoutADirectory(t *testing.T) {
	d := open(t, pluginDir(t, "copyfiles"))
	files := filepath.Join(d.config.DataDir, "files")
	made := create(t, d, `{"name": "t", "steps": [{"name": "a", "controller": "copyfiles", "settings": {"source": "in", "target": "out"}}]}`)
	writeFile(t, filepath.Join(files, "in", "x"), "hello")
	wantCompleted(t, d.Client, await(t, d.Client, begin(t, d.Client, "t")))
	if data, err := os.ReadFile(filepath.Join(files, "out", "x")); err != nil || string(data) != "hello" || made.Task.Dir != files {
		t.Errorf("%q, %v", data, err)
	}
	// One that names it keeps it through edits, and a PUT may name another.
	dir := t.TempDir()
	saved, err := d.CreateTask(t.Context(), api.SaveRequest{Task: json.RawMessage(`{"name": "u"}`), Dir: dir})
	if err != nil || saved.Task.Dir != dir {
		t.Fatalf("%+v, %v", saved, err)
	}
	saved, err = d.PatchTask(t.Context(), "u", api.PatchRequest{Patch: json.RawMessage(`{"description": "x"}`)})
	if err != nil || saved.Task.Dir != dir {
		t.Errorf("%+v, %v", saved, err)
	}
	saved, err = d.ReplaceTask(t.Context(), "u", api.SaveRequest{Task: json.RawMessage(`{"description": "x"}`), Dir: "/else/where/", Version: 2})
	if err != nil || saved.Task.Dir != "/else/where" || len(saved.Changes) != 1 || saved.Changes[0].Path != "dir" {
		t.Errorf("%+v, %v", saved, err)
	}
}

func TestExportIsWhatApplyTakes(t *testing.T) {
	d := open(t, pluginDir(t, "noop"))
	ctx := t.Context()
	for i := range 5 {
		create(t, d, fmt.Sprintf(`{"name": "t%d", "steps": [{"name": "a", "controller": "noop", "settings": {"steps": %d}}]}`, i, i))
	}
	create(t, d, `{"name": "draft", "settings": {"x": 1}}`)
	var all []api.Definition
	for after := ""; ; {
		page, err := d.Export(ctx, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Items...)
		if after = page.Next; after == "" {
			break
		}
	}
	if len(all) != 6 || all[0].Name != "draft" || all[5].Name != "t4" {
		t.Fatalf("%+v", all)
	}
	dir := t.TempDir()
	var apply api.ApplyRequest
	for _, def := range all {
		apply.Files = append(apply.Files, api.TaskFile{Name: def.Name + ".yaml", Dir: def.Dir, Path: filepath.Join(dir, def.Name+".yaml"), Data: def.YAML})
	}
	result, err := d.Apply(ctx, apply)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range result.Tasks {
		if one.Action != "unchanged" {
			t.Errorf("%+v", one)
		}
	}
	// From now on they are those files': what is no more in the directory may go.
	apply.Files, apply.DryRun, apply.Prune = apply.Files[:5], true, []string{dir}
	if result, err = d.Apply(ctx, apply); err != nil || result.Tasks[5].Task != "t4" || result.Tasks[5].Action != "deleted" || result.Tasks[5].Version != 1 {
		t.Fatalf("%+v, %v", result, err)
	}
	apply.DryRun, apply.Prune, apply.Delete = false, nil, []api.TaskVersion{{Task: "t4", Version: 1}}
	if _, err = d.Apply(ctx, apply); err != nil {
		t.Fatal(err)
	}
	_, err = d.Task(ctx, "t4")
	wantCode(t, err, api.CodeNotFound)
}

// A setting outlives the step that took it: nobody said that it is to go.
func TestSettingsOutliveTheirSteps(t *testing.T) {
	d := open(t, pluginDir(t, "noop", "copyfiles"))
	ctx := t.Context()
	create(t, d, `{"name": "t", "settings": {"steps": 2}, "steps": [{"name": "a", "controller": "noop"}, {"name": "b", "controller": "copyfiles", "settings": {"source": "/x", "target": "/y"}}]}`)
	if _, err := d.DeleteStep(ctx, "t", "a", 0); err != nil {
		t.Fatal(err)
	}
	def, err := d.Definition(ctx, "t")
	if err != nil || !strings.Contains(string(def.Task), `"settings":{"steps":2}`) {
		t.Fatalf("%s, %v", def.Task, err)
	}
	if _, err := d.Validate(ctx, []api.TaskFile{{Name: "x", Dir: "/", Data: def.YAML}}); err != nil {
		t.Errorf("it cannot be read back: %v", err)
	}
	back, err := d.AddStep(ctx, "t", api.StepRequest{Step: json.RawMessage(`{"name": "a", "controller": "noop"}`), Before: "b"})
	if err != nil || string(back.Task.Steps[0].Settings) != `{"steps":2}` {
		t.Errorf("%+v, %v", back, err)
	}
}

// Clients that change different steps at once, and add and remove their own,
// lose nothing of each other's; what runs meanwhile keeps what it began with.
func TestManyClientsChangeOneTask(t *testing.T) {
	d := open(t, pluginDir(t, "noop"))
	ctx := t.Context()
	const clients, rounds = 4, 9
	doc := `{"name": "t", "steps": [`
	for i := range clients {
		doc += fmt.Sprintf(`{"name": "own%d", "controller": "noop"},`, i)
	}
	create(t, d, strings.TrimSuffix(doc, ",")+"]}")
	var all sync.WaitGroup
	fail := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	for i := range clients {
		own := fmt.Sprintf("own%d", i)
		all.Go(func() {
			for j := range rounds {
				extra := fmt.Sprintf("x%d-%d", i, j)
				fail(second(d.PatchStep(ctx, "t", own, api.PatchRequest{Patch: json.RawMessage(fmt.Sprintf(`{"settings": {"steps": %d}}`, j+1))})))
				fail(second(d.AddStep(ctx, "t", api.StepRequest{Step: json.RawMessage(`{"name": "` + extra + `", "controller": "noop"}`), After: own})))
				if j%3 > 0 {
					fail(second(d.DeleteStep(ctx, "t", extra, 0)))
				}
			}
		})
	}
	all.Go(func() {
		for i := range rounds {
			// With a version: it is refused, or it is for that very version.
			now, err := d.Task(ctx, "t")
			fail(err)
			saved, err := d.PatchTask(ctx, "t", api.PatchRequest{Patch: json.RawMessage(fmt.Sprintf(`{"description": "%d"}`, i)), Version: now.Version})
			if fault, ok := errors.AsType[*api.Error](err); ok && fault.Code == api.CodeConflict && fault.Version > now.Version {
				continue
			}
			if fail(err); err == nil && (saved.Task.Version != now.Version+1 || len(saved.Task.Steps) != len(now.Steps)) {
				t.Errorf("version %d became %d", now.Version, saved.Task.Version)
			}
		}
	})
	all.Go(func() {
		for range rounds {
			run := await(t, d.Client, begin(t, d.Client, "t"))
			if run.Status != "completed" || run.Completed != run.Total {
				t.Errorf("%+v", run)
			}
		}
	})
	all.Wait()
	now, err := d.Task(ctx, "t")
	if err != nil || len(now.Steps) != clients+clients*rounds/3 {
		t.Fatalf("%s: %v", names(now.Steps), err)
	}
	for i := range clients {
		one, err := d.TaskStep(ctx, "t", fmt.Sprintf("own%d", i))
		if err != nil || string(one.Settings) != fmt.Sprintf(`{"steps":%d}`, rounds) {
			t.Errorf("%+v, %v", one, err)
		}
	}
}
