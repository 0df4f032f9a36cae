package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
	"github.com/stepd/stepd/daemon/internal/api/server"
)

func optionsFor(b *backend) server.Options { return server.Options{Backend: b} }

type answer struct {
	status int
	header http.Header
	body   string
}

// get sends a request as any HTTP client would.
func get(t *testing.T, path, method, target, body string) answer {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://x"+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func TestFaultyRequestsAreToldWhatIsWrong(t *testing.T) {
	b := &backend{}
	_, path := serve(t, optionsFor(b))
	long := strings.Repeat("x", api.MaxText+1)
	for _, tt := range []struct {
		method, target, body string
		status               int
		says                 string
	}{
		{"POST", "/v1/runs", `{"task":"backup","force":true}`, 422, `unknown field \"force\"`},
		{"POST", "/v1/runs", `{"task":"backup"} {"task":"b"}`, 422, `more after the JSON object`},
		{"POST", "/v1/runs", `{"task":"backup"`, 422, `ends too early`},
		{"POST", "/v1/runs", `{"task":}`, 422, `no JSON`},
		{"POST", "/v1/runs", `{"task":7}`, 422, `task is a JSON number, it must be string`},
		{"POST", "/v1/runs", `[]`, 422, `the body is a JSON array`},
		{"POST", "/v1/runs", ``, 422, `the body is empty`},
		{"POST", "/v1/runs", `{}`, 422, `task is missing`},
		{"POST", "/v1/runs", `{"task":""}`, 422, `task is empty`},
		{"POST", "/v1/runs?dry=1", `{"task":"b"}`, 422, `no parameter \"dry\"`},
		{"POST", "/v1/apply", `{"files":[]}`, 422, `files is empty`},
		{"POST", "/v1/validate", `{"files":[]}`, 422, `files is empty`},
		{"POST", "/v1/validate", `{"files":null}`, 422, `files is null, it must have a value or be left out`},
		{"POST", "/v1/validate", `{"files":[{"name":"a","dir":"/d","data":""},null]}`, 422, `files[1] is null`},
		{"POST", "/v1/validate", `{"files":[{"name":"a","data":""}]}`, 422, `files[0].dir is missing`},
		{"POST", "/v1/validate", `{"files":[{"name":"a","dir":"/d","data":"","Data":"x"}]}`, 422, `unknown field \"files[0].Data\"`},
		{"POST", "/v1/validate", `{}`, 422, `files is missing`},
		{"POST", "/v1/runs", `{"TASK":"backup"}`, 422, `unknown field \"TASK\"`},
		{"POST", "/v1/runs", `{"task":"a","task":"b"}`, 422, `task is there twice`},
		{"POST", "/v1/runs", `{"task":"a","set":{"mode":1,"mode":2}}`, 422, `set.mode is there twice`},
		{"POST", "/v1/runs", `{"task":"a","priority":null}`, 422, `priority is null`},
		{"POST", "/v1/apply", `{"files":[],"dry_run":true,"dry_run":false,"prune":["/d"]}`, 422, `dry_run is there twice`},
		{"POST", "/v1/tasks/backup/pause", `{"until":null}`, 422, `until is null`},
		{"POST", "/v1/apply", `{"files":[{"name":"` + strings.Repeat("x", api.MaxFiles) + `"}]}`, 413, `"code":"too_large"`},
		{"POST", "/v1/tasks/backup/enable", `{}`, 422, `takes no body`},
		{"GET", "/v1/runs?limit=0", ``, 422, `from 1 to 500`},
		{"GET", "/v1/runs?limit=501", ``, 422, `from 1 to 500`},
		{"GET", "/v1/runs?limit=x", ``, 422, `from 1 to 500`},
		{"GET", "/v1/runs?task=a&task=b", ``, 422, `2 times`},
		{"GET", "/v1/runs?%zz", ``, 422, `cannot be read`},
		{"GET", "/v1/runs/backup/0", ``, 422, `no number of a run`},
		{"GET", "/v1/runs/backup/newest", ``, 422, `no number of a run`},
		{"GET", "/v1/runs/backup/-1/steps", ``, 422, `no number of a run`},
		{"GET", "/v1/runs/backup/1/logs?follow=maybe", ``, 422, `follow is`},
		{"GET", "/v1/runs/backup/1/events?x=1", ``, 422, `no parameter`},
		{"POST", "/v1/tasks/backup/pause", ``, 422, `the body is empty`},
		{"POST", "/v1/tasks/backup/pause", `{"until":"tomorrow"}`, 422, `the body does not fit`},
		{"POST", "/v1/tasks/backup/pause", `{"until":"2026-12-01T00:00:00Z","for":"2d"}`, 422, `until and for are both given`},
		{"POST", "/v1/tasks/backup/pause", `{"until":"0001-01-01T00:00:00Z"}`, 422, `until is no time`},
		{"POST", "/v1/tasks/backup/pause", `{"reason":"` + strings.Repeat("x", 1001) + `"}`, 422, `reason is 1001 bytes long, at most 1000`},
		{"POST", "/v1/tasks/backup/pause", `{"for":"` + strings.Repeat("x", 501) + `"}`, 422, `for is 501 bytes long`},
		{"POST", "/v1/tasks/backup/resume", `{}`, 422, `takes no body`},
		{"GET", "/v1/next?limit=501", ``, 422, `from 1 to 500`},
		{"GET", "/v1/next?schedule=a", ``, 422, `no parameter`},
		{"GET", "/v1/tasks/backup/history?limit=0", ``, 422, `from 1 to 500`},
		{"GET", "/v1/tasks/backup/history?count=1", ``, 422, `no parameter`},
		{"POST", "/v1/explain", `{}`, 422, `spec is missing`},
		{"POST", "/v1/explain", `{"spec":""}`, 422, `spec is empty`},
		{"POST", "/v1/explain", `{"spec":"  "}`, 422, `as 30 2 * * *, @daily`},
		{"POST", "/v1/explain", `{"spec":"@daily","count":101}`, 422, `from 1 to 100`},
		{"POST", "/v1/explain", `{"spec":"@daily","count":-1}`, 422, `from 1 to 100`},
		{"POST", "/v1/explain", `{"spec":"` + strings.Repeat("1", 501) + `"}`, 422, `spec is 501 bytes long, at most 500`},
		{"POST", "/v1/explain", `{"spec":"@daily","exclude":["` + strings.Repeat("1", 501) + `"]}`, 422, `exclude is 501 bytes long`},
		{"POST", "/v1/explain", `{"spec":"@daily","exclude":["x"` + strings.Repeat(`,"x"`, 500) + `]}`, 422, `exclude has 501 items`},
		{"GET", "/v1/explain", ``, 405, `possible: POST`},
		{"GET", "/v1/tasks/backup/explain?count=0", ``, 422, `from 1 to 100`},
		{"GET", "/v1/tasks/backup/explain?count=many", ``, 422, `from 1 to 100`},
		{"GET", "/v1/tasks/backup/explain?count=101", ``, 422, `from 1 to 100`},
		{"POST", "/v1/runs", `null`, 422, `the body is null, it must be a JSON object`},
		{"POST", "/v1/runs", `{"task":"b","at":"18:00","in":"2h"}`, 422, `at and in are both given`},
		{"POST", "/v1/runs", `{"task":"b","in":"` + strings.Repeat("x", 501) + `"}`, 422, `in is 501 bytes long, at most 500`},
		{"POST", "/v1/runs", `{"task":"b","at":"` + strings.Repeat("x", 501) + `"}`, 422, `at is 501 bytes long`},
		{"POST", "/v1/runs", `{"task":"b","set":{"":1}}`, 422, `a setting without a name`},
		{"POST", "/v1/runs", `{"task":"b","set":{"a":1` + many(100, `,"b%d":1`) + `}}`, 422, `set has 101 settings, at most 100`},
		{"POST", "/v1/runs", `{"task":"b","set":[]}`, 422, `set is a JSON array`},
		{"POST", "/v1/runs", `{"task":"b","priority":101}`, 422, `priority is 101, it must be a number from -100 to 100`},
		{"POST", "/v1/runs", `{"task":"b","priority":-101}`, 422, `from -100 to 100`},
		{"POST", "/v1/runs", `{"task":"b","priority":1.5}`, 422, `priority is a JSON number 1.5`},
		{"POST", "/v1/runs", `{"task":"` + long + `"}`, 422, `task is 501 bytes long`},
		{"POST", "/v1/runs", `{"task":"b","step":"` + long + `"}`, 422, `step is 501 bytes long`},
		{"POST", "/v1/runs", `{"task":"b","set":{"` + long + `":1}}`, 422, `a name in set is 501 bytes long`},
		{"POST", "/v1/batch", `{"tasks":["` + long + `"]}`, 422, `tasks[0] is 501 bytes long`},
		{"POST", "/v1/runs/backup/1/cancel", `{"step":"` + long + `"}`, 422, `step is 501 bytes long`},
		{"POST", "/v1/runs/backup/1/restart", `{"from":"` + long + `"}`, 422, `from is 501 bytes long`},
		{"POST", "/v1/tasks/backup/steps", `{"step":{},"after":"` + long + `"}`, 422, `after is 501 bytes long`},
		{"POST", "/v1/tasks", `{"task":{},"dir":"/` + strings.Repeat("x", 4096) + `"}`, 422, `dir is 4097 bytes long, at most 4096`},
		{"POST", "/v1/validate", `{"files":[{"name":"a","dir":"/` + strings.Repeat("x", 4096) + `","data":""}]}`, 422, `files[0].dir is 4097 bytes long`},
		{"POST", "/v1/apply", `{"files":[],"delete":[{"task":"` + long + `","version":1}]}`, 422, `delete[0].task is 501 bytes long`},
		{"POST", "/v1/batch", ``, 422, `the body is empty`},
		{"POST", "/v1/batch", `{}`, 422, `one of tasks, due and all`},
		{"POST", "/v1/batch", `{"due":true,"all":true}`, 422, `one of tasks, due and all`},
		{"POST", "/v1/batch", `{"due":true,"tasks":[]}`, 422, `one of tasks, due and all`},
		{"POST", "/v1/batch", `{"tasks":[]}`, 422, `tasks is empty`},
		{"POST", "/v1/batch", `{"tasks":["a",""]}`, 422, `tasks[1] is empty`},
		{"POST", "/v1/batch", `{"tasks":["a","b","a"]}`, 422, `tasks[2] is \"a\", which is there already`},
		{"POST", "/v1/batch", `{"tasks":["a"` + many(500, `,"b%d"`) + `]}`, 422, `tasks has 501 items, at most 500`},
		{"GET", "/v1/batch", ``, 405, `possible: POST`},
		{"POST", "/v1/runs/backup/1/cancel", `{"again":true}`, 422, `unknown field \"again\"`},
		{"POST", "/v1/runs/backup/1/cancel?step=a", ``, 422, `no parameter \"step\"`},
		{"POST", "/v1/runs/backup/x/cancel", ``, 422, `no number of a run`},
		{"POST", "/v1/runs/backup/1/continue", `{"step":"a"}`, 422, `unknown field \"step\"`},
		{"POST", "/v1/runs/backup/1/restart", `{"latest":"yes"}`, 422, `latest is a JSON string, it must be bool`},
		{"POST", "/v1/runs/backup/1/restart", `   `, 422, `the body is empty`},
		{"GET", "/v1/runs?status=done", ``, 422, `status is \"done\", it must be one of: queued, running`},
		{"GET", "/v1/runs?trigger=cron", ``, 422, `trigger is \"cron\", it must be one of: manual`},
		{"GET", "/v1/runs?since=yesterday", ``, 422, `since is \"yesterday\", it must be a time such as`},
		{"GET", "/v1/runs?until=2026-11-24", ``, 422, `until is \"2026-11-24\"`},
		{"GET", "/v1/runs?started_by=" + strings.Repeat("x", 501), ``, 422, `started_by is 501 bytes long`},
		{"GET", "/v1/runs?user=ada", ``, 422, `there are: task, status, trigger`},
		{"GET", "/v1/runs/backup/1/steps?status=done", ``, 422, `status is \"done\"`},
		{"GET", "/v1/runs/backup/1/steps/", ``, 422, `the name of the step is missing`},
		{"POST", "/v1/runs/backup/1/steps/tables", ``, 405, `possible: GET`},
		{"GET", "/v1/runs/backup/1/steps/tables?limit=1", ``, 422, `no parameter`},
		{"GET", "/v1/runs/backup/1/logs?tail=0", ``, 422, `tail is \"0\", it must be a number from 1 to 1000000`},
		{"GET", "/v1/runs/backup/1/logs?level=loud", ``, 422, `one of: debug, info, warn, error`},
		{"GET", "/v1/runs/backup/1/logs?since=1h", ``, 422, `since is \"1h\"`},
		{"GET", "/v1/runs/backup/1/logs?lines=1", ``, 422, `there are: follow, since, tail, step, level`},
		{"GET", "/v1/tasks?sort=size", ``, 422, `sort is \"size\", it must be one of: name, created`},
		{"GET", "/v1/tasks?status=done", ``, 422, `one of: draft, disabled`},
		{"GET", "/v1/tasks?result=alive", ``, 422, `one of: queued`},
		{"POST", "/v1/tasks", `{}`, 422, `task is missing`},
		{"POST", "/v1/tasks", `{"task":null}`, 422, `task is null, it must be a JSON object`},
		{"POST", "/v1/tasks", `{"task":"name: x"}`, 422, `it must be a JSON object`},
		{"POST", "/v1/tasks", `{"task":{},"dir":"tasks.d"}`, 422, `dir is \"tasks.d\", it must be an absolute path`},
		{"POST", "/v1/tasks", `{"task":{},"version":1}`, 422, `a task that is made has none yet`},
		{"POST", "/v1/tasks", `{"task":{},"version":-1}`, 422, `version is a JSON number -1`},
		{"PUT", "/v1/tasks/backup", `{"task":{}}`, 422, `version is missing`},
		{"PUT", "/v1/tasks/backup?version=1", `{"task":{}}`, 422, `no parameter \"version\"`},
		{"PATCH", "/v1/tasks/backup", `{"description":"x"}`, 422, `unknown field \"description\"`},
		{"PATCH", "/v1/tasks/backup", `{"patch":[]}`, 422, `patch is [], it must be a JSON object`},
		{"PATCH", "/v1/tasks/backup", `{"version":1}`, 422, `patch is missing`},
		{"DELETE", "/v1/tasks/backup", `{}`, 422, `takes no body`},
		{"DELETE", "/v1/tasks/backup?version=0", ``, 422, `version is \"0\"`},
		{"DELETE", "/v1/tasks/backup?version=x", ``, 422, `version is \"x\"`},
		{"GET", "/v1/tasks/backup/definition?format=yaml", ``, 422, `no parameter`},
		{"GET", "/v1/export?limit=0", ``, 422, `from 1 to 500`},
		{"GET", "/v1/tasks/backup/steps?limit=1", ``, 422, `no parameter`},
		{"POST", "/v1/tasks/backup/steps", `{}`, 422, `step is missing`},
		{"POST", "/v1/tasks/backup/steps", `{"step":{},"before":"a","after":"b"}`, 422, `before and after are both given`},
		{"PATCH", "/v1/tasks/backup/steps/a", `{}`, 422, `patch is missing`},
		{"PUT", "/v1/tasks/backup/steps/a", `{}`, 405, `possible: DELETE, GET, PATCH`},
		{"DELETE", "/v1/tasks/backup/steps/a?version=-1", ``, 422, `version is \"-1\"`},
		{"POST", "/v1/tasks/backup/order", `{"steps":[]}`, 422, `steps is empty`},
		{"POST", "/v1/tasks/backup/order", `{"steps":["a","a"]}`, 422, `which is there already`},
		{"POST", "/v1/apply", `{"files":[],"replace":true}`, 422, `files is empty`},
		{"POST", "/v1/apply", `{"files":[],"prune":["/d"]}`, 422, `prune is given without dry_run`},
		{"POST", "/v1/apply", `{"files":[],"dry_run":true,"prune":["d"]}`, 422, `prune[0] is \"d\", it must be an absolute path`},
		{"POST", "/v1/apply", `{"files":[],"delete":[{"task":"a","version":0}]}`, 422, `delete[0] must have the name of a task and its version`},
		{"GET", "/v1/whoami?x=1", ``, 422, `no parameter`},
		{"GET", "/v1/secrets?x=1", ``, 422, `no parameter`},
		{"GET", "/v1/audit?since=x", ``, 422, `since is \"x\"`},
		{"POST", "/v1/audit", ``, 405, `possible: GET`},
		{"GET", "/v2/status", ``, 404, `there is no /v2/status here`},
		{"GET", "/", ``, 404, `"code":"not_found"`},
		{"DELETE", "/v1/tasks/a/..", ``, 404, `there is no /v1/tasks/a/.. here`},
		{"DELETE", "/v1/x/../tasks/a", ``, 404, `"code":"not_found"`},
		{"POST", "/v1/tasks//enable", ``, 404, `"code":"not_found"`},
		{"POST", "/v1/tasks/./enable", ``, 404, `"code":"not_found"`},
		{"GET", "//v1/status", ``, 404, `"code":"not_found"`},
		{"GET", "/v1/status/", ``, 404, `"code":"not_found"`},
		{"CONNECT", "/v1/status", ``, 405, `possible: GET`},
		{"GET", "/v1/runs/backup", ``, 404, `"code":"not_found"`},
		{"GET", "/v1/runs/a/b/42", ``, 404, `"code":"not_found"`},
		{"DELETE", "/v1/runs", ``, 405, `possible: GET, POST`},
		{"POST", "/v1/tasks/backup", ``, 405, `possible: DELETE, GET, PATCH, PUT`},
		{"POST", "/v1/events", ``, 405, `"code":"method"`},
	} {
		resp := get(t, path, tt.method, tt.target, tt.body)
		name := tt.method + " " + tt.target + " " + tt.body[:min(len(tt.body), 60)]
		if resp.status != tt.status || !strings.Contains(resp.body, tt.says) {
			t.Errorf("%s: %d %s, want %d with %s", name, resp.status, resp.body, tt.status, tt.says)
		}
		if !strings.HasPrefix(resp.body, `{"schema":1,`) || resp.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: no JSON of ours: %s", name, resp.body)
		}
		if tt.status == 405 && resp.header.Get("Allow") == "" {
			t.Errorf("%s: no Allow", name)
		}
	}
	if calls, _ := b.take(); len(calls) > 0 {
		t.Errorf("faulty requests reached the backend: %q", calls)
	}
}

