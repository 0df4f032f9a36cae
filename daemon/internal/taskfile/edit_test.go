package taskfile_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

// ordered is a task with steps of these names and orders: "a1 b1 c2".
func ordered(t testing.TB, spec string) task.Task {
	t.Helper()
	text := "name: x\nsteps:\n"
	for _, s := range strings.Fields(spec) {
		text += fmt.Sprintf("- {name: %s, controller: script, order: %s}\n", s[:1], s[1:])
	}
	return mustParse(t, text)
}

func spelled(of task.Task) string {
	var steps []string
	for _, s := range of.Steps {
		steps = append(steps, s.Name+fmt.Sprint(s.Order))
	}
	return strings.Join(steps, " ")
}

func reread(t testing.TB, doc json.RawMessage, err error) task.Task {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseJSON(t, string(doc))
	if err != nil {
		t.Fatalf("%v\nof %s", err, doc)
	}
	return got
}

func TestStepsAreAddedWhereTheyAreWanted(t *testing.T) {
	for _, c := range []struct{ have, order, before, after, want string }{
		{"", "", "", "", "n1"},
		{"a1 b2", "", "", "", "a1 b2 n3"},
		{"a1 b2", "", "a", "", "n1 a2 b3"},
		{"a1 b2", "", "", "a", "a1 n2 b3"},
		{"a1 b2", "", "b", "", "a1 n2 b3"},
		{"a5 b9", "", "a", "", "n1 a5 b9"},
		{"a5 b9", "", "b", "", "a5 n6 b9"},
		{"a5 b6 c9", "", "b", "", "a5 n6 b7 c9"},
		{"a0 b1", "", "a", "", "n1 a2 b3"},
		{"a1 b1 c2", "", "", "a", "a1 n2 b3 c4"}, // between two that shared an order
		{"a1 b1 c2", "", "", "b", "a1 b1 n2 c3"},
		{"a1 b1 c2", "", "a", "", "n1 a2 b2 c3"},
		{"a1 b1 c2", "1", "", "a", "a1 n1 b1 c2"}, // unless it says so
		{"a1 b2", "2", "", "", "a1 b2 n2"},
		{"a1 b2", "9", "", "a", "a1 n9 b10"},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			step := `{"name": "n", "controller": "script"`
			if c.order != "" {
				step += `, "order": ` + c.order
			}
			doc, err := taskfile.AddStep(ordered(t, c.have), json.RawMessage(step+"}"), c.before, c.after)
			if got := spelled(reread(t, doc, err)); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
	doc, err := taskfile.AddStep(ordered(t, "a1 b2"), json.RawMessage(`{"name": "b", "order": 1}`), "", "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = parseJSON(t, string(doc))
	paths(t, err, `steps[2].name: the step name "b" is used twice`, "steps[2].controller: the step has no controller",
		"steps[2].order: the order 1 is below the order 2 of the step before it")
}

func TestStepsAreRemovedAndPatched(t *testing.T) {
	for _, c := range []struct{ have, remove, want string }{
		{"a1", "a", ""}, {"a1 b2 c3", "a", "b1 c2"}, {"a1 b2 c3", "b", "a1 c2"}, {"a1 b1 c2", "a", "b1 c2"}, {"a1 b1 c2", "b", "a1 c2"},
		{"a5 b9 c10", "b", "a5 c6"}, {"a5 b9 c12", "b", "a5 c12"}, {"a1 b2 c2", "a", "b1 c1"},
	} {
		doc, err := taskfile.RemoveStep(ordered(t, c.have), c.remove)
		if got := spelled(reread(t, doc, err)); got != c.want {
			t.Errorf("%s without %s: %s, want %s", c.have, c.remove, got, c.want)
		}
	}
	for _, c := range []struct{ have, patch, want string }{
		{"a1 b2 c3", `{"name": "z"}`, "a1 z2 c3"}, {"a1 b2 c3", `{"order": 1}`, "a1 b1 c2"}, {"a1 b2 c3", `{"order": 7}`, "a1 b7 c8"},
		{"a1 b2 c9", `{"order": 7}`, "a1 b7 c9"}, {"a1 b1 c2", `{"order": null}`, "a1 b2 c3"}, {"a1 b5 c5", `{"order": 5}`, "a1 b5 c5"},
	} {
		doc, err := taskfile.PatchStep(ordered(t, c.have), "b", json.RawMessage(c.patch))
		if got := spelled(reread(t, doc, err)); got != c.want {
			t.Errorf("%s, b with %s: %s, want %s", c.have, c.patch, got, c.want)
		}
	}
	doc, err := taskfile.PatchStep(mustParse(t, backup), "files", json.RawMessage(`{"retry": {"attempts": 5}, "max_execution_time": null, "settings": {"include": null, "target": "${{ run.ref }}"}, "when": "a"}`))
	got := reread(t, doc, err).Steps[1]
	if got.Retry.Attempts != 5 || got.Retry.Backoff == 0 || got.Limits.MaxExecutionTime != 0 || got.When != "a" ||
		string(got.Settings) != `{"backup_dir":"./elsewhere","source":"./shop","target":"${{ run.ref }}"}` {
		t.Errorf("%+v %s", got, got.Settings)
	}
}

func TestStepsArePutInOrder(t *testing.T) {
	for _, c := range []struct{ have, order, want string }{
		{"a1 b2 c3", "c a b", "c1 a2 b3"}, {"a5 b9", "b a", "b5 a9"}, {"a1 b1 c2", "c b a", "c1 b2 a2"}, {"a1 b1 c2", "a c b", "a1 c2 b3"},
		{"a1 b2 c2 d3", "b c a d", "b1 c1 a2 d3"}, {"a3 b3", "b a", "b3 a3"}, {"a1", "a", "a1"}, {"", "", ""},
	} {
		doc, err := taskfile.OrderSteps(ordered(t, c.have), strings.Fields(c.order))
		if got := spelled(reread(t, doc, err)); got != c.want {
			t.Errorf("%s as %s: %s, want %s", c.have, c.order, got, c.want)
		}
	}
}

func TestEditsThatCannotBe(t *testing.T) {
	x := ordered(t, "a1 b2")
	for name, c := range map[string]struct {
		edit func() (json.RawMessage, error)
		is   error
		says string
	}{
		"no such step":  {func() (json.RawMessage, error) { return taskfile.RemoveStep(x, "z") }, task.ErrNotFound, `step "z" in task x`},
		"patch nothing": {func() (json.RawMessage, error) { return taskfile.PatchStep(x, "z", nil) }, task.ErrNotFound, `step "z" in task x`},
		"behind nothing": {func() (json.RawMessage, error) { return taskfile.AddStep(x, json.RawMessage(`{}`), "", "z") },
			task.ErrNotFound, `step "z" in task x`},
		"both": {func() (json.RawMessage, error) { return taskfile.AddStep(x, json.RawMessage(`{}`), "a", "b") }, task.ErrInvalid, "not both"},
		"list": {func() (json.RawMessage, error) { return taskfile.AddStep(x, json.RawMessage(`[]`), "", "") }, task.ErrInvalid, "must be an object"},
		"patch of text": {func() (json.RawMessage, error) { return taskfile.PatchStep(x, "a", json.RawMessage(`"b"`)) },
			task.ErrInvalid, "must be an object"},
		"no JSON":  {func() (json.RawMessage, error) { return taskfile.MergePatch(x, json.RawMessage(`{`)) }, task.ErrInvalid, "no JSON"},
		"too few":  {func() (json.RawMessage, error) { return taskfile.OrderSteps(x, []string{"a"}) }, task.ErrInvalid, `"b" is not named`},
		"twice":    {func() (json.RawMessage, error) { return taskfile.OrderSteps(x, []string{"a", "b", "a"}) }, task.ErrInvalid, `"a" is named twice`},
		"stranger": {func() (json.RawMessage, error) { return taskfile.OrderSteps(x, []string{"a", "b", "c"}) }, task.ErrNotFound, `step "c"`},
	} {
		if _, err := c.edit(); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The examples of RFC 7396, laid over the settings of a step.
func TestMergePatch(t *testing.T) {
	for _, c := range []struct{ have, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"a":12345678901234567890}`, `{}`, `{"a":12345678901234567890}`},
	} {
		have := ordered(t, "a1")
		have.Steps[0].Settings = json.RawMessage(c.have)
		doc, err := taskfile.MergePatch(have, json.RawMessage(`{"steps": null, "on_end": [{"controller": "script", "settings": `+c.have+`}]}`))
		if got := reread(t, doc, err); !got.Draft() || string(got.OnEnd[0].Settings) != c.have {
			t.Errorf("%+v", got)
		}
		doc, err = taskfile.PatchStep(have, "a", json.RawMessage(`{"settings": `+c.patch+`}`))
		if got := string(reread(t, doc, err).Steps[0].Settings); got != c.want {
			t.Errorf("%s with %s: %s, want %s", c.have, c.patch, got, c.want)
		}
	}
}

// No edit loses or changes anything but what it is about.
func TestEditsKeepAllElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old := anyTask(t)
		if old.Draft() {
			t.Skip()
		}
		at := rapid.IntRange(0, len(old.Steps)-1).Draw(t, "which")
		name := old.Steps[at].Name
		var doc json.RawMessage
		var err error
		want := func(i int) string { return old.Steps[i].Name }
		left := len(old.Steps)
		switch rapid.SampledFrom([]string{"nothing", "patch", "description", "order"}).Draw(t, "edit") {
		case "nothing":
			doc, err = taskfile.MergePatch(old, json.RawMessage(`{}`))
		case "patch":
			doc, err = taskfile.PatchStep(old, name, json.RawMessage(`{"weight": 77}`))
		case "description":
			doc, err = taskfile.MergePatch(old, json.RawMessage(`{"description": "new"}`))
		case "order":
			var names []string
			for _, s := range old.Steps {
				names = append(names, s.Name)
			}
			doc, err = taskfile.OrderSteps(old, names)
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := taskfile.Parse(t.Context(), taskfile.Source{Name: "task", Dir: old.Dir, Data: doc, JSON: true}, ports())
		if err != nil {
			t.Fatalf("%v\nof %s", err, doc)
		}
		if len(got.Steps) != left {
			t.Fatalf("%d steps of %d", len(got.Steps), left)
		}
		for i := range got.Steps {
			if got.Steps[i].Name != want(i) {
				t.Errorf("step %d is %s", i, got.Steps[i].Name)
			}
		}
		if got.Steps[at].Weight == 77 {
			got.Steps[at].Weight = old.Steps[at].Weight
		}
		if got.Description == "new" {
			got.Description = old.Description
		}
		if diff := cmp.Diff(old, got); diff != "" {
			t.Fatal(diff)
		}
	})
}
