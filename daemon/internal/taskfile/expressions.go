package taskfile

import (
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"go.yaml.in/yaml/v4"

	"github.com/stepd/stepd/daemon/internal/task"
)

// opening begins an expression within a text of settings.
const opening = "${{"

// Where there is nobody to check them, expressions are refused: what a step
// would get instead is the text of the expression.
const (
	noConditions  = "conditions cannot be read here"
	noExpressions = "holds an expression, and these cannot be read here"
)

// condition reads the key when. It is checked once all steps are known.
func (p *parser) condition(to *string, node *stepNode) func(entry, string) {
	return func(e entry, path string) {
		text, ok := p.text(e, path)
		switch {
		case !ok:
		case strings.TrimSpace(text) == "":
			p.fault(e.value, path, path+" is empty", "write a condition, as in when: steps.tables.status == \"completed\", or leave it out")
		default:
			*to, node.when = text, e.value
		}
	}
}

// conditions checks the conditions of all steps.
func (p *parser) conditions(nodes []*stepNode, steps []task.Step) {
	for i, n := range nodes {
		if n.when == nil {
			continue
		}
		path := n.path + ".when"
		p.said = append(p.said, steps[i].When)
		if p.checks == nil {
			p.fault(n.when, path, noConditions, "")
			continue
		}
		for _, f := range p.checks.CheckWhen(steps[i].When, n.scope()) {
			p.within(n.when, f.Offset, path, path+": "+f.Message, f.Hint)
		}
	}
}

// scopes gives each step of a list what its expressions may speak of: the steps
// of a lower order. Scopes are made when they are asked for; most never are.
func (p *parser) scopes(nodes []*stepNode, steps []task.Step, of task.Scope) {
	for i, n := range nodes {
		n.scope = func() task.Scope {
			scope := of
			for _, other := range steps {
				switch {
				case other.Name == "":
				case other.Order < steps[i].Order:
					scope.Steps = append(scope.Steps, other.Name)
				default:
					scope.Later = append(scope.Later, other.Name)
				}
			}
			return scope
		}
	}
}

func stepNames(steps []task.Step) []string {
	names := make([]string, 0, len(steps))
	for _, s := range steps {
		if s.Name != "" {
			names = append(names, s.Name)
		}
	}
	return names
}

// mentioned reports whether any expression might speak of the setting.
func (p *parser) mentioned(setting string) bool {
	return slices.ContainsFunc(p.said, func(text string) bool { return strings.Contains(text, setting) })
}

// expressions checks those of a text and excuses the value from the schema.
func (r *reading) expressions(n *yaml.Node, at string, s spot, text string) {
	if s.reference {
		r.refuse(at, n, s.path+" names a secret and cannot hold an expression", "write the name of the secret itself")
		return
	}
	if r.p.checks == nil {
		r.refuse(at, n, s.path+" "+noExpressions, "")
		return
	}
	var scope task.Scope
	if r.scope != nil {
		scope = r.scope()
	}
	faults, found := r.p.checks.CheckText(text, scope)
	if !found {
		return
	}
	r.excused[at] = true
	r.p.said = append(r.p.said, text)
	if r.scope == nil {
		return
	}
	for _, f := range faults {
		r.p.within(n, f.Offset, s.path, s.path+": "+f.Message, f.Hint)
	}
}

// remaining is the fault without what follows from values that are not known
// yet, or nil when nothing is left.
func (r *reading) remaining(e *jsonschema.ValidationError) *jsonschema.ValidationError {
	if r.isExcused(e) {
		return nil
	}
	switch e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.AllOf, *kind.Reference:
		rest := *e
		rest.Causes = nil
		for _, cause := range e.Causes {
			if cause = r.remaining(cause); cause != nil {
				rest.Causes = append(rest.Causes, cause)
			}
		}
		return &rest
	}
	return e
}

// isExcused reports whether the fault may be none once all values are known.
func (r *reading) isExcused(e *jsonschema.ValidationError) bool {
	if len(r.excused) == 0 {
		return false
	}
	for i := range len(e.InstanceLocation) + 1 {
		if r.excused[pointer(e.InstanceLocation[:i])] {
			return true
		}
	}
	// What a value is decides which of these holds.
	for _, keyword := range []string{"/then", "/else", "/unevaluatedProperties", "/unevaluatedItems"} {
		if strings.HasSuffix(e.SchemaURL, keyword) || strings.Contains(e.SchemaURL, keyword+"/") {
			return true
		}
	}
	switch k := e.ErrorKind.(type) {
	case *kind.AnyOf:
		return slices.ContainsFunc(e.Causes, r.isExcused)
	case *kind.OneOf:
		if k.Subschemas == nil {
			return slices.ContainsFunc(e.Causes, r.isExcused)
		}
		return r.excusedBelow(e)
	case *kind.Not, *kind.Const, *kind.Enum, *kind.UniqueItems, *kind.Contains, *kind.MinContains, *kind.MaxContains:
		return r.excusedBelow(e)
	case *kind.Schema, *kind.Group, *kind.AllOf, *kind.Reference:
		return len(e.Causes) > 0 && !slices.ContainsFunc(e.Causes, func(cause *jsonschema.ValidationError) bool { return !r.isExcused(cause) })
	}
	return false
}

// excusedBelow reports whether the value that a fault is about has parts that
// are not known yet.
func (r *reading) excusedBelow(e *jsonschema.ValidationError) bool {
	at := pointer(e.InstanceLocation) + "/"
	for part := range r.excused {
		if strings.HasPrefix(part, at) {
			return true
		}
	}
	return false
}
