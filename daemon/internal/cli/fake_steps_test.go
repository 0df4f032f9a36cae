package cli_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/stepd/stepd/daemon/internal/api"
)

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
