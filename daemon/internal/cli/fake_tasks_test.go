package cli_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/stepd/stepd/daemon/internal/api"
)

// definition is what the backend keeps of a task: what its file says, at each
// version. "gone" is a version that it does not know any more.
type definition struct {
	now     map[string]any
	before  map[uint64]map[string]any
	version uint64
	dir     string
	source  string
	edited  bool
	by      string
}

type object = map[string]any

func step(name, controller string, more object) object {
	s := object{"name": name, "controller": controller}
	for key, value := range more {
		s[key] = value
	}
	return s
}

func parse(data string) object {
	var v object
	if err := yaml.Unmarshal([]byte(data), &v); err != nil {
		return object{}
	}
	return normal(v)
}

// normal is a value as JSON brings it.
func normal(v object) object {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	var out object
	if err := json.Unmarshal(raw, &out); err != nil {
		panic(err)
	}
	for _, s := range stepsOf(out) {
		if s["name"] == nil {
			s["name"] = s["controller"]
		}
	}
	return out
}

func raw(v any) json.RawMessage {
	if v == nil {
		return nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSpace(b.Bytes())
}

func stepsOf(def object) (list []object) {
	all, _ := def["steps"].([]any)
	for _, one := range all {
		list = append(list, one.(object))
	}
	return list
}

func setSteps(def object, list []object) {
	all := []any{}
	for _, one := range list {
		all = append(all, one)
	}
	def["steps"] = all
}

func named(list []object, name string) int {
	return slices.IndexFunc(list, func(s object) bool { return s["name"] == name })
}

// check finds what the backend knows to be a fault.
func checkDefinition(def object) error {
	var problems []api.Problem
	for key := range def {
		if !slices.Contains([]string{"name", "description", "created_by", "settings", "steps", "starter", "schedule", "expect", "priority", "locks",
			"max_parallel", "max_runs", "on_end", "keep"}, key) {
			problems = append(problems, api.Problem{Path: key, Message: fmt.Sprintf("unknown key %q", key), Hint: `did you mean "description"?`})
		}
	}
	for i, s := range stepsOf(def) {
		if s["controller"] == nil {
			problems = append(problems, api.Problem{Path: fmt.Sprintf("steps[%d]", i), Message: "controller is missing"})
		}
	}
	if len(problems) > 0 {
		return &api.Error{Code: api.CodeInvalid, Message: problems[0].Message, Problems: problems}
	}
	return nil
}

// save puts a definition into the place of what is there at that version, 0 for
// whatever it is. change is given a copy. It is called with the lock held.
func (b *backend) save(who api.Caller, name string, version uint64, change func(def object) error) (api.Saved, error) {
	d := b.defs[name]
	if d == nil {
		return api.Saved{}, notFound("there is no task %q", name)
	}
	if version != 0 && version != d.version {
		return api.Saved{}, &api.Error{Code: api.CodeConflict, Version: d.version,
			Message: fmt.Sprintf("task %s is at version %d, changed by %s, the change was made for version %d", name, d.version, d.by, version),
			Changes: differences("", d.before[version], d.now)}
	}
	next := normal(d.now)
	if err := change(next); err != nil {
		return api.Saved{}, err
	}
	next = normal(next)
	if err := checkDefinition(next); err != nil {
		return api.Saved{}, err
	}
	changes := differences("", d.now, next)
	if len(changes) > 0 {
		d.before[d.version], d.now = d.now, next
		d.version, d.edited, d.by = d.version+1, true, who.By()
		b.show(name)
	}
	return api.Saved{Task: *b.tasks[name], Changes: changes}, nil
}

// show makes what people see of a task follow its definition.
func (b *backend) show(name string) {
	d := b.defs[name]
	t := b.tasks[name]
	if t == nil {
		t = &api.Task{Name: name, MaxParallel: 1, CreatedAt: then, CreatedBy: d.by}
		b.tasks[name] = t
	}
	t.Version, t.Dir, t.Source, t.Edited, t.UpdatedAt, t.UpdatedBy = d.version, d.dir, d.source, d.edited, then, d.by
	t.Description, _ = d.now["description"].(string)
	t.Settings = raw(d.now["settings"])
	t.Starter = nil
	list, _ := d.now["starter"].([]any)
	for _, one := range list {
		t.Starter = append(t.Starter, fmt.Sprint(one))
	}
	t.Steps = nil
	for i, s := range stepsOf(d.now) {
		ts := api.TaskStep{Name: s["name"].(string), Order: i + 1, Settings: raw(s["settings"])}
		ts.Controller, _ = s["controller"].(string)
		ts.When, _ = s["when"].(string)
		ts.InterruptOnStepFault, _ = s["interrupt_on_step_fault"].(bool)
		ts.MaxExecutionTime, _ = s["max_execution_time"].(string)
		if retry, ok := s["retry"].(object); ok {
			n, _ := retry["attempts"].(float64)
			ts.RetryAttempts = int(n)
		}
		t.Steps = append(t.Steps, ts)
	}
	t.StepCount = len(t.Steps)
	switch {
	case t.StepCount == 0:
		t.Status = "draft"
	case t.Status == "draft" || t.Status == "":
		t.Status = "ready"
	}
}

func (b *backend) create(name string, def object, dir, source, by string) *definition {
	d := &definition{now: normal(def), before: map[uint64]map[string]any{}, version: 1, dir: dir, source: source, by: by}
	b.defs[name] = d
	b.show(name)
	return d
}

func (b *backend) CreateTask(_ context.Context, who api.Caller, r api.SaveRequest) (api.Saved, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	def := parse(string(r.Task))
	if err := checkDefinition(def); err != nil {
		return api.Saved{}, err
	}
	name, _ := def["name"].(string)
	if b.tasks[name] != nil {
		return api.Saved{}, &api.Error{Code: api.CodeExists, Message: fmt.Sprintf("there is a task %q already", name), Hint: "change it: stepd task edit " + name}
	}
	b.create(name, def, r.Dir, "", who.By()).edited = true
	return api.Saved{Task: *b.tasks[name]}, nil
}

func (b *backend) ReplaceTask(_ context.Context, who api.Caller, name string, r api.SaveRequest) (api.Saved, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.meanwhile != nil {
		b.meanwhile(b)
		b.meanwhile = nil
	}
	return b.save(who, name, r.Version, func(def object) error {
		clear(def)
		for key, value := range parse(string(r.Task)) {
			def[key] = value
		}
		return nil
	})
}

func mergePatch(to, patch object) {
	for key, value := range patch {
		inner, isObject := value.(object)
		switch {
		case value == nil:
			delete(to, key)
		case isObject:
			old, ok := to[key].(object)
			if !ok {
				old = object{}
				to[key] = old
			}
			mergePatch(old, inner)
		default:
			to[key] = value
		}
	}
}

func (b *backend) PatchTask(_ context.Context, who api.Caller, name string, r api.PatchRequest) (api.Saved, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.save(who, name, r.Version, func(def object) error {
		mergePatch(def, parse(string(r.Patch)))
		return nil
	})
}

func (b *backend) Definition(_ context.Context, name string) (api.Definition, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.defs[name]
	if d == nil || b.empty.Load() {
		return api.Definition{}, notFound("there is no task %q", name)
	}
	return api.Definition{Name: name, Version: d.version, Dir: d.dir, Source: d.source, Task: raw(d.now), YAML: asFile(d.now)}, nil
}

// asFile writes the name first and the steps last.
func asFile(def object) string {
	var keys []string
	for key := range def {
		keys = append(keys, key)
	}
	place := func(key string) int { return map[string]int{"name": -2, "description": -1, "steps": 1}[key] }
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(place(a)-place(b), strings.Compare(a, b)) })
	var out strings.Builder
	for _, key := range keys {
		text, err := yaml.Dump(object{key: def[key]}, yaml.WithV4Defaults(), yaml.WithIndent(2))
		if err != nil {
			panic(err)
		}
		out.Write(text)
	}
	return out.String()
}

