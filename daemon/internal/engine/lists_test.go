package engine_test

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// lists is what lists are made of, held plainly.
type lists struct {
	now     time.Time
	tasks   []task.Task
	cursors []task.Cursor
	runs    []task.Run // in the order of ids
}

func drawLists(t *rapid.T, now time.Time) *lists {
	m := &lists{now: now}
	minute := func(label string) time.Time {
		return now.Add(time.Duration(rapid.IntRange(-9, 9).Draw(t, label)) * time.Minute)
	}
	users := rapid.SampledFrom([]string{"", "ann", "bob", "@shop"})
	names := rapid.Permutation([]string{"a", "a-b", "a.b", "ab", "b", "backup", "backup-weekly", "ü", "z9"}).Draw(t, "names")
	names = names[:rapid.IntRange(0, len(names)).Draw(t, "tasks")]
	for _, name := range names {
		one := def(name, step("s", 0))
		if rapid.IntRange(0, 4).Draw(t, "draft") == 0 {
			one.Steps = nil
		}
		one.Version, one.CreatedBy, one.CreatedAt, one.UpdatedAt = 1, users.Draw(t, "by"), minute("created"), minute("updated")
		one.Disabled = rapid.IntRange(0, 4).Draw(t, "disabled") == 0
		if who := users.Draw(t, "starter"); who != "" {
			one.Starter = []string{"cem", who}
		}
		switch rapid.IntRange(0, 5).Draw(t, "pause") {
		case 0:
			one.Pause = &task.Pause{}
		case 1, 2:
			one.Pause = &task.Pause{Until: minute("until")}
		}
		for _, schedule := range []string{"nightly", "hourly", task.ExpectName} {
			if rapid.Bool().Draw(t, schedule) {
				continue
			}
			if schedule != task.ExpectName {
				one.Schedules = append(one.Schedules, task.Schedule{Name: schedule, Cron: "@daily"})
			}
			c := task.Cursor{Task: name, Schedule: schedule, Timing: "x"}
			if rapid.IntRange(0, 3).Draw(t, "due") > 0 {
				c.Due = minute("due")
			}
			m.cursors = append(m.cursors, c)
		}
		m.tasks = append(m.tasks, one)
	}
	names = append(names, "gone")
	for id := range rapid.IntRange(0, 40).Draw(t, "runs") {
		name := rapid.SampledFrom(names).Draw(t, "of")
		run := task.Run{ID: task.RunID(id + 1), Task: name, Number: 1, DefinitionVersion: 1,
			Status: rapid.SampledFrom(task.RunStatuses[:]).Draw(t, "status"), Trigger: rapid.SampledFrom(task.Triggers[:]).Draw(t, "trigger"),
			StartedBy: users.Draw(t, "started by"), Schedule: rapid.SampledFrom([]string{"", "nightly"}).Draw(t, "schedule"),
			Batch: rapid.SampledFrom([]string{"", "due/1"}).Draw(t, "batch"), CreatedAt: minute("made")}
		if run.Status != task.RunQueued && rapid.Bool().Draw(t, "started") {
			run.StartedAt = minute("began")
		}
		if !run.Status.Alive() && rapid.Bool().Draw(t, "ended") {
			run.EndedAt = minute("ended at")
		}
		for _, old := range m.runs {
			if old.Task == name {
				run.Number = old.Number + 1
			}
		}
		m.runs = append(m.runs, run)
	}
	return m
}

func (m *lists) put(tx *store.Tx) error {
	var errs []error
	for _, one := range m.tasks {
		errs = append(errs, tx.PutTask(one))
	}
	for _, c := range m.cursors {
		errs = append(errs, tx.PutCursor(c))
	}
	for _, run := range m.runs {
		errs = append(errs, tx.PutRun(run))
	}
	return errors.Join(errs...)
}

func (m *lists) last(name string) (last task.Run) {
	for _, run := range m.runs {
		if run.Task == name && !run.Cause().Hook() {
			last = run
		}
	}
	return last
}

// next is when the task's schedules make the next run, as far as a list knows.
func (m *lists) next(t *task.Task) (next time.Time) {
	held := false
	for _, c := range m.cursors {
		switch {
		case c.Task != t.Name || c.Schedule == task.ExpectName || c.Due.IsZero():
		case t.Held(c.Due):
			held = true
		case next.IsZero() || c.Due.Before(next):
			next = c.Due
		}
	}
	if next.IsZero() && held && t.Pause != nil && !t.Disabled && !t.Draft() {
		return t.Pause.Until
	}
	return next
}

