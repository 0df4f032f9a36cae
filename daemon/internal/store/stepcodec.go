package store

import (
	"encoding/json"
	"errors"
	"fmt"
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
)

func appendStep(b []byte, s *task.RunStep) []byte {
	text := func(n protowire.Number, v string) {
		if v != "" {
			b = protowire.AppendTag(b, n, protowire.BytesType)
			b = protowire.AppendString(b, v)
		}
	}
	number := func(n protowire.Number, v int64) {
		if v != 0 {
			b = protowire.AppendTag(b, n, protowire.VarintType)
			b = protowire.AppendVarint(b, protowire.EncodeZigZag(v))
		}
	}
	instant := func(n protowire.Number, v time.Time) {
		if !v.IsZero() {
			b = protowire.AppendTag(b, n, protowire.Fixed64Type)
			b = protowire.AppendFixed64(b, uint64(v.UnixNano()))
		}
	}
	flag := func(n protowire.Number, v bool) {
		if v {
			number(n, 1)
		}
	}
	text(fieldName, s.Name)
	text(fieldController, s.Controller)
	number(fieldOrder, int64(s.Order))
	text(fieldStatus, string(s.Status))
	text(fieldSettings, string(s.Settings))
	if s.Weight != 0 {
		b = protowire.AppendTag(b, fieldWeight, protowire.Fixed64Type)
		b = protowire.AppendFixed64(b, math.Float64bits(s.Weight))
	}
	number(fieldETA, int64(s.ETA))
	number(fieldPlanned, int64(s.Planned))
	flag(fieldPlanDone, s.PlanDone)
	flag(fieldPlanning, s.Planning)
	text(fieldSession, s.Session)
	text(fieldEffect, string(s.Effect))
	number(fieldAttempt, int64(s.Attempt))
	number(fieldTries, int64(s.Tries))
	number(fieldLosses, int64(s.Losses))
	text(fieldMessage, s.Message)
	text(fieldError, s.Error)
	text(fieldReason, s.Reason)
	instant(fieldStartedAt, s.StartedAt)
	instant(fieldAttemptAt, s.AttemptAt)
	instant(fieldEndedAt, s.EndedAt)
	instant(fieldRetryAt, s.RetryAt)
	return b
}

var errCutShort = errors.New("a field is cut short")

// parseStep copies what it keeps of b.
func parseStep(b []byte) (s task.RunStep, err error) {
	for len(b) > 0 {
		n, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return s, errCutShort
		}
		b = b[size:]
		switch kind {
		case protowire.BytesType:
			v, size := protowire.ConsumeBytes(b)
			if size < 0 {
				return s, errCutShort
			}
			b = b[size:]
			setStepText(&s, n, v)
		case protowire.VarintType:
			v, size := protowire.ConsumeVarint(b)
			if size < 0 {
				return s, errCutShort
			}
			b = b[size:]
			setStepNumber(&s, n, protowire.DecodeZigZag(v))
		case protowire.Fixed64Type:
			v, size := protowire.ConsumeFixed64(b)
			if size < 0 {
				return s, errCutShort
			}
			b = b[size:]
			setStepFixed(&s, n, v)
		default:
			return s, fmt.Errorf("field %d has the unknown kind %d", n, kind)
		}
	}
	return s, nil
}

func setStepText(s *task.RunStep, n protowire.Number, v []byte) {
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
	}
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
	instant := func() time.Time { return time.Unix(0, int64(v)).UTC() }
	switch n {
	case fieldWeight:
		s.Weight = math.Float64frombits(v)
	case fieldStartedAt:
		s.StartedAt = instant()
	case fieldAttemptAt:
		s.AttemptAt = instant()
	case fieldEndedAt:
		s.EndedAt = instant()
	case fieldRetryAt:
		s.RetryAt = instant()
	}
}
