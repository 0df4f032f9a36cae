package pluginhost

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/stepd/stepd/daemon/internal/task"
	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

// manner is how a process is brought down.
type manner int

const (
	politely manner = iota // Shutdown, then SIGTERM, then SIGKILL
	firmly                 // SIGTERM, then SIGKILL
	atOnce                 // SIGKILL
)

// ending says why a process is being ended by us.
type ending struct {
	why string // completes "plugin compress ..."
	by  *call  // the step that did not stop, or nil
	bad bool   // the plugin's fault: counts as a death
	how manner
}

// process is one running plugin, shared by the steps that are in it. Its
// supervisor goroutine, run, owns its end.
type process struct {
	pl     *plugin
	cfg    *Config
	child  *child
	pump   *pump
	conn   *grpc.ClientConn
	api    stepdv1.PluginClient
	health grpc_health_v1.HealthClient
	desc   *description

	socketDir string
	tempDir   string // go-plugin's, unused

	mu       sync.Mutex
	calls    map[*call]struct{}
	runs     map[task.RunID]bool // served, EndRun not told yet; true: a session is open
	sessions int                 // how many of those
	retired  bool                // takes no new work, ends after the last call
	ending   *ending             // set once
	stirred  bool                // work was done since leftovers were last killed
	idleFrom time.Time           // end of the last call

	idle    chan struct{} // poked when the last call has ended
	asked   chan struct{} // closed when ending is set
	settled chan struct{} // closed when it is dead and the plugin knows why
	gone    chan struct{} // closed when nothing of it is left

	epitaph string // what became of it, completes "plugin compress ..."; valid when settled
}

// enter counts a call in, unless the process takes no more.
func (p *process) enter(c *call) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired || p.ending != nil {
		return false
	}
	p.calls[c] = struct{}{}
	if _, known := p.runs[c.work.Attempt.Run]; !known {
		p.runs[c.work.Attempt.Run] = false
	}
	p.stirred = true
	return true
}

// leave counts it out. session says that a plan left one open.
func (p *process) leave(c *call, session bool) {
	p.mu.Lock()
	delete(p.calls, c)
	if session && !p.runs[c.work.Attempt.Run] {
		p.runs[c.work.Attempt.Run] = true
		p.sessions++
	}
	last := len(p.calls) == 0
	if last {
		p.idleFrom = time.Now()
	}
	p.mu.Unlock()
	if last {
		poke(p.idle)
	}
}

// endRun forgets the run and reports whether the process had served it.
func (p *process) endRun(id task.RunID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	session, served := p.runs[id]
	if session {
		p.sessions--
	}
	delete(p.runs, id)
	if served && len(p.calls) == 0 {
		p.stirred = true
		poke(p.idle)
	}
	return served && p.ending == nil
}

// end begins the end of the process and returns at once. The first reason
// counts. The caller must not hold the plugin's lock.
func (p *process) end(e ending) {
	p.mu.Lock()
	p.setEnding(e)
	p.mu.Unlock()
	p.pl.detach(p)
}

// setEnding needs the lock.
func (p *process) setEnding(e ending) {
	if p.ending == nil {
		p.ending = &e
		close(p.asked)
	}
}

// retire lets the calls in it finish and takes no new ones.
func (p *process) retire() {
	p.mu.Lock()
	p.retired = true
	p.mu.Unlock()
	p.pl.detach(p)
	poke(p.idle)
}

func (p *process) reason() *ending {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ending
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run supervises the process until nothing of it is left.
func (p *process) run() {
	defer close(p.gone)
	stdio, stopStdio := context.WithCancel(context.Background())
	var background sync.WaitGroup
	background.Go(func() { followStdio(stdio, p.conn, p.pump) })

	p.supervise()
	if e := p.reason(); e != nil {
		p.bringDown(e.how)
	}
	<-p.child.dead
	p.pl.ended(p)
	close(p.settled)
	stopStdio()
	background.Wait()
	p.pump.flush()
	<-p.child.swept
	p.discard()
}

// supervise returns when the process is dead or is to be ended.
func (p *process) supervise() {
	health := time.NewTicker(p.cfg.HealthInterval)
	defer health.Stop()
	timer := time.NewTimer(p.nextDue())
	defer timer.Stop()
	strikes := 0
	for {
		select {
		case <-p.child.dead:
			return
		case <-p.asked:
			return
		case <-p.idle:
			timer.Reset(p.nextDue())
		case <-timer.C:
			if p.whenIdle() {
				return
			}
			timer.Reset(p.nextDue())
		case <-health.C:
			if p.healthy() {
				strikes = 0
				p.pl.checkReplaced(p)
			} else if strikes++; strikes >= p.cfg.HealthStrikes {
				p.end(ending{why: fmt.Sprintf("did not answer %d health checks and was ended", strikes), bad: true, how: atOnce})
				return
			}
		}
	}
}

// nextDue is how long it takes until whenIdle may have something to do. While
// calls are under way that is decided anew when the last of them ends.
func (p *process) nextDue() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(p.calls) > 0:
		return time.Hour
	case p.retired:
		return 0
	case p.stirred && p.sessions == 0:
		return time.Until(p.idleFrom.Add(p.cfg.StrayDelay))
	case p.sessions > 0:
		return time.Hour
	}
	return time.Until(p.idleFrom.Add(p.cfg.IdleTimeout))
}

