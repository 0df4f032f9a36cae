package taskfile

import (
	"context"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/stepd/stepd/daemon/internal/task"
)

// stepNode is what settings need to know of the step that they belong to.
type stepNode struct {
	path           string // steps[0]
	named          bool   // by the file, well or not
	controller     entry
	controllerName string
	schema         *schema // nil: not known
	settingsKey    *yaml.Node
	settings       *yaml.Node // nil: none
	badSettings    bool       // they are no mapping
	when           *yaml.Node // nil: none
	scope          func() task.Scope
}

// steps reads the list of steps, and what their settings say.
func (p *parser) steps(ctx context.Context, e entry) ([]task.Step, []*stepNode) {
	if none(e) { // a draft
		return nil, nil
	}
	return p.stepList(ctx, e, &stepsReader{parser: p, names: make(map[string]*yaml.Node), required: []string{"name", "controller"}})
}

// hookSteps reads the steps of a hook, which need no names: each has its
// controller's, then.
func (p *parser) hookSteps(ctx context.Context, e entry) ([]task.Step, []*stepNode) {
	if none(e) {
		p.fault(e.key, e.name, e.name+" has no steps", "write what is to be done, or leave it out")
		return nil, nil
	}
	steps, nodes := p.stepList(ctx, e, &stepsReader{parser: p, names: make(map[string]*yaml.Node), required: []string{"controller"}})
	taken := make(map[string]bool)
	for _, s := range steps {
		taken[s.Name] = true
	}
	for i := range steps {
		s := &steps[i]
		if nodes[i].named || s.Controller == "" {
			continue
		}
		// Of "plugin/controller" a name can have all but the slash.
		name := strings.ReplaceAll(s.Controller, "/", "-")
		if err := task.CheckName(name); err != nil {
			p.fault(nodes[i].controller.value, nodes[i].path+".name", printable(err.Error()), "give the step a name of its own")
			continue
		}
		s.Name = unique(name, taken)
	}
	return steps, nodes
}

// none reports whether a list has nothing in it.
func none(e entry) bool {
	list := deref(e.value)
	return blank(e.value) || list.Kind == yaml.SequenceNode && len(list.Content) == 0
}

func (p *parser) stepList(ctx context.Context, e entry, r *stepsReader) ([]task.Step, []*stepNode) {
	list := deref(e.value)
	if list.Kind != yaml.SequenceNode {
		p.wrong(e, e.name, "a list", "start each step with '- name: ...'")
		return nil, nil
	}
	steps := make([]task.Step, 0, len(list.Content))
	nodes := make([]*stepNode, 0, len(list.Content))
	for i, n := range list.Content {
		if !p.spend(n) {
			break
		}
		step, node := r.step(ctx, n, item(e.name, i))
		steps, nodes = append(steps, step), append(nodes, node)
	}
	return steps, nodes
}

// stepsReader carries from step to step what the later ones are held to.
type stepsReader struct {
	*parser
	names     map[string]*yaml.Node
	required  []string   // keys that each step has
	order     int        // of the step before
	orderNode *yaml.Node // where that says so
}

// step reads one step.
func (p *stepsReader) step(ctx context.Context, n *yaml.Node, path string) (task.Step, *stepNode) {
	var s task.Step
	node := &stepNode{path: path}
	var given entry
	seen := p.mapping(n, path, path, fields{
		"name": func(e entry, path string) {
			s.Name, node.named = p.aName(e, path), true
			if s.Name == "" {
				return
			}
			if first, ok := p.names[s.Name]; ok {
				p.fault(e.value, path, fmt.Sprintf("the step name %s is used twice%s", quote(s.Name), line(": first at line", first)), "each step of a task has a name of its own")
				return
			}
			p.names[s.Name] = e.value
		},
		"controller": func(e entry, path string) {
			name, ok := p.text(e, path)
			if ok && name == "" {
				p.fault(e.value, path, path+" is empty", listControllers)
			}
			s.Controller, node.controller, node.controllerName = name, e, name
		},
		"settings": func(e entry, path string) {
			node.settingsKey = e.key
			switch {
			case blank(e.value):
			case deref(e.value).Kind != yaml.MappingNode:
				p.wrong(e, path, "a mapping", "")
				node.badSettings = true
			default:
				node.settings = e.value
			}
		},
		"when":                    p.condition(&s.When, node),
		"order":                   func(e entry, _ string) { given = e },
		"interrupt_on_step_fault": p.boolean(&s.InterruptOnStepFault),
		"weight":                  p.weight(&s.Weight),
		"retry":                   func(e entry, path string) { p.retry(e, path, &s.Retry) },
		"max_execution_time":      p.duration(&s.Limits.MaxExecutionTime),
		"attempt_timeout":         p.duration(&s.Limits.AttemptTimeout),
		"progress_timeout":        p.duration(&s.Limits.ProgressTimeout),
		"stuck_after":             p.duration(&s.Limits.StuckAfter),
	})
	p.missing(n, path, seen, "the step", p.required...)
	s.Order = p.nextOrder(given, path)
	if p.orderNode = n; given.value != nil {
		p.orderNode = given.value
	}
	p.findController(ctx, node)
	return s, node
}

// nextOrder says which order a step has: its own, after all before it, unless it
// names one.
func (p *stepsReader) nextOrder(given entry, path string) int {
	if given.value == nil {
		p.order++
		return p.order
	}
	order, problems := -1, len(p.problems)
	p.whole(&order, 0, maxOrder)(given, path+".order")
	if len(p.problems) > problems {
		return p.order
	}
	if order < p.order {
		p.fault(given.value, path+".order", fmt.Sprintf("the order %d is below the order %d of the step before it%s", order, p.order, line(", at line", p.orderNode)),
			"list the steps in the order in which they run; steps that may run side by side share an order")
		return p.order
	}
	p.order = order
	return order
}

func (p *parser) retry(e entry, path string, r *task.Retry) {
	seen := p.mapping(e.value, path, path, fields{
		"attempts":    p.whole(&r.Attempts, 1, maxAttempts),
		"backoff":     p.duration(&r.Backoff),
		"max_backoff": p.duration(&r.MaxBackoff),
	})
	if r.Backoff > 0 && r.MaxBackoff > 0 && r.MaxBackoff < r.Backoff {
		p.fault(seen["max_backoff"].value, path+".max_backoff", fmt.Sprintf("%s.max_backoff must not be shorter than the backoff of %s", path, FormatDuration(r.Backoff)), "")
	}
}

// findController gets the schema of the step's settings. Without one their YAML
// can still be faulty.
func (p *parser) findController(ctx context.Context, node *stepNode) {
	if node.controllerName != "" && ctx.Err() == nil {
		found := p.lookup(ctx, node.controllerName)
		if found.problem != "" {
			p.fault(node.controller.value, node.path+".controller", found.problem, found.hint)
		}
		node.schema = found.schema
	}
	if node.schema == nil && node.settings != nil {
		at := spot{key: node.settingsKey, value: node.settings, path: node.path + ".settings", place: true}
		p.reading(&schema{root: true}).value(node.settings, "", at, 1)
	}
}
