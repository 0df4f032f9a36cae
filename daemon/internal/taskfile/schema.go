package taskfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schema is a controller's schema of its settings, compiled for the check and
// raw for reading values by it. Schemas come from plugins and may be anything.
type schema struct {
	root     any // as decoded, secrets replaced by what a reference looks like
	compiled *jsonschema.Schema
	known    []string // the settings that it has a word for, sorted
	takesAll bool     // and it takes others too
}

// place is the part of a schema that holds for one value: a JSON Schema put
// together from all the parts that speak of it.
type place = any

// maxSchemaWork bounds one question to a schema, whose references may be
// circular or branch without end. Beyond it everything is allowed; the
// compiled schema decides.
const maxSchemaWork = 500

const secretHint = "name the secret: {secret: NAME}; the value itself is kept out of the task file"

type refuseLoader struct{}

func (refuseLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("a settings schema must hold all that it refers to; %s is outside", url)
}

// newSchema compiles; without a schema everything is allowed.
func newSchema(raw json.RawMessage) (s *schema, err error) {
	// The library is given what a plugin wrote, and a plugin must not end the
	// daemon.
	defer func() {
		if r := recover(); r != nil {
			s, err = nil, fmt.Errorf("compile: %v", r)
		}
	}()
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = json.RawMessage("true")
	}
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	s = &schema{root: withReferences(root, 0)}
	const at = "stepd:settings"
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(refuseLoader{})
	compiler.AssertFormat()
	if err := compiler.AddResource(at, s.root); err != nil {
		return nil, err
	}
	s.compiled, err = compiler.Compile(at)
	if err != nil {
		return nil, err
	}
	s.known, s.takesAll = s.names(s.root), s.open(s.root)
	return s, nil
}

// validate checks an instance; the error is a fault of the schema itself.
func (s *schema) validate(instance any) (found *jsonschema.ValidationError, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("validate: %v", r)
		}
	}()
	errors.As(s.compiled.Validate(instance), &found)
	return found, nil
}

// withReferences puts, for each schema marked secret, the schema of a
// reference in its place. It follows the keywords that hold schemas, so that a
// property that happens to be called secret is left alone.
func withReferences(s any, depth int) any {
	m, ok := s.(map[string]any)
	if !ok || depth > 100 {
		return s
	}
	if m["secret"] == true {
		ref := map[string]any{
			"secret": true, "type": "object", "required": []any{"secret"}, "additionalProperties": false,
			"properties": map[string]any{"secret": map[string]any{"type": "string", "minLength": json.Number("1")}},
		}
		if d, ok := m["description"].(string); ok {
			ref["description"] = d
		}
		return ref
	}
	out := make(map[string]any, len(m))
	for key, v := range m {
		switch key {
		case "properties", "patternProperties", "$defs", "definitions", "dependentSchemas":
			if of, ok := v.(map[string]any); ok {
				changed := make(map[string]any, len(of))
				for name, sub := range of {
					changed[name] = withReferences(sub, depth+1)
				}
				v = changed
			}
		case "items", "prefixItems", "allOf", "anyOf", "oneOf":
			if of, ok := v.([]any); ok {
				changed := make([]any, len(of))
				for i, sub := range of {
					changed[i] = withReferences(sub, depth+1)
				}
				v = changed
			} else {
				v = withReferences(v, depth+1)
			}
		case "additionalProperties", "additionalItems", "unevaluatedProperties", "unevaluatedItems",
			"not", "if", "then", "else", "contains", "propertyNames":
			v = withReferences(v, depth+1)
		}
		out[key] = v
	}
	return out
}

// resolve finds what a $ref within the schema points to.
func (s *schema) resolve(ref string) (any, bool) {
	if ref == "#" {
		return s.root, true
	}
	pointer, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil, false
	}
	at := s.root
	for token := range strings.SplitSeq(pointer, "/") {
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		switch v := at.(type) {
		case map[string]any:
			if at, ok = v[token]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) {
				return nil, false
			}
			at = v[i]
		default:
			return nil, false
		}
	}
	return at, true
}

// types is a set of JSON types.
type types uint8

const (
	typeNull types = 1 << iota
	typeBool
	typeInteger
	typeNumber
	typeString
	typeArray
	typeObject
	typeAny = 1<<7 - 1
)

func typeNamed(name any) types {
	switch name {
	case "null":
		return typeNull
	case "boolean":
		return typeBool
	case "integer":
		return typeInteger
	case "number":
		return typeNumber | typeInteger
	case "string":
		return typeString
	case "array":
		return typeArray
	case "object":
		return typeObject
	}
	return 0
}

func typeOfValue(v any) types {
	switch v.(type) {
	case nil:
		return typeNull
	case bool:
		return typeBool
	case json.Number:
		return typeInteger | typeNumber
	case string:
		return typeString
	case []any:
		return typeArray
	}
	return typeObject
}

// query is one question to a schema, with its bound.
type query struct {
	*schema
	work int
}

func (s *schema) ask() *query { return &query{schema: s} }

func (q *query) spent() bool {
	q.work++
	return q.work > maxSchemaWork
}

// parts takes apart what a schema says through other schemas: all gets each of
// those that must hold too, either gets lists of which one must hold.
func (q *query) parts(m map[string]any, all func(any), either func([]any)) {
	if ref, ok := m["$ref"].(string); ok {
		if target, ok := q.resolve(ref); ok {
			all(target)
		}
	}
	if of, ok := m["allOf"].([]any); ok {
		for _, sub := range of {
			all(sub)
		}
	}
	for _, key := range []string{"anyOf", "oneOf"} {
		if of, ok := m[key].([]any); ok && len(of) > 0 {
			either(of)
		}
	}
}

