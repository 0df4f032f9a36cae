package pluginhost

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pumpPatience bounds the wait for the last lines of a dead process, in case
// somebody unknown holds the other end of its stderr.
const pumpPatience = 500 * time.Millisecond

// sweepPatience bounds how long the news of a death waits for its strays.
const sweepPatience = 2 * time.Second

// childSpec is what startChild needs.
type childSpec struct {
	plugin    string
	path      string // argv[0]
	exec      string // what the kernel opens
	env       []string
	instance  string
	socketDir string
	cgroups   string // parent, or empty
	cgroup    string // name
	pump      *pump
}

// child is one operating system process with all that it started.
type child struct {
	spec   childSpec
	cmd    *exec.Cmd
	pid    int
	cgroup *cgroup

	lifeline       *os.File // write end of its stdin; closed, it knows that we are gone
	stdout, stderr *os.File
	readers        sync.WaitGroup

	// greeting delivers the handshake once, if it was a proper one, and is
	// closed. greetErr is valid then.
	greeting chan string
	greetErr error

	dead   chan struct{} // closed when it is gone and all was read
	swept  chan struct{} // closed when its strays are gone too, normally before that
	status string        // valid then: "exit status 3", "signal: killed"
	clean  bool          // valid then: exit status 0
}

// startChild starts the process in a group of its own. The caller waits for
// dead and swept, which need no call of anybody once the process has ended.
func startChild(spec childSpec) (*child, error) {
	var files []*os.File
	closeAll := func() {
		for _, f := range files {
			_ = f.Close()
		}
	}
	pipe := func() (r, w *os.File, err error) {
		if r, w, err = os.Pipe(); err == nil {
			files = append(files, r, w)
		}
		return r, w, err
	}
	inR, inW, err1 := pipe()
	outR, outW, err2 := pipe()
	errR, errW, err3 := pipe()
	if err := errors.Join(err1, err2, err3); err != nil {
		closeAll()
		return nil, fmt.Errorf("open pipes: %w", err)
	}
	c := &child{spec: spec, lifeline: inW, stdout: outR, stderr: errR,
		greeting: make(chan string, 1), dead: make(chan struct{}), swept: make(chan struct{})}
	build := func() *exec.Cmd {
		return &exec.Cmd{Path: spec.exec, Args: []string{spec.path}, Env: spec.env, Dir: "/",
			Stdin: inR, Stdout: outW, Stderr: errW, SysProcAttr: &syscall.SysProcAttr{Setpgid: true}}
	}
	c.cmd = build()
	c.cgroup = newCgroup(spec.cgroups, spec.cgroup)
	if c.cgroup != nil {
		c.cmd.SysProcAttr.UseCgroupFD = true
		c.cmd.SysProcAttr.CgroupFD = int(c.cgroup.dir.Fd())
	}
	err := c.cmd.Start()
	if err != nil && c.cgroup != nil {
		// The group may not take processes; that is no reason to do without.
		c.cgroup.remove()
		c.cgroup = nil
		c.cmd = build()
		err = c.cmd.Start()
	}
	if err != nil {
		c.cgroup.remove()
		closeAll()
		return nil, err
	}
	c.pid = c.cmd.Process.Pid
	_, _, _ = inR.Close(), outW.Close(), errW.Close()

	c.readers.Go(c.readStdout)
	c.readers.Go(func() {
		w := &lineWriter{pump: spec.pump}
		_, _ = io.Copy(w, c.stderr)
		w.close()
		spec.pump.flush()
	})
	go c.wait()
	return c, nil
}

// readStdout takes the handshake and then drains, for ever: a plugin that
// prints must not block on a full pipe.
func (c *child) readStdout() {
	r := bufio.NewReaderSize(c.stdout, maxHandshake)
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		c.greetErr = refuse(c.spec.plugin, ErrHandshake, "wrote more than %d bytes to its standard output where the handshake belongs", maxHandshake)
	case err != nil && len(line) == 0:
		c.greetErr = refuse(c.spec.plugin, ErrStart, "closed its standard output without a handshake")
	default:
		c.greetErr = checkHandshake(c.spec.plugin, strings.ToValidUTF8(string(line), "\uFFFD"), c.spec.socketDir)
	}
	if c.greetErr == nil {
		c.greeting <- string(line)
	}
	close(c.greeting)
	_, _ = io.Copy(io.Discard, r)
}

// wait sees the process out. It is looked at before it is reaped, so that its
// number still names its group when the group is killed.
func (c *child) wait() {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, c.pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	_ = unix.Kill(-c.pid, unix.SIGKILL)
	c.cgroup.kill()
	// Looking through /proc may take long on a machine in distress, and the
	// steps that wait for their outcome need not wait for that.
	go func() {
		defer close(c.swept)
		_, _ = killStrays(c.spec.instance, c.pid)
	}()
	select {
	case <-c.swept:
	case <-time.After(sweepPatience):
	}
	_ = c.cmd.Wait()
	if state := c.cmd.ProcessState; state != nil {
		c.status, c.clean = state.String(), state.Success()
	}

	read := make(chan struct{})
	go func() {
		c.readers.Wait()
		close(read)
	}()
	select {
	case <-read:
	case <-time.After(pumpPatience):
	}
	_, _, _ = c.lifeline.Close(), c.stdout.Close(), c.stderr.Close()
	<-read
	c.cgroup.remove()
	close(c.dead)
}

// terminate asks the whole group to end.
func (c *child) terminate() { c.signal(unix.SIGTERM) }

// kill ends the process, its group and its cgroup. Strays follow in wait.
func (c *child) kill() {
	c.cgroup.kill()
	c.signal(unix.SIGKILL)
}

func (c *child) signal(sig unix.Signal) {
	select {
	case <-c.dead: // the number may be another's by now
	default:
		// Not reaped, or just about to be: os.Process knows the difference for
		// the leader, whose zombie keeps the group's number alive.
		if c.cmd.Process.Signal(sig) == nil {
			_ = unix.Kill(-c.pid, sig)
		}
	}
}

// killLeftovers ends what earlier steps left running beside the plugin.
func (c *child) killLeftovers() (int, error) { return killStrays(c.spec.instance, c.pid) }

// handshakeReader is the standard output that go-plugin gets to see: one
// checked line, then nothing until the process is dead.
type handshakeReader struct {
	child *child
	rest  string
	ended bool
}

func (r *handshakeReader) Read(p []byte) (int, error) {
	if r.rest == "" && !r.ended {
		r.rest = <-r.child.greeting
		if r.ended = true; r.rest == "" {
			return 0, io.EOF
		}
	}
	if r.rest == "" {
		<-r.child.dead
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *handshakeReader) Close() error { return nil }
