package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	hclog "github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/daemon/internal/task"
	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

// plugin is one executable: the process that is up now, the start that is
// under way, and what is remembered between them.
//
// Locks are taken in the order Host.mu, plugin.mu, process.mu, Host.gate.
type plugin struct {
	host *Host
	name string
	log  hclog.Logger

	mu       sync.Mutex
	path     string
	proc     *process // takes new work; nil: none does
	flight   *flight  // start under way
	breaker  breaker
	desc     *description
	trouble  error // why it was refused or not started last, nil when it was since
	starts   int
	lastExit string

	probing atomic.Bool // the circuit was open and has not closed again
}

// flight is one start that all who need it wait for.
type flight struct {
	done chan struct{} // closed when it is over
	err  error         // valid then
}

// with finds or starts a process for which use returns true. use is called
// under the plugin's lock.
func (pl *plugin) with(ctx context.Context, use func(*process) bool) error {
	for {
		pl.mu.Lock()
		if pl.proc != nil && use(pl.proc) {
			pl.mu.Unlock()
			return nil
		}
		f := pl.flight
		if f == nil {
			now := pl.host.cfg.Now()
			if until, open := pl.breaker.open(now); open {
				err := pl.circuitError(until)
				pl.mu.Unlock()
				return err
			}
			f = &flight{done: make(chan struct{})}
			wait := pl.breaker.wait(now)
			if !pl.host.spawn(func() { pl.start(f, wait) }) {
				pl.mu.Unlock()
				return refuseStopping(pl.name)
			}
			pl.flight = f
		}
		pl.mu.Unlock()
		select {
		case <-f.done:
			if f.err != nil {
				return f.err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// circuitError needs the lock.
func (pl *plugin) circuitError(until time.Time) error {
	err := refuse(pl.name, ErrCircuitOpen, "is not started before %s, because it died %d times within %v; look into its last error, then try again",
		until.Format(time.RFC3339), len(pl.breaker.deaths), pl.breaker.window)
	if pl.trouble != nil {
		err.Text += ": " + pl.trouble.Error()
		err.Cause = pl.trouble
	}
	return err
}

// start is the body of a flight.
func (pl *plugin) start(f *flight, wait time.Duration) {
	p, err := pl.launchAfter(pl.host.life, wait)
	pl.mu.Lock()
	pl.flight = nil
	pl.trouble = err
	if err == nil {
		pl.proc, pl.desc = p, p.desc
		pl.starts++
	} else if countsAsDeath(err) {
		pl.died()
	}
	pl.mu.Unlock()
	if err == nil {
		pl.log.Info("plugin started", "pid", p.child.pid, "version", p.desc.version)
		pl.host.own(p)
	} else if !errors.Is(err, task.ErrStopping) {
		pl.log.Warn("plugin not started", "error", err)
	}
	f.err = err
	close(f.done)
}

func (pl *plugin) launchAfter(ctx context.Context, wait time.Duration) (*process, error) {
	if wait > 0 {
		// A file that is refused is so at once, not after the pause.
		file, err := checkExecutable(pl.name, pl.file(), pl.host.cfg.Checksums[pl.name])
		if err != nil {
			return nil, err
		}
		file.close()
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, refuseStopping(pl.name)
		}
	}
	return pl.launch(ctx)
}

// countsAsDeath tells a program that fails from a file that is not run.
func countsAsDeath(err error) bool {
	if errors.Is(err, task.ErrStopping) {
		return false
	}
	return errors.Is(err, ErrStart) || errors.Is(err, ErrHandshake) || errors.Is(err, ErrProtocol) || errors.Is(err, ErrDescribe)
}

// died needs the lock.
func (pl *plugin) died() {
	now := pl.host.cfg.Now()
	pl.breaker.died(now)
	if until, open := pl.breaker.open(now); open {
		pl.probing.Store(true)
		pl.log.Error("plugin keeps dying and is left alone for a while", "until", until)
	}
}

// worked says that a step came to a proper end.
func (pl *plugin) worked() {
	if !pl.probing.Load() {
		return
	}
	pl.mu.Lock()
	defer pl.mu.Unlock()
	pl.breaker.worked(pl.host.cfg.Now())
	pl.probing.Store(!pl.breaker.openUntil.IsZero())
}

// detach stops giving new work to the process.
func (pl *plugin) detach(p *process) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if pl.proc == p {
		pl.proc = nil
	}
}

// ended takes note of a process that is dead, and of whose fault that was.
func (pl *plugin) ended(p *process) {
	pl.detach(p)
	p.mu.Lock()
	e, inFlight := p.ending, len(p.calls)
	if e == nil {
		p.epitaph = fmt.Sprintf("ended by itself (%s)%s", p.child.status, p.lastWords())
	} else {
		p.epitaph = e.why
	}
	p.mu.Unlock()
	unexpected := e == nil && (inFlight > 0 || !p.child.clean) || e != nil && e.bad
	pl.mu.Lock()
	pl.lastExit = p.child.status
	if unexpected {
		pl.trouble = refuse(pl.name, ErrStart, "%s", p.epitaph)
		pl.died()
	}
	pl.mu.Unlock()
	if unexpected {
		pl.log.Warn("plugin died", "pid", p.child.pid, "exit", p.child.status, "steps", inFlight, "why", p.epitaph)
	} else {
		pl.log.Info("plugin ended", "pid", p.child.pid, "exit", p.child.status)
	}
}

// checkReplaced lets a new version of the file take over once the process of
// the old one has no sessions to lose.
func (pl *plugin) checkReplaced(p *process) {
	id, err := currentIdentity(pl.file())
	if err != nil || id == p.desc.id {
		return
	}
	p.mu.Lock()
	sessions := p.sessions
	p.mu.Unlock()
	if sessions == 0 {
		pl.log.Info("plugin's file was replaced: new work goes to the new one")
		p.retire()
	}
}

func (pl *plugin) file() string {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	return pl.path
}

// lookup answers from memory while the file is the same.
func (pl *plugin) lookup(ctx context.Context, name string) (task.ControllerInfo, error) {
	id, err := currentIdentity(pl.file())
	pl.mu.Lock()
	desc, proc := pl.desc, pl.proc
	pl.mu.Unlock()
	if err != nil || desc == nil || desc.id != id {
		if proc != nil {
			pl.checkReplaced(proc)
		}
		err := pl.with(ctx, func(p *process) bool {
			desc = p.desc
			return true
		})
		if err != nil {
			return task.ControllerInfo{}, err
		}
	}
	c, err := desc.find(pl.name, name)
	return c.info, err
}

// endRun tells the process that is up, in the background.
func (pl *plugin) endRun(p *process, id task.RunID) {
	if !p.endRun(id) {
		return
	}
	pl.host.spawn(func() {
		ctx, done := p.bounded(pl.host.life, pl.host.cfg.CallTimeout, nil)
		defer done()
		if _, err := p.api.EndRun(ctx, &stepdv1.EndRunRequest{RunId: runKey(id)}); err != nil && ctx.Err() == nil {
			pl.log.Warn("plugin did not take the end of a run", "run", id, "error", err)
		}
	})
}

func runKey(id task.RunID) string { return strconv.FormatUint(uint64(id), 10) }
