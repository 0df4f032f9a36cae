package expression

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/expr-lang/expr/ast"
)

func roots() []string { return []string{"settings", "steps", "run", "step", "hook", "now"} }

func stepFields() []string { return []string{"status", "outputs", "message", "error"} }

func (c *checker) identifier(n *ast.IdentifierNode) {
	switch n.Value {
	case "settings", "run", "step", "now":
	case "steps":
		c.fault(n, "steps is no value: name one of them", "as in steps.tables.status")
	case "hook":
		c.hookItself(n)
	default:
		hint := suggest(n.Value, roots())
		if hint == "" {
			hint = "the names are " + strings.Join(roots(), ", ") + "; texts stand in quotes"
		}
		c.fault(n, fmt.Sprintf("there is no %s", n.Value), hint)
	}
}

func (c *checker) hookItself(n ast.Node) {
	if !c.scope.Hook {
		c.fault(n, "hook is there in hooks of a run's end only", "steps of this run are in steps")
		return
	}
	c.fault(n, "hook is no value: say what of it", "as in hook.status")
}

// member checks a path of names, and what is computed along it.
func (c *checker) member(n *ast.MemberNode) {
	root, members := pathOf(n)
	for _, m := range members {
		if _, ok := m.Property.(*ast.StringNode); !ok {
			c.walk(m.Property)
		}
	}
	switch root {
	case "steps":
		c.step(members, c.scope.Steps, false)
	case "hook":
		c.hook(members)
	case "run":
		c.field(members, "run", []string{"task", "number", "ref", "trigger", "started_by", "scheduled_for", "restart_of", "created_at"})
	case "step":
		c.field(members, "step", []string{"name", "attempt"})
	case "settings":
		c.setting(members[0])
	case "now":
		c.fault(members[0], "a time has no parts", `take it apart with format(now, "%H") or weekday(now)`)
	default:
		c.walk(unchained(members[0].Node))
	}
}

func unchained(n ast.Node) ast.Node {
	if chain, ok := n.(*ast.ChainNode); ok {
		return chain.Node
	}
	return n
}

func (c *checker) hook(members []*ast.MemberNode) {
	if !c.scope.Hook {
		c.hookItself(unchained(members[0].Node))
		return
	}
	if name, ok := constant(members[0]); ok && name == "steps" {
		if len(members) == 1 {
			c.fault(members[0], "hook.steps is no value: name one of them", "as in hook.steps.tables.status")
			return
		}
		c.step(members[1:], c.scope.RunSteps, true)
		return
	}
	c.field(members, "hook", []string{"ref", "number", "status", "reason", "steps"})
}

func (c *checker) field(members []*ast.MemberNode, of string, known []string) {
	name, ok := constant(members[0])
	switch {
	case !ok:
		c.fault(members[0], fmt.Sprintf("what of %s has to be written out", of), "")
	case !slices.Contains(known, name):
		hint := suggest(name, known)
		if hint == "" {
			hint = "there is " + strings.Join(known, ", ")
		}
		c.fault(members[0], fmt.Sprintf("%s has no %s", of, name), hint)
	}
}

func (c *checker) setting(m *ast.MemberNode) {
	name, ok := constant(m)
	if !ok || c.names || slices.Contains(c.scope.Settings, name) {
		return
	}
	if whole := c.longer(m, name, c.scope.Settings); whole != "" {
		c.fault(m, fmt.Sprintf("the task has no setting %s", name), fmt.Sprintf("write settings[%q]", whole))
		c.silence(m, whole)
		return
	}
	c.fault(m, fmt.Sprintf("the task has no setting %s", name), suggest(name, c.scope.Settings))
}

