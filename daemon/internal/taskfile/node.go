package taskfile

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Bounds of what a document may unfold to, aliases and merges included.
const (
	maxValues = 100_000
	maxDepth  = 64
)

// entry is one key of a mapping with its value.
type entry struct {
	name  string
	key   *yaml.Node
	value *yaml.Node // as written: possibly an alias
}

// deref follows aliases to what they stand for.
func deref(n *yaml.Node) *yaml.Node {
	for range maxDepth {
		if n == nil || n.Kind != yaml.AliasNode {
			break
		}
		n = n.Alias
	}
	return n
}

// spend counts one value and reports whether the document may have it.
func (p *parser) spend(n *yaml.Node) bool {
	if p.values++; p.values < maxValues {
		select {
		case <-p.done:
			return false // Parse answers with the context's error
		default:
			return true
		}
	}
	if p.bomb == nil {
		p.bomb, p.beforeBomb = n, len(p.problems)
	}
	return false
}

// entries lists the keys of a mapping in the order of the file, merges
// unfolded: what is written in place wins over what is merged in.
func (p *parser) entries(n *yaml.Node, path string) []entry {
	return p.collect(n, path, nil)
}

func (p *parser) collect(n *yaml.Node, path string, within []*yaml.Node) []entry {
	mapping := deref(n)
	for _, outer := range within {
		if outer == mapping {
			p.fault(n, path, "this mapping is merged into itself", "")
			return nil
		}
	}
	within = append(within, mapping)
	var own, merged []entry
	index := make(map[string]*yaml.Node, len(mapping.Content)/2)
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		if !p.spend(key) {
			return nil
		}
		scalar := deref(key)
		if scalar.Kind != yaml.ScalarNode || scalar.ShortTag() == "!!null" {
			p.fault(key, path, "a key must be text, found "+describe(key), "")
			continue
		}
		if scalar.ShortTag() == "!!merge" {
			merged = append(merged, p.merge(value, path, within)...)
			continue
		}
		if first, ok := index[scalar.Value]; ok {
			p.fault(key, join(path, scalar.Value), fmt.Sprintf("the key %s is given twice%s", quote(scalar.Value), line(": first at line", first)), "remove one of the two")
			continue
		}
		index[scalar.Value] = key
		own = append(own, entry{scalar.Value, key, value})
	}
	for _, e := range merged {
		if _, ok := index[e.name]; !ok {
			index[e.name] = e.key
			own = append(own, e)
		}
	}
	return own
}

func (p *parser) merge(value *yaml.Node, path string, within []*yaml.Node) []entry {
	target := deref(value)
	switch {
	case len(within) > maxDepth:
		p.fault(value, path, "merges are nested too deep", "")
	case target.Kind == yaml.MappingNode:
		return p.collect(value, path, within)
	case target.Kind == yaml.SequenceNode:
		var all []entry
		for _, item := range target.Content {
			if !p.spend(item) {
				return all
			}
			if deref(item).Kind != yaml.MappingNode {
				p.fault(item, path, "only mappings can be merged, found "+describe(item), "")
				continue
			}
			all = append(all, p.collect(item, path, within)...)
		}
		return all
	default:
		p.fault(value, path, "only mappings can be merged, found "+describe(value), "write '<<: *name' with the name of an anchored mapping")
	}
	return nil
}

// join extends a path by a key, quoted when it would be misread.
func join(path, key string) string {
	plain := key != ""
	for _, r := range key {
		if !(r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			plain = false
		}
	}
	switch {
	case !plain:
		return path + "[" + quote(key) + "]"
	case path == "":
		return key
	default:
		return path + "." + key
	}
}

func item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// describe says what a node is, for "found ...".
func describe(n *yaml.Node) string {
	n = deref(n)
	if n == nil {
		return "nothing"
	}
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	case yaml.AliasNode:
		return "an alias of itself"
	}
	switch n.ShortTag() {
	case "!!null":
		if n.Value == "" {
			return "nothing"
		}
		return quote(n.Value) + ", which means nothing"
	case "!!int", "!!float":
		return "the number " + shorten(n.Value)
	case "!!bool":
		return n.Value
	case "!!timestamp":
		return "the date " + shorten(n.Value)
	default:
		return "the text " + quote(n.Value)
	}
}

// quote puts text of the file in quotes, cut to a length for a message.
func quote(s string) string { return strconv.Quote(shorten(s)) }

func shorten(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-3]) + "..."
}

// knownTag reports whether the tag is one of the types that a task file has.
func knownTag(n *yaml.Node) bool {
	switch n.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!map", "!!seq", "!!merge", "":
		return true
	}
	return !strings.HasPrefix(n.Tag, "!") && n.Kind != yaml.ScalarNode
}
