package engine

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Defaults of a retry policy that the task leaves out.
const (
	defaultAttempts   = 3 // 1 for at_most_once
	defaultBackoff    = 2 * time.Second
	defaultMaxBackoff = 5 * time.Minute
)

// attempts is how often a step may be tried in all.
func (l *lane) attempts() int {
	switch {
	case l.def.Retry.Attempts > 0:
		return l.def.Retry.Attempts
	case l.top.Effect == task.AtMostOnce:
		return 1
	}
	return defaultAttempts
}

// pause is how long to wait after so many tries: exponential, with jitter.
func (l *lane) pause(tries int) time.Duration {
	base, top := l.def.Retry.Backoff, l.def.Retry.MaxBackoff
	if base <= 0 {
		base = defaultBackoff
	}
	if top <= 0 {
		top = max(defaultMaxBackoff, base)
	}
	pause := base
	for i := 1; i < tries && pause < top; i++ {
		pause *= 2
	}
	return l.r.e.Jitter(min(pause, top))
}

func fifthEitherWay(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// timedOut is the fault of an attempt that a time limit ended.
func (a *attempt) timedOut(o task.Outcome) fault {
	a.mu.Lock()
	which := a.limit
	a.mu.Unlock()
	limits := a.lane.def.Limits
	f := fault{reason: task.ReasonTimedOut}
	switch which {
	case limitAttempt:
		f.text, f.retry = fmt.Sprintf("attempt_timeout of %s passed", limits.AttemptTimeout), true
	case limitProgress:
		f.text, f.retry = fmt.Sprintf("no progress for %s (progress_timeout)", limits.ProgressTimeout), true
	case limitStep:
		f.text = fmt.Sprintf("max_execution_time of the step (%s) passed", limits.MaxExecutionTime)
	default:
		f.text = fmt.Sprintf("max_execution_time of the task (%s) passed", a.r.def.MaxExecutionTime)
	}
	if o.Kind != task.OutcomeCancelled && o.Message != "" {
		f.text += ": " + o.Message
	}
	return f
}

// fault is why an attempt did not complete its step.
type fault struct {
	reason string // one of task.Reason...
	text   string
	retry  bool          // another attempt may help
	after  time.Duration // not before
}
