package openapi

import (
	"net/http"

	"github.com/stepd/stepd/daemon/internal/api"
)

const tagTasks = "Tasks"

func taskRoutes() []Route {
	sample := `{"task": {"name": "backup", "steps": [{"name": "archive", "controller": "compress", "settings": {"source": "/srv/shop", "target": "/srv/backup/shop.tar.zst"}}]}}`
	return []Route{
		{
			ID: "listTasks", Tag: tagTasks, Method: http.MethodGet, Path: api.RouteTasks,
			Summary:     "List tasks",
			Description: "In the order of names, unless sort says otherwise. Steps and schedules are left out; total counts all tasks that fit.",
			Query: paged(
				Param{Name: "name", Description: "Part of the name; with * or ? a pattern for the whole of it."},
				Param{Name: "status", Kind: Word, Words: api.TaskFilters(), Description: "Where the task stands; running and queued are of those with such a run."},
				Param{Name: "created_by", Description: "User who made the task."},
				Param{Name: "starter", Description: "User, or @group, who is listed as a starter."},
				Param{Name: "schedule", Description: "Name of a schedule that the task has; any: it has one; none: it has none."},
				Param{Name: "result", Kind: Word, Words: api.TaskResults(), Description: "Status of the newest run; never: there is none."},
				Param{Name: "sort", Kind: Word, Words: api.TaskSorts(), Description: "What the list is sorted by; with a dash before it, descending."},
			),
			Answer: api.Page[api.Task]{}, Role: api.RoleReader,
			Example: Example{Path: "/v1/tasks?status=scheduled&sort=-last_run&limit=20"},
		},
		{
			ID: "createTask", Tag: tagTasks, Method: http.MethodPost, Path: api.RouteTasks,
			Summary: "Make a task",
			Description: "The task has the keys of a task file, and is checked as one: all faults are told at once, each with its path. " +
				"Without steps it is a draft, which cannot be run. A task of that name that is there already is never replaced.",
			Body: api.SaveRequest{}, Answer: api.Saved{}, Codes: []api.Code{api.CodeExists}, Role: api.RoleAdmin, Action: "task.create",
			Example: Example{Body: sample},
		},
		{
			ID: "getTask", Tag: tagTasks, Method: http.MethodGet, Path: api.RouteTask,
			Summary: "Get a task", Description: "With its steps, schedules, hooks and newest run.",
			Answer: api.Task{}, Role: api.RoleReader, Starter: true,
		},
		{
			ID: "replaceTask", Tag: tagTasks, Method: http.MethodPut, Path: api.RouteTask,
			Summary: "Replace a task",
			Description: "Needs the version that is replaced; when the task has another one by now, the conflict says what has changed since. " +
				"Runs that are alive keep the definition that they began with.",
			Body: api.SaveRequest{}, Answer: api.Saved{}, Codes: []api.Code{api.CodeConflict}, Role: api.RoleAdmin, Action: "task.replace",
			Example: Example{Body: sample[:len(sample)-1] + `, "version": 3}`},
		},
		{
			ID: "changeTask", Tag: tagTasks, Method: http.MethodPatch, Path: api.RouteTask,
			Summary: "Change a task",
			Description: "The patch is a JSON merge patch (RFC 7396) of the definition: keys that it has are set, null removes them. " +
				"Without a version it applies to what is there, as one act, so that two who each change another key lose nothing. Steps have calls of their own.",
			Body: api.PatchRequest{}, Answer: api.Saved{}, Codes: []api.Code{api.CodeConflict}, Role: api.RoleAdmin, Action: "task.change",
			Example: Example{Body: `{"patch": {"max_parallel": 2, "description": null}}`},
		},
		{
			ID: "deleteTask", Tag: tagTasks, Method: http.MethodDelete, Path: api.RouteTask,
			Summary: "Delete a task", Description: "Its runs and their numbers stay. It is refused while a run of it is alive.",
			Query:  []Param{version("Delete it only when it has that version.")},
			Answer: api.Done{}, Codes: []api.Code{api.CodeConflict, api.CodeState}, Role: api.RoleAdmin, Action: "task.delete",
			Example: Example{Path: "/v1/tasks/backup?version=3"},
		},
		{
			ID: "getDefinition", Tag: tagTasks, Method: http.MethodGet, Path: api.RouteDefinition,
			Summary: "Get the definition of a task", Description: "As its file would say it, in JSON and in YAML. What is saved again unchanged changes nothing.",
			Answer: api.Definition{}, Role: api.RoleReader, Starter: true,
		},
		{
			ID: "exportTasks", Tag: tagTasks, Method: http.MethodGet, Path: api.RouteExport,
			Summary: "Get the definitions of all tasks", Description: "Page by page, in the order of names.",
			Query: paged(), Answer: api.Page[api.Definition]{}, Role: api.RoleReader,
		},
		{
			ID: "enableTask", Tag: tagTasks, Method: http.MethodPost, Path: api.RouteEnable,
			Summary: "Enable a task", Description: "It may be run again, and its schedules make runs again.",
			Answer: api.Task{}, Role: api.RoleAdmin, Action: "task.enable",
		},
		{
			ID: "disableTask", Tag: tagTasks, Method: http.MethodPost, Path: api.RouteDisable,
			Summary: "Disable a task", Description: "Nobody may run it, and its schedules make no runs. Runs that are alive go on.",
			Answer: api.Task{}, Role: api.RoleAdmin, Action: "task.disable",
		},
		{
			ID: "applyTasks", Tag: tagTasks, Method: http.MethodPost, Path: api.RouteApply,
			Summary: "Apply task files",
			Description: "Saves the tasks of all files and deletes those that are to be deleted, or does nothing of it. With dry_run it says what it would do, which readers may ask. " +
				"A task that came from another file, was made over the socket or was edited since is a conflict, unless replace says so.",
			Body: api.ApplyRequest{}, Answer: api.ApplyResult{}, Codes: []api.Code{api.CodeConflict, api.CodeNotFound, api.CodeState},
			Role: api.RoleAdmin, Action: "task.apply", Dry: true,
			Example: Example{Body: `{"files": [{"name": "backup.yaml", "dir": "/etc/stepd/tasks.d", "path": "/etc/stepd/tasks.d/backup.yaml", "data": "name: backup\nsteps: []\n"}], "dry_run": true}`},
		},
		{
			ID: "validateTasks", Tag: tagTasks, Method: http.MethodPost, Path: api.RouteValidate,
			Summary: "Check task files", Description: "As they would be applied; nothing is saved, and nothing is compared with what is there.",
			Body: api.ValidateRequest{}, Answer: api.ValidateResult{}, Role: api.RoleReader,
			Example: Example{Body: `{"files": [{"name": "backup.yaml", "dir": "/etc/stepd/tasks.d", "data": "name: backup\nsteps: []\n"}]}`},
		},
	}
}

