package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

type place struct {
	id  task.RunID
	pos task.Position
}

// model is what a store has to look like, in maps.
type model struct {
	tasks       map[string]task.Task
	numbers     map[string]uint64
	runs        map[task.RunID]task.Run
	last        task.RunID
	steps       map[place]task.RunStep
	checkpoints map[place]string
	outputs     map[place]map[string]string
	schedules   scheduleModel
	versions    map[string]map[uint64]bool // of tasks, whose definitions are there
}

func newModel() *model {
	return &model{tasks: map[string]task.Task{}, numbers: map[string]uint64{}, runs: map[task.RunID]task.Run{},
		steps: map[place]task.RunStep{}, checkpoints: map[place]string{}, outputs: map[place]map[string]string{},
		schedules: newScheduleModel(), versions: map[string]map[uint64]bool{}}
}

func (m *model) clone() *model {
	c := *m
	c.tasks, c.numbers, c.runs = maps.Clone(m.tasks), maps.Clone(m.numbers), maps.Clone(m.runs)
	c.schedules = m.schedules.clone()
	c.steps, c.checkpoints = maps.Clone(m.steps), maps.Clone(m.checkpoints)
	c.versions = map[string]map[uint64]bool{}
	for k, v := range m.versions {
		c.versions[k] = maps.Clone(v)
	}
	c.outputs = map[place]map[string]string{}
	for k, v := range m.outputs {
		c.outputs[k] = maps.Clone(v)
	}
	return &c
}

// definitions that have to be kept.
func (m *model) definitions() map[string]bool {
	keep := map[string]bool{}
	for name, versions := range m.versions {
		for v := range versions {
			keep[fmt.Sprint(name, " ", v)] = true
		}
	}
	for _, r := range m.runs {
		keep[fmt.Sprint(r.Task, " ", r.DefinitionVersion)] = true
	}
	return keep
}

// forget drops definitions that are neither among the newest ten nor pinned.
func (m *model) forget(name string) {
	pinned := map[uint64]bool{}
	for _, r := range m.runs {
		pinned[r.DefinitionVersion] = pinned[r.DefinitionVersion] || r.Task == name
	}
	t, there := m.tasks[name]
	maps.DeleteFunc(m.versions[name], func(v uint64, _ bool) bool {
		return !pinned[v] && !(there && v <= t.Version && v+10 > t.Version)
	})
}

// drawTask has something of all that a summary is made of.
func drawTask(t *rapid.T, name string, version uint64) task.Task {
	v := task.Task{Name: name, Version: version, CreatedBy: rapid.SampledFrom([]string{"", "ann"}).Draw(t, "by"),
		Disabled: rapid.Bool().Draw(t, "disabled"), CreatedAt: noon.Add(time.Duration(version) * time.Second)}
	if rapid.Bool().Draw(t, "more") {
		v.Starter, v.Source = []string{"", "@shop"}, "/etc/x.yaml"
		v.Schedules = []task.Schedule{{Name: "nightly"}, {Name: "hourly"}}
		v.Pause = &task.Pause{Until: noon}
		v.Steps = []task.Step{{Name: "s"}}
		v.UpdatedAt = noon
	}
	return v
}

func (m *model) drop(match func(place) bool) {
	maps.DeleteFunc(m.steps, func(p place, _ task.RunStep) bool { return match(p) })
	maps.DeleteFunc(m.checkpoints, func(p place, _ string) bool { return match(p) })
	maps.DeleteFunc(m.outputs, func(p place, _ map[string]string) bool { return match(p) })
}

var modelNames = []string{"backup", "backup-weekly", "b", "backup.2"}

func drawPos(t *rapid.T) task.Position {
	return task.Position{Top: uint32(rapid.IntRange(1, 3).Draw(t, "top")), Sub: uint32(rapid.IntRange(0, 30).Draw(t, "sub"))}
}

