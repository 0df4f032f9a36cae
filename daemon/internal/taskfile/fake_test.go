package taskfile_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeControllers answers from a map and counts the lookups.
type fakeControllers struct {
	schemas map[string]string
	lookups map[string]int
}

func (f *fakeControllers) Lookup(_ context.Context, name string) (task.ControllerInfo, error) {
	f.lookups[name]++
	if name == "crashing" {
		return task.ControllerInfo{}, errors.New("plugin crashing exited with status 2; its last lines on stderr:\nno licence\n\tfound\n")
	}
	schema, ok := f.schemas[name]
	if !ok {
		return task.ControllerInfo{}, fmt.Errorf("no plugin serves it: %w", task.ErrNotFound)
	}
	return task.ControllerInfo{Name: name, Plugin: name, Schema: json.RawMessage(schema), Effect: task.Idempotent}, nil
}

// fakeSchedules finds fault with each text that has "bad" in it, and with rates
// of less than a second. It remembers what it was asked.
type fakeSchedules struct {
	tasks     []string
	schedules []task.Schedule
}

func (f *fakeSchedules) Timezone() string { return "Europe/Vienna" }

func (f *fakeSchedules) Check(name string, s task.Schedule) []task.ScheduleFault {
	f.tasks, f.schedules = append(f.tasks, name), append(f.schedules, s)
	var faults []task.ScheduleFault
	if s.Cron == "" && s.At == "" && s.Rate == 0 && s.Delay == 0 {
		faults = append(faults, task.ScheduleFault{Message: "is never due"})
	}
	if s.Rate > 0 && s.Rate < time.Second {
		faults = append(faults, task.ScheduleFault{Field: "rate", Message: "is too short", Hint: "a second is the least"})
	}
	for i, day := range s.Exclude {
		faults = append(faults, badText("exclude", i, day)...)
	}
	for field, text := range map[string]string{"cron": s.Cron, "at": s.At, "timezone": s.Timezone, "start": s.Start, "end": s.End, "anchor": s.Anchor} {
		faults = append(faults, badText(field, 0, text)...)
	}
	return faults
}

func (f *fakeSchedules) CheckExpect(e task.Expect) []task.ScheduleFault {
	return slices.Concat(badText("by", 0, e.By), badText("days", 0, e.Days), badText("timezone", 0, e.Timezone))
}

func badText(field string, index int, text string) []task.ScheduleFault {
	if at := strings.Index(text, "bad"); at >= 0 {
		return []task.ScheduleFault{{Field: field, Index: index, Offset: at, Message: "is bad", Hint: "make it good"}}
	}
	return nil
}

func controllers() *fakeControllers {
	return &fakeControllers{lookups: map[string]int{}, schemas: map[string]string{
		// As a schema is made from a Go struct: everything behind a reference.
		"dumptables": `{"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": "#/$defs/Settings", "$defs": {"Settings": {
			"type": "object", "additionalProperties": false, "required": ["dsn"], "properties": {
			"dsn": {"type": "string", "minLength": 1, "description": "Where the database is.", "not": {"pattern": ":.*@", "title": "holds a password", "description": "take it out"}},
			"mode": {"type": "string", "enum": ["data_only", "recreate"]},
			"tables": {"type": "array", "items": {"type": "string"}, "minItems": 1},
			"rows": {"type": "integer", "minimum": 1, "maximum": 100000},
			"ratio": {"type": "number", "exclusiveMinimum": 0},
			"backup_dir": {"type": "string"},
			"password": {"type": "string", "secret": true, "description": "Of the database user."}}}}}`,
		"copyfiles": `{"type": "object", "additionalProperties": false, "required": ["source"], "properties": {
			"source": {"type": "string"}, "target": {"type": "string"}, "backup_dir": {"type": "string"},
			"include": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "uniqueItems": true}]},
			"follow": {"type": "boolean"},
			"mode": {"type": "integer"}}}`,
		"compress": `{"type": "object", "additionalProperties": false, "required": ["format"], "properties": {
			"format": {"enum": ["tar.gz", "tar.zst", "1.10", "0123"]}, "level": {"type": "integer", "minimum": 1, "maximum": 9},
			"label": {"type": ["string", "null"]}, "since": {"type": "string"}, "backup_dir": {"type": "string"}}}`,
		"sendmail": `{"type": "object", "additionalProperties": false, "required": ["to", "smtp"], "properties": {
			"to": {"type": "array", "items": {"type": "string", "format": "email"}, "minItems": 1},
			"smtp": {"$ref": "#/$defs/smtp"}, "headers": {"type": "object", "additionalProperties": {"type": "string"}},
			"secret": {"type": "string"}},
			"$defs": {"smtp": {"type": "object", "additionalProperties": false, "required": ["host", "password"], "properties": {
			"host": {"type": "string"}, "port": {"type": "integer"}, "password": {"type": "string", "secret": true}}}}}`,
		"script":        ``,
		"script/rotate": `{"type": "object", "properties": {"keep": {"type": "integer"}}}`,
		"tree": `{"$defs": {"node": {"type": "object", "additionalProperties": false, "properties": {
			"label": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}},
			"type": "object", "properties": {"root": {"$ref": "#/$defs/node"}}, "additionalProperties": false}`,
		"labels": `{"type": "object", "properties": {"a": {"type": "object"}}, "additionalProperties": {"type": "string"}}`,
		// What one value is decides about others.
		"forms": `{"type": "object", "properties": {"kind": {"enum": ["a", "b"]}, "x": {}, "not": {"type": "string", "not": {"const": "c"}},
			"set": {"type": "array", "contains": {"const": "c"}, "uniqueItems": true},
			"one": {"oneOf": [{"const": "c"}, {"const": "d"}]},
			"any": {"anyOf": [{"type": "object", "additionalProperties": false, "properties": {"kind": {"const": "a"}}}]}},
			"if": {"properties": {"kind": {"const": "a"}}}, "then": {"required": ["x"]}}`,
		"broken": `{"type": 5}`,
		"remote": `{"$ref": "file:///etc/passwd"}`,
		"loop":   `{"$ref": "#"}`,
		"branchy": `{"$defs": {"n": {"anyOf": [{"$ref": "#/$defs/o"}, {"$ref": "#/$defs/o"}, {"type": "string"}]},
			"o": {"type": "object", "additionalProperties": {"anyOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}]}}}, "$ref": "#/$defs/o"}`,
	}}
}

