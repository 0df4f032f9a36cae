package openapi

import (
	"net/http"

	"github.com/stepd/stepd/daemon/internal/api"
)

const tagRuns = "Runs"

func runRoutes() []Route {
	again := []api.Code{api.CodeState, api.CodeConfirm, api.CodeConflict}
	return []Route{
		{
			ID: "startRun", Tag: tagRuns, Method: http.MethodPost, Path: api.RouteRuns,
			Summary: "Start a run",
			Description: "The answer comes as soon as the run is saved; it waits for its turn in the queue. " +
				"The run keeps the definition that the task has now. Drafts and disabled tasks are not run.",
			Body: api.RunRequest{}, Answer: api.Run{}, Codes: []api.Code{api.CodeNotFound, api.CodeState, api.CodeConflict}, Role: api.RoleRunner, Starter: true, Action: "run.start",
			Example: Example{Body: `{"task": "backup", "in": "2h", "set": {"tables.mode": "data_only"}, "priority": 10}`},
		},
		{
			ID: "startBatch", Tag: tagRuns, Method: http.MethodPost, Path: api.RouteBatch,
			Summary: "Start several runs",
			Description: "They are carried out one after another; one that fails does not stop the others. " +
				"Each task that was left out is in the answer, with the reason.",
			Body: api.BatchRequest{}, Answer: api.BatchResult{}, Codes: []api.Code{api.CodeNotFound, api.CodeState}, Role: api.RoleRunner, Starter: true, Action: "run.batch",
			Example: Example{Body: `{"due": true}`},
		},
		{
			ID: "listRuns", Tag: tagRuns, Method: http.MethodGet, Path: api.RouteRuns,
			Summary: "List runs", Description: "Newest first. A page may be short, or empty, and yet have a next one, when little of what was looked at fits.",
			Query: paged(
				Param{Name: "task", Description: "Name of the task."},
				Param{Name: "status", Kind: Word, Words: api.RunFilters(), Description: "Where the run stands; alive is queued or running, ended all others, stuck a running one without progress."},
				Param{Name: "trigger", Kind: Word, Words: api.Triggers(), Description: "What made the run."},
				Param{Name: "started_by", Description: "User who started it."},
				Param{Name: "schedule", Description: "Name of the schedule that made it."},
				Param{Name: "batch", Description: "Batch that it belongs to."},
				Param{Name: "since", Kind: Time, Description: "Made then or later."},
				Param{Name: "until", Kind: Time, Description: "Made before."},
			),
			Answer: api.Page[api.Run]{}, Role: api.RoleReader,
			Example: Example{Path: "/v1/runs?task=backup&status=failed&since=2026-11-01T00:00:00Z"},
		},
		{
			ID: "getRun", Tag: tagRuns, Method: http.MethodGet, Path: api.RouteRun,
			Summary: "Get a run", Description: "With the steps of its definition, the planned ones that run or have failed, and the outputs.",
			Answer: api.RunDetail{}, Role: api.RoleReader, Starter: true,
		},
		{
			ID: "listSteps", Tag: tagRuns, Method: http.MethodGet, Path: api.RouteSteps,
			Summary: "List the steps of a run", Description: "In their order, those that were planned too.",
			Query:  paged(Param{Name: "status", Kind: Word, Words: api.StepStatuses(), Description: "Where the step stands."}),
			Answer: api.Page[api.Step]{}, Role: api.RoleReader, Starter: true,
			Example: Example{Path: "/v1/runs/backup/42/steps?status=failed"},
		},
		{
			ID: "getStep", Tag: tagRuns, Method: http.MethodGet, Path: api.RouteStep,
			Summary: "Get a step of a run", Description: "With all that is kept of it: attempts, settings as defined, outputs.",
			Answer: api.StepDetail{}, Role: api.RoleReader, Starter: true,
			Example: Example{Path: "/v1/runs/backup/42/steps/tables/actor"},
		},
		{
			ID: "cancelRun", Tag: tagRuns, Method: http.MethodPost, Path: api.RouteCancel,
			Summary: "Cancel a run, or one step of it",
			Description: "The wish is saved when the answer comes, and survives a crash; what runs gets its grace time to clean up. " +
				"The run may have completed meanwhile: what was saved first counts.",
			Body: api.CancelRequest{}, Option: true, Answer: api.Run{}, Codes: []api.Code{api.CodeState}, Role: api.RoleRunner, Starter: true, Action: "run.cancel",
			Example: Example{Body: `{"step": "tables"}`},
		},
		{
			ID: "continueRun", Tag: tagRuns, Method: http.MethodPost, Path: api.RouteContinue,
			Summary: "Continue a run",
			Description: "Carries out what is left of a run that has ended: completed steps and their outputs are kept. " +
				"Where a step that must not be repeated would be done again, it is refused until again is true.",
			Body: api.AgainRequest{}, Option: true, Answer: api.Run{}, Codes: again, Role: api.RoleRunner, Starter: true, Action: "run.continue",
			Example: Example{Body: `{"from": "archive"}`},
		},
		{
			ID: "restartRun", Tag: tagRuns, Method: http.MethodPost, Path: api.RouteRestart,
			Summary: "Restart a run",
			Description: "Makes a new run that does all of it again, by the same definition unless latest is true. " +
				"Where a step that must not be repeated has begun, it is refused until again is true.",
			Body: api.AgainRequest{}, Option: true, Answer: api.Run{}, Codes: again, Role: api.RoleRunner, Starter: true, Action: "run.restart",
			Example: Example{Body: `{"latest": true}`},
		},
		{
			ID: "getLogs", Tag: tagRuns, Method: http.MethodGet, Path: api.RouteLogs,
			Summary: "Read the log of a run",
			Description: "One JSON object a line. An empty line is a sign of life; a last line with error says why the stream ended early. " +
				"Lines that the size limit has taken away are gone, and a line says so.",
			Query: []Param{
				{Name: "follow", Kind: Flag, Description: "Go on until the run has ended."},
				{Name: "since", Kind: Time, Description: "Lines of that time and later."},
				{Name: "tail", Kind: Number, Min: 1, Max: api.MaxTail, Description: "The last so many of what else fits."},
				{Name: "step", Description: "Lines of that step, or of the steps that it planned."},
				{Name: "level", Kind: Word, Words: api.LogLevels(), Description: "Lines of that level and above."},
			},
			Answer: api.LogLine{}, Type: api.TypeLines, Role: api.RoleReader, Starter: true,
			Example: Example{Path: "/v1/runs/backup/latest/logs?tail=20&level=warn"},
		},
		{
			ID: "watchRun", Tag: tagRuns, Method: http.MethodGet, Path: api.RouteRunWatch,
			Summary: "Watch a run", Description: "Server-sent events until the run has ended, each with an event object as its data. It begins with a snapshot, so that nothing is lost by coming back.",
			Answer: api.Event{}, Type: api.TypeEvents, Role: api.RoleReader, Starter: true,
		},
		{
			ID: "watchRuns", Tag: tagRuns, Method: http.MethodGet, Path: api.RouteWatch,
			Summary: "Watch all runs", Description: "Server-sent events of all runs, beginning with a snapshot of each that is alive.",
			Answer: api.Event{}, Type: api.TypeEvents, Role: api.RoleReader,
		},
	}
}
