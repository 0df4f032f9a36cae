package taskfile_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

// expect holds the whole list of problems, as "line:column message | hint".
func expect(t *testing.T, err error, want ...string) {
	t.Helper()
	e, ok := errors.AsType[*taskfile.Errors](err)
	if !ok {
		t.Fatalf("want %q, got %v", want, err)
	}
	if !errors.Is(err, task.ErrInvalid) {
		t.Error("the error is not task.ErrInvalid")
	}
	var got []string
	for _, p := range e.Problems {
		got = append(got, fmt.Sprintf("%d:%d %s | %s", p.Line, p.Column, p.Message, p.Hint))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// What a hint shows must work when it is pasted.
func TestTheTaskOfTheHintIsValid(t *testing.T) {
	_, example, _ := strings.Cut(noTask, "a small task file is: ")
	if got := mustParse(t, example); len(got.Steps) != 1 {
		t.Errorf("%+v", got)
	}
}

const noTask = "1:1 the file holds no task | a small task file is: {name: hello, steps: [{name: one, controller: copyfiles, settings: {source: ./files, target: ./copy}}]}"
const duration = "a duration such as 30s, 10m, 1h30m or 2d"
const secret = "name the secret: {secret: NAME}; the value itself is kept out of the task file"

func TestFaultsOfTheText(t *testing.T) {
	const good = "name: x\nsteps: [{name: a, controller: script}]\n"
	for _, c := range []struct{ text, want string }{
		{"", noTask},
		{"\ufeff", noTask},
		{"# nothing\n\n", noTask},
		{"- a\n", "1:1 a task file must be a mapping, found a list | "},
		{"hello\n", "1:1 a task file must be a mapping, found the text \"hello\" | "},
		{"---\n", "2:1 a task file must be a mapping, found nothing | "},
		{good + "---\n" + good, "3:1 a second document starts here | write one task a file, and nothing after '---'"},
		{good + "---\n", "3:1 a second document starts here | write one task a file, and nothing after '---'"},
		{good + "description: \"caf\xe9\"\n", "3:18 this is not valid UTF-8 | save the file with the encoding UTF-8"},
		{"\xff\xfen\x00a\x00", "1:1 this is not valid UTF-8 | save the file with the encoding UTF-8"},
		{good + "description: a\x00b\n", "3:15 the control character U+0000 is not allowed | write it as an escape in double quotes, as in \"\\e\" or \"\\0\""},
		{"name: x\n\tsteps: 1\n", "2:1 this is not valid YAML: a tab cannot indent | indent with spaces"},
		{"name: [a, b\nsteps: c\n", "2:6 this is not valid YAML: did not find expected ',' or ']' while parsing a flow sequence | it starts at line 1, column 7"},
		{"name: \"x\nsteps: y\n", "1:7 this is not valid YAML: this quote is never closed | "},
		{"name: @x\n", "1:7 this is not valid YAML: a value cannot start with '@' | put the value in quotes"},
		{"name: a: b\n", "1:8 this is not valid YAML: a ':' is not allowed here | put text that contains ': ' in quotes, and check the indentation"},
		{"name: x\nsteps\n", "2:1 this is not valid YAML: a ':' is missing | write 'key: value', and check the indentation"},
		{"name: *\n", "1:7 this is not valid YAML: text that starts with '*' is not in quotes | put it in quotes: \"*\""},
		{"name: *nope\n", "1:7 this is not valid YAML: unknown anchor 'nope' referenced | "},
		{strings.Repeat("#", taskfile.MaxFile+1), "1:1 the file is 1048577 bytes long, at most 1048576 are allowed | work that needs more steps than fit here is what controllers that plan are for"},
	} {
		t.Run(c.text[:min(len(c.text), 30)], func(t *testing.T) {
			_, err := parse(t, c.text)
			expect(t, err, c.want)
		})
	}
}

func TestFaultsOfTheTask(t *testing.T) {
	const steps = "steps: [{name: a, controller: script}]\n"
	for _, c := range []struct {
		text string
		want []string
	}{
		{"{}", []string{"1:1 the task has no name | name it, as in name: hello"}},
		{"name: x\nsteps: {a: b}\n", []string{"2:8 steps must be a list, found a mapping | start each step with '- name: ...'"}},
		{"name: x\nname: y\n" + steps, []string{"2:1 the key \"name\" is given twice: first at line 1 | remove one of the two"}},
		{"name: [x]\n" + steps, []string{"1:7 name must be text, found a list | "}},
		{"name:\n" + steps, []string{"1:1 name must be text, found nothing | "}},
		{"name: shop/backup\n" + steps, []string{"1:7 the name \"shop/backup\" contains a slash | letters, digits, '-', '_' and '.' make a name, as in nightly-backup"}},
		{"nmae: x\nname: x\n" + steps, []string{"1:1 unknown key \"nmae\" | did you mean \"name\"?"}},
		{"name: x\nmax_paralel: 3\n" + steps, []string{"2:1 unknown key \"max_paralel\" | did you mean \"max_parallel\"?"}},
		{"name: x\nmissed: once\n" + steps, []string{
			"2:1 unknown key \"missed\" | it belongs into the schedule, as in schedule: {cron: ..., missed: ...}"}},
		{"name: x\non_sucess: []\n" + steps, []string{`2:1 unknown key "on_sucess" | did you mean "on_success"?`}},
		{"name: x\non_end: []\n" + steps, []string{"2:1 on_end has no steps | write what is to be done, or leave it out"}},
		{"name: x\non_success: {a: b}\n" + steps, []string{"2:13 on_success must be a list, found a mapping | start each step with '- name: ...'"}},
		{"name: x\nsettings: {rows: 0}\non_failure: [{name: a}, {controller: nosuch}, {name: a, controller: dumptables, settings: {dsn: x}}]\n" + steps, []string{
			"2:18 settings.rows must be at least 1, found 0 | ",
			"3:14 the step has no controller | 'stepd plugins' lists what there is",
			`3:38 unknown controller "nosuch": no plugin serves it: not found | 'stepd plugins' lists what there is`,
			`3:54 the step name "a" is used twice: first at line 3 | each step of a task has a name of its own`}},
		{"name: x\nmax_parallel: many\n" + steps, []string{"2:15 max_parallel must be a whole number from 1 to 256, found the text \"many\" | "}},
		{"name: x\nmax_parallel: 0\n" + steps, []string{"2:15 max_parallel must be a whole number from 1 to 256, found the number 0 | "}},
		{"name: x\nmax_parallel: 257\n" + steps, []string{"2:15 max_parallel must be a whole number from 1 to 256, found the number 257 | "}},
		{"name: x\ndisabled: yes\n" + steps, []string{"2:11 disabled must be true or false, found the text \"yes\" | write true or false"}},
		{"name: x\nmax_execution_time: 10\n" + steps, []string{"2:21 max_execution_time must be " + duration + ", found the number 10 | a duration has a unit: 10s are seconds"}},
		{"name: x\nmax_execution_time: soon\n" + steps, []string{"2:21 max_execution_time must be " + duration + ", found \"soon\" | "}},
		{"name: x\nmax_execution_time: -5m\n" + steps, []string{"2:21 max_execution_time must be longer than zero | leave it out, or write how long, as in max_execution_time: 10m"}},
		{"name: x\nsettings: [a]\n" + steps, []string{"2:11 settings must be a mapping, found a list | "}},
		{"name: x\n? [a, b]\n: c\n" + steps, []string{"2:3 a key must be text, found a list | "}},
		{"name: x\n<<: 3\n" + steps, []string{"2:5 only mappings can be merged, found the number 3 | write '<<: *name' with the name of an anchored mapping"}},
		{"name: x\nsettings: &a {<<: *a}\n" + steps, []string{"2:19 this mapping is merged into itself | "}},
	} {
		t.Run(c.text[:min(len(c.text), 30)], func(t *testing.T) {
			_, err := parse(t, c.text)
			expect(t, err, c.want...)
		})
	}
}

func TestFaultsOfSteps(t *testing.T) {
	for _, c := range []struct {
		name, steps string // the steps start in line 3
		want        []string
	}{
		{"text for a step", "- backup", []string{"3:3 steps[0] must be a mapping, found the text \"backup\" | "}},
		{"nothing in it", "- {}", []string{"3:3 the step has no name | name it, as in name: hello", "3:3 the step has no controller | 'stepd plugins' lists what there is"}},
		{"twice the same name", "- {name: a, controller: script}\n- {name: b, controller: script}\n- {name: a, controller: script}",
			[]string{"5:10 the step name \"a\" is used twice: first at line 3 | each step of a task has a name of its own"}},
		{"slash", "- {name: a/b, controller: script}", []string{"3:10 the name \"a/b\" contains a slash | letters, digits, '-', '_' and '.' make a name, as in nightly-backup"}},
		{"order goes down", "- {name: a, controller: script, order: 2}\n- {name: b, controller: script, order: 1}",
			[]string{"4:40 the order 1 is below the order 2 of the step before it, at line 3 | list the steps in the order in which they run; steps that may run side by side share an order"}},
		{"order below the counted one", "- {name: a, controller: script}\n- {name: b, controller: script}\n- {name: c, controller: script, order: 1}",
			[]string{"5:40 the order 1 is below the order 2 of the step before it, at line 4 | list the steps in the order in which they run; steps that may run side by side share an order"}},
		{"order is text", "- {name: a, controller: script, order: first}", []string{"3:40 steps[0].order must be a whole number from 0 to 1000000000, found the text \"first\" | "}},
		{"unknown controller", "- {name: a, controller: dumptable}", []string{"3:25 unknown controller \"dumptable\": no plugin serves it: not found | 'stepd plugins' lists what there is"}},
		{"controller that fails", "- {name: a, controller: crashing}", []string{"3:25 the controller \"crashing\" cannot be used: plugin crashing exited with status 2; its last lines on stderr: no licence found | "}},
		{"empty controller", "- {name: a, controller: ''}", []string{"3:25 steps[0].controller is empty | 'stepd plugins' lists what there is"}},
		{"weight", "- {name: a, controller: script, weight: 0}", []string{"3:41 steps[0].weight must be a number above zero, found the number 0 | "}},
		{"infinite weight", "- {name: a, controller: script, weight: .inf}", []string{"3:41 steps[0].weight must be a number above zero, found the number .inf | "}},
		{"flag", "- {name: a, controller: script, interrupt_on_step_fault: 1}", []string{"3:58 steps[0].interrupt_on_step_fault must be true or false, found the number 1 | "}},
		{"retry", "- {name: a, controller: script, retry: {attempts: 0, backoff: 0s, jitter: 1}}", []string{
			"3:51 steps[0].retry.attempts must be a whole number from 1 to 1000, found the number 0 | ",
			"3:63 steps[0].retry.backoff must be longer than zero | leave it out, or write how long, as in backoff: 10m",
			"3:67 unknown key \"jitter\" | known here: attempts, backoff, max_backoff"}},
		{"retry number", "- {name: a, controller: script, retry: 3}", []string{"3:40 steps[0].retry must be a mapping, found the number 3 | "}},
		{"backoff above its bound", "- {name: a, controller: script, retry: {backoff: 2m, max_backoff: 1m}}",
			[]string{"3:67 steps[0].retry.max_backoff must not be shorter than the backoff of 2m | "}},
		{"no condition", "- {name: a, controller: script, when: ' '}", []string{`3:39 steps[0].when is empty | write a condition, as in when: steps.tables.status == "completed", or leave it out`}},
		{"stuck at once", "- {name: a, controller: script, stuck_after: 0}", []string{"3:46 steps[0].stuck_after must be longer than zero | leave it out, or write how long, as in stuck_after: 10m"}},
		{"broken schema", "- {name: a, controller: loop}", []string{"3:25 the settings of \"loop\" cannot be checked: its schema refers to itself | tell the author of the plugin"}},
		{"schema that reaches outside", "- {name: a, controller: remote}", []string{
			"3:25 the settings of \"remote\" cannot be checked, its schema is broken: failing loading \"file:///etc/passwd\": a settings schema must hold all that it refers to; file:///etc/passwd is outside | tell the author of the plugin"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(t, "name: x\nsteps:\n"+c.steps+"\n")
			expect(t, err, c.want...)
		})
	}
}

func TestFaultsOfSettings(t *testing.T) {
	for _, c := range []struct {
		controller, settings string // the settings are in line 5, from column 15
		want                 []string
	}{
		{"dumptables", "", []string{"5:5 steps[0].settings.dsn is required | Where the database is."}},
		{"dumptables", "{dsn: }", []string{"5:16 steps[0].settings.dsn is empty: it must be text | "}},
		{"dumptables", "{dsn: ''}", []string{"5:21 steps[0].settings.dsn must not be empty | "}},
		{"dumptables", "[dsn]", []string{"5:15 steps[0].settings must be a mapping, found a list | "}},
		{"dumptables", "{dsn: 'u:hunter2@h'}", []string{"5:21 steps[0].settings.dsn holds a password | take it out"}},
		{"dumptables", "{dsn: x, mode: recrete}", []string{"5:30 steps[0].settings.mode must be one of: data_only, recreate; found the text \"recrete\" | did you mean \"recreate\"?"}},
		{"dumptables", "{dsn: x, moed: recreate}", []string{"5:24 unknown setting \"moed\" | did you mean \"mode\"?"}},
		{"dumptables", "{dsn: x, dsn: y}", []string{"5:24 the key \"dsn\" is given twice: first at line 5 | remove one of the two"}},
		{"dumptables", "{dsn: x, rows: many}", []string{"5:30 steps[0].settings.rows must be a whole number, found the text \"many\" | "}},
		{"dumptables", "{dsn: x, rows: '5'}", []string{"5:30 steps[0].settings.rows must be a whole number, found the text \"5\" | write it without quotes"}},
		{"dumptables", "{dsn: x, rows: 1.5}", []string{"5:30 steps[0].settings.rows must be a whole number, found the number 1.5 | "}},
		{"dumptables", "{dsn: x, rows: 0, ratio: 0}", []string{"5:30 steps[0].settings.rows must be at least 1, found 0 | ", "5:40 steps[0].settings.ratio must be more than 0, found 0 | "}},
		{"dumptables", "{dsn: x, rows: 100001}", []string{"5:30 steps[0].settings.rows must be at most 100000, found 100001 | "}},
		{"dumptables", "{dsn: x, ratio: .inf}", []string{"5:31 steps[0].settings.ratio must be a number, found \".inf\" | "}},
		{"dumptables", "{dsn: x, tables: []}", []string{"5:32 steps[0].settings.tables must not be empty | "}},
		{"dumptables", "{dsn: x, tables: all}", []string{"5:32 steps[0].settings.tables must be a list, found the text \"all\" | write a list, even of one: [all]"}},
		{"dumptables", "{dsn: x, tables: [a, {b: c}]}", []string{"5:36 steps[0].settings.tables[1] must be text, found a mapping | "}},
		{"dumptables", "{dsn: x, tables: &t [a, *t]}", []string{"5:39 this alias stands for a value that contains it | "}},
		{"dumptables", "{dsn: !env X}", []string{"5:21 the tag \"!env\" is not supported | write the value without a tag"}},
		{"copyfiles", "{source: x, follow: yes}", []string{"5:35 steps[0].settings.follow must be true or false, found the text \"yes\" | write true or false"}},
		{"copyfiles", "{source: x, include: 5, follow: true}\n  - {name: b, controller: copyfiles, settings: {source: x, include: {a: b}}}",
			[]string{"6:69 steps[0].settings.include must be text or a list, found a mapping | "}},
		{"copyfiles", "{source: x, include: [a, b, a]}", []string{"5:36 steps[0].settings.include holds the same value twice: items 1 and 3 | "}},
		{"copyfiles", "{source: x, include: [a, [b]]}", []string{"5:40 steps[0].settings.include[1] must be text, found a list | "}},
		{"sendmail", "{to: [nobody], smtp: {host: h, password: {secret: p}}}", []string{"5:21 steps[0].settings.to[0] must be a valid email, found nobody | "}},
		{"sendmail", "{to: [a@b.example], smtp: {}}", []string{
			"5:35 steps[0].settings.smtp.host is required | ", "5:35 steps[0].settings.smtp.password is required | " + secret}},
		{"sendmail", "{to: [a@b.example], smtp: {host: h, password: {secret: p}}, headers: {X: {secret: p}}}",
			[]string{"5:88 steps[0].settings.headers.X must be text, found a mapping | this setting takes no secret"}},
		{"tree", "{root: {children: [{children: [{labl: 1}]}]}}", []string{"5:47 unknown setting \"labl\" | did you mean \"label\"?"}},
	} {
		t.Run(c.controller+" "+c.settings, func(t *testing.T) {
			_, err := parse(t, "name: x\nsteps:\n  - name: a\n    controller: "+c.controller+"\n    settings: "+c.settings+"\n")
			want := c.want
			for i := range want {
				if strings.HasPrefix(want[i], "6:") {
					want[i] = strings.Replace(want[i], "steps[0]", "steps[1]", 1)
				}
			}
			expect(t, err, want...)
		})
	}
}

func TestPlainSecretsAreRefusedAndNeverShown(t *testing.T) {
	const plain = "hunter2"
	for _, settings := range []string{
		"{dsn: x, password: hunter2, rows: 0}",
		"{dsn: x, password: \"hunter2\"}",
		"{dsn: x, password: [hunter2]}",
		"{dsn: x, password: |\n        hunter2}",
		"{dsn: x, password: \"correct\n        hunter2\", nope: 1}",
		"{dsn: x, password: 'correct\n        hunter2', nope: 1}",
		"{dsn: x, password: correct\n        hunter2, nope: 1}",
		"{dsn: x, password: !env hunter2}",
		"{dsn: x, nope: 1, password: [[a, \"b hunter2\"]]}",
		"\n      dsn: x\n      password: hunter2",
		"\n      password: |\n        hunter2\n      dsn: x",
		"\n      rows: &p hunter2\n      dsn: x\n      password: *p",
	} {
		_, err := parse(t, "name: x\nsteps:\n  - name: a\n    controller: dumptables\n    settings: "+settings+"\n")
		e, ok := errors.AsType[*taskfile.Errors](err)
		if !ok {
			t.Errorf("%s was accepted: %v", settings, err)
			continue
		}
		if strings.Contains(e.Error(), plain) && !strings.Contains(settings, "&p") {
			t.Errorf("the secret is shown:\n%v", e)
		}
	}
	_, err := parse(t, "name: x\nsettings: {password: 007}\nsteps: [{name: a, controller: dumptables, settings: {dsn: x}}]\n")
	expect(t, err, "2:22 settings.password is a secret and must not be written here | "+secret)
	_, err = parse(t, "name: x\nsteps: [{name: a, controller: dumptables, settings: {dsn: x, password: }}]\n")
	expect(t, err, "2:62 steps[0].settings.password is empty | "+secret)
	// A property that is called secret is none.
	mustParse(t, "name: x\nsteps: [{name: a, controller: sendmail, settings: {secret: s, to: [a@b.example], smtp: {host: h, password: {secret: p}}}}]\n")
}

func TestBombsAreRefused(t *testing.T) {
	var b strings.Builder
	b.WriteString("name: x\nsettings:\n  l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 9 {
		fmt.Fprintf(&b, "  l%d: &l%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*l%d, ", i), 10), ", "))
	}
	b.WriteString("steps: [{name: a, controller: script}]\n")
	_, err := parse(t, b.String())
	if err == nil || !strings.Contains(err.Error(), "unfolds to more than 100000 values") {
		t.Errorf("aliases: %v", err)
	}

	b.Reset()
	b.WriteString("name: x\nsettings:\n  m0: &m0 {k: x}\n")
	for i := range 30 {
		fmt.Fprintf(&b, "  m%d: &m%d {<<: [*m%d, *m%d]}\n", i+1, i+1, i, i)
	}
	b.WriteString("steps: [{name: a, controller: script}]\n")
	_, err = parse(t, b.String())
	if err == nil || !strings.Contains(err.Error(), "unfolds to more than 100000 values") {
		t.Errorf("merges: %v", err)
	}

	_, err = parse(t, "name: x\nsteps: [{name: a, controller: script, settings: {d: "+strings.Repeat("[", 500)+strings.Repeat("]", 500)+"}}]\n")
	if err == nil || !strings.Contains(err.Error(), "nested too deep: at most 64 levels") {
		t.Errorf("depth: %v", err)
	}
	if _, err = parse(t, strings.Repeat("[", 200_000)); err == nil {
		t.Error("depth of the syntax: no error")
	}
	_, err = parse(t, "name: x\nsteps: [{name: a, controller: script, settings: {d: '"+strings.Repeat("x", 250_000)+"'}}]\n")
	if err == nil || !strings.Contains(err.Error(), "bytes when it is stored, at most 245760 are allowed") {
		t.Errorf("size: %v", err)
	}
}
