package taskfile

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"go.yaml.in/yaml/v4"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// check validates the instance and reports each fault where it stands.
func (r *reading) check(instance any, s *stepNode) {
	found, err := s.schema.validate(instance)
	if err != nil {
		r.p.fault(s.controller.value, s.path+".controller", fmt.Sprintf("the settings of %s cannot be checked: %v", quote(s.controllerName), err), "tell the author of the plugin")
		return
	}
	if found == nil {
		return
	}
	if found = r.remaining(found); found == nil {
		return
	}
	for _, leaf := range leaves(found) {
		if _, broken := leaf.ErrorKind.(*kind.RefCycle); broken {
			r.p.fault(s.controller.value, s.path+".controller", fmt.Sprintf("the settings of %s cannot be checked: its schema refers to itself", quote(s.controllerName)), "tell the author of the plugin")
			return
		}
		r.report(leaf)
	}
}

// leaves are the faults themselves, without the keywords that lead to them. Of
// alternatives that all failed they are those of the one that was most likely
// meant.
func leaves(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	var all []*jsonschema.ValidationError
	switch k := e.ErrorKind.(type) {
	case *kind.AnyOf:
		return alternatives(e)
	case *kind.OneOf:
		if k.Subschemas == nil {
			return alternatives(e)
		}
		return []*jsonschema.ValidationError{e}
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		for _, cause := range e.Causes {
			all = append(all, leaves(cause)...)
		}
	}
	if len(all) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	return all
}

func alternatives(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	var best []*jsonschema.ValidationError
	bestScore := 0
	var want []string
	got := ""
	var values []any
	var instance any
	for _, branch := range e.Causes {
		of := leaves(branch)
		score := 10 * len(of)
		for _, leaf := range of {
			here := len(leaf.InstanceLocation) == len(e.InstanceLocation)
			switch k := leaf.ErrorKind.(type) {
			case *kind.Type:
				if here {
					want, got = append(want, k.Want...), k.Got
					score += 10000
				}
			case *kind.Const:
				if here {
					values, instance = append(values, k.Want), k.Got
				}
				score += 1000
			case *kind.Enum:
				if here {
					values, instance = append(values, k.Want...), k.Got
				}
				score += 1000
			}
		}
		if best == nil || score < bestScore {
			best, bestScore = of, score
		}
	}
	one := func(k jsonschema.ErrorKind) []*jsonschema.ValidationError {
		return []*jsonschema.ValidationError{{SchemaURL: e.SchemaURL, InstanceLocation: e.InstanceLocation, ErrorKind: k}}
	}
	switch {
	case bestScore >= 10000 && got != "":
		return one(&kind.Type{Got: got, Want: want})
	case bestScore >= 1000 && len(values) > 0:
		return one(&kind.Enum{Got: instance, Want: values})
	case len(best) == 0:
		return []*jsonschema.ValidationError{e}
	}
	return best
}

// report puts one fault into words.
func (r *reading) report(e *jsonschema.ValidationError) {
	at := pointer(e.InstanceLocation)
	if r.isExcused(e) {
		return // in an alternative that is wrong for another reason too
	}
	for i := range e.InstanceLocation {
		if r.faulty[pointer(e.InstanceLocation[:i+1])] {
			return
		}
	}
	s, ok := r.spots[at]
	for i := len(e.InstanceLocation) - 1; !ok; i-- {
		s, ok = r.spots[pointer(e.InstanceLocation[:max(i, 0)])]
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			hint := r.schema.description(r.schema.property(s.place, name))
			if r.schema.secret(r.schema.property(s.place, name)) {
				hint = secretHint
			}
			r.p.fault(s.label(), join(s.path, name), join(s.path, name)+" is required", hint)
		}
	case *kind.AdditionalProperties:
		names := r.schema.names(s.place)
		for _, name := range k.Properties {
			child := r.spots[at+pointer([]string{name})]
			hint := suggest(name, names)
			if len(names) == 0 {
				hint = s.path + " takes no settings"
			}
			r.p.fault(child.label(), join(s.path, name), fmt.Sprintf("unknown setting %s", quote(name)), hint)
		}
	case *kind.FalseSchema:
		parent := r.spots[pointer(e.InstanceLocation[:max(0, len(e.InstanceLocation)-1)])]
		r.p.fault(s.label(), s.path, s.path+" is not a known setting", suggest(last(e.InstanceLocation), r.schema.names(parent.place)))
	case *kind.Type:
		node := deref(s.node())
		hint := ""
		switch {
		case k.Got == "null":
			r.p.fault(s.label(), s.path, fmt.Sprintf("%s is empty: it must be %s", s.path, wanted(k.Want)), "")
			return
		case k.Got == "object" && reference(node):
			hint = "this setting takes no secret"
		case k.Got == "string" && slices.Contains(k.Want, "array"):
			one := shorten(node.Value)
			if node.Style != 0 || strings.ContainsAny(one, ",[]{}") {
				one = quote(node.Value)
			}
			hint = "write a list, even of one: [" + one + "]"
		case k.Got == "string" && node.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
			if _, _, number := parseNumber(node.Value); number || node.Value == "true" || node.Value == "false" {
				hint = "write it without quotes"
			}
		case k.Got == "string" && slices.Contains(k.Want, "boolean") && yesNo(node.Value):
			hint = "write true or false"
		}
		r.p.fault(s.node(), s.path, fmt.Sprintf("%s must be %s, found %s", s.path, wanted(k.Want), describe(node)), hint)
	case *kind.Enum:
		hint := ""
		if text, ok := k.Got.(string); ok {
			if h := suggest(text, texts(k.Want)); strings.HasPrefix(h, "did") {
				hint = h
			}
		}
		r.p.fault(s.node(), s.path, fmt.Sprintf("%s must be one of: %s; found %s", s.path, strings.Join(texts(k.Want), ", "), describe(s.node())), hint)
	case *kind.Not:
		what, hint := r.schema.refusal(s.place)
		r.p.fault(s.node(), s.path, s.path+" "+cmp.Or(what, words(k)), hint)
	default:
		r.p.fault(s.node(), s.path, s.path+" "+words(e.ErrorKind), "")
	}
}

