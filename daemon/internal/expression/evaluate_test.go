package expression_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/expression"
	"github.com/stepd/stepd/daemon/internal/task"
)

func env(t *testing.T) task.Env {
	outputs := func(text string) func() (map[string]json.RawMessage, error) {
		return func() (m map[string]json.RawMessage, err error) { return m, json.Unmarshal([]byte(text), &m) }
	}
	never := func() (map[string]json.RawMessage, error) {
		t.Error("outputs were read that nobody asked for")
		return nil, nil
	}
	return task.Env{
		Task: "backup", Settings: json.RawMessage(`{"mode": "recreate", "keep": 7, "list": ["b", "a"], "half": 0.5, "keep-days": 3}`),
		Run:  task.Run{Task: "backup", Number: 42, StartedBy: "ann", Trigger: task.TriggerManual, RestartOf: 41, CreatedAt: time.Date(2026, 3, 1, 1, 0, 0, 0, time.UTC)},
		Step: "send", Attempt: 2, Now: time.Date(2026, 3, 1, 2, 30, 5, 0, time.UTC),
		Steps: []task.EnvStep{
			{Name: "tables", Status: task.StepCompleted, Message: "well", Outputs: outputs(`{"rows": 9007199254740993, "path": "/srv/a b", "list": [1, 2, 3], "map": {"b": [true, null], "a": 1.5}, "none": null}`)},
			{Name: "copy-files", Status: task.StepFailed, Error: "no room", Outputs: never},
			{Name: "skipped", Status: task.StepSkipped, Outputs: outputs(`{}`)},
		},
		Hook: &task.EnvHook{Ref: "backup/41", Number: 41, Status: task.RunFailed, Reason: "why",
			Steps: []task.EnvStep{{Name: "dump", Status: task.StepCompleted, Outputs: outputs(`{"bytes": 12}`)}}},
	}
}

func TestValuesInTexts(t *testing.T) {
	for text, want := range map[string]string{
		`${{ steps.tables.outputs.path }}`:                          `"/srv/a b"`,
		`${{ steps.tables.outputs.rows }}`:                          `9007199254740993`,
		`${{ steps.tables.outputs.rows + 1 }}`:                      `9007199254740994`,
		`${{ steps.tables.outputs.map }}`:                           `{"a":1.5,"b":[true,null]}`,
		`${{ steps.tables.outputs.none }}`:                          `null`,
		`${{ steps.tables.outputs.nothing }}`:                       `null`,
		`${{ steps.skipped.outputs.rows ?? 0 }}`:                    `0`,
		`in ${{ steps.tables.outputs.path }}/x`:                     `"in /srv/a b/x"`,
		`${{ steps.tables.outputs.list }} rows`:                     `"[1,2,3] rows"`,
		`${{ steps.tables.outputs.none }}.`:                         `"."`,
		`${{ run.ref }}${{ run.restart_of }}`:                       `"backup/4241"`,
		`${{ run.scheduled_for }}`:                                  `null`,
		`${{ now }}`:                                                `"2026-03-01T02:30:05Z"`,
		`${{ format(now, "%Y-%m-%d_%H%M%S %j %u %V %%") }}`:         `"2026-03-01_023005 060 7 09 %"`,
		`${{ weekday(zone(now, "America/New_York")) }}`:             `"Saturday"`,
		`${{ now - run.created_at }}`:                               `"1h30m5s"`,
		`${{ now - run.created_at > duration("1h") }}`:              `true`,
		`${{ now > date("2026-02-28") }}`:                           `true`,
		`${{ step.name }}/${{ step.attempt }}`:                      `"send/2"`,
		`$${{ run.ref }} ${{ "}}" }} $5`:                            `"${{ run.ref }} }} $5"`,
		`${{ filter(settings.list, # != "a") }}`:                    `["b"]`,
		`${{ map(1..3, # * 2) }}`:                                   `[2,4,6]`,
		`${{ sum(steps.tables.outputs.list) }}`:                     `6`,
		`${{ join(keys(steps.tables.outputs.map), ", ") }}`:         `"a, b"`,
		`${{ toJSON(steps.tables.outputs.map) }}`:                   `"{\"a\":1.5,\"b\":[true,null]}"`,
		`${{ fromJSON("{\"a\": 1}").a }}`:                           `1`,
		`${{ string(7) + "x" }}`:                                    `"7x"`,
		`${{ settings.list[0] + settings.list[-1] }}`:               `"ba"`,
		`${{ settings["keep-days"] }}`:                              `3`,
		`${{ settings.nothing }}`:                                   `null`,
		`${{ {"a": [1, settings.half]} }}`:                          `{"a":[1,0.5]}`,
		`${{ hook.status }} ${{ hook.steps.dump.outputs.bytes }}`:   `"failed 12"`,
		`${{ steps["copy-files"].error }}`:                          `"no room"`,
		`${{ settings.mode matches "^re" ? "yes" : "no" }}`:         `"yes"`,
		`${{ "a" in settings.list and "keep" in settings }}`:        `true`,
		`${{ settings.mode | upper() }}`:                            `"RECREATE"`,
		`${{ 7 / 2 }}`:                                              `3.5`,
		`${{ "<&>" }}`:                                              `"<&>"`,
		`${{ replace("a-b-c", "-", "--") }}`:                        `"a--b--c"`,
		`${{ max(1, 5, 3) }}`:                                       `5`,
		`${{ len(settings.list) }}`:                                 `2`,
		`${{ split("a,b", ",") }}`:                                  `["a","b"]`,
		`${{ count(steps.tables.outputs.list, # > 1) }}`:            `2`,
		`${{ first(settings.list) ?? "x" }}`:                        `"b"`,
		`${{ all(steps.tables.outputs.list, {# in [1, 2, 3]}) }}`:   `true`,
		`${{ steps.tables.outputs?.nothing?.deep }}`:                `null`,
		`${{ trim("  x ") }}${{ int("12") }}${{ round(1.6) }}`:      `"x122"`,
		`${{ steps.tables.outputs.map["a"] }}`:                      `1.5`,
		`${{ steps.tables.outputs["path"] }}`:                       `"/srv/a b"`,
		`${{ run.started_by }}`:                                     `"ann"`,
		`${{ steps.tables.outputs.list[1:] }}`:                      `[2,3]`,
		`${{ -settings.keep }}`:                                     `-7`,
		`${{ not true }}`:                                           `false`,
		`${{ find(settings.list, # == "a") }}`:                      `"a"`,
		`${{ any(map(steps.tables.outputs.list, # * 2), # == 6) }}`: `true`,
	} {
		settings, err := json.Marshal(map[string]any{"v": text})
		if err != nil {
			t.Fatal(err)
		}
		got, err := expression.Language{}.Settings(settings, env(t))
		if want := `{"v":` + want + `}`; err != nil || string(got) != want {
			t.Errorf("%s\n got %s %v\nwant %s", text, got, err, want)
		}
		if faults, _ := (expression.Language{}).CheckText(text, envScope()); len(faults) > 0 {
			t.Errorf("%s has faults: %s", text, shown(faults))
		}
	}
}

