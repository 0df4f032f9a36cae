package openapi

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/stepd/stepd/daemon/internal/api"
)

const refPrefix = "#/components/schemas/"

// schemas collects the schemas of types, each once under its name.
type schemas struct {
	comments map[string]string
	all      map[string]*jsonschema.Schema
	refusals map[string]any
}

func newSchemas() (*schemas, error) {
	comments, err := api.Comments()
	if err != nil {
		return nil, err
	}
	return &schemas{comments: comments, all: map[string]*jsonschema.Schema{}, refusals: map[string]any{}}, nil
}

// of returns a reference to the schema of the value's type. What the daemon is
// sent must have no field that it does not know; what it answers may get more in
// later versions.
func (s *schemas) of(v any, sent bool) *jsonschema.Schema {
	r := jsonschema.Reflector{
		Anonymous: true, AllowAdditionalProperties: !sent,
		Namer: typeName, Mapper: mapped,
		LookupComment: func(t reflect.Type, field string) string { return s.comment(t, field) },
	}
	schema := r.ReflectFromType(reflect.TypeOf(v))
	for name, one := range schema.Definitions {
		if s.all[name] == nil {
			finish(name, one)
			s.all[name] = one
		}
	}
	return &jsonschema.Schema{Ref: refPrefix + typeName(reflect.TypeOf(v))}
}

func (s *schemas) comment(t reflect.Type, field string) string {
	name, _, _ := strings.Cut(t.Name(), "[")
	if field == "" {
		return sentence(s.comments[name])
	}
	text := s.comments[name+"."+field]
	if text == "" {
		if f, ok := t.FieldByName(field); ok {
			text, _, _ = strings.Cut(f.Tag.Get("json"), ",")
			text = usual(text)
		}
	}
	return sentence(text)
}

// typeName is Page[Task] as TaskPage, and all else as it is.
func typeName(t reflect.Type) string {
	name, of, generic := strings.Cut(t.Name(), "[")
	if !generic {
		return name
	}
	of = strings.TrimSuffix(of, "]")
	return of[strings.LastIndexByte(of, '.')+1:] + name
}

// mapped are the types that are words.
func mapped(t reflect.Type) *jsonschema.Schema {
	text := &jsonschema.Schema{Type: "string"}
	switch t {
	case reflect.TypeFor[api.Role]():
		for _, role := range api.Roles() {
			text.Enum = append(text.Enum, role)
		}
	case reflect.TypeFor[api.Code]():
		for _, code := range api.Codes() {
			text.Enum = append(text.Enum, code)
		}
	default:
		return nil
	}
	return text
}

// finish adds what reflection does not see, and turns the references from where
// it puts the schemas to where they are here.
func finish(name string, schema *jsonschema.Schema) {
	names := []string{name}
	switch name { // details have the fields of what they are details of
	case "RunDetail":
		names = append(names, "Run")
	case "StepDetail":
		names = append(names, "Step")
	}
	known := words()
	for p := schema.Properties.Oldest(); p != nil; p = p.Next() {
		for _, of := range names {
			field := of + "." + p.Key
			for _, word := range known[field] {
				p.Value.Enum = append(p.Value.Enum, word)
			}
			if slices.Contains(objects(), field) {
				p.Value.Type = "object"
			}
		}
		refer(p.Value)
	}
}

func refer(schema *jsonschema.Schema) {
	schema.Ref = strings.Replace(schema.Ref, "#/$defs/", refPrefix, 1)
	for _, below := range []*jsonschema.Schema{schema.Items, schema.AdditionalProperties} {
		if below != nil {
			refer(below)
		}
	}
}

// answer is the schema of an answer: that of the type with the version beside it.
func (s *schemas) answer(v any) any {
	return map[string]any{"allOf": []any{map[string]any{"$ref": refPrefix + "Versioned"}, s.of(v, false)}}
}

// refusal is a reference to the answer that is an error with one of the codes.
func (s *schemas) refusal(codes []api.Code) any {
	var names, texts []string
	for _, code := range codes {
		names = append(names, string(code))
		texts = append(texts, "`"+string(code)+"`: "+CodeText(code))
	}
	name := strings.Join(names, "-or-")
	s.refusals[name] = map[string]any{
		"description": strings.Join(texts, " "),
		"content": map[string]any{api.TypeJSON: map[string]any{"schema": map[string]any{
			"allOf": []any{map[string]any{"$ref": refPrefix + "ErrorBody"}},
			"properties": map[string]any{"error": map[string]any{
				"properties": map[string]any{"code": map[string]any{"enum": codes}},
			}},
		}}},
	}
	return map[string]any{"$ref": "#/components/responses/" + name}
}

// finished is all schemas, as the document has them.
func (s *schemas) finished() map[string]any {
	s.of(api.ErrorBody{}, false)
	all := map[string]any{"Versioned": map[string]any{
		"type": "object", "description": "What every answer has.", "required": []string{"schema"},
		"properties": map[string]any{"schema": map[string]any{
			"type": "integer", "const": api.Schema,
			"description": "Version of the JSON: it counts up when a field changes its meaning or goes away, not when one is added.",
		}},
	}}
	for name, schema := range maps.All(s.all) {
		all[name] = schema
	}
	return all
}
