package store

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Fields of the messages within a step's record.
const (
	cancelBy protowire.Number = 1
	cancelAt protowire.Number = 2

	counterName  protowire.Number = 1
	counterValue protowire.Number = 2

	triedNumber  protowire.Number = 1
	triedAt      protowire.Number = 2
	triedEndedAt protowire.Number = 3
	triedReason  protowire.Number = 4
	triedError   protowire.Number = 5
)

// parts writes what few steps have.
func (w *fields) parts(s *task.RunStep) {
	if s.Cancel != nil {
		var m fields
		m.text(cancelBy, s.Cancel.By)
		m.instant(cancelAt, s.Cancel.At)
		w.message(fieldCancel, m)
	}
	w.float(fieldDone, s.Done)
	w.float(fieldAmount, s.Amount)
	w.text(fieldNote, s.Note)
	if len(s.Counters) > 0 {
		for _, name := range slices.Sorted(maps.Keys(s.Counters)) {
			var m fields
			m.text(counterName, name)
			m.number(counterValue, s.Counters[name])
			w.message(fieldCounter, m)
		}
	}
	for _, t := range s.Tried {
		var m fields
		m.number(triedNumber, int64(t.Number))
		m.instant(triedAt, t.At)
		m.instant(triedEndedAt, t.EndedAt)
		m.text(triedReason, t.Reason)
		m.text(triedError, t.Error)
		w.message(fieldTried, m)
	}
}

func setStepPart(s *task.RunStep, n protowire.Number, b []byte) error {
	switch n {
	case fieldCancel:
		s.Cancel = new(task.CancelRequest)
		return eachField(b, func(f field) error {
			switch f.n {
			case cancelBy:
				s.Cancel.By = string(f.text)
			case cancelAt:
				s.Cancel.At = instantOf(f.fixed)
			}
			return nil
		})
	case fieldCounter:
		var name string
		var value int64
		err := eachField(b, func(f field) error {
			switch f.n {
			case counterName:
				name = string(f.text)
			case counterValue:
				value = f.number
			}
			return nil
		})
		if s.Counters == nil {
			s.Counters = map[string]int64{}
		}
		s.Counters[name] = value
		return err
	}
	var t task.Tried
	err := eachField(b, func(f field) error {
		switch f.n {
		case triedNumber:
			t.Number = int(f.number)
		case triedAt:
			t.At = instantOf(f.fixed)
		case triedEndedAt:
			t.EndedAt = instantOf(f.fixed)
		case triedReason:
			t.Reason = string(f.text)
		case triedError:
			t.Error = string(f.text)
		}
		return nil
	})
	s.Tried = append(s.Tried, t)
	return err
}
