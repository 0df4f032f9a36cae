package taskfile_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"github.com/stepd/stepd/daemon/internal/taskfile"
)

// A fault of an expression is shown where it stands, however the text is written.
func TestExpressionsAreFaultyWhereTheyAre(t *testing.T) {
	for _, c := range []struct{ name, when, want string }{
		{"plain", "a and bad", "3:45"},
		{"at its start", "bad", "3:39"},
		{"anchor", "&x !!str a bad", "3:50"},
		{"plain over lines", "a\n      and\n\n     bad", "6:6"},
		{"double quotes", `"a \"x\" bad"`, "3:48"},
		{"escapes", `"\u0061\x62\t\U0001F600 é bad"`, "3:65"},
		{"double quotes over lines", "\"a \n\n  b\\\n     c \\  \n    bad\"", "7:5"},
		{"at the start of a joined line", "\"a \\\n   bad\"", "4:4"},
		{"single quotes", "'a ''x'' é bad'", "3:50"},
		{"single quotes over lines", "'a\n   b\n\n   bad'", "6:4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(t, "name: x\nsteps:\n- {name: a, controller: script, when: "+c.when+"}\n")
			expect(t, err, c.want+" steps[0].when: this is bad | make it good")
		})
	}
	for _, c := range []struct{ name, when, want string }{
		{"literal", "|\n    a\n\n      b bad", "7:9"},
		{"literal with a mark", "|2-\n      a\n    bad", "6:5"},
		{"literal after empty lines", "|-\n\n\n    a bad", "7:7"},
		{"folded", ">\n    a\n    b\n\n    bad", "8:5"},
		{"folded with indented lines", ">-\n    a\n      b\n    c bad\n", "7:7"},
		{"folded and kept", "&x >+ # why\n    a\n    bad", "6:5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(t, "name: x\nsteps:\n- name: a\n  when: "+c.when+"\n  controller: script\n")
			expect(t, err, c.want+" steps[0].when: this is bad | make it good")
		})
	}
}

// What expressions may speak of depends on where they stand.
func TestExpressionsKnowTheirPlace(t *testing.T) {
	const steps = "steps:\n" +
		"- {name: one, controller: script, when: steps.one}\n" +
		"- {name: two, controller: script, when: steps.one or steps.three or settings.dir}\n" +
		"- {name: three, controller: script, order: 2, settings: {a: '${{ steps.one }}${{ steps.two }}'}}\n" +
		"- {name: four, controller: script, when: steps.two and steps.three and hook.one and settings.none}\n"
	_, err := parse(t, "name: x\nsettings: {dir: d}\n"+steps+
		"expect: 06:00\non_missed: [{controller: script, when: steps.one}]\n"+
		"on_end: [{name: a, controller: script, when: hook.four}, {name: b, controller: script, when: steps.a and steps.four}]\n")
	expect(t, err,
		"4:47 steps[0].when: one is not earlier | ",
		"5:60 steps[1].when: three is not earlier | ",
		"6:88 steps[2].settings.a: two is not earlier | ",
		"7:72 steps[3].when: no hook of one | ",
		"7:85 steps[3].when: no setting none | ",
		`8:9 expect must be a mapping, found the text "06:00" | write a time of day, as in expect: {by: "06:00"}`,
		"9:46 on_missed[0].when: there is no step one | ",
		"10:112 on_end[1].when: there is no step four | ")
}

// A value that an expression will give is not judged by the schema; all else is.
func TestOnlyWhatAnExpressionGivesIsExcused(t *testing.T) {
	for _, c := range []struct {
		controller, settings string
		want                 []string
	}{
		{"dumptables", "{dsn: x, rows: '${{ 1 }}', mode: '${{ m }}', tables: '${{ list }}'}", nil},
		{"dumptables", "{rows: '${{ 1 }}'}", []string{"5:5 steps[0].settings.dsn is required | Where the database is."}},
		{"dumptables", "{dsn: x, rows: '${{ 1 }}', ratio: 0, mod: x, tables: []}", []string{
			"5:49 steps[0].settings.ratio must be more than 0, found 0 | ",
			`5:52 unknown setting "mod" | did you mean "mode"?`,
			"5:68 steps[0].settings.tables must not be empty | "}},
		{"dumptables", "{dsn: x, tables: ['${{ a }}', {b: c}]}", []string{"5:45 steps[0].settings.tables[1] must be text, found a mapping | "}},
		{"dumptables", "{dsn: x, rows: '$${{ 1 }}'}", []string{`5:30 steps[0].settings.rows must be a whole number, found the text "$${{ 1 }}" | `}},
		{"dumptables", "{dsn: x, rows: '${{ bad }}'}", []string{"5:35 steps[0].settings.rows: this is bad | make it good"}},
		{"copyfiles", "{source: x, include: ['${{ a }}', '${{ a }}']}", nil},
		{"copyfiles", "{source: x, include: {a: '${{ a }}'}}", []string{"5:36 steps[0].settings.include must be text or a list, found a mapping | "}},
		{"copyfiles", "{source: x, include: ['${{ a }}', [b]]}", []string{"5:49 steps[0].settings.include[1] must be text, found a list | "}},
		{"forms", "{kind: '${{ k }}'}", nil},
		{"forms", "{kind: a}", []string{"5:5 steps[0].settings.x is required | "}},
		{"forms", "{kind: b, not: '${{ k }}', set: ['${{ k }}', 1]}", nil},
		{"forms", "{kind: b, one: '${{ k }}', any: {kind: '${{ k }}'}}", nil},
		{"forms", "{kind: b, any: {kind: '${{ k }}', more: 1}}", []string{`5:49 unknown setting "more" | known here: kind`}},
		// A secret is named, and nothing else.
		{"dumptables", "{dsn: x, password: '${{ p }}'}", []string{"5:34 steps[0].settings.password is a secret and must not be written here | " + secret}},
		{"dumptables", "{dsn: x, password: {secret: '${{ p }}'}}", []string{
			"5:43 steps[0].settings.password.secret names a secret and cannot hold an expression | write the name of the secret itself"}},
	} {
		t.Run(c.settings, func(t *testing.T) {
			_, err := parse(t, "name: x\nsteps:\n  - name: a\n    controller: "+c.controller+"\n    settings: "+c.settings+"\n")
			if c.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			expect(t, err, c.want...)
		})
	}
}

