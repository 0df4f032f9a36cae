package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Info tells a controller where it stands.
type Info struct {
	Task           string
	Run            uint64    // number of the run within its task
	Step           string    // "tables", or "tables/actor" for a planned step
	Attempt        int       // counts up from 1
	Deadline       time.Time // of this attempt; zero: none
	ScheduledFor   time.Time // the nominal time; zero: not started by a schedule
	RunCreatedAt   time.Time // when the run was asked for, the same for all its attempts
	IdempotencyKey string    // the same for all attempts of this step in this run, and of no other on any daemon
	BaseDir        string    // where relative paths in settings start
	WorkDir        string    // the run's own directory; it is removed when the run has completed
	HookOf         HookOf    // in a step of on_success, on_failure or on_end; else zero

	runID, session string
}

// HookOf is the run whose end a hook follows, as it had ended then. The outputs
// of its steps are read with Step.Input, like those of the hook's own.
type HookOf struct {
	Ref    string // "backup/42"
	Run    uint64 // number of the run within its task
	Status string // completed, failed, incomplete or cancelled
	Reason string // why, unless it completed
}

// Path resolves a path of the settings: relative ones start at BaseDir.
func (i Info) Path(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(i.BaseDir, path)
}

// Work is a path inside the run's own directory.
func (i Info) Work(elem ...string) string {
	return filepath.Join(append([]string{i.WorkDir}, elem...)...)
}

// Step is one attempt of one step. Its methods may be called from several
// goroutines until Run returns.
type Step[S any] struct {
	Settings S
	Info     Info

	call *call
}

// Progress says how far the attempt is. total 0 means that it is not known.
// It never blocks; of several calls in quick succession only the last is sent.
func (s *Step[S]) Progress(done, total float64, note string) {
	s.call.progress(done, total, note)
}

// Count shows named counters beside the progress ("sent", "failed"). Like
// Progress it never blocks. The map is copied.
func (s *Step[S]) Count(counters map[string]int64) { s.call.count(counters) }

// Checkpoint saves v, as JSON of at most 250 KiB, for the next attempt. It is
// durable when Checkpoint returns nil. It works also after ctx was cancelled,
// within the grace. An error means that this attempt is not the newest any
// more, or that nothing can be saved: stop.
func (s *Step[S]) Checkpoint(ctx context.Context, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode checkpoint: %w", err)
	}
	return s.call.checkpoint(data)
}

// Resume reads the last checkpoint of an earlier attempt into v and reports
// whether there was one.
func (s *Step[S]) Resume(v any) (bool, error) {
	if !s.call.hasCheckpoint {
		return false, nil
	}
	if err := json.Unmarshal(s.call.saved, v); err != nil {
		return false, Permanent(fmt.Errorf("decode checkpoint: %w", err))
	}
	return true, nil
}

// Output keeps v, as JSON of at most 64 KiB, under a name for later steps and
// for people. It becomes durable with the step's completion; outputs of a
// failed attempt are dropped.
func (s *Step[S]) Output(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode output %s: %w", name, err)
	}
	return s.call.output(name, data)
}

// Input reads the output called name of an earlier step into v. In a hook of a
// run's end (Info.HookOf) the steps of that run are earlier ones too; one of the
// hook itself that has the same name comes first. The error is ErrNoInput where
// there is none.
func (s *Step[S]) Input(ctx context.Context, step, name string, v any) error {
	reply, err := s.call.inputs(ctx, step, name, "")
	if err != nil {
		return err
	}
	if len(reply.GetItems()) == 0 {
		return fmt.Errorf("input %s of step %s: %w", name, step, ErrNoInput)
	}
	return json.Unmarshal(reply.GetItems()[0].GetValue(), v)
}

// InputItem is one of several outputs.
type InputItem struct {
	Step  string
	Value json.RawMessage
}

// Inputs reads the outputs called name of all the steps that an earlier step
// planned, in their order, a page at a time.
func (s *Step[S]) Inputs(ctx context.Context, step, name string) iter.Seq2[InputItem, error] {
	return func(yield func(InputItem, error) bool) {
		after := ""
		for {
			reply, err := s.call.inputs(ctx, step, name, after)
			if err != nil {
				yield(InputItem{}, err)
				return
			}
			for _, item := range reply.GetItems() {
				if !yield(InputItem{Step: item.GetStep(), Value: item.GetValue()}, nil) {
					return
				}
			}
			if after = reply.GetNext(); after == "" {
				return
			}
		}
	}
}

// Message sets what is shown when the step has completed: "dumped 42 rows".
func (s *Step[S]) Message(format string, args ...any) {
	s.call.setMessage(fmt.Sprintf(format, args...))
}

// Log writes into the run's log. It never blocks for long: when lines come
// faster than they can be taken, some are dropped and counted.
func (s *Step[S]) Log() hclog.Logger { return s.call.logger() }

// Session is what the step's plan keeps open (Plan.Keep), if it is a T.
func Session[T any, S any](step *Step[S]) (T, bool) {
	v, ok := step.call.sessionValue.(T)
	return v, ok
}
