package app

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/config"
)

func TestRoles(t *testing.T) {
	self := uint32(os.Geteuid())
	c := config.Config{AdminGroups: []string{"61001"}, RunnerGroups: []string{"61002", "61001"}, ReaderGroups: []string{"root"}}
	grouped, err := newRoles(c)
	if err != nil {
		t.Fatal(err)
	}
	open, err := newRoles(config.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		who    api.Caller
		groups []string
		want   api.Role
	}{
		{api.Caller{UID: 61000}, []string{"61001"}, api.RoleAdmin}, // the highest counts
		{api.Caller{UID: 61000}, []string{"games", "61002"}, api.RoleRunner},
		{api.Caller{UID: 61000}, []string{"root"}, api.RoleReader},
		{api.Caller{UID: 61000}, []string{"0"}, api.RoleReader}, // as it is called when its name cannot be looked up
		{api.Caller{UID: 61000}, []string{"games"}, api.RoleNone},
		{api.Caller{UID: 61000, GID: 61001, Name: "61001"}, nil, api.RoleNone}, // a name is no group
		{api.Caller{UID: 0}, nil, api.RoleAdmin},
		{api.Caller{UID: self}, nil, api.RoleAdmin},
	} {
		test.who.Groups = test.groups
		if got := grouped.Role(test.who); got != test.want {
			t.Errorf("%+v is %s, want %s", test.who, got, test.want)
		}
		if got := open.Role(test.who); got != api.RoleAdmin {
			t.Errorf("without groups, %+v is %s", test.who, got)
		}
	}
}

func TestGroupsThatAreNotThere(t *testing.T) {
	p := newPlace(t, pluginDir(t))
	p.env = []string{"STEPD_ADMIN_GROUPS=root,no-such-group", "STEPD_READER_GROUPS=neither-this"}
	code, said := p.fails(t)
	for _, want := range []string{`admin_groups: there is no group "no-such-group": make it with groupadd, or correct its name`, `reader_groups: there is no group "neither-this"`} {
		if code == 0 || !strings.Contains(said, want) {
			t.Errorf("it ended with %d and said %q, want %q", code, said, want)
		}
	}
	if _, err := os.Stat(p.data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it made its directory all the same: %v", err)
	}
}

// person runs the command line as somebody else. Only root can be one.
type person struct {
	name   string
	uid    uint32
	groups []uint32
}

// as runs the command line with the credentials of the person.
func (p *place) as(t *testing.T, who person, args ...string) (code int, out string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(built, "stepd"), args...)
	cmd.Env = []string{"STEPD_SOCKET=" + p.socket, "NO_COLOR=1", "HOME=/nonexistent"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: who.uid, Gid: who.uid, Groups: who.groups}}
	raw, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(raw)
}

// TestRolesOfRealPeers asks as different users and groups, as far as the test
// may become them. As another user than root, it can only be itself.
func TestRolesOfRealPeers(t *testing.T) {
	p := newPlace(t, pluginDir(t, "noop"))
	p.env = []string{"STEPD_ADMIN_GROUPS=61001", "STEPD_RUNNER_GROUPS=61002", "STEPD_READER_GROUPS=61003"}
	// The way to the socket is the test's to open: that is what a service's
	// RuntimeDirectory and socket_group are for.
	d := p.start(t)
	for dir := filepath.Dir(p.socket); strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(p.socket); err != nil || info.Mode().Perm() != 0o660 {
		t.Fatalf("the socket has mode %v, %v", info.Mode(), err)
	}
	apply(t, d.Client, t.TempDir(), wellTask, strings.Replace(wellTask, "name: well\n", "name: shop\nstarter: ['61004', '@61005']\n", 1))
	if os.Geteuid() != 0 {
		if who, err := d.WhoAmI(t.Context()); err != nil || who.Role != api.RoleAdmin || int(who.UID) != os.Geteuid() {
			t.Errorf("the daemon's own user: %+v, %v", who, err)
		}
		return
	}
	admin, runner, reader := person{"admin", 61010, []uint32{61001}}, person{"runner", 61011, []uint32{7, 61002}}, person{"reader", 61012, []uint32{61003}}
	nobody, starter, member := person{"nobody", 61013, nil}, person{"starter", 61004, nil}, person{"member", 61014, []uint32{61005}}
	if code, out := p.as(t, admin, "tasks"); code != 4 || !strings.Contains(out, "no permission to talk to the daemon") {
		t.Errorf("whoever is not of the socket's group gets through: %d, %s", code, out)
	}
	if err := os.Chmod(p.socket, 0o666); err != nil { // what a group of the socket does for its members
		t.Fatal(err)
	}
	const denied = 4
	for _, test := range []struct {
		args []string
		may  []person
	}{
		{[]string{"tasks"}, []person{admin, runner, reader}},
		{[]string{"run", "well"}, []person{admin, runner}},
		{[]string{"run", "shop"}, []person{admin, starter, member}},
		{[]string{"logs", "shop/1"}, []person{admin, runner, reader, starter, member}},
		{[]string{"task", "disable", "well"}, []person{admin}},
		{[]string{"task", "enable", "well"}, []person{admin}},
	} {
		for _, who := range []person{admin, runner, reader, nobody, starter, member} {
			code, out := p.as(t, who, test.args...)
			want := denied
			if slices.ContainsFunc(test.may, func(one person) bool { return one.name == who.name }) {
				want = 0
			}
			if code != want {
				t.Errorf("%s, %v: %d, want %d, %s", who.name, test.args, code, want, out)
			}
		}
	}

	// For others: what is made has their name, and the log both.
	for who, want := range map[*person]int{&admin: 0, &runner: denied, &starter: denied} {
		if code, out := p.as(t, *who, "run", "well", "--as", "ann"); code != want {
			t.Errorf("%s for ann: %d, want %d, %s", who.name, code, want, out)
		}
	}
	runs, err := d.Runs(t.Context(), api.RunQuery{StartedBy: "ann"})
	if err != nil || len(runs.Items) != 1 {
		t.Errorf("runs of ann: %+v, %v", runs.Items, err)
	}
	page, err := d.Audit(t.Context(), api.AuditQuery{User: "ann", Limit: 10})
	if err != nil || len(page.Items) != 1 {
		t.Fatalf("the audit log: %+v, %v", page, err)
	}
	if e := page.Items[0]; e.UID != 61010 || e.GID != 61010 || e.PID == 0 || e.User != "61010" || e.ActFor != "ann" || e.Role != api.RoleAdmin ||
		e.Action != "run.start" || e.Result != "ok" || e.Made == "" || !strings.Contains(e.Request, `"well"`) {
		t.Errorf("the line: %+v", e)
	}
	refused, err := d.Audit(t.Context(), api.AuditQuery{User: "61011", Action: "task", Limit: 10})
	if err != nil || len(refused.Items) != 2 || refused.Items[0].Result != string(api.CodeDenied) || refused.Items[0].Target != "well" {
		t.Errorf("what was refused: %+v, %v", refused, err)
	}
	d.stop(t)
}
