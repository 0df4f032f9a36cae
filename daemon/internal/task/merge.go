package task

import (
	"encoding/json"
	"fmt"
)

// MergeSettings lays a step's own settings over those of its task. The task's
// count for the keys that the controller's schema has as properties, or for all
// keys when the schema allows any.
func MergeSettings(defaults, own, schema json.RawMessage) (json.RawMessage, error) {
	if len(defaults) == 0 {
		if len(own) == 0 {
			return json.RawMessage("{}"), nil
		}
		return own, nil
	}
	var shape struct {
		Properties map[string]json.RawMessage `json:"properties"`
		Additional *json.RawMessage           `json:"additionalProperties"`
	}
	if len(schema) > 0 {
		if err := json.Unmarshal(schema, &shape); err != nil {
			return nil, fmt.Errorf("read the controller's schema: %w", err)
		}
	}
	open := shape.Additional == nil || string(*shape.Additional) != "false"
	merged := map[string]json.RawMessage{}
	if err := json.Unmarshal(defaults, &merged); err != nil {
		return nil, fmt.Errorf("read the task's settings: %w", err)
	}
	for key := range merged {
		if _, known := shape.Properties[key]; !known && !open {
			delete(merged, key)
		}
	}
	if len(own) > 0 {
		if err := json.Unmarshal(own, &merged); err != nil { // keys of own replace those that are there
			return nil, fmt.Errorf("read the step's settings: %w", err)
		}
	}
	return json.Marshal(merged)
}
