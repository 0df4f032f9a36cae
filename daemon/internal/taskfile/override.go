package taskfile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Override is the task with other settings for one run: set has settings of the
// task ("mode") and of its steps ("tables.mode", or "tables.smtp.host" within a
// mapping). Texts are read as they stand in a task file, so that "5" is a number
// where the controller's schema has one there. All else of the task stays as it
// is.
//
// The error is an *Errors, or the context's. Problems of what was set have its key
// as their Path, and what comes behind it within a value. A setting of the task
// that no step would get is one of them.
func Override(ctx context.Context, t task.Task, set map[string]json.RawMessage, with Ports) (task.Task, error) {
	if len(set) == 0 {
		return t, nil
	}
	doc, err := Document(t)
	if err != nil {
		return task.Task{}, err
	}
	root, err := jsonNode(jsonDecoder(doc), 0)
	if err != nil {
		return task.Task{}, fmt.Errorf("read the definition of task %s: %w", t.Name, err)
	}
	// Its schedules are what they were, and no matter here.
	with.Schedules, with.Saved = anySchedule{}, func(string) (task.Task, bool) { return t, true }
	p := newParser(ctx, with)
	p.unplaced, p.given = true, make(map[*yaml.Node]bool)
	o := &override{parser: p, root: root, task: &t, paths: make(map[string]string)}
	for _, key := range slices.Sorted(maps.Keys(set)) {
		o.set(key, set[key])
	}
	changed := task.Task{Dir: t.Dir}
	p.task(ctx, root, &changed)
	if len(p.problems) == 0 {
		o.unheard(&changed)
	}
	for i, f := range p.problems {
		p.problems[i] = o.rename(f)
	}
	if err := p.finish(ctx, "the settings for this run", changed); err != nil {
		return task.Task{}, err
	}
	out := t
	out.Settings, out.Steps = changed.Settings, changed.Steps
	out.OnMissed, out.OnSuccess, out.OnFailure, out.OnEnd = changed.OnMissed, changed.OnSuccess, changed.OnFailure, changed.OnEnd
	return out, nil
}

// anySchedule finds no fault with schedules.
type anySchedule struct{}

func (anySchedule) Timezone() string                                 { return "UTC" }
func (anySchedule) Check(string, task.Schedule) []task.ScheduleFault { return nil }
func (anySchedule) CheckExpect(task.Expect) []task.ScheduleFault     { return nil }

type override struct {
	*parser
	root  *yaml.Node
	task  *task.Task
	paths map[string]string // from what a path of the document begins with to the key that was set
}

// set puts one value into the document.
func (o *override) set(key string, raw json.RawMessage) {
	step, rest := o.stepOf(key)
	holder, path := o.root, "settings"
	if step >= 0 {
		holder = deref(valueOf(o.root, "steps")).Content[step]
		path = item("steps", step) + ".settings"
	}
	if rest == "" {
		o.at(0, 0, key, "there is no setting without a name", "name a setting of the task, or STEP.SETTING")
		return
	}
	if name, _, dotted := strings.Cut(key, "."); step < 0 && dotted && !o.has(key) && !o.has(name) {
		hint := suggest(name, stepNames(o.task.Steps))
		o.at(0, 0, key, fmt.Sprintf("the task has no step %s", quote(name)), hint)
		return
	}
	node, err := o.value(raw)
	if err != nil {
		o.at(0, 0, key, fmt.Sprintf("the value is no JSON: %v", err), "")
		return
	}
	at := child(holder, "settings")
	parts := []string{rest}
	if valueOf(at, rest) == nil { // else the dots are its own
		parts = strings.Split(rest, ".")
	}
	for _, part := range parts[:len(parts)-1] {
		at, path = child(at, part), join(path, part)
	}
	last := parts[len(parts)-1]
	o.paths[join(path, last)] = key
	put(at, last, node)
}

// stepOf finds the step that a key speaks of, the longest name that fits, or -1.
func (o *override) stepOf(key string) (step int, rest string) {
	step, rest = -1, key
	longest := 0
	for i, s := range o.task.Steps {
		if of, ok := strings.CutPrefix(key, s.Name+"."); ok && len(s.Name) > longest {
			step, rest, longest = i, of, len(s.Name)
		}
	}
	return step, rest
}

