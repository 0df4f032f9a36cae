package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
	"github.com/stepd/stepd/daemon/internal/api/openapi"
	"github.com/stepd/stepd/daemon/internal/api/server"
)

// roles gives everyone the same role.
type roles struct{ role api.Role }

func (r *roles) Role(api.Caller) api.Role { return r.role }

func me(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

func myGroup(t *testing.T) string {
	t.Helper()
	g, err := user.LookupGroupId(strconv.Itoa(os.Getgid()))
	if err != nil {
		return strconv.Itoa(os.Getgid())
	}
	return g.Name
}

func TestEachRouteAsksForItsRole(t *testing.T) {
	b, given := &backend{}, &roles{}
	_, socket := serve(t, server.Options{Backend: b, Authorizer: given})
	for _, starter := range [][]string{nil, {me(t)}, {"somebody-else", "@" + myGroup(t)}, {"somebody-else", "@another-group"}} {
		b.starter = starter
		mine := len(starter) > 0 && !slices.Contains(starter, "@another-group")
		for _, role := range api.Roles() {
			given.role = role
			for _, route := range openapi.Routes() {
				target, _, body := sample(t, &route)
				resp := get(t, socket, route.Method, target, body)
				calls, _ := b.take()
				need := route.Role
				if route.Dry { // the example is
					need = api.RoleReader
				}
				// Whom the starters admit to acts the backend says, which is asked.
				want := role.Includes(need) || route.Starter && (route.Action != "" || mine)
				if got := resp.status == http.StatusOK; got != want {
					t.Errorf("%s by %s with starters %v: %d %s", route.ID, role, starter, resp.status, resp.body)
				}
				if want {
					continue
				}
				if resp.status != http.StatusForbidden || !strings.Contains(resp.body, `"code":"denied"`) {
					t.Errorf("%s by %s: %d %s", route.ID, role, resp.status, resp.body)
				}
				for _, says := range []string{string(need), me(t), "ask an administrator", "_groups"} {
					if !strings.Contains(resp.body, says) {
						t.Errorf("%s by %s does not say %q: %s", route.ID, role, says, resp.body)
					}
				}
				if len(calls) > 1 || len(calls) == 1 && calls[0].Method != "Task" {
					t.Errorf("%s by %s was denied, and the backend asked for %v", route.ID, role, calls)
				}
			}
		}
	}
}

// Only a dry run of apply is for readers.
func TestApplyChangesForAdministratorsAlone(t *testing.T) {
	b := &backend{}
	_, socket := serve(t, server.Options{Backend: b, Authorizer: &roles{api.RoleRunner}})
	for body, status := range map[string]int{
		`{"files":[{"name":"b","dir":"/d","data":""}]}`:                                  403,
		`{"files":[{"name":"b","dir":"/d","data":""}],"dry_run":false}`:                  403,
		`{"files":[{"name":"b","dir":"/d","data":""}],"dry_run":true}`:                   200,
		`{"files":[{"name":"b","dir":"/d","data":""}],"dry_run":true,"dry_run":false}`:   403,
		`{"files":[{"name":"b","dir":"/d","data":""}],"dry_run":false,"dry_run":true}`:   422,
		`{"files":[{"name":"b","dir":"/d","data":""}],"DRY_RUN":true,"dry_run":false}`:   403,
		`{"files":[{"name":"b","dir":"/d","data":""}],"dry_run":true} {"dry_run":false}`: 403,
		`{"dry_run":"true"}`: 403,
		`no json`:            403,
	} {
		if resp := get(t, socket, http.MethodPost, api.RouteApply, body); resp.status != status {
			t.Errorf("%s: %d %s, want %d", body, resp.status, resp.body, status)
		}
		calls, _ := b.take()
		for _, c := range calls {
			if !c.Args[0].(api.ApplyRequest).DryRun {
				t.Errorf("%s was applied", body)
			}
		}
	}
}

// Whoever has no role does not learn which tasks there are.
func TestATaskThatIsNotThereIsDeniedLikeOneOfOthers(t *testing.T) {
	b := &backend{err: &api.Error{Code: api.CodeNotFound, Message: "there is no task backup"}}
	_, socket := serve(t, server.Options{Backend: b, Authorizer: &roles{api.RoleNone}})
	missing := get(t, socket, http.MethodGet, "/v1/tasks/backup", "")
	b.err = nil
	others := get(t, socket, http.MethodGet, "/v1/tasks/backup", "")
	if missing.status != http.StatusForbidden || missing.body != others.body {
		t.Errorf("%s\n%s", missing.body, others.body)
	}
}

func TestAdministratorsActForOthers(t *testing.T) {
	b, given := &backend{}, &roles{api.RoleAdmin}
	_, socket := serve(t, server.Options{Backend: b, Authorizer: given})
	c := &client.Client{Socket: socket, ActFor: "Jürgen.o@shop"}
	if _, err := c.Start(t.Context(), api.RunRequest{Task: "backup"}); err != nil {
		t.Fatal(err)
	}
	if _, who := b.take(); who.ActFor != "Jürgen.o@shop" || who.By() != "Jürgen.o@shop" || who.Name != me(t) {
		t.Errorf("%+v", who)
	}
	for _, name := range []string{" ", "a b", "-x", ".x", "@x", "a/b", "a,b", "a\"b", strings.Repeat("x", 65), "a\xff"} {
		c.ActFor = name
		_, err := c.Start(t.Context(), api.RunRequest{Task: "backup"})
		if e, ok := errors.AsType[*api.Error](err); !ok || e.Code != api.CodeInvalid {
			t.Errorf("%q: %v", name, err)
		}
	}
	c.ActFor = "ada"
	for _, role := range []api.Role{api.RoleNone, api.RoleReader, api.RoleRunner} {
		given.role = role
		_, err := c.Status(t.Context())
		if e, ok := errors.AsType[*api.Error](err); !ok || e.Code != api.CodeDenied || !strings.HasPrefix(e.Message, "to act for others needs the role administrator") {
			t.Errorf("%s: %v", role, err)
		}
	}
	if calls, _ := b.take(); len(calls) > 0 {
		t.Errorf("calls %v", calls)
	}
}

// envPeer makes this program a client of the socket that it names.
const envPeer = "STEPD_TEST_PEER"

func TestMain(m *testing.M) {
	if socket := os.Getenv(envPeer); socket != "" {
		resp, err := (&client.Client{Socket: socket}).WhoAmI(context.Background())
		if err != nil || resp.User == "" {
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// The kernel says which groups a peer has, however many.
func TestAPeersGroupsAreKnown(t *testing.T) {
	b := &backend{}
	_, socket := serve(t, optionsFor(b))
	want, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envPeer+"="+socket)
	if os.Getuid() == 0 { // who else may not choose
		cred := &syscall.Credential{Gid: uint32(os.Getgid())}
		want = []int{os.Getgid()}
		for gid := range 200 {
			want = append(want, 60000+gid)
			cred.Groups = append(cred.Groups, uint32(60000+gid))
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	_, who := b.take()
	var groups []string
	for _, gid := range want {
		name := strconv.Itoa(gid)
		if g, err := user.LookupGroupId(name); err == nil {
			name = g.Name
		}
		if !slices.Contains(groups, name) {
			groups = append(groups, name)
		}
	}
	if own := myGroup(t); !slices.Contains(groups, own) {
		groups = append(groups, own)
	}
	if diff := cmp.Diff(groups, who.Groups, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

// book keeps what is audited.
type book struct {
	mu      sync.Mutex
	ready   error
	broken  error
	entries []api.AuditEntry
}

func (b *book) Ready() error { return b.ready }

func (b *book) Keep(e api.AuditEntry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries = append(b.entries, e)
	return b.broken
}

func (b *book) take() []api.AuditEntry {
	b.mu.Lock()
	defer b.mu.Unlock()
	entries := b.entries
	b.entries = nil
	return entries
}

func TestEachActIsInTheAuditLog(t *testing.T) {
	b, kept, given := &backend{}, &book{}, &roles{api.RoleAdmin}
	_, socket := serve(t, server.Options{Backend: b, Auditor: kept, Authorizer: given})
	targets := map[string]string{"applyTasks": "backup", "startBatch": "", "changeStep": "backup archive", "deleteStep": "backup archive",
		"cancelRun": "backup/42", "continueRun": "backup/42", "restartRun": "backup/42"}
	made := map[string]string{"startRun": "backup/42", "restartRun": "backup/43", "startBatch": "backup/42"}
	changing := 0
	for _, route := range openapi.Routes() {
		target, query, body := sample(t, &route)
		body = strings.Replace(body, `"dry_run": true`, `"dry_run": false`, 1)
		for role, result := range map[api.Role]string{api.RoleAdmin: "ok", api.RoleNone: "denied"} {
			given.role = role
			if result == "denied" && route.Starter {
				b.err = &api.Error{Code: api.CodeDenied, Message: "no"}
			}
			get(t, socket, route.Method, target, body)
			b.err = nil
			entries := kept.take()
			if route.Action == "" {
				if len(entries) > 0 {
					t.Errorf("%s changes nothing and is kept: %+v", route.ID, entries)
				}
				continue
			}
			changing++
			want := api.AuditEntry{User: me(t), UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), PID: int32(os.Getpid()), Role: role,
				Action: route.Action, Target: "backup", Request: body, Result: result}
			if len(query) > 0 {
				want.Request = "?" + query.Encode() + "\n" + body
			}
			if other, ok := targets[route.ID]; ok {
				want.Target = other
			}
			if result == "ok" {
				want.Made = made[route.ID]
			} else if route.ID == "applyTasks" {
				want.Target = "backup.yaml" // the files were not read
			}
			if len(entries) != 1 || entries[0].Time.IsZero() || (entries[0].Error == "") != (result == "ok") {
				t.Errorf("%s by %s: %+v", route.ID, role, entries)
				continue
			}
			if diff := cmp.Diff(want, entries[0], cmpopts.IgnoreFields(api.AuditEntry{}, "Time", "Error")); diff != "" {
				t.Errorf("%s by %s (-want +got):\n%s", route.ID, role, diff)
			}
		}
	}
	if changing < 36 {
		t.Errorf("%d acts", changing)
	}
}

func TestDryRunsAreNotInTheAuditLog(t *testing.T) {
	kept := &book{ready: errors.New("broken")}
	_, socket := serve(t, server.Options{Backend: &backend{}, Auditor: kept})
	resp := get(t, socket, http.MethodPost, api.RouteApply, `{"files":[{"name":"b","dir":"/d","data":""}],"dry_run":true}`)
	if entries := kept.take(); resp.status != http.StatusOK || len(entries) > 0 {
		t.Errorf("%d %s %+v", resp.status, resp.body, entries)
	}
}

func TestFaultyActsAreInTheAuditLogCut(t *testing.T) {
	kept := &book{}
	_, socket := serve(t, server.Options{Backend: &backend{}, Auditor: kept})
	for body, code := range map[string]api.Code{
		`{"task":"backup","x":"` + strings.Repeat("ä", 8<<10) + `"}`: api.CodeInvalid,
		strings.Repeat("x", api.MaxBody+1):                           api.CodeTooLarge,
		"\xff\xfe":                                                   api.CodeInvalid,
	} {
		get(t, socket, http.MethodPost, api.RouteRuns, body)
		entries := kept.take()
		if len(entries) != 1 || entries[0].Result != string(code) || entries[0].Error == "" || len(entries[0].Request) > 8<<10 || entries[0].Request == "" {
			t.Fatalf("%+v", entries)
		}
		if text, err := json.Marshal(entries[0]); err != nil || strings.Contains(string(text), `\ufffd\ufffd\ufffd`) {
			t.Errorf("%v %s", err, text)
		}
	}
}

func TestWithoutAnAuditLogNothingIsChanged(t *testing.T) {
	b, kept := &backend{}, &book{}
	_, socket := serve(t, server.Options{Backend: b, Auditor: kept})
	act := func(target string, status int) {
		t.Helper()
		resp := get(t, socket, http.MethodPost, target, map[bool]string{true: `{"task":"backup"}`}[target == api.RouteRuns])
		if resp.status != status {
			t.Errorf("%s: %d %s, want %d", target, resp.status, resp.body, status)
		}
	}
	kept.ready = errors.New("permission denied")
	act(api.RouteRuns, 500)
	act("/v1/runs/backup/42/cancel", 500)
	kept.ready = &api.Error{Code: api.CodeDiskFull, Message: "no room"}
	act(api.RouteRuns, 507)
	act("/v1/tasks/backup/disable", 507)
	if calls, _ := b.take(); len(calls) > 0 {
		t.Errorf("calls %v", calls)
	}
	act("/v1/runs/backup/42/cancel", 200) // it makes room, if anything
	kept.take()
	kept.ready, kept.broken = nil, errors.New("the disk is gone")
	act(api.RouteRuns, 200) // it was done
}

func TestAnActThatPanicsIsInTheAuditLog(t *testing.T) {
	kept := &book{}
	_, socket := serve(t, server.Options{Backend: panics{}, Auditor: kept})
	resp := get(t, socket, http.MethodPost, api.RouteRuns, `{"task":"backup"}`)
	entries := kept.take()
	if resp.status != 500 || len(entries) != 1 || entries[0].Result != "internal" || entries[0].Target != "backup" {
		t.Errorf("%d %+v", resp.status, entries)
	}
}

// panics is a backend of which every method panics.
type panics struct{ api.Backend }

// What is told of an act is what it was about: the run that was the newest then,
// and the tasks that stood against an apply, or the files that had faults.
func TestTheAuditLogSaysWhatAnActWasAbout(t *testing.T) {
	b, kept := &backend{}, &book{}
	_, socket := serve(t, server.Options{Backend: b, Auditor: kept})
	files := `{"files":[{"name":"a.yaml","dir":"/d","data":""},{"name":"b.yaml","dir":"/d","data":""}],"delete":[{"task":"c","version":1}]}`
	for _, test := range []struct {
		target, body, want string
		err                error
	}{
		{"/v1/runs/backup/latest/cancel", "", "backup/42", nil},
		{"/v1/runs/backup/latest/continue", "", "backup/42", nil},
		{"/v1/runs/backup/latest/restart", "", "backup/42", nil},
		{"/v1/runs/backup/7/cancel", "", "backup/7", nil},
		{"/v1/runs/backup/latest/cancel", "", "backup/latest", &api.Error{Code: api.CodeNotFound}}, // there is none
		{api.RouteApply, files, "a.yaml b.yaml c", &api.Error{Code: api.CodeInvalid}},
		{api.RouteApply, files, "shop", &api.Error{Code: api.CodeConflict, Tasks: []api.Applied{{Task: "shop", Action: "conflict"}}}},
	} {
		b.err = test.err
		get(t, socket, http.MethodPost, test.target, test.body)
		if entries := kept.take(); len(entries) != 1 || entries[0].Target != test.want {
			t.Errorf("%s: %+v, want %s", test.target, entries, test.want)
		}
	}
}

func TestFilesMayBeLargerThanWhatElseIsAsked(t *testing.T) {
	_, socket := serve(t, server.Options{Backend: &backend{}})
	files := func(size int) string {
		return `{"files":[{"name":"b","dir":"/d","data":"` + strings.Repeat("x", size) + `"}]}`
	}
	for _, route := range []string{api.RouteApply, api.RouteValidate} {
		if resp := get(t, socket, http.MethodPost, route, files(7<<20)); resp.status != http.StatusOK {
			t.Errorf("%s: %d %s", route, resp.status, resp.body)
		}
		if resp := get(t, socket, http.MethodPost, route, files(8<<20)); resp.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d %s", route, resp.status, resp.body)
		}
	}
	// What takes no body has no limit for one.
	for _, route := range []string{"/v1/tasks/backup/enable", "/v1/tasks/backup"} {
		method := map[bool]string{true: http.MethodPost, false: http.MethodGet}[strings.HasSuffix(route, "enable")]
		if resp := get(t, socket, method, route, strings.Repeat("x", 2<<20)); resp.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", route, resp.status, resp.body)
		}
	}
}