func parse(t testing.TB, text string) (task.Task, error) {
	t.Helper()
	return taskfile.Parse(context.Background(), taskfile.Source{Name: "backup.yaml", Dir: "/srv/shop", Data: []byte(text)}, ports())
}

func mustParse(t testing.TB, text string) task.Task {
	t.Helper()
	got, err := parse(t, text)
	if err != nil {
		t.Fatalf("parse:\n%v", err)
	}
	return got
}

func ports() taskfile.Ports {
	return taskfile.Ports{Controllers: controllers(), Schedules: new(fakeSchedules), Expressions: fakeExpressions{}}
}

// fakeExpressions finds fault with each "bad", and with names of steps that are
// not earlier: steps.NAME, and hook.NAME in a hook.
type fakeExpressions struct{}

func (fakeExpressions) CheckWhen(text string, scope task.Scope) (faults []task.ExpressionFault) {
	for at := range len(text) {
		word := func(prefix string) (string, bool) {
			rest, ok := strings.CutPrefix(text[at:], prefix)
			end := strings.IndexFunc(rest, func(r rune) bool { return !(r >= 'a' && r <= 'z') })
			if end < 0 {
				end = len(rest)
			}
			return rest[:end], ok && rest[:end] != ""
		}
		if strings.HasPrefix(text[at:], "bad") {
			faults = append(faults, task.ExpressionFault{Offset: at, Message: "this is bad", Hint: "make it good"})
		}
		if name, ok := word("steps."); ok && !slices.Contains(scope.Steps, name) {
			message := "there is no step " + name
			if slices.Contains(scope.Later, name) {
				message = name + " is not earlier"
			}
			faults = append(faults, task.ExpressionFault{Offset: at + len("steps."), Message: message})
		}
		if name, ok := word("hook."); ok && !(scope.Hook && slices.Contains(scope.RunSteps, name)) {
			faults = append(faults, task.ExpressionFault{Offset: at, Message: "no hook of " + name})
		}
		if name, ok := word("settings."); ok && !slices.Contains(scope.Settings, name) {
			faults = append(faults, task.ExpressionFault{Offset: at, Message: "no setting " + name})
		}
	}
	return faults
}

func (f fakeExpressions) CheckText(text string, scope task.Scope) (faults []task.ExpressionFault, found bool) {
	for at := 0; ; {
		start := strings.Index(text[at:], "${{")
		if start < 0 {
			return faults, found
		}
		start += at
		end := strings.Index(text[start:], "}}")
		if end < 0 {
			end = len(text) - start
		}
		at = start + end
		if start > 0 && text[start-1] == '$' {
			continue
		}
		found = true
		for _, fault := range f.CheckWhen(text[start+3:at], scope) {
			fault.Offset += start + 3
			faults = append(faults, fault)
		}
	}
}
