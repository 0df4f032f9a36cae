package sdk

import (
	"encoding/json"
	"fmt"

	"github.com/hashicorp/go-hclog"

	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

// newLogger is an hclog.Logger whose lines go to add alone.
func newLogger(add func(*stepdv1.Log)) hclog.Logger {
	logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: discard{}})
	logger.RegisterSink(&lineSink{add})
	return logger
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// lineSink turns lines of hclog into messages of the protocol.
type lineSink struct{ add func(*stepdv1.Log) }

func (s *lineSink) Accept(_ string, level hclog.Level, message string, args ...any) {
	line := &stepdv1.Log{Message: valid(message), Level: stepdv1.Log_LEVEL_INFO}
	switch level {
	case hclog.Trace, hclog.Debug:
		line.Level = stepdv1.Log_LEVEL_DEBUG
	case hclog.Warn:
		line.Level = stepdv1.Log_LEVEL_WARN
	case hclog.Error:
		line.Level = stepdv1.Log_LEVEL_ERROR
	}
	if len(args) > 0 {
		line.Fields = encodeFields(args)
	}
	s.add(line)
}

// encodeFields makes a JSON object of alternating keys and values.
func encodeFields(args []any) []byte {
	fields := make(map[string]any, len(args)/2)
	for i := 0; i < len(args); i += 2 {
		key := fmt.Sprint(args[i])
		if i+1 == len(args) {
			fields["extra"] = key
			break
		}
		switch v := args[i+1].(type) {
		case error:
			fields[key] = v.Error()
		case hclog.Format:
			if format, ok := v[0].(string); ok {
				fields[key] = fmt.Sprintf(format, v[1:]...)
			}
		case fmt.Stringer:
			fields[key] = v.String()
		default:
			fields[key] = v
		}
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		raw, _ = json.Marshal(map[string]string{"fields": fmt.Sprint(args...)})
	}
	return raw
}