// Settings of the task are judged in each step that takes them.
func TestExpressionsOfTheTaskBelongToItsSteps(t *testing.T) {
	text := "name: x\nsettings:\n  rows: ${{ steps.one }}\n  region: x\n  all: ${{ settings.region + steps.two }}\nsteps:\n" +
		"- {name: one, controller: %[1]s, settings: {dsn: x}}\n- {name: two, controller: dumptables, settings: {dsn: x}}\n"
	_, err := parse(t, fmt.Sprintf(text, "script"))
	expect(t, err, "3:19 settings.rows: one is not earlier | ", "5:36 settings.all: two is not earlier | ")
	// An expression that nobody takes is not judged, and nobody takes what nothing mentions.
	_, err = parse(t, strings.Replace(fmt.Sprintf(text, "dumptables"), "region: x", "regoin: x", 1))
	expect(t, err, "3:19 settings.rows: one is not earlier | ",
		`4:3 no step takes the setting "regoin" | known here: backup_dir, dsn, mode, password, ratio, rows, tables`,
		`5:3 no step takes the setting "all" | known here: backup_dir, dsn, mode, password, ratio, rows, tables`)
}

// Without somebody to check them they are refused, not carried out as text.
func TestExpressionsNeedSomebodyWhoKnowsThem(t *testing.T) {
	with := ports()
	with.Expressions = nil
	_, err := taskfile.Parse(t.Context(), taskfile.Source{Name: "f", Data: []byte(
		"name: x\nsteps: [{name: a, controller: script, when: a, settings: {b: '${{ c }}'}}]\n")}, with)
	expect(t, err, "2:45 conditions cannot be read here | ", "2:62 steps[0].settings.b holds an expression, and these cannot be read here | ")
}

// In whatever style a text is written and broken into lines, what is wrong in it
// is found.
func TestEveryPlaceWithinATextIsFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Line ends that no editor makes are kept as they are within quotes: there
		// the scalar itself is shown.
		some := text().Filter(func(s string) bool { return !strings.ContainsAny(s, "b\u0085\u2028\u2029\r") })
		when := some.Draw(t, "before") + strings.Repeat("a c ", rapid.IntRange(0, 8).Draw(t, "much")) + "bad" + some.Draw(t, "behind")
		when += strings.Repeat(" d", rapid.IntRange(0, 4).Draw(t, "more"))
		style := rapid.SampledFrom([]yaml.Style{0, yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle, yaml.LiteralStyle, yaml.FoldedStyle}).Draw(t, "style")
		scalar := func(text string, style yaml.Style) *yaml.Node {
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text, Style: style}
		}
		step := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{
			scalar("name", 0), scalar("a", 0), scalar("when", 0), scalar(when, style), scalar("controller", 0), scalar("script", 0)}}
		steps := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: []*yaml.Node{step}}
		root := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{scalar("name", 0), scalar("x", 0), scalar("steps", 0), steps}}
		file, err := yaml.Dump(root, yaml.WithV4Defaults(), yaml.WithLineWidth(rapid.SampledFrom([]int{-1, 20, 40}).Draw(t, "width")))
		if err != nil {
			t.Skip(err)
		}
		_, err = taskfile.Parse(t.Context(), taskfile.Source{Name: "f", Data: file}, ports())
		faults, ok := errors.AsType[*taskfile.Errors](err)
		if !ok {
			t.Fatalf("no fault: %v\n%s", err, file)
		}
		f := faults.Problems[0]
		if f.Path != "steps[0].when" {
			t.Skip(err) // the file itself was not written well
		}
		if at := []rune(f.Excerpt)[f.Column-1:]; !strings.HasPrefix(string(at), "bad") && !strings.HasPrefix(string(at), `\x62`) {
			t.Fatalf("found at %q in\n%s\n%q", string(at), file, when)
		}
	})
}
