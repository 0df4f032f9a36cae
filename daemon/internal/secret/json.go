package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// JSON is Text for a JSON value: what comes back is JSON too. A number that is
// a value becomes text, and when values cannot be replaced one by one, as in a
// list of their bytes, all of it does.
func (r *Redactor) JSON(raw json.RawMessage) json.RawMessage {
	name, holds := r.Holds(string(raw))
	if !holds && (r.table.Load() == nil || bytes.IndexByte(raw, '\\') < 0) {
		return raw
	}
	clean, err := rewrite(raw, func(text string, _ bool) (any, error) { return r.Text(text), nil })
	if err == nil {
		if name, holds = r.Holds(string(clean)); !holds {
			return clean
		}
	}
	clean, _ = json.Marshal(Mark(name)) // a string always can
	return clean
}

// InsideError says that a value stands where it cannot be replaced without
// breaking what it stands in.
type InsideError struct{ Name string }

func (e *InsideError) Error() string {
	return fmt.Sprintf("the value of the secret %s is inside it: what is kept must not hold a secret; leave it out, and take it from the settings when it is needed", e.Name)
}

// References is for settings that a controller has made of its own: a text that
// is a value becomes the reference to it, {"secret": NAME}. A value that is
// inside something longer, or is no text, is an *InsideError.
func (r *Redactor) References(raw json.RawMessage) (json.RawMessage, error) {
	_, holds := r.Holds(string(raw))
	if !holds && (r.table.Load() == nil || bytes.IndexByte(raw, '\\') < 0) {
		return raw, nil
	}
	clean, err := rewrite(raw, func(text string, alone bool) (any, error) {
		if name, ok := r.whole(text); ok && alone {
			return map[string]string{reference: name}, nil
		}
		if name, holds := r.Holds(text); holds {
			return nil, &InsideError{name}
		}
		return text, nil
	})
	if err != nil {
		return nil, err
	}
	if name, holds := r.Holds(string(clean)); holds {
		return nil, &InsideError{name}
	}
	return clean, nil
}

// rewrite copies a JSON value token by token, keys that are there twice too,
// with what fn makes of each text, number and key. alone says that anything may
// take the token's place, which is so for a text that is no key. What fn leaves
// as it is stays so.
func rewrite(raw json.RawMessage, fn func(text string, alone bool) (any, error)) (json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	write := func(v any) error {
		err := enc.Encode(v)
		out.Truncate(out.Len() - 1) // its line end
		return err
	}
	type level struct {
		object bool
		tokens int
	}
	var open []level
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) && len(open) == 0 {
			return out.Bytes(), nil
		}
		if err != nil {
			return nil, fmt.Errorf("read JSON: %w", err)
		}
		if delim, ok := token.(json.Delim); ok && (delim == '}' || delim == ']') {
			open = open[:len(open)-1]
			out.WriteByte(byte(delim))
			continue
		}
		key := false
		if n := len(open); n > 0 {
			in := &open[n-1]
			switch key = in.object && in.tokens%2 == 0; {
			case in.object && !key:
				out.WriteByte(':')
			case in.tokens > 0:
				out.WriteByte(',')
			}
			in.tokens++
		}
		switch v := token.(type) {
		case json.Delim:
			open = append(open, level{object: v == '{'})
			out.WriteByte(byte(v))
			continue
		case string:
			instead, err := fn(v, !key)
			if err != nil {
				return nil, err
			}
			token = instead
		case json.Number:
			instead, err := fn(v.String(), false)
			if err != nil {
				return nil, err
			}
			if instead != v.String() {
				token = instead
			}
		}
		if err := write(token); err != nil {
			return nil, fmt.Errorf("write JSON: %w", err)
		}
	}
}

// reference is the one key of what stands for a secret in settings.
const reference = "secret"

// Replace puts what fn makes of each reference in its place. marked says where
// references may stand, by keys (string) and places in lists (int) from the
// outside in; nil: anywhere. The first error of fn ends it.
func Replace(settings json.RawMessage, marked func(path []any) bool, fn func(name string) (any, error)) (json.RawMessage, error) {
	if !Any(settings) {
		return settings, nil
	}
	dec := json.NewDecoder(bytes.NewReader(settings))
	dec.UseNumber()
	var all any
	if err := dec.Decode(&all); err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	w := walker{marked: marked, fn: fn}
	all, err := w.walk(all)
	if err != nil || w.found == 0 {
		return settings, err
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(all); err != nil {
		return nil, errors.New("write settings with their secrets: they are no JSON") // the error could hold a part of them
	}
	return json.RawMessage(strings.TrimSuffix(out.String(), "\n")), nil
}

// Names calls fn for each reference in the settings, until it returns an error.
func Names(settings json.RawMessage, marked func(path []any) bool, fn func(name string) error) error {
	_, err := Replace(settings, marked, func(name string) (any, error) { return nil, fn(name) })
	return err
}

// Any is false when there can be no reference in the settings.
func Any(settings json.RawMessage) bool {
	return bytes.Contains(settings, []byte(reference)) || bytes.IndexByte(settings, '\\') >= 0
}

type walker struct {
	marked func(path []any) bool
	fn     func(name string) (any, error)
	path   []any
	found  int
}

func (w *walker) walk(v any) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		if name, ok := v[reference].(string); ok && len(v) == 1 && (w.marked == nil || w.marked(w.path)) {
			w.found++
			return w.fn(name)
		}
		for key, part := range v {
			instead, err := w.step(key, part)
			if err != nil {
				return nil, err
			}
			v[key] = instead
		}
	case []any:
		for i, part := range v {
			instead, err := w.step(i, part)
			if err != nil {
				return nil, err
			}
			v[i] = instead
		}
	}
	return v, nil
}

func (w *walker) step(at any, part any) (any, error) {
	w.path = append(w.path, at)
	defer func() { w.path = w.path[:len(w.path)-1] }()
	return w.walk(part)
}
