package taskfile

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// SecretPlaces reads where a controller's settings hold secrets: the returned
// function tells for a place, given by its keys (string) and places in lists
// (int) from the outside in, whether only a reference to a secret may stand
// there, as Parse has it. It is not safe for concurrent use.
func SecretPlaces(raw json.RawMessage) (func(path []any) bool, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return func([]any) bool { return false }, nil
	}
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	s := &schema{root: withReferences(root, 0)}
	return func(path []any) bool {
		at := s.root
		for _, part := range path {
			switch part := part.(type) {
			case string:
				at = s.property(at, part)
			case int:
				at = s.item(at, part)
			}
		}
		return s.secret(at)
	}, nil
}
