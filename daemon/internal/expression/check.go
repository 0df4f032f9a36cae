package expression

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/types"

	"github.com/stepd/stepd/daemon/internal/task"
)

// parse reads an expression without knowing its names.
func parse(source string) (root ast.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it cannot be read: %v", p)
		}
	}()
	if len(source) > maxExpression {
		return nil, fmt.Errorf("it has %d bytes, at most %d are allowed", len(source), maxExpression)
	}
	if !utf8.ValidString(source) {
		return nil, errors.New("it is not valid UTF-8")
	}
	c := conf.CreateNew()
	c.MaxNodes = maxNodes
	tree, err := parser.ParseWithConfig(source, c)
	if err != nil {
		return nil, err
	}
	return tree.Node, nil
}

func check(source string, scope task.Scope, condition bool) (faults []task.ExpressionFault) {
	if strings.TrimSpace(source) == "" {
		return []task.ExpressionFault{{Message: "the expression is empty"}}
	}
	root, err := parse(source)
	if err != nil {
		return []task.ExpressionFault{libraryFault(source, err)}
	}
	c := &checker{source: source, scope: scope}
	c.walk(root)
	if len(c.faults) > 0 {
		return c.faults
	}
	defer func() {
		if p := recover(); p != nil {
			faults = []task.ExpressionFault{{Message: fmt.Sprintf("it cannot be checked: %v", p)}}
		}
	}()
	options := append(declare(nil), expr.Env(scopeTypes(scope)), expr.Optimize(false), expr.MaxNodes(maxNodes))
	if condition {
		options = append(options, expr.AsBool())
	}
	if _, err := expr.Compile(source, options...); err != nil {
		return []task.ExpressionFault{libraryFault(source, err)}
	}
	return nil
}

// libraryFault words a fault that the library found.
func libraryFault(source string, err error) task.ExpressionFault {
	f := task.ExpressionFault{Message: err.Error()}
	if at, ok := errors.AsType[*file.Error](err); ok {
		f.Message, f.Offset = at.Message, byteOffset(source, at.From)
	}
	f.Message = strings.TrimPrefix(f.Message, "compilation failed: ")
	if got, ok := strings.CutPrefix(f.Message, "expected bool, but got "); ok {
		f.Message = "a condition must give true or false, this one gives " + article(got)
		if got == "string" {
			f.Hint = `compare it, as in steps.tables.status == "completed"`
		}
	}
	if f.Message == "unexpected token EOF" {
		f.Message = "the expression ends too early"
	}
	if f.Hint == "" && strings.Contains(source, "=") && !strings.Contains(source, "==") && strings.Contains(f.Message, "unexpected token Operator(\"=\")") {
		f.Hint = "two values are compared with =="
	}
	return f
}

func article(typ string) string {
	switch typ {
	case "string":
		return "a text"
	case "int", "float64":
		return "a number"
	case "nil":
		return "nothing (nil)"
	}
	return typ
}

// byteOffset turns the library's count of runes into bytes.
func byteOffset(source string, runes int) int {
	for i := range source {
		if runes <= 0 {
			return i
		}
		runes--
	}
	return len(source)
}

// scopeTypes is what is known of the names' values.
func scopeTypes(scope task.Scope) types.Map {
	at := types.TypeOf(time.Time{})
	list := func(names []string) types.Map {
		m := types.Map{}
		for _, name := range names {
			m[name] = types.Map{"status": types.String, "message": types.String, "error": types.String, "outputs": types.Any}
		}
		return m
	}
	env := types.Map{
		"settings": types.Any, "steps": list(scope.Steps), "now": at,
		"step": types.Map{"name": types.String, "attempt": types.Int},
		"run": types.Map{"task": types.String, "number": types.Int, "ref": types.String, "trigger": types.String, "started_by": types.String,
			"scheduled_for": types.Any, "restart_of": types.Any, "created_at": at},
	}
	if scope.Hook {
		env["hook"] = types.Map{"ref": types.String, "number": types.Int, "status": types.String, "reason": types.String, "steps": list(scope.RunSteps)}
	}
	return env
}

// checker goes through an expression. Without a scope it only finds references.
type checker struct {
	source string
	scope  task.Scope
	names  bool // of steps and settings are not known: they are not checked
	depth  int  // of predicates

	faults     []task.ExpressionFault
	references []Reference
	silent     []span // where names end that were not written as they have to be
}

type span struct{ from, to int }

// references lists those of an expression that is not faulty otherwise.
func references(source string) []Reference {
	root, err := parse(source)
	if err != nil {
		return nil
	}
	c := &checker{source: source, names: true, scope: task.Scope{Hook: true}}
	c.walk(root)
	return c.references
}

func (c *checker) at(n ast.Node) int { return byteOffset(c.source, n.Location().From) }

func (c *checker) fault(n ast.Node, message, hint string) { c.faultAt(c.at(n), message, hint) }

func (c *checker) faultAt(offset int, message, hint string) {
	for _, s := range c.silent {
		if offset >= s.from && offset < s.to {
			return
		}
	}
	c.faults = append(c.faults, task.ExpressionFault{Offset: offset, Message: message, Hint: hint})
}

