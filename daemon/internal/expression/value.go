package expression

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// Values of expressions are nil, bool, int, float64, string, []any,
// map[string]any, time.Time and time.Duration, and the lists of texts and
// numbers that the library makes.

// decode reads JSON. Whole numbers that fit stay whole.
func decode(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("this is no JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("this is no JSON: something follows the value")
	}
	return numbers(v)
}

func numbers(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		if whole, err := strconv.ParseInt(v.String(), 10, strconv.IntSize); err == nil {
			return int(whole), nil
		}
		f, err := v.Float64()
		if err != nil {
			return nil, fmt.Errorf("the number %.40s is too large", v)
		}
		return f, nil
	case []any:
		for i := range v {
			if v[i], err = numbers(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for key := range v {
			if v[key], err = numbers(v[key]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// plain is the value as JSON has it: times and durations are texts there.
func plain(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool, int, string:
		return v, nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%v is no number that can be written down", v)
		}
		return v, nil
	case time.Time:
		return v.Format(time.RFC3339), nil
	case time.Duration:
		return v.String(), nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			one, err := plain(item)
			if err != nil {
				return nil, err
			}
			out[key] = one
		}
		return out, nil
	}
	items, ok := listOf(v)
	if !ok {
		return nil, fmt.Errorf("%s cannot be written down", kindOf(v))
	}
	out := make([]any, len(items))
	for i, item := range items {
		one, err := plain(item)
		if err != nil {
			return nil, err
		}
		out[i] = one
	}
	return out, nil
}

// encode writes the value as JSON, with the keys of maps sorted.
func encode(v any) ([]byte, error) {
	v, err := plain(v)
	if err != nil {
		return nil, err
	}
	return marshal(v)
}

func marshal(v any) ([]byte, error) {
	out := &bytes.Buffer{}
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("write a value: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// textOf is the value within other text: nil is nothing.
func textOf(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case time.Time:
		return v.Format(time.RFC3339), nil
	case time.Duration:
		return v.String(), nil
	}
	data, err := encode(v)
	return string(data), err
}

// kindOf names the value's type for people.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "nothing (nil)"
	case bool:
		return "true or false"
	case int, float64:
		return "a number"
	case string:
		return "a text"
	case map[string]any:
		return "a map"
	case time.Time:
		return "a time"
	case time.Duration:
		return "a duration"
	}
	if _, ok := listOf(v); ok {
		return "a list"
	}
	return "this value"
}

// meter bounds what evaluating costs, in bytes that are looked at or made.
type meter struct{ left int }

// budget is for all expressions of a step together.
const budget = 32 << 20

var errTooMuch = errors.New("it takes too much work or memory")

func (m *meter) charge(cost int) error {
	if cost < 0 || cost > m.left { // an overflow is too much as well
		m.left = 0
		return errTooMuch
	}
	m.left -= cost
	return nil
}

// weigh charges the size of a value, deep: with all that it holds.
func (m *meter) weigh(v any, deep bool) error {
	switch v := v.(type) {
	case string:
		return m.charge(8 + len(v))
	case []any:
		if err := m.charge(8 + 16*len(v)); err != nil || !deep {
			return err
		}
		for _, item := range v {
			if err := m.weigh(item, true); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		if err := m.charge(8 + 48*len(v)); err != nil || !deep {
			return err
		}
		for key, item := range v {
			if err := errors.Join(m.charge(len(key)), m.weigh(item, true)); err != nil {
				return err
			}
		}
		return nil
	case []string:
		for _, item := range v {
			if err := m.charge(16 + len(item)); err != nil {
				return err
			}
		}
		return nil
	case []int:
		return m.charge(8 + 8*len(v))
	}
	return m.charge(8)
}

// oneLine is an expression as messages show it.
func oneLine(expression string) string {
	const most = 120
	line := strings.Join(strings.Fields(expression), " ")
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most], "") + "..."
	}
	return line
}