// envScope is the scope of what env gives.
func envScope() task.Scope {
	return task.Scope{Settings: []string{"mode", "keep", "list", "half", "keep-days", "nothing"}, Steps: []string{"tables", "copy-files", "skipped"},
		Hook: true, RunSteps: []string{"dump"}}
}

func TestSettingsKeepWhatIsNoExpression(t *testing.T) {
	in := `{"a": [1e2, 1.10, 12345678901234567890, {"b": "${{ settings.keep }}", "c": "x"}], "${{ key }}": "<b>", "d": {"secret": "pw"}, "e": null}`
	want := `{"${{ key }}":"<b>","a":[1e2,1.10,12345678901234567890,{"b":7,"c":"x"}],"d":{"secret":"pw"},"e":null}`
	got, err := expression.Language{}.Settings(json.RawMessage(in), env(t))
	if err != nil || string(got) != want {
		t.Errorf("got %s %v", got, err)
	}
}

func TestConditions(t *testing.T) {
	for condition, want := range map[string]bool{
		`steps.tables.status == "completed" and steps.tables.outputs.rows > 0`: true,
		`steps["copy-files"].status == "completed"`:                            false,
		`steps.tables.outputs.nothing == nil`:                                  true,
		`"x" in (steps.skipped.outputs.list ?? [])`:                            false,
		`run.scheduled_for == nil`:                                             true,
		`hook.reason contains "wh"`:                                            true,
		`steps.tables.outputs.list == [1, 2, 3]`:                               true,
	} {
		got, err := expression.Language{}.When(condition, env(t))
		if err != nil || got != want {
			t.Errorf("%s gives %v %v", condition, got, err)
		}
	}
}

