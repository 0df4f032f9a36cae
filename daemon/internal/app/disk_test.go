package app

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
	"github.com/stepd/stepd/daemon/internal/config"
)

// disk is a daemon whose state directory can be filled.
type disk struct {
	*client.Client
	fill func(left int64) // takes all room but so many bytes
	free func()
}

const largeTask = "name: large\nsteps: [{name: many, controller: noop, settings: {steps: 3000}}]\n"

// TestFullDisk fills the state directory of a process. Where no file system can
// be mounted for it, TestFullDiskInProcess alone holds the behaviour.
func TestFullDisk(t *testing.T) {
	p := newPlace(t, pluginDir(t, "noop"))
	if err := p.ownFileSystem(t, "96m"); err != nil {
		t.Logf("no small file system can be mounted here: %v", err)
		return
	}
	d := p.start(t)
	// The daemon's view of it: nobody else sees the mount.
	inside := fmt.Sprintf("/proc/%d/root%s", d.cmd.Process.Pid, p.data)
	filler := filepath.Join(inside, "filler")
	survivesFullDisk(t, p.data, disk{
		Client: d.Client,
		fill:   func(left int64) { fillUp(t, filler, left) },
		free: func() {
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
		},
	}, func() {
		code, out, _ := p.stepd(t, "status")
		if code != 0 || !strings.Contains(out, "with problems") || !strings.Contains(out, "no space left") {
			t.Errorf("stepd status: exit code %d\n%s", code, out)
		}
		code, _, faults := p.stepd(t, "run", "well")
		if code != 1 || !strings.Contains(faults, "no space left") || !strings.Contains(faults, p.data) {
			t.Errorf("stepd run: exit code %d\n%s", code, faults)
		}
	})
	for _, text := range []string{"new runs are refused", "there is room again"} {
		if !strings.Contains(d.log.String(), text) {
			t.Errorf("the log lacks %q:\n%s", text, d.log)
		}
	}
	d.stop(t)
	noProcesses(t, p.data)
}

// TestFullDiskInProcess is the same with a disk that is full by word only, under
// the race detector.
func TestFullDiskInProcess(t *testing.T) {
	word := newWord()
	d := openWith(t, pluginDir(t, "noop"), func(c *config.Config) { c.BallastSize = 8 << 20 }, word.into)
	survivesFullDisk(t, d.config.DataDir, disk{Client: d.Client, fill: word.Store, free: word.free}, func() {})
}

// TestStopAndStartOnAFullDisk holds that a full disk keeps the daemon neither
// from ending nor from starting, and that nothing is lost.
func TestStopAndStartOnAFullDisk(t *testing.T) {
	word := newWord()
	d := openWith(t, pluginDir(t, "noop"), func(c *config.Config) { c.BallastSize = 8 << 20 }, word.into)
	apply(t, d.Client, t.TempDir(), wellTask, largeTask)
	word.Store(1 << 20)
	ref := begin(t, d.Client, "large")
	eventually(t, "status names the full disk", func() bool { return len(d.answers(t).Problems) > 0 })
	word.Store(0)
	if err := d.end(); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
	d = openWith(t, "", func(c *config.Config) { *c = d.config }, word.into)
	if st := d.answers(t); len(st.Problems) != 1 || !strings.Contains(st.Problems[0], "no space left") {
		t.Errorf("status says %q", st.Problems)
	}
	if _, err := d.Start(t.Context(), api.RunRequest{Task: "well"}); err == nil {
		t.Error("a run was begun")
	}
	if detail, err := d.Run(t.Context(), ref); err != nil || !detail.Alive() {
		t.Errorf("the run is %+v, %v", detail.Run, err)
	}
	word.free()
	wantCompleted(t, d.Client, await(t, d.Client, ref))
}

// word is a disk that is full by word only: how much more it takes, in bytes.
type word struct{ atomic.Int64 }

func newWord() *word {
	w := &word{}
	w.free()
	return w
}

func (w *word) free() { w.Store(64 << 20) }

func (w *word) into(o *Options) {
	o.allocate = func(f *os.File, offset, size int64) error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		grows := max(0, offset+size-info.Size())
		if w.Add(-grows) < 0 {
			w.Add(grows)
			return unix.ENOSPC
		}
		return unix.Fallocate(int(f.Fd()), 0, offset, size)
	}
}

