package sdk

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/invopop/jsonschema"
)

// SettingsSchema makes the JSON Schema (2020-12) of a settings struct. The
// daemon checks every task against it when the task is saved.
//
// Field tags: `json:"name"`, `jsonschema:"required,enum=a,enum=b,minimum=1"`,
// `jsonschema_description:"..."`. Fields without "required" are optional. Keys
// that the struct does not have are refused. Non-zero fields of defaults show
// up as "default".
func SettingsSchema(defaults any) ([]byte, error) {
	typ := reflect.TypeOf(defaults)
	if typ == nil || typ.Kind() != reflect.Struct {
		return nil, fmt.Errorf("settings must be a struct, not %v", typ)
	}
	reflector := jsonschema.Reflector{
		Anonymous:                  true,
		DoNotReference:             true,
		ExpandedStruct:             true,
		RequiredFromJSONSchemaTags: true,
	}
	schema := reflector.ReflectFromType(typ)
	raw, err := json.Marshal(defaults)
	if err != nil {
		return nil, fmt.Errorf("encode the defaults of the settings: %w", err)
	}
	var values map[string]any
	if err := json.Unmarshal(raw, &values); err != nil {
		return nil, fmt.Errorf("settings must encode to a JSON object: %w", err)
	}
	if schema.Properties != nil {
		for pair := schema.Properties.Oldest(); pair != nil; pair = pair.Next() {
			value, ok := values[pair.Key]
			if ok && value != nil && !reflect.ValueOf(value).IsZero() && pair.Value.Default == nil {
				if list, isList := value.([]any); isList && len(list) == 0 {
					continue
				}
				pair.Value.Default = value
			}
		}
	}
	return json.Marshal(schema)
}

// Duration is a time.Duration in settings, written "90s" or "1h30m".
type Duration time.Duration

// Std is the duration as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// JSONSchema describes the text form.
func (Duration) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`,
		Examples: []any{"90s", "1h30m"},
	}
}

// Secret is a setting that must not be seen: the daemon resolves a reference
// to it and never stores or logs the value. It prints as [secret].
type Secret struct{ value string }

// NewSecret wraps a value, for tests.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal is the value itself.
func (s Secret) Reveal() string { return s.value }

func (s Secret) String() string   { return "[secret]" }
func (s Secret) GoString() string { return "[secret]" }

// MarshalJSON never writes the value.
func (s Secret) MarshalJSON() ([]byte, error) {
	if s.value == "" {
		return []byte(`""`), nil
	}
	return []byte(`"[secret]"`), nil
}

func (s *Secret) UnmarshalJSON(raw []byte) error { return json.Unmarshal(raw, &s.value) }

// JSONSchema marks the value as secret.
func (Secret) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Extras: map[string]any{"secret": true}}
}
