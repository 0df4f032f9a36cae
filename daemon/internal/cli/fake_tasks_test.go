package cli_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
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

// differences between two definitions, steps by their names.
func differences(path string, before, after object) (list []api.Change) {
	keys := map[string]bool{}
	for _, m := range []object{before, after} {
		for key := range m {
			keys[key] = true
		}
	}
	var sorted []string
	for key := range keys {
		sorted = append(sorted, key)
	}
	slices.Sort(sorted)
	for _, key := range sorted {
		at := strings.TrimPrefix(path+"."+key, ".")
		a, b := before[key], after[key]
		inA, inB := a != nil, b != nil
		if _, isMap := a.(object); isMap {
			if _, both := b.(object); both {
				list = append(list, differences(at, a.(object), b.(object))...)
				continue
			}
		}
		switch {
		case key == "steps" && path == "":
			list = append(list, stepDifferences(stepsOf(before), stepsOf(after))...)
		case !inA:
			list = append(list, api.Change{Path: at, Op: "added", New: raw(b)})
		case !inB:
			list = append(list, api.Change{Path: at, Op: "removed", Old: raw(a)})
		case !reflect.DeepEqual(a, b):
			list = append(list, api.Change{Path: at, Op: "changed", Old: raw(a), New: raw(b)})
		}
	}
	return list
}

func stepDifferences(before, after []object) (list []api.Change) {
	for i, s := range before {
		at := "steps." + s["name"].(string)
		j := named(after, s["name"].(string))
		if j < 0 {
			list = append(list, api.Change{Path: at, Op: "removed", Old: raw(s)})
			continue
		}
		if i != j && len(before) == len(after) {
			list = append(list, api.Change{Path: at, Op: "moved", Old: raw(i + 1), New: raw(j + 1)})
		}
		list = append(list, differences(at, s, after[j])...)
	}
	for _, s := range after {
		if named(before, s["name"].(string)) < 0 {
			list = append(list, api.Change{Path: "steps." + s["name"].(string), Op: "added", New: raw(s)})
		}
	}
	return list
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

func (b *backend) TaskSteps(ctx context.Context, name string) (api.Page[api.TaskStep], error) {
	t, err := b.Task(ctx, name)
	return api.Page[api.TaskStep]{Items: t.Steps}, err
}

func (b *backend) TaskStep(ctx context.Context, name, step string) (api.TaskStep, error) {
	t, err := b.Task(ctx, name)
	if err != nil {
		return api.TaskStep{}, err
	}
	for _, s := range t.Steps {
		if s.Name == step {
			return s, nil
		}
	}
	return api.TaskStep{}, noStep(name, step)
}

func noStep(name, step string) error { return notFound("%s has no step %q", name, step) }

func (b *backend) AddStep(_ context.Context, who api.Caller, name string, r api.StepRequest) (api.Saved, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.save(who, name, r.Version, func(def object) error {
		list := stepsOf(def)
		one := parse(string(r.Step))
		if named(list, one["name"].(string)) >= 0 {
			return &api.Error{Code: api.CodeExists, Message: fmt.Sprintf("%s has a step %q already", name, one["name"])}
		}
		at := len(list)
		if beside := r.Before + r.After; beside != "" {
			if at = named(list, beside); at < 0 {
				return noStep(name, beside)
			}
			if r.After != "" {
				at++
			}
		}
		setSteps(def, slices.Insert(list, at, one))
		return nil
	})
}

func (b *backend) PatchStep(_ context.Context, who api.Caller, name, step string, r api.PatchRequest) (api.Saved, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.save(who, name, r.Version, func(def object) error {
		list := stepsOf(def)
		at := named(list, step)
		if at < 0 {
			return noStep(name, step)
		}
		mergePatch(list[at], parse(string(r.Patch)))
		setSteps(def, list)
		return nil
	})
}

func (b *backend) OrderSteps(_ context.Context, who api.Caller, name string, r api.OrderRequest) (api.Saved, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.save(who, name, r.Version, func(def object) error {
		list := stepsOf(def)
		var next []object
		for _, step := range r.Steps {
			at := named(list, step)
			if at < 0 {
				return noStep(name, step)
			}
			next = append(next, list[at])
		}
		if len(next) != len(list) {
			return &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf("%d of the %d steps are named, it must be all", len(next), len(list))}
		}
		setSteps(def, next)
		return nil
	})
}

