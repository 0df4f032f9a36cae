package taskfile

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/stepd/stepd/daemon/internal/task"
)

// spot is where a value of the instance stands in the file.
type spot struct {
	key   *yaml.Node // its key, or nil within a list
	value *yaml.Node
	path  string
	place place
	// reference: it is within the reference of a secret, which stands for itself.
	reference bool
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

	// scope is what expressions may speak of; nil: they are read where they are
	// taken.
	scope func() task.Scope
	// excused are values that an expression will give, and the schema cannot judge
	// before.
	excused map[string]bool
}

func (p *parser) reading(s *schema) *reading {
	return &reading{p: p, schema: s, spots: make(map[string]spot), faulty: make(map[string]bool),
		active: make(map[*yaml.Node]bool), excused: make(map[string]bool)}
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
	if r.p.given[node] {
		if allowed := r.schema.ask().types(s.place); allowed&typeString == 0 || allowed == typeAny {
			if as := listOrMapping(node.Value); as != nil {
				n, node = as, as
			}
		}
	}
	isSecret := node.Kind != yaml.MappingNode && r.schema.secret(s.place)
	if isSecret {
		r.p.hide(node)
	}
	if !knownTag(node) {
		return r.refuse(at, n, fmt.Sprintf("the tag %s is not supported", quote(node.Tag)), "write the value without a tag")
	}
	if isSecret {
		if blank(node) {
			return r.refuse(at, s.label(), s.path+" is empty", secretHint)
		}
		return r.refuse(at, n, s.path+" is a secret and must not be written here", secretHint)
	}
	if node.Kind == yaml.ScalarNode {
		v := r.scalar(n, at, s)
		if text, ok := v.(string); ok && strings.Contains(text, opening) {
			r.expressions(n, at, s, text)
		}
		return v
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
			of := spot{value: child, path: item(s.path, i), place: r.schema.item(s.place, i)}
			list = append(list, r.value(child, at+pointer([]string{strconv.Itoa(i)}), of, depth+1))
		}
		return list
	case yaml.MappingNode:
		object := make(map[string]any)
		isReference := r.schema.secret(s.place)
		for _, e := range r.p.entries(n, s.path) {
			object[e.name] = r.value(e.value, at+pointer([]string{e.name}),
				spot{e.key, e.value, join(s.path, e.name), r.schema.property(s.place, e.name), isReference}, depth+1)
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

// allSettings reads the settings of the task and of its steps, and returns the
// task's. They come after all steps, because what a setting of the task is, text
// or number, the first step whose controller has a word for it says.
func (p *parser) allSettings(nodes []*stepNode, steps []task.Step, shared []entry) json.RawMessage {
	taken := make(map[string]*schema)
	for _, n := range nodes {
		if n.schema == nil {
			continue
		}
		for _, name := range n.schema.known {
			if taken[name] == nil {
				taken[name] = n.schema
			}
		}
	}
	of := &sharedValues{list: shared, index: make(map[string]entry, len(shared)), values: make(map[string]any, len(shared)),
		computed: make(map[string]bool)}
	for _, e := range shared {
		of.index[e.name] = e
		s, ok := taken[e.name]
		if !ok {
			s = &schema{root: true}
		}
		r := p.reading(s)
		of.values[e.name] = r.value(e.value, pointer([]string{e.name}), sharedSpot(s, e), 1)
		of.computed[e.name] = len(r.excused) > 0
	}
	for i, n := range nodes {
		if n.schema != nil && !n.badSettings && p.bomb == nil {
			steps[i].Settings = p.stepSettings(n, of)
		}
	}
	p.untaken(nodes, taken, of)
	if len(of.values) == 0 {
		return nil
	}
	return encode(of.values)
}

// sharedValues are the settings of the task, read by who takes them first.
type sharedValues struct {
	list     []entry
	index    map[string]entry
	values   map[string]any
	computed map[string]bool // those with an expression in them
}

// untaken reports settings of the task that nobody takes: most likely their
// names are mistyped. Expressions may speak of them, though, the steps of a draft
// are still to come, and when the saved task has them, the step that took them
// may be gone.
func (p *parser) untaken(nodes []*stepNode, taken map[string]*schema, shared *sharedValues) {
	for _, n := range nodes {
		if n.schema == nil || n.schema.takesAll {
			return
		}
	}
	if p.draft {
		return
	}
	known := slices.Collect(maps.Keys(taken))
	for _, e := range shared.list {
		if taken[e.name] == nil && !p.mentioned(e.name) && !p.savedSetting(e.name) {
			p.fault(e.key, join("settings", e.name), fmt.Sprintf("no step takes the setting %s", quote(e.name)), suggest(e.name, known))
		}
	}
}

// savedSetting reports whether the saved task has a setting of that name.
func (p *parser) savedSetting(name string) bool {
	if p.saved == nil {
		return false
	}
	old, found := p.saved(p.name)
	if !found {
		return false
	}
	settings, err := object(old.Settings)
	_, has := settings[name]
	return err == nil && has
}

func sharedSpot(s *schema, e entry) spot {
	return spot{key: e.key, value: e.value, path: join("settings", e.name), place: s.property(s.root, e.name)}
}

// stepSettings reads the effective settings of a step, its own laid over those
// of the task that its controller takes, and checks them.
func (p *parser) stepSettings(n *stepNode, shared *sharedValues) json.RawMessage {
	s, path := n.schema, n.path+".settings"
	r := p.reading(s)
	r.scope = n.scope
	r.spots[""] = spot{key: n.settingsKey, value: n.settings, path: path, place: s.root}
	if n.settingsKey == nil {
		r.spots[""] = spot{key: n.controller.key, value: n.controller.value, path: path, place: s.root}
	}
	object := make(map[string]any)
	if n.settings != nil {
		r.active[deref(n.settings)] = true
		for _, e := range p.entries(n.settings, path) {
			object[e.name] = r.value(e.value, pointer([]string{e.name}),
				spot{key: e.key, value: e.value, path: join(path, e.name), place: s.property(s.root, e.name)}, 1)
		}
	}
	for _, name := range s.known {
		e, inherited := shared.index[name]
		if _, own := object[name]; inherited && !own {
			object[name] = r.value(e.value, pointer([]string{name}), sharedSpot(s, e), 1)
		}
	}
	if s.takesAll {
		for _, e := range shared.list {
			if !p.spend(e.key) {
				break
			}
			if _, own := object[e.name]; own {
				continue
			}
			object[e.name] = shared.values[e.name]
			if shared.computed[e.name] { // its expressions are this step's now
				r.value(e.value, pointer([]string{e.name}), sharedSpot(s, e), 1)
			}
			r.spots[pointer([]string{e.name})] = sharedSpot(s, e)
		}
	}
	if p.bomb != nil {
		return nil // what was not read is no fault
	}
	r.check(object, n)
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
