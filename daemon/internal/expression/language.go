package expression

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Limits of what is read.
const (
	maxExpression  = 4 << 10 // bytes of one
	maxExpressions = 1000    // in the settings of one step
	maxNodes       = 1000    // names, values and operators of one expression
	maxSettings    = 1 << 20 // bytes of settings whose expressions have been replaced
)

// Language checks and evaluates expressions. The zero value is ready; its
// methods may be called from any goroutine, and none of them panics.
type Language struct{}

// CheckWhen finds what is wrong with a condition.
func (Language) CheckWhen(text string, scope task.Scope) []task.ExpressionFault {
	return check(text, scope, true)
}

// CheckText finds what is wrong with the expressions in a text of settings. found
// reports whether there is anything in it that is not taken as it stands.
func (Language) CheckText(text string, scope task.Scope) (faults []task.ExpressionFault, found bool) {
	if !bytes.Contains([]byte(text), []byte(opening)) {
		return nil, false
	}
	pieces, open := split(text)
	for i, p := range pieces {
		if i >= maxExpressions {
			return append(faults, task.ExpressionFault{Offset: p.at, Message: fmt.Sprintf("there are more than %d expressions", maxExpressions)}), true
		}
		if !p.expression {
			continue
		}
		for _, f := range check(p.text, scope, false) {
			f.Offset += p.at
			faults = append(faults, f)
		}
	}
	if open >= 0 {
		faults = append(faults, task.ExpressionFault{Offset: open, Message: "the expression that begins here has no end",
			Hint: "close it with }}, or write $${{ for the signs themselves"})
	}
	return faults, true
}

// Reference is an earlier step that an expression asks for.
type Reference struct {
	Hook   bool // a step of the run that the hook follows
	Step   string
	Field  string // status, message, error or outputs
	Output string // with outputs: which one; empty: all of them
}

// References lists the steps that a condition asks for, as far as it can be read.
func (Language) References(condition string) []Reference {
	return references(condition)
}

// TextReferences lists the steps that the expressions in a text ask for.
func (Language) TextReferences(text string) (list []Reference) {
	pieces, _ := split(text)
	for _, p := range pieces {
		if p.expression {
			list = append(list, references(p.text)...)
		}
	}
	return list
}

// Has reports whether there is an expression, or signs that stand for those of
// an expression, anywhere in the settings.
func (Language) Has(settings json.RawMessage) bool {
	if bytes.Contains(settings, []byte(opening)) {
		return true
	}
	if !bytes.Contains(settings, []byte(`\u00`)) {
		return false
	}
	// Some of the signs may be written otherwise.
	var v any
	if json.Unmarshal(settings, &v) != nil {
		return false
	}
	plain, err := marshal(v)
	return err == nil && bytes.Contains(plain, []byte(opening))
}

// When evaluates a condition.
func (Language) When(condition string, env task.Env) (bool, error) {
	e := evaluator{env: env, meter: meter{left: budget}}
	v, err := e.evaluate(condition)
	if err != nil {
		return false, fmt.Errorf("%s: %w", oneLine(condition), err)
	}
	yes, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("%s: it must give true or false, and gives %s", oneLine(condition), kindOf(v))
	}
	return yes, nil
}

// Settings replaces all expressions in the settings by their values.
func (Language) Settings(settings json.RawMessage, env task.Env) (json.RawMessage, error) {
	var root any
	d := json.NewDecoder(bytes.NewReader(settings))
	d.UseNumber() // what is no expression stays as it is written
	if err := d.Decode(&root); err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	e := evaluator{env: env, meter: meter{left: budget}}
	root, err := e.resolve("", root)
	if err != nil {
		return nil, err
	}
	data, err := marshal(root)
	if err != nil {
		return nil, err
	}
	if len(data) > maxSettings {
		return nil, fmt.Errorf("the settings have %d bytes with the values of their expressions, at most %d are allowed", len(data), maxSettings)
	}
	return data, nil
}
