package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
	"github.com/stepd/stepd/daemon/internal/api/openapi"
)

// canary is a secret of which no trace may be found.
type canary struct {
	name, value string
	traces      [][]byte // what shows that a part of the value is there
}

// newCanary makes a value with the signs between two random halves.
func newCanary(name, signs string) canary {
	random := func() string {
		raw := make([]byte, 8)
		_, _ = rand.Read(raw) // never fails
		return hex.EncodeToString(raw)
	}
	halves := [2]string{random(), random()}
	c := canary{name: name, value: halves[0] + signs + halves[1]}
	for _, half := range halves {
		// Ten signs of a half: less may be left where a text was cut.
		for _, part := range []string{half[:10], half[6:]} {
			numbers := strings.Trim(fmt.Sprint([]byte(part)), "[]")
			for _, trace := range []string{part, hex.EncodeToString([]byte(part)), strings.ToUpper(hex.EncodeToString([]byte(part))), numbers, strings.ReplaceAll(numbers, " ", ",")} {
				c.traces = append(c.traces, []byte(trace))
			}
			for shift := range 3 {
				encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), part...))
				c.traces = append(c.traces, []byte(encoded[4:len(encoded)-2]))
			}
		}
	}
	return c
}

func (c *canary) digest() string { return fmt.Sprintf("%x", sha256.Sum256([]byte(c.value))) }

// nowhere requires that none of the canaries is in the text.
func nowhere(t *testing.T, canaries []canary, where string, text []byte) {
	t.Helper()
	for _, c := range canaries {
		for _, trace := range c.traces {
			if i := bytes.Index(text, trace); i >= 0 {
				t.Errorf("%s has a trace of the secret %s (%s): ...%q...", where, c.name, trace, text[max(0, i-100):min(len(text), i+100)])
				return
			}
		}
	}
}

