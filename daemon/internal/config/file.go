package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"
)

const maxFile = 256 << 10

// readFile lays the file over c. Faults come with line and column; the error
// is for a file that cannot be read at all.
func readFile(path, cwd string, all []definition, c *Config) (faults []string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("read configuration: %s is %d bytes long, at most %d are allowed", path, len(data), maxFile)
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(cwd, path)
	}
	f := &file{path: path, base: filepath.Dir(path), lines: bytes.Count(bytes.TrimRight(data, "\r\n"), []byte("\n")) + 1}
	loader, err := yaml.NewLoader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))), yaml.WithUniqueKeys(false))
	if err != nil {
		return nil, fmt.Errorf("read configuration %s: %w", path, err)
	}
	var doc, second yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil // nothing, or comments only
	case err != nil:
		f.syntax(err)
		return f.faults, nil
	}
	f.mapping(doc.Content[0], all, c)
	switch err := loader.Load(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		f.syntax(err)
	default:
		f.fault(&second, "a second document starts here: a configuration is one")
	}
	return f.faults, nil
}

type file struct {
	path, base string
	lines      int
	faults     []string
}

func (f *file) fault(n *yaml.Node, format string, args ...any) {
	f.faults = append(f.faults, fmt.Sprintf("%s:%d:%d: %s", f.path, max(1, n.Line), max(1, n.Column), fmt.Sprintf(format, args...)))
}

func (f *file) syntax(err error) {
	at, message := new(yaml.Node), err.Error()
	var load *yaml.LoadError
	if errors.As(err, &load) {
		at.Line, at.Column = load.Mark.Line, load.Mark.Column
		if at.Line > f.lines && load.ContextMark.Line > 0 { // the end of the file says little
			at.Line, at.Column = load.ContextMark.Line, load.ContextMark.Column
		}
		message = strings.TrimSpace(load.Message + " " + load.ContextMsg)
	}
	f.fault(at, "this is not valid YAML: %s", message)
}

func (f *file) mapping(root *yaml.Node, all []definition, c *Config) {
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return
	}
	if root.Kind != yaml.MappingNode {
		f.fault(root, "a configuration is made of lines 'key: value', found %s", found(root))
		return
	}
	first := make(map[string]*yaml.Node)
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		d, ok := byKey(all, key.Value)
		switch before := first[key.Value]; {
		case key.Kind != yaml.ScalarNode || !ok:
			var known []string
			for _, d := range all {
				known = append(known, d.Key)
			}
			f.fault(key, "unknown key %q: known are %s", key.Value, strings.Join(known, ", "))
			continue
		case before != nil:
			f.fault(key, "the key %q is given twice: first at line %d", key.Value, before.Line)
			continue
		}
		first[key.Value] = key
		f.value(d, key, value, c)
	}
}

func (f *file) value(d definition, key, value *yaml.Node, c *Config) {
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	if value.Kind == yaml.ScalarNode && value.ShortTag() == "!!null" {
		f.fault(key, "%s has no value: give it one or remove the line", d.Key)
		return
	}
	var err error
	switch {
	case d.scalar != nil:
		if value.Kind != yaml.ScalarNode {
			f.fault(value, "%s must be a %s, found %s", d.Key, d.Value, found(value))
			return
		}
		err = d.scalar(c, value.Value, f.base)
	case d.list != nil:
		if value.Kind != yaml.SequenceNode {
			f.fault(value, "%s must be a list of %s, found %s", d.Key, d.Value, found(value))
			return
		}
		var items []string
		for _, item := range value.Content {
			if item.Kind != yaml.ScalarNode || item.ShortTag() == "!!null" {
				f.fault(item, "%s must be a list of %s, found %s in it", d.Key, d.Value, found(item))
				return
			}
			items = append(items, item.Value)
		}
		err = d.list(c, items, f.base)
	default:
		if value.Kind != yaml.MappingNode {
			f.fault(value, "%s must be made of lines %q, found %s", d.Key, d.Value, found(value))
			return
		}
		pairs := make(map[string]string)
		for i := 0; i+1 < len(value.Content); i += 2 {
			name, v := value.Content[i], value.Content[i+1]
			if _, twice := pairs[name.Value]; twice {
				f.fault(name, "%s names %q twice", d.Key, name.Value)
				return
			}
			if name.Kind != yaml.ScalarNode || v.Kind != yaml.ScalarNode {
				f.fault(v, "%s must be made of lines %q, found %s", d.Key, d.Value, found(v))
				return
			}
			pairs[name.Value] = v.Value
		}
		err = d.pairs(c, pairs)
	}
	if err != nil {
		f.fault(value, "%s %v", d.Key, err)
	}
}

func found(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	case yaml.AliasNode:
		return "an alias"
	}
	if n.ShortTag() == "!!null" {
		return "nothing"
	}
	return fmt.Sprintf("%q", n.Value)
}
