package cli_test

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/stepd/stepd/daemon/internal/api"
)

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
