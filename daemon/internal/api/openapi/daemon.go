package openapi

import (
	"net/http"

	"github.com/stepd/stepd/daemon/internal/api"
)

const (
	tagSchedules = "Schedules"
	tagDaemon    = "The daemon"
)

func scheduleRoutes() []Route {
	count := Param{Name: "count", Kind: Number, Min: 1, Max: api.MaxExplain, Default: api.ExplainCount, Description: "How many times are told."}
	return []Route{
		{
			ID: "listNext", Tag: tagSchedules, Method: http.MethodGet, Path: api.RouteNext,
			Summary: "List the runs that schedules will make", Description: "The earliest first: one for each schedule, its next.",
			Query: paged(), Answer: api.Page[api.Upcoming]{}, Role: api.RoleReader,
		},
		{
			ID: "listHistory", Tag: tagSchedules, Method: http.MethodGet, Path: api.RouteHistory,
			Summary: "List what became of a task's due times", Description: "Newest first.",
			Query:  paged(Param{Name: "schedule", Description: "Name of a schedule, or " + api.ExpectSchedule + " for deadlines."}),
			Answer: api.Page[api.Slot]{}, Role: api.RoleReader, Starter: true,
		},
		{
			ID: "explainTask", Tag: tagSchedules, Method: http.MethodGet, Path: api.RouteTimes,
			Summary: "Explain the schedules of a task", Description: "What they mean, in words, and when they are due next.",
			Query: []Param{
				{Name: "schedule", Description: "Name of a schedule; all of them otherwise."}, count,
				{Name: "from", Description: "The time to begin with: an instant, or a wall-clock time of the schedule's zone; now otherwise."},
			},
			Answer: api.Explanations{}, Role: api.RoleReader, Starter: true,
			Example: Example{Path: "/v1/tasks/backup/explain?count=3"},
		},
		{
			ID: "explain", Tag: tagSchedules, Method: http.MethodPost, Path: api.RouteExplain,
			Summary: "Explain a spec", Description: "What it means, in words, and when it is due; nothing is saved. A faulty one is told with the field.",
			Body: api.ExplainRequest{}, Answer: api.Explanation{}, Role: api.RoleReader,
			Example: Example{Body: `{"spec": "30 2 * * *", "timezone": "Europe/Berlin", "count": 3}`},
		},
		{
			ID: "pauseTask", Tag: tagSchedules, Method: http.MethodPost, Path: api.RoutePause,
			Summary: "Pause the schedules of a task", Description: "They make no runs until the time, or until the task is resumed. People may run it. A pause replaces the one before.",
			Body: api.PauseRequest{}, Answer: api.Task{}, Role: api.RoleAdmin, Action: "task.pause",
			Example: Example{Body: `{"for": "2d", "reason": "moving house"}`},
		},
		{
			ID: "resumeTask", Tag: tagSchedules, Method: http.MethodPost, Path: api.RouteResume,
			Summary: "Resume the schedules of a task", Answer: api.Task{}, Role: api.RoleAdmin, Action: "task.resume",
		},
	}
}

func daemonRoutes() []Route {
	return []Route{
		{
			ID: "getStatus", Tag: tagDaemon, Method: http.MethodGet, Path: api.RouteStatus,
			Summary: "Get how the daemon is", Description: "With what an administrator should know of.",
			Answer: api.Status{}, Role: api.RoleNone,
		},
		{
			ID: "whoAmI", Tag: tagDaemon, Method: http.MethodGet, Path: api.RouteWhoAmI,
			Summary: "Get who you are to the daemon", Description: "By the credentials of the other end of the socket, with the role that follows from them.",
			Answer: api.Who{}, Role: api.RoleNone,
		},
		{
			ID: "listPlugins", Tag: tagDaemon, Method: http.MethodGet, Path: api.RoutePlugins,
			Summary: "List plugins and controllers", Description: "With the JSON Schema of each controller's settings, as far as the plugin was asked already.",
			Answer: api.PluginList{}, Role: api.RoleReader,
		},
		{
			ID: "listSecrets", Tag: tagDaemon, Method: http.MethodGet, Path: api.RouteSecrets,
			Summary: "List secrets", Description: "Their names, where they come from and which tasks refer to them; never a value.",
			Answer: api.SecretList{}, Role: api.RoleAdmin,
		},
		{
			ID: "readAudit", Tag: tagDaemon, Method: http.MethodGet, Path: api.RouteAudit,
			Summary: "Read the audit log", Description: "Who changed and started what, newest first; acts that were refused are in it too.",
			Query: paged(
				Param{Name: "user", Description: "Name of the user who asked, or for whom an administrator asked."},
				Param{Name: "action", Description: "Word of the action, as run.start, or the part before its dot."},
				Param{Name: "target", Description: "Name of a task, or a run as TASK/NUMBER."},
				Param{Name: "since", Kind: Time, Description: "Lines of that time and later."},
			),
			Answer: api.Page[api.AuditEntry]{}, Role: api.RoleAdmin,
			Example: Example{Path: "/v1/audit?action=run&limit=10"},
		},
		{
			ID: "getOpenAPI", Tag: tagDaemon, Method: http.MethodGet, Path: api.RouteOpenAPI,
			Summary: "Get this description", Description: "As an OpenAPI 3.1 document.",
			Type: api.TypeJSON, Role: api.RoleNone,
		},
		{
			ID: "getDocs", Tag: tagDaemon, Method: http.MethodGet, Path: api.RouteDocs,
			Summary: "Read this description", Description: "As a page of HTML without scripts.",
			Type: api.TypeHTML, Role: api.RoleNone,
		},
	}
}
