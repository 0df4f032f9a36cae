package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// jsonOf is a YAML document, which JSON is too, as JSON. Dates stay the texts
// that they were written as, and keys are texts.
func jsonOf(file string, text []byte) (json.RawMessage, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s is neither YAML nor JSON: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if doc.Kind == 0 {
		return nil, fmt.Errorf("%s is empty", file)
	}
	plainTexts(&doc, false)
	var v any
	if err := doc.Decode(&v); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if _, ok := v.(map[string]any); !ok {
		return nil, fmt.Errorf("%s holds no mapping of keys to values", file)
	}
	out, err := json.Marshal(v)
	if err != nil { // .inf and .nan
		return nil, fmt.Errorf("%s has a value that JSON does not have: %w", file, err)
	}
	return out, nil
}

// plainTexts makes texts of what the library would make times of, and of keys.
func plainTexts(n *yaml.Node, key bool) {
	if n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!timestamp" || key && n.ShortTag() != "!!merge") {
		n.Tag = "!!str"
	}
	for i, child := range n.Content {
		plainTexts(child, n.Kind == yaml.MappingNode && i%2 == 0)
	}
}

// yamlOf is a JSON value as lines of YAML in blocks, its keys in their order.
func yamlOf(raw json.RawMessage) []string {
	var doc yaml.Node
	if yaml.Unmarshal(raw, &doc) != nil {
		return []string{string(raw)}
	}
	inBlocks(&doc)
	text, err := yaml.Dump(&doc, yaml.WithV4Defaults(), yaml.WithIndent(2), yaml.WithLineWidth(-1))
	if err != nil {
		return []string{string(raw)}
	}
	return strings.Split(strings.TrimRight(string(text), "\n"), "\n")
}

func inBlocks(n *yaml.Node) {
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str":
		n.Style = 0
		if strings.Contains(n.Value, "\n") {
			n.Style = yaml.LiteralStyle
		} else if !plainScalar(n.Value) {
			n.Style = yaml.DoubleQuotedStyle
		}
	case n.Kind == yaml.SequenceNode && short(n):
		n.Style = yaml.FlowStyle
	default:
		n.Style = 0
	}
	for _, child := range n.Content {
		inBlocks(child)
	}
}

// short reports whether a list is read best on one line.
func short(n *yaml.Node) bool {
	width := 0
	for _, c := range n.Content {
		width += len(c.Value) + 2
		if c.Kind != yaml.ScalarNode || strings.Contains(c.Value, "\n") {
			return false
		}
	}
	return width <= 72
}

// plainScalar reports whether a text means itself without quotes.
func plainScalar(s string) bool {
	var n yaml.Node
	return yaml.Unmarshal([]byte(s), &n) == nil && n.Kind == yaml.DocumentNode && len(n.Content) == 1 &&
		n.Content[0].Kind == yaml.ScalarNode && n.Content[0].ShortTag() == "!!str" && n.Content[0].Style == 0 && n.Content[0].Value == s
}

// jsonValue reads what follows the = of key=value: JSON, or else a text.
func jsonValue(s string) json.RawMessage {
	if raw := json.RawMessage(strings.TrimSpace(s)); len(raw) > 0 && json.Valid(raw) {
		return raw
	}
	raw, _ := json.Marshal(s) // a string always can be
	return raw
}

// assignments reads key=value words. They are told apart by their keys, in the
// order in which they stand.
func assignments(what string, words []string) (keys []string, values map[string]json.RawMessage, err error) {
	values = map[string]json.RawMessage{}
	for _, word := range words {
		key, value, found := strings.Cut(word, "=")
		switch {
		case !found || key == "":
			return nil, nil, withHint(usageError("%s is %q, it must be key=value", what, word), `as in mode=data_only, or tables='["actor","film"]': a value is JSON, or else a text`)
		case !utf8.ValidString(word):
			return nil, nil, usageError("%s %q is no text: it is not valid UTF-8", what, printable(key))
		case slices.Contains(strings.Split(key, "."), ""):
			return nil, nil, usageError("%s %q has an empty part between its dots", what, key)
		case values[key] != nil:
			return nil, nil, usageError("%s %q is given twice", what, key)
		}
		keys, values[key] = append(keys, key), jsonValue(value)
	}
	return keys, values, nil
}

// mergePatch makes a JSON merge patch of key=value words and of keys that are to
// go; dots in keys lead into objects.
func mergePatch(words, unset []string) (json.RawMessage, error) {
	keys, values, err := assignments("the setting", words)
	if err != nil {
		return nil, err
	}
	for _, key := range unset {
		if values[key] != nil {
			return nil, usageError("%q is set and unset", key)
		}
		keys, values[key] = append(keys, key), json.RawMessage("null")
	}
	if len(keys) == 0 {
		return nil, errNothingSet
	}
	patch := map[string]any{}
	for _, key := range keys {
		if !lay(patch, strings.Split(key, "."), values[key]) {
			return nil, usageError("%q is set within something that is set as a whole", key)
		}
	}
	return json.Marshal(patch)
}

var errNothingSet = errors.New("nothing is set")

// lay puts a value at a path of keys. It is false when something else is there.
func lay(to map[string]any, path []string, value json.RawMessage) bool {
	for _, key := range path[:len(path)-1] {
		if to[key] == nil {
			to[key] = map[string]any{}
		}
		next, ok := to[key].(map[string]any)
		if !ok {
			return false
		}
		to = next
	}
	last := path[len(path)-1]
	if to[last] != nil {
		return false
	}
	to[last] = value
	return true
}
