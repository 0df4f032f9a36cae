package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stepd/stepd/daemon/internal/api"
)

func TestChangesReadAsAPersonWantsThem(t *testing.T) {
	raw := func(s string) json.RawMessage {
		if s == "" {
			return nil
		}
		return json.RawMessage(s)
	}
	for _, c := range []struct{ path, op, old, new, want string }{
		{"steps.tables.settings.mode", "changed", `"recreate"`, `"data_only"`, "~ steps.tables.settings.mode: recreate -> data_only"},
		{"max_parallel", "removed", `2`, "", "- max_parallel: 2"},
		{"max_parallel", "added", "", `2`, "+ max_parallel: 2"},
		{"settings.on", "changed", `true`, `"true"`, `~ settings.on: true -> "true"`},
		{"settings.text", "changed", `""`, `"a: b"`, `~ settings.text: "" -> "a: b"`},
		{"locks", "changed", `["a"]`, `["a","b"]`, "~ locks: [a] -> [a, b]"},
		{"steps.mail", "moved", `3`, `1`, "~ steps.mail moved from place 3 to 1"},
		{"steps.mail", "moved", `2`, `2`, "~ steps.mail moved"},
		{"steps.mail", "added", "", `{"name":"mail","controller":"sendmail","settings":{"to":["a@b"]}}`,
			"+ steps.mail:\n+   name: mail\n+   controller: sendmail\n+   settings:\n+     to: [a@b]"},
		{"steps.mail", "removed", `{"name":"mail"}`, "", "- steps.mail:\n-   name: mail"},
		{"settings.a", "changed", `{"b":1}`, `7`, "~ settings.a:\n    - b: 1\n    + 7"},
		{"settings.script", "changed", `"a\nb\nc\nd\n- x\ne\nf\n\ng\n"`, `"a\nb\nc\nd\n- x\nE\nf\n\ng\n"`,
			"~ settings.script:\n      ...\n      d\n      - x\n    - e\n    + E\n      f\n\n      ..."},
		{"description", "changed", `"a\u001b[31m"`, `"b\u202e"`, "~ description: \"a\\e[31m\" -> b\ufffd"},
	} {
		got := strings.TrimRight(changeLines(painter{}, []api.Change{{Path: c.path, Op: c.op, Old: raw(c.old), New: raw(c.new)}}, ""), "\n")
		if got != c.want {
			t.Errorf("%s %s:\n%s\nwant\n%s", c.path, c.op, got, c.want)
		}
	}
}

func TestAStepThatIsOnlyRenamedIsOneChange(t *testing.T) {
	step := func(path, op, body string) api.Change {
		c := api.Change{Path: path, Op: op}
		if op == "added" {
			c.New = json.RawMessage(body)
		} else {
			c.Old = json.RawMessage(body)
		}
		return c
	}
	got := changeLines(painter{}, []api.Change{
		step("steps.a", "removed", `{"name":"a","controller":"noop"}`), step("steps.b", "added", `{"controller":"noop","name":"b"}`),
		step("steps.c", "removed", `{"controller":"noop","when":"true"}`), step("settings.x", "added", `1`),
	}, "")
	if want := "~ steps.a is steps.b now\n- steps.c:\n-   controller: noop\n-   when: \"true\"\n+ settings.x: 1\n"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	// Of several that are alike nothing is lost.
	got = changeLines(painter{}, []api.Change{
		step("steps.a", "removed", `{"controller":"noop"}`), step("steps.b", "removed", `{"controller":"noop"}`), step("steps.c", "added", `{"controller":"noop"}`),
	}, "")
	if !strings.Contains(got, "- steps.a:") || !strings.Contains(got, "~ steps.b is steps.c now") {
		t.Errorf("%s", got)
	}
}

func TestChangesHaveColoursWhereSomebodySeesThem(t *testing.T) {
	got := changeLines(painter{on: true}, []api.Change{{Path: "a", Op: "changed", Old: json.RawMessage(`"- x\ny"`), New: json.RawMessage(`"- x\nz"`)}}, "  ")
	for _, want := range []string{"\x1b[33m~ a:\x1b[0m", "\x1b[31m    - y\x1b[0m", "\x1b[32m    + z\x1b[0m", "\n        - x\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q misses %q", got, want)
		}
	}
}

func TestLongTextsAreShownWholly(t *testing.T) {
	long := strings.Repeat("x\n", mostLines)
	lines := lineDiff(strings.Split(long, "\n"), []string{"x"})
	if len(lines) != mostLines+2 || lines[0].mark != "-" || lines[mostLines+1].mark != "+" {
		t.Errorf("%d lines", len(lines))
	}
}

func TestYAMLBecomesJSON(t *testing.T) {
	for text, want := range map[string]string{
		"name: a\nat: 2026-12-24\n1: yes\nx: [1, 2.5, true, null, ~]": `{"1":"yes","at":"2026-12-24","name":"a","x":[1,2.5,true,null,null]}`,
		`{"name": "a", "n": 12345678901}`:                             `{"n":12345678901,"name":"a"}`,
		"base: &b {a: 1}\nuse: {<<: *b, c: 2}":                        `{"base":{"a":1},"use":{"a":1,"c":2}}`,
	} {
		got, err := jsonOf("x.yaml", []byte(text))
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v, want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{"": "x.yaml is empty", "- a": "x.yaml holds no mapping", "a: [": "x.yaml is neither YAML nor JSON", "a: .inf": "JSON does not have"} {
		if _, err := jsonOf("x.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestPatchesOfWords(t *testing.T) {
	for _, c := range []struct {
		words, unset []string
		want         string
	}{
		{[]string{"settings.mode=data_only", "settings.n=3", `starter=["a","@b"]`, "description="}, []string{"max_parallel"},
			`{"description":"","max_parallel":null,"settings":{"mode":"data_only","n":3},"starter":["a","@b"]}`},
		{[]string{`a="3"`, "b=03", "c=x=y", "d={"}, nil, `{"a":"3","b":"03","c":"x=y","d":"{"}`},
	} {
		got, err := mergePatch(c.words, c.unset)
		if err != nil || string(got) != c.want {
			t.Errorf("%v: %s, %v, want %s", c.words, got, err, c.want)
		}
	}
	for want, words := range map[string][]string{"must be key=value": {"mode"}, "is not valid UTF-8": {"a=\xff"}, "given twice": {"a=1", "a=2"}, "within something": {"a=1", "a.b=2"}, "between its dots": {"a..b=1"}, "nothing is set": nil} {
		if _, err := mergePatch(words, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", words, err, want)
		}
	}
	if _, err := mergePatch([]string{"a=1"}, []string{"a"}); err == nil {
		t.Error("set and unset")
	}
}
