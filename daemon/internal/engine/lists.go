package engine

import (
	"cmp"
	"errors"
	"fmt"
	"math"
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
			item, err := e.item(rd, row.name)
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
func (e *Engine) item(rd Reader, name string) (item TaskItem, err error) {
	s, err := rd.Summary(name)
	if err := e.legible(err); err != nil {
		return item, err
	}
	if item.Task, err = rd.Task(name); err != nil {
		if err := e.legible(err); err != nil {
			return item, err
		}
		item.Task = known(name, s)
	}
	if s.LastRun == 0 {
		return item, nil
	}
	run, err := rd.Run(s.LastRun)
	if err != nil {
		if err := e.legible(err); err != nil {
			return item, err
		}
		run = task.Run{ID: s.LastRun, Task: name, Number: s.LastNumber, Status: s.LastStatus}
	}
	item.Last = &RunView{Run: run}
	return item, nil
}

// known is what the summary has of a task that cannot be read.
func known(name string, s task.Summary) task.Task {
	t := task.Task{Name: name, CreatedBy: s.CreatedBy, Source: s.Source, Starter: s.Starter,
		Disabled: s.Disabled, Version: s.Version, CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt}
	if s.Paused {
		t.Pause = &task.Pause{Until: s.PauseEnds}
	}
	return t
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

// taskRow is what a task is sorted by. There may be very many.
type taskRow struct {
	name string
	at   int64 // nanoseconds; noTime where it has none, or is sorted by the name
	held int64 // until then its schedules make no runs; noTime: they do
}

// noTime and forever are no times that anything is sorted by.
const (
	noTime  = math.MinInt64
	forever = math.MaxInt64
)

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return noTime
	}
	return t.UnixNano()
}

func newTaskList(q TaskQuery, now time.Time) (*taskList, error) {
	list := &taskList{TaskQuery: q, now: now}
	by, down := strings.CutPrefix(cmp.Or(q.Sort, sortName), "-")
	list.by, list.down = by, down
	statuses := append(words(task.TaskStatuses[:]), string(task.RunQueued), string(task.RunRunning))
	results := append(words(task.RunStatuses[:]), neverRan)
	err := cmp.Or(
		oneOf("sort", by, []string{sortName, sortCreated, sortUpdated, sortLastRun, sortNext}),
		oneOf("status", q.Status, statuses), oneOf("result", q.Result, results))
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

// oneOf refuses a word that is none of those; empty is always known.
func oneOf(what, word string, all []string) error {
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
	row := taskRow{name: s.Name, at: noTime, held: noTime}
	switch l.by {
	case sortCreated:
		row.at = nanoseconds(s.CreatedAt)
	case sortUpdated:
		row.at = nanoseconds(s.UpdatedAt)
	case sortLastRun:
		row.at = nanoseconds(s.LastAt)
	case sortNext:
		switch {
		case s.Draft || s.Disabled || s.Paused && s.PauseEnds.IsZero():
			row.held = forever
		case s.Paused:
			row.held = nanoseconds(s.PauseEnds)
		}
	}
	l.rows = append(l.rows, row)
}

// dueTimes gives each row the time at which its schedules make the next run.
// Where a pause ends after all of these it is the end of the pause, which is not
// quite so.
func (l *taskList) dueTimes(rd Reader) error {
	place := make(map[string]*taskRow, len(l.rows))
	for i := range l.rows {
		if row := &l.rows[i]; row.held != forever {
			place[row.name] = row
		}
	}
	var waiting []*taskRow
	err := rd.DueOrder(func(due time.Time, name string) bool {
		switch row, at := place[name], nanoseconds(due); {
		case row == nil || row.at != noTime:
		case at < row.held:
			waiting = append(waiting, row)
		default:
			row.at = at
		}
		return true
	})
	for _, row := range waiting {
		if row.at == noTime {
			row.at = row.held
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
	name := strings.Compare(a.name, b.name)
	if l.by == sortName {
		if l.down {
			return -name
		}
		return name
	}
	at := cmp.Compare(a.at, b.at)
	switch {
	case at == 0:
		return name
	case a.at == noTime:
		return 1
	case b.at == noTime:
		return -1
	case l.down:
		return -at
	}
	return at
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
