package taskfile

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/stepd/stepd/daemon/internal/task"
)

// MergePatch lays a JSON merge patch (RFC 7396) over the definition of the task
// and returns the document that it makes; Parse says whether that is a task. A
// patch that is no JSON object is a task.ErrInvalid.
func MergePatch(t task.Task, patch json.RawMessage) (json.RawMessage, error) {
	doc, err := Document(t)
	if err != nil {
		return nil, err
	}
	target, err := decoded(doc)
	if err != nil {
		return nil, fmt.Errorf("read the definition of task %s: %w", t.Name, err)
	}
	changes, err := patchObject(patch)
	if err != nil {
		return nil, err
	}
	return json.Marshal(merged(target, changes))
}

func patchObject(patch json.RawMessage) (map[string]any, error) {
	of, err := decoded(patch)
	if err != nil {
		return nil, fmt.Errorf("the patch is no JSON: %v: %w", err, task.ErrInvalid)
	}
	changes, ok := of.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the patch must be an object, as in {\"description\": \"...\"}: %w", task.ErrInvalid)
	}
	return changes, nil
}

// merged is the target with the patch laid over it, as RFC 7396 has it. It may
// change both.
func merged(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	of, ok := target.(map[string]any)
	if !ok {
		of = make(map[string]any)
	}
	for key, v := range changes {
		if v == nil {
			delete(of, key)
		} else {
			of[key] = merged(of[key], v)
		}
	}
	return of
}

// decoded reads one JSON value, numbers as they are written.
func decoded(raw json.RawMessage) (any, error) {
	decoder := jsonDecoder(raw)
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, fmt.Errorf("more than one value")
	}
	return v, nil
}