func (m *lists) selects(q engine.TaskQuery, t *task.Task) bool {
	s := task.Summarise(t)
	last := m.last(t.Name)
	name := strings.Contains(t.Name, q.Name)
	if strings.ContainsAny(q.Name, "*?") {
		name, _ = path.Match(q.Name, t.Name)
	}
	alive := slices.ContainsFunc(m.runs, func(r task.Run) bool { return r.Task == t.Name && string(r.Status) == q.Status })
	schedule := q.Schedule == "any" && len(t.Schedules) > 0 || q.Schedule == "none" && len(t.Schedules) == 0 ||
		slices.ContainsFunc(t.Schedules, func(s task.Schedule) bool { return s.Name == q.Schedule })
	return name && (q.Status == "" || alive || string(s.Status(m.now)) == q.Status) &&
		(q.CreatedBy == "" || q.CreatedBy == t.CreatedBy) && (q.Starter == "" || slices.Contains(t.Starter, q.Starter)) &&
		(q.Schedule == "" || schedule) &&
		(q.Result == "" || q.Result == string(last.Status) || q.Result == "never" && last.ID == 0)
}

// tasksBy is the whole list, sorted plainly.
func (m *lists) tasksBy(q engine.TaskQuery) (names []string) {
	var list []task.Task
	for _, t := range m.tasks {
		if m.selects(q, &t) {
			list = append(list, t)
		}
	}
	by, down := strings.CutPrefix(q.Sort, "-")
	at := func(t task.Task) time.Time {
		switch last := m.last(t.Name); by {
		case "created":
			return t.CreatedAt
		case "updated":
			return t.UpdatedAt
		case "last_run":
			return cmp.Or(last.EndedAt, last.StartedAt, last.CreatedAt)
		case "next":
			return m.next(&t)
		}
		return time.Time{}
	}
	slices.SortFunc(list, func(a, b task.Task) int { return cmp.Compare(a.Name, b.Name) })
	if by == "" || by == "name" {
		if down {
			slices.Reverse(list)
		}
	} else {
		var with, without []task.Task
		for _, t := range list {
			if at(t).IsZero() {
				without = append(without, t)
			} else {
				with = append(with, t)
			}
		}
		slices.SortStableFunc(with, func(a, b task.Task) int {
			if down {
				a, b = b, a
			}
			return at(a).Compare(at(b))
		})
		list = append(with, without...)
	}
	for _, t := range list {
		names = append(names, t.Name)
	}
	return names
}

