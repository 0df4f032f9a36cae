package expression

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
	"github.com/expr-lang/expr/vm/runtime"

	"github.com/stepd/stepd/daemon/internal/task"
)

// evaluator evaluates the expressions of one step.
type evaluator struct {
	env   task.Env
	meter meter
	count int

	settings any
	decoded  bool
	outputs  map[Reference]map[string]any // of whole steps
}

// resolve replaces the expressions in a value of settings. path names it.
func (e *evaluator) resolve(path string, v any) (any, error) {
	switch v := v.(type) {
	case string:
		if !strings.Contains(v, opening) {
			return v, nil
		}
		resolved, err := e.text(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return resolved, nil
	case []any:
		for i := range v {
			one, err := e.resolve(fmt.Sprintf("%s[%d]", path, i), v[i])
			if err != nil {
				return nil, err
			}
			v[i] = one
		}
	case map[string]any:
		for key := range v {
			under := key
			if path != "" {
				under = path + "." + key
			}
			one, err := e.resolve(under, v[key])
			if err != nil {
				return nil, err
			}
			v[key] = one
		}
	}
	return v, nil
}

// text replaces the expressions in one text.
func (e *evaluator) text(source string) (any, error) {
	pieces, open := split(source)
	if open >= 0 {
		return nil, fmt.Errorf("an expression has no end: %s", oneLine(source[open:]))
	}
	if len(pieces) == 1 && pieces[0].expression {
		v, err := e.evaluate(pieces[0].text)
		if err == nil {
			if err = e.meter.weigh(v, true); err == nil {
				v, err = plain(v)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", oneLine(pieces[0].text), err)
		}
		return v, nil
	}
	out := &strings.Builder{}
	for _, p := range pieces {
		part := p.text
		if p.expression {
			v, err := e.evaluate(p.text)
			if err == nil {
				if err = e.meter.weigh(v, true); err == nil {
					part, err = textOf(v)
				}
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", oneLine(p.text), err)
			}
		}
		if err := e.meter.charge(len(part)); err != nil {
			return nil, err
		}
		out.WriteString(part)
	}
	return out.String(), nil
}

// evaluate gives the value of one expression.
func (e *evaluator) evaluate(source string) (v any, err error) {
	defer func() {
		if p := recover(); p != nil {
			v, err = nil, fmt.Errorf("it cannot be evaluated: %v", p)
		}
	}()
	if e.count++; e.count > maxExpressions {
		return nil, fmt.Errorf("there are more than %d expressions", maxExpressions)
	}
	root, err := parse(source)
	if err != nil {
		return nil, words(source, err)
	}
	// Names were checked when the task was saved; what must not be evaluated is
	// looked for again.
	c := &checker{source: source, names: true, scope: task.Scope{Hook: e.env.Hook != nil}}
	c.walk(root)
	if len(c.faults) > 0 {
		return nil, errors.New(withHint(c.faults[0].Message, c.faults[0].Hint))
	}
	names, err := e.names(c.references)
	if err != nil {
		return nil, err
	}
	patch := &metering{}
	options := append(declare(&e.meter), expr.Env(names), expr.Optimize(false), expr.MaxNodes(0), expr.Patch(patch))
	options = append(options, e.operators(patch)...)
	program, err := expr.Compile(source, options...)
	if err != nil {
		return nil, words(source, err)
	}
	v, err = vm.Run(program, names)
	if err != nil {
		return nil, words(source, err)
	}
	return v, nil
}

func withHint(message, hint string) string {
	if hint == "" {
		return message
	}
	return message + " (" + hint + ")"
}

// words takes the picture away that the library draws into its messages.
func words(source string, err error) error {
	if errors.Is(err, errTooMuch) {
		return errTooMuch
	}
	f := libraryFault(source, err)
	if at, ok := errors.AsType[*file.Error](err); ok && at.Prev != nil {
		f.Message = strings.TrimPrefix(at.Prev.Error(), "reflect: ")
	}
	if strings.Contains(f.Message, "nil") {
		f.Hint = "what is not there is nil: give it a value with ??, as in steps.tables.outputs.rows ?? 0"
	}
	return errors.New(withHint(f.Message, f.Hint))
}

// names are the values of all names. Outputs are read for the steps that the
// expression asks for.
func (e *evaluator) names(asked []Reference) (map[string]any, error) {
	if !e.decoded {
		e.settings = map[string]any{}
		if len(e.env.Settings) > 0 {
			v, err := decode(e.env.Settings)
			if err != nil {
				return nil, fmt.Errorf("read the task's settings: %w", err)
			}
			if v != nil {
				e.settings = v
			}
		}
		e.decoded, e.outputs = true, map[Reference]map[string]any{}
	}
	run := &e.env.Run
	m := map[string]any{
		"settings": e.settings, "now": e.env.Now.UTC(),
		"step": map[string]any{"name": e.env.Step, "attempt": e.env.Attempt},
		"run": map[string]any{
			"task": e.env.Task, "number": int(run.Number), "ref": run.Ref(), "trigger": string(run.Cause()), "started_by": run.StartedBy,
			"scheduled_for": orNil(run.ScheduledFor), "restart_of": nil, "created_at": run.CreatedAt.UTC(),
		},
	}
	if run.RestartOf > 0 {
		m["run"].(map[string]any)["restart_of"] = int(run.RestartOf)
	}
	steps, err := e.steps(asked, e.env.Steps, false)
	if err != nil {
		return nil, err
	}
	m["steps"] = steps
	if hook := e.env.Hook; hook != nil {
		steps, err := e.steps(asked, hook.Steps, true)
		if err != nil {
			return nil, err
		}
		m["hook"] = map[string]any{"ref": hook.Ref, "number": int(hook.Number), "status": string(hook.Status), "reason": hook.Reason, "steps": steps}
	}
	return m, nil
}

func orNil(at time.Time) any {
	if at.IsZero() {
		return nil
	}
	return at.UTC()
}

func (e *evaluator) steps(asked []Reference, of []task.EnvStep, hook bool) (map[string]any, error) {
	m := map[string]any{}
	for _, ref := range asked {
		if ref.Hook != hook {
			continue
		}
		known, ok := m[ref.Step].(map[string]any)
		if !ok {
			step := stepNamed(of, ref.Step)
			if step == nil {
				return nil, fmt.Errorf("there is no earlier step %s", ref.Step)
			}
			known = map[string]any{"status": string(step.Status), "message": step.Message, "error": step.Error, "outputs": map[string]any{}}
			m[ref.Step] = known
		}
		if ref.Field == "outputs" {
			outputs, err := e.outputsOf(of, ref.Step, hook)
			if err != nil {
				return nil, err
			}
			known["outputs"] = outputs
		}
	}
	return m, nil
}

func stepNamed(steps []task.EnvStep, name string) *task.EnvStep {
	for i := range steps {
		if steps[i].Name == name {
			return &steps[i]
		}
	}
	return nil
}

func (e *evaluator) outputsOf(of []task.EnvStep, name string, hook bool) (map[string]any, error) {
	key := Reference{Hook: hook, Step: name}
	if known, ok := e.outputs[key]; ok {
		return known, nil
	}
	outputs := map[string]any{}
	if step := stepNamed(of, name); step != nil && step.Outputs != nil {
		raw, err := step.Outputs()
		if err != nil {
			return nil, fmt.Errorf("read the outputs of step %s: %w", name, err)
		}
		for output, value := range raw {
			if outputs[output], err = decodeOutput(value); err != nil {
				return nil, fmt.Errorf("output %s of step %s: %w", output, name, err)
			}
		}
	}
	e.outputs[key] = outputs
	return outputs, nil
}

func decodeOutput(value json.RawMessage) (any, error) {
	if len(value) == 0 {
		return nil, nil
	}
	return decode(value)
}

// metering puts functions that charge in the place of operators and of the
// library's own functions, and a tick into each predicate.
type metering struct{ patterns []pattern }

type pattern struct {
	*regexp.Regexp
	size int // instructions
}

const tick = "$tick"

// Visit implements ast.Visitor.
func (p *metering) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.PredicateNode:
		n.Node = call(tick, n.Node)
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "&&", "or", "||", "??", "..":
		case "matches":
			text, ok := n.Right.(*ast.StringNode)
			if !ok {
				return
			}
			re, size, err := compilePattern(text.Value)
			if err != nil {
				return // was refused before
			}
			p.patterns = append(p.patterns, pattern{re, size})
			ast.Patch(node, call("$matches", n.Left, &ast.IntegerNode{Value: len(p.patterns) - 1}))
		default:
			ast.Patch(node, call("$"+n.Operator, n.Left, n.Right))
		}
	case *ast.BuiltinNode:
		for _, name := range predicates() {
			if n.Name == name {
				return
			}
		}
		ast.Patch(node, call("$"+n.Name, n.Arguments...))
	}
}