func nowhereInFiles(t *testing.T, canaries []canary, dir string) (files int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		nowhere(t, canaries, path, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// nowhereInProcesses looks at the arguments and the environment of all that run
// now.
func nowhereInProcesses(t *testing.T, canaries []canary) {
	t.Helper()
	for _, file := range []string{"cmdline", "environ"} {
		paths, _ := filepath.Glob("/proc/[0-9]*/" + file)
		for _, path := range paths {
			if text, err := os.ReadFile(path); err == nil { // it may have ended
				nowhere(t, canaries, path, text)
			}
		}
	}
}

// get reads an answer as it comes, to its end or until ctx ends.
func (p *place) get(ctx context.Context, path string) (status int, body []byte, err error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", p.socket)
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://stepd"+path, nil)
	if err != nil {
		return 0, nil, err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

// refuseLiterals requires that no call takes a value in the place of a
// reference, nor repeats it.
func refuseLiterals(t *testing.T, c *client.Client, literal canary, canaries []canary) {
	t.Helper()
	text := strings.Replace(leakTask("literal", "misbehave-steps", "leak-digest", "x"), "{secret: x}", `"`+literal.value+`"`, 1)
	step := json.RawMessage(`{"name":"more","controller":"misbehave-steps","settings":{"mode":"none","password":"` + literal.value + `"}}`)
	settings := json.RawMessage(`{"settings":{"password":"` + literal.value + `"}}`)
	for what, call := range map[string]func(context.Context) error{
		"apply": func(ctx context.Context) error { _, err := c.Apply(ctx, request(t.TempDir(), text)); return err },
		"validate": func(ctx context.Context) error {
			_, err := c.Validate(ctx, request(t.TempDir(), text).Files)
			return err
		},
		"no YAML": func(ctx context.Context) error {
			_, err := c.Apply(ctx, request(t.TempDir(), strings.Replace(text, `"`+literal.value+`"`, `"`+literal.value, 1)))
			return err
		},
		"create": func(ctx context.Context) error {
			_, err := c.CreateTask(ctx, api.SaveRequest{Task: json.RawMessage(`{"name":"literal","steps":[` + string(step) + `]}`)})
			return err
		},
		"patch": func(ctx context.Context) error {
			_, err := c.PatchTask(ctx, "hold", api.PatchRequest{Patch: settings})
			return err
		},
		"add a step": func(ctx context.Context) error {
			_, err := c.AddStep(ctx, "hold", api.StepRequest{Step: step})
			return err
		},
		"patch a step": func(ctx context.Context) error {
			_, err := c.PatchStep(ctx, "hold", "leak", api.PatchRequest{Patch: settings})
			return err
		},
		"patch a step that is not there": func(ctx context.Context) error {
			_, err := c.PatchStep(ctx, "hold", "none", api.PatchRequest{Patch: settings})
			return err
		},
		"run with it": func(ctx context.Context) error {
			_, err := c.Start(ctx, api.RunRequest{Task: "hold", Set: map[string]json.RawMessage{"leak.password": json.RawMessage(`"` + literal.value + `"`)}})
			return err
		},
	} {
		err := call(t.Context())
		if err == nil {
			t.Errorf("%s: a password was taken", what)
			continue
		}
		said := err.Error()
		if fault, ok := errors.AsType[*api.Error](err); ok {
			said += fmt.Sprintf("%+v", *fault)
			if fault.Code == api.CodeInternal {
				t.Errorf("%s: %v", what, err)
			}
		}
		if what != "no YAML" { // who wrote that is shown the line at fault, and nobody else is
			nowhere(t, canaries, what, []byte(said))
		}
	}
}

// leaking are the modes of plugins/misbehave with the end that each run has.
// Those that plan are another plugin's.
var leaking = map[string]string{
	"leak-digest": "completed", "leak-log": "completed", "leak-progress": "completed", "leak-cut": "failed",
	"leak-message": "completed", "leak-error": "failed", "leak-permanent": "failed", "leak-cancelled": "failed",
	"leak-session-lost": "failed", "leak-grpc-error": "failed", "leak-output": "completed", "leak-output-bytes": "completed",
	"leak-output-name": "failed", "leak-checkpoint": "failed", "leak-stdio": "completed", "leak-crash": "failed", "leak-panic": "failed",
	"leak-plan-name": "failed", "leak-plan-inside": "failed", "leak-plan-key": "failed", "leak-plan-session": "failed",
	"leak-plan-other": "failed", "leak-plan-log": "completed", "leak-plan-message": "completed", "leak-plan-error": "failed",
}

func leakTask(name, plugin, mode, secret string) string {
	return fmt.Sprintf("name: %s\nlog: detailed\nsteps:\n  - {name: leak, controller: %s, settings: {mode: %s, password: {secret: %s}}, retry: {attempts: 1}}\n",
		name, plugin, mode, secret)
}

// TestCanary gives secrets to a plugin that lets them out in every way there is,
// through a daemon that is killed in the middle, and then looks for them in
// every file of the state directory, every answer of the socket, what the daemon
// says, and the arguments and the environment of every process.
func TestCanary(t *testing.T) {
	dir := pluginDir(t)
	p := newPlace(t, dir)
	canaries := []canary{newCanary("signs", `"/ &'<\%é`), newCanary("word", "-")}
	secrets := t.TempDir()
	if err := os.Chmod(secrets, 0o755); err != nil { // whatever the umask
		t.Fatal(err)
	}
	for _, c := range canaries {
		if err := os.WriteFile(filepath.Join(secrets, c.name), []byte(c.value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// One that no task names: a plugin that asks for it must not get it.
	other := newCanary("other", "")
	if err := os.WriteFile(filepath.Join(secrets, other.name), []byte(other.value), 0o600); err != nil {
		t.Fatal(err)
	}
	// One from a directory, one from systemd.
	credentials := filepath.Join(t.TempDir(), "credentials")
	if err := os.MkdirAll(credentials, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(secrets, "word"), filepath.Join(credentials, "word")); err != nil {
		t.Fatal(err)
	}
	p.env = []string{"STEPD_SECRET_DIRS=" + secrets, "CREDENTIALS_DIRECTORY=" + credentials, "STEPD_MAX_RUNS=8"}
	var said bytes.Buffer // all that daemons and streams have said
	var saidLock sync.Mutex
	say := func(text []byte) {
		saidLock.Lock()
		defer saidLock.Unlock()
		said.Write(text)
	}

	d := p.start(t)
	var streams sync.WaitGroup
	follow := func() (end func()) {
		ctx, cancel := context.WithCancel(context.Background())
		streams.Go(func() {
			_, text, _ := p.get(ctx, api.RouteWatch) // ends with the context, or the daemon
			say(text)
		})
		return cancel
	}
	end := follow()
	defer func() { end(); streams.Wait() }()

	// All modes with each, in plugins of their own: deaths of one would open the
	// circuit for the next.
	ends := map[string]string{}
	for _, c := range canaries {
		for mode, status := range leaking {
			plugin := "misbehave-steps-" + mode + "-" + c.name
			if strings.HasPrefix(mode, "leak-plan") {
				plugin = "misbehave-" + mode + "-" + c.name
			}
			install(t, dir, plugin, "misbehave")
			name := mode + "-" + c.name
			apply(t, d.Client, t.TempDir(), leakTask(name, plugin, mode, c.name))
			ends[begin(t, d.Client, name)] = status
		}
	}
	install(t, dir, "misbehave-steps", "misbehave")
	install(t, dir, "misbehave", "misbehave")
	apply(t, d.Client, t.TempDir(), leakTask("hold", "misbehave-steps", "leak-hold", "signs"), leakTask("whole", "misbehave", "leak-plan-whole", "signs"))
	for ref, status := range ends {
		run := await(t, d.Client, ref)
		if run.Status != status {
			t.Errorf("%s is %s, want %s: %s, %+v", ref, run.Status, status, run.Reason, steps(t, d.Client, ref)["0"])
		}
	}

	// Each got the value itself.
	for _, c := range canaries {
		if got := steps(t, d.Client, "leak-digest-"+c.name)["0"]; got.Message != c.digest() {
			t.Fatalf("%s: %+v; want %s", c.name, got, c.digest())
		}
	}

	// While they wait, and when the daemon is killed meanwhile.
	holding := func(ref, step string) {
		t.Helper()
		eventually(t, ref+" holds", func() bool {
			_, lines, err := p.get(t.Context(), api.RunPath(api.RouteLogs, ref))
			return err == nil && bytes.Contains(lines, []byte("holding")) && steps(t, p.client(), ref)[step].Status == "running"
		})
	}
	hold, whole := begin(t, d.Client, "hold"), begin(t, d.Client, "whole")
	holding(hold, "0")
	holding(whole, "0.2")
	nowhereInProcesses(t, canaries)
	d.kill()
	say([]byte(d.log.String()))
	nowhereInFiles(t, canaries, p.data)

	d = p.start(t)
	end()
	end = follow()
	// What was answered before the daemon was killed is in the audit log.
	for _, ref := range []string{hold, whole} {
		page, err := d.Audit(t.Context(), api.AuditQuery{Target: strings.TrimSuffix(ref, "/1"), Action: "run.start"})
		if err != nil || len(page.Items) != 1 || page.Items[0].Made != ref {
			t.Errorf("the start of %s: %+v, %v", ref, page.Items, err)
		}
	}
	holding(hold, "0")
	holding(whole, "0.2")
	nowhereInProcesses(t, canaries)
	for _, ref := range []string{hold, whole} {
		if _, err := d.Cancel(t.Context(), ref, api.CancelRequest{}); err != nil {
			t.Fatal(err)
		}
		await(t, d.Client, ref)
	}
	// The planned step had the reference kept, and got the value.
	if got := steps(t, d.Client, whole)["0.1"]; got.Message != canaries[0].digest() {
		t.Errorf("the planned step: %+v", got)
	}

	// Values that somebody writes where a reference belongs. The daemon has never
	// seen this one, so it cannot know it when it sees it.
	literal := newCanary("literal", "")
	canaries = append(canaries, literal)
	refuseLiterals(t, d.Client, literal, canaries)

	// Every answer.
	refs := []string{hold, whole}
	for ref := range ends {
		refs = append(refs, ref)
	}
	marks, answers := 0, 0
	for _, route := range openapi.Routes() {
		if route.Method != http.MethodGet || route.Path == api.RouteWatch {
			continue
		}
		paths := map[string]bool{}
		for _, ref := range refs {
			task, number, _ := strings.Cut(ref, "/")
			for _, step := range []string{"leak", "leak/one"} {
				paths[strings.NewReplacer("{name}", task, "{task}", task, "{number}", number, "{step}", "leak", "{step...}", step).Replace(route.Path)] = true
			}
		}
		for path := range paths {
			status, body, err := p.get(t.Context(), path)
			if err != nil {
				t.Errorf("%s: %v", path, err)
			}
			if status == http.StatusOK {
				answers++
			}
			marks += bytes.Count(body, []byte("[secret "))
			nowhere(t, canaries, path, body)
		}
	}
	if marks < 100 || answers < 300 {
		t.Errorf("%d answers with %d places where something was replaced: the test does not look where it should", answers, marks)
	}
	for _, args := range [][]string{{"plugins"}, {"tasks"}, {"runs"}, {"logs", hold}, {"run", "show", hold}} {
		_, out, faults := p.stepd(t, args...)
		nowhere(t, canaries, strings.Join(args, " "), []byte(out+faults))
	}

	end()
	d.stop(t)
	streams.Wait()
	say([]byte(d.log.String()))
	nowhere(t, canaries, "what daemons and streams said", said.Bytes())
	if !strings.Contains(said.String(), "[secret signs]") {
		t.Error("nothing of what plugins printed is in what the daemon said")
	}
	if files := nowhereInFiles(t, canaries, p.data); files < 50 {
		t.Errorf("only %d files were looked at", files)
	}
	p.nothingLeft(t)
}