func (m *lists) runsBy(q engine.RunQuery) (ids []task.RunID) {
	for _, r := range slices.Backward(m.runs) {
		status := q.Status == "" || q.Status == string(r.Status) || q.Status == "alive" && r.Status.Alive() || q.Status == "ended" && !r.Status.Alive()
		if status && (q.Task == "" || q.Task == r.Task) && (q.Trigger == "" || q.Trigger == string(r.Cause())) &&
			(q.StartedBy == "" || q.StartedBy == r.StartedBy) && (q.Schedule == "" || q.Schedule == r.Schedule) &&
			(q.Batch == "" || q.Batch == r.Batch) && !r.CreatedAt.Before(q.Since) && (q.Until.IsZero() || r.CreatedAt.Before(q.Until)) {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// choose draws one of the words, or mostly none.
func choose[T ~string](t *rapid.T, label string, all ...T) string {
	if rapid.IntRange(0, 2).Draw(t, label+" or not") > 0 {
		return ""
	}
	return string(rapid.SampledFrom(all).Draw(t, label))
}

func drawTaskQuery(t *rapid.T) engine.TaskQuery {
	return engine.TaskQuery{
		Name:      choose(t, "name", "a", "b", "*", "a?b", "?", "*a*k*", "back*", "none"),
		Status:    choose(t, "status", "draft", "disabled", "paused", "scheduled", "ready", "running", "queued"),
		CreatedBy: choose(t, "created by", "ann", "bob"), Starter: choose(t, "starter", "cem", "@shop", "ann"),
		Schedule: choose(t, "schedule", "any", "none", "nightly"), Result: choose(t, "result", "never", "completed", "failed", "queued"),
		Sort: rapid.SampledFrom([]string{"", "name", "-name", "created", "-created", "updated", "-updated", "last_run", "-last_run", "next", "-next"}).Draw(t, "sort"),
	}
}

func drawRunQuery(t *rapid.T, now time.Time) engine.RunQuery {
	q := engine.RunQuery{
		Task:    choose(t, "task", "a", "a-b", "backup", "backup-weekly", "gone", "none"),
		Status:  choose(t, "status", append(statusWords(), "alive", "ended")...),
		Trigger: choose(t, "trigger", task.Triggers[:]...), StartedBy: choose(t, "started by", "ann"),
		Schedule: choose(t, "schedule", "nightly"), Batch: choose(t, "batch", "due/1"),
	}
	if rapid.Bool().Draw(t, "since or not") {
		q.Since = now.Add(time.Duration(rapid.IntRange(-10, 10).Draw(t, "since")) * time.Minute)
	}
	if rapid.Bool().Draw(t, "until or not") {
		q.Until = now.Add(time.Duration(rapid.IntRange(-10, 10).Draw(t, "until")) * time.Minute)
	}
	return q
}

func statusWords() (words []string) {
	for _, s := range task.RunStatuses {
		words = append(words, string(s))
	}
	return words
}

// The pages of a list, put together, are what a plain list of all has, whatever
// is filtered and in whatever order.
func TestListsAreWhatIsThere(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := makeWorld(t, t.TempDir())
		defer w.end()
		m := drawLists(rt, w.clock.Now())
		if err := w.db.Store.Update(t.Context(), m.put); err != nil {
			rt.Fatal(err)
		}
		for range 12 {
			m.checkTasks(rt, w, drawTaskQuery(rt), rapid.IntRange(1, 5).Draw(rt, "limit"))
			m.checkRuns(rt, w, drawRunQuery(rt, m.now), rapid.IntRange(1, 12).Draw(rt, "limit"))
		}
	})
}

func (m *lists) checkTasks(rt *rapid.T, w *world, q engine.TaskQuery, limit int) {
	want := m.tasksBy(q)
	var got []string
	q.Limit = limit
	for {
		page, err := w.e.ListTasks(q)
		if err != nil || page.Total != len(want) || len(page.Items) > limit {
			rt.Fatalf("%+v: a page of %d, in all %d of %d, %v", q, len(page.Items), page.Total, len(want), err)
		}
		for _, item := range page.Items {
			got = append(got, item.Name)
			if last := m.last(item.Name); last.ID == 0 && item.Last != nil || last.ID > 0 && (item.Last == nil || item.Last.ID != last.ID) {
				rt.Fatalf("%+v: the newest run of %s is %d, not %+v", q, item.Name, last.ID, item.Last)
			}
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		rt.Fatalf("%+v: got %q, want %q", q, got, want)
	}
}

func (m *lists) checkRuns(rt *rapid.T, w *world, q engine.RunQuery, limit int) {
	want := m.runsBy(q)
	var got []task.RunID
	q.Limit = limit
	for {
		page, next, err := w.e.ListRuns(q)
		if err != nil || len(page) > limit {
			rt.Fatalf("%+v: a page of %d, %v", q, len(page), err)
		}
		for _, run := range page {
			got = append(got, run.ID)
		}
		if q.Before = next; next == 0 {
			break
		}
	}
	if !slices.Equal(got, want) {
		rt.Fatalf("%+v: got %v, want %v", q, got, want)
	}
}

// Who goes on from a page finds neither a task twice nor one left out, whatever
// has come and gone before that place.
func TestAPageGoesOnWhereTheOneBeforeEnded(t *testing.T) {
	w := newWorld(t)
	put := func(names ...string) {
		t.Helper()
		for i, name := range names {
			one := def(name, step("s", 0))
			one.Version, one.CreatedAt = 1, w.clock.Now().Add(time.Duration(i)*time.Second)
			if err := w.db.Store.Update(t.Context(), func(tx *store.Tx) error { return tx.PutTask(one) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	put("b", "c", "d", "e")
	for _, sort := range []string{"name", "created", "last_run"} {
		q := engine.TaskQuery{Sort: sort, Limit: 2}
		page, err := w.e.ListTasks(q)
		if err != nil || len(page.Items) != 2 {
			t.Fatal(page, err)
		}
		if err := w.db.Store.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteTask("c") }); err != nil {
			t.Fatal(err)
		}
		put("a")
		q.After = page.Next
		page, err = w.e.ListTasks(q)
		if err != nil || len(page.Items) != 2 || page.Items[0].Name != "d" || page.Items[1].Name != "e" || page.Next != "" {
			t.Errorf("by %s it goes on with %+v (%v)", sort, page, err)
		}
		if err := w.db.Store.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteTask("a") }); err != nil {
			t.Fatal(err)
		}
		put("b", "c", "d", "e")
	}
}

func TestListsRefuseWordsThatTheyDoNotKnow(t *testing.T) {
	w := newWorld(t)
	for _, q := range []engine.TaskQuery{{Status: "asleep"}, {Result: "good"}, {Sort: "size"}, {Sort: "--name"}, {After: "x y"}, {After: "bm9uZQ"}} {
		if _, err := w.e.ListTasks(q); !errors.Is(err, task.ErrInvalid) {
			t.Errorf("%+v: %v", q, err)
		}
	}
	for _, q := range []engine.RunQuery{{Status: "asleep"}, {Trigger: "wind"}} {
		_, _, err := w.e.ListRuns(q)
		if !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), "it is one of: ") {
			t.Errorf("%+v: %v", q, err)
		}
	}
	// A place belongs to its order.
	w.apply(def("a", step("s", 0)), def("b", step("s", 0)))
	page, err := w.e.ListTasks(engine.TaskQuery{Limit: 1})
	if err != nil || page.Next == "" {
		t.Fatal(page, err)
	}
	if _, err := w.e.ListTasks(engine.TaskQuery{Sort: "-name", After: page.Next, Limit: 1}); !errors.Is(err, task.ErrInvalid) {
		t.Errorf("the place of another order: %v", err)
	}
}

