package openapi

import (
	"bytes"
	"encoding/json"
)

// ordered is a JSON object whose members keep the order in which they came.
type ordered struct {
	names  []string
	values []any
}

func (o *ordered) set(name string, value any) {
	o.names = append(o.names, name)
	o.values = append(o.values, value)
}

func (o *ordered) get(name string) any {
	for i, one := range o.names {
		if one == name {
			return o.values[i]
		}
	}
	return nil
}

func (o ordered) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, name := range o.names {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(o.values[i])
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
