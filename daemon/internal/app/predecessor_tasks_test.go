package app

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
)

func addTask(l *legacy) {
	made := l.makes(`{"name":"backup","description":"first","steps":[` + toldStep("one", "") + `]}`)
	l.wants("version", made.Version, 1)
	_, err := l.CreateTask(l.Context(), api.SaveRequest{Task: json.RawMessage(`{"name":"backup","description":"second","steps":[]}`)})
	l.refuses(err, api.CodeExists, "backup")
	now, err := l.Task(l.Context(), "backup")
	if err != nil {
		l.Fatal(err)
	}
	l.wants("the old one", fmt.Sprint(now.Description, " ", len(now.Steps), " ", now.Version), "first 1 1")
}

func updateTask(l *legacy) {
	made := l.makes(`{"name":"backup","description":"first","steps":[` + toldStep("one", "") + `]}`)
	saved, err := l.PatchTask(l.Context(), "backup", api.PatchRequest{Version: made.Version, Patch: json.RawMessage(`{"description":"second","max_execution_time":"1h"}`)})
	if err != nil {
		l.Fatal(err)
	}
	l.wants("saved", fmt.Sprint(saved.Task.Description, " ", saved.Task.MaxExecutionTime, " ", saved.Task.Version), "second 1h0m0s 2")
	if saved.Task.UpdatedBy == "" || saved.Task.CreatedAt.IsZero() || saved.Task.UpdatedAt.Before(saved.Task.CreatedAt) {
		l.Errorf("it has no trace of who and when: %+v", saved.Task)
	}
	_, err = l.PatchTask(l.Context(), "backup", api.PatchRequest{Version: made.Version, Patch: json.RawMessage(`{"description":"third"}`)})
	fault := l.refuses(err, api.CodeConflict)
	var paths []string
	for _, c := range fault.Changes {
		paths = append(paths, c.Path)
	}
	slices.Sort(paths)
	l.wants("what has changed meanwhile", fmt.Sprint(fault.Version, paths), "2 [description max_execution_time]")
}

func deleteTask(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", "") + `]}`)
	run := l.runs("backup")
	if err := l.DeleteTask(l.Context(), "backup", 0); err != nil {
		l.Fatal(err)
	}
	_, err := l.Task(l.Context(), "backup")
	l.refuses(err, api.CodeNotFound)
	l.wants("its run", l.detail(run.Ref).Status, "completed")
	l.makes(`{"name":"backup","steps":[` + toldStep("one", "") + `]}`)
	l.wants("the next run's number", l.runs("backup").Ref, "backup/2")
}

func getTask(l *legacy) {
	l.makes(`{"name":"backup","settings":{"say":"x"},"steps":[` + toldStep("one", "") + `]}`)
	run := l.runs("backup")
	got, err := l.Task(l.Context(), "backup")
	if err != nil {
		l.Fatal(err)
	}
	if got.LastRun == nil || got.LastRun.Ref != run.Ref || got.LastRun.Status != "completed" || got.LastRun.EndedAt == nil {
		l.Errorf("its last run is %+v", got.LastRun)
	}
	l.wants("what it is", fmt.Sprint(got.Name, " ", string(got.Settings), " ", len(got.Steps)), `backup {"say":"x"} 1`)
	_, err = l.Task(l.Context(), "bakcup")
	l.refuses(err, api.CodeNotFound)
}