func (b *backend) DeleteStep(_ context.Context, who api.Caller, name, step string, version uint64) (api.Saved, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.save(who, name, version, func(def object) error {
		list := stepsOf(def)
		at := named(list, step)
		if at < 0 {
			return noStep(name, step)
		}
		setSteps(def, slices.Delete(list, at, at+1))
		return nil
	})
}

func (b *backend) DeleteTask(_ context.Context, _ api.Caller, name string, version uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.mayDelete(name, version); err != nil {
		return err
	}
	delete(b.tasks, name)
	delete(b.defs, name)
	return nil
}

func (b *backend) mayDelete(name string, version uint64) error {
	d := b.defs[name]
	switch {
	case d == nil:
		return notFound("there is no task %q", name)
	case version != 0 && version != d.version:
		return &api.Error{Code: api.CodeConflict, Message: fmt.Sprintf("task %s is at version %d, changed by %s, not at %d", name, d.version, d.by, version),
			Version: d.version, Changes: differences("", d.before[version], d.now)}
	case b.tasks[name].LastRun != nil && b.tasks[name].LastRun.Alive() && name != "backup":
		return &api.Error{Code: api.CodeState, Message: name + " has a run that is alive"}
	}
	return nil
}

func (b *backend) Apply(_ context.Context, who api.Caller, r api.ApplyRequest) (api.ApplyResult, error) {
	var result api.ApplyResult
	if err := b.check(r.Files); err != nil {
		return result, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	named := map[string]bool{}
	var against []api.Applied
	for _, f := range r.Files {
		def := parse(f.Data)
		name, _ := def["name"].(string)
		named[name] = true
		a := api.Applied{Task: name, File: f.Name, Action: "created", Version: 1, Steps: len(stepsOf(def))}
		if d := b.defs[name]; d != nil {
			a.Changes = differences("", d.now, normal(def))
			switch {
			case len(a.Changes) == 0:
				a.Action, a.Version = "unchanged", d.version
			case !r.Replace && d.source != f.Path && d.source != "":
				a.Action, a.Version, a.Reason = "conflict", d.version, name+" came from "+d.source
			case !r.Replace && d.edited && d.source != "":
				a.Action, a.Version, a.Reason = "conflict", d.version, fmt.Sprintf("%s was edited by %s since it was applied", name, d.by)
			case !r.Replace && d.edited:
				a.Action, a.Version, a.Reason = "conflict", d.version, name+" was made by "+d.by+" over the socket, not from a file"
			default:
				a.Action, a.Version = "changed", d.version+1
			}
		}
		if a.Action == "conflict" {
			against = append(against, a)
		}
		if def["schedule"] != nil {
			a.Next = &upcoming()[1]
		}
		if def["expect"] != nil {
			a.Deadline = &api.Deadline{At: *hour(25, 6, 0, 0), Timezone: "UTC", Excused: true}
		}
		result.Tasks = append(result.Tasks, a)
	}
	for _, dir := range r.Prune {
		for _, name := range sorted(b.defs) {
			if d := b.defs[name]; filepath.Dir(d.source) == dir && !named[name] {
				result.Tasks = append(result.Tasks, api.Applied{Task: name, Action: "deleted", Version: d.version, Steps: b.tasks[name].StepCount})
			}
		}
	}
	if r.DryRun {
		return result, nil
	}
	if len(against) > 0 {
		return api.ApplyResult{}, &api.Error{Code: api.CodeConflict, Message: fmt.Sprintf("nothing was saved: %d of the tasks would be replaced by files that they are not of", len(against)),
			Hint: "--replace takes them over", Tasks: against}
	}
	for _, one := range r.Delete {
		if err := b.mayDelete(one.Task, one.Version); err != nil {
			return api.ApplyResult{}, err
		}
	}
	for i, f := range r.Files {
		a, def := result.Tasks[i], parse(f.Data)
		switch d := b.defs[a.Task]; {
		case a.Action == "created":
			b.create(a.Task, def, f.Dir, f.Path, who.By())
		case a.Action == "changed":
			d.before[d.version], d.now = d.now, normal(def)
			d.version, d.source, d.dir, d.edited, d.by = d.version+1, f.Path, f.Dir, false, who.By()
			b.show(a.Task)
		}
		if a.Action != "conflict" {
			result.Tasks[i].Changes = a.Changes
		}
	}
	for _, one := range r.Delete {
		result.Tasks = append(result.Tasks, api.Applied{Task: one.Task, Action: "deleted", Version: one.Version, Steps: b.tasks[one.Task].StepCount})
		delete(b.tasks, one.Task)
		delete(b.defs, one.Task)
	}
	return result, nil
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
