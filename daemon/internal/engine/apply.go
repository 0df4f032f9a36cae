package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepd/stepd/daemon/internal/task"
)

// ApplyWish is what task files say that tasks are to be.
type ApplyWish struct {
	// Tasks have the absolute path of their file as Source, or none.
	Tasks []task.Task
	By    string
	// DryRun: nothing is written, and what stands against it is no error.
	DryRun bool
	// Replace takes over what came from elsewhere.
	Replace bool
	// Gone reports whether a file is there no more: a task that came from it may
	// be taken over by another. Nil: none is. It is called in the transaction.
	Gone func(path string) bool
	// Prune lists, in a dry run, as deleted what came from files in these
	// directories and is not among Tasks. Only Delete deletes.
	Prune  []string
	Delete []TaskVersion
}

// TaskVersion is a task as it was at a version.
type TaskVersion struct {
	Task    string
	Version uint64
}

// Actions of Applied.
const (
	ActionCreated   = "created"
	ActionChanged   = "changed"
	ActionUnchanged = "unchanged"
	ActionDeleted   = "deleted"
	ActionConflict  = "conflict"
)

// Applied says what became of a task that was applied.
type Applied struct {
	Task    task.Task // as it is now, or was when it was deleted
	Action  string
	Changes []task.Change
	Reason  string // of a conflict
}

// DriftError says which tasks stand against an apply, because they are not what
// was applied before. It is a task.ErrConflict.
type DriftError struct{ Tasks []Applied }

func (e *DriftError) Error() string {
	var names []string
	for _, one := range e.Tasks {
		names = append(names, one.Task.Name)
	}
	return fmt.Sprintf("%s: it would be replaced, and is not what was applied before", strings.Join(names, ", "))
}

func (e *DriftError) Unwrap() error { return task.ErrConflict }

// Apply makes the tasks what is given and deletes what is listed, all of it in one
// transaction, or nothing. A task that is there is changed, with its history kept;
// runs that are alive keep what they are pinned to. A task that is disabled or
// paused stays so (SetDisabled and SetPause change that).
//
// A task that came from another file, was made by Create, or was edited by Change
// since it was applied, is a conflict if anything in it would change, unless
// Replace says so: a *DriftError. A task that is to be deleted must be at its
// version and have no run that is alive.
//
// The results are those of Tasks in their order, and then of what is deleted.
func (e *Engine) Apply(ctx context.Context, w ApplyWish) ([]Applied, error) {
	if err := e.Store.Room(); err != nil && !w.DryRun {
		return nil, err
	}
	var results []Applied
	err := e.change(ctx, func(tx Tx, put putTask) error {
		results = nil
		if w.DryRun {
			put = func(*task.Task, *task.Task) error { return nil }
		}
		for _, next := range w.Tasks {
			result, err := e.apply(tx, put, next, &w)
			if err != nil {
				return fmt.Errorf("task %s: %w", next.Name, err)
			}
			results = append(results, result)
		}
		deleted, err := e.applyDeletes(tx, put, &w)
		results = append(results, deleted...)
		if err == nil && !w.DryRun {
			err = drift(results)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, one := range results {
		if one.Action == ActionDeleted && !w.DryRun {
			e.strip(one.Task.Name, 0)
		}
	}
	return results, nil
}

func drift(results []Applied) error {
	against := slices.DeleteFunc(slices.Clone(results), func(a Applied) bool { return a.Action != ActionConflict })
	if len(against) == 0 {
		return nil
	}
	return &DriftError{against}
}

func (e *Engine) apply(tx Tx, put putTask, next task.Task, w *ApplyWish) (Applied, error) {
	old, err := tx.Task(next.Name)
	if errors.Is(err, task.ErrNotFound) {
		made, err := e.newcomer(tx, next, w.By)
		if err != nil {
			return Applied{}, err
		}
		return Applied{Task: made, Action: ActionCreated}, put(nil, &made)
	}
	if err != nil {
		return Applied{}, err
	}
	source := next.Source
	from := old.Source
	if from != "" && from != source && w.Gone != nil && w.Gone(from) {
		from = "" // it was moved, or given another name
	}
	next.Disabled = next.Disabled || old.Disabled // somebody's decision, not the file's
	next = e.kept(&old, next)
	same, err := equal(old, next)
	if err != nil {
		return Applied{}, err
	}
	if same {
		return e.confirm(put, &old, from, source)
	}
	changes := e.diff(&old, &next)
	if reason := against(&old, from, source); reason != "" && !w.Replace {
		return Applied{Task: old, Action: ActionConflict, Changes: changes, Reason: reason}, nil
	}
	next.Version++
	next.UpdatedBy, next.UpdatedAt = w.By, e.Clock.Now()
	next.Source, next.Edited = source, false
	return Applied{Task: next, Action: ActionChanged, Changes: changes}, put(&old, &next)
}

// confirm is for a task that is what the file says, whatever it has been
// meanwhile. It is that file's from now on, unless it is another's that is there.
func (e *Engine) confirm(put putTask, old *task.Task, from, source string) (Applied, error) {
	now := *old
	if source != "" && (from == "" || from == source) {
		now.Source, now.Edited = source, false
	}
	result := Applied{Task: now, Action: ActionUnchanged}
	if now.Source == old.Source && now.Edited == old.Edited {
		return result, nil
	}
	return result, put(old, &now)
}

// against is why a file must not replace the task, which came from another, by
// itself, or "".
func against(old *task.Task, from, source string) string {
	switch {
	case from != "" && from != source:
		return "it comes from the file " + from
	case old.Edited && old.Source == "":
		if old.CreatedBy == "" {
			return "it was made without a file"
		}
		return "it was made by " + old.CreatedBy + " without a file"
	case old.Edited:
		return "it was changed otherwise since it was applied"
	}
	return ""
}

// applyDeletes deletes what is listed or, in a dry run, says what could be.
func (e *Engine) applyDeletes(tx Tx, put putTask, w *ApplyWish) (list []Applied, err error) {
	stays := make(map[string]bool, len(w.Tasks))
	for _, t := range w.Tasks {
		stays[t.Name] = true
	}
	for _, of := range w.Delete {
		if stays[of.Task] {
			return nil, fmt.Errorf("task %s is to be deleted and is in a file too: %w", of.Task, task.ErrInvalid)
		}
		old, err := e.current(tx, of.Task, of.Version)
		if errors.Is(err, task.ErrNotFound) {
			continue // somebody was faster
		}
		if err == nil {
			err = e.remove(tx, put, &old)
		}
		if err != nil {
			return nil, err
		}
		stays[of.Task] = true
		list = append(list, Applied{Task: old, Action: ActionDeleted})
	}
	if !w.DryRun || len(w.Prune) == 0 {
		return list, nil
	}
	var pruned []string
	err = tx.Summaries(func(s task.Summary) bool {
		if !stays[s.Name] && s.Source != "" && slices.ContainsFunc(w.Prune, func(dir string) bool { return within(dir, s.Source) }) {
			pruned = append(pruned, s.Name)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	for _, name := range pruned {
		old, err := tx.Task(name)
		if err != nil {
			return nil, err
		}
		one := Applied{Task: old, Action: ActionDeleted}
		if one.Reason, err = aliveRun(tx, name); err != nil {
			return nil, err
		}
		if one.Reason != "" {
			one.Action = ActionConflict
		}
		list = append(list, one)
	}
	return list, nil
}

// within reports whether the file lies in the directory, not in one below it.
func within(dir, file string) bool { return filepath.Dir(file) == filepath.Clean(dir) }