// many is format for each number below n.
func many(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func TestHugeHeadersAreRefused(t *testing.T) {
	b := &backend{}
	_, path := serve(t, optionsFor(b))
	conn := dial(t, path)
	go func() {
		_, _ = io.WriteString(conn, "GET /v1/status HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("y", 64<<10)+"\r\n\r\n")
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestGarbageHarmsNobody(t *testing.T) {
	b := &backend{}
	_, path := serve(t, optionsFor(b))
	for _, junk := range []string{"\x00\x01\x02\xff\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "{\"a\":1}\r\n\r\n",
		"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
		"POST /v1/runs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"} {
		conn := dial(t, path)
		_, _ = io.WriteString(conn, junk)
		_ = conn.(*net.UnixConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn) // until the server has had enough
	}
	if _, err := (&client.Client{Socket: path}).Status(t.Context()); err != nil {
		t.Error(err)
	}
	if calls, _ := b.take(); len(calls) != 1 {
		t.Errorf("calls %q, want that of status only", calls)
	}
}

func TestSlowClientsAreCutOff(t *testing.T) {
	b := &backend{}
	_, path := serve(t, server.Options{Backend: b, ReadHeaderTimeout: 50 * time.Millisecond, ReadTimeout: 100 * time.Millisecond})
	for name, part := range map[string]string{
		"nothing":                 "",
		"half a head":             "GET /v1/status HTTP/1.1\r\nHo",
		"a body that never comes": "GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
		"half a body":             "POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"task\":",
	} {
		conn := dial(t, path)
		_, _ = io.WriteString(conn, part)
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("%s: %v, want the end of the connection", name, err)
		}
	}
	if calls, _ := b.take(); len(calls) > 0 {
		t.Errorf("half a request reached the backend: %q", calls)
	}
}

func TestWorkMayTakeLongerThanReading(t *testing.T) {
	const read = 50 * time.Millisecond
	b := &backend{}
	cut := make(chan bool, 1)
	b.hook = func(ctx context.Context) {
		select {
		case <-ctx.Done():
			cut <- true
		case <-time.After(6 * read):
			cut <- false
		}
	}
	_, path := serve(t, server.Options{Backend: b, ReadTimeout: read})
	if _, err := (&client.Client{Socket: path}).Status(t.Context()); err != nil {
		t.Error(err)
	}
	if <-cut {
		t.Error("the read deadline ended the work")
	}
}

func TestTheConnectionAboveTheLimitIsToldSo(t *testing.T) {
	const limit = 64
	watching := make(chan struct{}, limit)
	b := &backend{watch: func(ctx context.Context, send func(api.Event) error) error {
		if err := send(anEvent); err != nil {
			return err
		}
		watching <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}}
	_, path := serve(t, optionsFor(b))
	c := &client.Client{Socket: path}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, limit)
	for range limit {
		go func() { ended <- c.Watch(ctx, "", func(api.Event) error { return nil }) }()
	}
	for range limit {
		<-watching
	}
	_, err := c.Status(t.Context())
	if e, ok := errors.AsType[*api.Error](err); !ok || e.Code != api.CodeBusy {
		t.Errorf("the 65th: %v, want busy", err)
	}
	// Far more than that are not kept either.
	for range 40 {
		dial(t, path)
	}
	cancel()
	for range limit {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("watch: %v", err)
		}
	}
}

func TestPlaceComesFreeAgain(t *testing.T) {
	b := &backend{}
	_, path := serve(t, server.Options{Backend: b, MaxConns: 1})
	c := &client.Client{Socket: path}
	for i := range 20 {
		var err error
		for range 500 { // the server learns of the end of the connection before this one, but not at once
			if _, err = c.Status(t.Context()); err == nil {
				break
			}
			if e, ok := errors.AsType[*api.Error](err); !ok || e.Code != api.CodeBusy {
				t.Fatal(err)
			}
		}
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
}

func TestAPeerWithoutCredentialsIsDenied(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{}
	s := server.New(optionsFor(b))
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(mustRequest(t, "http://"+l.Addr().String()+"/v1/status"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("status %d, want 403", resp.StatusCode)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func mustRequest(t *testing.T, target string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}
