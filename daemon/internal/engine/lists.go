package engine

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/task"
)

// TaskQuery selects tasks. Empty fields select all.
type TaskQuery struct {
	Name      string // part of the name; with * or ? a pattern for the whole of it
	Status    string // a task.TaskStatus; or running, queued: it has such a run
	CreatedBy string
	Starter   string
	Schedule  string // name of a schedule, or "any", "none"
	Result    string // status of its newest run, or "never"

	// Sort is name (default), created, updated, last_run or next; with a dash
	// before it, descending. Tasks without such a time come last either way.
	Sort  string
	After string // TaskPage.Next of the page before
	Limit int    // at least 1
}

// TaskPage is a part of a list of tasks.
type TaskPage struct {
	Items []TaskItem
	Next  string // where the rest begins; empty: there is none
	Total int    // of all pages, now
}

// TaskItem is a task with its newest run, hooks apart.
type TaskItem struct {
	task.Task
	Last *RunView // nil: there is none
}

// ListTasks answers a page. It is of one state of the store, and reads of each
// task a summary of some bytes, of those of the page all. Of one that is damaged
// it has what the summary says. A word that is not known is task.ErrInvalid.
func (e *Engine) ListTasks(q TaskQuery) (page TaskPage, err error) {
	list, err := newTaskList(q, e.Clock.Now())
	if err != nil {
		return page, err
	}
	err = e.Store.View(func(rd Reader) error {
		page = TaskPage{}
		if err := e.fill(rd, list); err != nil {
			return err
		}
		page.Total = len(list.rows)
		rows := list.page(q.Limit)
		for _, row := range rows {
			item, err := e.item(rd, row)
			if err != nil {
				return err
			}
			page.Items = append(page.Items, item)
		}
		if len(rows) > 0 && list.more {
			page.Next = list.place(rows[len(rows)-1])
		}
		return nil
	})
	for i, item := range page.Items {
		if item.Last != nil {
			view := e.live(item.Last.Run)
			page.Items[i].Last = &view
		}
	}
	return page, err
}

// fill gives the list its rows.
func (e *Engine) fill(rd Reader, list *taskList) error {
	list.rows, list.alive = nil, nil
	if list.byRun() {
		list.alive = map[string]bool{}
		err := rd.AliveTasks(func(name string, status task.RunStatus) bool {
			if string(status) == list.Status {
				list.alive[name] = true
			}
			return true
		})
		if err := e.legible(err); err != nil {
			return err
		}
	}
	err := rd.Summaries(func(s task.Summary) bool {
		if list.selects(&s) {
			list.add(&s)
		}
		return true
	})
	if err := e.legible(err); err != nil {
		return err
	}
	if list.by == sortNext {
		if err := e.legible(list.dueTimes(rd)); err != nil {
			return err
		}
	}
	list.sort()
	return nil
}

// item reads what the page has of the task.
func (e *Engine) item(rd Reader, row taskRow) (item TaskItem, err error) {
	item.Task, err = rd.Task(row.Name)
	if err != nil {
		if err := e.legible(err); err != nil {
			return item, err
		}
		item.Task = row.known()
	}
	if row.LastRun == 0 {
		return item, nil
	}
	run, err := rd.Run(row.LastRun)
	if err != nil {
		if err := e.legible(err); err != nil {
			return item, err
		}
		run = task.Run{ID: row.LastRun, Task: row.Name, Number: row.LastNumber, Status: row.LastStatus}
	}
	item.Last = &RunView{Run: run}
	return item, nil
}

// legible lets a list be without what is damaged, and says so in the log.
func (e *Engine) legible(err error) error {
	if err == nil || errors.Is(err, task.ErrStoreFailed) {
		return err
	}
	e.Logger.Warn("a list is not whole", "error", err)
	return nil
}

// Words that tasks are sorted by.
const (
	sortName    = "name"
	sortCreated = "created"
	sortUpdated = "updated"
	sortLastRun = "last_run"
	sortNext    = "next"
)

// Words of filters beside those of statuses.
const (
	anySchedule = "any"
	noSchedule  = "none"
	neverRan    = "never"
)

// taskList is a list of tasks in the making.
type taskList struct {
	TaskQuery
	by    string
	down  bool
	now   time.Time
	after *taskRow // nil: from the start
	alive map[string]bool

	rows []taskRow
	more bool
}

// taskRow is what a task is sorted by, and what is read of it later.
type taskRow struct {
	task.Summary
	at time.Time // what it is sorted by, but for the name; zero: it has none
}