// whenIdle does what is due once nothing runs: leftovers of steps are killed
// first, the process itself is ended later. It spares both while a session is
// open, for that may consist of processes. It reports whether the end began.
func (p *process) whenIdle() bool {
	p.mu.Lock()
	idle := time.Since(p.idleFrom)
	if len(p.calls) > 0 || p.sessions > 0 && !p.retired {
		p.mu.Unlock()
		return false
	}
	if p.retired || idle >= p.cfg.IdleTimeout {
		p.setEnding(ending{why: "was ended because nothing needed it any more"})
		p.mu.Unlock()
		p.pl.detach(p)
		return true
	}
	sweep := p.stirred && idle >= p.cfg.StrayDelay
	if sweep {
		p.stirred = false
	}
	p.mu.Unlock()
	if sweep {
		if n, err := p.child.killLeftovers(); err != nil {
			p.pl.log.Warn("leftovers of steps could not be killed", "killed", n, "error", err)
		} else if n > 0 {
			p.pl.log.Warn("killed processes that steps had left running", "count", n)
		}
	}
	return false
}

// bounded makes a context for one call to the plugin: it ends after d, when
// the process is dead, and when the other channel closes (nil: never). The
// caller calls done.
func (p *process) bounded(ctx context.Context, d time.Duration, other <-chan struct{}) (_ context.Context, done func()) {
	ctx, cancel := context.WithTimeout(ctx, d)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-p.child.dead:
		case <-other:
		case <-ctx.Done():
		}
		cancel()
	}()
	return ctx, func() {
		cancel()
		<-watched
	}
}

func (p *process) healthy() bool {
	ctx, done := p.bounded(context.Background(), p.cfg.HealthTimeout, p.asked)
	defer done()
	_, err := p.health.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: goplugin.GRPCServiceName})
	return err == nil
}

// bringDown ends the process: politely where there is reason to hope, then
// with SIGTERM, then with SIGKILL. It returns when the process is dead.
func (p *process) bringDown(how manner) {
	if how == politely {
		ctx, done := p.bounded(context.Background(), p.cfg.CallTimeout, p.pl.host.hurry)
		// Its error says nothing: the plugin cuts the connection that the
		// answer travels on.
		_ = shutdown(ctx, p.conn)
		done()
		if p.awaitDeath(p.cfg.TermGrace) {
			return
		}
	}
	if how != atOnce {
		_ = p.child.lifeline.Close()
		p.child.terminate()
		if p.awaitDeath(p.cfg.TermGrace) {
			return
		}
	}
	p.child.kill()
	<-p.child.dead
}

func (p *process) awaitDeath(patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.child.dead:
		return true
	case <-p.pl.host.hurry:
	case <-timer.C:
	}
	return false
}

// stderrLine goes to the daemon's log, and to the step when there is no doubt
// which one it belongs to.
func (p *process) stderrLine(line string) {
	p.pl.log.Debug("stderr", "line", line)
	p.mu.Lock()
	var only *call
	if len(p.calls) == 1 {
		for only = range p.calls {
		}
	}
	p.mu.Unlock()
	if only != nil {
		only.reporter.Log(task.LogWarn, "stderr: "+line, nil)
	}
}

// lastWords are the newest lines of stderr for the end of an error, or
// nothing.
func (p *process) lastWords() string {
	lines := p.pump.last()
	const limit = 2 << 10
	size, from := 0, len(lines)
	for from > 0 && size+len(lines[from-1]) < limit {
		from--
		size += len(lines[from]) + 1
	}
	if from == len(lines) {
		return ""
	}
	return "; its last lines on stderr:\n" + strings.Join(lines[from:], "\n")
}

func newProcess(pl *plugin) *process {
	return &process{pl: pl, cfg: &pl.host.cfg, calls: map[*call]struct{}{}, runs: map[task.RunID]bool{}, idleFrom: time.Now(),
		idle: make(chan struct{}, 1), asked: make(chan struct{}), settled: make(chan struct{}), gone: make(chan struct{})}
}
