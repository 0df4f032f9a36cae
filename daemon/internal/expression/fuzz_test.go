package expression_test

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/stepd/stepd/daemon/internal/expression"
)

func seeds() []string {
	return []string{
		`steps.tables.status == "completed"`, `${{ steps.tables.outputs.rows }}`, `a ${{ {"a": [1, 2]} }} $${{ b }}`, `all(settings.list, {# matches "a+"})`,
		`settings?.a[1:2] ?? now`, `map(1..3, #index)`, `{"a": 1}.a`, `1 + "a"`, `now - now`, `hook.steps.dump.outputs`, `${{ "` + "`" + `" }}`, `"\u{1f600}"`, `b"x"`,
		`steps["a"]["b"]`, `#`, `if true {1} else {2}`, `fromJSON("[[[") ** 2`, `$env`, `1..`, `-settings`, `date("x")`, `not in`, `x.y()?.z`, `a;b`, `/* " */ 1`,
	}
}

// Whatever is written, nothing panics, faults are within the text, and what is
// evaluated is JSON.
func FuzzLanguage(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) { attack(t, text) })
}

func attack(t interface{ Fatalf(string, ...any) }, text string) {
	l := expression.Language{}
	for _, fault := range l.CheckWhen(text, envScope()) {
		if fault.Offset < 0 || fault.Offset > len(text) || fault.Message == "" {
			t.Fatalf("%q: fault at %d: %q", text, fault.Offset, fault.Message)
		}
	}
	faults, found := l.CheckText(text, envScope())
	for _, fault := range faults {
		if fault.Offset < 0 || fault.Offset > len(text) || fault.Message == "" {
			t.Fatalf("%q: fault at %d: %q", text, fault.Offset, fault.Message)
		}
	}
	l.References(text)
	l.TextReferences(text)
	quiet := env(nil)
	quiet.Steps[1].Outputs = nil
	_, _ = l.When(text, quiet)
	settings, err := json.Marshal(map[string]string{"v": text})
	if err != nil {
		t.Fatalf("%v", err)
	}
	if l.Has(settings) != found {
		t.Fatalf("%q: Has says %v, CheckText %v", text, !found, found)
	}
	out, err := l.Settings(settings, quiet)
	if err == nil && !json.Valid(out) {
		t.Fatalf("%q gives %s", text, out)
	}
	if err == nil && !found && utf8.ValidString(text) {
		var v map[string]string
		if json.Unmarshal(out, &v) != nil || v["v"] != text {
			t.Fatalf("%q became %s", text, out)
		}
	}
	again, err2 := l.Settings(settings, quiet)
	if (err == nil) != (err2 == nil) || string(out) != string(again) {
		t.Fatalf("%q gives %s, and then %s", text, out, again)
	}
}

// Pieces of the language, put together at random, reach further than bytes do.
func TestTextsPutTogether(t *testing.T) {
	words := []string{"${{", "}}", "$", "{", "}", `"a"`, "'b'", "`", "(", ")", "[", "]", ".", "?.", "??", "?", ":", ",", " ", "+", "-", "*", "/", "%", "**", "..",
		"==", "!=", "<", ">", "in", " and ", " or ", "not ", "matches", "contains", "steps", "tables", "outputs", "rows", "list", "settings", "keep", "run", "number",
		"now", "hook", "dump", "#", "#index", "all", "map", "filter", "count", "len", "join", "keys", "toJSON", "fromJSON", "format", "zone", "int", "date", "1", "2.5",
		"nil", "true", "|", "let x = 1;", "steps.tables.outputs.list", "steps.tables.outputs.map", "settings.list", "now", `"a+"`}
	rapid.Check(t, func(rt *rapid.T) {
		text := ""
		for _, word := range rapid.SliceOfN(rapid.SampledFrom(words), 1, 14).Draw(rt, "words") {
			text += word
		}
		attack(rt, text)
	})
}

// What is checked without a fault and has all its values is evaluated without an
// error, and a text with no expression stays as it is.
func TestEscapesComeBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		words := rapid.StringMatching(`[a-z$ {}"'ä]{0,20}`).Draw(rt, "words")
		escaped := ""
		for i := 0; i < len(words); i++ {
			if len(words)-i >= 3 && words[i:i+3] == "${{" {
				escaped += "$"
			}
			escaped += words[i : i+1]
		}
		settings, err := json.Marshal(map[string]string{"v": escaped + `${{ "x" }}`})
		if err != nil {
			rt.Fatal(err)
		}
		if len(words) > 0 && words[len(words)-1] == '$' {
			rt.Skip("it would escape what follows")
		}
		out, err := expression.Language{}.Settings(settings, env(nil))
		var v map[string]string
		if err != nil || json.Unmarshal(out, &v) != nil || v["v"] != words+"x" {
			rt.Fatalf("%q became %s %v", escaped, out, err)
		}
	})
}