// survivesFullDisk fills the disk while a run is made that needs more of it.
// meanwhile is called when it is full.
func survivesFullDisk(t *testing.T, data string, d disk, meanwhile func()) {
	t.Helper()
	apply(t, d.Client, t.TempDir(), wellTask, largeTask)
	wantCompleted(t, d.Client, await(t, d.Client, begin(t, d.Client, "well")))

	ref := begin(t, d.Client, "large") // a nearly full disk refuses it
	d.fill(0)
	problem := func() string {
		st, err := d.Status(t.Context())
		if err != nil {
			t.Fatalf("status on a full disk: %v", err)
		}
		return strings.Join(st.Problems, "\n")
	}
	eventually(t, "status names the full disk", func() bool { return problem() != "" })
	d.fill(0) // of what the reserve gave back, too
	if text := problem(); !strings.Contains(text, "no space left") || !strings.Contains(text, data) {
		t.Errorf("status says %q", text)
	}
	for what, err := range map[string]error{
		"a run":  second(d.Start(t.Context(), api.RunRequest{Task: "well"})),
		"a task": second(d.Apply(t.Context(), request(t.TempDir(), strings.ReplaceAll(wellTask, "well", "another")))),
	} {
		fault, ok := errors.AsType[*api.Error](err)
		if !ok || fault.Code != api.CodeDiskFull || !strings.Contains(fault.Message, "no space left") || !strings.Contains(fault.Message, data) {
			t.Errorf("%s on a full disk: %+v", what, err)
		}
	}
	// What is there can be looked at.
	detail, err := d.Run(t.Context(), ref)
	if err != nil || !detail.Alive() && detail.Reason == "" && detail.Status != "completed" {
		t.Errorf("the run: %+v, %v", detail.Run, err)
	}
	if list, err := d.Runs(t.Context(), api.RunQuery{}); err != nil || len(list.Items) != 2 {
		t.Errorf("%d runs, %v", len(list.Items), err)
	}
	meanwhile()
	t.Logf("on the full disk the run is %s with %d of %d steps", detail.Status, detail.Completed, detail.Total)

	d.free()
	eventually(t, "new runs are taken again", func() bool {
		run, err := d.Start(t.Context(), api.RunRequest{Task: "well"})
		if err == nil {
			wantCompleted(t, d.Client, await(t, d.Client, run.Ref))
			return true
		}
		if fault, ok := errors.AsType[*api.Error](err); !ok || fault.Code != api.CodeDiskFull {
			t.Fatal(err)
		}
		return false
	})
	if text := problem(); text != "" {
		t.Errorf("with room again, status says %q", text)
	}
	if detail.Alive() {
		wantCompleted(t, d.Client, await(t, d.Client, ref))
		for _, step := range steps(t, d.Client, ref) {
			if step.Attempt != 1 {
				t.Errorf("step %s took %d attempts: a full disk is waited for and is no fault of a step", step.Name, step.Attempt)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

// fillUp writes the file until there is no more room than left.
func fillUp(t *testing.T, path string, left int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	chunk := make([]byte, 1<<20)
	for {
		var st unix.Statfs_t
		if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		size := min(int64(st.Bavail)*st.Bsize-left, int64(len(chunk)))
		if size <= 0 {
			return
		}
		if _, err := f.Write(chunk[:size]); err != nil && !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	}
}

// ownFileSystem lets the daemon mount a small one over its state directory, in a
// mount namespace that ends with it.
func (p *place) ownFileSystem(t *testing.T, size string) error {
	t.Helper()
	if err := os.MkdirAll(p.data, 0o700); err != nil {
		t.Fatal(err)
	}
	const script = `mount --make-rprivate / && mount -t tmpfs -o mode=700,size="$0" stepd "$1" && shift && exec "$@"`
	p.wrap = []string{"/bin/sh", "-c", script, size, p.data}
	p.attr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if uid := os.Geteuid(); uid != 0 { // may be allowed as the root of an own user namespace
		p.attr.Cloneflags |= syscall.CLONE_NEWUSER
		p.attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		p.attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	try := exec.Command(p.wrap[0], append(p.wrap[1:], "true")...)
	try.SysProcAttr = p.attr
	if out, err := try.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
