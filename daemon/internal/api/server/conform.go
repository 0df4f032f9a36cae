package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// conform checks what the decoder of encoding/json lets pass, of JSON that it has
// decoded into a value of the type: fields that are there twice, null, or in other
// letters than the documentation has, and fields that must be there and are not.
// at is the place of the value in the body, "" for the body itself.
func conform(text json.RawMessage, t reflect.Type, at string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[json.RawMessage]() {
		return nil // the backend's to check
	}
	text = bytes.TrimSpace(text)
	if string(text) == "null" {
		return invalid("%s is null, it must have a value or be left out", place(at))
	}
	switch _, words := reflect.New(t).Interface().(json.Unmarshaler); {
	case words: // a time
		return nil
	case t.Kind() == reflect.Struct:
		return conformObject(text, t, at)
	case t.Kind() == reflect.Map:
		return members(text, at, func(key string, value json.RawMessage) error {
			return conform(value, t.Elem(), join(at, key))
		})
	case t.Kind() == reflect.Slice:
		var items []json.RawMessage
		if err := json.Unmarshal(text, &items); err != nil {
			return bodyError(err, text)
		}
		for i, item := range items {
			if err := conform(item, t.Elem(), at+"["+strconv.Itoa(i)+"]"); err != nil {
				return err
			}
		}
	}
	return nil
}

func conformObject(text json.RawMessage, t reflect.Type, at string) error {
	fields := map[string]reflect.Type{}
	var required []string
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields[name] = f.Type
		if !strings.Contains(options, "omitempty") {
			required = append(required, name)
		}
	}
	given := map[string]bool{}
	err := members(text, at, func(key string, value json.RawMessage) error {
		of, ok := fields[key]
		if !ok {
			return invalid("the body does not fit: unknown field %q", join(at, key))
		}
		given[key] = true
		return conform(value, of, join(at, key))
	})
	if err != nil {
		return err
	}
	for _, name := range required {
		if !given[name] {
			return invalid("%s is missing", join(at, name))
		}
	}
	return nil
}

// members calls f with the members of an object, none of which may be there twice.
func members(text json.RawMessage, at string, f func(key string, value json.RawMessage) error) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil { // the brace
		return bodyError(err, text)
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return bodyError(err, text)
		}
		key := fmt.Sprint(token)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return bodyError(err, text)
		}
		if seen[key] {
			return invalid("%s is there twice", join(at, clip(key)))
		}
		seen[key] = true
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}

func place(at string) string {
	if at == "" {
		return "the body"
	}
	return at
}