func (c *checker) walk(n ast.Node) {
	switch n := n.(type) {
	case *ast.NilNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.StringNode:
	case *ast.IdentifierNode:
		c.identifier(n)
	case *ast.UnaryNode:
		c.walk(n.Node)
	case *ast.BinaryNode:
		c.binary(n)
	case *ast.ChainNode:
		c.walk(n.Node)
	case *ast.MemberNode:
		c.member(n)
	case *ast.SliceNode:
		c.walk(n.Node)
		for _, end := range []ast.Node{n.From, n.To} {
			if end != nil {
				c.walk(end)
			}
		}
	case *ast.CallNode:
		c.call(n)
	case *ast.BuiltinNode:
		c.function(n, n.Name, n.Arguments)
	case *ast.PredicateNode:
		if c.depth++; c.depth > 1 {
			c.fault(n, "a predicate within a predicate is not possible", "")
		}
		c.walk(n.Node)
		c.depth--
	case *ast.PointerNode:
		if n.Name != "" && n.Name != "index" {
			c.fault(n, fmt.Sprintf("#%s is not known here", n.Name), "# is the item, #index its place")
		}
	case *ast.ConditionalNode:
		c.walk(n.Cond)
		c.walk(n.Exp1)
		c.walk(n.Exp2)
	case *ast.ArrayNode:
		c.all(n.Nodes)
	case *ast.MapNode:
		c.all(n.Pairs)
	case *ast.PairNode:
		c.walk(n.Key)
		c.walk(n.Value)
	case *ast.VariableDeclaratorNode, *ast.SequenceNode:
		c.fault(n, "variables are not possible here", "")
	default:
		c.fault(n, "this is not possible here", "")
	}
}

func (c *checker) all(nodes []ast.Node) {
	for _, n := range nodes {
		c.walk(n)
	}
}

func (c *checker) binary(n *ast.BinaryNode) {
	c.walk(n.Left)
	c.walk(n.Right)
	switch n.Operator {
	case "matches":
		pattern, ok := n.Right.(*ast.StringNode)
		if !ok {
			c.fault(n.Right, "the pattern of matches has to be written out as a text", "")
			return
		}
		if _, _, err := compilePattern(pattern.Value); err != nil {
			c.fault(n.Right, err.Error(), "")
		}
	case "==", "!=":
		c.comparison(n.Left, n.Right)
		c.comparison(n.Right, n.Left)
	case "in":
		if list, ok := n.Right.(*ast.ArrayNode); ok {
			for _, one := range list.Nodes {
				c.comparison(n.Left, one)
			}
		}
	}
}

const (
	maxPattern     = 500  // bytes
	maxPatternSize = 2000 // instructions, which a short repetition can have many of
)

// compilePattern also says how many instructions a byte of text may take.
func compilePattern(pattern string) (re *regexp.Regexp, size int, err error) {
	if len(pattern) > maxPattern {
		return nil, 0, fmt.Errorf("the pattern has %d bytes, at most %d are allowed", len(pattern), maxPattern)
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, 0, fmt.Errorf("the pattern is faulty: %w", err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, 0, fmt.Errorf("the pattern is faulty: %w", err)
	}
	if size = len(program.Inst); size > maxPatternSize {
		return nil, 0, errors.New("the pattern repeats too much")
	}
	re, err = regexp.Compile(pattern)
	return re, size, err
}

// comparison finds words that no status is.
func (c *checker) comparison(left, right ast.Node) {
	word, ok := right.(*ast.StringNode)
	if !ok {
		return
	}
	root, members := pathOf(left)
	if root == "" {
		return
	}
	var names []string
	for _, m := range members {
		name, _ := constant(m)
		names = append(names, name)
	}
	var words []string
	switch {
	case root == "steps" && len(names) == 2 && names[1] == "status",
		root == "hook" && len(names) == 3 && names[0] == "steps" && names[2] == "status":
		for _, s := range task.StepStatuses {
			words = append(words, string(s))
		}
	case root == "hook" && len(names) == 1 && names[0] == "status":
		for _, s := range task.RunStatuses {
			if !s.Alive() {
				words = append(words, string(s))
			}
		}
	default:
		return
	}
	if !slices.Contains(words, word.Value) {
		c.fault(right, fmt.Sprintf("no status is %q", word.Value), suggest(word.Value, words))
	}
}

func (c *checker) call(n *ast.CallNode) {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		c.fault(n.Callee, "only functions can be called, not what values have", "")
		c.all(n.Arguments)
		return
	}
	c.function(n, callee.Value, n.Arguments)
}

func (c *checker) function(n ast.Node, name string, arguments []ast.Node) {
	if _, ok := functions()[name]; !ok {
		var known []string
		for name := range functions() {
			known = append(known, name)
		}
		slices.Sort(known)
		hint := suggest(name, known)
		if name == "now" {
			hint = "now is written without brackets"
		}
		c.fault(n, fmt.Sprintf("there is no function %s", name), hint)
	}
	c.all(arguments)
}

// constant is the text that a member is named by.
func constant(m *ast.MemberNode) (string, bool) {
	s, ok := m.Property.(*ast.StringNode)
	if !ok {
		return "", false
	}
	return s.Value, true
}

// pathOf is the name that a path of members begins with, and the members from
// there on; "" when it begins otherwise.
func pathOf(n ast.Node) (root string, members []*ast.MemberNode) {
	for {
		switch m := n.(type) {
		case *ast.ChainNode:
			n = m.Node
		case *ast.MemberNode:
			members = append(members, m)
			n = m.Node
		case *ast.IdentifierNode:
			slices.Reverse(members)
			return m.Value, members
		default:
			return "", members
		}
	}
}