// types are the types that a value of the place may have.
func (q *query) types(at place) types {
	if at == false {
		return 0
	}
	m, ok := at.(map[string]any)
	if !ok || q.spent() {
		return typeAny
	}
	set := types(typeAny)
	switch t := m["type"].(type) {
	case string:
		set = typeNamed(t)
	case []any:
		set = 0
		for _, name := range t {
			set |= typeNamed(name)
		}
	}
	if v, ok := m["const"]; ok {
		set &= typeOfValue(v)
	}
	if values, ok := m["enum"].([]any); ok {
		of := types(0)
		for _, v := range values {
			of |= typeOfValue(v)
		}
		set &= of
	}
	q.parts(m,
		func(sub any) { set &= q.types(sub) },
		func(of []any) {
			union := types(0)
			for _, sub := range of {
				union |= q.types(sub)
			}
			set &= union
		})
	return set
}

// below is the place of a part of a value: own says what the keywords of one
// schema say of it, and branches that cannot be of the type are left out.
func (q *query) below(at place, kind types, own func(map[string]any) (place, bool)) place {
	m, ok := at.(map[string]any)
	if !ok || q.spent() {
		return true
	}
	var parts []any
	add := func(p place) {
		if p != true {
			parts = append(parts, p)
		}
	}
	if p, ok := own(m); ok {
		add(p)
	}
	q.parts(m,
		func(sub any) { add(q.below(sub, kind, own)) },
		func(of []any) {
			var branches []any
			for _, sub := range of {
				if q.types(sub)&kind != 0 {
					branches = append(branches, q.below(sub, kind, own))
				}
			}
			if len(branches) > 0 {
				add(map[string]any{"anyOf": branches})
			}
		})
	switch len(parts) {
	case 0:
		return true
	case 1:
		return parts[0]
	}
	return map[string]any{"allOf": parts}
}

// property is the place of the value of a key.
func (s *schema) property(at place, key string) place {
	return s.ask().below(at, typeObject, func(m map[string]any) (place, bool) {
		var parts []any
		if of, ok := m["properties"].(map[string]any); ok {
			if p, ok := of[key]; ok {
				parts = append(parts, p)
			}
		}
		if of, ok := m["patternProperties"].(map[string]any); ok {
			for _, pattern := range slices.Sorted(maps.Keys(of)) {
				if re, err := regexp.Compile(pattern); err == nil && re.MatchString(key) {
					parts = append(parts, of[pattern])
				}
			}
		}
		switch len(parts) {
		case 0:
			p, ok := m["additionalProperties"]
			return p, ok
		case 1:
			return parts[0], true
		}
		return map[string]any{"allOf": parts}, true
	})
}

// item is the place of the i-th value of a list.
func (s *schema) item(at place, i int) place {
	return s.ask().below(at, typeArray, func(m map[string]any) (place, bool) {
		for _, key := range []string{"prefixItems", "items"} {
			switch of := m[key].(type) {
			case []any:
				if i < len(of) {
					return of[i], true
				}
				if key == "items" {
					p, ok := m["additionalItems"]
					return p, ok
				}
			case map[string]any, bool:
				return of, true
			}
		}
		return nil, false
	})
}

// walk visits the schemas that speak of a place, alternatives included, until
// fn returns false.
func (q *query) walk(at place, fn func(map[string]any) bool) bool {
	m, ok := at.(map[string]any)
	if !ok || q.spent() {
		return true
	}
	going := fn(m)
	visit := func(sub any) { going = going && q.walk(sub, fn) }
	q.parts(m, visit, func(of []any) {
		for _, sub := range of {
			visit(sub)
		}
	})
	for _, key := range []string{"then", "else"} {
		visit(m[key])
	}
	return going
}

// secret reports whether only a reference may stand at the place.
func (s *schema) secret(at place) bool {
	return !s.ask().walk(at, func(m map[string]any) bool { return m["secret"] != true })
}

// names are the properties that the schema has a word for, sorted.
func (s *schema) names(at place) []string {
	names := make(map[string]bool)
	s.ask().walk(at, func(m map[string]any) bool {
		if of, ok := m["properties"].(map[string]any); ok {
			for name := range of {
				names[name] = true
			}
		}
		return true
	})
	return slices.Sorted(maps.Keys(names))
}

// open reports whether keys without a word are allowed.
func (s *schema) open(at place) bool {
	q := s.ask()
	var open func(place) bool
	open = func(at place) bool {
		m, ok := at.(map[string]any)
		if !ok || q.spent() {
			return at != false
		}
		yes := m["additionalProperties"] != false && m["unevaluatedProperties"] != false
		q.parts(m,
			func(sub any) { yes = yes && open(sub) },
			func(of []any) {
				some := false
				for _, sub := range of {
					some = some || open(sub)
				}
				yes = yes && some
			})
		return yes
	}
	return open(at)
}

// description is the schema's own word on a place.
func (s *schema) description(at place) (text string) {
	s.ask().walk(at, func(m map[string]any) bool {
		text, _ = m["description"].(string)
		return text == ""
	})
	return strings.TrimSpace(text)
}

// refusal is what a schema says of the values that its "not" keeps out: the title
// of the "not" is what such a value does ("holds a password"), its description
// what to do about it. Both are "" where it says nothing, or several do.
func (s *schema) refusal(at place) (what, hint string) {
	found := 0
	s.ask().walk(at, func(m map[string]any) bool {
		if of, ok := m["not"].(map[string]any); ok {
			found++
			what, _ = of["title"].(string)
			hint, _ = of["description"].(string)
		}
		return true
	})
	if found != 1 || strings.TrimSpace(what) == "" {
		return "", ""
	}
	return strings.TrimSpace(what), strings.TrimSpace(hint)
}
