package taskfile

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/stepd/stepd/daemon/internal/task"
)

// AddStep is the document of the task with one more step, before or behind the
// one that is named, else at the end. A step that says no order comes after those
// before it and before those behind it, which are numbered anew as far as that
// takes: also between two that shared an order, for a step is where it was put.
func AddStep(t task.Task, step json.RawMessage, before, after string) (json.RawMessage, error) {
	e, err := newStepEdit(t)
	if err != nil {
		return nil, err
	}
	at := len(e.list)
	switch {
	case before != "" && after != "":
		return nil, fmt.Errorf("a step is put before another or after one, not both: %w", task.ErrInvalid)
	case before != "":
		at, err = e.index(before)
	case after != "":
		at, err = e.index(after)
		at++
	}
	if err != nil {
		return nil, err
	}
	of, err := decoded(step)
	doc, ok := of.(map[string]any)
	if err != nil || !ok {
		return nil, fmt.Errorf("the step must be an object, as in {\"name\": ..., \"controller\": ...}: %w", task.ErrInvalid)
	}
	e.list = slices.Insert(e.list, at, newPlace(doc))
	e.renumber()
	return e.document()
}

// PatchStep is the document of the task with a merge patch laid over one of its
// steps. The patch may name it anew. What the step has from the task's settings is
// not the step's to remove.
func PatchStep(t task.Task, name string, patch json.RawMessage) (json.RawMessage, error) {
	e, err := newStepEdit(t)
	if err != nil {
		return nil, err
	}
	at, err := e.index(name)
	if err != nil {
		return nil, err
	}
	changes, err := patchObject(patch)
	if err != nil {
		return nil, err
	}
	place := e.list[at]
	_, moves := changes["order"]
	doc := merged(place.doc, changes).(map[string]any)
	if e.list[at].doc = doc; moves {
		e.list[at] = newPlace(doc)
	}
	e.renumber()
	return e.document()
}

// RemoveStep is the document of the task without the step. Without its last one
// a task is a draft.
func RemoveStep(t task.Task, name string) (json.RawMessage, error) {
	e, err := newStepEdit(t)
	if err != nil {
		return nil, err
	}
	at, err := e.index(name)
	if err != nil {
		return nil, err
	}
	e.list = slices.Delete(e.list, at, at+1)
	e.renumber()
	return e.document()
}

// OrderSteps is the document of the task with its steps in that order. The names
// are all of its steps. Those that share an order and stay neighbours go on
// sharing one; the numbers that the task has are dealt out anew.
func OrderSteps(t task.Task, names []string) (json.RawMessage, error) {
	e, err := newStepEdit(t)
	if err != nil {
		return nil, err
	}
	list := make([]stepPlace, 0, len(names))
	taken := make(map[string]bool)
	for _, name := range names {
		at, err := e.index(name)
		if err != nil {
			return nil, err
		}
		if taken[name] {
			return nil, fmt.Errorf("the step %s is named twice: %w", strconv.Quote(name), task.ErrInvalid)
		}
		taken[name] = true
		list = append(list, e.list[at])
	}
	for _, s := range t.Steps {
		if !taken[s.Name] {
			return nil, fmt.Errorf("the step %s is not named: an order names all steps of the task: %w", strconv.Quote(s.Name), task.ErrInvalid)
		}
	}
	var numbers []int
	for _, s := range t.Steps {
		numbers = append(numbers, s.Order)
	}
	numbers = slices.Compact(numbers)
	order := 0
	for i := range list {
		of := &list[i]
		switch {
		case i > 0 && list[i-1].order == of.order:
		case len(numbers) > 0:
			order, numbers = numbers[0], numbers[1:]
		default:
			order++
		}
		of.doc["order"] = order
	}
	e.list = list
	return e.document()
}

// stepEdit is the document of a task, its steps apart.
type stepEdit struct {
	task string
	doc  map[string]any
	list []stepPlace
}

// stepPlace is a step in the list, with the order that it has.
type stepPlace struct {
	doc     map[string]any
	order   int
	known   bool // it has an order
	chosen  bool // by this edit, fitting or not
	follows bool // it is the next after that of the step before it: nobody chose it
}

// newPlace is that of a step that comes, or moves, with an order or without.
func newPlace(doc map[string]any) stepPlace {
	p := stepPlace{doc: doc}
	if n, ok := doc["order"].(json.Number); ok {
		order, err := strconv.Atoi(string(n))
		p.order, p.known, p.chosen = order, err == nil, err == nil
	}
	return p
}

func newStepEdit(t task.Task) (*stepEdit, error) {
	raw, err := Document(t)
	if err != nil {
		return nil, err
	}
	of, err := decoded(raw)
	if err != nil {
		return nil, fmt.Errorf("read the definition of task %s: %w", t.Name, err)
	}
	e := &stepEdit{task: t.Name, doc: of.(map[string]any)}
	steps, _ := e.doc["steps"].([]any)
	before := 0
	for i, s := range steps {
		order := t.Steps[i].Order
		e.list = append(e.list, stepPlace{doc: s.(map[string]any), order: order, known: true, follows: order == before+1})
		before = order
	}
	return e, nil
}

func (e *stepEdit) index(name string) (int, error) {
	at := slices.IndexFunc(e.list, func(p stepPlace) bool { return p.doc["name"] == name })
	if at < 0 {
		return 0, fmt.Errorf("step %s in task %s: %w", strconv.Quote(name), e.task, task.ErrNotFound)
	}
	return at, nil
}

// renumber gives each step an order that fits where it stands, and leaves the
// numbers that somebody chose as far as they fit.
func (e *stepEdit) renumber() {
	before, order := stepPlace{}, -1
	for _, p := range e.list {
		given := max(order, 0) + 1 // as Parse counts
		switch {
		case !p.known:
		case p.chosen:
			given = p.order
		case before.known && before.order == p.order:
			given = order
		case !p.follows && p.order > order:
			given = p.order
		}
		if _, wrong := p.doc["order"]; p.known || !wrong { // else Parse complains of it
			p.doc["order"] = given
		}
		before, order = p, given
	}
}

func (e *stepEdit) document() (json.RawMessage, error) {
	steps := make([]any, len(e.list))
	for i, p := range e.list {
		steps[i] = p.doc
	}
	e.doc["steps"] = steps
	return json.Marshal(e.doc)
}
