package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/config"
	"github.com/stepd/stepd/daemon/internal/task"
)

// TestSecretsOfADaemon holds what is told of secrets: where they are, what is
// wrong with them, who uses them, and never a value.
func TestSecretsOfADaemon(t *testing.T) {
	secrets := filepath.Join(t.TempDir(), "secrets")
	if err := os.Mkdir(secrets, 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(name string, mode os.FileMode) {
		t.Helper()
		path := writeFile(t, filepath.Join(secrets, name), "the value of "+name+"\n")
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	put("unused", 0o600)
	put("leaky", 0o644)
	named := filepath.Join(secrets, "elsewhere")
	dir := pluginDir(t, "noop")
	install(t, dir, "misbehave-steps", "misbehave")
	d := openWith(t, dir, func(c *config.Config) {
		c.SecretDirs, c.Secrets = []string{secrets}, map[string]string{"named": named}
	}, func(*Options) {})
	apply(t, d.Client, t.TempDir(), wellTask,
		leakTask("one", "misbehave-steps", "leak-digest", "late"), leakTask("two", "misbehave-steps", "leak-digest", "late"),
		strings.Replace(leakTask("hooked", "misbehave-steps", "leak-digest", "leaky"), "steps:", "on_failure:", 1)+"steps: [{name: a, controller: noop}]\n")
	list, err := d.Secrets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []api.Secret{
		{Name: "late", UsedBy: []string{"one", "two"}, Error: "secret late: there is no such secret in " + secrets +
			": put its value into a file of that name there, mode 0600, or name its file under secrets in the configuration"},
		{Name: "leaky", From: "directory " + secrets, UsedBy: []string{"hooked"}, Error: "secret leaky: others can read or write " + filepath.Join(secrets, "leaky") +
			" (mode 0644): run chmod 600 on it, and change the secret, as it may have been seen"},
		{Name: "named", From: "file " + named, UsedBy: []string{}, Error: "secret named: there is no file " + named + ": put its value there, mode 0600"},
		{Name: "unused", From: "directory " + secrets, UsedBy: []string{}},
	}
	if diff := cmp.Diff(want, list.Secrets); diff != "" {
		t.Error(diff)
	}

	// A run finds out at its start, and can go on when it is there.
	run := await(t, d.Client, begin(t, d.Client, "one"))
	step := steps(t, d.Client, run.Ref)["0"]
	if run.Status != "failed" || step.Reason != "refused" || step.Error != want[0].Error {
		t.Errorf("the run is %s, its step %s (%s): %s", run.Status, step.Status, step.Reason, step.Error)
	}
	put("late", 0o600)
	if _, err := d.Continue(t.Context(), run.Ref, api.AgainRequest{}); err != nil {
		t.Fatal(err)
	}
	wantCompleted(t, d.Client, await(t, d.Client, run.Ref))
	if list, err = d.Secrets(t.Context()); err != nil || !slices.ContainsFunc(list.Secrets, func(s api.Secret) bool {
		return s.Name == "late" && s.Error == "" && s.From == "directory "+secrets
	}) {
		t.Errorf("now: %+v, %v", list, err)
	}
}

// What expressions give, such as the output of a step, must not choose which
// secrets a controller is given.
func TestExpressionsNameNoSecrets(t *testing.T) {
	info := task.ControllerInfo{Schema: json.RawMessage(`{"type": "object", "properties": {"mail": {"type": "object", "properties":
		{"host": {"type": "string"}, "password": {"type": "string", "secret": true}}}, "free": {}}}`)}
	for _, test := range []struct{ written, settings, fault string }{
		{`{"mail": "${{ steps.a.outputs.mail }}"}`, `{"mail": {"host": "x", "password": {"secret": "root"}}}`, `names the secret "root"`},
		{`{"mail": {"host": "${{ run.task }}", "password": {"secret": "mail"}}}`, `{"mail": {"host": "x", "password": {"secret": "mail"}}}`, ""},
		{`{"mail": {"password": {"secret": "mail"}}, "free": "${{ 1 }}"}`, `{"mail": {"password": {"secret": "other"}}, "free": 1}`, `names the secret "other"`},
		{`{"free": "${{ steps.a.outputs.x }}"}`, `{"free": {"secret": "root"}}`, ""}, // nobody takes it for a reference there
		{`{"mail": "${{ steps.a.outputs.mail }}"}`, `{"mail": {"password": "open"}}`, "mail.password"},
	} {
		err := checkSettings(info, json.RawMessage(test.written), json.RawMessage(test.settings))
		if test.fault == "" && err != nil || test.fault != "" && (err == nil || !strings.Contains(err.Error(), test.fault)) {
			t.Errorf("%s: %v, want %q", test.settings, err, test.fault)
		}
	}
}

// Who may start a run may not choose the secrets that its steps are given.
func TestWhoStartsARunNamesNoOtherSecrets(t *testing.T) {
	dir := pluginDir(t)
	install(t, dir, "misbehave-steps", "misbehave")
	d := open(t, dir)
	apply(t, d.Client, t.TempDir(), leakTask("one", "misbehave-steps", "leak-digest", "mine"))
	b := &backend{d.app}
	if _, err := d.PatchTask(t.Context(), "one", api.PatchRequest{Patch: json.RawMessage(`{"settable": ["*"]}`)}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		role   api.Role
		secret string
		code   api.Code
	}{{api.RoleRunner, "other", api.CodeDenied}, {api.RoleRunner, "mine", ""}, {api.RoleAdmin, "other", ""}} {
		task, err := d.Task(t.Context(), "one")
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.Start(t.Context(), api.Caller{Name: "x", Role: test.role}, api.RunRequest{Task: "one", In: "1h",
			Set: map[string]json.RawMessage{task.Steps[0].Name + ".password": json.RawMessage(`{"secret": "` + test.secret + `"}`)}})
		if test.code != "" {
			wantCode(t, err, test.code)
		} else if err != nil {
			t.Errorf("%+v: %v", test, err)
		}
	}
}
