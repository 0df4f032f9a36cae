package app

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
)

// promised is the time in which a daemon ends whose steps listen.
const promised = 10 * time.Second

func TestStopInTheMiddleOfABackup(t *testing.T) {
	s := newShop(t)
	p := newPlace(t, pluginDir(t, "copyfiles", "compress", "dumptables"))
	d := p.start(t)
	s.apply(t, d.Client)
	ref := begin(t, d.Client, "backup")
	awaitEvent(t, d.Client, ref, func(e api.Event) bool { return e.Run.Completed >= 2 })

	from := time.Now()
	d.stop(t)
	if took := time.Since(from); took > 2*promised {
		t.Errorf("it took %s", took)
	}
	p.nothingLeft(t)
	then := look(t, p.data, "backup", 1)
	if !then.run.Status.Alive() && then.run.Status != "completed" {
		t.Fatalf("the run is %s: %s", then.run.Status, then.run.Reason)
	}
	for _, step := range then.steps {
		if step.Status == "running" && !step.PlanDone {
			t.Errorf("step %s is still running by the record", step.Name)
		}
	}

	d = p.start(t)
	wantCompleted(t, d.Client, await(t, d.Client, ref))
	if kept := then.sameAs(t, d.Client); kept < 2 {
		t.Errorf("%d steps were kept", kept)
	}
	s.comesBack(t, d.Client)
	d.stop(t)
	p.nothingLeft(t)
}

// TestStopEndsDeafSteps holds the grace: a step that ignores being told is
// killed, and its run goes on later.
func TestStopEndsDeafSteps(t *testing.T) {
	p := newPlace(t, pluginDir(t, "noop"))
	p.env = []string{"STEPD_GRACE=1s"}
	install(t, p.plugins, "misbehave-steps", "misbehave")
	d := p.start(t)
	apply(t, d.Client, t.TempDir(), "name: deaf\nsteps: [{name: bad, controller: misbehave-steps, settings: {mode: hang-hard}}]\n")
	ref := begin(t, d.Client, "deaf")
	awaitEvent(t, d.Client, ref, func(e api.Event) bool { return len(e.Active) > 0 || e.Step != nil && e.Step.Status == "running" })
	eventually(t, "the plugin runs", func() bool { return len(marked(markerOf(p.data))) > 0 })
	d.stop(t)
	p.nothingLeft(t)

	d = p.start(t)
	run := awaitEvent(t, d.Client, ref, func(e api.Event) bool { return len(e.Active) > 0 })
	if run.Status != "running" {
		t.Errorf("the run is %s: %s", run.Status, run.Reason)
	}
	if _, err := d.Cancel(t.Context(), ref, api.CancelRequest{}); err != nil {
		t.Fatal(err)
	}
	if run := await(t, d.Client, ref); run.Status != "cancelled" {
		t.Errorf("the run is %s: %s", run.Status, run.Reason)
	}
	d.stop(t)
	p.nothingLeft(t)
}

func TestSecondDaemonIsRefused(t *testing.T) {
	p := newPlace(t, pluginDir(t, "noop"))
	d := p.start(t)
	pid := strconv.Itoa(d.cmd.Process.Pid)
	second := *p
	second.socket = filepath.Join(t.TempDir(), "run", "s")
	code, said := second.fails(t)
	if code != 1 || !strings.Contains(said, "process "+pid) || !strings.Contains(said, "stop that one") || !strings.Contains(said, p.data) {
		t.Errorf("exit code %d, want the holder's pid %s:\n%s", code, pid, said)
	}
	if _, err := os.Lstat(second.socket); err == nil {
		t.Error("the second daemon left a socket")
	}
	// The same socket, other data.
	third := *p
	third.data = filepath.Join(t.TempDir(), "data")
	if code, said = third.fails(t); code != 1 || !strings.Contains(said, p.socket) {
		t.Errorf("a socket that is taken: exit code %d\n%s", code, said)
	}
	if st, err := d.Status(t.Context()); err != nil || st.PID != d.cmd.Process.Pid {
		t.Errorf("the first daemon afterwards: %+v, %v", st, err)
	}
	d.stop(t)
	p.nothingLeft(t)
}

