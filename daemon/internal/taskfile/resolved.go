package taskfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/stepd/stepd/daemon/internal/task"
)

const maxResolvedFaults = 10

// CheckSettings says what is wrong with the settings of a step, by the schema of
// its controller, now that the values of their expressions are in them. They come
// from no file any more, so faults go by their path alone.
func CheckSettings(info task.ControllerInfo, settings json.RawMessage) error {
	s, err := newSchema(info.Schema)
	if err != nil {
		return fmt.Errorf("its schema is faulty: %w", err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(settings))
	if err != nil {
		return fmt.Errorf("they are no JSON: %w", err)
	}
	found, err := s.validate(instance)
	if err != nil || found == nil {
		return err
	}
	var errs []error
	printer := message.NewPrinter(language.English)
	for i, leaf := range leaves(found) {
		if i == maxResolvedFaults {
			errs = append(errs, errors.New("and more"))
			break
		}
		text := leaf.ErrorKind.LocalizedString(printer)
		if at := strings.Join(leaf.InstanceLocation, "."); at != "" {
			text = at + ": " + text
		}
		errs = append(errs, errors.New(text))
	}
	return joined(errs)
}

// joined puts all on one line, as the reason of a step has it.
func joined(errs []error) error {
	var texts []string
	for _, err := range errs {
		texts = append(texts, err.Error())
	}
	return errors.New(strings.Join(texts, "; "))
}
