package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

// view shows a run while it goes on. Its methods are called one after the
// other.
type view interface {
	event(api.Event) error
	note(string) // something about the watching itself
	close()      // takes away what is not to stay
}

func (e *env) newView(told *reasons) view {
	switch {
	case e.json():
		return jsonView{e}
	case e.quiet:
		return quietView{}
	case isTerminal(e.Stderr) && e.Getenv("TERM") != "dumb":
		return newBarView(e, told)
	}
	return &plainView{env: e, lines: stepLines{p: e.painter(e.Stderr), told: told}}
}

// follow watches a run to its end and prints how it ended. An interrupt leaves
// the run alone.
func (e *env) follow(ctx context.Context, c *client.Client, ref string) error {
	told := newReasons()
	v := e.newView(told)
	var last api.Run
	err := e.persist(ctx, v.note, func(heard func()) error {
		err := c.Watch(ctx, ref, func(ev api.Event) error {
			heard()
			last = ev.Run
			return v.event(ev)
		})
		if err == nil && last.Alive() {
			return errCutShort
		}
		return err
	})
	var detail api.RunDetail
	if err == nil {
		err = e.persist(ctx, v.note, func(func()) (err error) {
			detail, err = c.Run(ctx, ref)
			return err
		})
	}
	v.close()
	if ctx.Err() != nil {
		e.detached(ref)
		return errInterrupted
	}
	if err != nil {
		return err
	}
	if !isTerminal(e.Stdout) || !isTerminal(e.Stderr) || e.quiet {
		told = newReasons() // what was told went elsewhere
	}
	if err := e.summary(detail, told); err != nil {
		return err
	}
	if detail.Status != "completed" {
		return &runEnd{status: detail.Status}
	}
	return nil
}

func (e *env) detached(ref string) {
	if e.json() {
		return
	}
	// Even with --quiet: whoever interrupts may believe that they have ended
	// the run.
	fmt.Fprintf(e.Stderr, "\n%s goes on; watch it again: stepd run show %s --follow; end it: stepd cancel %s\n", ref, ref, ref)
}

var errCutShort = errors.New("the daemon broke off before the run had ended")

const (
	firstPause = 200 * time.Millisecond
	longPause  = 3 * time.Second
)

// persist calls once again when the daemon goes away in the middle, until it is
// back or has been away for as long as patience lasts. once calls heard whenever
// the daemon says something.
func (e *env) persist(ctx context.Context, note func(string), once func(heard func()) error) error {
	alive := time.Now()
	away := false
	pause := firstPause
	for {
		err := once(func() {
			if away {
				note("the daemon is back")
			}
			away, alive, pause = false, time.Now(), firstPause
		})
		if err == nil || ctx.Err() != nil || !wentAway(err) {
			return err
		}
		if !away {
			alive, away = time.Now(), true
			note(fmt.Sprintf("the daemon is gone; waiting for it for up to %s", span(e.patience)))
		}
		if time.Since(alive)+pause > e.patience {
			return gaveUp(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, longPause)
	}
}

func wentAway(err error) bool {
	if errors.Is(err, errCutShort) {
		return true
	}
	if _, ok := errors.AsType[*client.BrokenError](err); ok {
		return true
	}
	if d, ok := errors.AsType[*client.DownError](err); ok {
		return d.Why != client.NotPermitted
	}
	fault, ok := errors.AsType[*api.Error](err)
	return ok && (fault.Code == api.CodeStopping || fault.Code == api.CodeBusy)
}

func gaveUp(err error) error {
	if _, ok := errors.AsType[*client.DownError](err); ok {
		return withHint(err, "the run is not lost: it goes on when the daemon is started again")
	}
	return err
}

// summary is the end of a run that was followed: what a person wants to know
// without asking again.
func (e *env) summary(d api.RunDetail, told *reasons) error {
	if e.json() {
		return e.printJSON(struct {
			Type string        `json:"type"`
			Run  api.RunDetail `json:"run"`
		}{"end", d})
	}
	p := e.painter(e.Stdout)
	head := fmt.Sprintf("%s %s", p.paint(bold, printable(d.Ref)), p.status(d.Status))
	if t := took(&d.Run, e.Now()); t != "" {
		head += " in " + t
	}
	head += ": " + tally(&d.Run) + "\n"
	if e.quiet {
		if d.Reason != "" {
			head += "  " + block(d.Reason) + "\n"
		}
		return e.print(head)
	}
	// Planned steps first: what their planner and the run say is made of theirs.
	fault := map[string]string{}
	for _, s := range append(append([]api.Step{}, d.Faults...), d.Steps...) {
		fault[s.Position] = told.tell(printable(s.Name), s.Error)
	}
	if d.Reason != "" {
		if says := told.tell("", d.Reason); says != "as before" {
			head += "  " + block(says) + "\n"
		}
	}
	var list [][2]string
	for _, s := range append(append([]api.Step{}, d.Steps...), d.Faults...) {
		says := block(s.Message)
		if s.Error != "" {
			says = p.paint(red, block(fault[s.Position]))
			if brief := fault[s.Position]; brief != s.Error {
				says = p.status(s.Status) + ", " + block(brief)
			}
		}
		if says == "" && s.Status != "completed" {
			says = p.status(s.Status)
		}
		list = append(list, [2]string{printable(s.Name), says})
	}
	if err := e.print(head + e.pairs(list)); err != nil {
		return err
	}
	e.whatNext(&d.Run)
	if list := hooks(&d.Run); list != "" {
		e.say("its hooks:       %s", list)
	}
	return nil
}

// whatNext says, once and at the end, what to do with a run that has not
// completed.
func (e *env) whatNext(r *api.Run) {
	switch r.Status {
	case "failed", "incomplete", "cancelled":
		e.say("what it says:    stepd logs %s\ndo what is left: stepd continue %s\ndo all again:    stepd restart %s", r.Ref, r.Ref, r.Ref)
	}
}

// jsonView prints events as they come, one object a line.
type jsonView struct{ e *env }

func (v jsonView) event(ev api.Event) error { return v.e.printJSON(ev) }
func (v jsonView) note(string)              {}
func (v jsonView) close()                   {}

// quietView shows nothing.
type quietView struct{}

func (quietView) event(api.Event) error { return nil }
func (quietView) note(string)           {}
func (quietView) close()                {}
