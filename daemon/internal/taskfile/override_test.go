package taskfile_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

const overridden = "name: x\nsettings: {rows: 5, region: eu}\nschedule: 0 1 * * *\nexpect: {by: '06:00'}\non_missed: [{controller: dumptables, settings: {dsn: m}}]\nsteps:\n" +
	"- {name: tables, controller: dumptables, settings: {dsn: x, mode: recreate}}\n" +
	"- {name: tables.old, controller: dumptables, settings: {dsn: old, rows: 7}}\n" +
	"- {name: mail, controller: sendmail, settings: {to: [a@b.example], smtp: {host: h, password: {secret: p}}}}\n" +
	"- {name: any, controller: script, when: 'settings.region', settings: {a.b: 1}}\n"

func overriding(t *testing.T, set string) (before, after task.Task, err error) {
	t.Helper()
	var values map[string]json.RawMessage
	if err := json.Unmarshal([]byte(set), &values); err != nil {
		t.Fatal(err)
	}
	before = mustParse(t, overridden)
	before.Version, before.CreatedBy = 7, "anna"
	with := ports()
	with.Schedules = nil // they are not asked
	after, err = taskfile.Override(t.Context(), before, values, with)
	return before, after, err
}

func TestOverride(t *testing.T) {
	for _, c := range []struct {
		set  string
		want []string // what Diff says
	}{
		{`{}`, nil},
		{`{"rows": 9}`, []string{"changed settings.rows 5 -> 9"}},
		{`{"rows": "9"}`, []string{"changed settings.rows 5 -> 9"}}, // text, as it stands in a file
		{`{"tables.mode": "data_only"}`, []string{`changed steps.tables.settings.mode "recreate" -> "data_only"`}},
		{`{"tables.rows": 1, "tables.old.rows": 2}`, []string{"added steps.tables.settings.rows  -> 1", `changed steps["tables.old"].settings.rows 7 -> 2`}},
		{`{"tables.dsn": "0123", "tables.tables": "[a, 017]"}`, []string{`changed steps.tables.settings.dsn "x" -> "0123"`, `added steps.tables.settings.tables  -> ["a","017"]`}},
		{`{"tables.dsn": ""}`, nil},
		{`{"mail.smtp.host": "other", "mail.smtp.port": "25"}`, []string{`changed steps.mail.settings.smtp.host "h" -> "other"`, "added steps.mail.settings.smtp.port  -> 25"}},
		{`{"mail.smtp.password": {"secret": "q"}}`, []string{`changed steps.mail.settings.smtp.password.secret "p" -> "q"`}},
		{`{"any.a.b": "2", "any.c.d": "x", "any.e": "[1, {f: g}]", "any.h": "[not a list"}`, []string{
			`changed steps.any.settings["a.b"] 1 -> 2`, `added steps.any.settings.c  -> {"d":"x"}`, `added steps.any.settings.e  -> [1,{"f":"g"}]`, `added steps.any.settings.h  -> "[not a list"`}},
		{`{"region": "us"}`, []string{`changed settings.region "eu" -> "us"`}}, // a condition asks for it
		{`{"tables.dsn": "${{ settings.region }}"}`, []string{`changed steps.tables.settings.dsn "x" -> "${{ settings.region }}"`}},
	} {
		t.Run(c.set, func(t *testing.T) {
			before, after, err := overriding(t, c.set)
			if c.set == `{"tables.dsn": ""}` {
				paths(t, err, "tables.dsn: tables.dsn must not be empty")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, changes(taskfile.Diff(before, after))); diff != "" {
				t.Error(diff)
			}
			after.Settings, after.Steps, after.OnMissed = before.Settings, before.Steps, before.OnMissed
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("more than the settings is otherwise: %s", diff)
			}
		})
	}
	// What steps have from the task they have from what was set.
	_, after, err := overriding(t, `{"rows": 9}`)
	if err != nil || string(after.Steps[0].Settings) != `{"dsn":"x","mode":"recreate","rows":9}` || string(after.OnMissed[0].Settings) != `{"dsn":"m","rows":9}` {
		t.Errorf("%v: %+v", err, after.Steps)
	}
}

func TestFaultsOfOverridesNameWhatWasSet(t *testing.T) {
	for _, c := range []struct {
		set  string
		want []string
	}{
		{`{"rows": "many"}`, []string{`rows: rows must be a whole number, found the text "many"`}},
		{`{"tables.mode": "x", "tables.mod": 1}`, []string{
			`tables.mode: tables.mode must be one of: data_only, recreate; found the text "x"`, `tables.mod: unknown setting "mod"`}},
		{`{"table.mode": "x"}`, []string{`table.mode: the task has no step "table"`}},
		{`{"nosuch": 1}`, nil},         // one of the steps takes anything
		{`{"mode": "data_only"}`, nil}, // one of the dumps has none of its own
		{`{"mail.to": ["x"]}`, []string{`mail.to[0]: mail.to[0] must be a valid email, found x`}},
		{`{"tables.password": "hunter2"}`, []string{`tables.password: tables.password is a secret and must not be written here`}},
		{`{"mail.smtp.password": {"secret": "${{ x }}"}}`, []string{`mail.smtp.password.secret: mail.smtp.password.secret names a secret and cannot hold an expression`}},
		{`{"tables.dsn": "${{ steps.any }}"}`, []string{`tables.dsn: tables.dsn: any is not earlier`}},
		{`{"": 1}`, []string{`: there is no setting without a name`}},
		{`{"tables.": 1}`, []string{`tables.: there is no setting without a name`}},
	} {
		t.Run(c.set, func(t *testing.T) {
			_, _, err := overriding(t, c.set)
			if c.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			paths(t, err, c.want...)
		})
	}
	// The only dump has a mode of its own, so that of the task would be for nobody.
	only := mustParse(t, "name: x\nsteps: [{name: tables, controller: dumptables, settings: {dsn: x, mode: recreate}}]\n")
	_, err := taskfile.Override(t.Context(), only, map[string]json.RawMessage{"mode": json.RawMessage(`"data_only"`)}, ports())
	paths(t, err, "mode: no step takes mode from the task")
	_, err = taskfile.Override(t.Context(), only, map[string]json.RawMessage{"nosuch": json.RawMessage(`1`)}, ports())
	paths(t, err, `nosuch: no step takes the setting "nosuch"`)
}
