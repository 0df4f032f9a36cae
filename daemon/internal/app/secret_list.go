package app

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/secret"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

// Secrets reads each value to see whether that works, and keeps none.
func (b *backend) Secrets(ctx context.Context) (api.SecretList, error) {
	used, err := b.usedSecrets(ctx)
	if err != nil {
		return api.SecretList{}, apiError(err)
	}
	list := api.SecretList{Secrets: []api.Secret{}}
	there, warnings := b.secrets.resolver.Names()
	list.Warnings = warnings
	names := slices.AppendSeq(there, maps.Keys(used))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		found := b.secrets.resolver.Look(name)
		one := api.Secret{Name: name, From: found.From, UsedBy: used[name]}
		if found.Err != nil {
			one.Error = found.Err.Error()
		}
		list.Secrets = append(list.Secrets, one)
	}
	return list, nil
}

const usedBatch = 500 // tasks that are read in one look at the store

// usedSecrets lists the tasks that refer to each secret, in the order of their
// names.
func (b *backend) usedSecrets(ctx context.Context) (map[string][]string, error) {
	schemas := map[string]json.RawMessage{}
	for _, plugin := range b.host.Plugins() { // asks none that is not running
		for _, c := range plugin.Controllers {
			schemas[c.Name] = c.Schema
		}
	}
	used := map[string][]string{}
	note := func(t *task.Task) {
		for _, s := range allSteps(t) {
			if !secret.Any(s.Settings) {
				continue
			}
			var marked func([]any) bool // of one that is not known: anywhere
			if schema, known := schemas[s.Controller]; known {
				if places, err := taskfile.SecretPlaces(schema); err == nil {
					marked = places
				}
			}
			_ = secret.Names(s.Settings, marked, func(name string) error { // they were checked when it was saved
				if !slices.Contains(used[name], t.Name) {
					used[name] = append(used[name], t.Name)
				}
				return nil
			})
		}
	}
	for after, more := "", true; more; {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		n := 0
		err := b.store.View(func(tx *store.Tx) error {
			return tx.Tasks(after, func(t task.Task) bool {
				note(&t)
				after, n = t.Name, n+1
				return n < usedBatch
			})
		})
		if err != nil {
			return nil, err
		}
		more = n == usedBatch
	}
	return used, nil
}
