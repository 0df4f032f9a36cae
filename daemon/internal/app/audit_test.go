package app

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/audit"
	"github.com/stepd/stepd/daemon/internal/config"
	"github.com/stepd/stepd/daemon/internal/secret"
)

func TestAuditLogOfADaemon(t *testing.T) {
	d := open(t, pluginDir(t, "noop"))
	apply(t, d.Client, t.TempDir(), wellTask)
	ref := begin(t, d.Client, "well")
	await(t, d.Client, ref)
	if _, err := d.Start(t.Context(), api.RunRequest{Task: "none"}); err == nil {
		t.Fatal("what is not there was started")
	}
	if _, err := d.Apply(t.Context(), request(t.TempDir(), "name: x\nsteps: [{name: a, controller: noop, settings: {steps: correct horse battery}}]\n")); err == nil {
		t.Fatal("a faulty task was saved")
	}
	if _, err := d.Audit(t.Context(), api.AuditQuery{After: "x"}); err == nil || err.(*api.Error).Code != api.CodeInvalid {
		t.Errorf("a place that is none: %v", err)
	}
	var all []api.AuditEntry
	for after, more := "", true; more; more = after != "" {
		page, err := d.Audit(t.Context(), api.AuditQuery{After: after, Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		all, after = append(all, page.Items...), page.Next
	}
	if len(all) != 4 {
		t.Fatalf("%d lines: %+v", len(all), all)
	}
	for i, want := range []api.AuditEntry{
		{Action: all[3].Action, Result: "invalid"},
		{Action: "run.start", Target: "none", Result: "not_found", Request: `{"task":"none"}`},
		{Action: "run.start", Target: "well", Result: "ok", Request: `{"task":"well"}`, Made: ref},
		{Action: all[3].Action, Target: "well", Result: "ok"},
	} {
		got := all[i]
		if got.Action != want.Action || got.Result != want.Result || want.Target != "" && got.Target != want.Target || got.Made != want.Made ||
			want.Request != "" && got.Request != want.Request || int(got.UID) != os.Geteuid() || int(got.PID) != os.Getpid() || got.Role != api.RoleAdmin {
			t.Errorf("line %d is %+v, want %+v", i, got, want)
		}
	}
	if got := all[0].Request; strings.Contains(got, "correct horse") || !strings.Contains(got, "not kept") {
		t.Errorf("the body of what was faulty: %s", got)
	}
	if !strings.Contains(all[3].Request, "controller: noop") {
		t.Errorf("the body of what was taken: %s", all[3].Request)
	}
	// It stays.
	if err := d.end(); err != nil {
		t.Fatal(err)
	}
	again := openWith(t, "", func(c *config.Config) { *c = d.config }, func(*Options) {})
	if page, err := again.Audit(t.Context(), api.AuditQuery{Target: "well", Action: "run"}); err != nil || len(page.Items) != 1 || page.Items[0].Made != ref {
		t.Errorf("after a restart: %+v, %v", page, err)
	}
}

func TestAuditorKeepsNoSecrets(t *testing.T) {
	dir := t.TempDir()
	log, err := audit.Open(audit.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	a := auditor{log, &secret.Redactor{}}
	a.redactor.Add("db", "correct horse")
	for _, e := range []api.AuditEntry{
		{Request: `{"description":"correct horse"}`, Result: "ok"},
		{Request: `{"patch":{"settings":{"password":"battery"}}}`, Result: "denied"},
		{Request: `{"set":{"password":"battery"}}`, Result: "state"},
		{Request: `{"patch":{"\u0073ettings":{"password":"battery"}}}`, Result: "conflict"},
		{Request: `{"files":[{"data":"password: battery"}]}`, Result: "denied"},
		{Request: `{password: battery`, Result: "invalid", Error: "it says correct horse"},
		{Request: `{"task":"shop","step":"tables"}`, Result: "denied"},
	} {
		if err := errors.Join(a.Ready(), a.Keep(e)); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "000001.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	if strings.Contains(text, "battery") || strings.Contains(text, "correct horse") || strings.Count(text, "[secret db]") != 2 || !strings.Contains(text, `{\"task\":\"shop\",\"step\":\"tables\"}`) {
		t.Errorf("kept: %s", text)
	}
}