func (b *backend) Export(ctx context.Context, after string, limit int) (api.Page[api.Definition], error) {
	var page api.Page[api.Definition]
	if b.empty.Load() {
		return page, nil
	}
	for _, name := range []string{"backup", "import", "newsletter", "show"} {
		b.mu.Lock()
		gone := b.defs[name] == nil
		b.mu.Unlock()
		if name <= after || gone {
			continue
		}
		if len(page.Items) == min(2, limit) { // pages are short
			page.Next = page.Items[1].Name
			break
		}
		d, err := b.Definition(ctx, name)
		if err != nil {
			return page, err
		}
		page.Items = append(page.Items, d)
	}
	return page, nil
}

func sorted[V any](m map[string]V) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func (b *backend) Tasks(_ context.Context, q api.TaskQuery) (api.Page[api.Task], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	page := api.Page[api.Task]{Total: new(int)}
	if b.empty.Load() {
		return page, nil
	}
	names := sorted(b.tasks)
	if strings.HasPrefix(q.Sort, "-") {
		slices.Reverse(names)
	}
	passed := q.After == ""
	for _, name := range names {
		t := b.tasks[name]
		result := "never"
		if t.LastRun != nil {
			result = t.LastRun.Status
		}
		var schedules []string
		for _, s := range t.Schedules {
			schedules = append(schedules, s.Name)
		}
		whole, _ := filepath.Match(q.Name, name)
		fits := (q.Name == "" || whole || strings.Contains(name, q.Name)) && (q.Status == "" || q.Status == t.Status) &&
			(q.CreatedBy == "" || q.CreatedBy == t.CreatedBy) && (q.Starter == "" || slices.Contains(t.Starter, q.Starter)) &&
			(q.Result == "" || q.Result == result) && (q.Schedule == "" || q.Schedule == "any" && len(schedules) > 0 ||
			q.Schedule == "none" && len(schedules) == 0 || slices.Contains(schedules, q.Schedule))
		if !fits {
			continue
		}
		*page.Total++
		if passed && len(page.Items) < q.Limit {
			page.Items = append(page.Items, *t)
		} else if passed && page.Next == "" {
			page.Next = page.Items[len(page.Items)-1].Name
		}
		passed = passed || name == q.After
	}
	return page, nil
}
