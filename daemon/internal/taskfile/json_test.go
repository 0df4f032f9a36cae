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

func parseJSON(t testing.TB, text string) (task.Task, error) {
	t.Helper()
	return taskfile.Parse(t.Context(), taskfile.Source{Name: "task", Dir: "/srv", Data: []byte(text), JSON: true}, ports())
}

// paths holds the whole list of problems of a document, as "path: message".
func paths(t *testing.T, err error, want ...string) {
	t.Helper()
	e, ok := errors.AsType[*taskfile.Errors](err)
	if !ok {
		t.Fatalf("want %q, got %v", want, err)
	}
	var got []string
	for _, p := range e.Problems {
		if p.Line != 0 || p.Column != 0 || p.Excerpt != "" {
			t.Errorf("a document has no lines: %+v", p)
		}
		got = append(got, p.Path+": "+p.Message)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// Whatever a task holds, Document and Parse give it back.
func TestDocumentRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyTask(t)
		doc, err := taskfile.Document(want)
		if err != nil || !json.Valid(doc) {
			t.Fatalf("%v\n%s", err, doc)
		}
		got, err := taskfile.Parse(t.Context(), taskfile.Source{Name: "task", Dir: want.Dir, Data: doc, JSON: true}, ports())
		if err != nil {
			t.Fatalf("%v\nof\n%s", err, doc)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s\nof\n%s", diff, doc)
		}
	})
}

