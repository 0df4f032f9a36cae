package engine

import (
	"math"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// over notes that the step's attempt is over, and that it did not end the step.
func over(s *task.RunStep, now time.Time, reason, text string) {
	s.Tried = addTried(s.Tried, task.Tried{Number: s.Attempt, At: s.AttemptAt, EndedAt: now, Reason: reason, Error: text})
}

// history is all attempts of a step, the one that ended it too: what is kept of
// it when it is to be done again.
func history(s task.RunStep) []task.Tried {
	if s.Attempt == 0 || s.AttemptAt.IsZero() || len(s.Tried) > 0 && s.Tried[len(s.Tried)-1].Number >= s.Attempt {
		return s.Tried
	}
	ended := s.EndedAt
	if ended.IsZero() {
		ended = s.AttemptAt
	}
	return addTried(s.Tried, task.Tried{Number: s.Attempt, At: s.AttemptAt, EndedAt: ended, Reason: s.Reason, Error: s.Error})
}

// addTried leaves the given list as it is: others may hold it.
func addTried(list []task.Tried, one task.Tried) []task.Tried {
	one.Error = cut(one.Error, task.MaxTriedError)
	from := max(0, len(list)+1-task.MaxTried)
	kept := make([]task.Tried, 0, len(list)-from+1)
	return append(append(kept, list[from:]...), one)
}

// keepProgress puts what the attempt said last of its progress into the record.
func (a *attempt) keepProgress(s *task.RunStep) {
	if a.plan {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.progress
	s.Done, s.Amount, s.Note, s.Counters = number(p.Done), number(p.Total), cut(p.Note, maxSaid), p.Counters
}

func number(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

// keptFraction is how far a step was that is not carried out now, 0 to 1.
func keptFraction(s task.RunStep) float64 {
	if s.Amount > 0 && s.Done > 0 {
		return min(1, s.Done/s.Amount)
	}
	return 0
}
