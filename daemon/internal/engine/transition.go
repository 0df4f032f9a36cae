package engine

import (
	"context"
	"encoding/json"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// transition is all that one commit changes, and what is done once it holds.
type transition struct {
	runChanged  bool
	steps       []task.RunStep
	outputs     []stepOutputs
	checkpoints []task.Position // to be dropped
	settled     bool            // the set of running or waiting steps changed
	wish        bool            // the wish to cancel becomes durable with it
	hold        bool            // nothing is started before it is durable
	cancels     []cancelMessage // who waits for that

	starts []*attempt
	afters []func()
	lines  []task.LogEntry
}

// stepOutputs replaces the outputs of a step.
type stepOutputs struct {
	pos    task.Position
	values map[string]json.RawMessage
}

// put writes a step; the last one of a position counts.
func (t *transition) put(s task.RunStep) {
	t.settled = true
	for i := range t.steps {
		if t.steps[i].Position == s.Position {
			t.steps[i] = s
			return
		}
	}
	t.steps = append(t.steps, s)
}

// after adds what is done when the transition is durable.
func (t *transition) after(f func()) { t.afters = append(t.afters, f) }

// say adds a line to the run's log, written when the transition is durable.
func (t *transition) say(level task.LogLevel, step string, attempt int, text string) {
	t.lines = append(t.lines, task.LogEntry{Level: level, Step: step, Attempt: attempt, Message: text})
}

func (t *transition) durable() bool {
	return t.runChanged || len(t.steps)+len(t.outputs)+len(t.checkpoints) > 0
}

// commit makes the transition durable and then acts on it.
func (r *runner) commit(t *transition) error {
	var next sequel
	if t.durable() {
		r.progress.update(r)
		save := r.save
		if !r.run.Status.Alive() {
			save = r.saveEnd
		}
		var err error
		if next, err = save(t); err != nil {
			return err
		}
	}
	now := r.e.Clock.Now()
	for _, line := range t.lines {
		line.Time = now
		r.e.RunLog.Append(r.run, line)
	}
	for _, a := range t.starts {
		r.attempts[a.id.Position] = a
	}
	if t.durable() || t.settled {
		r.show()
		r.announce(t)
	}
	r.e.goOn(r.run, next)
	for _, a := range t.starts {
		a.launch()
	}
	for _, f := range t.afters {
		f()
	}
	return nil
}

func (r *runner) save(t *transition) (sequel, error) {
	return sequel{}, r.e.persist(func(tx Tx) error { return t.write(tx, r.run, r.id) })
}

// saveEnd does so for the end of the run, with all that follows from it.
func (r *runner) saveEnd(t *transition) (next sequel, err error) {
	var run task.Run
	err = r.e.insist(func() (err error) {
		next, err = r.e.end(context.Background(), func(tx Tx, withHooks bool) (hooks []task.Run, err error) {
			run = r.run
			if withHooks {
				if hooks, err = r.e.hook(tx, r.def, &run); err != nil {
					return nil, err
				}
			}
			if err := t.write(tx, run, r.id); err != nil {
				return nil, err
			}
			return hooks, r.e.ended(tx, run)
		})
		return err
	})
	if err != nil {
		return sequel{}, err
	}
	r.run = run
	r.e.toldSchedules()
	return next, nil
}

func (t *transition) write(tx Tx, run task.Run, id task.RunID) error {
	if t.runChanged {
		if err := tx.PutRun(run); err != nil {
			return err
		}
	}
	for _, s := range t.steps {
		if err := tx.PutStep(id, s); err != nil {
			return err
		}
	}
	for _, pos := range t.checkpoints {
		if err := tx.DeleteCheckpoint(id, pos); err != nil {
			return err
		}
	}
	for _, o := range t.outputs {
		for name, value := range o.values {
			if err := tx.PutOutput(id, o.pos, name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// show publishes the committed state for those who ask.
func (r *runner) show() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.run = r.run
	r.state.base, r.state.planned = r.progress.base(r), r.progress.remaining(r)
	r.state.lifeStart, r.state.lifeProgress = r.progress.startedAt, r.progress.atStart
	r.state.active = r.state.active[:0:0]
	for _, a := range r.attempts {
		r.state.active = append(r.state.active, a)
	}
	r.state.waiting = nil
	for _, l := range r.lanes {
		for _, s := range l.waiting {
			r.state.waiting = append(r.state.waiting, l.view(s))
		}
		if view, yes := l.standing(); yes {
			r.state.waiting = append(r.state.waiting, view)
		}
	}
}

// announce tells watchers what the transition changed.
func (r *runner) announce(t *transition) {
	if !r.e.watchers.any() {
		return
	}
	for _, s := range t.steps {
		view := stepView(r.def, s, nil)
		r.e.watchers.publish(Event{Kind: EventStep, Run: r.run, Step: &view})
	}
	if t.runChanged {
		r.e.watchers.publish(Event{Kind: EventRun, Run: r.run})
	}
}

// shown is what is known of a run outside of its runner: committed states only.
type shown struct {
	run     task.Run
	base    float64 // percent that ended steps are worth
	high    float64 // highest percent that anybody saw
	active  []*attempt
	waiting []StepView

	planned      time.Duration // ETA of what is left of the plan, as planned
	lifeStart    time.Time
	lifeProgress float64
	head         float64 // percent that steps had from earlier attempts when they went on
}

// giveHead notes progress that was not made in this life of the run.
func (r *runner) giveHead(percent float64) {
	r.mu.Lock()
	r.state.head += percent
	r.mu.Unlock()
}

func (r *runner) shown() shown {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}