func TestADocumentSaysWhatTheFileSays(t *testing.T) {
	doc, err := taskfile.Document(mustParse(t, backup))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"backup","description":"Nightly backup of the shop","max_parallel":2,"max_execution_time":"1d2h","disabled":true,` +
		`"settings":{"backup_dir":"./backups"},"steps":[` +
		`{"name":"tables","controller":"dumptables","interrupt_on_step_fault":true,"weight":2.5,"settings":{"dsn":"sqlite:./shop.db","mode":"recreate","tables":["*"]}},` +
		`{"name":"files","controller":"copyfiles","retry":{"attempts":3,"backoff":"2s","max_backoff":"1m"},"max_execution_time":"10m","attempt_timeout":"4m30s","progress_timeout":"1.5s",` +
		`"settings":{"backup_dir":"./elsewhere","include":["image/**","download/**"],"source":"./shop"}},` +
		`{"name":"archive","controller":"compress","settings":{"format":"tar.zst"}}]}`
	if diff := cmp.Diff(want, string(doc)); diff != "" {
		t.Error(diff)
	}
}

func TestFaultsOfDocumentsHavePaths(t *testing.T) {
	for _, c := range []struct {
		doc  string
		want []string
	}{
		{``, []string{": this is not valid JSON: EOF"}},
		{`{"name": "x"} x`, []string{": this is not valid JSON: something stands behind the task"}},
		{`{"name": }`, []string{": this is not valid JSON: invalid character '}' looking for beginning of value"}},
		{`[]`, []string{": a task file must be a mapping, found a list"}},
		{`{"name": null, "nmae": 1}`, []string{`name: name must be text, found nothing`, `nmae: unknown key "nmae"`}},
		{`{"name": "x", "name": "y"}`, []string{`name: the key "name" is given twice`}},
		{`{"name": "x", "steps": [{"name": "a", "controller": "script", "order": 2}, {"name": "a", "controller": "script", "order": 1}]}`, []string{
			`steps[1].name: the step name "a" is used twice`, "steps[1].order: the order 1 is below the order 2 of the step before it"}},
		{`{"name": "x", "steps": [{"name": "a", "controller": "dumptables", "settings": {"dsn": "x", "rows": "5", "password": "hunter2"}}, {}]}`, []string{
			"steps[1].name: the step has no name", "steps[1].controller: the step has no controller",
			"steps[0].settings.password: steps[0].settings.password is a secret and must not be written here",
			`steps[0].settings.rows: steps[0].settings.rows must be a whole number, found the text "5"`}},
		{`{"name": "x", "steps": [{"name": "a", "controller": "script", "when": "steps.b", "settings": {"x": ["${{ bad }}"]}}]}`, []string{
			"steps[0].when: steps[0].when: there is no step b", "steps[0].settings.x[0]: steps[0].settings.x[0]: this is bad"}},
		{strings.Repeat("[", 1000), []string{": this is not valid JSON: values are nested too deep: at most 128 levels are allowed"}},
		{`{"name": "` + strings.Repeat("x", taskfile.MaxFile) + `"}`, []string{": the task is 1048588 bytes long, at most 1048576 are allowed"}},
		{`{"name": "x", "description": "` + strings.Repeat("x", task.MaxDefinition) + `"}`, []string{": the task takes 245899 bytes when it is stored, at most 245760 are allowed"}},
	} {
		t.Run(c.doc[:min(40, len(c.doc))], func(t *testing.T) {
			_, err := parseJSON(t, c.doc)
			paths(t, err, c.want...)
		})
	}
	// What people see of it names the path.
	_, err := parseJSON(t, `{"name": "x", "steps": [{}]}`)
	want := "task: steps[0].name: the step has no name\n      hint: name it, as in name: hello\n" +
		"task: steps[0].controller: the step has no controller\n      hint: 'stepd plugins' lists what there is"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

// JSON is read as JSON, not as what YAML makes of it.
func TestDocumentsHaveTheTypesOfJSON(t *testing.T) {
	got, err := parseJSON(t, "{\"name\": \"2026\", \"description\": \"\\ud83d\\ude00\\u007f\x7f\\/\",\t\"steps\": [{\"name\": \"a\", \"controller\": \"script\", \"settings\": "+
		`{"t": "true", "n": "017", "d": "2026-01-01", "e": 1e2, "f": 1.50, "i": 12345678901234567890, "z": null, "m": {"<<": {"a": 1}}, "*": "&x"}}]}`)
	if err != nil {
		t.Fatal(err)
	}
	if got.Description != "\U0001F600\u007f\x7f/" || got.Name != "2026" {
		t.Errorf("%+v", got)
	}
	want := `{"*":"\u0026x","d":"2026-01-01","e":100,"f":1.5,"i":12345678901234567890,"m":{"\u003c\u003c":{"a":1}},"n":"017","t":"true","z":null}`
	if string(got.Steps[0].Settings) != want {
		t.Errorf("%s", got.Steps[0].Settings)
	}
}

func TestADraftMayWaitForItsSteps(t *testing.T) {
	for _, text := range []string{"name: x\n", "name: x\nsteps:\n", "name: x\nsteps: []\nsettings: {rows: 5, dir: '${{ steps.a }}'}\nschedule: 0 1 * * *\non_end: [{controller: copyfiles, settings: {source: a}}]\n"} {
		got := mustParse(t, text)
		if !got.Draft() {
			t.Errorf("%+v", got)
		}
		out, err := taskfile.Format(got)
		if err != nil {
			t.Fatal(err)
		}
		if again := mustParse(t, string(out)); !cmp.Equal(got, again) {
			t.Errorf("%s", cmp.Diff(got, again))
		}
	}
}

func TestPolicies(t *testing.T) {
	got := mustParse(t, "name: x\ncreated_by: anna\nstarter: [www-data, '@shop', 1000]\npriority: -5\nmax_runs: 2\nlocks: [shop-db]\nlog: detailed\n"+
		"keep: {runs: 3, days: 90, bytes: 1.5GiB}\nsteps: [{name: a, controller: script, stuck_after: 5m, when: a}]\n")
	want := task.Task{Name: "x", Dir: "/srv/shop", CreatedBy: "anna", Starter: []string{"www-data", "@shop", "1000"}, Priority: -5, MaxRuns: 2, Locks: []string{"shop-db"},
		Log: task.Detailed, Keep: task.Keep{Runs: 3, Days: 90, Bytes: 3 << 29},
		Steps: []task.Step{{Name: "a", Controller: "script", Order: 1, When: "a", Settings: json.RawMessage("{}"), Limits: task.Limits{StuckAfter: 5 * 60e9}}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct{ text, want string }{
		{"created_by: [a]", "2:13 created_by must be text, found a list | "},
		{"created_by: a b", "2:13 created_by contains ' ', which no account's name can have | write the name of a user"},
		{"created_by: '@shop'", "2:13 created_by is a group | write the name of a user"},
		{"starter: anna", "2:10 starter must be a list, found the text \"anna\" | write a list, even of one: [anna]"},
		{"starter: ['@']", `2:11 starter[0] names no group | write names of users, and of groups with an @: [www-data, "@shop"]`},
		{"starter: ['a/b']", `2:11 starter[0] contains '/', which no account's name can have | write names of users, and of groups with an @: [www-data, "@shop"]`},
		{"starter: [a, b, a]", `2:17 starter lists "a" twice | remove one of the two`},
		{"priority: 101", "2:11 priority must be a whole number from -100 to 100, found the number 101 | "},
		{"max_runs: 0", "2:11 max_runs must be a whole number from 1 to 1000, found the number 0 | "},
		{"locks: [a b]", `2:9 locks[0] is no name of a lock: the name "a b" contains ' ': letters, digits, '-', '_' and '.' are allowed | letters, digits, '-', '_' and '.' make a name, as in shop-db`},
		{"locks: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]", "2:8 a task has at most 16 locks, these are 17 | "},
		{"log: simpel", `2:6 log must be one of: simple, detailed, found the text "simpel" | did you mean "simple"?`},
		{"keep: 5", "2:7 keep must be a mapping, found the number 5 | write it as in keep: {runs: 30, days: 90, bytes: 10GiB}"},
		{"keep: {runs: 0}", "2:14 keep.runs must be a whole number from 1 to 1000000, found the number 0 | "},
		{"keep: {bytes: 5}", "2:15 keep.bytes must be a size with its unit, such as 512MiB, 10GiB or 1TiB, found the number 5 | a size has a unit: 5B are bytes"},
		{"keep: {bytes: 10GB}", `2:15 keep.bytes must be a size with its unit, such as 512MiB, 10GiB or 1TiB, found "10GB" | `},
		{"keep: {bytes: 9999999TiB}", "2:15 keep.bytes is too large | "},
		{"keep: {bytes: 0.1B}", "2:15 keep.bytes must be more than nothing | "},
		{"keep: {size: 1}", `2:8 unknown key "size" | known here: bytes, days, runs`},
	} {
		t.Run(c.text, func(t *testing.T) {
			_, err := parse(t, "name: x\n"+c.text+"\nsteps: [{name: a, controller: script}]\n")
			expect(t, err, c.want)
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		size := max(1, rapid.Int64Range(1, 1<<62-1).Draw(t, "size")>>rapid.IntRange(0, 61).Draw(t, "shift")) << rapid.SampledFrom([]int{0, 0, 1}).Draw(t, "even")
		if got, err := taskfile.ParseSize(taskfile.FormatSize(size)); err != nil || got != size {
			t.Fatalf("%d is %q, which is %d, %v", size, taskfile.FormatSize(size), got, err)
		}
	})
}

func ExampleFormatSize() {
	fmt.Println(taskfile.FormatSize(10<<30), taskfile.FormatSize(1536), taskfile.FormatSize(1025))
	// Output: 10GiB 1536B 1025B
}
