package taskfile

import (
	"encoding/json"
	"testing"
)

func TestSecretPlacesAreThoseWhereParseWantsReferences(t *testing.T) {
	marked, err := SecretPlaces(json.RawMessage(`{"type":"object","properties":{
		"password":{"type":"string","secret":true},
		"secret":{"type":"string"},
		"smtp":{"$ref":"#/$defs/smtp"},
		"tokens":{"type":"array","items":{"anyOf":[{"type":"string","secret":true},{"type":"null"}]}},
		"pair":{"prefixItems":[{"type":"string"},{"secret":true}]}},
		"additionalProperties":{"type":"object","properties":{"key":{"secret":true}}},
		"$defs":{"smtp":{"allOf":[{"properties":{"password":{"secret":true}}}]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range [][]any{{"password"}, {"smtp", "password"}, {"tokens", 7}, {"pair", 1}, {"other", "key"}} {
		if !marked(path) {
			t.Errorf("%v is not found", path)
		}
	}
	for _, path := range [][]any{{}, {"secret"}, {"smtp"}, {"smtp", "user"}, {"tokens"}, {"pair", 0}, {"other"}, {"other", "key", "x"}} {
		if marked(path) {
			t.Errorf("%v is taken for a secret", path)
		}
	}
	if marked, err := SecretPlaces(nil); err != nil || marked([]any{"password"}) {
		t.Errorf("without a schema: %v", err)
	}
	if _, err := SecretPlaces(json.RawMessage("{")); err == nil {
		t.Error("a broken schema is taken")
	}
}
