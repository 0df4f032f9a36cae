package taskfile

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// spot is where a value of the instance stands in the file.
type spot struct {
	key   *yaml.Node // its key, or nil within a list
	value *yaml.Node
	path  string
	place place
}

// node is where a fault of the value as a whole is shown.
func (s spot) node() *yaml.Node {
	if s.value != nil {
		return s.value
	}
	return s.key
}

// label is where a fault of something missing in it is shown.
func (s spot) label() *yaml.Node {
	if s.key != nil {
		return s.key
	}
	return s.value
}

// reading turns nodes to JSON values by a schema, and remembers where each
// stood for the faults that the schema finds afterwards.
type reading struct {
	p      *parser
	schema *schema
	spots  map[string]spot
	// faulty are values that were complained about already.
	faulty map[string]bool
	active map[*yaml.Node]bool
}

func (p *parser) reading(s *schema) *reading {
	return &reading{p, s, make(map[string]spot), make(map[string]bool), make(map[*yaml.Node]bool)}
}

// pointer is the key of an instance location in spots.
func pointer(tokens []string) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteString("/")
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(t, "~", "~0"), "/", "~1"))
	}
	return b.String()
}

func (r *reading) refuse(at string, n *yaml.Node, message, hint string) any {
	r.faulty[at] = true
	r.p.fault(n, r.spots[at].path, message, hint)
	return nil
}

// value reads one node. at is its pointer within the instance.
func (r *reading) value(n *yaml.Node, at string, s spot, depth int) any {
	r.spots[at] = s
	if !r.p.spend(n) {
		r.faulty[at] = true
		return nil
	}
	node := deref(n)
	if !knownTag(node) {
		return r.refuse(at, n, fmt.Sprintf("the tag %s is not supported", quote(node.Tag)), "write the value without a tag")
	}
	if node.Kind != yaml.MappingNode && r.schema.secret(s.place) {
		if blank(node) {
			return r.refuse(at, s.label(), s.path+" is empty", secretHint)
		}
		r.p.hide(node)
		return r.refuse(at, n, s.path+" is a secret and must not be written here", secretHint)
	}
	if node.Kind == yaml.ScalarNode {
		return r.scalar(n, at, s)
	}
	if r.active[node] {
		return r.refuse(at, n, "this alias stands for a value that contains it", "")
	}
	if depth > maxDepth {
		return r.refuse(at, n, fmt.Sprintf("values are nested too deep: at most %d levels are allowed", maxDepth), "")
	}
	r.active[node] = true
	defer delete(r.active, node)
	switch node.Kind {
	case yaml.SequenceNode:
		list := make([]any, 0, len(node.Content))
		for i, child := range node.Content {
			of := spot{nil, child, item(s.path, i), r.schema.item(s.place, i)}
			list = append(list, r.value(child, at+pointer([]string{strconv.Itoa(i)}), of, depth+1))
		}
		return list
	case yaml.MappingNode:
		object := make(map[string]any)
		for _, e := range r.p.entries(n, s.path) {
			object[e.name] = r.value(e.value, at+pointer([]string{e.name}),
				spot{e.key, e.value, join(s.path, e.name), r.schema.property(s.place, e.name)}, depth+1)
		}
		return object
	}
	return r.refuse(at, n, "this value cannot be read", "")
}

// scalar reads a scalar as YAML resolves it, unless the schema wants text
// there and not that type: then the literal is what was meant.
func (r *reading) scalar(n *yaml.Node, at string, s spot) any {
	node := deref(n)
	allowed := r.schema.ask().types(s.place)
	literal := func(resolved types) bool {
		return allowed&typeString != 0 && allowed&resolved == 0 && node.Value != "" && node.Style&yaml.TaggedStyle == 0
	}
	switch node.ShortTag() {
	case "!!null":
		if literal(typeNull) {
			return node.Value
		}
		return nil
	case "!!bool":
		if literal(typeBool) {
			return node.Value
		}
		return strings.EqualFold(node.Value, "true")
	case "!!int", "!!float":
		number, whole, ok := parseNumber(node.Value)
		kind := typeNumber
		if whole {
			kind = typeInteger
		}
		if literal(kind) || !ok && allowed&typeString != 0 && node.Style&yaml.TaggedStyle == 0 {
			return node.Value
		}
		if !ok {
			return r.refuse(at, n, fmt.Sprintf("%s must be a number, found %s", s.path, quote(node.Value)), "")
		}
		return number
	default: // text, and dates, for which JSON has no type of its own
		return node.Value
	}
}

