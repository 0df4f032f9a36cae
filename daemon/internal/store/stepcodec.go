package store

import (
	"encoding/json"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Steps are written twice each and read once, a million times over, so they
// have a denser form than JSON: fields in the wire format of protocol buffers.
// Fields that are zero are left out; unknown ones are passed over. The position
// is the key's. Numbers are never used again for another meaning.
const (
	fieldName       protowire.Number = 1
	fieldController protowire.Number = 2
	fieldOrder      protowire.Number = 3
	fieldStatus     protowire.Number = 4 // the word
	fieldSettings   protowire.Number = 5
	fieldWeight     protowire.Number = 6
	fieldETA        protowire.Number = 7 // nanoseconds, as all times
	fieldPlanned    protowire.Number = 8
	fieldPlanDone   protowire.Number = 9
	fieldPlanning   protowire.Number = 10
	fieldSession    protowire.Number = 11
	fieldEffect     protowire.Number = 12 // the word
	fieldAttempt    protowire.Number = 13
	fieldTries      protowire.Number = 14
	fieldLosses     protowire.Number = 15
	fieldMessage    protowire.Number = 16
	fieldError      protowire.Number = 17
	fieldReason     protowire.Number = 18
	fieldStartedAt  protowire.Number = 19
	fieldAttemptAt  protowire.Number = 20
	fieldEndedAt    protowire.Number = 21
	fieldRetryAt    protowire.Number = 22
	fieldCancel     protowire.Number = 23 // a message, see stepparts.go
	fieldDone       protowire.Number = 24
	fieldAmount     protowire.Number = 25
	fieldNote       protowire.Number = 26
	fieldCounter    protowire.Number = 27 // a message for each, in the order of names
	fieldTried      protowire.Number = 28 // a message for each
)

func appendStep(b []byte, s *task.RunStep) []byte {
	w := fields(b)
	w.text(fieldName, s.Name)
	w.text(fieldController, s.Controller)
	w.number(fieldOrder, int64(s.Order))
	w.text(fieldStatus, string(s.Status))
	w.text(fieldSettings, string(s.Settings))
	w.float(fieldWeight, s.Weight)
	w.number(fieldETA, int64(s.ETA))
	w.number(fieldPlanned, int64(s.Planned))
	w.flag(fieldPlanDone, s.PlanDone)
	w.flag(fieldPlanning, s.Planning)
	w.text(fieldSession, s.Session)
	w.text(fieldEffect, string(s.Effect))
	w.number(fieldAttempt, int64(s.Attempt))
	w.number(fieldTries, int64(s.Tries))
	w.number(fieldLosses, int64(s.Losses))
	w.text(fieldMessage, s.Message)
	w.text(fieldError, s.Error)
	w.text(fieldReason, s.Reason)
	w.instant(fieldStartedAt, s.StartedAt)
	w.instant(fieldAttemptAt, s.AttemptAt)
	w.instant(fieldEndedAt, s.EndedAt)
	w.instant(fieldRetryAt, s.RetryAt)
	w.parts(s)
	return w
}

// parseStep copies what it keeps of b.
func parseStep(b []byte) (s task.RunStep, err error) {
	err = eachField(b, func(f field) error {
		switch f.kind {
		case protowire.BytesType:
			return setStepText(&s, f.n, f.text)
		case protowire.VarintType:
			setStepNumber(&s, f.n, f.number)
		case protowire.Fixed64Type:
			setStepFixed(&s, f.n, f.fixed)
		}
		return nil
	})
	return s, err
}

func setStepText(s *task.RunStep, n protowire.Number, v []byte) error {
	switch n {
	case fieldName:
		s.Name = string(v)
	case fieldController:
		s.Controller = string(v)
	case fieldStatus:
		s.Status = statusWord(v)
	case fieldSettings:
		s.Settings = append(json.RawMessage(nil), v...)
	case fieldSession:
		s.Session = string(v)
	case fieldEffect:
		s.Effect = task.Effect(v)
	case fieldMessage:
		s.Message = string(v)
	case fieldError:
		s.Error = string(v)
	case fieldReason:
		s.Reason = string(v)
	case fieldNote:
		s.Note = string(v)
	case fieldCancel, fieldCounter, fieldTried:
		return setStepPart(s, n, v)
	}
	return nil
}

// statusWord saves a copy for the words that are known.
func statusWord(v []byte) task.StepStatus {
	for _, known := range task.StepStatuses {
		if string(known) == string(v) {
			return known
		}
	}
	return task.StepStatus(v)
}

func setStepNumber(s *task.RunStep, n protowire.Number, v int64) {
	switch n {
	case fieldOrder:
		s.Order = int(v)
	case fieldETA:
		s.ETA = time.Duration(v)
	case fieldPlanned:
		s.Planned = int(v)
	case fieldPlanDone:
		s.PlanDone = v != 0
	case fieldPlanning:
		s.Planning = v != 0
	case fieldAttempt:
		s.Attempt = int(v)
	case fieldTries:
		s.Tries = int(v)
	case fieldLosses:
		s.Losses = int(v)
	}
}

func setStepFixed(s *task.RunStep, n protowire.Number, v uint64) {
	switch n {
	case fieldWeight:
		s.Weight = math.Float64frombits(v)
	case fieldDone:
		s.Done = math.Float64frombits(v)
	case fieldAmount:
		s.Amount = math.Float64frombits(v)
	case fieldStartedAt:
		s.StartedAt = instantOf(v)
	case fieldAttemptAt:
		s.AttemptAt = instantOf(v)
	case fieldEndedAt:
		s.EndedAt = instantOf(v)
	case fieldRetryAt:
		s.RetryAt = instantOf(v)
	}
}