const tagSteps = "Steps of a task"

func stepRoutes() []Route {
	change := []api.Code{api.CodeConflict}
	return []Route{
		{
			ID: "listTaskSteps", Tag: tagSteps, Method: http.MethodGet, Path: api.RouteTaskSteps,
			Summary: "List the steps of a task", Description: "All of them, in their order; there are no pages.",
			Answer: api.Page[api.TaskStep]{}, Role: api.RoleReader, Starter: true,
		},
		{
			ID: "addStep", Tag: tagSteps, Method: http.MethodPost, Path: api.RouteTaskSteps,
			Summary: "Add a step", Description: "Before or behind the step that is named, else at the end. The step has the keys of a step in a task file.",
			Body: api.StepRequest{}, Answer: api.Saved{}, Codes: []api.Code{api.CodeExists, api.CodeConflict}, Role: api.RoleAdmin, Action: "step.add",
			Example: Example{Body: `{"step": {"name": "tables", "controller": "dumptables", "settings": {"dsn": "sqlite:/srv/shop.db"}}, "before": "archive"}`},
		},
		{
			ID: "getTaskStep", Tag: tagSteps, Method: http.MethodGet, Path: api.RouteTaskStep,
			Summary: "Get a step of a task", Answer: api.TaskStep{}, Role: api.RoleReader, Starter: true,
		},
		{
			ID: "changeStep", Tag: tagSteps, Method: http.MethodPatch, Path: api.RouteTaskStep,
			Summary: "Change a step", Description: "The patch is a JSON merge patch (RFC 7396) of the step; another name renames it.",
			Body: api.PatchRequest{}, Answer: api.Saved{}, Codes: []api.Code{api.CodeExists, api.CodeConflict}, Role: api.RoleAdmin, Action: "step.change",
			Example: Example{Body: `{"patch": {"settings": {"level": "best"}, "interrupt_on_step_fault": true}}`},
		},
		{
			ID: "deleteStep", Tag: tagSteps, Method: http.MethodDelete, Path: api.RouteTaskStep,
			Summary: "Delete a step", Description: "The last one leaves a draft. A step whose outputs others use is not deleted: the faults say where.",
			Query:  []Param{version("Delete it only when the task has that version.")},
			Answer: api.Saved{}, Codes: change, Role: api.RoleAdmin, Action: "step.delete",
		},
		{
			ID: "orderSteps", Tag: tagSteps, Method: http.MethodPost, Path: api.RouteStepOrder,
			Summary: "Put the steps into another order", Description: "All steps are named. Those that share an order number keep doing so where they stay neighbours.",
			Body: api.OrderRequest{}, Answer: api.Saved{}, Codes: change, Role: api.RoleAdmin, Action: "step.order",
			Example: Example{Body: `{"steps": ["tables", "archive"]}`},
		},
	}
}