// step checks NAME.FIELD behind steps or hook.steps.
func (c *checker) step(members []*ast.MemberNode, known []string, hook bool) {
	of := "steps"
	if hook {
		of = "hook.steps"
	}
	name, ok := constant(members[0])
	if !ok {
		c.fault(members[0], "the step's name has to be written out", fmt.Sprintf("as in %s[\"copy-files\"].status", of))
		return
	}
	if !c.names && !slices.Contains(known, name) {
		c.noStep(members[0], name, of, known, hook)
		return
	}
	if len(members) == 1 {
		c.fault(members[0], fmt.Sprintf("%s is no value: say what of the step", path(of, name)), fmt.Sprintf("as in %s.status, or .outputs, .message, .error", path(of, name)))
		return
	}
	field, ok := constant(members[1])
	if !ok || !slices.Contains(stepFields(), field) {
		hint := suggest(field, stepFields())
		if hint == "" {
			hint = fmt.Sprintf("there is .status, .message, .error and .outputs, as in %s.outputs.%s", path(of, name), word(field))
		}
		c.fault(members[1], fmt.Sprintf("a step has no %s", word(field)), hint)
		return
	}
	ref := Reference{Hook: hook, Step: name, Field: field}
	if field == "outputs" && len(members) > 2 {
		ref.Output, _ = constant(members[2])
	}
	if !slices.Contains(c.references, ref) {
		c.references = append(c.references, ref)
	}
}

func word(field string) string {
	if field == "" {
		return "rows"
	}
	return field
}

func (c *checker) noStep(m *ast.MemberNode, name, of string, known []string, hook bool) {
	if whole := c.longer(m, name, slices.Concat(known, c.scope.Later)); whole != "" {
		c.fault(m, fmt.Sprintf("the name of step %s has to stand in quotes", whole), fmt.Sprintf("write %s[%q]", of, whole))
		c.silence(m, whole)
		return
	}
	switch {
	case !hook && slices.Contains(c.scope.Later, name):
		c.fault(m, fmt.Sprintf("step %s is no earlier one", name), "only steps of a lower order have ended by then")
	case !hook && c.scope.Hook && slices.Contains(c.scope.RunSteps, name):
		c.fault(m, fmt.Sprintf("step %s is none of the hook's", name), fmt.Sprintf("those of the run that it follows are in hook.steps: %s", path("hook.steps", name)))
	default:
		hint := suggest(name, known)
		if hint == "" && len(known) == 0 {
			hint = "there is no earlier step"
		} else if hint == "" {
			hint = "earlier are: " + strings.Join(known[:min(len(known), 10)], ", ")
		}
		c.fault(m, fmt.Sprintf("there is no step %s", name), hint)
	}
}

// longer is the known name that stands in the source where only its beginning
// was read, because it has signs of operators in it.
func (c *checker) longer(m *ast.MemberNode, name string, known []string) (whole string) {
	from := c.nameAt(m, name)
	for _, one := range known {
		if len(one) > len(name) && len(one) > len(whole) && !plainName(one) && strings.HasPrefix(c.source[from:], one) {
			whole = one
		}
	}
	return whole
}

// nameAt is where the name of a member stands.
func (c *checker) nameAt(m *ast.MemberNode, name string) int {
	at := c.at(m)
	if i := strings.Index(c.source[at:], name); i >= 0 {
		return at + i
	}
	return at
}

// silence keeps faults back that follow from a name that was read in parts.
func (c *checker) silence(m *ast.MemberNode, whole string) {
	name, _ := constant(m)
	from := c.nameAt(m, name)
	c.silent = append(c.silent, span{from, from + len(whole)})
}

func path(of, name string) string {
	if plainName(name) {
		return of + "." + name
	}
	return fmt.Sprintf("%s[%q]", of, name)
}

func plainName(name string) bool {
	for i, r := range name {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return false
		}
	}
	return name != ""
}

// suggest is a hint for a name that is close to a known one, or "".
func suggest(name string, known []string) string {
	best, least := "", 3
	if len(name) < 4 {
		least = 2
	}
	for _, one := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(one)); d < least {
			best, least = one, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %s?", best)
}

// distance is how many signs have to be changed, left out, added or swapped.
func distance(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return 100
	}
	x, y := []rune(a), []rune(b)
	before, last, now := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := range x {
		now[0] = i + 1
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			now[j+1] = min(last[j]+cost, last[j+1]+1, now[j]+1)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				now[j+1] = min(now[j+1], before[j-1]+1)
			}
		}
		before, last, now = last, now, before
	}
	return last[len(y)]
}
