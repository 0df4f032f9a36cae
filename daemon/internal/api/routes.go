package api

import (
	"net/url"
	"strconv"
	"strings"
)

// DefaultSocket is where the daemon listens when nobody says otherwise.
const DefaultSocket = "/run/stepd/stepd.sock"

// Limits of the socket.
const (
	MaxBody   = 1 << 20 // bytes of a request
	MaxFiles  = 8 << 20 // bytes of a request with task files
	MaxHeader = 16 << 10
	MaxPage   = 500 // items of a page
	PageSize  = 50  // items of a page when nobody says otherwise

	MaxText     = 500       // bytes of a parameter, and of a short text of a request
	MaxReason   = 1000      // bytes of a pause's reason
	MaxExclude  = 500       // days of an ExplainRequest
	MaxBatch    = 500       // tasks of a BatchRequest
	MaxSet      = 100       // settings of a RunRequest
	MaxPriority = 100       // of a run, in both directions
	MaxActFor   = 64        // bytes of HeaderActFor
	MaxTail     = 1_000_000 // lines of a log
)

// BodyLimit is how many bytes a request for the path may have.
func BodyLimit(path string) int {
	if path == RouteApply || path == RouteValidate {
		return MaxFiles
	}
	return MaxBody
}

// Media types of the answers.
const (
	TypeJSON   = "application/json"
	TypeLines  = "application/x-ndjson"
	TypeEvents = "text/event-stream"
	TypeHTML   = "text/html; charset=utf-8"
)

// HeaderActFor names the user for whom an administrator asks: what is made has
// that name, and the audit log has both.
const HeaderActFor = "Stepd-Act-For"

// Latest stands for the number of the newest run in a path.
const Latest = "latest"

// Routes, as the server registers them and the client fills them in with
// TaskPath and RunPath.
const (
	RouteStatus     = "/v1/status"
	RoutePlugins    = "/v1/plugins"
	RouteValidate   = "/v1/validate"
	RouteApply      = "/v1/apply"
	RouteTasks      = "/v1/tasks"
	RouteTask       = "/v1/tasks/{name}"
	RouteDefinition = "/v1/tasks/{name}/definition"
	RouteExport     = "/v1/export"
	RouteTaskSteps  = "/v1/tasks/{name}/steps"
	RouteTaskStep   = "/v1/tasks/{name}/steps/{step}"
	RouteStepOrder  = "/v1/tasks/{name}/order"
	RouteEnable     = "/v1/tasks/{name}/enable"
	RouteDisable    = "/v1/tasks/{name}/disable"
	RoutePause      = "/v1/tasks/{name}/pause"
	RouteResume     = "/v1/tasks/{name}/resume"
	RouteHistory    = "/v1/tasks/{name}/history"
	RouteTimes      = "/v1/tasks/{name}/explain"
	RouteExplain    = "/v1/explain"
	RouteNext       = "/v1/next"
	RouteRuns       = "/v1/runs"
	RouteRun        = "/v1/runs/{task}/{number}"
	RouteBatch      = "/v1/batch"
	RouteStep       = "/v1/runs/{task}/{number}/steps/{step...}"
	RouteSteps      = "/v1/runs/{task}/{number}/steps"
	RouteCancel     = "/v1/runs/{task}/{number}/cancel"
	RouteContinue   = "/v1/runs/{task}/{number}/continue"
	RouteRestart    = "/v1/runs/{task}/{number}/restart"
	RouteLogs       = "/v1/runs/{task}/{number}/logs"
	RouteRunWatch   = "/v1/runs/{task}/{number}/events"
	RouteWatch      = "/v1/events"
	RouteWhoAmI     = "/v1/whoami"
	RouteAudit      = "/v1/audit"
	RouteSecrets    = "/v1/secrets"
	RouteOpenAPI    = "/v1/openapi.json"
	RouteDocs       = "/v1/docs"
)

// TaskPath fills in a route of a task.
func TaskPath(route, name string) string {
	return strings.Replace(route, "{name}", url.PathEscape(name), 1)
}

// TaskStepPath fills in a route of a step of a task.
func TaskStepPath(route, name, step string) string {
	return strings.Replace(TaskPath(route, name), "{step}", url.PathEscape(step), 1)
}

// StepPath fills in the route of a step of a run: "tables", or "tables/actor"
// for a planned one.
func StepPath(ref, step string) string {
	parts := strings.Split(step, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Replace(RunPath(RouteStep, ref), "{step...}", strings.Join(parts, "/"), 1)
}

// RunPath fills in a route of a run. ref is "backup/42", or "backup" for the
// newest run.
func RunPath(route, ref string) string {
	name, number := ref, Latest
	if i := strings.LastIndexByte(ref, '/'); i >= 0 {
		name, number = ref[:i], ref[i+1:]
	}
	return strings.NewReplacer("{task}", url.PathEscape(name), "{number}", url.PathEscape(number)).Replace(route)
}

// RunRef is the ref of the parts of a run's path. It is an *Error when number
// is neither a number from 1 nor Latest.
func RunRef(task, number string) (string, error) {
	if number == Latest {
		return task, nil
	}
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || n == 0 {
		return "", &Error{Code: CodeInvalid, Message: strconv.Quote(number) + " is no number of a run",
			Hint: "runs count from 1; " + strconv.Quote(Latest) + " is the newest"}
	}
	return task + "/" + strconv.FormatUint(n, 10), nil
}