func TestUnusableDatabaseIsLeftAlone(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"garbage": func([]byte) []byte { return bytes.Repeat([]byte("This is no database.\n"), 4000) },
		"empty":   func([]byte) []byte { return nil },
		"cut":     func(db []byte) []byte { return db[:5*4096] }, // all behind what is used would be no harm
		"holes": func(db []byte) []byte {
			for i := 4 * 4096; i < len(db); i += 100 { // behind the two meta pages
				db[i] ^= 0xff
			}
			return db
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, pluginDir(t, "noop"))
			d := p.start(t)
			apply(t, d.Client, t.TempDir(), "name: mine\nsteps: [{name: one, controller: noop, settings: {steps: 200}}]\n")
			wantCompleted(t, d.Client, await(t, d.Client, begin(t, d.Client, "mine")))
			d.kill()
			eventually(t, "the plugins end with their daemon", func() bool { return len(marked(markerOf(p.data))) == 0 })

			path := filepath.Join(p.data, "stepd.db")
			broken := spoil([]byte(readFile(t, path)))
			if err := os.WriteFile(path, broken, 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				code, said := p.fails(t)
				if code != 1 || !strings.Contains(said, path) || !strings.Contains(said, "nothing was changed") || !strings.Contains(said, "move it away") {
					t.Errorf("exit code %d:\n%s", code, said)
				}
				if strings.Contains(said, "goroutine ") {
					t.Errorf("it shows a stack:\n%.2000s", said)
				}
				if now := readFile(t, path); now != string(broken) {
					t.Errorf("the file was changed: %d bytes, %d before", len(now), len(broken))
				}
			}
			// What the refusal advises works.
			if err := os.Rename(path, path+".broken"); err != nil {
				t.Fatal(err)
			}
			d = p.start(t)
			if list, err := d.Tasks(t.Context(), api.TaskQuery{}); err != nil || len(list.Items) > 0 {
				t.Errorf("%v, %v", list.Items, err)
			}
			d.stop(t)
		})
	}
}

func TestNoDaemon(t *testing.T) {
	p := newPlace(t, pluginDir(t))
	for _, args := range [][]string{{"status"}, {"run", "backup"}, {"runs"}, {"plugins"}, {"apply", writeFile(t, filepath.Join(t.TempDir(), "x.yaml"), "name: x\n")}} {
		code, out, faults := p.stepd(t, args...)
		if code != 5 || out != "" || !strings.Contains(faults, "not running") || !strings.Contains(faults, "stepd serve") || !strings.Contains(faults, p.socket) {
			t.Errorf("%v: exit code %d, %q\n%s", args, code, out, faults)
		}
	}
	// A socket whose daemon died is no daemon either.
	d := p.start(t)
	d.kill()
	if code, _, faults := p.stepd(t, "status"); code != 5 || !strings.Contains(faults, "nobody listens") {
		t.Errorf("exit code %d\n%s", code, faults)
	}
	p.start(t).stop(t) // which does not mind the old socket
}

func TestPluginDirectories(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	file := writeFile(t, filepath.Join(t.TempDir(), "file"), "")
	locked := pluginDir(t, "noop")
	unsafe := pluginDir(t, "noop")
	for path, mode := range map[string]os.FileMode{locked: 0, unsafe: 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = os.Chmod(locked, 0o755) })
	for _, test := range []struct {
		name, dir string
		texts     []string
	}{
		{"missing", missing, []string{missing + " does not exist"}},
		{"empty", pluginDir(t), []string{"is empty", "no step can run"}},
		{"a file", file, []string{file, "not a directory"}},
		{"unreadable", locked, []string{locked, "permission denied"}},
		{"unsafe", unsafe, []string{unsafe}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPlace(t, test.dir)
			if test.name == "unreadable" && os.Geteuid() == 0 {
				asNobody(t, p)
			}
			d := p.start(t)
			st, err := d.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			code, out, _ := p.stepd(t, "status")
			if code != 0 {
				t.Errorf("exit code %d of status", code)
			}
			for _, text := range append(test.texts, test.dir) {
				if !strings.Contains(strings.Join(st.Problems, "\n"), text) || !strings.Contains(d.log.String(), text) {
					t.Errorf("neither may lack %q: status %q, log\n%s", text, st.Problems, d.log)
				}
				// The command line may break lines.
				if squeezed := strings.Join(strings.Fields(out), ""); !strings.Contains(squeezed, strings.Join(strings.Fields(text), "")) {
					t.Errorf("stepd status lacks %q:\n%s", text, out)
				}
			}
			d.stop(t)
			p.nothingLeft(t)
		})
	}
}

// asNobody lets the daemon run as a user for whom rights count.
func asNobody(t *testing.T, p *place) {
	t.Helper()
	const nobody = 65534
	dir, err := os.MkdirTemp("", "nobody")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	// The way to the plugin directory is open, it is not.
	for up := filepath.Dir(p.plugins); up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.data, p.socket = filepath.Join(dir, "data"), filepath.Join(dir, "run", "s")
	p.attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	p.env = append(p.env, "HOME="+dir)
}
