package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/config"
)

// legacy is a daemon on which a row of daemon/PREDECESSOR.md is shown.
type legacy struct {
	*scheduled
	*testing.T
}

func openLegacy(t *testing.T) *legacy { return &legacy{openScheduled(t), t} }

// makes saves a task over the socket, as addTask did.
func (l *legacy) makes(document string) api.Task {
	l.Helper()
	saved, err := l.CreateTask(l.Context(), api.SaveRequest{Task: asJSON(l, document), Dir: l.dir})
	if err != nil {
		l.Fatalf("create: %v", err)
	}
	return saved.Task
}

// asJSON lets tests write tasks as they are written in files.
func asJSON(t testing.TB, document string) json.RawMessage {
	t.Helper()
	if !json.Valid([]byte(document)) {
		t.Fatalf("no JSON: %s", document)
	}
	return json.RawMessage(document)
}

// told is a step that only says something.
func toldStep(name, more string) string {
	return fmt.Sprintf(`{"name":%q,"controller":"told"%s}`, name, more)
}

func (l *legacy) runs(name string) api.Run {
	l.Helper()
	return await(l, l.Client, begin(l, l.Client, name))
}

func (l *legacy) detail(ref string) api.RunDetail {
	l.Helper()
	d, err := l.Client.Run(l.Context(), ref)
	if err != nil {
		l.Fatal(err)
	}
	return d
}

// statuses of the steps of a run: "one completed, two ready".
func (l *legacy) statuses(ref string) string {
	l.Helper()
	var all []string
	for _, s := range l.detail(ref).Steps {
		all = append(all, s.Name+" "+s.Status)
	}
	return strings.Join(all, ", ")
}

// carries waits until the run's first step is carried out.
func (l *legacy) carries(ref string) {
	l.Helper()
	eventually(l, "the first step of "+ref+" is carried out", func() bool { return l.detail(ref).Steps[0].Status == "running" })
}

func (l *legacy) wants(what string, got, want any) {
	l.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		l.Errorf("%s: %v, want %v", what, got, want)
	}
}

// refuses holds that err is of that code and says all of these.
func (l *legacy) refuses(err error, code api.Code, says ...string) *api.Error {
	l.Helper()
	fault, ok := errors.AsType[*api.Error](err)
	if !ok || fault.Code != code {
		l.Fatalf("%v, want it refused as %s", err, code)
	}
	said := fault.Error()
	for _, problem := range fault.Problems {
		said += "\n" + problem.Path + ": " + problem.Message
	}
	for _, word := range says {
		if !strings.Contains(said, word) {
			l.Errorf("it says %q, want %q in it", said, word)
		}
	}
	return fault
}

// hold makes a pipe on which a step waits, and lets it go.
func (l *legacy) hold(name string) (release func()) {
	l.Helper()
	path := filepath.Join(l.dir, name)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		l.Fatal(err)
	}
	return func() {
		l.Helper()
		eventually(l, "the step takes its word", func() bool {
			f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
			if err == nil {
				_ = f.Close()
			}
			return err == nil
		})
	}
}

// predecessor has a test for each row of daemon/PREDECESSOR.md.
func predecessor() map[string]func(l *legacy) {
	return map[string]func(l *legacy){
		"add_task":                    addTask,
		"update_task":                 updateTask,
		"delete_task":                 deleteTask,
		"get_task":                    getTask,
		"list_tasks":                  listTasks,
		"add_step":                    addStep,
		"update_step":                 updateStep,
		"order_steps":                 orderSteps,
		"delete_step":                 deleteStep,
		"get_steps":                   getSteps,
		"ready_steps":                 readySteps,
		"run_due":                     runDue,
		"run_all":                     runAll,
		"run_task":                    runTask,
		"run_later":                   runLater,
		"interval":                    interval,
		"run_step":                    runStep,
		"last_step":                   lastStep,
		"log_level":                   logLevel,
		"run_log":                     runLog,
		"answer":                      answers,
		"restart":                     restart,
		"continue":                    continues,
		"abort":                       abort,
		"progress":                    progress,
		"completion_hook":             completionHook,
		"status_disabled":             statusDisabled,
		"status_ready":                statusReady,
		"status_running":              statusRunning,
		"status_failed":               statusFailed,
		"status_scheduled":            statusScheduled,
		"status_completed":            statusCompleted,
		"status_incomplete":           statusIncomplete,
		"status_stuck":                statusStuck,
		"step_status":                 stepStatus,
		"starter":                     starter,
		"created_by":                  createdBy,
		"limits":                      limits,
		"settings":                    settings,
		"interrupt":                   interrupt,
		"running_is_stored":           runningIsStored,
		"results_are_kept":            resultsAreKept,
		"no_blind_repeat":             noBlindRepeat,
		"definition_is_not_rewritten": definitionIsNotRewritten,
		"copy_into_itself":            copyIntoItself,
		"closed_browser":              closedBrowser,
	}
}

func TestPredecessor(t *testing.T) {
	for name, row := range predecessor() {
		t.Run(name, func(t *testing.T) { row(openLegacy(t)) })
	}
}

// The document and the tests name the same rows.
func TestPredecessorIsWholeInItsDocument(t *testing.T) {
	text, err := os.ReadFile("../../PREDECESSOR.md")
	if err != nil {
		t.Fatal(err)
	}
	named, calls := map[string]bool{}, documented(t)
	rows := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| there") || strings.HasPrefix(line, "|---") {
			continue
		}
		rows++
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		test := strings.Trim(strings.TrimSpace(cells[len(cells)-1]), "`")
		if predecessor()[test] == nil {
			t.Errorf("there is no test %q for the row %s", test, line)
		}
		named[test] = true
		for _, call := range regexp.MustCompile("`(GET|POST|PUT|PATCH|DELETE) (/[^? `]*)").FindAllStringSubmatch(line, -1) {
			if !slices.Contains(calls, call[1]+" "+call[2]) {
				t.Errorf("there is no call %s %s", call[1], call[2])
			}
		}
	}
	for name := range predecessor() {
		if !named[name] {
			t.Errorf("no row names the test %q", name)
		}
	}
	if rows < 50 {
		t.Errorf("the document has %d rows", rows)
	}
}

// documented are the calls of the document that the daemon serves.
func documented(t *testing.T) (calls []string) {
	t.Helper()
	d := openWith(t, pluginDir(t), func(*config.Config) {}, func(*Options) {})
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.config.Socket)
	}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://stepd"+api.RouteOpenAPI, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var document struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&document); err != nil {
		t.Fatal(err)
	}
	for path, methods := range document.Paths {
		for method := range methods {
			calls = append(calls, strings.ToUpper(method)+" "+path)
		}
	}
	return calls
}
