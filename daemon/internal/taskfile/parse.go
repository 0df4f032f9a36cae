package taskfile

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Controllers is what a parser needs to know of controllers.
type Controllers interface {
	// Lookup describes a controller; task.ErrNotFound: there is none of that
	// name. It may take long: a plugin may have to be started for it.
	Lookup(ctx context.Context, name string) (task.ControllerInfo, error)
}

// Parse reads a task file. The error is an *Errors with all faults of the file,
// or the context's when that ended meanwhile. Each controller is looked up
// once.
//
// In the task that is returned, the settings of each step are whole: its own,
// laid over those of the task's that its controller has a word for. They are
// canonical JSON. Defaults of the schema are not filled in and secrets are not
// resolved: a reference {"secret": "name"} is carried through.
func Parse(ctx context.Context, src Source, c Controllers) (task.Task, error) {
	p := &parser{controllers: c, looked: make(map[string]*controller), taken: make(map[string]*schema)}
	t := task.Task{Dir: src.Dir}
	if root := p.readDocument(src.Data); root != nil {
		p.task(ctx, root, &t)
	}
	if err := ctx.Err(); err != nil {
		return task.Task{}, fmt.Errorf("read task file %s: %w", src.Name, err)
	}
	if p.bomb != nil {
		p.problems = p.problems[:min(p.beforeBomb, len(p.problems))]
		p.fault(p.bomb, "", fmt.Sprintf("the file unfolds to more than %d values", maxValues), "write less of it through aliases and merges")
	}
	if len(p.problems) == 0 {
		p.checkSize(t)
	}
	if len(p.problems) > 0 {
		return task.Task{}, ordered(src.Name, p.shown())
	}
	return t, nil
}

// parser holds what is known while one file is read.
type parser struct {
	controllers Controllers
	lines       []string
	problems    []Problem
	hidden      []*yaml.Node // plain secrets, to be blotted out of excerpts

	values int        // read so far, aliases unfolded
	bomb   *yaml.Node // where there were too many
	// beforeBomb counts the problems until then; what follows from a value that
	// was not read is none.
	beforeBomb int

	looked             map[string]*controller
	unknownControllers bool
	taken              map[string]*schema // settings of the task, by the first schema that takes each
	anyOpen            bool               // some controller takes settings that it has no word for
	names              []string           // all settings that controllers have words for
}

// controller is the outcome of one lookup.
type controller struct {
	schema  *schema
	problem string
	hint    string
}

// fault reports a problem at a node.
func (p *parser) fault(n *yaml.Node, path, message, hint string) {
	line, column := 1, 1
	if n != nil && n.Line > 0 {
		line, column = n.Line, n.Column
	}
	p.at(line, column, path, message, hint)
}

func (p *parser) at(line, column int, path, message, hint string) {
	p.problems = append(p.problems, Problem{Line: line, Column: column, Path: path, Message: message, Hint: hint})
}

// hide keeps a scalar, or the scalars of a list, out of the excerpts.
func (p *parser) hide(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		p.hidden = append(p.hidden, n)
	}
	for _, child := range n.Content {
		if child.Kind != yaml.AliasNode {
			p.hide(child)
		}
	}
}

// shown are the problems with positions that exist and their lines.
func (p *parser) shown() []Problem {
	lines := make([]string, len(p.lines))
	copy(lines, p.lines)
	for _, n := range p.hidden {
		if n.Line < 1 || n.Line > len(lines) {
			continue
		}
		runes := []rune(lines[n.Line-1])
		from := min(max(n.Column-1, 0), len(runes))
		to := len(runes)
		if plain := []rune(n.Value); strings.HasPrefix(string(runes[from:]), n.Value) && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
			to = from + len(plain)
		}
		for i := from; i < to; i++ {
			runes[i] = '*'
		}
		lines[n.Line-1] = string(runes)
	}
	for i := range p.problems {
		f := &p.problems[i]
		if len(lines) == 0 {
			continue
		}
		if f.Line > len(lines) {
			f.Line = len(lines)
			f.Column = len([]rune(lines[f.Line-1])) + 1
		}
		f.Excerpt = strings.ToValidUTF8(lines[f.Line-1], "?")
	}
	return p.problems
}

// checkSize holds the limit of a record of the store.
func (p *parser) checkSize(t task.Task) {
	data, err := json.Marshal(t)
	if err != nil {
		p.at(1, 1, "", fmt.Sprintf("the task cannot be stored: %v", err), "")
		return
	}
	if len(data) > task.MaxDefinition {
		p.at(1, 1, "", fmt.Sprintf("the task takes %d bytes when it is stored, at most %d are allowed", len(data), task.MaxDefinition),
			"work that needs more steps than fit here is what controllers that plan are for")
	}
}

// lookup asks once for each controller.
func (p *parser) lookup(ctx context.Context, name string) *controller {
	if known, ok := p.looked[name]; ok {
		return known
	}
	found := new(controller)
	p.looked[name] = found
	info, err := p.controllers.Lookup(ctx, name)
	if err == nil {
		found.schema, err = newSchema(info.Schema)
		if err != nil {
			found.problem = fmt.Sprintf("the settings of %s cannot be checked, its schema is broken: %s", quote(name), firstLine(err))
			found.hint = "tell the author of the plugin"
		}
	} else {
		found.problem, found.hint = lookupProblem(name, err)
	}
	return found
}

func firstLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}