// has reports whether the task has a setting of that name.
func (o *override) has(name string) bool {
	settings := valueOf(o.root, "settings")
	return settings != nil && valueOf(settings, name) != nil
}

// value is the node of what was given; its texts are read as those of a file.
func (o *override) value(raw json.RawMessage) (*yaml.Node, error) {
	n, err := jsonNode(jsonDecoder(raw), 0)
	if err != nil || n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		return n, err
	}
	if as := inFile(n.Value); as != nil && as.Kind == yaml.ScalarNode && as.Style == 0 && as.Value == n.Value && as.Value != "" {
		n.Tag, n.Style = as.ShortTag(), 0
	}
	o.given[n] = true
	return n, nil
}

// unheard reports settings of the task that change no step, because those that
// take them have their own.
func (o *override) unheard(changed *task.Task) {
	for _, path := range slices.Sorted(maps.Keys(o.paths)) {
		key := o.paths[path]
		if strings.HasPrefix(path, "steps[") {
			continue
		}
		name := key
		if !o.has(name) {
			name, _, _ = strings.Cut(key, ".")
		}
		if settingOf(o.task.Settings, name) == settingOf(changed.Settings, name) || o.mentioned(name) || o.reaches(changed, name) {
			continue
		}
		hint := ""
		for _, s := range o.task.Steps {
			if settingOf(s.Settings, name) != "" {
				hint = fmt.Sprintf("the step %s has its own: set %s", s.Name, quote(s.Name+"."+key))
				break
			}
		}
		o.at(0, 0, path, fmt.Sprintf("no step takes %s from the task", key), hint)
	}
}

// reaches reports whether the setting of any step is otherwise than before.
func (o *override) reaches(changed *task.Task, name string) bool {
	now := stepLists(changed)
	for i, list := range stepLists(o.task) {
		for j, s := range *list.steps {
			if settingOf(s.Settings, name) != settingOf((*now[i].steps)[j].Settings, name) {
				return true
			}
		}
	}
	return false
}

// rename puts what was set in the place of where it was put.
func (o *override) rename(f Problem) Problem {
	best := ""
	for path := range o.paths {
		behind, ok := strings.CutPrefix(f.Path, path)
		if ok && (behind == "" || behind[0] == '.' || behind[0] == '[') && len(path) > len(best) {
			best = path
		}
	}
	if best == "" {
		return f
	}
	f.Message = strings.ReplaceAll(f.Message, best, o.paths[best])
	f.Path = o.paths[best] + f.Path[len(best):]
	return f
}

// settingOf is one setting as JSON, "" when there is none.
func settingOf(settings json.RawMessage, name string) string {
	of, err := object(settings)
	v, ok := of[name]
	if err != nil || !ok {
		return ""
	}
	return string(encode(map[string]any{"": v}))
}

// child is the mapping at a key, made where there is none.
func child(of *yaml.Node, key string) *yaml.Node {
	if n := valueOf(of, key); n != nil && n.Kind == yaml.MappingNode {
		return n
	}
	n := block().node
	put(of, key, n)
	return n
}

func put(of *yaml.Node, key string, value *yaml.Node) {
	for i := 0; i+1 < len(of.Content); i += 2 {
		if of.Content[i].Value == key {
			of.Content[i+1] = value
			return
		}
	}
	of.Content = append(of.Content, str(key), value)
}

// listOrMapping is the list or the mapping that a text stands for in a task file;
// nil: none.
func listOrMapping(text string) *yaml.Node {
	if n := inFile(text); n != nil && (n.Kind == yaml.SequenceNode || n.Kind == yaml.MappingNode) && n.Style&yaml.FlowStyle != 0 {
		return n
	}
	return nil
}

// inFile is what a text stands for in a task file, or nil when that cannot be
// read.
func inFile(text string) *yaml.Node {
	loader, err := yaml.NewLoader(strings.NewReader(text))
	if err != nil {
		return nil
	}
	var doc, more yaml.Node
	if err := loader.Load(&doc); err != nil || doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil
	}
	if err := loader.Load(&more); !errors.Is(err, io.EOF) {
		return nil
	}
	unplace(doc.Content[0])
	return doc.Content[0]
}

// unplace makes the node one that stands in no file.
func unplace(n *yaml.Node) {
	n.Line, n.Column = 0, 0
	for _, of := range n.Content {
		unplace(of)
	}
}