// parseNumber reads a YAML number; whole says that it is an integer.
func parseNumber(text string) (n json.Number, whole, ok bool) {
	plain := strings.TrimPrefix(strings.ReplaceAll(text, "_", ""), "+")
	if len(plain) > 400 {
		return "", false, false
	}
	if i, ok := new(big.Int).SetString(plain, 0); ok {
		return json.Number(i.String()), true, true
	}
	f, err := strconv.ParseFloat(plain, 64)
	if err != nil {
		return "", false, false
	}
	if f == 0 {
		f = 0 // JSON tells -0 from 0, people do not
	}
	encoded, err := json.Marshal(f) // refuses what is not finite
	if err != nil {
		return "", false, false
	}
	return json.Number(encoded), f == math.Trunc(f), true
}

// stepSettings reads the effective settings of a step, its own laid over those
// of the task that its controller has a word for, and checks them.
func (p *parser) stepSettings(s *stepNode, shared []entry) json.RawMessage {
	r := p.reading(s.schema)
	path := s.path + ".settings"
	r.spots[""] = spot{s.settingsKey, s.settings, path, s.schema.root}
	if s.settingsKey == nil {
		r.spots[""] = spot{s.controller.key, s.controller.value, path, s.schema.root}
	}
	object := make(map[string]any)
	read := func(e entry, path string) {
		of := spot{e.key, e.value, join(path, e.name), s.schema.property(s.schema.root, e.name)}
		object[e.name] = r.value(e.value, pointer([]string{e.name}), of, 1)
	}
	if s.settings != nil {
		r.active[deref(s.settings)] = true
		for _, e := range p.entries(s.settings, path) {
			read(e, path)
		}
	}
	known := s.schema.names(s.schema.root)
	for _, e := range shared {
		if !slices.Contains(known, e.name) {
			continue
		}
		if p.taken[e.name] == nil {
			p.taken[e.name] = s.schema
		}
		if _, own := object[e.name]; !own {
			read(e, "settings")
		}
	}
	if s.schema.open(s.schema.root) {
		p.anyOpen = true
	}
	p.names = append(p.names, known...)
	r.check(object, s)
	return encode(object)
}

// sharedSettings encodes the task's settings, each read as the first step that
// takes it reads it, and reports those that no step takes.
func (p *parser) sharedSettings(shared []entry) json.RawMessage {
	if len(shared) == 0 {
		return nil
	}
	anything := &schema{root: true}
	object := make(map[string]any)
	for _, e := range shared {
		s, ok := p.taken[e.name]
		if !ok {
			s = anything
			if !p.anyOpen && !p.unknownControllers {
				hint := suggest(e.name, p.names)
				p.fault(e.key, join("settings", e.name), fmt.Sprintf("no step takes the setting %s", quote(e.name)), hint)
			}
		}
		before := len(p.problems)
		r := p.reading(s)
		object[e.name] = r.value(e.value, pointer([]string{e.name}),
			spot{e.key, e.value, join("settings", e.name), s.property(s.root, e.name)}, 1)
		if ok { // what a step takes was complained about there
			p.problems = p.problems[:before]
		}
	}
	return encode(object)
}

// encode writes an object with its keys sorted, as the store would.
func encode(object map[string]any) json.RawMessage {
	data, err := json.Marshal(object)
	if err != nil {
		return json.RawMessage("{}") // the values come from scalar, which JSON all has
	}
	return data
}