func listTasks(l *legacy) {
	for _, name := range []string{"charlie", "alpha", "bravo", "backup", "draft"} {
		steps := toldStep("one", "")
		if name == "draft" {
			steps = ""
		}
		l.makes(fmt.Sprintf(`{"name":%q,"starter":["www-data"],"steps":[%s]}`, name, steps))
		l.clock.advance(time.Second)
	}
	list := func(q api.TaskQuery) string {
		l.Helper()
		var names []string
		total := 0
		for {
			page, err := l.Tasks(l.Context(), q)
			if err != nil {
				l.Fatal(err)
			}
			for _, one := range page.Items {
				names = append(names, one.Name)
			}
			if page.Total == nil {
				l.Fatalf("no total: %+v", page)
			}
			total = *page.Total
			if q.After = page.Next; q.After == "" {
				return fmt.Sprint(total, names)
			}
		}
	}
	l.wants("all, in pages of two", list(api.TaskQuery{Limit: 2}), "5 [alpha backup bravo charlie draft]")
	l.wants("newest first", list(api.TaskQuery{Sort: "-created", Limit: 2}), "5 [draft backup bravo alpha charlie]")
	l.wants("by name", list(api.TaskQuery{Name: "b*"}), "2 [backup bravo]")
	l.wants("part of the name", list(api.TaskQuery{Name: "ha"}), "2 [alpha charlie]")
	l.wants("drafts", list(api.TaskQuery{Status: "draft"}), "1 [draft]")
	l.wants("by starter", list(api.TaskQuery{Starter: "www-data", Status: "ready"}), "4 [alpha backup bravo charlie]")
	l.wants("of nobody", list(api.TaskQuery{CreatedBy: "nobody-at-all"}), "0 []")
	_, err := l.Tasks(l.Context(), api.TaskQuery{Sort: "colour"})
	l.refuses(err, api.CodeInvalid, "colour")
}