// step does one random thing to both.
func (m *model) step(t *rapid.T, tx *store.Tx) error {
	name := rapid.SampledFrom(modelNames).Draw(t, "name")
	id := task.RunID(rapid.IntRange(1, int(m.last)+1).Draw(t, "id"))
	pos := drawPos(t)
	at := place{id, pos}
	limit := rapid.IntRange(1, 20).Draw(t, "limit")
	switch op := rapid.IntRange(0, 16).Draw(t, "op"); op {
	case 0:
		v := drawTask(t, name, m.tasks[name].Version+1)
		m.tasks[name] = v
		if m.versions[name] == nil {
			m.versions[name] = map[uint64]bool{}
		}
		m.versions[name][v.Version] = true
		m.forget(name)
		return tx.PutTask(v)
	case 1:
		_, there := m.tasks[name]
		delete(m.tasks, name)
		m.forget(name)
		if there {
			m.schedules.deleteTask(name)
		}
		if err := tx.DeleteTask(name); there != (err == nil) {
			return fmt.Errorf("delete %s: %w", name, err)
		}
	case 2:
		def, there := m.tasks[name]
		if !there {
			return nil
		}
		trigger := rapid.SampledFrom([]task.Trigger{"", task.TriggerManual, task.TriggerOnEnd}).Draw(t, "trigger")
		run, err := newRunOf(tx, name, def.Version, trigger)
		m.last++
		m.numbers[name]++
		if err != nil || run.ID != m.last || run.Number != m.numbers[name] {
			return fmt.Errorf("the next run is %s with id %d: %w", run.Ref(), run.ID, err)
		}
		m.runs[run.ID] = run
	case 3:
		run, there := m.runs[id]
		if !there {
			return nil
		}
		run.Status = rapid.SampledFrom(task.RunStatuses[:]).Draw(t, "status")
		if run.Status != task.RunQueued {
			run.StartedAt = noon.Add(time.Duration(limit) * time.Second)
		}
		if !run.Status.Alive() {
			run.EndedAt = noon.Add(time.Duration(limit) * time.Minute)
		}
		def, there := m.tasks[run.Task]
		switch {
		case there && limit > 15:
			run.DefinitionVersion = def.Version
		case there && limit < 4:
			run.DefinitionVersion = task.PrivateVersion(id, 0)
			def.Description = "of one run"
			if err := tx.PutDefinition(run.DefinitionVersion, def); err != nil {
				return err
			}
		}
		m.runs[id] = run
		m.forget(run.Task)
		return tx.PutRun(run)
	case 4:
		run, there := m.runs[id]
		for {
			done, err := tx.DeleteRun(id, limit)
			switch {
			case !there:
				if !errors.Is(err, task.ErrNotFound) {
					return fmt.Errorf("delete run %d: %w", id, err)
				}
				return nil
			case run.Status.Alive():
				if !errors.Is(err, task.ErrState) {
					return fmt.Errorf("delete live run %d: %w", id, err)
				}
				return nil
			case err != nil:
				return err
			case done:
				delete(m.runs, id)
				m.forget(run.Task)
				m.drop(func(p place) bool { return p.id == id })
				return nil
			}
		}
	case 5, 6:
		if _, there := m.runs[id]; !there {
			return nil
		}
		for range limit {
			step := task.RunStep{Position: pos, Name: fmt.Sprint(limit), Message: string(make([]byte, rapid.IntRange(0, 300).Draw(t, "size")))}
			m.steps[place{id, pos}] = step
			if err := tx.PutStep(id, step); err != nil {
				return err
			}
			pos.Sub++
		}
	case 7:
		for done := false; !done; {
			var err error
			if done, err = tx.DeletePlanned(id, pos.Top, limit); err != nil {
				return err
			}
		}
		m.drop(func(p place) bool { return p.id == id && p.pos.Top == pos.Top && p.pos.Sub > 0 })
	case 8:
		if limit > 15 {
			delete(m.checkpoints, at)
			return tx.DeleteCheckpoint(id, pos)
		}
		m.checkpoints[at] = fmt.Sprint(limit)
		return tx.PutCheckpoint(id, pos, []byte(fmt.Sprint(limit)))
	case 9:
		if m.outputs[at] == nil {
			m.outputs[at] = map[string]string{}
		}
		m.outputs[at][name] = fmt.Sprint(limit)
		return tx.PutOutput(id, pos, name, json.RawMessage(fmt.Sprint(limit)))
	case 10:
		delete(m.outputs, at)
		return tx.DeleteOutputs(id, pos)
	default:
		return m.schedules.step(t, tx, name)
	}
	return nil
}

