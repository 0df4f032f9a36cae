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

// Expressions finds what is wrong with expressions, as far as it can be known
// before a run. Package expression is the one. Offsets of faults are in the text
// that is given.
type Expressions interface {
	// CheckWhen checks a condition.
	CheckWhen(text string, scope task.Scope) []task.ExpressionFault
	// CheckText checks the expressions that stand in a text of settings; found
	// says whether there are any, well or not.
	CheckText(text string, scope task.Scope) (faults []task.ExpressionFault, found bool)
}

// Ports is what a parser asks of others.
type Ports struct {
	Controllers Controllers
	Schedules   Schedules
	// Expressions may be nil: then conditions and expressions are refused.
	Expressions Expressions
	// Saved is the task of that name as it is now; nil: there is none. What it has
	// is no fault where only a newcomer would be mistaken.
	Saved func(name string) (t task.Task, found bool)
}

// Parse reads a task file. The error is an *Errors with all faults of the file,
// or the context's when that ended meanwhile. Each controller is looked up
// once.
//
// In the task that is returned, the settings of each step are whole: its own,
// laid over those of the task that its controller's schema has as properties, or
// over all of them when the schema allows others. They are canonical JSON. Defaults of the schema are not filled in and secrets are not
// resolved: a reference {"secret": "name"} is carried through.
func Parse(ctx context.Context, src Source, with Ports) (task.Task, error) {
	p := newParser(ctx, with)
	p.unplaced = src.JSON
	t := task.Task{Dir: src.Dir}
	read := p.readDocument
	if src.JSON {
		read = p.readJSON
	}
	if root := read(src.Data); root != nil {
		p.task(ctx, root, &t)
	}
	if err := p.finish(ctx, src.Name, t); err != nil {
		return task.Task{}, err
	}
	return t, nil
}

// finish is the error of what was read, or nil.
func (p *parser) finish(ctx context.Context, name string, t task.Task) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read task file %s: %w", name, err)
	}
	if p.bomb != nil {
		p.problems = p.problems[:min(p.beforeBomb, len(p.problems))]
		p.fault(p.bomb, "", fmt.Sprintf("the file unfolds to more than %d values", maxValues), "write less of it through aliases and merges")
	}
	if len(p.problems) == 0 {
		p.checkSize(t)
	}
	if len(p.problems) > 0 {
		e := ordered(name, p.problems)
		p.excerpts(e.Problems)
		return e
	}
	return nil
}

func newParser(ctx context.Context, with Ports) *parser {
	return &parser{controllers: with.Controllers, schedules: with.Schedules, checks: with.Expressions, saved: with.Saved,
		looked: make(map[string]*controller), done: ctx.Done()}
}

// parser holds what is known while one file is read.
type parser struct {
	controllers Controllers
	schedules   Schedules
	checks      Expressions
	saved       func(name string) (task.Task, bool)
	name        string   // of the task, "" when it cannot be read
	draft       bool     // it has no steps
	said        []string // all expressions, for what they mention
	unplaced    bool     // nodes have no lines
	// given are texts of a request that are read as they would stand in a file.
	given    map[*yaml.Node]bool
	lines    []string
	problems []Problem
	hidden   []*yaml.Node // plain secrets, to be blotted out of excerpts

	done   <-chan struct{}
	values int        // read so far, aliases unfolded
	bomb   *yaml.Node // where there were too many
	// beforeBomb counts the problems until then; what follows from a value that
	// was not read is none.
	beforeBomb int

	looked map[string]*controller
}

// controller is the outcome of one lookup.
type controller struct {
	schema  *schema
	problem string
	hint    string
}

// checkSize holds the limit of a record of the store.
func (p *parser) checkSize(t task.Task) {
	data, err := json.Marshal(t)
	if err != nil {
		p.fault(nil, "", fmt.Sprintf("the task cannot be stored: %v", err), "")
		return
	}
	if len(data) > task.MaxDefinition {
		p.fault(nil, "", fmt.Sprintf("the task takes %d bytes when it is stored, at most %d are allowed", len(data), task.MaxDefinition), manySteps)
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