func newTaskList(q TaskQuery, now time.Time) (*taskList, error) {
	list := &taskList{TaskQuery: q, now: now}
	by, down := strings.CutPrefix(cmp.Or(q.Sort, sortName), "-")
	list.by, list.down = by, down
	statuses := append(words(task.TaskStatuses[:]), string(task.RunQueued), string(task.RunRunning))
	results := append(words(task.RunStatuses[:]), neverRan)
	err := cmp.Or(
		known("sort", by, []string{sortName, sortCreated, sortUpdated, sortLastRun, sortNext}),
		known("status", q.Status, statuses), known("result", q.Result, results))
	if err == nil && q.After != "" {
		list.after, err = readPlace(q.After, list.order())
	}
	return list, err
}

func words[T ~string](list []T) (all []string) {
	for _, one := range list {
		all = append(all, string(one))
	}
	return all
}

// known refuses a word that is none of those; empty is always known.
func known(what, word string, all []string) error {
	if word == "" || slices.Contains(all, word) {
		return nil
	}
	return fmt.Errorf("%w: %s %q is not known; it is one of: %s", task.ErrInvalid, what, word, strings.Join(all, ", "))
}

// byRun reports whether tasks are selected by their runs that are alive.
func (l *taskList) byRun() bool {
	return l.Status == string(task.RunQueued) || l.Status == string(task.RunRunning)
}

func (l *taskList) selects(s *task.Summary) bool {
	switch {
	case l.Name != "" && !nameMatches(l.Name, s.Name),
		l.CreatedBy != "" && l.CreatedBy != s.CreatedBy,
		l.Starter != "" && !slices.Contains(s.Starter, l.Starter),
		l.byRun() && !l.alive[s.Name],
		l.Status != "" && !l.byRun() && l.Status != string(s.Status(l.now)):
		return false
	}
	switch l.Schedule {
	case "":
	case anySchedule:
		if len(s.Schedules) == 0 {
			return false
		}
	case noSchedule:
		if len(s.Schedules) > 0 {
			return false
		}
	default:
		if !slices.Contains(s.Schedules, l.Schedule) {
			return false
		}
	}
	switch l.Result {
	case "":
		return true
	case neverRan:
		return s.LastRun == 0
	}
	return l.Result == string(s.LastStatus)
}

func (l *taskList) add(s *task.Summary) {
	row := taskRow{Summary: *s}
	switch l.by {
	case sortCreated:
		row.at = s.CreatedAt
	case sortUpdated:
		row.at = s.UpdatedAt
	case sortLastRun:
		row.at = s.LastAt
	}
	l.rows = append(l.rows, row)
}

// dueTimes gives each row the time at which its schedules make the next run.
// Where a pause ends after all of these it is the end of the pause, which is not
// quite so.
func (l *taskList) dueTimes(rd Reader) error {
	place := make(map[string]*taskRow, len(l.rows))
	for i := range l.rows {
		if row := &l.rows[i]; !row.Disabled && !(row.Paused && row.PauseEnds.IsZero()) {
			place[row.Name] = row
		}
	}
	held := map[string]bool{}
	err := rd.DueOrder(func(due time.Time, name string) bool {
		row := place[name]
		switch {
		case row == nil || !row.at.IsZero():
		case row.Paused && due.Before(row.PauseEnds):
			held[name] = true
		default:
			row.at = due
		}
		return true
	})
	for name := range held {
		if row := place[name]; row.at.IsZero() {
			row.at = row.PauseEnds
		}
	}
	return err
}

func (l *taskList) sort() {
	if l.by != sortName || l.down { // by name they are already
		slices.SortFunc(l.rows, func(a, b taskRow) int { return l.compare(&a, &b) })
	}
}

func (l *taskList) compare(a, b *taskRow) int {
	name := strings.Compare(a.Name, b.Name)
	if l.by == sortName {
		if l.down {
			return -name
		}
		return name
	}
	switch {
	case a.at.IsZero() && b.at.IsZero():
		return name
	case a.at.IsZero():
		return 1
	case b.at.IsZero():
		return -1
	}
	at := a.at.Compare(b.at)
	if l.down {
		at = -at
	}
	return cmp.Or(at, name)
}

// page is the rows of the page, and whether there are more behind them.
func (l *taskList) page(limit int) []taskRow {
	from := 0
	if l.after != nil {
		var found bool
		from, found = slices.BinarySearchFunc(l.rows, l.after, func(row taskRow, after *taskRow) int { return l.compare(&row, after) })
		if found {
			from++
		}
	}
	to := min(len(l.rows), from+max(1, limit))
	l.more = to < len(l.rows)
	return l.rows[from:to]
}

// known is what the summary has of a task that cannot be read.
func (row *taskRow) known() task.Task {
	t := task.Task{Name: row.Name, CreatedBy: row.CreatedBy, Source: row.Source, Starter: row.Starter,
		Disabled: row.Disabled, Version: row.Version, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt}
	if row.Paused {
		t.Pause = &task.Pause{Until: row.PauseEnds}
	}
	return t
}