// words says what is wrong with a value, for the simpler keywords.
func words(e jsonschema.ErrorKind) string {
	switch k := e.(type) {
	case *kind.Const:
		return "must be " + text(k.Want)
	case *kind.Minimum:
		return fmt.Sprintf("must be at least %s, found %s", decimal(k.Want), decimal(k.Got))
	case *kind.Maximum:
		return fmt.Sprintf("must be at most %s, found %s", decimal(k.Want), decimal(k.Got))
	case *kind.ExclusiveMinimum:
		return fmt.Sprintf("must be more than %s, found %s", decimal(k.Want), decimal(k.Got))
	case *kind.ExclusiveMaximum:
		return fmt.Sprintf("must be less than %s, found %s", decimal(k.Want), decimal(k.Got))
	case *kind.MultipleOf:
		return fmt.Sprintf("must be a multiple of %s, found %s", decimal(k.Want), decimal(k.Got))
	case *kind.MinLength:
		if k.Want == 1 {
			return "must not be empty"
		}
		return fmt.Sprintf("must be at least %d characters long, found %d", k.Want, k.Got)
	case *kind.MaxLength:
		return fmt.Sprintf("must be at most %d characters long, found %d", k.Want, k.Got)
	case *kind.Pattern:
		return fmt.Sprintf("must match the pattern %s, found %s", k.Want, quote(k.Got))
	case *kind.Format:
		return fmt.Sprintf("must be a valid %s, found %s", k.Want, text(k.Got))
	case *kind.MinItems:
		if k.Want == 1 {
			return "must not be empty"
		}
		return fmt.Sprintf("must have at least %d items, found %d", k.Want, k.Got)
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %d items, found %d", k.Want, k.Got)
	case *kind.AdditionalItems:
		return fmt.Sprintf("has %d items too many", k.Count)
	case *kind.UniqueItems:
		return fmt.Sprintf("holds the same value twice: items %d and %d", k.Duplicates[0]+1, k.Duplicates[1]+1)
	case *kind.MinProperties:
		return fmt.Sprintf("must have at least %d keys, found %d", k.Want, k.Got)
	case *kind.MaxProperties:
		return fmt.Sprintf("must have at most %d keys, found %d", k.Want, k.Got)
	case *kind.PropertyNames:
		return fmt.Sprintf("has the key %s, which is not allowed", quote(k.Property))
	case *kind.DependentRequired:
		return fmt.Sprintf("has %s and so needs %s too", k.Prop, strings.Join(k.Missing, ", "))
	case *kind.Dependency:
		return fmt.Sprintf("has %s and so needs %s too", k.Prop, strings.Join(k.Missing, ", "))
	case *kind.Not:
		return "has a value that is not allowed"
	case *kind.OneOf:
		return "fits more than one of the forms that it may have"
	default:
		return "is refused: " + e.LocalizedString(message.NewPrinter(language.English))
	}
}

// wanted lists types for people.
func wanted(types []string) string {
	var names []string
	for _, t := range types {
		name := map[string]string{"string": "text", "number": "a number", "integer": "a whole number", "boolean": "true or false",
			"array": "a list", "object": "a mapping", "null": "empty"}[t]
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " or ")
}

func last(tokens []string) string {
	if len(tokens) == 0 {
		return ""
	}
	return tokens[len(tokens)-1]
}

func yesNo(s string) bool {
	switch strings.ToLower(s) {
	case "yes", "no", "on", "off", "y", "n":
		return true
	}
	return false
}

// reference reports whether the node has the form of a secret reference.
func reference(n *yaml.Node) bool {
	return n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Value == "secret"
}

func text(v any) string {
	if s, ok := v.(string); ok {
		return shorten(s)
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return shorten(string(data))
}

func texts(values []any) []string {
	var out []string
	for _, v := range values {
		if t := text(v); !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

func decimal(r *big.Rat) string {
	if r.IsInt() {
		return shorten(r.Num().String())
	}
	f, _ := r.Float64()
	return fmt.Sprint(f)
}