func (l *legacy) steps(name string) string {
	l.Helper()
	page, err := l.TaskSteps(l.Context(), name)
	if err != nil {
		l.Fatal(err)
	}
	var names []string
	for _, s := range page.Items {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

func addStep(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", "") + `]}`)
	for _, add := range []api.StepRequest{
		{Step: json.RawMessage(toldStep("three", ""))},
		{Step: json.RawMessage(toldStep("two", "")), Before: "three"},
		{Step: json.RawMessage(toldStep("and", "")), After: "one"},
	} {
		if _, err := l.AddStep(l.Context(), "backup", add); err != nil {
			l.Fatal(err)
		}
	}
	l.wants("steps", l.steps("backup"), "one and two three")
	_, err := l.AddStep(l.Context(), "backup", api.StepRequest{Step: json.RawMessage(toldStep("two", ""))})
	l.refuses(err, api.CodeInvalid)
	_, err = l.AddStep(l.Context(), "backup", api.StepRequest{Step: json.RawMessage(`{"name":"four","controller":"nothing"}`)})
	if fault := l.refuses(err, api.CodeInvalid); len(fault.Problems) == 0 || !strings.Contains(fault.Problems[0].Path, "steps") {
		l.Errorf("the fault has no place: %+v", fault)
	}
	l.wants("the run", l.runs("backup").Total, 4)
}

func updateStep(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", `,"settings":{"say":"a"},"retry":{"attempts":2}`) + `,` + toldStep("two", "") + `]}`)
	if _, err := l.PatchStep(l.Context(), "backup", "one", api.PatchRequest{Patch: json.RawMessage(`{"settings":{"say":"b"},"max_execution_time":"1m"}`)}); err != nil {
		l.Fatal(err)
	}
	got, err := l.TaskStep(l.Context(), "backup", "one")
	if err != nil {
		l.Fatal(err)
	}
	l.wants("the step", fmt.Sprint(string(got.Settings), " ", got.MaxExecutionTime, " ", got.RetryAttempts), `{"say":"b"} 1m0s 2`)
	_, err = l.PatchStep(l.Context(), "backup", "one", api.PatchRequest{Patch: json.RawMessage(`{"settings":{"say":[7]}}`)})
	l.refuses(err, api.CodeInvalid)
}

func orderSteps(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", "") + `,` + toldStep("two", "") + `,` + toldStep("three", "") + `]}`)
	if _, err := l.OrderSteps(l.Context(), "backup", api.OrderRequest{Steps: []string{"three", "one", "two"}}); err != nil {
		l.Fatal(err)
	}
	l.wants("steps", l.steps("backup"), "three one two")
	_, err := l.OrderSteps(l.Context(), "backup", api.OrderRequest{Steps: []string{"three", "one"}})
	l.refuses(err, api.CodeInvalid, "two")
}

func deleteStep(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", "") + `,` + toldStep("two", "") + `]}`)
	for _, step := range []string{"one", "two"} {
		if _, err := l.DeleteStep(l.Context(), "backup", step, 0); err != nil {
			l.Fatal(err)
		}
	}
	now, err := l.Task(l.Context(), "backup")
	if err != nil {
		l.Fatal(err)
	}
	l.wants("without steps", now.Status, "draft")
	_, err = l.Start(l.Context(), api.RunRequest{Task: "backup"})
	l.refuses(err, api.CodeState, "no steps")
	if _, err := l.AddStep(l.Context(), "backup", api.StepRequest{Step: json.RawMessage(toldStep("three", ""))}); err != nil {
		l.Fatal(err)
	}
	l.wants("with a step again", l.runs("backup").Status, "completed")
}

func getSteps(l *legacy) {
	l.makes(`{"name":"backup","steps":[` + toldStep("one", `,"settings":{"say":"a"}`) + `,` + toldStep("two", "") + `]}`)
	l.wants("steps", l.steps("backup"), "one two")
	_, err := l.TaskStep(l.Context(), "backup", "three")
	l.refuses(err, api.CodeNotFound, "three")
}

func statusDisabled(l *legacy) {
	l.makes(`{"name":"backup","disabled":true,"steps":[` + toldStep("one", "") + `]}`)
	now, err := l.Task(l.Context(), "backup")
	if err != nil {
		l.Fatal(err)
	}
	l.wants("the task", now.Status, "disabled")
	_, err = l.Start(l.Context(), api.RunRequest{Task: "backup"})
	l.refuses(err, api.CodeState, "disabled")
}

func statusReady(l *legacy) {
	l.wants("with steps", l.makes(`{"name":"backup","steps":[`+toldStep("one", "")+`]}`).Status, "ready")
	l.wants("without", l.makes(`{"name":"later"}`).Status, "draft")
}

func statusScheduled(l *legacy) {
	l.wants("the task", l.makes(`{"name":"backup","steps":[`+toldStep("one", "")+`],"schedule":{"cron":"@daily"}}`).Status, "scheduled")
	paused, err := l.Pause(l.Context(), "backup", api.PauseRequest{})
	if err != nil {
		l.Fatal(err)
	}
	l.wants("paused", paused.Status, "paused")
}

func starter(l *legacy) {
	made := l.makes(`{"name":"backup","starter":["www-data","@shop"],"steps":[` + toldStep("one", "") + `]}`)
	l.wants("starters", made.Starter, "[www-data @shop]")
	for _, tt := range []struct {
		who api.Caller
		may bool
	}{
		{api.Caller{Name: "www-data", Role: api.RoleNone}, true},
		{api.Caller{Name: "anna", Groups: []string{"shop"}, Role: api.RoleReader}, true},
		{api.Caller{Name: "bert", Groups: []string{"mail"}, Role: api.RoleRunner}, false},
		{api.Caller{Name: "root", Role: api.RoleAdmin}, true},
	} {
		l.wants(tt.who.Name+" may start it", tt.who.MayRun(made.Starter), tt.may)
	}
	l.wants("a runner may start what names nobody", api.Caller{Role: api.RoleRunner}.MayRun(nil), true)
	l.wants("a reader may not", api.Caller{Role: api.RoleReader}.MayRun(nil), false)
}

func createdBy(l *legacy) {
	who, err := l.WhoAmI(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	l.wants("whose it is", l.makes(`{"name":"backup","steps":[]}`).CreatedBy, who.User)
	page, err := l.Tasks(l.Context(), api.TaskQuery{CreatedBy: who.User})
	if err != nil || len(page.Items) != 1 {
		l.Errorf("tasks of %s: %+v, %v", who.User, page.Items, err)
	}
}

func definitionIsNotRewritten(l *legacy) {
	made := l.makes(`{"name":"backup","steps":[` + toldStep("one", "") + `]}`)
	for range 3 {
		l.runs("backup")
	}
	now, err := l.Definition(l.Context(), "backup")
	if err != nil {
		l.Fatal(err)
	}
	l.wants("its version", now.Version, made.Version)
}
