package taskfile_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

func TestResolvedSettingsAreCheckedByTheSchema(t *testing.T) {
	schema := `{"type": "object", "additionalProperties": false, "required": ["source"], "properties": {
		"source": {"type": "string"}, "mode": {"enum": ["a", "b"]}, "password": {"type": "string", "secret": true}, "to": {"type": "array", "items": {"type": "string"}}}}`
	for settings, want := range map[string]string{
		`{"source": "x", "mode": "a", "password": {"secret": "pw"}, "to": ["x"]}`: "",
		`{"source": null}`:                        "source: got null, want string",
		`{"source": "x", "mode": "c", "to": [1]}`: "mode: ",
		`{"source": "x", "to": [1]}`:              "to.0: got number, want string",
		`{}`:                                      "source",
		`{"source": "x", "password": "open"}`:     "password: ",
	} {
		err := taskfile.CheckSettings(task.ControllerInfo{Schema: json.RawMessage(schema)}, json.RawMessage(settings))
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", settings, err, want)
		}
	}
	if err := taskfile.CheckSettings(task.ControllerInfo{}, json.RawMessage(`{"a": 1}`)); err != nil {
		t.Errorf("without a schema: %v", err)
	}
}
