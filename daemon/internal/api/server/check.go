package server

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/stepd/stepd/daemon/internal/api"
)

// The checks of bodies that need nothing but the body. What a name stands for,
// and whether there is such a thing, the backend knows.

func short(field, text string, most int) error {
	if len(text) > most {
		return invalid("%s is %d bytes long, at most %d are allowed", field, len(text), most)
	}
	return nil
}

// texts checks the lengths of texts that are given by their fields, in that order:
// what is echoed in an error, or kept, stays small.
func texts(pairs ...string) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		if err := short(pairs[i], pairs[i+1], api.MaxText); err != nil {
			return err
		}
	}
	return nil
}

// object checks a definition, or a patch of one, that is handed on as it is.
func object(field string, text json.RawMessage) error {
	text = bytes.TrimSpace(text)
	switch {
	case len(text) == 0:
		return invalid("%s is missing, it must be a JSON object", field)
	case text[0] != '{':
		return invalid("%s is %s, it must be a JSON object", field, clip(string(text)))
	}
	return nil
}

// named checks a list of names: there are some, at most so many, none is empty or
// there twice.
func named(field string, names []string, most int) error {
	if len(names) == 0 {
		return invalid("%s is empty, it must hold at least one name", field)
	}
	if most > 0 && len(names) > most {
		return invalid("%s has %d items, at most %d are allowed", field, len(names), most)
	}
	seen := make(map[string]bool, len(names))
	for i, name := range names {
		if name == "" {
			return invalid("%s[%d] is empty, it must be a name", field, i)
		}
		if err := short(fmt.Sprintf("%s[%d]", field, i), name, api.MaxText); err != nil {
			return err
		}
		if seen[name] {
			return invalid("%s[%d] is %q, which is there already", field, i, clip(name))
		}
		seen[name] = true
	}
	return nil
}