// compare reads all of the store, by its listings, and compares.
func (m *model) compare(tx *store.Tx) error {
	got := newModel()
	got.numbers, got.last, got.versions = m.numbers, m.last, m.versions // these are compared below, or not listed
	var errs []error
	fail := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	fail(tx.Tasks("", func(t task.Task) bool { got.tasks[t.Name] = t; return true }))
	var order, byTask, active, activeByTask []task.RunID
	fail(tx.Runs("", 0, func(r task.Run) bool { got.runs[r.ID] = r; order = append(order, r.ID); return true }))
	for _, name := range modelNames {
		fail(tx.Runs(name, 0, func(r task.Run) bool { byTask = append(byTask, r.ID); return true }))
		fail(tx.AliveRuns(name, func(r task.Run) bool {
			if r.Task != name {
				fail(fmt.Errorf("%s is alive as a run of %s", r.Ref(), name))
			}
			activeByTask = append(activeByTask, r.ID)
			return true
		}))
		for v := range uint64(40) {
			_, err := tx.Definition(name, v)
			if want := m.definitions()[fmt.Sprint(name, " ", v)]; want != (err == nil) {
				fail(fmt.Errorf("definition %s %d: kept %t, want %t", name, v, err == nil, want))
			}
		}
		for id := range m.last + 1 {
			v := task.PrivateVersion(id, 0)
			def, err := tx.Definition(name, v)
			if want := m.definitions()[fmt.Sprint(name, " ", v)]; want != (err == nil) || want && def.Description != "of one run" {
				fail(fmt.Errorf("definition %s of run id %d: kept %t, want %t", name, id, err == nil, want))
			}
		}
	}
	fail(tx.ActiveRuns(func(r task.Run) bool { active = append(active, r.ID); return true }))
	want := slices.Sorted(maps.Keys(m.runs))
	alive := slices.DeleteFunc(slices.Clone(want), func(id task.RunID) bool { return !m.runs[id].Status.Alive() })
	slices.Sort(byTask)
	slices.Sort(activeByTask)
	slices.Reverse(order)
	if !slices.Equal(order, want) || !slices.Equal(byTask, want) || !slices.Equal(active, alive) || !slices.Equal(activeByTask, alive) {
		fail(fmt.Errorf("runs %v, by task %v, active %v, by task %v; want %v, active %v", order, byTask, active, activeByTask, want, alive))
	}
	for id := range m.last + 2 {
		fail(tx.Steps(id, task.Position{}, func(s task.RunStep) bool {
			got.steps[place{id, s.Position}] = s
			data, err := tx.Checkpoint(id, s.Position)
			if fail(err); string(data) != m.checkpoints[place{id, s.Position}] {
				fail(fmt.Errorf("checkpoint %d %s is %q", id, s.Position, data))
			}
			return true
		}))
		fail(tx.Outputs(id, task.Position{}, func(pos task.Position, name string, v json.RawMessage) bool {
			at := place{id, pos}
			if got.outputs[at] == nil {
				got.outputs[at] = map[string]string{}
			}
			got.outputs[at][name] = string(v)
			return true
		}))
	}
	got.checkpoints = m.checkpoints
	fail(m.compareLists(tx))
	fail(m.schedules.compare(tx))
	got.schedules = m.schedules // compared already
	if diff := cmp.Diff(m, got, cmp.AllowUnexported(model{}, place{}, scheduleModel{}, spot{})); diff != "" {
		fail(errors.New(diff))
	}
	return errors.Join(errs...)
}

func TestStoreBehavesLikeMaps(t *testing.T) {
	abort := errors.New("abort")
	rapid.Check(t, func(rt *rapid.T) {
		o := options(t.TempDir())
		s, err := store.Open(o)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		m := newModel()
		for range rapid.IntRange(1, 12).Draw(rt, "transactions") {
			next, keep := m.clone(), rapid.IntRange(0, 4).Draw(rt, "keep") > 0
			var draw any // rapid ends a draw by a panic, which is not the store's to keep
			err := s.Update(context.Background(), func(tx *store.Tx) error {
				defer func() {
					if draw = recover(); draw != nil {
						panic(draw)
					}
				}()
				for range rapid.IntRange(1, 15).Draw(rt, "steps") {
					if err := next.step(rt, tx); err != nil {
						return err
					}
				}
				if err := next.compare(tx); err != nil { // it sees its own writes
					return err
				}
				if !keep {
					return abort
				}
				return nil
			})
			if draw != nil {
				panic(draw)
			}
			if keep {
				m = next
			} else if err == abort {
				err = nil
			}
			if err != nil {
				rt.Fatal(err)
			}
			if err := s.View(m.compare); err != nil {
				rt.Fatal(err)
			}
			// Indexes and records agree, whatever is listed. (Steps of no run are the
			// model's own.)
			_, err = s.Scrub(context.Background(), func(err error) bool {
				if c, ok := errors.AsType[*store.CorruptError](err); !ok || c.Bucket != "steps" {
					rt.Fatal(err)
				}
				return true
			})
			if err != nil {
				rt.Fatal(err)
			}
		}
	})
}
