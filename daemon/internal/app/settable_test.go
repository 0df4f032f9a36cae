package app

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/task"
)

// A setting for one run may send a step's secret elsewhere: who may only start runs
// has those that the task names.
func TestOnlyWhatATaskNamesMayBeSetForOnce(t *testing.T) {
	def := task.Task{Name: "backup", Settable: []string{"mode", "tables.mode"}}
	for _, tt := range []struct {
		role api.Role
		key  string
		all  bool
		may  bool
	}{
		{api.RoleRunner, "mode", false, true},
		{api.RoleNone, "tables.mode", false, true},
		{api.RoleRunner, "tables.dsn", false, false},
		{api.RoleNone, "files.mode", false, false},
		{api.RoleRunner, "tables.dsn", true, true},
		{api.RoleAdmin, "tables.dsn", false, true},
	} {
		one := def
		if tt.all {
			one.Settable = []string{"*"}
		}
		err := settable(api.Caller{Role: tt.role}, &one, map[string]json.RawMessage{"mode": nil, tt.key: nil})
		fault, ok := errors.AsType[*api.Error](err)
		if denied := ok && fault.Code == api.CodeDenied; denied == tt.may {
			t.Errorf("%s may set %s: %v", tt.role, tt.key, err)
		}
	}
}