func call(name string, arguments ...ast.Node) ast.Node {
	return &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: arguments}
}

// operators are the functions that metering calls.
func (e *evaluator) operators(patch *metering) []expr.Option {
	var options []expr.Option
	for name, f := range functions() {
		if f.own == nil {
			options = append(options, expr.Function("$"+name, e.meter.metered(name, f)))
		}
	}
	for name, f := range binaries() {
		options = append(options, expr.Function("$"+name, func(args ...any) (any, error) {
			for _, arg := range args {
				if err := e.meter.weigh(arg, true); err != nil {
					return nil, err
				}
			}
			return f(args[0], args[1])
		}))
	}
	options = append(options, expr.Function(tick, func(args ...any) (any, error) {
		return args[0], e.meter.charge(64)
	}))
	return append(options, expr.Function("$matches", func(args ...any) (any, error) {
		s, ok := args[0].(string)
		if !ok {
			return nil, fmt.Errorf("matches looks at texts, not at %s", kindOf(args[0]))
		}
		re := patch.patterns[args[1].(int)]
		if err := e.meter.charge((len(s) + 1) * (1 + re.size/2)); err != nil {
			return nil, err
		}
		return re.MatchString(s), nil
	}))
}

func binaries() map[string]func(a, b any) (any, error) {
	plainly := func(f func(a, b any) any) func(a, b any) (any, error) {
		return func(a, b any) (any, error) { return f(a, b), nil }
	}
	ofTexts := func(name string, f func(a, b string) bool) func(a, b any) (any, error) {
		return func(a, b any) (any, error) {
			x, ok := a.(string)
			y, too := b.(string)
			if !ok || !too {
				return nil, fmt.Errorf("%s looks at texts, not at %s and %s", name, kindOf(a), kindOf(b))
			}
			return f(x, y), nil
		}
	}
	modulo := func(a, b any) (any, error) {
		if n, ok := b.(int); ok && n == 0 {
			return nil, errors.New("a division by zero")
		}
		return runtime.Modulo(a, b), nil
	}
	return map[string]func(a, b any) (any, error){
		"+": plainly(runtime.Add), "-": plainly(runtime.Subtract), "*": plainly(runtime.Multiply), "%": modulo,
		"/":          plainly(func(a, b any) any { return runtime.Divide(a, b) }),
		"**":         plainly(func(a, b any) any { return runtime.Exponent(a, b) }),
		"^":          plainly(func(a, b any) any { return runtime.Exponent(a, b) }),
		"==":         plainly(func(a, b any) any { return runtime.Equal(a, b) }),
		"!=":         plainly(func(a, b any) any { return !runtime.Equal(a, b) }),
		"<":          plainly(func(a, b any) any { return runtime.Less(a, b) }),
		"<=":         plainly(func(a, b any) any { return runtime.LessOrEqual(a, b) }),
		">":          plainly(func(a, b any) any { return runtime.More(a, b) }),
		">=":         plainly(func(a, b any) any { return runtime.MoreOrEqual(a, b) }),
		"in":         plainly(func(a, b any) any { return runtime.In(a, b) }),
		"contains":   ofTexts("contains", strings.Contains),
		"startsWith": ofTexts("startsWith", strings.HasPrefix),
		"endsWith":   ofTexts("endsWith", strings.HasSuffix),
	}
}