func TestWhatCannotBeEvaluated(t *testing.T) {
	for condition, want := range map[string]string{
		`steps.skipped.outputs.rows > 0`:   "give it a value with ??",
		`steps.tables.outputs.path`:        "it must give true or false, and gives a text",
		`steps.tables.outputs.none`:        "it must give true or false, and gives nothing (nil)",
		`steps.gone.status == "failed"`:    "there is no earlier step gone",
		`steps.tables.outputs.path > 1`:    "string",
		`steps.tables.outputs.rows.x == 1`: "cannot fetch x",
		`fromJSON(settings.mode) == 1`:     "this is no JSON",
		`fromJSON("1e999") == 1`:           "too large",
		`1 % 0 == 1`:                       "a division by zero",
		`zone(now, "Moon/Sea") == now`:     "there is no time zone",
		`format(now, "%Q") == ""`:          "%Q",
		`join([1], 2) == ""`:               "join takes a text",
		`keys(1) == []`:                    "keys takes a map",
		`string(1/0) == ""`:                "no number that can be written down",
		`settings.keep contains "a"`:       "contains looks at texts",
		`let x = 1; x == 1`:                "variables",
		`$env == nil`:                      "there is no $env",
	} {
		_, err := expression.Language{}.When(condition, env(t))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %s", condition, err, want)
		}
	}
}

func TestOutputsThatCannotBeReadAreTold(t *testing.T) {
	e := env(t)
	e.Steps[0].Outputs = func() (map[string]json.RawMessage, error) { return nil, errors.New("the disk is gone") }
	if _, err := (expression.Language{}).When(`steps.tables.outputs.a == 1`, e); err == nil || !strings.Contains(err.Error(), "the disk is gone") {
		t.Error(err)
	}
	if _, err := (expression.Language{}).Settings(json.RawMessage(`{"a": {"b": ["${{ steps.tables.outputs.a }}"]}}`), e); err == nil || !strings.HasPrefix(err.Error(), "a.b[0]: ") {
		t.Error(err)
	}
	if yes, err := (expression.Language{}).When(`steps.tables.status == "completed"`, e); err != nil || !yes {
		t.Error("a status wants no outputs:", err)
	}
}

// What is small to write and would be large, or long, to evaluate.
func TestCostIsBounded(t *testing.T) {
	list := "[" + strings.TrimSuffix(strings.Repeat("1,", 30000), ",") + "]"
	e := env(t)
	e.Settings = json.RawMessage(`{"list": ` + list + `, "text": "` + strings.Repeat("ab", 30000) + `"}`)
	double := `settings.text`
	for range 40 {
		double = `map([` + double + `], # + #)[0]`
	}
	for name, text := range map[string]string{
		"texts that double":   double + ` == ""`,
		"replace":             `replace(settings.text, "", settings.text) == ""`,
		"join":                `join(map(settings.list, settings.text), "") == ""`,
		"lists in lists":      `all(settings.list, # in settings.list or settings.list == [])`,
		"a pattern in a list": `all(settings.list, not (settings.text matches "(a|b)*c{50}(a|b)*c"))`,
		"contains in a list":  `all(settings.list, not (settings.text contains "abc"))`,
		"ranges":              `len(1..1000000000) == 1`,
		"ranges in a list":    `all(settings.list, len(1..10000) == 10000)`,
		"copies":              `len(map(settings.list, toJSON(settings.list))) == 0`,
		"deep":                strings.Repeat("(", 2000) + "1" + strings.Repeat(")", 2000) + " == 1",
		"not":                 strings.Repeat("!", 4000) + "true",
		"long":                strings.Repeat(" ", 5000) + "true",
		"many":                strings.Repeat("1+", 1500) + "1 == 1",
		"sorted":              `len(filter(settings.list, len(values(settings)) > 0 and toJSON(settings) != "")) > 0`,
		"a map of maps":       `len(map(settings.list, {"a": settings.text + "x"})) > 0`,
	} {
		began := time.Now()
		_, err := expression.Language{}.When(text, e)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s took %s", name, took)
		}
		if err == nil && name != "deep" && name != "a pattern in a list" {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestReferences(t *testing.T) {
	l := expression.Language{}
	got := l.References(`steps.a.outputs.x > 1 and steps["b-c"].status == "failed" or hook.steps.d.outputs["y"] == 1 and any([1], steps.a.outputs.x == #)`)
	want := []expression.Reference{{Step: "a", Field: "outputs", Output: "x"}, {Step: "b-c", Field: "status"}, {Hook: true, Step: "d", Field: "outputs", Output: "y"}}
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %+v, want %+v", got[i], want[i])
		}
	}
	if got := l.TextReferences("a ${{ steps.a.outputs }} $${{ steps.no.status }} ${{ steps.b.error }}"); len(got) != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestHas(t *testing.T) {
	for settings, want := range map[string]bool{
		`{"a": "b"}`: false, `{"a": ["${{ x }}"]}`: true, `{"a": "$${{"}`: true, `{"a": "\u0024{{ x }}"}`: true, `{"a": "\u003c"}`: false, ``: false,
	} {
		if got := (expression.Language{}).Has(json.RawMessage(settings)); got != want {
			t.Errorf("%s: %v", settings, got)
		}
	}
}