// A page of a filter that hardly any run passes is short rather than slow.
func TestAPageOfRunsReadsSoManyAtMost(t *testing.T) {
	w := newWorld(t)
	const all = 5000
	err := w.db.Store.Update(t.Context(), func(tx *store.Tx) error {
		for id := task.RunID(1); id <= all; id++ {
			run := task.Run{ID: id, Task: "t", Number: uint64(id), Status: task.RunCompleted, CreatedAt: w.clock.Now().Add(time.Duration(id) * time.Second)}
			if id == 10 {
				run.StartedBy = "ann"
			}
			if err := tx.PutRun(run); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	q := engine.RunQuery{StartedBy: "ann", Limit: 1}
	var pages []string
	for {
		page, next, err := w.e.ListRuns(q)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, fmt.Sprint(len(page), " ", next))
		if q.Before = next; next == 0 {
			break
		}
	}
	if got := strings.Join(pages, ", "); got != "0 3001, 0 1001, 1 10, 0 0" {
		t.Errorf("the pages are %s", got)
	}
	// A span of time is found without reading what is outside.
	q = engine.RunQuery{Since: w.clock.Now().Add(9 * time.Second), Until: w.clock.Now().Add(12 * time.Second), Limit: 5}
	page, next, err := w.e.ListRuns(q)
	if err != nil || len(page) != 3 || page[0].ID != 11 || next != 0 {
		t.Errorf("the span has %v and goes on at %d (%v)", page, next, err)
	}
}

func BenchmarkListTasks(b *testing.B) {
	w := newWorld(b)
	const tasks = 10_000
	err := w.db.Store.Update(b.Context(), func(tx *store.Tx) error {
		for i := range tasks {
			name := fmt.Sprintf("task-%05d", i*7919%tasks)
			one := def(name, step("s", 0))
			one.Version, one.CreatedBy, one.Source, one.CreatedAt = 1, "ann", "/etc/stepd/tasks.d/"+name+".yaml", w.clock.Now().Add(time.Duration(i)*time.Second)
			one.Schedules = []task.Schedule{{Name: "nightly", Cron: "@daily"}}
			c := task.Cursor{Task: name, Schedule: "nightly", Timing: "x", Due: w.clock.Now().Add(time.Duration(i) * time.Minute)}
			run := task.Run{ID: task.RunID(i + 1), Task: name, Number: 1, Status: task.RunCompleted, CreatedAt: one.CreatedAt}
			if err := errors.Join(tx.PutTask(one), tx.PutCursor(c), tx.PutRun(run)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, sort := range []string{"name", "-last_run", "next"} {
		b.Run(sort, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if page, err := w.e.ListTasks(engine.TaskQuery{Sort: sort, Limit: 50}); err != nil || page.Total != tasks {
					b.Fatal(page.Total, err)
				}
			}
		})
	}
}
