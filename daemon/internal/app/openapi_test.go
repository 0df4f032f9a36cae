package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/openapi"
	"github.com/stepd/stepd/daemon/internal/task"
)

// TestTheDocumentSaysWhatADaemonAnswers asks a whole daemon for the examples of the
// documentation, and for what it has to refuse, and holds each answer against the
// document: its status, its code, and its schema.
func TestTheDocumentSaysWhatADaemonAnswers(t *testing.T) {
	d := open(t, pluginDir(t, "noop", "compress", "dumptables"))
	apply(t, d.Client, t.TempDir(), strings.Replace(wellTask, "name: well", "name: backup", 1),
		"name: off\ndisabled: true\nsteps: [{name: a, controller: noop}]\n", "name: draft\n")
	await(t, d.Client, begin(t, d.Client, "backup"))
	ask := func(method, target, body string) (int, http.Header, []byte) {
		t.Helper()
		transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", d.config.Socket)
		}}
		ctx, cancel := context.WithTimeout(t.Context(), quick)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, method, "http://stepd"+target, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if target == api.RouteWatch { // it has no end
			first := make([]byte, 1)
			_, _ = io.ReadFull(response.Body, first)
			return response.StatusCode, response.Header, nil
		}
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, response.Header, text
	}
	var doc map[string]any
	if _, _, text := ask(http.MethodGet, api.RouteOpenAPI, ""); json.Unmarshal(text, &doc) != nil {
		t.Fatalf("%s", text)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("doc.json", doc); err != nil {
		t.Fatal(err)
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1").Replace
	hold := func(route *openapi.Route, what string, status int, header http.Header, text []byte) {
		t.Helper()
		if status != http.StatusOK {
			var body api.ErrorBody
			if err := json.Unmarshal(text, &body); err != nil || body.Error == nil || !slices.Contains(route.Errors(), body.Error.Code) || body.Error.Code == api.CodeInternal {
				t.Errorf("%s: %s is answered with %d %s, which may be %v", route.ID, what, status, text, route.Errors())
				return
			}
		}
		if media, _, _ := strings.Cut(header.Get("Content-Type"), ";"); media != api.TypeJSON {
			return
		}
		path := strings.Replace(route.Path, "...}", "}", 1)
		at := "/paths/" + escape(path) + "/" + strings.ToLower(route.Method) + "/responses/" + fmt.Sprint(status)
		operation := doc["paths"].(map[string]any)[path].(map[string]any)[strings.ToLower(route.Method)].(map[string]any)
		response, ok := operation["responses"].(map[string]any)[fmt.Sprint(status)].(map[string]any)
		if !ok {
			t.Errorf("%s: %s: the document has no status %d", route.ID, what, status)
			return
		}
		if ref, ok := response["$ref"].(string); ok {
			at = strings.TrimPrefix(ref, "#")
		}
		schema, err := compiler.Compile("doc.json#" + (&url.URL{Path: at + "/content/" + escape(api.TypeJSON) + "/schema"}).EscapedPath())
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err == nil {
			err = schema.Validate(v)
		}
		if err != nil {
			t.Errorf("%s: %s: %v\n%s", route.ID, what, err, text)
		}
	}
	routes := openapi.Routes()
	fill := func(path, task, number, step string) string {
		return strings.NewReplacer("{name}", task, "{task}", task, "{number}", number, "{step}", step, "{step...}", step).Replace(path)
	}
	bodies := func(route *openapi.Route) []string {
		list := []string{route.Example.Body}
		if route.Body == nil {
			return append(list, "{}")
		}
		return append(list, "", "{}", "[]", `{"x": 1}`, `{"step":"zzz"}`, `{"from":"zzz","latest":true}`, `{"from":"one"}`, `{"task":"off"}`, `{"task":"draft"}`, `{"task":"zzz"}`,
			`{"task":"backup","step":"zzz"}`, `{"task":"backup","set":{"steps":"many"}}`, `{"task":"backup","at":"never"}`, `{"task":"backup","at":"2001-01-01T00:00:00Z"}`,
			`{"tasks":["zzz"]}`, `{"tasks":["draft","off"]}`, `{"all":true}`, `{"patch":{"max_runs":0}}`, `{"patch":{"name":"other"}}`, `{"patch":{"max_runs":2},"version":99}`,
			`{"task":{"name":"backup"}}`, `{"task":{"name":"backup"},"version":99}`, `{"task":{"name":"x","steps":[{"name":"a","controller":"zzz"}]}}`, `{"task":{"name":"../x"}}`,
			`{"step":{"name":"one","controller":"noop"}}`, `{"step":{"name":"two","controller":"noop"},"after":"zzz"}`, `{"step":{"name":"two","controller":"noop"},"version":99}`,
			`{"steps":["zzz"]}`, `{"steps":["one","one"]}`, `{"steps":["one"],"version":99}`, `{"for":"x"}`, `{"until":"2001-01-01T00:00:00Z"}`, `{"spec":"zzz"}`, `{"spec":"@daily","timezone":"Mars/Base"}`,
			`{"spec":"@daily","from":"zzz"}`, `{"files":[],"delete":[{"task":"zzz","version":1}]}`, `{"files":[],"delete":[{"task":"off","version":99}]}`,
			`{"files":[{"name":"f","dir":"/d","path":"/d/f","data":"name: backup\n"}]}`, `{"files":[{"name":"f","dir":"d","data":"name: y\n"}]}`, `{"files":[{"name":"f","dir":"/d","data":"name: [y\n"}]}`)
	}
	for _, route := range routes {
		if route.ID == "getDocs" {
			continue
		}
		targets := []string{fill(route.Path, "backup", "1", "one")}
		if len(route.PathParams()) > 0 {
			targets = append(targets, fill(route.Path, "zzz", "1", "one"), fill(route.Path, "backup", "99", "one"), fill(route.Path, "backup", "latest", "zzz"), fill(route.Path, "%2e%2e%2f", "1", "a%20b"))
		}
		if route.Example.Path != "" {
			targets = append(targets, route.Example.Path)
		}
		for _, p := range route.Query {
			for _, value := range []string{"1", "zzz", "18446744073709551615", "-name", "x%ff"} {
				if route.ID != "deleteTask" || value != "1" {
					targets = append(targets, targets[0]+"?"+p.Name+"="+value)
				}
			}
		}
		for _, target := range targets {
			if route.Method == http.MethodDelete && !strings.Contains(target, "?") {
				target += "?version=99"
			}
			for _, body := range bodies(&route) {
				if route.Method == http.MethodGet && body != "" {
					continue
				}
				status, header, text := ask(route.Method, target, body)
				hold(&route, target+" "+body, status, header, text)
			}
		}
	}
	// All that changes something, when it does.
	const made = `{"task": {"name": "made", "steps": [{"name": "one", "controller": "noop", "settings": {"steps": 3}}]}`
	for _, step := range []struct{ id, target, body string }{
		{"createTask", "/v1/tasks", made + "}"},
		{"replaceTask", "/v1/tasks/made", made[:len(made)-1] + `, "log": "detailed"}, "version": 1}`},
		{"changeTask", "/v1/tasks/made", `{"patch": {"locks": ["a"]}, "version": 2}`},
		{"addStep", "/v1/tasks/made/steps", `{"step": {"name": "two", "controller": "noop"}, "before": "one"}`},
		{"changeStep", "/v1/tasks/made/steps/two", `{"patch": {"when": "run.number > 0", "weight": 2}}`},
		{"orderSteps", "/v1/tasks/made/order", `{"steps": ["one", "two"]}`},
		{"deleteStep", "/v1/tasks/made/steps/two", ""},
		{"pauseTask", "/v1/tasks/made/pause", `{"for": "1h", "reason": "x"}`},
		{"resumeTask", "/v1/tasks/made/resume", ""},
		{"startRun", "/v1/runs", `{"task": "made", "in": "1h", "set": {"one.steps": 4}, "priority": 3}`},
		{"getRun", "/v1/runs/made/1", ""},
		{"cancelRun", "/v1/runs/made/latest/cancel", ""},
		{"continueRun", "/v1/runs/made/1/continue", `{}`},
		{"restartRun", "/v1/runs/made/1/restart", `{"latest": true}`},
		{"startBatch", "/v1/batch", `{"tasks": ["made"]}`},
		{"getRun", "/v1/runs/made/3", ""},
		{"getStep", "/v1/runs/made/1/steps/one", ""},
		{"getLogs", "/v1/runs/made/1/logs", ""},
		{"applyTasks", "/v1/apply", `{"files": [{"name": "f", "dir": "/d", "data": "name: off\nsteps: []\n"}]}`},
		{"deleteTask", "/v1/tasks/made", ""},
	} {
		route := &routes[slices.IndexFunc(routes, func(r openapi.Route) bool { return r.ID == step.id })]
		status, header, text := ask(route.Method, step.target, step.body)
		if status != http.StatusOK {
			t.Errorf("%s %s: %s", step.id, step.body, text)
		}
		hold(route, step.target+" "+step.body, status, header, text)
		if _, number, run := strings.Cut(step.target, "/v1/runs/made/"); run && step.id == "continueRun" || step.id == "restartRun" {
			await(t, d.Client, "made/"+number[:1])
		}
		if step.id == "startBatch" {
			await(t, d.Client, "made/3")
		}
	}
}

// A task that changes whenever it is looked at is a conflict to whoever starts it
// with other settings.
func TestToStartATaskThatChangesAllTheTimeIsAConflict(t *testing.T) {
	d := open(t, pluginDir(t, "noop"))
	create(t, d, `{"name": "t", "steps": [{"name": "one", "controller": "noop"}]}`)
	b := &backend{d.app}
	_, err := b.withSettings(t.Context(), api.Caller{Role: api.RoleAdmin}, "t", map[string]json.RawMessage{"one.steps": json.RawMessage("3")},
		func(*task.Task, json.RawMessage) (task.Run, error) { return task.Run{}, task.ErrConflict })
	fault := wantCode(t, apiError(err), api.CodeConflict)
	for _, route := range openapi.Routes() {
		if route.ID == "startRun" && !slices.Contains(route.Errors(), fault.Code) {
			t.Errorf("the document does not have %s", fault.Code)
		}
	}
}
